// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd(2) over memory that is or could be on the node: missing pages are
 * requested from the handler whoever touches them, whatever the advice; write
 * protection holds for the device; UFFDIO_MOVE takes node pages along; fork
 * events work.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(USERFAULT_RACES)
#define PAGES			16
#define RACE_MS			800

FIXTURE(uffd) {
	struct cdm cdm;
	char *mem;
	char *content;	/* source pages, with the pattern of SEED */
	size_t length;
	size_t page;
	__u64 free;
	int fd;
};

static int open_uffd(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int watch(int fd, const void *addr, size_t length, __u64 mode)
{
	struct uffdio_register range = {
		.range = { CDM_ADDR(addr), length },
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

static int protect(int fd, const void *addr, size_t length, bool on)
{
	struct uffdio_writeprotect range = {
		.range = { CDM_ADDR(addr), length },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &range) ? -errno : 0;
}

static int supply(int fd, void *to, const void *from, size_t length)
{
	struct uffdio_copy copy = {
		.dst = CDM_ADDR(to),
		.src = CDM_ADDR(from),
		.len = length,
	};

	return ioctl(fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static int take(int fd, void *to, const void *from, size_t length)
{
	struct uffdio_move move = {
		.dst = CDM_ADDR(to),
		.src = CDM_ADDR(from),
		.len = length,
	};

	return ioctl(fd, UFFDIO_MOVE, &move) ? -errno : 0;
}

/* The next event, or one with .event zero after @ms. */
static struct uffd_msg next_event(int fd, unsigned int ms)
{
	struct pollfd event = { fd, POLLIN, 0 };
	struct uffd_msg msg;

	if (poll(&event, 1, ms) != 1 ||
	    read(fd, &msg, sizeof(msg)) != sizeof(msg))
		msg.event = 0;
	return msg;
}

FIXTURE_SETUP(uffd)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->free = cdm_free_pages(&self->cdm);
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	self->content = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->content);
	cdm_fill(self->content, self->length, SEED);
	self->fd = -1;
}

FIXTURE_TEARDOWN(uffd)
{
	if (self->fd >= 0)
		close(self->fd);
	munmap(self->mem, self->length);
	munmap(self->content, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* POPULATE leaves missing pages to the handler. */
TEST_F(uffd, populate_backs_off)
{
	struct hmm_cdm_populate p;

	self->fd = open_uffd(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, supply(self->fd, self->mem, self->content, self->page));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
					  i ? HMM_CDM_POPULATE_MIGRATE : 0,
					  &p));
		EXPECT_EQ(0, p.populated);
		EXPECT_EQ(1 - i, p.stayed);
		EXPECT_EQ(i, p.migrated);
		EXPECT_EQ(1, cdm_present(self->mem, self->length));
	}
	/* And asks it for none. */
	EXPECT_EQ(0, next_event(self->fd, 0).event);
	ASSERT_EQ(0, supply(self->fd, self->mem + self->page,
			    self->content + self->page,
			    self->length - self->page));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/*
 * The device's first touch of memory advised to the node asks the handler; with
 * ADVISE_MIGRATE the page may then move there.
 */
TEST_F(uffd, first_touch_asks)
{
	int asked = 0;
	struct hmm_cdm_stats stats;
	struct hmm_cdm_wait wait;
	__u64 job;

	self->fd = open_uffd(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, cdm_advise(&self->cdm, self->mem, self->length,
				HMM_CDM_PLACE_NODE, HMM_CDM_ADVISE_MIGRATE));
	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				CDM_ARGS(CDM_ADDR(self->mem),
					 self->length / 8), &job));
	while (asked < PAGES) {
		struct uffd_msg msg = next_event(self->fd, CDM_SETTLE_MS);
		size_t at = (msg.arg.pagefault.address -
			     CDM_ADDR(self->mem)) & ~(self->page - 1);

		ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
		ASSERT_GT(self->length, at);
		ASSERT_EQ(0, supply(self->fd, self->mem + at,
				    self->content + at, self->page));
		asked++;
	}
	ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(0, stats.touched);
	EXPECT_EQ(0, stats.populated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* A device write to a protected page waits for the handler. */
TEST_F(uffd, write_protect)
{
	char *at = self->mem + 3 * self->page;
	struct hmm_cdm_wait wait;
	struct uffd_msg msg;
	__u64 job;

	self->fd = open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	if (self->fd < 0)
		SKIP(return, "no write protection by userfaultfd");
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	/* Before it is protected, the device may write. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, at, self->page, 1, NULL));
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_WP));
	ASSERT_EQ(0, protect(self->fd, self->mem, self->length, true));
	/* The page stays protected on its way to system memory and back. */
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, at, 8, &wait));
		EXPECT_EQ(8 + i, wait.result[0]);
		EXPECT_EQ(0, next_event(self->fd, 0).event);

		ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_FETCH_ADD,
					CDM_ARGS(CDM_ADDR(at), 1, 1), &job));
		msg = next_event(self->fd, CDM_SETTLE_MS);
		ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
		EXPECT_EQ(CDM_ADDR(at), msg.arg.pagefault.address &
					~(self->page - 1));
		EXPECT_EQ(UFFD_PAGEFAULT_FLAG_WP,
			  msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
		EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 20, NULL));
		EXPECT_EQ(1 + i, *(__u64 *)at);
		ASSERT_EQ(0, protect(self->fd, at, self->page, false));
		ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
		EXPECT_EQ(0, wait.status);
		EXPECT_EQ(2 + i, *(__u64 *)at);

		ASSERT_EQ(0, protect(self->fd, at, self->page, true));
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i ? NODE : SYSTEM, NULL));
		EXPECT_EQ(i ? PAGES : 0,
			  cdm_on_node(&self->cdm, self->mem, self->length));
	}
	EXPECT_EQ(-1, cdm_check(self->mem, 3 * self->page, SEED));
}

/*
 * Only the entry of its zero page protects memory that was only read. That page
 * is not replaced without the handler, and neither is a hole, which a read may
 * turn into one.
 */
TEST_F(uffd, write_protect_zeros)
{
	const size_t half = self->length / 2;
	struct hmm_cdm_populate p = {};
	struct hmm_cdm_migrate m = {};
	struct hmm_cdm_wait wait;
	__u64 job;

	self->fd = open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	if (self->fd < 0)
		SKIP(return, "no write protection by userfaultfd");
	EXPECT_EQ(-1, cdm_check_value(self->mem, half, 0));
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_WP));
	ASSERT_EQ(0, protect(self->fd, self->mem, half, true));
	ASSERT_EQ(0, cdm_advise(&self->cdm, self->mem, self->length,
				HMM_CDM_PLACE_NODE, HMM_CDM_ADVISE_MIGRATE));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, half / 8, &wait));
	EXPECT_EQ(0, wait.bytes_local);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
					  i ? HMM_CDM_POPULATE_MIGRATE : 0,
					  &p));
		EXPECT_EQ(PAGES, p.skipped[HMM_CDM_SKIP_ABSENT]);
		EXPECT_EQ(0, p.populated);
	}
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES, m.skipped[HMM_CDM_SKIP_ABSENT]);
	EXPECT_EQ(0, m.populated);

	for (size_t at = 0; at < half; at += self->page) {
		__u64 *word = (__u64 *)(self->mem + at);
		struct uffd_msg msg;

		ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_FETCH_ADD,
					CDM_ARGS(CDM_ADDR(word), 1, 1), &job));
		msg = next_event(self->fd, CDM_SETTLE_MS);
		ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
		EXPECT_EQ(UFFD_PAGEFAULT_FLAG_WP,
			  msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
		EXPECT_EQ(0, *word);
		ASSERT_EQ(0, protect(self->fd, word, self->page, false));
		ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
		EXPECT_EQ(0, wait.status);
		EXPECT_EQ(1, *word);
	}
}

/* UFFDIO_MOVE keeps the frame of a node page. */
TEST_F(uffd, move)
{
	__u64 before[PAGES], after[PAGES];
	size_t half = self->length / 2;
	struct hmm_cdm_wait wait;

	self->fd = open_uffd(UFFD_FEATURE_MOVE);
	if (self->fd < 0)
		SKIP(return, "no UFFDIO_MOVE");
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	/* Half of them on the node. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->content, half, NODE, NULL));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->content, self->length / 8,
				 &wait));
	ASSERT_EQ(0, cdm_pfns(self->content, self->length, before));
	for (int i = 0; i < PAGES; i++)
		ASSERT_EQ(0, take(self->fd, self->mem + i * self->page,
				  self->content + i * self->page,
				  self->page));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	EXPECT_EQ(0, cdm_present(self->content, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	/*
	 * The device finds them at the new address, and nothing at the old one.
	 */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	EXPECT_EQ(half, wait.bytes_local);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->content, self->length, 4,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->content, self->length, 4));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	/* An occupied address is no destination. */
	EXPECT_EQ(-EEXIST, take(self->fd, self->mem, self->content,
				self->page));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* Pages shared with a child cannot be moved, as in system memory. */
TEST_F(uffd, move_shared)
{
	pid_t pid;

	self->fd = open_uffd(UFFD_FEATURE_MOVE);
	if (self->fd < 0)
		SKIP(return, "no UFFDIO_MOVE");
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->content, self->length / 2,
				 NODE, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	EXPECT_EQ(-EBUSY, take(self->fd, self->mem, self->content,
			       self->page));
	EXPECT_EQ(-EBUSY, take(self->fd, self->mem + self->length / 2,
			       self->content + self->length / 2, self->page));
	kill(pid, SIGKILL);
	cdm_reap(pid, CDM_JOB_MS);
	EXPECT_EQ(-1, cdm_check(self->content, self->length, SEED));
}

/* Both ways, again and again, while the pages migrate. */
TEST_F(uffd, move_while_migrating)
{
	__u64 end = cdm_now_ms() + RACE_MS;
	struct cdm_mover movers[2] = {
		{ .interrupted = true }, { .interrupted = true },
	};
	char *from = self->content, *to = self->mem;
	__u64 moved = 0;

	self->fd = open_uffd(UFFD_FEATURE_MOVE);
	if (self->fd < 0)
		SKIP(return, "no UFFDIO_MOVE");
	/* Holes belong to the handler, so migration fills none. */
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, watch(self->fd, self->content, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, cdm_mover_start(&movers[0], &self->cdm, self->mem,
				     self->length));
	ASSERT_EQ(0, cdm_mover_start(&movers[1], &self->cdm, self->content,
				     self->length));
	/*
	 * Until pages went both ways, though movers pin them most of the time.
	 */
	while (cdm_now_ms() < end || moved < 2 * PAGES ||
	       !(movers[0].migrated + movers[1].migrated)) {
		char *swap = from;

		for (int i = 0; i < PAGES; i++) {
			int err;

			do {
				err = take(self->fd, to + i * self->page,
					   from + i * self->page, self->page);
			} while ((err == -EAGAIN || err == -EBUSY) &&
				 cdm_now_ms() < end + CDM_SETTLE_MS);
			ASSERT_EQ(0, err);
			moved++;
		}
		from = to;
		to = swap;
		ASSERT_EQ(-1, cdm_check(from, self->length, SEED));
	}
	for (int i = 0; i < 2; i++) {
		cdm_mover_end(&movers[i]);
		EXPECT_EQ(0, movers[i].err);
	}
	EXPECT_LT(0, movers[0].migrated + movers[1].migrated);
	EXPECT_EQ(PAGES, cdm_present(from, self->length));
	EXPECT_EQ(0, cdm_present(to, self->length));
	EXPECT_EQ(-1, cdm_check(from, self->length, SEED));
}

struct feeder {
	pthread_t thread;
	int fd;
	char *mem;
	const char *content;
	size_t page;
	bool stop;
	int supplied;
};

/* Answers the faults of any thread and ignores other events. */
static void *feed(void *arg)
{
	struct feeder *feeder = arg;

	while (!__atomic_load_n(&feeder->stop, __ATOMIC_RELAXED)) {
		struct uffd_msg msg = next_event(feeder->fd, 20);
		size_t at;

		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		at = (msg.arg.pagefault.address - CDM_ADDR(feeder->mem)) &
		     ~(feeder->page - 1);
		feeder->supplied += !supply(feeder->fd, feeder->mem + at,
					    feeder->content + at,
					    feeder->page);
	}
	return NULL;
}

/*
 * Pages are supplied, discarded and moved at once; their content is never
 * wrong.
 */
TEST_F(uffd, copy_while_migrating)
{
	__u64 end = cdm_now_ms() + RACE_MS;
	struct cdm_mover mover = { .interrupted = true };
	struct feeder feeder = {};
	struct hmm_cdm_wait wait;
	int rounds = 0;

	self->fd = open_uffd(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	feeder = (struct feeder) {
		.fd = self->fd,
		.mem = self->mem,
		.content = self->content,
		.page = self->page,
	};
	ASSERT_EQ(0, pthread_create(&feeder.thread, NULL, feed, &feeder));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	while (cdm_now_ms() < end || rounds < 2 || feeder.supplied < PAGES) {
		ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
		if (rounds % 2) {
			EXPECT_EQ(-1, cdm_check(self->mem, self->length,
						SEED));
		} else {
			ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem,
						 self->length / 8, &wait));
			EXPECT_EQ(cdm_word_sum(SEED, self->length / 8),
				  wait.result[0]);
		}
		rounds++;
	}
	cdm_mover_end(&mover);
	__atomic_store_n(&feeder.stop, true, __ATOMIC_RELAXED);
	pthread_join(feeder.thread, NULL);
	EXPECT_EQ(0, mover.err);
}

/* A child whose CPU and device touch missing pages. */
static int child_touches(char *mem, size_t length)
{
	struct hmm_cdm_wait wait;
	struct cdm cdm;

	if (cdm_open(&cdm, 0) ||
	    cdm_run_sum(&cdm, mem, length / 8, &wait) ||
	    wait.result[0] != cdm_word_sum(SEED, length / 8))
		return 1;
	return cdm_check(mem, length, SEED) != -1 ? 2 : 0;
}

struct forked {
	int fd;		/* of the parent */
	int child;	/* the child's, from the event */
	struct feeder *feeder;
};

/* fork() waits until its event is read, so another thread reads it. */
static void *await_fork(void *arg)
{
	struct forked *forked = arg;
	struct uffd_msg msg = next_event(forked->fd, CDM_SETTLE_MS);

	forked->child = msg.event == UFFD_EVENT_FORK ? (int)msg.arg.fork.ufd :
			-1;
	forked->feeder->fd = forked->child;
	return forked->child < 0 ? NULL : feed(forked->feeder);
}

TEST_F(uffd, fork)
{
	struct feeder feeder = {
		.mem = self->mem,
		.content = self->content,
		.page = self->page,
	};
	struct forked forked = { .feeder = &feeder };
	pid_t pid;

	self->fd = open_uffd(UFFD_FEATURE_EVENT_FORK);
	if (self->fd < 0)
		SKIP(return, "no events of fork");
	ASSERT_EQ(0, watch(self->fd, self->mem, self->length,
			   UFFDIO_REGISTER_MODE_MISSING));
	/* Half of the pages are present on the node, half are missing. */
	ASSERT_EQ(0, supply(self->fd, self->mem, self->content,
			    self->length / 2));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	forked.fd = self->fd;
	ASSERT_EQ(0, pthread_create(&feeder.thread, NULL, await_fork,
				    &forked));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(child_touches(self->mem, self->length));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	__atomic_store_n(&feeder.stop, true, __ATOMIC_RELAXED);
	pthread_join(feeder.thread, NULL);
	ASSERT_LE(0, forked.child);
	close(forked.child);
	EXPECT_EQ(PAGES / 2, feeder.supplied);
	/* Pages supplied to the child are not the parent's. */
	EXPECT_EQ(PAGES / 2, cdm_present(self->mem, self->length));
	EXPECT_EQ(PAGES / 2,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length / 2, SEED));
}

TEST_HARNESS_MAIN

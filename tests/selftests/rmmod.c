// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading fails while files are open; the processes' pages on the node are
 * saved; and loading again works.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <poll.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(RMMOD)
#define PAGES			64

/*
 * Rounds in which 2 users share a node of 8 windows, and the time after which
 * fewer rounds are enough.
 */
#define TIMES			100
#define USERS			2
#define NODE_WINDOWS		8
#define ENOUGH_MS		(CDM_PATIENCE > 1 ? 10000 : 40000)

/* Unloading moves pages, which takes a slow guest some time. */
#define UNLOAD_MS		(10000 * CDM_PATIENCE)

FIXTURE(rmmod) {
	struct cdm_found found;
	struct cdm_region regions[CDM_REGIONS_MAX];
	char list[512];
	int nr;
};

FIXTURE_SETUP(rmmod)
{
	self->nr = cdm_regions(self->regions, self->list, sizeof(self->list));
	if (self->nr < CDM_NODES)
		SKIP(return, "CDM_REGIONS does not name %d regions", CDM_NODES);
	ASSERT_EQ(0, cdm_remember(&self->found));
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(rmmod)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* Memory with the pattern of SEED on the node, whose file is closed again. */
static char *leave_on_node(struct cdm *cdm, unsigned int index, size_t length)
{
	struct hmm_cdm_migrate m;
	char *mem;

	if (cdm_open(cdm, index))
		return NULL;
	mem = cdm_map(cdm, length);
	if (mem) {
		cdm_fill(mem, length, SEED);
		if (cdm_migrate(cdm, mem, length, NODE, &m) ||
		    m.migrated != length / cdm->page)
			mem = NULL;
	}
	cdm_close(cdm);
	return mem;
}

/* All of it is in system memory, unchanged. */
static void expect_saved(struct __test_metadata *_metadata,
			 const struct cdm *cdm, const char *mem, size_t length)
{
	EXPECT_EQ(0, cdm_on_node(cdm, mem, length));
	EXPECT_EQ(length / cdm->page, cdm_present(mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
}

TEST_F(rmmod, refused_while_open)
{
	struct cdm cdm;

	/* Any node's file will do. */
	for (int i = 0; i < CDM_NODES; i++) {
		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_EMU));
		EXPECT_EQ(0, cdm_info(cdm.fd, &cdm.info));
		EXPECT_TRUE(cdm_node_exists(i));
		cdm_close(&cdm);
	}
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_CORE));
	EXPECT_TRUE(cdm_node_exists(0));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_FALSE(cdm_node_exists(1));
	EXPECT_TRUE(cdm_loaded(CDM_CORE));
	EXPECT_EQ(0, cdm_unload(CDM_CORE));
	EXPECT_FALSE(cdm_loaded(CDM_CORE));
}

/* A file open in another process counts as well, until that has exited. */
TEST_F(rmmod, refused_while_job_runs)
{
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		static __u64 word;
		struct cdm cdm;
		__u64 job;

		if (cdm_open(&cdm, 0) ||
		    cdm_start_adds(&cdm, &word, CDM_FOREVER, &job) ||
		    !cdm_rises_above(&word, 100))
			_exit(1);
		_exit(write(ready[1], "", 1) != 1 || pause());
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_EMU));
	kill(pid, SIGKILL);
	EXPECT_EQ(-1, cdm_reap(pid, UNLOAD_MS));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
}

/* Pages of both nodes, a huge page, and pages shared after fork(2). */
TEST_F(rmmod, pages_are_saved)
{
	size_t page = sysconf(_SC_PAGESIZE), huge = cdm_thp_size();
	char *mem[CDM_NODES], *thp;
	struct cdm cdm[CDM_NODES];
	int go[2];
	pid_t pid;

	for (int i = 0; i < CDM_NODES; i++) {
		mem[i] = leave_on_node(&cdm[i], i, PAGES * page);
		ASSERT_NE(NULL, mem[i]);
		ASSERT_EQ(PAGES, cdm_on_node(&cdm[i], mem[i], PAGES * page));
	}
	thp = cdm_map_thp(1, SEED);
	if (thp) {
		ASSERT_EQ(0, cdm_open(&cdm[0], 0));
		ASSERT_EQ(0, cdm_migrate(&cdm[0], thp, huge, NODE, NULL));
		cdm_close(&cdm[0]);
		ASSERT_EQ(huge / page, cdm_on_node(&cdm[0], thp, huge));
	}
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char byte;

		_exit(read(go[0], &byte, 1) != 1 ||
		      cdm_on_node(&cdm[0], mem[0], PAGES * page) ||
		      cdm_check(mem[0], PAGES * page, SEED) != -1);
	}
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_FALSE(cdm_node_exists(1));
	for (int i = 0; i < CDM_NODES; i++)
		expect_saved(_metadata, &cdm[i], mem[i], PAGES * page);
	if (thp)
		expect_saved(_metadata, &cdm[0], thp, huge);
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, cdm_reap(pid, UNLOAD_MS));
	/* The memory is writable. */
	cdm_fill(mem[0], PAGES * page, SEED + 1);
	EXPECT_EQ(-1, cdm_check(mem[0], PAGES * page, SEED + 1));
}

/* A process that has pages on the node in every round. */
struct user {
	pid_t pid;
	int say;		/* commands, one byte each */
	int heard;		/* zero if it succeeded, else where it failed */
};

enum { USE_FEW = 'f', USE_MANY = 'm', CHECK = 'c', QUIT = 'q' };

/*
 * A user's memory: words of a pattern, and words that only this user counts in.
 */
struct usage {
	char *mem;
	size_t length;
	__u64 *words;		/* a page for the device and one for the CPU */
	__u64 rounds;
};

#define CPU_WORD(usage, page)	((usage)->words + (page) / sizeof(__u64))
#define ROUND_ADDS		100

/*
 * Brings pages to the node in every possible way, and leaves two jobs: one that
 * has ended, and one that closing the file ends. Returns where it failed.
 */
static int use_node(struct usage *usage, bool many)
{
	struct hmm_cdm_migrate m = { .size = sizeof(m) };
	int wrong = 0;
	struct cdm cdm;
	__u64 job;

	if (cdm_open(&cdm, 0))
		return 1;
	/* All users together have more memory than the node. */
	m.flags = HMM_CDM_MIGRATE_EVICT;
	m.addr = CDM_ADDR(usage->mem);
	m.length = many ? usage->length : PAGES * cdm.page;
	if (cdm_advise(&cdm, usage->words, 3 * cdm.page, HMM_CDM_PLACE_NODE,
		       HMM_CDM_ADVISE_MIGRATE | HMM_CDM_ADVISE_EVICT))
		wrong = 2;
	else if (cdm_run_adds(&cdm, usage->words, 1, ROUND_ADDS, NULL))
		wrong = 3;
	else if (cdm_ioctl(cdm.fd, HMM_CDM_IOC_MIGRATE, &m) ||
		 (!many && m.migrated + m.present != PAGES))
		wrong = 4;
	else if (many && !m.evicted && !m.skipped[HMM_CDM_SKIP_NO_MEMORY] &&
		 m.migrated + m.present < usage->length / cdm.page)
		wrong = 5;
	/* The word may be on either side. */
	else if (cdm_start_adds(&cdm, usage->words + 1, CDM_FOREVER, &job) ||
		 !cdm_rises_above(usage->words + 1, usage->words[1]))
		wrong = 6;
	cdm_close(&cdm);
	return wrong;
}

/* Writes to the memory until the next command. */
static void use_cpu(struct usage *usage, size_t page, int from)
{
	struct pollfd event = { from, POLLIN, 0 };
	__u64 *word = CPU_WORD(usage, page);

	/* With pauses, so that unloading makes progress. */
	while (!poll(&event, 1, 1)) {
		usage->rounds++;
		__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
	}
}

/* All of it is in system memory, unchanged. */
static int check_usage(const struct usage *usage, const struct cdm *cdm,
		       __u64 adds)
{
	if (cdm_on_node(cdm, usage->mem, usage->length) ||
	    cdm_on_node(cdm, usage->words, 3 * cdm->page))
		return 7;
	if (cdm_check(usage->mem, usage->length, SEED) != -1)
		return 8;
	if (usage->words[0] != adds ||
	    *CPU_WORD(usage, cdm->page) != usage->rounds)
		return 9;
	return 0;
}

static int be_user(const struct cdm *cdm, size_t length, int from, int to)
{
	struct usage usage = {
		.mem = cdm_map(cdm, length),
		.length = length,
		.words = cdm_map(cdm, 3 * cdm->page),
	};
	__u64 adds = 0;
	char what;

	if (!usage.mem || !usage.words)
		return 1;
	cdm_fill(usage.mem, length, SEED);
	while (read(from, &what, 1) == 1 && what != QUIT) {
		char wrong;

		if (what == CHECK) {
			wrong = check_usage(&usage, cdm, adds);
		} else {
			wrong = use_node(&usage, what == USE_MANY);
			adds += ROUND_ADDS;
		}
		if (write(to, &wrong, 1) != 1)
			return 1;
		if (what != CHECK)
			use_cpu(&usage, cdm->page, from);
	}
	return 0;
}

static int start_user(struct user *user, const struct cdm *cdm, size_t length)
{
	int down[2], up[2];

	if (pipe(down) || pipe(up))
		return -errno;
	user->pid = fork();
	if (!user->pid) {
		close(down[1]);
		_exit(be_user(cdm, length, down[0], up[1]));
	}
	close(down[0]);
	close(up[1]);
	user->say = down[1];
	user->heard = up[0];
	return user->pid < 0 ? -errno : 0;
}

/* Sends a command to all users at once. Returns where one failed. */
static int tell_users(const struct user *users, int nr, char what)
{
	int wrong = 0;
	char heard;

	for (int i = 0; i < nr; i++)
		if (write(users[i].say, &what, 1) != 1)
			return -1;
	for (int i = 0; i < nr; i++)
		if (read(users[i].heard, &heard, 1) != 1)
			wrong = -1;
		else if (heard)
			wrong = heard;
	return wrong;
}

/*
 * Processes put the same memory on the node each time it is loaded, and write
 * to it during unloading; their jobs have just ended. Now and then they use
 * more than the node has and evict each other's pages.
 */
TEST_F_TIMEOUT(rmmod, hundred_times, 60)
{
	struct cdm_region *region = &self->regions[1];
	struct user users[USERS];
	__u64 start = cdm_now_ms();
	int rounds = 0;
	char text[64];
	struct cdm cdm;
	__u64 size;

	ASSERT_EQ(0, cdm_open(&cdm, 0));
	cdm_close(&cdm);
	ASSERT_EQ(0, cdm_unload(CDM_EMU));

	/* Part of the region is enough, and full sooner. */
	size = NODE_WINDOWS * cdm.window;
	ASSERT_LE(size, region->size);
	snprintf(text, sizeof(text), "%#llx+%#llx@%d",
		 (unsigned long long)region->start, (unsigned long long)size,
		 region->node);
	cdm.info.start = region->start;
	cdm.info.capacity = size;
	for (int i = 0; i < USERS; i++)
		ASSERT_EQ(0, start_user(&users[i], &cdm,
					(NODE_WINDOWS / USERS + 1) *
						cdm.window));

	/*
	 * Fewer rounds on a slow kernel or a busy machine; the log has their
	 * number.
	 */
	while (rounds < TIMES && (rounds < TIMES / 10 ||
				  cdm_now_ms() < start + ENOUGH_MS)) {
		/* Now and then the library as well. */
		if (rounds % 10 == 9) {
			ASSERT_EQ(0, cdm_unload(CDM_CORE));
			ASSERT_EQ(0, cdm_load(CDM_CORE, NULL));
		}
		ASSERT_EQ(0, cdm_load(CDM_EMU, text));
		ASSERT_EQ(0, tell_users(users, USERS, rounds % 20 == 19 ?
							      USE_MANY :
							      USE_FEW));
		ASSERT_EQ(0, cdm_unload(CDM_EMU));
		ASSERT_FALSE(cdm_node_exists(0));
		ASSERT_EQ(0, tell_users(users, USERS, CHECK));
		rounds++;
	}
	TH_LOG("%d rounds of %d in %llu ms", rounds, TIMES,
	       (unsigned long long)(cdm_now_ms() - start));
	for (int i = 0; i < USERS; i++) {
		char what = QUIT;

		ASSERT_EQ(1, write(users[i].say, &what, 1));
		EXPECT_EQ(0, cdm_reap(users[i].pid, UNLOAD_MS));
		close(users[i].say);
		close(users[i].heard);
	}
}

/* Processes exit with pages on the node while it is unloaded. */
TEST_F(rmmod, exit_meanwhile)
{
	size_t page = sysconf(_SC_PAGESIZE);
	pid_t pids[4];
	struct cdm cdm;
	int ready[2];
	char byte;

	ASSERT_EQ(0, pipe(ready));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			if (!leave_on_node(&cdm, 0, 16 * PAGES * page) ||
			    write(ready[1], "", 1) != 1)
				_exit(1);
			cdm_sleep_ms(10 * i);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		EXPECT_EQ(0, cdm_reap(pids[i], UNLOAD_MS));
}

/* Memory on the first node, with its second page pinned by a pipe. */
static char *leave_pinned(struct cdm *cdm, size_t length, int *pipes)
{
	char *mem = leave_on_node(cdm, 0, length);
	struct iovec iov = { mem + cdm->page, cdm->page };

	if (!mem || pipe(pipes) ||
	    vmsplice(pipes[1], &iov, 1, 0) != (ssize_t)cdm->page)
		return NULL;
	return mem;
}

/* Unloads in the background, as it has to wait. */
static pid_t start_unload(const int *pipes)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	/* This process's ends of the pipe would pin the page as well. */
	close(pipes[0]);
	close(pipes[1]);
	_exit(cdm_unload(CDM_EMU) != 0);
}

/* Waits for a message of a module about @frame. */
static bool frame_is_reported(int log, __u64 frame)
{
	__u64 deadline = cdm_now_ms() + UNLOAD_MS;
	char text[32], line[512];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)frame);
	while (!cdm_log_find(log, text, line, sizeof(line))) {
		if (cdm_now_ms() > deadline)
			return false;
		cdm_sleep_ms(50);
	}
	return true;
}

/*
 * While a page is pinned, unloading reports it; it completes when the pin is
 * dropped.
 */
TEST_F(rmmod, pinned)
{
	size_t page = sysconf(_SC_PAGESIZE), length = 8 * page;
	char *copy = malloc(page), *mem;
	__u64 frame, now = 0;
	int pipes[2], log;
	struct cdm cdm;
	pid_t pid;

	mem = leave_pinned(&cdm, length, pipes);
	ASSERT_NE(NULL, mem);
	frame = cdm_pfn(mem + page);
	log = cdm_log_open();
	ASSERT_LE(0, log);
	pid = start_unload(pipes);
	ASSERT_LE(0, pid);
	EXPECT_TRUE(frame_is_reported(log, frame));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	/* While removal tries to move it, for a moment, there is no frame. */
	for (int i = 0; i < 1000 && !now; i++) {
		now = cdm_pfn(mem + page);
		cdm_sleep_ms(!now);
	}
	EXPECT_EQ(frame, now);
	ASSERT_EQ((ssize_t)page, read(pipes[0], copy, page));
	EXPECT_EQ(0, cdm_reap(pid, UNLOAD_MS));
	EXPECT_EQ(0, memcmp(copy, mem + page, page));
	expect_saved(_metadata, &cdm, mem, length);
	EXPECT_FALSE(cdm_loaded(CDM_EMU));
	free(copy);
}

/*
 * The pin is not dropped: unloading completes after its time limit, and the
 * page stays where it is, with its content. The memory can be used again once
 * the page is free.
 */
TEST_F_TIMEOUT(rmmod, pinned_for_ever, 90)
{
	size_t page = sysconf(_SC_PAGESIZE), length = 8 * page;
	char *copy = malloc(page), *mem;
	struct cdm cdm;
	int pipes[2];
	__u64 frame;
	pid_t pid;

	mem = leave_pinned(&cdm, length, pipes);
	ASSERT_NE(NULL, mem);
	frame = cdm_pfn(mem + page);
	pid = start_unload(pipes);
	ASSERT_LE(0, pid);
	EXPECT_EQ(0, cdm_reap(pid, 6 * UNLOAD_MS));
	EXPECT_FALSE(cdm_loaded(CDM_EMU));
	EXPECT_EQ(frame, cdm_pfn(mem + page));
	EXPECT_EQ(1, cdm_on_node(&cdm, mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	mem[page] ^= 1;
	mem[page] ^= 1;
	/* The library keeps the page, and its range is in use. */
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_CORE));
	EXPECT_EQ(-EBUSY, cdm_load(CDM_EMU, self->regions[0].text));

	ASSERT_EQ((ssize_t)page, read(pipes[0], copy, page));
	EXPECT_EQ(0, memcmp(copy, mem + page, page));
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->list));
	expect_saved(_metadata, &cdm, mem, length);
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	EXPECT_EQ(cdm.info.capacity, cdm.info.free);
	cdm_close(&cdm);
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_EQ(0, cdm_unload(CDM_CORE));
	free(copy);
}

/* A page that the hardware reports as damaged is never handed out again. */
TEST_F(rmmod, damaged)
{
	struct hmm_cdm_stats stats;
	struct cdm cdm;
	size_t capacity, wrong = 0;
	char *mem;
	__u64 frame;

	ASSERT_EQ(0, cdm_open(&cdm, 1));
	ASSERT_EQ(0, cdm_stats(&cdm, &stats));
	capacity = cdm.info.capacity;
	mem = cdm_map(&cdm, cdm.window);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, cdm.window, NODE, NULL));
	frame = cdm_pfn(mem);
	ASSERT_TRUE(cdm_pfn_on_node(&cdm, frame));
	if (madvise(mem, cdm.page, MADV_HWPOISON)) {
		if (errno == EBUSY && cdm_hash_4k())
			SKIP(return, "no private memory");
		ASSERT_EQ(EINVAL, errno);
		SKIP(return, "no injection of memory failures");
	}
	EXPECT_NE(frame, cdm_pfn(mem));
	munmap(mem, cdm.window);
	EXPECT_EQ(stats.node_free - 1,
		  cdm_free_settles(&cdm, stats.node_free - 1));
	mem = cdm_map(&cdm, capacity);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, capacity, NODE, NULL));
	EXPECT_EQ(stats.node_free - 1, cdm_on_node(&cdm, mem, capacity));
	for (size_t at = 0; at < capacity; at += cdm.page)
		wrong += cdm_pfn(mem + at) == frame;
	EXPECT_EQ(0, wrong);
	munmap(mem, capacity);
	cdm_close(&cdm);
	/* Registering the memory anew makes the page usable. */
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
}

TEST_HARNESS_MAIN

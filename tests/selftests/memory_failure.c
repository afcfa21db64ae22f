// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failure: a damaged page of the node is never used again. Processes
 * that map it get SIGBUS on access, no others do, and nobody reads other data
 * in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(MEMORY_FAILURE)
#define PAGES			16
#define BAD			5	/* the damaged page */
#define ROUNDS			100

#define CORRUPT			"/sys/kernel/debug/hwpoison/corrupt-pfn"

/* The signal that ended the last touch(). */
static struct {
	sigjmp_buf env;
	siginfo_t info;
} bus;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	bus.info = *info;
	siglongjmp(bus.env, 1);
}

static void catch_bus(void)
{
	struct sigaction action = {
		.sa_sigaction = on_bus,
		.sa_flags = SA_SIGINFO,
	};

	sigaction(SIGBUS, &action, NULL);
}

/* Reads or writes a byte; returns false for SIGBUS. */
static bool touch(char *at, bool write)
{
	if (sigsetjmp(bus.env, 1))
		return false;
	if (write)
		__atomic_store_n(at, 1, __ATOMIC_RELAXED);
	else
		__atomic_load_n(at, __ATOMIC_RELAXED);
	return true;
}

/* Accessing the page is a memory error at that very address. */
static bool is_lost(char *at, bool write)
{
	size_t page = sysconf(_SC_PAGESIZE);

	memset(&bus.info, 0, sizeof(bus.info));
	return !touch(at, write) && bus.info.si_code == BUS_MCEERR_AR &&
	       (size_t)bus.info.si_addr / page == (size_t)at / page &&
	       1UL << bus.info.si_addr_lsb == page;
}

/* Returns zero or a negative errno; 1 if the kernel sends SIGBUS at once. */
static int damage(void *at)
{
	if (sigsetjmp(bus.env, 1))
		return 1;
	return madvise(at, sysconf(_SC_PAGESIZE), MADV_HWPOISON) ? -errno : 0;
}

static int corrupt(__u64 pfn)
{
	char text[32];
	int fd = open(CORRUPT, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "%#llx", (unsigned long long)pfn);
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

FIXTURE(failure) {
	struct cdm_found found;
	struct cdm cdm;
	size_t page;
	size_t length;
	__u64 free;
	char *mem;
	char *bad;
	__u64 frame;
};

/* Memory with a pattern on the node, of which one page gets damaged. */
FIXTURE_SETUP(failure)
{
	ASSERT_EQ(0, cdm_remember(&self->found));
	if (madvise(NULL, 0, MADV_HWPOISON) && errno == EINVAL)
		SKIP(return, "no injection of memory failures");
	if (cdm_hash_4k())
		SKIP(return, "no private memory: users cannot be told");
	catch_bus();
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	self->bad = self->mem + BAD * self->page;
	self->frame = cdm_pfn(self->bad);
}

/* Loading the modules anew makes the frames usable again. */
FIXTURE_TEARDOWN_PARENT(failure)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* The undamaged pages are in their frames, with their content. */
static bool others_are_kept(const struct _test_data_failure *self)
{
	size_t words = self->page / sizeof(__u64);

	for (size_t i = 0; i < PAGES; i++) {
		const __u64 *at = (__u64 *)(self->mem + i * self->page);

		if (i == BAD)
			continue;
		for (size_t j = 0; j < words; j++)
			if (at[j] != cdm_word(SEED, i * words + j))
				return false;
	}
	return cdm_on_node(&self->cdm, self->mem, self->length) == PAGES - 1;
}

TEST_F(failure, user_is_told)
{
	char copy[8];
	struct iovec to = { copy, sizeof(copy) };
	struct iovec from = { self->bad, sizeof(copy) };
	struct hmm_cdm_migrate m;

	ASSERT_EQ(0, damage(self->bad));
	/* Accesses of any kind, also by the kernel. */
	EXPECT_TRUE(is_lost(self->bad, false));
	EXPECT_TRUE(is_lost(self->bad + self->page - 1, false));
	EXPECT_TRUE(is_lost(self->bad + 8, true));
	EXPECT_TRUE(is_lost(self->bad, false));
	EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(others_are_kept(self));
	/* The frame is unmapped, but not handed out again. */
	EXPECT_EQ(self->free - PAGES, cdm_free_pages(&self->cdm));
	/* Undamaged pages move as before; lost data does not come back. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM, &m));
	EXPECT_EQ(PAGES - 1, m.migrated);
	EXPECT_TRUE(is_lost(self->bad, false));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE, &m));
	EXPECT_EQ(PAGES - 1, m.migrated);
	EXPECT_TRUE(is_lost(self->bad, false));
	EXPECT_TRUE(others_are_kept(self));
	/* The process may discard the lost page. */
	ASSERT_EQ(0, madvise(self->bad, self->page, MADV_DONTNEED));
	EXPECT_TRUE(touch(self->bad, false));
	EXPECT_EQ(0, *self->bad);
	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(self->free - 1, cdm_free_settles(&self->cdm, self->free - 1));
}

/*
 * Soft offlining, of a page about to break: the kernel does it for system
 * memory and refuses it for the node's (pfn_to_online_page()). The page stays,
 * without extra references.
 */
TEST_F(failure, soft_offline)
{
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;

	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(-1, madvise(self->bad, self->page,
				      MADV_SOFT_OFFLINE));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(self->frame, cdm_pfn(self->bad));
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
		EXPECT_EQ(self->free - PAGES, cdm_free_pages(&self->cdm));
	}
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	EXPECT_EQ(self->length, wait.bytes_local);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM, &m));
	EXPECT_EQ(PAGES, m.migrated);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/*
 * The lost page still counts as a page of the process, and moves with its
 * mapping.
 */
TEST_F(failure, what_a_process_does_with_it)
{
	char *to;

	ASSERT_EQ(0, damage(self->bad));
	EXPECT_EQ(self->length / 1024, cdm_smaps(self->mem, "Rss:"));
	EXPECT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	EXPECT_EQ(0, mprotect(self->mem, self->length, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(is_lost(self->bad, true));
	to = cdm_map(&self->cdm, self->page);
	ASSERT_NE(NULL, to);
	ASSERT_EQ(to, mremap(self->bad, self->page, self->page,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_TRUE(is_lost(to, false));
	munmap(to, self->page);
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free - 1, cdm_free_settles(&self->cdm, self->free - 1));
}

/* A process that does not map the page notices nothing. */
TEST_F(failure, others_are_not_told)
{
	int ready[2], go[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm cdm;
		char *own;

		/* Not even a SIGBUS that it could catch. */
		signal(SIGBUS, SIG_DFL);
		munmap(self->mem, self->length);
		if (cdm_open(&cdm, 0))
			_exit(1);
		own = cdm_map(&cdm, self->length);
		if (!own)
			_exit(2);
		cdm_fill(own, self->length, SEED + 1);
		if (cdm_migrate(&cdm, own, self->length, NODE,
				NULL) ||
		    cdm_on_node(&cdm, own, self->length) != PAGES)
			_exit(3);
		if (write(ready[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(4);
		_exit(cdm_check(own, self->length, SEED + 1) == -1 &&
		      cdm_on_node(&cdm, own, self->length) == PAGES ? 0 : 5);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, damage(self->bad));
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_SETTLE_MS));
	EXPECT_TRUE(is_lost(self->bad, false));
}

/* Both processes that share the page get SIGBUS, each on its access. */
TEST_F(failure, all_users_are_told)
{
	int go[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char byte;

		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		if (!is_lost(self->bad, false) || !is_lost(self->bad, true))
			_exit(2);
		/* The same after the parent has unmapped it. */
		if (read(go[0], &byte, 1) != 1 || !is_lost(self->bad, true))
			_exit(3);
		_exit(others_are_kept(self) ? 0 : 4);
	}
	ASSERT_EQ(0, damage(self->bad));
	EXPECT_TRUE(is_lost(self->bad, true));
	EXPECT_TRUE(is_lost(self->bad, false));
	ASSERT_EQ(1, write(go[1], "", 1));
	cdm_sleep_ms(20);
	ASSERT_EQ(0, munmap(self->bad, self->page));
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_SETTLE_MS));
	/* Children that are born later, too. */
	ASSERT_EQ(0, damage(self->mem));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(!is_lost(self->mem, false));
	EXPECT_EQ(0, cdm_reap(pid, CDM_SETTLE_MS));
	EXPECT_TRUE(is_lost(self->mem, false));
}

/* A job over the page ends with its address. Other jobs go on. */
TEST_F(failure, device_is_told)
{
	size_t words = self->page / sizeof(__u64);
	struct hmm_cdm_wait wait;

	/* Now the device has entries for all of it. */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, PAGES * words, &wait));
	ASSERT_EQ(cdm_word_sum(SEED, PAGES * words), wait.result[0]);
	ASSERT_EQ(0, damage(self->bad));
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem, PAGES * words,
				       &wait));
	EXPECT_EQ(CDM_ADDR(self->bad), wait.fault_addr);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, self->bad, self->page, 1,
					&wait));
	EXPECT_EQ(CDM_ADDR(self->bad), wait.fault_addr);
	EXPECT_EQ(0, cdm_run_sum(&self->cdm, self->mem, BAD * words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, BAD * words), wait.result[0]);
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->bad + self->page,
				  self->page, 7, &wait));
	EXPECT_EQ(-1, cdm_check_value(self->bad + self->page, self->page, 7));
	EXPECT_TRUE(is_lost(self->bad, false));
}

/*
 * A free frame: no process gets a signal, and only this frame is not handed
 * out.
 */
TEST_F(failure, free_frame)
{
	struct hmm_cdm_stats stats;
	char *mem;

	if (access(CORRUPT, W_OK))
		SKIP(return, "no %s", CORRUPT);
	munmap(self->mem, self->length);
	ASSERT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	ASSERT_EQ(0, corrupt(self->frame));
	EXPECT_EQ(self->free - 1, cdm_free_pages(&self->cdm));
	/* A second report changes nothing. */
	ASSERT_EQ(0, corrupt(self->frame));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(self->free - 1, stats.node_free);
	EXPECT_EQ(self->free, stats.node_pages);
	/* The neighbour is the rest of a block, and so is allocated first. */
	mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, NODE, NULL));
	EXPECT_EQ(self->frame ^ 1, cdm_pfn(mem));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->length, NODE, NULL));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, mem, self->length));
	for (size_t at = 0; at < self->length; at += self->page)
		EXPECT_NE(self->frame, cdm_pfn(mem + at));
}

/*
 * A pinned page cannot be taken away, which the report returns. The device
 * loses access and nothing copies it; it is retired once the pin is dropped.
 */
TEST_F(failure, pinned)
{
	size_t words = self->page / sizeof(__u64);
	struct iovec iov = { self->bad, self->page };
	__u64 deadline = cdm_now_ms() + 5000 * CDM_PATIENCE;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;
	char *copy = malloc(self->page);
	int pipes[2];
	__u64 pfn;

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, PAGES * words, NULL));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ((ssize_t)self->page, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_EQ(-EBUSY, damage(self->bad));
	/* A retry unmaps the page for a moment. */
	do {
		pfn = cdm_pfn(self->bad);
	} while (!pfn && cdm_now_ms() < deadline);
	EXPECT_EQ(self->frame, pfn);
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem, PAGES * words,
				       &wait));
	EXPECT_EQ(CDM_ADDR(self->bad), wait.fault_addr);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM, &m));
	EXPECT_EQ(PAGES - 1, m.migrated);
	ASSERT_EQ((ssize_t)self->page, read(pipes[0], copy, self->page));
	while (!is_lost(self->bad, false) && cdm_now_ms() < deadline)
		cdm_sleep_ms(5);
	EXPECT_TRUE(is_lost(self->bad, false));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free - 1, cdm_free_settles(&self->cdm, self->free - 1));
	free(copy);
}

/* The damage is remembered after the node has gone, and reported then. */
TEST_F_TIMEOUT(failure, without_node, 120)
{
	ASSERT_EQ(0, damage(self->bad));
	cdm_close(&self->cdm);
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_TRUE(is_lost(self->bad, false));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	/* The region can be used again; the library remembers the damage. */
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_CORE));
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->found.list[0] ?
				   self->found.list : NULL));
	EXPECT_TRUE(is_lost(self->bad, false));
	EXPECT_EQ(0, munmap(self->mem, self->length));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_EQ(0, cdm_unload(CDM_CORE));
}

/*
 * Pages move in and out meanwhile. The page may be on either side when the
 * damage comes, or have left the frame: it is lost or intact, nothing else.
 */
TEST_F_TIMEOUT(failure, while_moving, 120)
{
	size_t words = self->page / sizeof(__u64);
	struct cdm_mover mover = { .target = SYSTEM };
	size_t lost = 0, kept = 0, wrong = 0;
	/* Static: siglongjmp() may lose locals that are in registers. */
	static size_t j;
	static int err;

	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	for (int round = 0; round < ROUNDS; round++) {
		size_t at = round % PAGES;
		char *page = self->mem + at * self->page;
		__u64 *word = (__u64 *)page;

		err = damage(page);
		for (j = 0; j < words; j++) {
			if (!touch(&page[j * sizeof(*word)], false)) {
				/* A pinned page is retired later. */
				if (err != -EBUSY)
					EXPECT_EQ(0, j);
				EXPECT_EQ(BUS_MCEERR_AR, bus.info.si_code);
				lost++;
				break;
			}
			wrong += word[j] != cdm_word(SEED, at * words + j);
			kept += j == words - 1;
		}
		/* A fresh page replaces it. */
		ASSERT_EQ(0, madvise(page, self->page, MADV_DONTNEED));
		for (size_t j = 0; j < words; j++)
			word[j] = cdm_word(SEED, at * words + j);
	}
	/* Calls may fail, as pages are damaged. */
	cdm_mover_end(&mover);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	TH_LOG("%zu pages lost, %zu kept", lost, kept);
	EXPECT_EQ(ROUNDS, lost + kept);
	EXPECT_LT(ROUNDS / 4, lost);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * The address space changes under a running job: from then on the device sees
 * what the CPU sees, or its job ends at the address that is gone.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"

#define PAGES			4
#define SEED			CDM_SEED(INVALIDATE)

/* Far above what the device counts to during a test. */
#define MARK			(CDM_FOREVER / 2)

FIXTURE(running) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 *word;	/* first word of the second page */
	__u64 job;
};

enum place {
	IN_SYSTEM,
	ON_NODE,
	THP,	/* a huge page that is partly unmapped */
};

FIXTURE_VARIANT(running) {
	enum place place;
};

FIXTURE_VARIANT_ADD(running, system) { IN_SYSTEM };
FIXTURE_VARIANT_ADD(running, node) { ON_NODE };
FIXTURE_VARIANT_ADD(running, thp) { THP };

/* A running job that counts in @word without end. */
FIXTURE_SETUP(running)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = variant->place == THP ? cdm_map_thp(1, SEED) :
		    cdm_map(&self->cdm, self->length);
	if (!self->mem && variant->place == THP)
		SKIP(return, "no transparent huge page to be had");
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, self->length);
	if (variant->place == ON_NODE) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE, NULL));
		ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem,
					     self->length));
	}
	self->word = (__u64 *)(self->mem + self->page);
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, self->word, CDM_FOREVER,
				    &self->job));
	ASSERT_TRUE(cdm_rises_above(self->word, 100));
}

FIXTURE_TEARDOWN(running)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* The job ends because it cannot write to @addr. */
static void expect_end(struct __test_metadata *_metadata,
		       const struct cdm *cdm, __u64 job, const void *addr)
{
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_wait(cdm, job, CDM_JOB_MS, &wait));
	EXPECT_EQ(-EFAULT, wait.status);
	EXPECT_EQ(CDM_ADDR(addr), wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
}

/* Nothing writes to @word any more. */
static bool stands_still(const __u64 *word)
{
	__u64 seen = __atomic_load_n(word, __ATOMIC_RELAXED);

	cdm_sleep_ms(50);
	return __atomic_load_n(word, __ATOMIC_RELAXED) == seen;
}

TEST_F(running, munmap)
{
	struct hmm_cdm_stats stats;

	ASSERT_EQ(0, munmap(self->word, self->page));
	expect_end(_metadata, &self->cdm, self->job, self->word);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_LT(0, stats.invalidations);
	EXPECT_LT(0, stats.invalidated_pages);
}

TEST_F(running, mprotect_read)
{
	ASSERT_EQ(0, mprotect(self->word, self->page, PROT_READ));
	/* From the moment the call returned. */
	EXPECT_TRUE(stands_still(self->word));
	expect_end(_metadata, &self->cdm, self->job, self->word);
}

TEST_F(running, mprotect_none)
{
	__u64 seen;

	ASSERT_EQ(0, mprotect(self->word, self->page, PROT_NONE));
	expect_end(_metadata, &self->cdm, self->job, self->word);
	ASSERT_EQ(0, mprotect(self->word, self->page, PROT_READ | PROT_WRITE));
	seen = *self->word;
	EXPECT_LT(100, seen);
	EXPECT_EQ(0, cdm_run_adds(&self->cdm, self->word, 1, 5, NULL));
	EXPECT_EQ(seen + 5, *self->word);
}

/* The content moves to the new address; the job stays at the old one. */
TEST_F(running, mremap)
{
	char *to = cdm_map(&self->cdm, self->page);
	__u64 pfn = cdm_pfn(self->word);
	void *moved;

	ASSERT_NE(NULL, to);
	moved = mremap(self->word, self->page, self->page,
		       MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, moved);
	EXPECT_TRUE(stands_still(moved));
	EXPECT_LT(100, *(__u64 *)moved);
	EXPECT_EQ(pfn, cdm_pfn(moved));
	expect_end(_metadata, &self->cdm, self->job, self->word);
	munmap(to, self->page);
}

/* A zeroed page replaces the old one: the count starts again. */
TEST_F(running, madv_dontneed)
{
	for (int i = 0; i < 10; i++) {
		__atomic_fetch_add(self->word, MARK, __ATOMIC_RELAXED);
		ASSERT_EQ(0, madvise(self->word, self->page, MADV_DONTNEED));
		EXPECT_GT(MARK, __atomic_load_n(self->word, __ATOMIC_RELAXED));
		ASSERT_TRUE(cdm_rises_above(self->word, 0));
	}
	ASSERT_EQ(0, munmap(self->word, self->page));
	expect_end(_metadata, &self->cdm, self->job, self->word);
}

/* Changes to other pages of the mapping do not disturb the job. */
TEST_F(running, neighbours)
{
	__u64 seen;

	for (int i = 0; i < 20; i++) {
		seen = __atomic_load_n(self->word, __ATOMIC_RELAXED);
		ASSERT_EQ(0, madvise(self->mem, self->page, MADV_DONTNEED));
		ASSERT_EQ(0, mprotect(self->mem + 2 * self->page, self->page,
				      i % 2 ? PROT_NONE : PROT_READ));
		ASSERT_TRUE(cdm_rises_above(self->word, seen));
	}
	ASSERT_EQ(0, munmap(self->mem, self->page));
	seen = __atomic_load_n(self->word, __ATOMIC_RELAXED);
	EXPECT_TRUE(cdm_rises_above(self->word, seen));
}

/* The child has its own memory, which the parent's device does not reach. */
static int forked_child(__u64 *word)
{
	if (!stands_still(word))
		return 1;
	word[1] = 42;
	if (!stands_still(word))
		return 2;
	__atomic_fetch_add(word, MARK, __ATOMIC_RELAXED);
	cdm_sleep_ms(20);
	return word[1] == 42 && word[0] >= MARK ? 0 : 3;
}

/*
 * After fork(2) both sides write: the device follows the process that opened
 * it.
 */
TEST_F(running, fork)
{
	for (int i = 0; i < 5; i++) {
		__u64 seen = __atomic_load_n(self->word, __ATOMIC_RELAXED);
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(forked_child(self->word));
		/*
		 * On even rounds the CPU writes first, on odd ones the device.
		 */
		if (i % 2 == 0)
			self->word[1] = i;
		EXPECT_TRUE(cdm_rises_above(self->word, seen));
		self->word[1] = i;
		EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
		EXPECT_EQ(i, self->word[1]);
		EXPECT_GT(MARK, __atomic_load_n(self->word, __ATOMIC_RELAXED));
	}
	ASSERT_EQ(0, munmap(self->word, self->page));
	expect_end(_metadata, &self->cdm, self->job, self->word);
}

#define BOTH	(HMM_CDM_ACCESS_READ | HMM_CDM_ACCESS_WRITE)

FIXTURE(idle) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
};

FIXTURE_SETUP(idle)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(idle)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* A new mapping at the same address replaces the old one for the device. */
TEST_F(idle, mapped_anew)
{
	__u64 sum = cdm_word_sum(SEED, self->length / 8);
	struct hmm_cdm_wait wait;
	void *anew;

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, munmap(self->mem, self->length));
		anew = mmap(self->mem, self->length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		ASSERT_EQ(self->mem, anew);
		cdm_fill(anew, self->length, SEED);
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, anew, self->length / 8,
					 &wait));
		EXPECT_EQ(sum, wait.result[0]);
		ASSERT_EQ(0, cdm_run_fill(&self->cdm, anew, self->length, i,
					  NULL));
		EXPECT_EQ(-1, cdm_check_value(anew, self->length, i));
	}
}

/* No count is lost while fork(2) shares the page and writes copy it. */
TEST_F(idle, fork_loses_nothing)
{
	const __u64 times = 300000;
	struct hmm_cdm_wait wait;
	__u64 *word = (__u64 *)self->mem;
	__u64 added = 0, job;

	*word = 0;
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, word, times, &job));
	while (cdm_wait(&self->cdm, job, 0, &wait) == -ETIMEDOUT) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(!stands_still(word));
		for (int i = 0; i < 1000; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
		added += 1000;
		EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	}
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(times + added, *word);
}

/* A job that only reads follows pointers in a ring until that is unmapped. */
TEST_F(idle, reader)
{
	__u64 *node = (__u64 *)self->mem;
	struct cdm_emu_walk walk = {
		.heads = CDM_ADDR(&node),
		.nr_heads = 1,
		.child = CDM_EMU_WALK_NONE,
		.count = 8,
	};
	struct hmm_cdm_wait wait;
	__u64 job;

	node[0] = CDM_ADDR(node);
	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_WALK,
				CDM_ARGS(CDM_ADDR(&walk)), &job));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 20, &wait));
	/* Reading is still allowed. */
	ASSERT_EQ(0, mprotect(node, self->page, PROT_READ));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 20, &wait));
	ASSERT_EQ(0, mprotect(node, self->page, PROT_NONE));
	ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
	EXPECT_EQ(-EFAULT, wait.status);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, wait.fault_access);
	EXPECT_LE(CDM_ADDR(node), wait.fault_addr);
	EXPECT_GT(CDM_ADDR(node) + 16, wait.fault_addr);
}

/* A fill of several windows, the last of which is unmapped meanwhile. */
TEST_F(idle, munmap_of_a_part)
{
	size_t window = self->cdm.window, length = 4 * window;
	char *mem = cdm_map(&self->cdm, length);
	struct hmm_cdm_wait wait;
	__u64 job;

	ASSERT_NE(NULL, mem);
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_FILL,
					CDM_ARGS(CDM_ADDR(mem), length, i + 1),
					&job));
		ASSERT_TRUE(cdm_rises_above((__u64 *)mem, i));
		ASSERT_EQ(0, munmap(mem + 3 * window, window));
		ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
		/* The job may have been faster. */
		if (wait.status) {
			EXPECT_EQ(-EFAULT, wait.status);
			EXPECT_LE(CDM_ADDR(mem) + 3 * window, wait.fault_addr);
			EXPECT_GT(CDM_ADDR(mem) + length, wait.fault_addr);
		}
		EXPECT_EQ(-1, cdm_check_value(mem, 3 * window, i + 1));
		ASSERT_EQ(mem + 3 * window,
			  mmap(mem + 3 * window, window,
			       PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			       0));
	}
	munmap(mem, length);
}

/*
 * Pages are replaced while device faults walk them: a page that a fault found,
 * but that is gone by then, does not get a device entry.
 */
TEST_F_TIMEOUT(idle, seen_and_gone, 60)
{
	size_t length = self->cdm.window, page = self->page;
	char *mem = cdm_map(&self->cdm, length);
	char *last = mem + length - page;
	struct hmm_cdm_wait wait;
	struct hmm_cdm_stats stats = {};
	__u64 value = 0, job;

	ASSERT_NE(NULL, mem);
	/* Adds zero, and faults whenever its page goes. */
	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_FETCH_ADD,
				CDM_ARGS(CDM_ADDR(last), 0, CDM_FOREVER),
				&job));
	/*
	 * With large base pages a window has few, which may take more rounds.
	 */
	for (int round = 0; round < 2000; round++) {
		__u64 sum = 0;

		if (stats.fault_retries && round >= 40 / CDM_PATIENCE)
			break;
		for (char *at = mem; at < last; at += page) {
			if ((at - mem) / page % 4 == 0)
				madvise(last, page, MADV_DONTNEED);
			madvise(at, page, MADV_DONTNEED);
			*(__u64 *)at = ++value;
			sum += value;
		}
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem, length / 8, &wait));
		ASSERT_EQ(sum, wait.result[0]);
		ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	}
	/* Otherwise the race was not met. */
	EXPECT_LT(0, stats.fault_retries);
	munmap(mem, length);
}

/* The device loses the entries of exactly the changed pages. */
TEST_F(idle, run_of_pages)
{
	enum { AROUND = 16, RUN = 10 };
	size_t page = self->page, window = self->cdm.window;
	size_t length = AROUND * page;
	char *mem = cdm_map(&self->cdm, 2 * window);
	char *first = mem + window - length / 2;	/* across two windows */
	struct hmm_cdm_page pages[AROUND];

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, first, length, 1, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, first, length, pages, NULL));
	for (int i = 0; i < AROUND; i++)
		EXPECT_EQ(BOTH, pages[i].device);
	/* mprotect() would split the mapping and so touch the whole window. */
	ASSERT_EQ(0, madvise(first + 3 * page, RUN * page, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_query(&self->cdm, first, length, pages, NULL));
	for (int i = 0; i < AROUND; i++)
		EXPECT_EQ(i < 3 || i >= 3 + RUN ? BOTH : 0,
			  pages[i].device);
	munmap(mem, 2 * window);
}

/* The same for one change over more windows than share a notifier. */
TEST_F(idle, many_windows)
{
	enum { WINDOWS = 40 };
	size_t window = self->cdm.window;
	char *mem = cdm_map(&self->cdm, WINDOWS * window);
	struct hmm_cdm_page info;

	ASSERT_NE(NULL, mem);
	for (size_t i = 0; i < WINDOWS; i++)
		ASSERT_EQ(0, cdm_run_adds(&self->cdm,
					  (__u64 *)(mem + i * window), 1, 1,
					  NULL));
	ASSERT_EQ(0, mprotect(mem, WINDOWS * window, PROT_READ));
	for (size_t i = 0; i < WINDOWS; i++) {
		ASSERT_EQ(0, cdm_query(&self->cdm, mem + i * window,
				       self->page, &info, NULL));
		EXPECT_EQ(0, info.device);
		EXPECT_EQ(-EFAULT, cdm_run_adds(&self->cdm,
						(__u64 *)(mem + i * window), 1,
						1, NULL));
	}
	munmap(mem, WINDOWS * window);
}

/*
 * Device writes make pages dirty, whatever the CPU's page table says: after
 * MADV_FREE the kernel may drop pages, but not those written since.
 */
TEST_F(idle, written_after_free)
{
	size_t page = self->page, length = 16 * page;
	char *mem = cdm_map(&self->cdm, length);
	__u64 *word = (__u64 *)mem;
	size_t dropped = 0;

	/* Pages in the LRU batch of another CPU are not dropped. */
	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_NE(NULL, mem);
	memset(mem, 1, length);
	ASSERT_EQ(0, madvise(mem, length, MADV_FREE));
	/* Writes to every other page. */
	for (size_t i = 0; i < 16; i += 2)
		ASSERT_EQ(0, cdm_run_fill(&self->cdm, mem + i * page, 64, 77,
					  NULL));
	for (int i = 0; i < 100 && !dropped; i++) {
		if (madvise(mem, length, MADV_PAGEOUT))
			SKIP(return, "no MADV_PAGEOUT");
		dropped = 16 - cdm_present(mem, length);
		cdm_sleep_ms(10);
	}
	if (!dropped)
		SKIP(return, "no page was dropped");
	for (size_t i = 0; i < 16; i += 2)
		EXPECT_EQ(77, word[i * page / 8]);
	munmap(mem, length);
}

enum way {
	MUNMAP,
	DONTNEED,
	MIGRATE,
	WAYS,
};

static int give_up(const struct cdm *cdm, char *mem, size_t length,
		   enum way way)
{
	switch (way) {
	case MUNMAP:
		return munmap(mem, length) ? -errno : 0;
	case DONTNEED:
		return madvise(mem, length, MADV_DONTNEED) ? -errno : 0;
	default:
		return cdm_migrate(cdm, mem, length, SYSTEM, NULL);
	}
}

/*
 * No frame is reused while the device may still write to it: the frames that
 * jobs wrote to get new users, which find zeros now and later.
 */
TEST_F_TIMEOUT(idle, frames_reused, 60)
{
	enum { JOBS = 4, ROUNDS = 4 * WAYS };
	size_t page = self->page, length = JOBS * page, pages;
	__u64 jobs[JOBS], old[JOBS], *pfns;
	struct hmm_cdm_populate p;
	struct cdm small;

	ASSERT_EQ(0, cdm_open(&small, 1));
	pages = cdm_free_pages(&small);
	pfns = calloc(pages, sizeof(*pfns));
	ASSERT_NE(NULL, pfns);
	for (int round = 0; round < ROUNDS; round++) {
		enum way way = round % WAYS;
		char *mem = cdm_map(&small, length);
		char *all = cdm_map(&small, pages * page);
		size_t found = 0, wrong = 0;

		ASSERT_NE(NULL, mem);
		ASSERT_NE(NULL, all);
		ASSERT_EQ(0, cdm_populate(&small, mem, length, 0, NULL));
		ASSERT_EQ(0, cdm_pfns(mem, length, old));
		for (int i = 0; i < JOBS; i++)
			ASSERT_EQ(0, cdm_start_adds(&small,
						    (__u64 *)(mem + i * page),
						    CDM_FOREVER, &jobs[i]));
		for (int i = 0; i < JOBS; i++)
			ASSERT_TRUE(cdm_rises_above((__u64 *)(mem + i * page),
						    100));

		ASSERT_EQ(0, give_up(&small, mem, length, way));
		/* All of the node, and so those frames as well. */
		ASSERT_EQ(0, cdm_populate(&small, all, pages * page, 0, &p));
		ASSERT_EQ(pages, p.populated);
		cdm_sleep_ms(50);
		ASSERT_EQ(0, cdm_pfns(all, pages * page, pfns));
		for (size_t i = 0; i < pages; i++)
			for (int j = 0; j < JOBS; j++) {
				if (pfns[i] != old[j])
					continue;
				found++;
				wrong += cdm_check_value(all + i * page, page,
							 0) != -1;
			}
		EXPECT_EQ(JOBS, found);
		EXPECT_EQ(0, wrong);
		/* The jobs go on where their memory is still mapped. */
		for (int i = 0; way != MUNMAP && i < JOBS; i++)
			EXPECT_TRUE(cdm_rises_above((__u64 *)(mem + i * page),
						    way == MIGRATE ? 100 : 0));
		munmap(mem, length);
		munmap(all, pages * page);
		for (int i = 0; i < JOBS; i++)
			expect_end(_metadata, &small, jobs[i], mem + i * page);
	}
	EXPECT_EQ(pages, cdm_free_settles(&small, pages));
	free(pfns);
	cdm_close(&small);
}

/* Jobs announce their ranges: one fault maps all of a window. */
TEST_F(idle, one_fault_for_a_window)
{
	size_t length = self->cdm.window;
	char *mem = cdm_map(&self->cdm, length);
	struct hmm_cdm_wait wait;
	struct hmm_cdm_stats stats;

	ASSERT_NE(NULL, mem);
	/* Absent pages: those of the whole job are faulted in. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, mem, length, 5, &wait));
	EXPECT_EQ(1, wait.faults);
	/* Present pages: a fault for one maps all. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length, NODE, NULL));
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, (__u64 *)mem, 0, 1, &wait));
	EXPECT_EQ(1, wait.faults);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem, length / 8, &wait));
	EXPECT_EQ(0, wait.faults);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(2, stats.faults);
	EXPECT_EQ(2 * length / self->page, stats.fault_pages);
	munmap(mem, length);
}

TEST_HARNESS_MAIN

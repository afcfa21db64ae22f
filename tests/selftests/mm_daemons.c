// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel threads that merge, sample, collapse and compact pages leave the
 * node alone and treat the process's other pages as usual, and no data is lost
 * while pages move.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(MM_DAEMONS)
#define PAGES			32
#define SETTINGS		6
#define RACE_MS			1000

#define KSM			"/sys/kernel/mm/ksm/"
#define THP			"/sys/kernel/mm/transparent_hugepage/"
#define NUMA			"/sys/kernel/debug/sched/numa_balancing/"

FIXTURE(daemons) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;
	__u64 pfns[PAGES];
	struct cdm_setting settings[SETTINGS];
	struct cdm_mover mover;
};

/* The first half is on the node. */
FIXTURE_SETUP(daemons)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->free = cdm_free_pages(&self->cdm);
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length / 2, NODE,
				 NULL));
	ASSERT_EQ(PAGES / 2,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, self->pfns));
}

FIXTURE_TEARDOWN(daemons)
{
	for (int i = SETTINGS; i--;)
		cdm_unset(&self->settings[i]);
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* Waits until a counter, in /proc/vmstat or a file, has risen by @more. */
static bool rises(long (*counter)(const char *name), const char *name,
		  long more)
{
	const __u64 deadline = cdm_now_ms() + 2 * CDM_SETTLE_MS;
	const long before = counter(name);

	while (counter(name) < before + more) {
		if (cdm_now_ms() > deadline)
			return false;
		cdm_sleep_ms(5);
	}
	return before >= 0;
}

/* Fills all pages with the same content. */
static void fill_alike(char *mem, size_t pages, size_t page, __u64 value)
{
	for (size_t i = 0; i < pages * page / sizeof(value); i++)
		((__u64 *)mem)[i] = value;
}

/* Number of different frames. */
static size_t frames(const char *mem, size_t pages, size_t page)
{
	__u64 pfns[PAGES];
	size_t count = 0;

	if (cdm_pfns(mem, pages * page, pfns))
		return 0;
	for (size_t i = 0; i < pages; i++) {
		size_t j = 0;

		while (j < i && pfns[j] != pfns[i])
			j++;
		count += pfns[i] && j == i;
	}
	return count;
}

static int merge_in_earnest(struct _test_data_daemons *self)
{
	return cdm_set(&self->settings[0], KSM "sleep_millisecs", "1") ?:
	       cdm_set(&self->settings[1], KSM "pages_to_scan", "2000") ?:
	       cdm_set(&self->settings[2], KSM "run", "1");
}

/* Identical pages are merged in system memory, and left alone on the node. */
TEST_F(daemons, ksm)
{
	const size_t half = PAGES / 2;
	char *system = self->mem + self->length / 2;
	__u64 pfns[PAGES];

	fill_alike(self->mem, PAGES, self->page, SEED);
	if (merge_in_earnest(self))
		SKIP(return, "no KSM");
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_MERGEABLE));
	ASSERT_TRUE(rises(cdm_value_of, KSM "full_scans", 4));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, half * sizeof(*pfns)));
	EXPECT_EQ(half, frames(self->mem, half, self->page));
	EXPECT_EQ(1, frames(system, half, self->page));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, system, self->length / 2));

	/* A write, by CPU or device, gets a page of its own. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, system, self->page, 5, NULL));
	EXPECT_EQ(-1, cdm_check_value(system, self->page, 5));
	EXPECT_EQ(-1, cdm_check_value(system + self->page,
				      (half - 1) * self->page, SEED));
	EXPECT_EQ(-1, cdm_check_value(self->mem, half * self->page, SEED));

	/* Unmerged, each address has its own page again. */
	ASSERT_EQ(0, madvise(system, self->length / 2, MADV_UNMERGEABLE));
	EXPECT_EQ(half, frames(system, half, self->page));
	EXPECT_EQ(-1, cdm_check_value(system + self->page,
				      (half - 1) * self->page, SEED));
}

/*
 * Merged pages stay: on the node KSM would merge other pages into them, and
 * look at their struct page after the memory is gone.
 */
TEST_F(daemons, ksm_merged_stays)
{
	const size_t half = PAGES / 2;
	char *system = self->mem + self->length / 2;
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;

	fill_alike(system, half, self->page, SEED);
	if (merge_in_earnest(self))
		SKIP(return, "no KSM");
	ASSERT_EQ(0, madvise(system, self->length / 2, MADV_MERGEABLE));
	ASSERT_TRUE(rises(cdm_value_of, KSM "full_scans", 4));
	ASSERT_EQ(1, frames(system, half, self->page));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, system, self->length / 2, NODE,
				 &m));
	EXPECT_EQ(half, m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(half, cdm_migrate_sum(&m));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, system, self->length / 2, SYSTEM,
				 &m));
	EXPECT_EQ(half, m.present);
	ASSERT_EQ(0, cdm_populate(&self->cdm, system, self->length / 2, 0,
				  &p));
	EXPECT_EQ(half, p.stayed);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, system, self->length / 2));
	EXPECT_EQ(-1, cdm_check_value(system, self->length / 2, SEED));

	/* Once unmerged, the pages move. */
	ASSERT_EQ(0, madvise(system, self->length / 2, MADV_UNMERGEABLE));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, system, self->length / 2, NODE,
				 &m));
	EXPECT_EQ(half, m.migrated);
	EXPECT_EQ(half, cdm_on_node(&self->cdm, system, self->length / 2));
	EXPECT_EQ(half, frames(system, half, self->page));
	EXPECT_EQ(-1, cdm_check_value(system, self->length / 2, SEED));
}

/* A thread that touches every page, so that the process has two. */
static void *touch(void *arg)
{
	struct _test_data_daemons *self = arg;

	while (!__atomic_load_n(&self->mover.stop, __ATOMIC_RELAXED))
		for (size_t i = 0; i < PAGES; i++)
			__atomic_load_n(self->mem + i * self->page, __ATOMIC_RELAXED);
	return NULL;
}

/* NUMA balancing samples accesses to system memory, and none to the node. */
TEST_F(daemons, numa_balancing)
{
	__u64 pfns[PAGES];
	pthread_t thread;
	bool sampled;

	if (cdm_set(&self->settings[0], NUMA "scan_delay_ms", "1") ||
	    cdm_set(&self->settings[1], NUMA "scan_period_min_ms", "5") ||
	    cdm_set(&self->settings[2], NUMA "scan_period_max_ms", "20") ||
	    cdm_set(&self->settings[3], "/proc/sys/kernel/numa_balancing",
		    "1"))
		SKIP(return, "no NUMA balancing");
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch, self));
	sampled = rises(cdm_vmstat, "numa_hint_faults", PAGES);
	for (int i = 0; sampled && i < 20; i++) {
		struct hmm_cdm_page pages[PAGES];

		/* Sampling a page takes away the CPU's rights. */
		ASSERT_EQ(0, cdm_query(&self->cdm, self->mem,
				       self->length / 2, pages, NULL));
		for (int j = 0; j < PAGES / 2; j++)
			EXPECT_EQ(HMM_CDM_ACCESS_READ | HMM_CDM_ACCESS_WRITE,
				  pages[j].cpu);
		cdm_sleep_ms(5);
	}
	__atomic_store_n(&self->mover.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (!sampled)
		SKIP(return, "the kernel samples nothing here");
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, PAGES / 2 * sizeof(*pfns)));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	/* The same while the pages move. */
	self->mover.interrupted = true;
	ASSERT_EQ(0, cdm_mover_start(&self->mover, &self->cdm, self->mem,
				     self->length));
	EXPECT_TRUE(rises(cdm_vmstat, "numa_pte_updates", 1));
	cdm_mover_end(&self->mover);
	EXPECT_EQ(0, self->mover.err);
	EXPECT_LT(0, self->mover.migrated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* khugepaged collapses system pages, but no range with a page on the node. */
TEST_F(daemons, khugepaged)
{
	const size_t size = cdm_thp_size();
	struct cdm_mover mover = { .interrupted = true };
	struct hmm_cdm_wait wait;
	__u64 pages, at;
	char *mem;

	if (!size || size > 8 << 20 ||
	    cdm_set(&self->settings[0], THP "khugepaged/scan_sleep_millisecs",
		    "0") ||
	    cdm_set(&self->settings[1], THP "khugepaged/alloc_sleep_millisecs",
		    "0") ||
	    cdm_set(&self->settings[2], THP "khugepaged/pages_to_scan",
		    "16384"))
		SKIP(return, "no huge pages, or too large ones");
	pages = size / self->page;
	mem = cdm_map(&self->cdm, 2 * size);
	ASSERT_NE(NULL, mem);
	/*
	 * cdm_map() aligns to the window, which has a huge page's size if there
	 * are any.
	 */
	ASSERT_EQ(0, CDM_ADDR(mem) % size);
	cdm_fill(mem, 2 * size, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, NODE, NULL));
	at = cdm_pfn(mem);
	ASSERT_TRUE(cdm_pfn_on_node(&self->cdm, at));
	ASSERT_EQ(0, madvise(mem, 2 * size, MADV_HUGEPAGE));
	/* The second range becomes a huge page. */
	for (int i = 0; cdm_smaps(mem, "AnonHugePages:") <= 0; i++) {
		ASSERT_GT(200 * CDM_PATIENCE, i);
		cdm_sleep_ms(20);
	}
	ASSERT_TRUE(rises(cdm_value_of, THP "khugepaged/full_scans", 3));
	EXPECT_EQ(size / 1024, cdm_smaps(mem, "AnonHugePages:"));
	EXPECT_EQ(at, cdm_pfn(mem));
	EXPECT_EQ(1, cdm_on_node(&self->cdm, mem, 2 * size));
	EXPECT_EQ(-1, cdm_check(mem, 2 * size, SEED));

	/* khugepaged and the mover compete, while the device reads. */
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, mem, 2 * size));
	at = cdm_now_ms() + RACE_MS;
	while (cdm_now_ms() < at || mover.migrated <= pages) {
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem, size / 4, &wait));
		ASSERT_EQ(cdm_word_sum(SEED, size / 4), wait.result[0]);
	}
	cdm_mover_end(&mover);
	EXPECT_EQ(0, mover.err);
	EXPECT_EQ(-1, cdm_check(mem, 2 * size, SEED));
	munmap(mem, 2 * size);
}

/* Compaction leaves the node alone, and pages that are moving there. */
TEST_F(daemons, compaction)
{
	const long before = cdm_vmstat("compact_free_scanned");
	__u64 end;
	struct hmm_cdm_wait wait;
	__u64 pfns[PAGES];

	if (before < 0 || cdm_write("/proc/sys/vm/compact_memory", "1"))
		SKIP(return, "no compaction");
	self->mover.interrupted = true;
	ASSERT_EQ(0, cdm_mover_start(&self->mover, &self->cdm,
				     self->mem + self->length / 2,
				     self->length / 2));
	end = cdm_now_ms() + RACE_MS;
	do {
		ASSERT_EQ(0, cdm_write("/proc/sys/vm/compact_memory", "1"));
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem,
					 self->length / 8, &wait));
		ASSERT_EQ(cdm_word_sum(SEED, self->length / 8),
			  wait.result[0]);
	} while (cdm_now_ms() < end || !self->mover.migrated);
	cdm_mover_end(&self->mover);
	EXPECT_EQ(0, self->mover.err);
	EXPECT_LT(before, cdm_vmstat("compact_free_scanned"));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, PAGES / 2 * sizeof(*pfns)));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_HARNESS_MAIN

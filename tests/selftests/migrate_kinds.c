// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_CDM_IOC_MIGRATE on other memory than anonymous base pages: huge pages
 * move whole, file pages stay where they are.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(MIGRATE_KINDS)
#define PAGES			16

FIXTURE(huge) {
	struct cdm cdm;
	char *mem;
	size_t size;
	size_t pages;
	struct hmm_cdm_migrate m;
};

FIXTURE_SETUP(huge)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->size = cdm_thp_size();
	if (self->size != self->cdm.window)
		SKIP(return, "no transparent huge page of a window's size");
	self->mem = cdm_map_thp(2, SEED);
	if (!self->mem)
		SKIP(return, "no transparent huge page to be had");
	self->pages = self->size / self->cdm.page;
}

FIXTURE_TEARDOWN(huge)
{
	munmap(self->mem, 2 * self->size);
	cdm_close(&self->cdm);
}

/* Two windows move whole: each becomes one aligned run of frames. */
TEST_F(huge, whole)
{
	struct hmm_cdm_page *info = calloc(2 * self->pages, sizeof(*info));
	__u64 *pfns = calloc(2 * self->pages, sizeof(*pfns));
	struct hmm_cdm_stats stats;
	size_t wrong = 0;

	ASSERT_NE(NULL, info);
	ASSERT_NE(NULL, pfns);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, 2 * self->size, NODE,
				 &self->m));
	EXPECT_EQ(2, self->m.huge);
	EXPECT_EQ(2 * self->pages, self->m.migrated);
	EXPECT_EQ(2 * self->pages, cdm_migrate_sum(&self->m));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * self->size, SEED));
	ASSERT_EQ(0, cdm_pfns(self->mem, 2 * self->size, pfns));
	for (size_t i = 0; i < 2 * self->pages; i++)
		wrong += !cdm_pfn_on_node(&self->cdm, pfns[i]) ||
			 pfns[i] != pfns[i / self->pages * self->pages] +
				    i % self->pages;
	EXPECT_EQ(0, wrong);
	/*
	 * But by the order in QUERY, no page is part of a larger folio any
	 * more.
	 */
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, 2 * self->size, info,
			       NULL));
	for (size_t i = 0; i < 2 * self->pages; i++)
		wrong += info[i].where != HMM_CDM_WHERE_NODE || info[i].order;
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, pfns[0] % self->pages);
	EXPECT_EQ(0, pfns[self->pages] % self->pages);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(2, stats.huge);
	EXPECT_EQ(2 * self->pages, stats.migrated_in);
	EXPECT_EQ(2 * self->size, stats.bytes_copied);

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, 2 * self->size, SYSTEM,
				 &self->m));
	EXPECT_EQ(2 * self->pages, self->m.migrated);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, 2 * self->size));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * self->size, SEED));
	free(info);
	free(pfns);
}

/* A part of a huge page moves; the rest stays, intact. */
TEST_F(huge, part)
{
	size_t part = self->size / 4;

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem + part,
				 self->size - 2 * part, NODE, &self->m));
	EXPECT_EQ(0, self->m.huge);
	EXPECT_EQ(self->pages / 2, self->m.migrated);
	EXPECT_EQ(self->pages / 2, cdm_migrate_sum(&self->m));
	EXPECT_EQ(self->pages / 2,
		  cdm_on_node(&self->cdm, self->mem, 2 * self->size));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * self->size, SEED));
}

/* A huge page shared after fork(2): both processes find it on the node. */
TEST_F(huge, shared_by_fork)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) != 1 ||
		      cdm_check(self->mem, 2 * self->size, SEED) != -1);
	}
	EXPECT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->size, NODE,
				 &self->m));
	EXPECT_EQ(self->pages, cdm_migrate_sum(&self->m));
	EXPECT_EQ(self->m.migrated,
		  cdm_on_node(&self->cdm, self->mem, self->size));
	cdm_fill(self->mem, 2 * self->size, SEED + 1);
	ASSERT_EQ(1, write(ready[1], &byte, 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * self->size, SEED + 1));
}

/* The huge zero page has no content, so nothing is copied. */
TEST_F(huge, zero_page)
{
	struct hmm_cdm_stats stats;

	ASSERT_EQ(0, madvise(self->mem, self->size, MADV_DONTNEED));
	ASSERT_EQ(-1, cdm_check_value(self->mem, self->size, 0));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->size, NODE,
				 &self->m));
	EXPECT_EQ(self->pages, self->m.populated);
	EXPECT_EQ(self->pages, cdm_migrate_sum(&self->m));
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, self->mem, self->size));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->size, 0));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(0, stats.bytes_copied);
}

/* Nor has it for POPULATE and for the device's first touch: it is untouched memory. */
TEST_F(huge, zero_page_is_untouched)
{
	struct hmm_cdm_populate p;
	struct hmm_cdm_page page;

	ASSERT_EQ(0, madvise(self->mem, 2 * self->size, MADV_DONTNEED));
	ASSERT_EQ(-1, cdm_check_value(self->mem, 2 * self->size, 0));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->cdm.page, &page,
			       NULL));
	EXPECT_EQ(HMM_CDM_PAGE_ZERO, page.flags);
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->size, 0, &p));
	EXPECT_EQ(self->pages, p.populated);
	EXPECT_EQ(0, p.stayed);
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, self->mem, self->size));

	ASSERT_EQ(0, cdm_advise(&self->cdm, self->mem, 2 * self->size,
				HMM_CDM_PLACE_NODE, 0));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem + self->size,
				  self->size, 5, NULL));
	EXPECT_EQ(2 * self->pages,
		  cdm_on_node(&self->cdm, self->mem, 2 * self->size));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->size, 0));
	EXPECT_EQ(-1, cdm_check_value(self->mem + self->size, self->size, 5));
}

FIXTURE(stays) {
	struct cdm cdm;
	char *mem;
	size_t length;
	struct hmm_cdm_migrate m;
};

FIXTURE_SETUP(stays)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
}

FIXTURE_TEARDOWN(stays)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* @mem has the pattern of SEED, and its pages cannot move. */
static void expect_stays(struct __test_metadata *_metadata,
			 const struct cdm *cdm, const char *mem, size_t length)
{
	struct hmm_cdm_migrate m;
	__u64 pfn;

	ASSERT_EQ(-1, cdm_check(mem, length, SEED));
	pfn = cdm_pfn(mem);
	for (int target = NODE; target <= SYSTEM; target++) {
		ASSERT_EQ(0, cdm_migrate(cdm, mem, length, target, &m));
		EXPECT_EQ(length / cdm->page, cdm_migrate_sum(&m));
		EXPECT_EQ(0, m.migrated + m.populated);
		EXPECT_EQ(pfn, cdm_pfn(mem));
		EXPECT_EQ(-1, cdm_check(mem, length, SEED));
		if (target == NODE)
			EXPECT_EQ(length / cdm->page,
				  m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	}
}

TEST_F(stays, shared_file)
{
	int fd = cdm_pattern_file(true, self->length, SEED);

	ASSERT_LE(0, fd);
	self->mem = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	expect_stays(_metadata, &self->cdm, self->mem, self->length);
}

TEST_F(stays, private_file)
{
	int fd = cdm_pattern_file(false, self->length, SEED);

	ASSERT_LE(0, fd);
	self->mem = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	expect_stays(_metadata, &self->cdm, self->mem, self->length);
	/* A page that was written to may move, with its content. */
	cdm_fill(self->mem, self->cdm.page, SEED + 1);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	EXPECT_EQ(self->m.migrated,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_GE(1, self->m.migrated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->cdm.page, SEED + 1));
}

TEST_F(stays, shared_anonymous)
{
	self->mem = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	/* Holes of shared memory are not populated. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES, self->m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	cdm_fill(self->mem, self->length, SEED);
	expect_stays(_metadata, &self->cdm, self->mem, self->length);
}

TEST_F(stays, hugetlb)
{
	self->mem = cdm_map_hugetlb(&self->length);
	if (!self->mem)
		SKIP(return, "no free hugetlb page");
	cdm_fill(self->mem, self->length, SEED);
	expect_stays(_metadata, &self->cdm, self->mem, self->length);
}

/* One call over adjacent mappings of different kinds. */
TEST_F(stays, side_by_side)
{
	size_t page = self->cdm.page, quarter = PAGES / 4 * page;
	int fd = cdm_pattern_file(true, quarter, SEED);
	char *file, *shared;

	ASSERT_LE(0, fd);
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	file = mmap(self->mem + quarter, quarter, PROT_READ,
		    MAP_SHARED | MAP_FIXED, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	shared = mmap(self->mem + 2 * quarter, quarter, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	cdm_fill(shared, quarter, SEED);
	cdm_fill(self->mem, quarter, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES / 4, self->m.migrated);
	EXPECT_EQ(PAGES / 4, self->m.populated);
	EXPECT_EQ(PAGES / 2, self->m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	EXPECT_EQ(PAGES / 2, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, quarter, SEED));
	EXPECT_EQ(-1, cdm_check(file, quarter, SEED));
	EXPECT_EQ(-1, cdm_check(shared, quarter, SEED));
	EXPECT_EQ(-1, cdm_check_value(self->mem + 3 * quarter, quarter, 0));
}

TEST_HARNESS_MAIN

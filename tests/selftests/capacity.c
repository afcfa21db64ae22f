// SPDX-License-Identifier: GPL-2.0
/*
 * A node's memory is accounted for, comes back, and is zeroed before reuse; a
 * full node is no error.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(CAPACITY)
#define PAGES			100

/* The second node is smaller, and so quickly filled. */
#define INDEX			1

FIXTURE(capacity) {
	struct cdm cdm;
	size_t page;
	__u64 pages;	/* of the node */
	__u64 windows;	/* free and contiguous ones before the test */
	struct hmm_cdm_migrate m;
	struct hmm_cdm_stats stats;
	struct hmm_cdm_info info;
};

FIXTURE_SETUP(capacity)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, INDEX));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	self->page = self->cdm.page;
	self->pages = self->stats.node_pages;
	self->windows = self->stats.node_contiguous;
	ASSERT_EQ(self->pages, self->stats.node_free);
	ASSERT_EQ(self->cdm.info.capacity, self->pages * self->page);
}

/* All pages are free again, and as contiguous as before. */
FIXTURE_TEARDOWN(capacity)
{
	EXPECT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));
	EXPECT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(self->windows, self->stats.node_contiguous);
	cdm_close(&self->cdm);
}

TEST_F(capacity, taken_and_given_back)
{
	size_t length = PAGES * self->page;
	char *mem = cdm_map(&self->cdm, length);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length, NODE, &self->m));
	EXPECT_EQ(PAGES, self->m.populated);
	EXPECT_EQ(self->pages - PAGES, cdm_free_pages(&self->cdm));
	ASSERT_EQ(0, cdm_info(self->cdm.fd, &self->info));
	EXPECT_EQ((self->pages - PAGES) * self->page, self->info.free);
	EXPECT_EQ(self->cdm.info.capacity, self->info.capacity);

	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length / 2, SYSTEM,
				 &self->m));
	EXPECT_EQ(self->pages - PAGES / 2,
		  cdm_free_settles(&self->cdm, self->pages - PAGES / 2));
	ASSERT_EQ(0, munmap(mem, length));
	EXPECT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));
}

static void use_and_exit(size_t pages)
{
	struct cdm cdm;
	char *mem;

	if (cdm_open(&cdm, INDEX))
		_exit(1);
	mem = cdm_map(&cdm, pages * cdm.page);
	if (cdm_migrate(&cdm, mem, pages * cdm.page, NODE, NULL))
		_exit(2);
	_exit(cdm_on_node(&cdm, mem, pages * cdm.page) != pages);
}

TEST_F(capacity, comes_back_at_exit)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		use_and_exit(PAGES);
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));
}

/* A free window counts as contiguous until one of its pages is used. */
TEST_F(capacity, contiguous_windows)
{
	size_t window = self->cdm.window;
	char *mem = cdm_map(&self->cdm, 2 * window);

	ASSERT_NE(NULL, mem);
	EXPECT_LT(0, self->windows);
	EXPECT_GE(self->cdm.info.capacity / window, self->windows);
	if (self->cdm.info.start % window == 0)
		EXPECT_EQ(self->cdm.info.capacity / window, self->windows);

	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, NODE, NULL));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(self->windows - 1, self->stats.node_contiguous);

	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem + window, window, NODE,
				 NULL));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(self->windows - 2, self->stats.node_contiguous);
	ASSERT_EQ(0, munmap(mem + window, window));
	EXPECT_EQ(self->pages - 1,
		  cdm_free_settles(&self->cdm, self->pages - 1));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(self->windows - 1, self->stats.node_contiguous);
	munmap(mem, window);
}

/* Every other page of the node is free: memory, but none contiguous. */
TEST_F(capacity, fragmented)
{
	char *mem = cdm_map(&self->cdm, self->cdm.info.capacity);
	size_t window = self->cdm.window;
	char *more;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->cdm.info.capacity,
				 NODE, &self->m));
	EXPECT_EQ(self->pages, self->m.populated);
	for (size_t i = 0; i < self->pages; i += 2)
		ASSERT_EQ(0, madvise(mem + i * self->page, self->page,
				     MADV_DONTNEED));
	EXPECT_EQ(self->pages / 2,
		  cdm_free_settles(&self->cdm, self->pages / 2));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(0, self->stats.node_contiguous);

	/* A huge page can move there all the same, as base pages. */
	more = cdm_thp_size() == window ? cdm_map_thp(1, SEED) : NULL;
	if (!more) {
		more = cdm_map(&self->cdm, window);
		ASSERT_NE(NULL, more);
		cdm_fill(more, window, SEED);
	}
	ASSERT_EQ(0, cdm_migrate(&self->cdm, more, window, NODE, &self->m));
	EXPECT_EQ(window / self->page, self->m.migrated);
	EXPECT_EQ(0, self->m.huge);
	EXPECT_EQ(window / self->page, cdm_on_node(&self->cdm, more, window));
	EXPECT_EQ(-1, cdm_check(more, window, SEED));
	munmap(more, window);
	munmap(mem, self->cdm.info.capacity);
}

/* More data than the node holds: what does not fit stays usable. */
TEST_F(capacity, full)
{
	size_t extra = 2 * self->cdm.window;
	size_t length = self->cdm.info.capacity + extra;
	size_t nr = length / self->page, wrong = 0;
	char *mem = cdm_map(&self->cdm, length);

	ASSERT_NE(NULL, mem);
	for (size_t i = 0; i < nr; i++)
		*(__u64 *)(mem + i * self->page) = cdm_word(SEED, i);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length, NODE, &self->m));
	EXPECT_EQ(self->pages, self->m.migrated);
	EXPECT_EQ(extra / self->page, self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(nr, cdm_migrate_sum(&self->m));
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, mem, length));
	EXPECT_EQ(0, cdm_free_pages(&self->cdm));
	for (size_t i = 0; i < nr; i++)
		wrong += *(__u64 *)(mem + i * self->page) != cdm_word(SEED, i);
	EXPECT_EQ(0, wrong);

	/* The device works on all of it, wherever it lies. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, mem + length - 2 * extra,
				  2 * extra, 77, NULL));
	EXPECT_EQ(-1, cdm_check_value(mem + length - 2 * extra, 2 * extra,
				      77));
	/* One freed page can be allocated again, and no other. */
	ASSERT_EQ(0, munmap(mem, self->page));
	EXPECT_EQ(1, cdm_free_settles(&self->cdm, 1));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem + self->page,
				 length - self->page, NODE, &self->m));
	EXPECT_EQ(1, self->m.migrated);
	EXPECT_EQ(extra / self->page - 1,
		  self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	munmap(mem, length);
}

/* No process sees what another one left in the node's memory. */
TEST_F(capacity, comes_out_clean)
{
	size_t capacity = self->cdm.info.capacity;
	char *mem = cdm_map(&self->cdm, capacity);
	ssize_t leak;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, capacity, NODE, &self->m));
	EXPECT_EQ(self->pages, self->m.populated);
	/* Writes one word of each page, each at another offset. */
	for (size_t i = 0; i < self->pages; i++)
		((__u64 *)(mem + i * self->page))[i % (self->page / 8)] = ~0;
	ASSERT_EQ(0, munmap(mem, capacity));
	EXPECT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));

	mem = cdm_map(&self->cdm, capacity);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, capacity, NODE, &self->m));
	EXPECT_EQ(self->pages, self->m.populated);
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, mem, capacity));
	leak = cdm_check_value(mem, capacity, 0);
	EXPECT_EQ(-1, leak);
	munmap(mem, capacity);
}

/* A full node populates no holes: they stay holes. */
TEST_F(capacity, full_of_holes)
{
	size_t extra = self->cdm.window;
	size_t length = self->cdm.info.capacity + extra;
	char *mem = cdm_map(&self->cdm, length);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length, NODE, &self->m));
	EXPECT_EQ(self->pages, self->m.populated);
	EXPECT_EQ(extra / self->page, self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(0, cdm_free_pages(&self->cdm));
	EXPECT_EQ(self->pages, cdm_present(mem, length));
	EXPECT_EQ(-1, cdm_check_value(mem + length - extra, extra, 0));
	munmap(mem, length);
}

TEST_HARNESS_MAIN

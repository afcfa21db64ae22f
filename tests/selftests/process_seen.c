// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel reports about memory on the node: pagemap, PAGEMAP_SCAN,
 * smaps, numa_maps, mincore(2), and written pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(PROCESS_SEEN)
#define PAGES			16
/* Quarters: node pages, system pages, holes, node pages. */
#define QUARTER			(PAGES / 4)

FIXTURE(seen) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;
	int pagemap;
};

FIXTURE_SETUP(seen)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->pagemap);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(seen)
{
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	close(self->pagemap);
	cdm_close(&self->cdm);
}

static int read_pagemap(const struct _test_data_seen *self, __u64 *entries)
{
	const off_t at = CDM_ADDR(self->mem) / self->page * sizeof(*entries);

	return pread(self->pagemap, entries, PAGES * sizeof(*entries), at) ==
	       PAGES * (ssize_t)sizeof(*entries) ? 0 : -errno;
}

/* The pages that have @bits in pagemap, one bit for each; ~0 on error. */
static __u64 have(const struct _test_data_seen *self, __u64 bits)
{
	__u64 entries[PAGES], set = 0;

	if (read_pagemap(self, entries))
		return ~0ULL;
	for (int i = 0; i < PAGES; i++)
		set |= (__u64)((entries[i] & bits) == bits) << i;
	return set;
}

#define ALL			((1ULL << PAGES) - 1)

static int move(const struct _test_data_seen *self, int target)
{
	struct hmm_cdm_migrate m;
	int err = cdm_migrate(&self->cdm, self->mem, self->length, target, &m);

	return err ? err : (int)m.migrated;
}

/* Makes the quarters: node pages, system pages, holes, node pages. */
static int make_mixed(const struct _test_data_seen *self)
{
	char *second = self->mem + self->length / 4;

	if (cdm_migrate(&self->cdm, second, self->length / 4, SYSTEM, NULL))
		return -errno;
	return madvise(second + self->length / 4, self->length / 4,
		       MADV_DONTNEED) ? -errno : 0;
}

#define HOLES	(((1ULL << QUARTER) - 1) << 2 * QUARTER)

/* As anonymous memory, exclusive or shared after fork(2). */
TEST_F(seen, pagemap)
{
	struct cdm_child child;
	const __u64 in_system = ((1ULL << QUARTER) - 1) << QUARTER;

	EXPECT_EQ(ALL, have(self, PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE));
	ASSERT_EQ(0, make_mixed(self));
	EXPECT_EQ(ALL & ~HOLES, have(self, PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE));
	EXPECT_EQ(0, have(self, PAGEMAP_SWAPPED));
	EXPECT_EQ(0, have(self, PAGEMAP_FILE));
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(!((HOLES | in_system) >> i & 1),
			  cdm_pfn_on_node(&self->cdm, cdm_pfn(self->mem + i *
							      self->page)));
	ASSERT_EQ(0, cdm_child_start(&child, NULL, NULL));
	EXPECT_EQ(ALL & ~HOLES, have(self, PAGEMAP_PRESENT));
	EXPECT_EQ(0, have(self, PAGEMAP_EXCLUSIVE));
	ASSERT_EQ(0, cdm_child_end(&child));
	EXPECT_EQ(ALL & ~HOLES, have(self, PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE));
}

TEST_F(seen, mincore)
{
	unsigned char in[PAGES];

	ASSERT_EQ(0, make_mixed(self));
	memset(in, 0x55, sizeof(in));
	ASSERT_EQ(0, mincore(self->mem, self->length, in));
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(!(HOLES >> i & 1), in[i] & 1);
}

/* @field of smaps_rollup, summed over all mappings. */
static long rollup(const char *field)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kb = -1;

	if (!f)
		return -1;
	while (kb < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			kb = atol(line + strlen(field));
	fclose(f);
	return kb;
}

TEST_F(seen, smaps)
{
	const long kb = self->length / 1024;
	const char *const fields[] = {
		"Rss:", "Pss:", "Private_Dirty:", "Anonymous:", "Referenced:",
		"Pss_Dirty:",
	};
	const char *const none[] = {
		"Shared_Clean:", "Shared_Dirty:", "Private_Clean:",
		"LazyFree:", "AnonHugePages:", "Swap:", "SwapPss:", "KSM:",
	};
	struct cdm_child child;
	long sums[2];

	/* On the node, in system memory, on the node again. */
	for (int i = 0; i < 3; i++) {
		if (i)
			ASSERT_EQ(PAGES, move(self, i == 1 ? SYSTEM : NODE));
		cdm_fill(self->mem, self->length, SEED);
		for (size_t j = 0; j < ARRAY_SIZE(fields); j++) {
			EXPECT_EQ(kb, cdm_smaps(self->mem, fields[j])) {
				TH_LOG("%s after %d moves", fields[j], i);
			}
		}
		for (size_t j = 0; j < ARRAY_SIZE(none); j++) {
			EXPECT_GE(0, cdm_smaps(self->mem, none[j])) {
				TH_LOG("%s after %d moves", none[j], i);
			}
		}
	}
	/* Two processes share each page: it counts half for each. */
	ASSERT_EQ(0, cdm_child_start(&child, NULL, NULL));
	EXPECT_EQ(kb / 2, cdm_smaps(self->mem, "Pss:"));
	EXPECT_EQ(kb, cdm_smaps(self->mem, "Shared_Dirty:"));
	EXPECT_EQ(0, cdm_smaps(self->mem, "Private_Dirty:"));
	ASSERT_EQ(0, cdm_child_end(&child));

	/* The sums include these pages. */
	sums[0] = rollup("Anonymous:");
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	sums[1] = rollup("Anonymous:");
	EXPECT_LE(kb, sums[0] - sums[1]);
	EXPECT_GE(kb + 64 * (long)self->page / 1024, sums[0] - sums[1]);
}

/* Whether the numa_maps line of @addr contains @text. */
static bool numa_maps_has(const void *addr, const char *text)
{
	FILE *f = fopen("/proc/self/numa_maps", "r");
	unsigned long start;
	char line[512];
	bool has = false;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx ", &start) == 1 &&
		    start == (uintptr_t)addr)
			has = strstr(line, text);
	fclose(f);
	return has;
}

/* numa_maps leaves out pages on NUMA nodes without memory to allocate. */
TEST_F(seen, numa_maps)
{
	char text[32];

	if (access("/proc/self/numa_maps", R_OK))
		SKIP(return, "no /proc/self/numa_maps");
	/* Split from its neighbours, so that it has its own line. */
	EXPECT_TRUE(numa_maps_has(self->mem, " default"));
	EXPECT_FALSE(numa_maps_has(self->mem, "anon="));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length / 4,
				 SYSTEM, NULL));
	snprintf(text, sizeof(text), "anon=%d ", QUARTER);
	EXPECT_TRUE(numa_maps_has(self->mem, text));
	ASSERT_EQ(PAGES - QUARTER, move(self, SYSTEM));
	snprintf(text, sizeof(text), "anon=%d ", PAGES);
	EXPECT_TRUE(numa_maps_has(self->mem, text));
}

/*
 * The pages for which PAGEMAP_SCAN reports all of @mask, write-protected again
 * if @protect; ~0 on error.
 */
static __u64 scan(const struct _test_data_seen *self, __u64 mask, bool protect)
{
	struct page_region regions[PAGES];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = protect ? PM_SCAN_WP_MATCHING |
				   PM_SCAN_CHECK_WPASYNC : 0,
		.start = CDM_ADDR(self->mem),
		.end = CDM_ADDR(self->mem) + self->length,
		.vec = CDM_ADDR(regions),
		.vec_len = PAGES,
		.category_mask = mask,
		.return_mask = mask,
	};
	int n = ioctl(self->pagemap, PAGEMAP_SCAN, &arg);
	__u64 set = 0;

	if (n < 0 || arg.walk_end != arg.end)
		return ~0ULL;
	for (int i = 0; i < n; i++)
		for (__u64 at = regions[i].start; at < regions[i].end;
		     at += self->page)
			set |= 1ULL << (at - arg.start) / self->page;
	return set;
}

TEST_F(seen, pagemap_scan)
{
	__u64 found;

	ASSERT_EQ(0, make_mixed(self));
	found = scan(self, PAGE_IS_PRESENT, false);
	if (found == ~0ULL && errno == ENOTTY)
		SKIP(return, "no PAGEMAP_SCAN");
	EXPECT_EQ(ALL & ~HOLES, found);
	EXPECT_EQ(0, scan(self, PAGE_IS_FILE, false));
	EXPECT_EQ(0, scan(self, PAGE_IS_SWAPPED, false));
	EXPECT_EQ(0, scan(self, PAGE_IS_PFNZERO, false));
	EXPECT_EQ(0, scan(self, PAGE_IS_HUGE, false));
}

/*
 * Write tracking by userfaultfd sees writes of CPU and device, on the node and
 * elsewhere; moving a page is no write and hides none.
 */
TEST_F(seen, written_since_scan)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register range = {
		.range = { CDM_ADDR(self->mem), self->length },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct hmm_cdm_wait wait;

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &range))
		SKIP(return, "no write protection by userfaultfd: errno %d",
		     errno);
	/* The device has writable entries. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 1,
				  NULL));
	ASSERT_EQ(ALL, scan(self, PAGE_IS_WRITTEN, true));
	EXPECT_EQ(0, scan(self, PAGE_IS_WRITTEN, false));

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(self->length / 8, wait.result[0]);
	EXPECT_EQ(0, scan(self, PAGE_IS_WRITTEN, false));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem + 3 * self->page, 8, 2,
				  NULL));
	EXPECT_EQ(1 << 3, scan(self, PAGE_IS_WRITTEN, false));
	self->mem[7 * self->page] = 1;
	EXPECT_EQ(1 << 3 | 1 << 7, scan(self, PAGE_IS_WRITTEN, false));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(PAGES, move(self, i ? NODE : SYSTEM));
		EXPECT_EQ(1 << 3 | 1 << 7,
			  scan(self, PAGE_IS_WRITTEN, false));
	}
	/* Protected again, then written to at the new place. */
	ASSERT_EQ(1 << 3 | 1 << 7, scan(self, PAGE_IS_WRITTEN, true));
	ASSERT_EQ(PAGES, move(self, SYSTEM));
	self->mem[0] = 1;
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem + self->page, 8, 2,
				  NULL));
	EXPECT_EQ(3, scan(self, PAGE_IS_WRITTEN, false));
	close(uffd);
}

static int clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = write(fd, "4", 1) == 1 ? 0 : -errno;
	close(fd);
	return err;
}

/* The same for the soft-dirty bit, which needs no registration. */
TEST_F(seen, soft_dirty)
{
	struct hmm_cdm_wait wait;
	struct hmm_cdm_migrate m;

	if (have(self, PAGEMAP_SOFT_DIRTY) != ALL)
		SKIP(return, "no soft-dirty bits");
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 1,
				  NULL));
	ASSERT_EQ(0, clear_soft_dirty());
	EXPECT_EQ(0, have(self, PAGEMAP_SOFT_DIRTY));

	/* Reads by either side are no writes. */
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 1));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(0, have(self, PAGEMAP_SOFT_DIRTY));
	self->mem[2 * self->page] = 9;
	EXPECT_EQ(1 << 2, have(self, PAGEMAP_SOFT_DIRTY));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem + 5 * self->page, 8, 9,
				  NULL));
	EXPECT_EQ(1 << 2 | 1 << 5, have(self, PAGEMAP_SOFT_DIRTY));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));

	/* The bit moves with the page, and moving does not set it. */
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(PAGES, move(self, i ? NODE : SYSTEM));
		EXPECT_EQ(1 << 2 | 1 << 5, have(self, PAGEMAP_SOFT_DIRTY));
	}
	/* A new zero page counts as written. */
	ASSERT_EQ(0, madvise(self->mem + 8 * self->page, self->page,
			     MADV_DONTNEED));
	ASSERT_EQ(0, clear_soft_dirty());
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(1, m.populated);
	EXPECT_EQ(1 << 8, have(self, PAGEMAP_SOFT_DIRTY));
}

/* MADV_POPULATE fills the holes and moves no page. */
TEST_F(seen, populate_mixed)
{
	const int advice[] = { MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	__u64 before[PAGES], after[PAGES];
	char *holes = self->mem + self->length / 2;
	struct hmm_cdm_stats stats[2];

	ASSERT_EQ(0, make_mixed(self));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, before));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats[0]));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, madvise(self->mem, self->length, advice[i]));
		EXPECT_EQ(ALL, have(self, PAGEMAP_PRESENT));
		ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
		for (int j = 0; j < PAGES; j++)
			if (!(HOLES >> j & 1))
				EXPECT_EQ(before[j], after[j]);
		EXPECT_EQ(2 * QUARTER,
			  cdm_on_node(&self->cdm, self->mem, self->length));
		EXPECT_EQ(-1, cdm_check_value(holes, self->length / 4, 0));
		/*
		 * Populated for reading, all holes share one page; for writing,
		 * each has its own.
		 */
		EXPECT_EQ(!i, after[2 * QUARTER] == after[2 * QUARTER + 1]);
	}
	EXPECT_EQ(-1, cdm_check(self->mem, self->length / 2, SEED));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats[1]));
	EXPECT_EQ(stats[0].migrated_out, stats[1].migrated_out);
	/* The device can write to all of it. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 4,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 4));
}

TEST_HARNESS_MAIN

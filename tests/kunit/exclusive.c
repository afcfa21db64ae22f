// SPDX-License-Identifier: GPL-2.0
/* Device-exclusive pages. */
#include <linux/mman.h>

#include "testdev.h"

#define RIGHTS	(HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE | HMM_CDM_EXTENT_EXCLUSIVE)

static long take(struct testdev *dev, unsigned long first, unsigned long pages)
{
	return hmm_cdm_make_exclusive(MIRROR(dev), ADDR(dev, first), pages * PAGE_SIZE);
}

static void taken_back_by_who_touches_them(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct testdev_mirror *mirror = &dev->mirrors[0];
	unsigned int invalidates;
	u64 value = 0;

	testdev_fill(test, 0, PAGES);
	/* Taking them again changes nothing. */
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, take(dev, 0, PAGES), PAGES);
		for (int page = 0; page < PAGES; page++) {
			KUNIT_EXPECT_EQ(test, testdev_entry(dev, page, true).flags, RIGHTS);
			KUNIT_EXPECT_EQ(test, mirror->table[page].flags, RIGHTS);
			KUNIT_EXPECT_EQ(test, mirror->table[page].pfn,
					testdev_entry(dev, page, true).pfn);
		}
	}

	/* Each page is given back by itself, even on a read. */
	invalidates = mirror->invalidates;
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 2, &value), 0);
	KUNIT_EXPECT_EQ(test, value, testdev_pattern(2));
	KUNIT_EXPECT_GT(test, mirror->invalidates, invalidates);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 2, false).flags, 0);
	KUNIT_EXPECT_EQ(test, mirror->table[2].flags, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES - 1);
	/* A device fault gives the page back as well. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 2), 1,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 2, true).flags,
			HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE);
	/* The others are still exclusive. */
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 3, true).flags, RIGHTS);
	testdev_expect_content(test, 0, PAGES);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_SYSTEM, 0, 0);
}

static void query_knows_them(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_page seen[2];

	testdev_fill(test, 0, 2);
	KUNIT_EXPECT_EQ(test, take(dev, 0, 1), 1);
	KUNIT_ASSERT_EQ(test, hmm_cdm_query(MIRROR(dev), dev->at, 2 * PAGE_SIZE, seen), 0);
	KUNIT_EXPECT_EQ(test, seen[0].flags, HMM_CDM_PAGE_EXCLUSIVE);
	KUNIT_EXPECT_EQ(test, seen[0].device, HMM_CDM_ACCESS_READ | HMM_CDM_ACCESS_WRITE);
	KUNIT_EXPECT_EQ(test, seen[1].flags, 0);
	/* QUERY gives nothing back. */
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags, RIGHTS);
}

static void untouched_and_private_pages_are_faulted_in(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 value = 1;

	/*
	 * Pages in private device memory migrate to RAM first. That invalidates
	 * the whole window: pages taken before it are not exclusive any more.
	 */
	testdev_fill(test, 1, 1);
	testdev_migrate(test, NODE, 1, 1, 0);
	KUNIT_EXPECT_EQ(test, take(dev, 0, 2), 2);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 1, true).flags, RIGHTS);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, take(dev, 0, 2), 2);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags, RIGHTS);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 1, true).flags, RIGHTS);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 0, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 0);
	testdev_expect_content(test, 1, 1);
}

static void they_can_move(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);

	testdev_fill(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, take(dev, 0, PAGES), PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	/* Whether exclusive or not, the content is intact. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, PAGES * PAGE_SIZE,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	testdev_expect_content(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

static void what_cannot_be_taken(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	unsigned long ro = testdev_map_page(test, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
	unsigned long shared = testdev_map_page(test, PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_ANONYMOUS);
	struct hmm_cdm_mirror *mirror = MIRROR(dev);

	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, dev->at + 1, PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, dev->at, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, dev->at, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, -PAGE_SIZE, 2 * PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, ro, PAGE_SIZE), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, 0, PAGE_SIZE), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, shared, PAGE_SIZE), -EOPNOTSUPP);

	/* The count covers the pages before the first that fails. */
	testdev_fill(test, 0, PAGES);
	testdev_unmap(test, 3, 1);
	KUNIT_EXPECT_EQ(test, take(dev, 0, PAGES), 3);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 2, true).flags, RIGHTS);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 4, true).flags & HMM_CDM_EXTENT_EXCLUSIVE, 0);
	KUNIT_EXPECT_EQ(test, take(dev, 3, 1), -EFAULT);
}

static struct kunit_case exclusive_cases[] = {
	KUNIT_CASE(taken_back_by_who_touches_them),
	KUNIT_CASE(query_knows_them),
	KUNIT_CASE(untouched_and_private_pages_are_faulted_in),
	KUNIT_CASE(they_can_move),
	KUNIT_CASE(what_cannot_be_taken),
	{}
};

static struct kunit_suite exclusive_suite = {
	.name = "cdm_kunit_exclusive",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = exclusive_cases,
};

kunit_test_suite(exclusive_suite);

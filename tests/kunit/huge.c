// SPDX-License-Identifier: GPL-2.0
/* Huge pages in private memory. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "testdev.h"

#define ORDER	(PMD_SHIFT - PAGE_SHIFT)

static void expect_huge(struct kunit *test, u8 where, u16 flags)
{
	testdev_expect_where(test, 0, WINDOW_PAGES, where, ORDER, flags);
}

/* A window that may become a huge page. */
static struct testdev *window(struct kunit *test)
{
	struct testdev *dev = test->priv;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no huge pages in this kernel");
	testdev_map(test, WINDOW_PAGES, true);
	if (!MIRROR(dev))
		testdev_mirror(test, 0);
	return dev;
}

/* A huge page with content. */
static struct testdev *huge_page(struct kunit *test)
{
	struct testdev *dev = window(test);
	struct hmm_cdm_page page;

	testdev_fill(test, 0, WINDOW_PAGES);
	KUNIT_ASSERT_EQ(test, hmm_cdm_query(MIRROR(dev), dev->at, PAGE_SIZE, &page), 0);
	if (page.order != ORDER)
		kunit_skip(test, "the kernel has given no huge page");
	return dev;
}

/* A huge page in device memory. */
static struct testdev *moved(struct kunit *test)
{
	struct testdev *dev = huge_page(test);
	struct hmm_cdm_migrate arg = testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);

	KUNIT_ASSERT_EQ(test, arg.migrated, WINDOW_PAGES);
	KUNIT_ASSERT_EQ(test, arg.huge, 1);
	expect_huge(test, HMM_CDM_WHERE_NODE, HMM_CDM_PAGE_PRIVATE);
	return dev;
}

static void moves_in_one_piece(struct kunit *test)
{
	struct testdev *dev = moved(test);
	struct hmm_cdm_stats stats;
	unsigned int maps;
	u64 value = 0;

	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copies), 1);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), WINDOW_PAGES);
	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.huge, 1);
	KUNIT_EXPECT_EQ(test, stats.node_contiguous, dev->total / WINDOW_PAGES - 1);

	/* One entry covers all of it. */
	maps = dev->mirrors[0].maps;
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, PMD_SIZE,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, dev->mirrors[0].maps, maps + 1);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), WINDOW_PAGES);

	/* Any byte that the CPU touches migrates it to RAM. */
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 77, &value), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copies), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), WINDOW_PAGES);
	expect_huge(test, HMM_CDM_WHERE_SYSTEM, 0);
	testdev_expect_content(test, 0, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

/* A fault on a part installs entries for that part. */
static void a_part_is_entered(struct kunit *test)
{
	const unsigned long first = WINDOW_PAGES / 4;
	struct testdev *dev = moved(test);
	struct hmm_cdm_extent part[PAGES], whole[PAGES];

	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, first),
					    PAGES * PAGE_SIZE, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	for (int i = 0; i < PAGES; i++)
		part[i] = testdev_entry(dev, first + i, false);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, PMD_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), WINDOW_PAGES);
	for (int i = 0; i < PAGES; i++) {
		whole[i] = testdev_entry(dev, first + i, false);
		KUNIT_EXPECT_EQ(test, part[i].pfn, whole[i].pfn);
		KUNIT_EXPECT_EQ(test, part[i].offset, whole[i].offset);
		KUNIT_EXPECT_EQ(test, part[i].flags, whole[i].flags);
	}
	testdev_expect_content(test, 0, WINDOW_PAGES);
}

/* Another device cannot map it, as it cannot map single pages. */
static void of_no_use_to_others(struct kunit *test)
{
	static const struct hmm_cdm_ops none = {
		.version = HMM_CDM_API_VERSION,
		.owner = THIS_MODULE,
		.name = "cdm_kunit",
	};
	struct testdev *dev = moved(test);
	struct hmm_cdm_device *device = hmm_cdm_register_device(&none, NULL);
	struct hmm_cdm_mirror *mirror;
	struct hmm_cdm_page seen = {};

	KUNIT_ASSERT_FALSE(test, IS_ERR(device));
	mirror = hmm_cdm_create_mirror(device, current->mm, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(mirror));
	seen.where = 0xff;
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(mirror, ADDR(dev, 7), PAGE_SIZE, &seen), 0);
	KUNIT_EXPECT_EQ(test, seen.where, HMM_CDM_WHERE_ABSENT);
	/* The query has not split it. */
	expect_huge(test, HMM_CDM_WHERE_NODE, HMM_CDM_PAGE_PRIVATE);
	testdev_unmap(test, 7, 1);
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(mirror, ADDR(dev, 7), PAGE_SIZE, &seen), 0);
	KUNIT_EXPECT_EQ(test, seen.where, HMM_CDM_WHERE_UNMAPPED);
	hmm_cdm_destroy_mirror(mirror);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(device), 0);
}

static void goes_home_on_request(struct kunit *test)
{
	struct testdev *dev = moved(test);
	struct hmm_cdm_migrate arg;

	arg = testdev_migrate(test, SYSTEM, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, arg.huge, 1);
	expect_huge(test, HMM_CDM_WHERE_SYSTEM, 0);
	testdev_expect_content(test, 0, WINDOW_PAGES);

	testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), WINDOW_PAGES);
	expect_huge(test, HMM_CDM_WHERE_SYSTEM, 0);
	testdev_expect_content(test, 0, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copies), 4);
}

static void a_hole_becomes_one(struct kunit *test)
{
	struct testdev *dev = window(test);
	struct hmm_cdm_migrate arg;
	u64 value = 1;

	arg = testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.populated, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->zero_calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->zeroed), WINDOW_PAGES);
	expect_huge(test, HMM_CDM_WHERE_NODE, HMM_CDM_PAGE_PRIVATE);
	for (unsigned long i = 0; i < WINDOW_PAGES; i++) {
		KUNIT_ASSERT_EQ(test, testdev_read(dev, i, &value), 0);
		KUNIT_ASSERT_EQ(test, value, 0);
	}
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

static void a_part_is_unmapped(struct kunit *test)
{
	struct testdev *dev = moved(test);

	testdev_unmap(test, 100, 50);
	testdev_expect_where(test, 100, 50, HMM_CDM_WHERE_UNMAPPED, 0, 0);
	testdev_expect_where(test, 0, 100, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	testdev_expect_content(test, 0, 100);
	testdev_expect_content(test, 150, WINDOW_PAGES - 150);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), WINDOW_PAGES);
}

static void a_page_of_it_moves(struct kunit *test)
{
	struct testdev *dev = moved(test);
	struct hmm_cdm_migrate arg;

	arg = testdev_migrate(test, SYSTEM, 5, 1, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_out), 1);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), WINDOW_PAGES - 1);
	testdev_expect_where(test, 5, 1, HMM_CDM_WHERE_SYSTEM, 0, 0);
	testdev_expect_where(test, 0, 5, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	testdev_expect_where(test, 6, WINDOW_PAGES - 6, HMM_CDM_WHERE_NODE, 0,
			     HMM_CDM_PAGE_PRIVATE);
	testdev_expect_content(test, 0, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

/* A part of a huge page in RAM moves to the device. */
static void a_part_moves_in(struct kunit *test)
{
	struct hmm_cdm_migrate arg;

	huge_page(test);
	arg = testdev_migrate(test, NODE, 3, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES);
	KUNIT_EXPECT_EQ(test, arg.huge, 0);
	testdev_expect_where(test, 3, PAGES, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	testdev_expect_where(test, 0, 3, HMM_CDM_WHERE_SYSTEM, 0, 0);
	testdev_expect_content(test, 0, WINDOW_PAGES);
}

static void the_device_has_no_huge_page_left(struct kunit *test)
{
	struct testdev *dev = test->priv;
	unsigned long total = dev->total;
	struct hmm_cdm_migrate arg;

	/* One page of each window of device memory stays in use. */
	testdev_begin(test, total);
	testdev_migrate(test, NODE, 0, total, 0);
	for (unsigned long i = 0; i < total; i += WINDOW_PAGES)
		testdev_unmap(test, i + 1, WINDOW_PAGES - 1);
	KUNIT_ASSERT_EQ(test, testdev_in_use(dev), total / WINDOW_PAGES);

	huge_page(test);
	arg = testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, arg.huge, 0);
	testdev_expect_where(test, 0, WINDOW_PAGES, HMM_CDM_WHERE_NODE, 0,
			     HMM_CDM_PAGE_PRIVATE);
	testdev_expect_content(test, 0, WINDOW_PAGES);
}

static void copies_that_fail(struct kunit *test)
{
	struct testdev *dev = huge_page(test);
	struct hmm_cdm_migrate arg;
	u64 value = 0;

	dev->copies_left = 0;
	arg = testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), WINDOW_PAGES);
	expect_huge(test, HMM_CDM_WHERE_SYSTEM, 0);
	testdev_expect_content(test, 0, WINDOW_PAGES);

	testdev_heal(dev);
	testdev_migrate(test, NODE, 0, WINDOW_PAGES, 0);
	dev->copies_left = 0;
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 9, &value), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 0);
	arg = testdev_migrate(test, SYSTEM, 0, WINDOW_PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), WINDOW_PAGES);
	testdev_heal(dev);
	testdev_expect_content(test, 0, WINDOW_PAGES);
}

/* The first page's place on the device, which has an entry for it afterwards. */
static struct hmm_cdm_extent first_entry(struct kunit *test)
{
	struct testdev *dev = test->priv;

	KUNIT_ASSERT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, PAGE_SIZE, 0), 0);
	return testdev_entry(dev, 0, false);
}

/*
 * A huge page leaves its size in its first two frames. If these are not used again,
 * eviction still finds the others.
 */
static void retired_frames_hide_no_others(struct kunit *test)
{
	struct testdev *dev = moved(test);
	u64 at = first_entry(test).offset;

	testdev_migrate(test, SYSTEM, 0, WINDOW_PAGES, 0);
	KUNIT_ASSERT_EQ(test, testdev_in_use(dev), 0);
	for (int i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, at + i * PAGE_SIZE,
							  false), 0);
	dev->retired = 2;

	testdev_migrate(test, NODE, 0, PAGES, 0);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	KUNIT_EXPECT_EQ(test, first_entry(test).offset - at < PMD_SIZE, true);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), PAGES);
	testdev_expect_content(test, 0, WINDOW_PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

/*
 * A part of a huge page is damaged, and cannot be taken away as someone holds it.
 * The page is freed before that changes, and its frames get other users.
 */
static void other_users_of_the_frames_keep_them(struct kunit *test)
{
	struct testdev *dev = moved(test);
	struct hmm_cdm_extent entry = first_entry(test);
	struct folio *folio = page_folio(pfn_to_page(entry.pfn));
	unsigned long pages = dev->total - 1;

	folio_get(folio);
	dev->retired = 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, entry.offset + 5 * PAGE_SIZE,
						  true), -EBUSY);
	testdev_unmap(test, 0, WINDOW_PAGES);
	folio_put(folio);
	/* A retry that is under way has a reference, too. */
	for (int i = 0; i < 1000 && testdev_in_use(dev); i++)
		usleep_range(1000, 2000);
	KUNIT_ASSERT_EQ(test, testdev_in_use(dev), 0);

	testdev_map(test, pages, false);
	testdev_fill(test, 0, pages);
	testdev_migrate(test, NODE, 0, pages, 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), pages);
	/* Busy pages are retried every 20 ms. */
	msleep(200);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, pages * PAGE_SIZE, 0), 0);
	testdev_expect_content(test, 0, pages);
}

static struct kunit_case huge_cases[] = {
	KUNIT_CASE(moves_in_one_piece),
	KUNIT_CASE(a_part_is_entered),
	KUNIT_CASE(of_no_use_to_others),
	KUNIT_CASE(goes_home_on_request),
	KUNIT_CASE(a_hole_becomes_one),
	KUNIT_CASE(a_part_is_unmapped),
	KUNIT_CASE(a_page_of_it_moves),
	KUNIT_CASE(a_part_moves_in),
	KUNIT_CASE_SLOW(the_device_has_no_huge_page_left),
	KUNIT_CASE(copies_that_fail),
	KUNIT_CASE(retired_frames_hide_no_others),
	KUNIT_CASE(other_users_of_the_frames_keep_them),
	{}
};

static struct kunit_suite huge_suite = {
	.name = "cdm_kunit_huge",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = huge_cases,
};

kunit_test_suite(huge_suite);

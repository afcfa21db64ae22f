// SPDX-License-Identifier: GPL-2.0
/* Pages that the driver reports as bad are never used again. */
#include "testdev.h"

/* The device's offset of page @page of the process. */
static u64 offset_of(struct kunit *test, unsigned long page)
{
	struct testdev *dev = test->priv;

	for (u64 at = 0; at < dev->size; at += PAGE_SIZE)
		if (*(u64 *)(dev->vram + at) == testdev_pattern(page))
			return at;
	KUNIT_FAIL(test, "page %lu is not in the device's memory", page);
	return U64_MAX;
}

static void pages_that_are_going_to_break_are_rescued(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 bad, free;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	bad = offset_of(test, 3);
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, dev->size, false),
			-EINVAL);
	/* The page cannot be copied: it is retired, but stays in use. */
	dev->bad_offset = bad;
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, bad, false), -EIO);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
	testdev_heal(dev);
	dev->retired = 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, bad, false), 0);
	/* Only this page has moved out; it is neither free nor in use. */
	hmm_cdm_pages(dev->device, &free);
	KUNIT_EXPECT_EQ(test, free, dev->total - PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), PAGES - 1);
	testdev_expect_content(test, 0, PAGES);
	/* A free page, twice. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, 0, false), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, 0, false), 0);
	dev->retired += bad != 0;
}

static void lost_pages_are_a_fault(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 value, free, bad;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	bad = offset_of(test, 3);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 0),
					    PAGES * PAGE_SIZE, 0), 0);
	dev->retired = 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_retire_page(dev->device, bad, true), 0);
	hmm_cdm_pages(dev->device, &free);
	KUNIT_EXPECT_EQ(test, free, dev->total - PAGES);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 3, &value), -EFAULT);
	KUNIT_EXPECT_EQ(test, testdev_write(dev, 3, 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 3), 8, 0),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 0),
					    3 * PAGE_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), PAGES - 1);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 3, &value), -EFAULT);
	testdev_expect_content(test, 0, 3);
}

static struct kunit_case retire_cases[] = {
	KUNIT_CASE(pages_that_are_going_to_break_are_rescued),
	KUNIT_CASE(lost_pages_are_a_fault),
	{}
};

static struct kunit_suite retire_suite = {
	.name = "cdm_kunit_retire",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = retire_cases,
};

kunit_test_suite(retire_suite);

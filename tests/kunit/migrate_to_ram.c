// SPDX-License-Identifier: GPL-2.0
/* CPU access to private memory migrates it to RAM. */
#include "testdev.h"

/*
 * Two windows, each with content in PAGES pages: the last ones of the first
 * window, and the first ones of the second.
 */
#define SOME	(WINDOW_PAGES + PAGES)

/* Content in the last pages of one window and the first pages of the next. */
static struct testdev *two_windows(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, SOME);

	testdev_fill(test, WINDOW_PAGES - PAGES, 2 * PAGES);
	testdev_migrate(test, NODE, WINDOW_PAGES - PAGES, 2 * PAGES, 0);
	KUNIT_ASSERT_EQ(test, testdev_in_use(dev), 2 * PAGES);
	return dev;
}

static void a_touch_brings_a_window(struct kunit *test)
{
	struct testdev *dev = two_windows(test);
	struct hmm_cdm_stats stats;
	u64 value = 0;

	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, WINDOW_PAGES - PAGES),
					    2 * PAGES * PAGE_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 2 * PAGES);
	atomic_set(&dev->copy_calls, 0);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, WINDOW_PAGES - 3, &value), 0);
	KUNIT_EXPECT_EQ(test, value, testdev_pattern(WINDOW_PAGES - 3));

	/* All pages of the window in one copy, and none of the next window. */
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copy_calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_out), PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
	testdev_expect_where(test, WINDOW_PAGES - PAGES, PAGES,
			     HMM_CDM_WHERE_SYSTEM, 0, 0);
	testdev_expect_where(test, WINDOW_PAGES, PAGES, HMM_CDM_WHERE_NODE, 0,
			     HMM_CDM_PAGE_PRIVATE);
	/* The device's entries are gone as well. */
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, WINDOW_PAGES - 1, false).flags, 0);
	KUNIT_EXPECT_NE(test, testdev_entry(dev, WINDOW_PAGES, false).flags, 0);

	testdev_expect_content(test, WINDOW_PAGES - PAGES, 2 * PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copy_calls), 2);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	/* Not counted as moves that the mirror asked for. */
	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.migrated_out, 0);
	KUNIT_EXPECT_EQ(test, stats.bytes_copied, 2 * PAGES * PAGE_SIZE);
}

static void a_write_keeps_the_rest(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 value = 0;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, testdev_write(dev, 1, 7), 0);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 1, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 7);
	testdev_expect_content(test, 0, 1);
	testdev_expect_content(test, 2, PAGES - 2);
	/* The end of the page that was written to is intact, too. */
	KUNIT_EXPECT_EQ(test, testdev_write(dev, 1, testdev_pattern(1)), 0);
	testdev_expect_content(test, 1, 1);
}

static void what_the_device_wrote_comes_back(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_extent page;
	u64 value = 0;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 2), 1,
					    HMM_CDM_FAULT_WRITE), 0);
	page = testdev_entry(dev, 2, true);
	KUNIT_ASSERT_NE(test, page.flags & HMM_CDM_EXTENT_LOCAL, 0);
	*(u64 *)(dev->vram + page.offset) = 99;
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 2, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 99);
}

static void content_that_cannot_be_had_is_a_bus_error(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	int errors[] = { -EIO, 0 };
	u64 value = 0;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	for (int i = 0; i < ARRAY_SIZE(errors); i++) {
		dev->copies_left = 0;
		dev->copy_error = errors[i];
		KUNIT_EXPECT_EQ(test, testdev_read(dev, 0, &value), -EFAULT);
		KUNIT_EXPECT_EQ(test, testdev_write(dev, 0, 0), -EFAULT);
		KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
		KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), 0);
		testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_NODE, 0,
				     HMM_CDM_PAGE_PRIVATE);
	}
	/* The page is not lost if the device can copy it later. */
	testdev_heal(dev);
	testdev_expect_content(test, 0, PAGES);
}

static void only_the_page_that_is_touched_has_to_come(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 value = 0;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, 1, 0), 0);
	/* The last page cannot be copied, however the copies are divided. */
	dev->bad_offset = testdev_entry(dev, PAGES - 1, false).offset;
	testdev_expect_content(test, 0, PAGES - 1);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 1);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, PAGES - 1, &value), -EFAULT);
	testdev_heal(dev);
	testdev_expect_content(test, PAGES - 1, 1);
}

static struct kunit_case migrate_to_ram_cases[] = {
	KUNIT_CASE(a_touch_brings_a_window),
	KUNIT_CASE(a_write_keeps_the_rest),
	KUNIT_CASE(what_the_device_wrote_comes_back),
	KUNIT_CASE(content_that_cannot_be_had_is_a_bus_error),
	KUNIT_CASE(only_the_page_that_is_touched_has_to_come),
	{}
};

static struct kunit_suite migrate_to_ram_suite = {
	.name = "cdm_kunit_migrate_to_ram",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = migrate_to_ram_cases,
};

kunit_test_suite(migrate_to_ram_suite);

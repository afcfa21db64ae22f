// SPDX-License-Identifier: GPL-2.0
/* Moving pages to device memory and back, with and without errors. */
#include <linux/mman.h>

#include "testdev.h"

/*
 * More separate copies than the library passes to @copy at once and records
 * failures of.
 */
#define MANY	80

static void expect_in_system(struct kunit *test, unsigned long pages)
{
	testdev_expect_where(test, 0, pages, HMM_CDM_WHERE_SYSTEM, 0, 0);
}

static void expect_on_node(struct kunit *test, unsigned long pages)
{
	testdev_expect_where(test, 0, pages, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
}

static void there_and_back_on_request(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_migrate arg;
	struct hmm_cdm_stats stats;

	testdev_fill(test, 0, PAGES);
	arg = testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES);
	KUNIT_EXPECT_EQ(test, arg.huge, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_in), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
	expect_on_node(test, PAGES);
	/* Moving them again does nothing. */
	arg = testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.present, PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_in), PAGES);

	arg = testdev_migrate(test, SYSTEM, 0, PAGES - 3, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES - 3);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 3);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES - 3);
	expect_in_system(test, PAGES - 3);
	/* Evicts the rest, whoever has it. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 3);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_out), PAGES);
	arg = testdev_migrate(test, SYSTEM, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.present, PAGES);
	testdev_expect_content(test, 0, PAGES);

	/* A mirror does not count pages that others moved. */
	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.size, sizeof(stats));
	KUNIT_EXPECT_EQ(test, stats.flags, 0);
	KUNIT_EXPECT_EQ(test, stats.migrated_in, PAGES);
	KUNIT_EXPECT_EQ(test, stats.migrated_out, PAGES - 3);
	KUNIT_EXPECT_EQ(test, stats.bytes_copied, (2 * PAGES - 3) * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats.populated, 0);
	KUNIT_EXPECT_EQ(test, stats.jobs, 0);
	KUNIT_EXPECT_EQ(test, stats.node_pages, dev->total);
	KUNIT_EXPECT_EQ(test, stats.node_free, dev->total);
	KUNIT_EXPECT_EQ(test, stats.node_contiguous, dev->total / WINDOW_PAGES);
}

static void holes_are_zeroed_by_the_device(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_migrate arg;
	struct hmm_cdm_stats stats;
	u64 value = 1;

	arg = testdev_migrate(test, SYSTEM, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_ABSENT], PAGES);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_ABSENT, 0, 0);

	dev->zero_error = -EIO;
	arg = testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	KUNIT_EXPECT_GT(test, atomic_read(&dev->zero_calls), 0);
	/* The device pages are free and the addresses are holes, as before. */
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_ABSENT, 0, 0);

	testdev_heal(dev);
	arg = testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.populated, PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->zeroed), PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_in), 0);
	expect_on_node(test, PAGES);
	for (int i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_EQ(test, testdev_read(dev, i, &value), 0);
		KUNIT_EXPECT_EQ(test, value, 0);
	}

	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.populated, PAGES);
	KUNIT_EXPECT_EQ(test, stats.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	KUNIT_EXPECT_EQ(test, stats.skipped[HMM_CDM_SKIP_ABSENT], PAGES);
	KUNIT_EXPECT_EQ(test, stats.bytes_copied, 0);
}

static void untouched_memory_is_populated(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_populate arg = {
		.size = sizeof(arg),
		.addr = dev->at,
		.length = PAGES * PAGE_SIZE,
	};
	struct hmm_cdm_stats stats;

	testdev_fill(test, 1, 2);
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), 0);
	KUNIT_EXPECT_EQ(test, arg.populated, PAGES - 2);
	KUNIT_EXPECT_EQ(test, arg.stayed, 2);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES - 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->zeroed), PAGES - 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->copies), 0);
	testdev_expect_where(test, 1, 2, HMM_CDM_WHERE_SYSTEM, 0, 0);

	arg.flags = HMM_CDM_POPULATE_MIGRATE;
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, 2);
	KUNIT_EXPECT_EQ(test, arg.present, PAGES - 2);
	expect_on_node(test, PAGES);
	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.populated, PAGES - 2);
	KUNIT_EXPECT_EQ(test, stats.migrated_in, 2);
	testdev_expect_content(test, 1, 2);

	arg.flags = HMM_CDM_POPULATE_EVICT << 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), -EINVAL);
	arg.flags = 0;
	arg.size -= 8;
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), -EINVAL);
	arg.size = sizeof(arg);
	arg.addr++;
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), -EINVAL);
	arg.addr = dev->at;
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_populate(MIRROR(dev), &arg), -ENODEV);
}

/* The device's first touch of memory that is advised to be on the node. */
static void advice_places_what_is_faulted_in(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, 2 * PAGES);
	struct hmm_cdm_advise arg = {
		.size = sizeof(arg),
		.addr = dev->at,
		.length = PAGES * PAGE_SIZE,
		.place = HMM_CDM_PLACE_NODE,
	};

	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	/* Half of the advised range, and memory without advice. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, PAGES / 2 * PAGE_SIZE,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, PAGES), PAGES * PAGE_SIZE,
					    HMM_CDM_FAULT_WRITE), 0);
	expect_on_node(test, PAGES / 2);
	testdev_expect_where(test, PAGES, PAGES, HMM_CDM_WHERE_SYSTEM, 0, 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES / 2);
	KUNIT_EXPECT_NE(test, testdev_entry(dev, 0, true).flags & HMM_CDM_EXTENT_LOCAL, 0);

	/* Advice can be withdrawn. */
	arg.place = HMM_CDM_PLACE_NONE;
	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, PAGES / 2),
					    PAGES / 2 * PAGE_SIZE, HMM_CDM_FAULT_WRITE), 0);
	testdev_expect_where(test, PAGES / 2, PAGES / 2, HMM_CDM_WHERE_SYSTEM, 0, 0);
	expect_on_node(test, PAGES / 2);

	arg.flags = HMM_CDM_ADVISE_MIGRATE;
	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), -EINVAL);
	arg.flags = 0;
	arg.place = HMM_CDM_PLACE_NODE + 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), -EINVAL);
	arg.place = HMM_CDM_PLACE_NODE;
	arg.size += 8;
	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), -EINVAL);
	arg.size = sizeof(arg);
	arg.length++;
	KUNIT_EXPECT_EQ(test, hmm_cdm_advise(MIRROR(dev), &arg), -EINVAL);
}

/* Fills every second page, so that each needs its own copy. */
static void fill_every_second(struct kunit *test, unsigned long pages)
{
	for (unsigned long i = 0; i < pages; i += 2)
		testdev_fill(test, i, 1);
}

static void expect_every_second(struct kunit *test, unsigned long pages)
{
	struct testdev *dev = test->priv;
	u64 value = 1;

	for (unsigned long i = 0; i < pages; i += 2) {
		testdev_expect_content(test, i, 1);
		KUNIT_ASSERT_EQ(test, testdev_read(dev, i + 1, &value), 0);
		KUNIT_ASSERT_EQ(test, value, 0);
	}
}

/* Wherever copying stops, exactly the copied pages have moved. */
static void copies_that_stop_halfway(struct kunit *test)
{
	unsigned long pages = PAGES * (PAGES / 2 + 1);
	struct testdev *dev = testdev_begin(test, pages);
	struct hmm_cdm_migrate arg;
	int errors[] = { 0, -EIO };

	fill_every_second(test, pages);
	for (int good = 0; good <= PAGES / 2; good++) {
		int first = good * PAGES;

		/* With no page copied, @copy may return an error. */
		for (int i = 0; i < ARRAY_SIZE(errors) && (!i || !good); i++) {
			dev->copy_error = errors[i];
			dev->copies_left = good;
			arg = testdev_migrate(test, NODE, first, PAGES, 0);
			KUNIT_EXPECT_EQ(test, arg.migrated, good);
			KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED],
					PAGES / 2 - good);
			/* Holes need no copy. */
			KUNIT_EXPECT_EQ(test, arg.populated, i ? 0 : PAGES / 2);
		}
		KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES / 2 + good);
		for (int i = 0; i < PAGES / 2; i++)
			testdev_expect_where(test, first + 2 * i, 1, i < good ?
					     HMM_CDM_WHERE_NODE : HMM_CDM_WHERE_SYSTEM,
					     0, i < good ? HMM_CDM_PAGE_PRIVATE : 0);

		testdev_heal(dev);
		testdev_migrate(test, SYSTEM, first, PAGES, 0);
		KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	}
	expect_every_second(test, pages);
}

static void copies_that_stop_on_the_way_home(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_migrate arg;
	int freed;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	/*
	 * Every second page moves back first, so that the others need separate
	 * copies.
	 */
	for (int i = 1; i < PAGES; i += 2)
		testdev_migrate(test, SYSTEM, i, 1, 0);
	freed = atomic_read(&dev->freed);

	dev->copies_left = 1;
	arg = testdev_migrate(test, SYSTEM, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, 1);
	KUNIT_EXPECT_EQ(test, arg.present, PAGES / 2);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES / 2 - 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), freed + 1);
	testdev_expect_where(test, 2, 1, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);

	/* They cannot be evicted either, which is no error. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES / 2 - 1);
	dev->copies_left = 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 1);
	testdev_heal(dev);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), PAGES / 2 - 2);
	testdev_expect_content(test, 0, PAGES);
}

/*
 * Over several calls of @copy. Pages between two failures may count as failed.
 */
static void many_copies_that_fail(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, 2 * MANY);
	struct hmm_cdm_migrate arg;
	u64 failed;

	fill_every_second(test, 2 * MANY);
	dev->copies_left = MANY / 2;
	arg = testdev_migrate(test, NODE, 0, 2 * MANY, 0);
	failed = arg.skipped[HMM_CDM_SKIP_FAILED];
	KUNIT_EXPECT_GT(test, atomic_read(&dev->copy_calls), 1);
	KUNIT_EXPECT_EQ(test, arg.migrated, MANY / 2);
	KUNIT_EXPECT_GE(test, failed, MANY / 2);
	KUNIT_EXPECT_EQ(test, arg.populated, 2 * MANY - arg.migrated - failed);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), arg.migrated + arg.populated);

	testdev_heal(dev);
	expect_every_second(test, 2 * MANY);
	testdev_migrate(test, NODE, 0, 2 * MANY, 0);
	expect_on_node(test, 2 * MANY);
	expect_every_second(test, 2 * MANY);
}

static void more_copies_than_asked_for_are_misuse(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct kunit_suppressed_warning *handle;
	struct hmm_cdm_migrate arg;

	testdev_fill(test, 0, PAGES);
	dev->overstated = 1;
	handle = kunit_start_suppress_warning(test);
	KUNIT_ASSERT_NOT_NULL(test, handle);
	arg = testdev_migrate(test, NODE, 0, PAGES, 0);
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		KUNIT_EXPECT_GT(test, kunit_suppressed_warning_count(handle), 0);
	kunit_end_suppress_warning(test, handle);

	/* It is unknown which pages were copied. */
	KUNIT_EXPECT_EQ(test, arg.migrated, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);
	expect_in_system(test, PAGES);
	testdev_expect_content(test, 0, PAGES);
}

static void memory_that_is_full(struct kunit *test)
{
	struct testdev *dev = test->priv;
	unsigned long pages = dev->total + PAGES;
	struct hmm_cdm_migrate arg;

	testdev_begin(test, pages);
	testdev_fill(test, 0, pages);
	arg = testdev_migrate(test, NODE, 0, pages, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, dev->total);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_NO_MEMORY], PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), dev->total);

	/* Pages that are freed can be allocated again. */
	testdev_unmap(test, 0, 3);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), 3);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), dev->total - 3);
	arg = testdev_migrate(test, NODE, dev->total, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, 3);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), dev->total);
	testdev_expect_content(test, 3, pages - 3);
}

static void what_is_not_mapped_is_left_out(struct kunit *test)
{
	struct hmm_cdm_migrate arg;

	testdev_begin(test, PAGES);
	testdev_fill(test, 0, PAGES);
	testdev_unmap(test, 3, 1);
	arg = testdev_migrate(test, NODE, 0, PAGES, -ENOMEM);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES - 1);
	testdev_expect_where(test, 3, 1, HMM_CDM_WHERE_UNMAPPED, 0, 0);
	expect_on_node(test, 3);
	testdev_expect_content(test, 0, 3);
	testdev_expect_content(test, 4, PAGES - 4);
}

static void shared_memory_stays(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.addr = testdev_map_page(test, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS),
		.length = PAGE_SIZE,
	};

	KUNIT_ASSERT_EQ(test, hmm_cdm_fault(MIRROR(dev), arg.addr, 1,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(MIRROR(dev), &arg), 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_NOT_ANON], 1);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
}

static void arguments_are_checked(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	const struct hmm_cdm_migrate good = {
		.size = sizeof(good),
		.addr = dev->at,
		.length = PAGE_SIZE,
	};
	struct hmm_cdm_migrate arg;
	struct hmm_cdm_page page;

#define REFUSED(field, value) do {						\
	arg = good;								\
	arg.field = value;							\
	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(MIRROR(dev), &arg), -EINVAL);	\
} while (0)

	REFUSED(size, sizeof(arg) - 8);
	REFUSED(size, sizeof(arg) + 8);
	REFUSED(flags, HMM_CDM_MIGRATE_LEAVE_PEERS << 1);
	REFUSED(reserved, 1);
	REFUSED(target, 2);
	REFUSED(addr, dev->at + 1);
	REFUSED(addr, -PAGE_SIZE);
	REFUSED(length, 0);
	REFUSED(length, PAGE_SIZE + 1);
	REFUSED(length, -PAGE_SIZE);
#undef REFUSED

#define REFUSED(addr, length) \
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(MIRROR(dev), addr, length, &page), -EINVAL)

	REFUSED(dev->at + 1, PAGE_SIZE);
	REFUSED(dev->at, 0);
	REFUSED(dev->at, PAGE_SIZE + 1);
	REFUSED(-PAGE_SIZE, 2 * PAGE_SIZE);
#undef REFUSED
}

static struct kunit_case migrate_cases[] = {
	KUNIT_CASE(there_and_back_on_request),
	KUNIT_CASE(holes_are_zeroed_by_the_device),
	KUNIT_CASE(untouched_memory_is_populated),
	KUNIT_CASE(advice_places_what_is_faulted_in),
	KUNIT_CASE(copies_that_stop_halfway),
	KUNIT_CASE(copies_that_stop_on_the_way_home),
	KUNIT_CASE(many_copies_that_fail),
	KUNIT_CASE(more_copies_than_asked_for_are_misuse),
	KUNIT_CASE_SLOW(memory_that_is_full),
	KUNIT_CASE(what_is_not_mapped_is_left_out),
	KUNIT_CASE(shared_memory_stays),
	KUNIT_CASE(arguments_are_checked),
	{}
};

static struct kunit_suite migrate_suite = {
	.name = "cdm_kunit_migrate",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = migrate_cases,
};

kunit_test_suite(migrate_suite);

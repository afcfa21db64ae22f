// SPDX-License-Identifier: GPL-2.0
/* Mirrors and their page tables, from opening to release. */
#include <linux/err.h>
#include <linux/mman.h>
#include <linux/sched.h>

#include "testdev.h"

static void a_mirror_knows_its_own(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_mirror *mirror = MIRROR(dev);
	struct testdev_mirror *data = &dev->mirrors[0];

	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_device(mirror), dev->device);
	KUNIT_EXPECT_TRUE(test, hmm_cdm_mirror_is_of(mirror, current->mm));
	KUNIT_EXPECT_FALSE(test, hmm_cdm_mirror_is_of(mirror, NULL));
	/* The pointer is only compared. */
	KUNIT_EXPECT_FALSE(test, hmm_cdm_mirror_is_of(mirror, (struct mm_struct *)test));

	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_data(mirror), (void *)data);
	hmm_cdm_set_mirror_data(mirror, test);
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_data(mirror), (void *)test);
	hmm_cdm_set_mirror_data(mirror, data);
}

static void the_error_of_open_is_passed_on(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct testdev_mirror *data = &dev->mirrors[0];
	struct hmm_cdm_mirror *mirror;

	testdev_map(test, PAGES, false);
	dev->open_error = -ESTALE;
	mirror = hmm_cdm_create_mirror(dev->device, current->mm, data);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(mirror), -ESTALE);
	KUNIT_EXPECT_EQ(test, data->closed, 0);

	/* Without a mirror nothing keeps the device. */
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), 0);
	dev->device = hmm_cdm_register_device(&testdev_ops, dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev->device));

	dev->open_error = 0;
	testdev_mirror(test, 0);
	KUNIT_EXPECT_EQ(test, data->opened, 1);
}

static void an_address_space_is_needed(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_mirror *mirror;

	mirror = hmm_cdm_create_mirror(dev->device, NULL, NULL);
	KUNIT_EXPECT_TRUE(test, IS_ERR(mirror));
}

/* testdev_close() has the expectations. */
static void closed_once_and_without_entries(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct testdev_mirror *mirror = &dev->mirrors[0];
	unsigned int maps, invalidates;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES / 2, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(mirror->handle, dev->at,
					    PAGES * PAGE_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	testdev_close(test, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);

	/* After @close nothing is called, whatever happens to the memory. */
	maps = mirror->maps;
	invalidates = mirror->invalidates;
	testdev_expect_content(test, 0, PAGES);
	testdev_unmap(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, mirror->maps, maps);
	KUNIT_EXPECT_EQ(test, mirror->invalidates, invalidates);
}

static void mirrors_do_not_depend_on_memory(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_memory memory = testdev_memory(dev);
	u64 length = PAGES * PAGE_SIZE;

	/* The mirror is opened before the device has memory, */
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	testdev_begin(test, PAGES);
	testdev_fill(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, length, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, false).flags & HMM_CDM_EXTENT_LOCAL, 0);

	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, length, 0), 0);
	KUNIT_EXPECT_NE(test, testdev_entry(dev, 0, false).flags & HMM_CDM_EXTENT_LOCAL, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);

	/* and outlives it; the entries for it are gone. */
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_SYSTEM, 0, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), dev->at, length,
					    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags & HMM_CDM_EXTENT_LOCAL, 0);
	testdev_expect_content(test, 0, PAGES);
}

static void two_mirrors_of_a_process(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_mirror *other;

	testdev_mirror(test, 1);
	other = dev->mirrors[1].handle;
	testdev_fill(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(other, ADDR(dev, 1), 1, 0), 0);
	/* Each mirror has its own table. */
	KUNIT_EXPECT_NE(test, testdev_entries(dev, 1), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 1, false).flags, 0);

	/* Both are told about changes of the memory. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(MIRROR(dev), ADDR(dev, 1), 1, 0), 0);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 1), 0);

	/* Closing one does not affect the other. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(other, dev->at, 1, 0), 0);
	testdev_close(test, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 1), PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(other, dev->at, PAGES * PAGE_SIZE,
					    HMM_CDM_FAULT_WRITE), 0);
	testdev_expect_content(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 1), 0);
}

static struct kunit_case mirror_cases[] = {
	KUNIT_CASE(a_mirror_knows_its_own),
	KUNIT_CASE(the_error_of_open_is_passed_on),
	KUNIT_CASE(an_address_space_is_needed),
	KUNIT_CASE(closed_once_and_without_entries),
	KUNIT_CASE(mirrors_do_not_depend_on_memory),
	KUNIT_CASE(two_mirrors_of_a_process),
	{}
};

static struct kunit_suite mirror_suite = {
	.name = "cdm_kunit_mirror",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = mirror_cases,
};

kunit_test_suite(mirror_suite);

// SPDX-License-Identifier: GPL-2.0
/* Devices and their memory. */
#include <linux/device.h>
#include <linux/device/class.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "testdev.h"

/* More device files than there can be. */
#define FILES	256

static void refused_devices(struct kunit *test)
{
	struct hmm_cdm_ops bad = testdev_ops;

#define REFUSED(field, value, error) do {					\
	bad = testdev_ops;							\
	bad.field = value;							\
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(hmm_cdm_register_device(&bad, NULL)), \
			error);							\
} while (0)

	REFUSED(version, HMM_CDM_API_VERSION + 1, -EPROTO);
	REFUSED(version, 0, -EPROTO);
	REFUSED(flags, 1, -EINVAL);
	REFUSED(name, NULL, -EINVAL);
	REFUSED(owner, NULL, -EINVAL);
	/* Operations that are required together. */
	REFUSED(copy, NULL, -EINVAL);
	REFUSED(zero, NULL, -EINVAL);
	REFUSED(map, NULL, -EINVAL);
	REFUSED(invalidate, NULL, -EINVAL);
#undef REFUSED
	KUNIT_EXPECT_EQ(test, PTR_ERR(hmm_cdm_register_device(NULL, NULL)), -EINVAL);
}

static void count(const struct hmm_cdm_extent *page, void *arg)
{
	*(u32 *)arg += page->pages;
}

/* A device that only reads the library's page table. */
static void a_device_needs_no_operations(struct kunit *test)
{
	static const struct hmm_cdm_ops none = {
		.version = HMM_CDM_API_VERSION,
		.owner = THIS_MODULE,
		.name = "cdm_kunit",
	};
	unsigned long at = testdev_map_page(test, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS);
	struct hmm_cdm_memory memory = testdev_memory(test->priv);
	struct hmm_cdm_device *device;
	struct hmm_cdm_mirror *mirror;
	u32 seen = 0;
	u64 free = 1;

	device = hmm_cdm_register_device(&none, test);
	KUNIT_ASSERT_FALSE(test, IS_ERR(device));
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_device_data(device), (void *)test);
	/* Memory requires @copy. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(device, &memory), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(device, &free), 0);
	KUNIT_EXPECT_EQ(test, free, 0);

	mirror = hmm_cdm_create_mirror(device, current->mm, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(mirror));
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(mirror, at, 1, HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_access(mirror, at, true, count, &seen), 0);
	KUNIT_EXPECT_EQ(test, seen, 1);
	hmm_cdm_destroy_mirror(mirror);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(device), 0);
}

static void refused_memory(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_memory memory;

	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);

#define REFUSED(field, value, error) do {					\
	memory = testdev_memory(dev);						\
	memory.field = value;							\
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), error);	\
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), 0);		\
} while (0)

	REFUSED(type, 0, -EINVAL);
	REFUSED(type, 3, -EINVAL);
	REFUSED(flags, 2, -EINVAL);
	REFUSED(reserved, 1, -EINVAL);
	REFUSED(start, dev->size, -EINVAL);
	/* Set, though the library chooses the addresses of private memory. */
	REFUSED(of_node, (struct device_node *)test, -EINVAL);
	REFUSED(size, 0, -EINVAL);
	REFUSED(size, dev->size + PAGE_SIZE, -EINVAL);
	REFUSED(size, 1, -EINVAL);
	/* Aligned, but more than the address space. */
	REFUSED(size, 1ULL << 63, -ENOSPC);
	REFUSED(nid, -2, -ENXIO);
	REFUSED(nid, MAX_NUMNODES, -ENXIO);
#undef REFUSED

	/* RAM in use by the kernel cannot be device memory. */
	memory = testdev_memory(dev);
	memory.type = HMM_CDM_MEMORY_COHERENT;
	memory.start = round_down(virt_to_phys(dev), memremap_compat_align());
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EBUSY);
	memory.start = 0;
	memory.size = 0;
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EINVAL);

	/* Refused calls have left nothing behind. */
	memory = testdev_memory(dev);
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
}

static void memory_is_added_once(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_memory memory = testdev_memory(dev);

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EBUSY);
	/* With a file or without. */
	memory.flags = 0;
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EBUSY);

	/* The existing memory stays, and works. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), dev->total);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	testdev_expect_content(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
}

static void memory_comes_and_goes(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_memory memory = testdev_memory(dev);

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);

	KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), -ENODEV);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), -ENODEV);
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), 0);
	testdev_migrate(test, NODE, 0, PAGES, -ENODEV);
	testdev_migrate(test, SYSTEM, 0, PAGES, -ENODEV);

	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	testdev_migrate(test, NODE, 0, PAGES, 0);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_NODE, 0, HMM_CDM_PAGE_PRIVATE);
	testdev_expect_content(test, 0, PAGES);
}

static void a_device_in_use_stays(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	struct hmm_cdm_memory memory = testdev_memory(dev);

	/* With memory and mirrors, with mirrors only, with memory only. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), -EBUSY);
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), -EBUSY);
	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	testdev_close(test, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), -EBUSY);

	/* The refused calls have changed nothing. */
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_device_data(dev->device), (void *)dev);
	testdev_mirror(test, 1);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirrors[1].handle, dev->at, 1, 0), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), dev->total);
}

static const struct file_operations no_fops;

/*
 * Number of device files, counted in the class, as a kernel thread cannot look
 * into /dev.
 */
static int files(struct kunit *test)
{
	struct miscdevice misc = {
		.minor = MISC_DYNAMIC_MINOR,
		.name = "cdm_kunit",
		.fops = &no_fops,
	};
	char name[32];
	int found = 0;

	/* A file of the test's own leads to the class. */
	KUNIT_ASSERT_EQ(test, misc_register(&misc), 0);
	for (int i = 0; i < FILES; i++) {
		struct device *file;

		snprintf(name, sizeof(name), "hmm_cdm%d", i);
		file = class_find_device_by_name(misc.this_device->class, name);
		if (file) {
			put_device(file);
			found++;
		}
	}
	misc_deregister(&misc);
	return found;
}

static void there_is_a_file_unless_none_is_wanted(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_memory memory = testdev_memory(dev);
	int before;

	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	before = files(test);
	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	KUNIT_EXPECT_EQ(test, files(test), before);
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);

	memory.flags = 0;
	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	KUNIT_EXPECT_EQ(test, files(test), before + 1);
	KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, files(test), before);
}

static struct kunit_case device_cases[] = {
	KUNIT_CASE(refused_devices),
	KUNIT_CASE(a_device_needs_no_operations),
	KUNIT_CASE(refused_memory),
	KUNIT_CASE(memory_is_added_once),
	KUNIT_CASE(memory_comes_and_goes),
	KUNIT_CASE(a_device_in_use_stays),
	KUNIT_CASE(there_is_a_file_unless_none_is_wanted),
	{}
};

static struct kunit_suite device_suite = {
	.name = "cdm_kunit_device",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = device_cases,
};

kunit_test_suite(device_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the C interface, through nothing but its header: a device with
 * a little private memory, and an address space of the test's own. What a
 * process does with a device's file is tested by tests/selftests/samples.c, and
 * coherent memory by hmm-tests on cdm_dmirror.ko.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/atomic.h>
#include <linux/hmm_cdm.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define PAGES	8

/* What a test tells its device to do, and what the device was told. */
struct testdev {
	struct hmm_cdm_device *device;
	struct hmm_cdm_mirror *mirror;
	u64 size;
	u64 total;
	void *vram;
	unsigned long at;
	/* What @copy returns instead of copying, and @zero. */
	int (*bad_copy)(u32 nr);
	int zero_error;
	int open_error;
	atomic_t zeroed;
	atomic_t freed;
	atomic_t mapped;
	atomic_t invalidated;
	atomic_t closed;
	/* Entries that were there when it was closed. */
	int left;
};

static struct testdev *of(struct hmm_cdm_device *device)
{
	return hmm_cdm_device_data(device);
}

static int test_open(struct hmm_cdm_mirror *mirror)
{
	return of(hmm_cdm_mirror_device(mirror))->open_error;
}

static void test_close(struct hmm_cdm_mirror *mirror)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(mirror));

	dev->left = atomic_read(&dev->mapped);
	atomic_inc(&dev->closed);
}

/* Tests fault one window at most: all that is mapped goes with one @invalidate. */
static void test_map(struct hmm_cdm_mirror *mirror,
		     const struct hmm_cdm_extent *extent)
{
	atomic_add(extent->pages, &of(hmm_cdm_mirror_device(mirror))->mapped);
}

static void test_invalidate(struct hmm_cdm_mirror *mirror, u64 addr, u64 length)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(mirror));

	atomic_set(&dev->mapped, 0);
	atomic_inc(&dev->invalidated);
}

static int test_copy(struct hmm_cdm_device *device,
		     const struct hmm_cdm_copy *copies, u32 nr)
{
	struct testdev *dev = of(device);

	if (dev->bad_copy)
		return dev->bad_copy(nr);
	for (u32 i = 0; i < nr; i++) {
		const struct hmm_cdm_copy *copy = &copies[i];
		void *system = page_address(copy->page);
		void *device_side = dev->vram + copy->offset;
		size_t size = (size_t)copy->pages << PAGE_SHIFT;

		if (copy->direction == HMM_CDM_COPY_IN)
			memcpy(device_side, system, size);
		else
			memcpy(system, device_side, size);
	}
	return nr;
}

static int test_zero(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	struct testdev *dev = of(device);

	atomic_add(pages, &dev->zeroed);
	if (!dev->zero_error)
		memset(dev->vram + offset, 0, (size_t)pages << PAGE_SHIFT);
	return dev->zero_error;
}

static void test_freed(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	atomic_add(pages, &of(device)->freed);
}

static const struct hmm_cdm_ops ops = {
	.version = HMM_CDM_API_VERSION,
	.owner = THIS_MODULE,
	.name = "cdm_kunit",
	.open = test_open,
	.close = test_close,
	.map = test_map,
	.invalidate = test_invalidate,
	.copy = test_copy,
	.zero = test_zero,
	.freed = test_freed,
};

static struct hmm_cdm_memory memory_of(const struct testdev *dev)
{
	return (struct hmm_cdm_memory) {
		.type = HMM_CDM_MEMORY_PRIVATE,
		.flags = HMM_CDM_MEMORY_NO_FILE,
		.size = dev->size,
		.nid = HMM_CDM_ANY_NODE,
	};
}

static int capi_init(struct kunit *test)
{
	struct testdev *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	struct hmm_cdm_memory memory;

	KUNIT_ASSERT_NOT_NULL(test, dev);
	test->priv = dev;
	dev->size = 2 * memremap_compat_align();
	dev->vram = vmalloc(dev->size);
	KUNIT_ASSERT_NOT_NULL(test, dev->vram);
	dev->device = hmm_cdm_register_device(&ops, dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev->device));
	memory = memory_of(dev);
	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	dev->total = hmm_cdm_pages(dev->device, NULL);
	KUNIT_ASSERT_EQ(test, dev->total, dev->size >> PAGE_SHIFT);

	dev->at = kunit_vm_mmap(test, NULL, 0, PAGES * PAGE_SIZE,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_NE(test, dev->at, 0);
	dev->mirror = hmm_cdm_create_mirror(dev->device, current->mm, dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev->mirror));
	return 0;
}

/* After every test: nothing is left in use, and everything goes. */
static void capi_exit(struct kunit *test)
{
	struct testdev *dev = test->priv;
	u64 free;

	dev->bad_copy = NULL;
	if (!IS_ERR_OR_NULL(dev->mirror))
		hmm_cdm_destroy_mirror(dev->mirror);
	if (!IS_ERR_OR_NULL(dev->device)) {
		if (hmm_cdm_evict(dev->device) >= 0) {
			KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, &free),
					dev->total);
			KUNIT_EXPECT_EQ(test, free, dev->total);
		}
		hmm_cdm_remove_memory(dev->device);
		KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), 0);
	}
	vfree(dev->vram);
}

static u64 pattern(int page)
{
	return 0x1234567800000000ULL + page;
}

static void fill(struct kunit *test, int pages)
{
	struct testdev *dev = test->priv;

	for (int i = 0; i < pages; i++) {
		u64 __user *word = (u64 __user *)(dev->at + i * PAGE_SIZE);

		KUNIT_ASSERT_EQ(test, put_user(pattern(i), word), 0);
	}
}

static void expect_content(struct kunit *test, int pages)
{
	struct testdev *dev = test->priv;

	for (int i = 0; i < pages; i++) {
		u64 __user *word = (u64 __user *)(dev->at + i * PAGE_SIZE);
		u64 value = 0;

		KUNIT_EXPECT_EQ(test, get_user(value, word), 0);
		KUNIT_EXPECT_EQ(test, value, pattern(i));
	}
}

static struct hmm_cdm_migrate migrate(struct kunit *test, u32 target, int pages,
				      int error)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.addr = dev->at,
		.length = pages * PAGE_SIZE,
		.target = target,
	};

	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(dev->mirror, &arg), error);
	return arg;
}

static u64 in_use(struct testdev *dev)
{
	u64 free = 0;

	return hmm_cdm_pages(dev->device, &free) - free;
}

static void expect_where(struct kunit *test, int pages, u8 where, u16 flags)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_page seen[PAGES] = {};

	KUNIT_ASSERT_EQ(test, hmm_cdm_query(dev->mirror, dev->at,
					    pages * PAGE_SIZE, seen), 0);
	for (int i = 0; i < pages; i++) {
		KUNIT_EXPECT_EQ(test, seen[i].where, where);
		KUNIT_EXPECT_EQ(test, seen[i].flags, flags);
	}
}

static void refused_devices(struct kunit *test)
{
	struct hmm_cdm_ops bad = ops;

#define REFUSED(error) \
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(hmm_cdm_register_device(&bad, NULL)), error)

	bad.version = HMM_CDM_API_VERSION + 1;
	REFUSED(-EPROTO);
	bad = ops;
	bad.flags = 1;
	REFUSED(-EINVAL);
	bad = ops;
	bad.name = NULL;
	REFUSED(-EINVAL);
	bad = ops;
	bad.owner = NULL;
	REFUSED(-EINVAL);
	bad = ops;
	bad.copy = NULL;
	REFUSED(-EINVAL);
	bad = ops;
	bad.zero = NULL;
	REFUSED(-EINVAL);
	bad = ops;
	bad.map = NULL;
	REFUSED(-EINVAL);
	bad = ops;
	bad.invalidate = NULL;
	REFUSED(-EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(hmm_cdm_register_device(NULL, NULL)), -EINVAL);
#undef REFUSED
}

static void refused_memory(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_memory memory = memory_of(dev);
	struct hmm_cdm_device *device;
	struct hmm_cdm_ops no_copy = ops;

	/* There is some: nothing else is added, and what is there stays. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), dev->total);
	KUNIT_ASSERT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);

#define REFUSED(field, value, error) do {				\
	memory = memory_of(dev);					\
	memory.field = value;						\
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), error); \
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), 0);	\
} while (0)

	REFUSED(type, 0, -EINVAL);
	REFUSED(type, 3, -EINVAL);
	REFUSED(flags, 2, -EINVAL);
	REFUSED(reserved, 1, -EINVAL);
	REFUSED(start, dev->size, -EINVAL);
	REFUSED(size, 0, -EINVAL);
	REFUSED(size, dev->size + PAGE_SIZE, -EINVAL);
	REFUSED(size, 1, -EINVAL);
	REFUSED(nid, -2, -ENXIO);
	REFUSED(nid, MAX_NUMNODES, -ENXIO);
	/* RAM that the kernel uses is no device's. */
	memory = memory_of(dev);
	memory.type = HMM_CDM_MEMORY_COHERENT;
	memory.start = round_down(virt_to_phys(dev), memremap_compat_align());
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), -EBUSY);
#undef REFUSED

	/* Who would copy it? */
	no_copy.copy = NULL;
	no_copy.zero = NULL;
	device = hmm_cdm_register_device(&no_copy, dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(device));
	memory = memory_of(dev);
	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(device, &memory), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(device), 0);
}

static void memory_comes_and_goes(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_memory memory = memory_of(dev);

	fill(test, PAGES);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	KUNIT_EXPECT_EQ(test, in_use(dev), PAGES);

	/* With memory, and with mirrors, a device stays. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), -EBUSY);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);

	KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), -ENODEV);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), -ENODEV);
	KUNIT_EXPECT_EQ(test, hmm_cdm_pages(dev->device, NULL), 0);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, -ENODEV);
	expect_where(test, PAGES, HMM_CDM_WHERE_SYSTEM, 0);
	expect_content(test, PAGES);
	/* The device goes on, in system memory. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, dev->at, 1, 0), 0);

	KUNIT_EXPECT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	expect_where(test, PAGES, HMM_CDM_WHERE_NODE, HMM_CDM_PAGE_PRIVATE);
	expect_content(test, PAGES);
}

static void a_touch_brings_pages_home(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg;
	struct hmm_cdm_stats stats;

	fill(test, PAGES);
	arg = migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES);
	expect_where(test, PAGES, HMM_CDM_WHERE_NODE, HMM_CDM_PAGE_PRIVATE);
	KUNIT_EXPECT_EQ(test, in_use(dev), PAGES);

	expect_content(test, PAGES);
	expect_where(test, PAGES, HMM_CDM_WHERE_SYSTEM, 0);
	KUNIT_EXPECT_EQ(test, in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);

	hmm_cdm_stats(dev->mirror, &stats);
	KUNIT_EXPECT_EQ(test, stats.size, sizeof(stats));
	KUNIT_EXPECT_EQ(test, stats.migrated_in, PAGES);
	KUNIT_EXPECT_EQ(test, stats.migrated_out, 0);
	KUNIT_EXPECT_EQ(test, stats.bytes_copied, PAGES * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats.node_pages, dev->total);
	KUNIT_EXPECT_EQ(test, stats.node_free, dev->total);
}

static void moved_out_on_request(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg;

	fill(test, PAGES);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	arg = migrate(test, HMM_CDM_TARGET_SYSTEM, PAGES - 3, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, PAGES - 3);
	KUNIT_EXPECT_EQ(test, in_use(dev), 3);
	/* The rest as a whole, whoever has it. */
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 3);
	KUNIT_EXPECT_EQ(test, in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 0);
	expect_content(test, PAGES);
}

static void holes_are_zeroed_by_the_device(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg;
	u64 value = 1;

	memset(dev->vram, 0xff, dev->size);
	dev->zero_error = -EIO;
	arg = migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.populated, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);
	expect_where(test, PAGES, HMM_CDM_WHERE_ABSENT, 0);

	dev->zero_error = 0;
	atomic_set(&dev->zeroed, 0);
	arg = migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.populated, PAGES);
	KUNIT_EXPECT_EQ(test, arg.migrated, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->zeroed), PAGES);
	KUNIT_EXPECT_EQ(test, get_user(value, (u64 __user *)dev->at), 0);
	KUNIT_EXPECT_EQ(test, value, 0);
}

static int copy_fails(u32 nr)
{
	return -EIO;
}

static int copy_none(u32 nr)
{
	return 0;
}

static int copy_too_many(u32 nr)
{
	return nr + 1;
}

static void copies_that_fail_lose_nothing(struct kunit *test)
{
	struct testdev *dev = test->priv;
	int (*bad[])(u32 nr) = { copy_fails, copy_none };
	struct hmm_cdm_migrate arg;

	fill(test, PAGES);
	for (int i = 0; i < ARRAY_SIZE(bad); i++) {
		atomic_set(&dev->freed, 0);
		dev->bad_copy = bad[i];
		arg = migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
		KUNIT_EXPECT_EQ(test, arg.migrated, 0);
		KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
		KUNIT_EXPECT_EQ(test, atomic_read(&dev->freed), PAGES);
		KUNIT_EXPECT_EQ(test, in_use(dev), 0);
		expect_content(test, PAGES);
	}

	/* Nor does one on the way back: the pages stay on the device. */
	dev->bad_copy = NULL;
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	dev->bad_copy = copy_fails;
	arg = migrate(test, HMM_CDM_TARGET_SYSTEM, PAGES, 0);
	KUNIT_EXPECT_EQ(test, arg.migrated, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_evict(dev->device), 0);
	KUNIT_EXPECT_EQ(test, in_use(dev), PAGES);
	dev->bad_copy = NULL;
	expect_content(test, PAGES);
}

static void more_copies_than_asked_for_are_misuse(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct kunit_suppressed_warning *handle;
	struct hmm_cdm_migrate arg;

	fill(test, PAGES);
	dev->bad_copy = copy_too_many;
	handle = kunit_start_suppress_warning(test);
	KUNIT_ASSERT_NOT_NULL(test, handle);
	arg = migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		KUNIT_EXPECT_GT(test, kunit_suppressed_warning_count(handle), 0);
	kunit_end_suppress_warning(test, handle);
	/* Nobody knows which of them are right. */
	KUNIT_EXPECT_EQ(test, arg.migrated, 0);
	KUNIT_EXPECT_EQ(test, arg.skipped[HMM_CDM_SKIP_FAILED], PAGES);
	expect_content(test, PAGES);
}

static void content_that_cannot_be_had_is_a_fault(struct kunit *test)
{
	struct testdev *dev = test->priv;
	u64 value;

	fill(test, PAGES);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	dev->bad_copy = copy_fails;
	KUNIT_EXPECT_EQ(test, get_user(value, (u64 __user *)dev->at), -EFAULT);
	KUNIT_EXPECT_EQ(test, in_use(dev), PAGES);
	/* It is not lost, if the device can give it later. */
	dev->bad_copy = NULL;
	expect_content(test, PAGES);
}

static void see(const struct hmm_cdm_extent *page, void *arg)
{
	*(struct hmm_cdm_extent *)arg = *page;
}

static void faults_make_entries(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_extent seen;
	u64 hole = dev->at + PAGES * PAGE_SIZE;

#define FAULT(addr, length, flags) hmm_cdm_fault(dev->mirror, addr, length, flags)
#define ACCESS(addr, write) hmm_cdm_access(dev->mirror, addr, write, see, &seen)

	KUNIT_EXPECT_EQ(test, ACCESS(dev->at, false), -ENOENT);
	KUNIT_EXPECT_EQ(test, FAULT(dev->at, 1, 4), -EINVAL);
	KUNIT_EXPECT_EQ(test, FAULT(dev->at, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, FAULT(U64_MAX, 2, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, FAULT(dev->at, 1, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, ACCESS(dev->at, false), -ENOENT);

	KUNIT_EXPECT_EQ(test, FAULT(dev->at, PAGES * PAGE_SIZE, HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->mapped), PAGES);
	KUNIT_EXPECT_EQ(test, ACCESS(hole - 1, true), 0);
	KUNIT_EXPECT_EQ(test, seen.addr, hole - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, seen.pages, 1);
	KUNIT_EXPECT_EQ(test, seen.flags, HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE);

	fill(test, PAGES);
	migrate(test, HMM_CDM_TARGET_NODE, PAGES, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->mapped), 0);
	KUNIT_EXPECT_EQ(test, ACCESS(dev->at, false), -ENOENT);
	KUNIT_EXPECT_EQ(test, FAULT(dev->at, 1, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, ACCESS(dev->at, true), 0);
	KUNIT_EXPECT_EQ(test, seen.flags, HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE |
			HMM_CDM_EXTENT_LOCAL);
	KUNIT_EXPECT_EQ(test, *(u64 *)(dev->vram + seen.offset), pattern(0));
	/* The CPU takes them home, and the device's entries with them. */
	expect_content(test, PAGES);
	KUNIT_EXPECT_EQ(test, ACCESS(dev->at, false), -ENOENT);
#undef FAULT
#undef ACCESS
}

static void faults_have_the_rights_of_the_process(struct kunit *test)
{
	struct testdev *dev = test->priv;
	unsigned long ro = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
					 MAP_PRIVATE | MAP_ANONYMOUS, 0);
	unsigned long none = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_NONE,
					   MAP_PRIVATE | MAP_ANONYMOUS, 0);

	KUNIT_ASSERT_NE(test, ro, 0);
	KUNIT_ASSERT_NE(test, none, 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, ro, 1, 0), 0);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, ro, 1, HMM_CDM_FAULT_WRITE), -EPERM);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, none, 1, 0), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, 0, 1, 0), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(dev->mirror, ro, PAGE_SIZE), -EFAULT);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(dev->mirror, ro + 1, PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(dev->mirror, ro, 0), -EINVAL);
}

static void exclusive_pages_go_back_to_who_touches_them(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_extent seen;
	u64 length = PAGES * PAGE_SIZE;

	fill(test, PAGES);
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(dev->mirror, dev->at, length),
				PAGES);
		KUNIT_EXPECT_EQ(test, hmm_cdm_access(dev->mirror, dev->at, true, see, &seen), 0);
		KUNIT_EXPECT_EQ(test, seen.flags, HMM_CDM_EXTENT_READ |
				HMM_CDM_EXTENT_WRITE | HMM_CDM_EXTENT_EXCLUSIVE);
	}
	expect_content(test, PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_access(dev->mirror, dev->at, false, see, &seen), -ENOENT);
	KUNIT_EXPECT_GT(test, atomic_read(&dev->invalidated), 0);
}

static void mirrors_are_closed_without_entries(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_mirror *mirror;

	KUNIT_EXPECT_TRUE(test, hmm_cdm_mirror_is_of(dev->mirror, current->mm));
	KUNIT_EXPECT_FALSE(test, hmm_cdm_mirror_is_of(dev->mirror, NULL));
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_device(dev->mirror), dev->device);
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_data(dev->mirror), (void *)dev);
	hmm_cdm_set_mirror_data(dev->mirror, test);
	KUNIT_EXPECT_PTR_EQ(test, hmm_cdm_mirror_data(dev->mirror), (void *)test);

	dev->open_error = -ESTALE;
	mirror = hmm_cdm_create_mirror(dev->device, current->mm, NULL);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(mirror), -ESTALE);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->closed), 0);
	dev->open_error = 0;

	fill(test, PAGES);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(dev->mirror, dev->at, PAGES * PAGE_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->mapped), PAGES);
	hmm_cdm_destroy_mirror(dev->mirror);
	dev->mirror = NULL;
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->closed), 1);
	KUNIT_EXPECT_EQ(test, dev->left, 0);
}

static void arguments_are_checked(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_page page;
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg) - 8,
		.addr = dev->at,
		.length = PAGE_SIZE,
	};

	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(dev->mirror, &arg), -EINVAL);
	arg.size = sizeof(arg);
	arg.flags = HMM_CDM_MIGRATE_EVICT << 1;
	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(dev->mirror, &arg), -EINVAL);
	arg.flags = 0;
	arg.target = 2;
	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(dev->mirror, &arg), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(dev->mirror, dev->at + 1, PAGE_SIZE, &page), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(dev->mirror, dev->at, 0, &page), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_query(dev->mirror, -PAGE_SIZE, 2 * PAGE_SIZE, &page),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_access(dev->mirror, dev->at, false, NULL, NULL), -EINVAL);
}

static struct kunit_case capi_cases[] = {
	KUNIT_CASE(refused_devices),
	KUNIT_CASE(refused_memory),
	KUNIT_CASE(memory_comes_and_goes),
	KUNIT_CASE(a_touch_brings_pages_home),
	KUNIT_CASE(moved_out_on_request),
	KUNIT_CASE(holes_are_zeroed_by_the_device),
	KUNIT_CASE(copies_that_fail_lose_nothing),
	KUNIT_CASE(more_copies_than_asked_for_are_misuse),
	KUNIT_CASE(content_that_cannot_be_had_is_a_fault),
	KUNIT_CASE(faults_make_entries),
	KUNIT_CASE(faults_have_the_rights_of_the_process),
	KUNIT_CASE(exclusive_pages_go_back_to_who_touches_them),
	KUNIT_CASE(mirrors_are_closed_without_entries),
	KUNIT_CASE(arguments_are_checked),
	{}
};

static struct kunit_suite capi_suite = {
	.name = "cdm_kunit_capi",
	.init = capi_init,
	.exit = capi_exit,
	.test_cases = capi_cases,
};

kunit_test_suite(capi_suite);

MODULE_DESCRIPTION("KUnit tests of the C interface of hmm_cdm");
MODULE_AUTHOR("The hmm-cdm developers");
MODULE_LICENSE("GPL");

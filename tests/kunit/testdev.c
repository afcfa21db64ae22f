// SPDX-License-Identifier: GPL-2.0
/*
 * The device of the tests. In all of them the library must not
 *
 *   - call @map or @invalidate for a mirror that is not open, or @close twice;
 *   - name device pages that do not exist, or empty extents;
 *   - hand out pages again before @freed: a page is busy from being copied to or
 *     zeroed until then, and a page that is copied from has to be busy.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/memremap.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "testdev.h"

/* How long the release of an address space may take. */
#define GONE_MS	20000

static struct testdev *of(struct hmm_cdm_device *device)
{
	return hmm_cdm_device_data(device);
}

static void check(struct testdev *dev, bool right)
{
	if (!right)
		atomic_inc(&dev->wrong);
}

static bool inside(struct testdev *dev, u64 offset, u32 pages)
{
	return pages && !(offset % PAGE_SIZE) && offset < dev->size &&
	       pages <= (dev->size - offset) / PAGE_SIZE;
}

static int test_open(struct hmm_cdm_mirror *handle)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(handle));
	struct testdev_mirror *mirror = hmm_cdm_mirror_data(handle);

	if (dev->open_error)
		return dev->open_error;
	if (mirror) {
		mirror->opened++;
		mirror->open = true;
	}
	return 0;
}

static void test_close(struct hmm_cdm_mirror *handle)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(handle));
	struct testdev_mirror *mirror = hmm_cdm_mirror_data(handle);

	if (!mirror)
		return;
	mirror->late_fault = hmm_cdm_fault(handle, dev->at, 1, 0);
	mirror->left = testdev_entries(dev, mirror - dev->mirrors);
	check(dev, mirror->open);
	mirror->open = false;
	mirror->closed++;
}

/* Installs @extent, or removes the entries of its pages. */
static void change(struct testdev *dev, struct testdev_mirror *mirror,
		   const struct hmm_cdm_extent *extent)
{
	for (u32 i = 0; mirror->table && i < extent->pages; i++) {
		u64 addr = extent->addr + (u64)i * PAGE_SIZE;
		u64 page = (addr - dev->at) / PAGE_SIZE;

		if (addr < dev->at || page >= dev->pages)
			continue;
		mirror->table[page] = *extent;
		mirror->table[page].addr = addr;
		mirror->table[page].pages = 1;
		mirror->table[page].pfn += i;
		if (extent->flags & HMM_CDM_EXTENT_LOCAL)
			mirror->table[page].offset += (u64)i * PAGE_SIZE;
	}
}

static void test_map(struct hmm_cdm_mirror *handle,
		     const struct hmm_cdm_extent *extent)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(handle));
	struct testdev_mirror *mirror = hmm_cdm_mirror_data(handle);

	spin_lock(&mirror->lock);
	check(dev, mirror->open && extent->pages &&
	      extent->flags & HMM_CDM_EXTENT_READ &&
	      !(extent->addr % PAGE_SIZE));
	check(dev, !(extent->flags & HMM_CDM_EXTENT_LOCAL) ||
	      inside(dev, extent->offset, extent->pages));
	mirror->maps++;
	change(dev, mirror, extent);
	spin_unlock(&mirror->lock);
}

static void test_invalidate(struct hmm_cdm_mirror *handle, u64 addr, u64 length)
{
	struct testdev *dev = of(hmm_cdm_mirror_device(handle));
	struct testdev_mirror *mirror = hmm_cdm_mirror_data(handle);
	u64 first = max_t(u64, addr, dev->at);
	u64 end = min_t(u64, addr + length, ADDR(dev, dev->pages));
	struct hmm_cdm_extent none = { .addr = first };

	if (first < end)
		none.pages = (end - first) / PAGE_SIZE;
	spin_lock(&mirror->lock);
	check(dev, mirror->open && length && !((addr | length) % PAGE_SIZE));
	mirror->invalidates++;
	change(dev, mirror, &none);
	spin_unlock(&mirror->lock);
}

static void copy_one(struct testdev *dev, const struct hmm_cdm_copy *copy)
{
	unsigned long first = copy->offset / PAGE_SIZE;
	bool in = copy->direction == HMM_CDM_COPY_IN;
	atomic_t *sum = in ? &dev->pages_in : &dev->pages_out;

	atomic_inc(&dev->copies);
	atomic_add(copy->pages, sum);
	for (u32 i = 0; i < copy->pages; i++) {
		void *device = dev->vram + (first + i) * PAGE_SIZE;
		void *system = page_address(copy->page + i);

		if (in) {
			check(dev, !test_and_set_bit(first + i, dev->busy));
			memcpy(device, system, PAGE_SIZE);
		} else {
			check(dev, test_bit(first + i, dev->busy));
			memcpy(system, device, PAGE_SIZE);
		}
	}
}

static int test_copy(struct hmm_cdm_device *device,
		     const struct hmm_cdm_copy *copies, u32 nr)
{
	struct testdev *dev = of(device);
	u32 done;

	atomic_inc(&dev->copy_calls);
	for (done = 0; done < nr && dev->copies_left > 0; done++) {
		const struct hmm_cdm_copy *copy = &copies[done];
		u64 end = copy->offset + (u64)copy->pages * PAGE_SIZE;

		if (copy->offset <= dev->bad_offset && dev->bad_offset < end)
			break;
		if (!inside(dev, copy->offset, copy->pages) ||
		    copy->direction > HMM_CDM_COPY_OUT) {
			check(dev, false);
			break;
		}
		copy_one(dev, copy);
		dev->copies_left--;
	}
	if (dev->overstated)
		return nr + dev->overstated;
	return done ?: dev->copy_error;
}

static int test_zero(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	struct testdev *dev = of(device);

	atomic_inc(&dev->zero_calls);
	check(dev, inside(dev, offset, pages));
	if (dev->zero_error || !inside(dev, offset, pages))
		return dev->zero_error;
	for (u32 i = 0; i < pages; i++)
		check(dev, !test_and_set_bit(offset / PAGE_SIZE + i, dev->busy));
	atomic_add(pages, &dev->zeroed);
	memset(dev->vram + offset, 0, (size_t)pages * PAGE_SIZE);
	return 0;
}

static void test_freed(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	struct testdev *dev = of(device);

	check(dev, inside(dev, offset, pages));
	if (!inside(dev, offset, pages))
		return;
	atomic_add(pages, &dev->freed);
	for (u32 i = 0; i < pages; i++)
		clear_bit(offset / PAGE_SIZE + i, dev->busy);
}

const struct hmm_cdm_ops testdev_ops = {
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

struct hmm_cdm_memory testdev_memory(const struct testdev *dev)
{
	return (struct hmm_cdm_memory) {
		.type = HMM_CDM_MEMORY_PRIVATE,
		.flags = HMM_CDM_MEMORY_NO_FILE,
		.size = dev->size,
		.nid = HMM_CDM_ANY_NODE,
	};
}

void testdev_heal(struct testdev *dev)
{
	dev->open_error = 0;
	dev->zero_error = 0;
	dev->copies_left = INT_MAX;
	dev->copy_error = -EIO;
	dev->overstated = 0;
	dev->bad_offset = U64_MAX;
}

u64 testdev_in_use(struct testdev *dev)
{
	u64 free = 0;

	return hmm_cdm_pages(dev->device, &free) - free - dev->retired;
}

int testdev_init(struct kunit *test)
{
	struct testdev *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	struct hmm_cdm_memory memory;

	KUNIT_ASSERT_NOT_NULL(test, dev);
	test->priv = dev;
	testdev_heal(dev);
	dev->size = max_t(u64, 2 * PMD_SIZE, memremap_compat_align());
	dev->total = dev->size / PAGE_SIZE;
	dev->busy = bitmap_zalloc(dev->total, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev->busy);
	dev->vram = vmalloc(dev->size);
	KUNIT_ASSERT_NOT_NULL(test, dev->vram);
	/* Stands for old content, which must never reach a user. */
	memset(dev->vram, 0xff, dev->size);
	for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
		spin_lock_init(&dev->mirrors[i].lock);

	dev->device = hmm_cdm_register_device(&testdev_ops, dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev->device));
	memory = testdev_memory(dev);
	KUNIT_ASSERT_EQ(test, hmm_cdm_add_memory(dev->device, &memory), 0);
	KUNIT_ASSERT_EQ(test, hmm_cdm_pages(dev->device, NULL), dev->total);
	return 0;
}

/*
 * The test's thread has exited; its address space goes now or soon after. From
 * then on calls that need it fail with -ESRCH.
 */
static void expect_exited(struct kunit *test, struct hmm_cdm_mirror *mirror)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.addr = dev->at,
		.length = PAGE_SIZE,
	};
	struct hmm_cdm_page page;
	int error = 0;

	for (int ms = 0; ms < GONE_MS && error != -ESRCH; ms += 20) {
		msleep(20);
		error = hmm_cdm_query(mirror, dev->at, PAGE_SIZE, &page);
	}
	KUNIT_EXPECT_EQ(test, error, -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_cdm_fault(mirror, dev->at, 1, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(mirror, &arg), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_cdm_make_exclusive(mirror, dev->at, PAGE_SIZE),
			-ESRCH);
}

static bool all_gone(struct testdev *dev)
{
	for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
		if (dev->mirrors[i].handle && testdev_entries(dev, i))
			return false;
	return !testdev_in_use(dev);
}

void testdev_exit(struct kunit *test)
{
	struct testdev *dev = test->priv;

	if (!dev || IS_ERR_OR_NULL(dev->device))
		goto out;
	testdev_heal(dev);
	for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
		if (dev->mirrors[i].handle)
			expect_exited(test, dev->mirrors[i].handle);
	/* Pages in device memory go with the process. */
	for (int ms = 0; ms < GONE_MS && !all_gone(dev); ms += 20)
		msleep(20);
	KUNIT_EXPECT_TRUE(test, all_gone(dev));
	for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
		if (dev->mirrors[i].handle)
			testdev_close(test, i);

	if (hmm_cdm_pages(dev->device, NULL))
		KUNIT_EXPECT_EQ(test, hmm_cdm_remove_memory(dev->device), 0);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(dev->busy, dev->total));
	KUNIT_EXPECT_EQ(test, hmm_cdm_unregister_device(dev->device), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->wrong), 0);
out:
	if (dev) {
		for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
			kvfree(dev->mirrors[i].table);
		vfree(dev->vram);
		bitmap_free(dev->busy);
	}
}

MODULE_DESCRIPTION("KUnit tests of the C interface of hmm_cdm");
MODULE_AUTHOR("The hmm-cdm developers");
MODULE_LICENSE("GPL");

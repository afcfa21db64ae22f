// SPDX-License-Identifier: GPL-2.0
/* The test's address space: its memory, its mirrors, and what they show. */
#include <linux/err.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "testdev.h"

static unsigned long map(struct kunit *test, size_t length, unsigned long prot,
			 unsigned long flags)
{
	unsigned long addr = kunit_vm_mmap(test, NULL, 0, length, prot, flags, 0);

	KUNIT_ASSERT_FALSE(test, !addr || IS_ERR_VALUE(addr));
	return addr;
}

unsigned long testdev_map_page(struct kunit *test, unsigned long prot,
			       unsigned long flags)
{
	return map(test, PAGE_SIZE, prot, flags);
}

void testdev_map(struct kunit *test, unsigned long pages, bool huge)
{
	struct testdev *dev = test->priv;
	unsigned long addr, end, length = pages * PAGE_SIZE;
	struct vm_area_struct *vma;

	for (int i = 0; i < ARRAY_SIZE(dev->mirrors); i++)
		if (dev->mirrors[i].table)
			KUNIT_ASSERT_LE(test, pages, dev->mirrors[i].size);
	addr = map(test, length + PMD_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS);
	end = addr + length + PMD_SIZE;
	dev->at = ALIGN(addr, PMD_SIZE);
	dev->pages = pages;
	if (dev->at > addr)
		KUNIT_ASSERT_EQ(test, vm_munmap(addr, dev->at - addr), 0);
	if (end > dev->at + length)
		KUNIT_ASSERT_EQ(test, vm_munmap(dev->at + length,
						end - dev->at - length), 0);

	/* What madvise(2) does, which modules cannot call. */
	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, dev->at);
	if (vma)
		vm_flags_set(vma, huge ? VM_HUGEPAGE : VM_NOHUGEPAGE);
	mmap_write_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, vma);
}

void testdev_unmap(struct kunit *test, unsigned long first, unsigned long pages)
{
	struct testdev *dev = test->priv;

	KUNIT_ASSERT_EQ(test, vm_munmap(ADDR(dev, first), pages * PAGE_SIZE), 0);
}

void testdev_mirror(struct kunit *test, int i)
{
	struct testdev *dev = test->priv;
	struct testdev_mirror *mirror = &dev->mirrors[i];
	struct hmm_cdm_mirror *handle;

	mirror->size = max_t(u64, dev->pages, dev->total);
	mirror->table = kvcalloc(mirror->size, sizeof(*mirror->table), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mirror->table);
	handle = hmm_cdm_create_mirror(dev->device, current->mm, mirror);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(handle));
	mirror->handle = handle;
	KUNIT_EXPECT_EQ(test, mirror->opened, 1);
}

void testdev_close(struct kunit *test, int i)
{
	struct testdev *dev = test->priv;
	struct testdev_mirror *mirror = &dev->mirrors[i];

	hmm_cdm_destroy_mirror(mirror->handle);
	mirror->handle = NULL;
	KUNIT_EXPECT_EQ(test, mirror->closed, 1);
	KUNIT_EXPECT_EQ(test, mirror->left, 0);
	KUNIT_EXPECT_EQ(test, mirror->late_fault, -ESRCH);
}

struct testdev *testdev_begin(struct kunit *test, unsigned long pages)
{
	testdev_map(test, pages, false);
	testdev_mirror(test, 0);
	return test->priv;
}

u64 testdev_pattern(unsigned long page)
{
	return 0x1234567800000001ULL + page;
}

static u64 __user *word(struct testdev *dev, unsigned long page)
{
	return (u64 __user *)(unsigned long)ADDR(dev, page);
}

/* The last word of a page. */
static u64 __user *last_word(struct testdev *dev, unsigned long page)
{
	return word(dev, page + 1) - 1;
}

int testdev_read(struct testdev *dev, unsigned long page, u64 *value)
{
	return get_user(*value, word(dev, page));
}

int testdev_write(struct testdev *dev, unsigned long page, u64 value)
{
	return put_user(value, word(dev, page));
}

void testdev_fill(struct kunit *test, unsigned long first, unsigned long pages)
{
	struct testdev *dev = test->priv;

	for (unsigned long i = first; i < first + pages; i++) {
		u64 value = testdev_pattern(i);
		int error = put_user(value, word(dev, i)) ?:
			    put_user(~value, last_word(dev, i));

		KUNIT_ASSERT_EQ(test, error, 0);
	}
}

void testdev_expect_content(struct kunit *test, unsigned long first,
			    unsigned long pages)
{
	struct testdev *dev = test->priv;

	for (unsigned long i = first; i < first + pages; i++) {
		u64 value = 0, last = 0;
		int error = get_user(value, word(dev, i)) ?:
			    get_user(last, last_word(dev, i));

		KUNIT_ASSERT_EQ(test, error, 0);
		KUNIT_ASSERT_EQ(test, value, testdev_pattern(i));
		KUNIT_ASSERT_EQ(test, last, ~testdev_pattern(i));
	}
}

struct hmm_cdm_migrate testdev_migrate(struct kunit *test, u32 target,
				       unsigned long first, unsigned long pages,
				       int error)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.addr = ADDR(dev, first),
		.length = pages * PAGE_SIZE,
		.target = target,
	};
	u64 sum;

	KUNIT_EXPECT_EQ(test, hmm_cdm_migrate(MIRROR(dev), &arg), error);
	sum = arg.migrated + arg.populated + arg.present;
	for (int i = 0; i < HMM_CDM_SKIP_MAX; i++)
		sum += arg.skipped[i];
	/* Each page is counted once. */
	if (!error)
		KUNIT_EXPECT_EQ(test, sum, pages);
	return arg;
}

void testdev_expect_where(struct kunit *test, unsigned long first,
			  unsigned long pages, u8 where, u8 order, u16 flags)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_page *seen;

	seen = kunit_kcalloc(test, pages, sizeof(*seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	memset(seen, 0xff, pages * sizeof(*seen));
	KUNIT_ASSERT_EQ(test, hmm_cdm_query(MIRROR(dev), ADDR(dev, first),
					    pages * PAGE_SIZE, seen), 0);
	for (unsigned long i = 0; i < pages; i++) {
		KUNIT_ASSERT_EQ(test, seen[i].where, where);
		KUNIT_ASSERT_EQ(test, seen[i].order, order);
		KUNIT_ASSERT_EQ(test, seen[i].flags, flags);
	}
}

static void see(const struct hmm_cdm_extent *page, void *arg)
{
	*(struct hmm_cdm_extent *)arg = *page;
}

struct hmm_cdm_extent testdev_entry(struct testdev *dev, unsigned long page,
				    bool write)
{
	struct hmm_cdm_extent seen = {};
	int error;

	/* Any byte of the page will do. */
	error = hmm_cdm_access(MIRROR(dev), ADDR(dev, page + 1) - 1, write, see, &seen);
	if ((error && error != -ENOENT) || !error != !!seen.flags)
		atomic_inc(&dev->wrong);
	return seen;
}

unsigned int testdev_entries(struct testdev *dev, int i)
{
	struct testdev_mirror *mirror = &dev->mirrors[i];
	unsigned int count = 0;

	spin_lock(&mirror->lock);
	for (unsigned long page = 0; mirror->table && page < dev->pages; page++)
		count += !!mirror->table[page].flags;
	spin_unlock(&mirror->lock);
	return count;
}

// SPDX-License-Identifier: GPL-2.0
/* Device faults, and the entries that they install. */
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "testdev.h"

static int fault(struct testdev *dev, u64 addr, u64 length, u32 flags)
{
	return hmm_cdm_fault(MIRROR(dev), addr, length, flags);
}

/* The driver's table agrees with the library's on every page. */
static void expect_same(struct kunit *test)
{
	struct testdev *dev = test->priv;

	for (unsigned long i = 0; i < dev->pages; i++) {
		struct hmm_cdm_extent told = dev->mirrors[0].table[i];
		struct hmm_cdm_extent seen = testdev_entry(dev, i, false);

		KUNIT_EXPECT_EQ(test, told.flags, seen.flags);
		if (!seen.flags)
			continue;
		KUNIT_EXPECT_EQ(test, seen.addr, ADDR(dev, i));
		KUNIT_EXPECT_EQ(test, seen.pages, 1);
		KUNIT_EXPECT_EQ(test, told.addr, seen.addr);
		KUNIT_EXPECT_EQ(test, told.pfn, seen.pfn);
		KUNIT_EXPECT_EQ(test, told.offset, seen.offset);
	}
}

static void arguments_are_checked(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);

	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, 4), -EINVAL);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fault(dev, U64_MAX, 2, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fault(dev, 1, U64_MAX, HMM_CDM_FAULT_PRESENT), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_cdm_access(MIRROR(dev), dev->at, false, NULL, NULL),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
}

static void untouched_memory_is_faulted_in(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u32 rights = HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE;

	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, false).flags, 0);
	/* Not page aligned: the bytes are in three pages. */
	KUNIT_EXPECT_EQ(test, fault(dev, ADDR(dev, 2) + 100, 2 * PAGE_SIZE,
				    HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 3);
	testdev_expect_where(test, 0, 2, HMM_CDM_WHERE_ABSENT, 0, 0);
	testdev_expect_where(test, 2, 3, HMM_CDM_WHERE_SYSTEM, 0, 0);
	testdev_expect_where(test, 5, PAGES - 5, HMM_CDM_WHERE_ABSENT, 0, 0);
	for (int i = 2; i < 5; i++) {
		KUNIT_EXPECT_EQ(test, testdev_entry(dev, i, false).flags, rights);
		KUNIT_EXPECT_EQ(test, testdev_entry(dev, i, true).flags, rights);
	}
	expect_same(test);

	/* A read fault maps the zero page, read-only. */
	KUNIT_EXPECT_EQ(test, fault(dev, ADDR(dev, 0), 1, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, false).flags, HMM_CDM_EXTENT_READ);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags, 0);
	testdev_expect_where(test, 0, 1, HMM_CDM_WHERE_SYSTEM, 0, HMM_CDM_PAGE_ZERO);
	KUNIT_EXPECT_EQ(test, fault(dev, ADDR(dev, 0), 1, HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags, rights);
	expect_same(test);
}

static void present_pages_are_entered(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u64 length = PAGES * PAGE_SIZE;

	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, length, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
	testdev_expect_where(test, 0, PAGES, HMM_CDM_WHERE_ABSENT, 0, 0);

	testdev_fill(test, 1, 2);
	testdev_fill(test, 6, 1);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, length, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 3);
	KUNIT_EXPECT_NE(test, testdev_entry(dev, 6, true).flags, 0);
	expect_same(test);
	/* Nothing is mapped there, which is no error either. */
	testdev_unmap(test, 2, 1);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 2);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, length, HMM_CDM_FAULT_PRESENT), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 2);
	testdev_expect_content(test, 6, 1);
}

static void private_pages_are_entered_where_they_are(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	unsigned int maps;

	testdev_fill(test, 0, PAGES);
	testdev_migrate(test, NODE, 0, PAGES / 2, 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 0);
	maps = dev->mirrors[0].maps;
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, PAGES * PAGE_SIZE,
				    HMM_CDM_FAULT_WRITE), 0);
	/* Pages in device memory are contiguous: one extent. */
	KUNIT_EXPECT_LE(test, dev->mirrors[0].maps, maps + 1 + PAGES / 2);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), PAGES);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), PAGES / 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&dev->pages_out), 0);
	expect_same(test);
	for (int i = 0; i < PAGES; i++) {
		struct hmm_cdm_extent page = testdev_entry(dev, i, true);
		bool local = page.flags & HMM_CDM_EXTENT_LOCAL;

		KUNIT_EXPECT_EQ(test, local, i < PAGES / 2);
		if (local)
			KUNIT_EXPECT_EQ(test, *(u64 *)(dev->vram + page.offset),
					testdev_pattern(i));
		else
			KUNIT_EXPECT_EQ(test, page.offset, 0);
	}
	testdev_expect_content(test, 0, PAGES);
}

static void rights_are_those_of_the_process(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	unsigned long kind = MAP_PRIVATE | MAP_ANONYMOUS;
	unsigned long ro = testdev_map_page(test, PROT_READ, kind);
	unsigned long none = testdev_map_page(test, PROT_NONE, kind);

	KUNIT_EXPECT_EQ(test, fault(dev, ro, 1, 0), 0);
	KUNIT_EXPECT_EQ(test, fault(dev, ro, 1, HMM_CDM_FAULT_WRITE), -EPERM);
	KUNIT_EXPECT_EQ(test, fault(dev, none, 1, 0), -EFAULT);
	KUNIT_EXPECT_EQ(test, fault(dev, none, 1, HMM_CDM_FAULT_WRITE), -EFAULT);
	KUNIT_EXPECT_EQ(test, fault(dev, 0, 1, 0), -EFAULT);
	/* All pages of the range before the hole are mapped. */
	testdev_unmap(test, 5, 1);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, PAGES * PAGE_SIZE,
				    HMM_CDM_FAULT_WRITE), -EFAULT);
	for (int i = 0; i < 5; i++)
		KUNIT_EXPECT_NE(test, testdev_entry(dev, i, true).flags, 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 6, false).flags, 0);
	expect_same(test);
}

/*
 * Makes a mapping writable, but not its pages; modules cannot call mprotect(2).
 */
static void allow_writes(struct kunit *test, unsigned long addr)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, addr);
	if (vma) {
		vm_flags_set(vma, VM_WRITE);
		vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	}
	mmap_write_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, vma);
}

static void a_read_only_page_comes_home_to_be_written(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct hmm_cdm_extent page;
	u64 value = 0;

	/* Faulted in by the device, so never writable. */
	dev->at = testdev_map_page(test, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
	dev->pages = 1;
	testdev_mirror(test, 0);
	KUNIT_EXPECT_EQ(test, testdev_migrate(test, NODE, 0, 1, 0).populated, 1);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, 0), 0);
	page = testdev_entry(dev, 0, false);
	KUNIT_ASSERT_EQ(test, page.flags, HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_LOCAL);
	*(u64 *)(dev->vram + page.offset) = 99;
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, HMM_CDM_FAULT_WRITE), -EPERM);

	allow_writes(test, dev->at);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, HMM_CDM_FAULT_WRITE), 0);
	KUNIT_EXPECT_EQ(test, testdev_entry(dev, 0, true).flags,
			HMM_CDM_EXTENT_READ | HMM_CDM_EXTENT_WRITE);
	testdev_expect_where(test, 0, 1, HMM_CDM_WHERE_SYSTEM, 0, 0);
	KUNIT_EXPECT_EQ(test, testdev_in_use(dev), 0);
	KUNIT_EXPECT_EQ(test, testdev_read(dev, 0, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 99);
	expect_same(test);
}

static void query_counts_what_the_device_does(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);
	u8 all = HMM_CDM_ACCESS_READ | HMM_CDM_ACCESS_WRITE;
	struct hmm_cdm_page seen[2];
	struct hmm_cdm_stats stats;

	testdev_fill(test, 0, 1);
	testdev_migrate(test, NODE, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, 0), 0);
	for (int i = 0; i < 3; i++)
		testdev_entry(dev, 0, i == 1);
	KUNIT_ASSERT_EQ(test, hmm_cdm_query(MIRROR(dev), dev->at, 2 * PAGE_SIZE, seen), 0);
	KUNIT_EXPECT_EQ(test, seen[0].where, HMM_CDM_WHERE_NODE);
	KUNIT_EXPECT_EQ(test, seen[0].cpu, all);
	KUNIT_EXPECT_EQ(test, seen[0].device, all);
	KUNIT_EXPECT_EQ(test, seen[0].accesses, 3);
	KUNIT_EXPECT_EQ(test, seen[1].where, HMM_CDM_WHERE_ABSENT);
	KUNIT_EXPECT_EQ(test, seen[1].cpu, 0);
	KUNIT_EXPECT_EQ(test, seen[1].device, 0);

	testdev_unmap(test, 0, 1);
	hmm_cdm_stats(MIRROR(dev), &stats);
	KUNIT_EXPECT_EQ(test, stats.faults, 1);
	KUNIT_EXPECT_EQ(test, stats.fault_pages, 1);
	KUNIT_EXPECT_GE(test, stats.invalidations, 1);
	KUNIT_EXPECT_EQ(test, stats.invalidated_pages, 1);
}

static void a_signal_does_not_fail_the_first_fault(struct kunit *test)
{
	struct testdev *dev = testdev_begin(test, PAGES);

	/*
	 * For the first notifier of an address space all its locks are taken;
	 * mm_take_all_locks() gives up on any signal.
	 */
	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	KUNIT_EXPECT_TRUE(test, signal_pending(current));
	KUNIT_EXPECT_EQ(test, fault(dev, dev->at, 1, 0), 0);
	KUNIT_EXPECT_EQ(test, testdev_entries(dev, 0), 1);
	/* The signal is still pending. */
	KUNIT_EXPECT_TRUE(test, signal_pending(current));
	disallow_signal(SIGUSR1);
	KUNIT_EXPECT_FALSE(test, signal_pending(current));
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(arguments_are_checked),
	KUNIT_CASE(untouched_memory_is_faulted_in),
	KUNIT_CASE(present_pages_are_entered),
	KUNIT_CASE(private_pages_are_entered_where_they_are),
	KUNIT_CASE(rights_are_those_of_the_process),
	KUNIT_CASE(a_read_only_page_comes_home_to_be_written),
	KUNIT_CASE(query_counts_what_the_device_does),
	KUNIT_CASE(a_signal_does_not_fail_the_first_fault),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "cdm_kunit_fault",
	.init = testdev_init,
	.exit = testdev_exit,
	.test_cases = fault_cases,
};

kunit_test_suite(fault_suite);

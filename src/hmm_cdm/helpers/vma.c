// SPDX-License-Identifier: GPL-2.0
/* An address space and its mappings, under the mmap lock. */

#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/oom.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

int hmm_cdm_helper_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

bool hmm_cdm_helper_mm_is_unstable(struct mm_struct *mm)
{
	mmap_assert_locked(mm);
	return check_stable_address_space(mm);
}

struct mm_struct *hmm_cdm_helper_vma_mm(struct vm_area_struct *vma)
{
	return vma->vm_mm;
}

bool hmm_cdm_helper_vma_is_protected(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
	return userfaultfd_protected(vma);
}

bool hmm_cdm_helper_vma_is_anonymous(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
	return vma_is_anonymous(vma);
}

bool hmm_cdm_helper_vma_is_accessible(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
	return vma_is_accessible(vma);
}

/*
 * Whether a process may name the range. copy_from_user() does not check where an
 * architecture masks addresses instead, and powerpc relies on the address that it
 * masks them to, 1 << 63, not being mapped (7.3.4, mask_user_address_simple()).
 * With the radix MMU on bare metal it is mapped: quadrant 2 uses the page table of
 * PID 0, and the copy reads the first bytes of RAM.
 */
bool hmm_cdm_helper_user_range(unsigned long start, unsigned long size)
{
	return access_ok((void __user *)start, size);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * A CPU fault on private memory, in migrate_to_ram. bindgen renames the unions of
 * struct vm_fault, so its members are read here.
 */

#include <linux/mm.h>

/*
 * do_huge_pmd_device_private() leaves vmf->pte NULL; do_swap_page() sets it to
 * the entry that faulted.
 */
bool hmm_cdm_helper_fault_is_huge(struct vm_fault *vmf)
{
	return !vmf->pte;
}

struct vm_area_struct *hmm_cdm_helper_fault_vma(struct vm_fault *vmf)
{
	return vmf->vma;
}

unsigned long hmm_cdm_helper_fault_address(struct vm_fault *vmf)
{
	return vmf->address;
}

/*
 * Ends a fault that has to be repeated. Drops the mmap lock where the fault
 * allows that, as __folio_lock_or_retry() does; @vmf must not be used afterwards.
 */
vm_fault_t hmm_cdm_helper_fault_retry(struct vm_fault *vmf)
{
	mmap_assert_locked(vmf->vma->vm_mm);
	if (!fault_flag_allow_retry_first(vmf->flags) ||
	    (vmf->flags & (FAULT_FLAG_RETRY_NOWAIT | FAULT_FLAG_VMA_LOCK)))
		return 0;
	mmap_read_unlock(vmf->vma->vm_mm);
	return VM_FAULT_RETRY;
}

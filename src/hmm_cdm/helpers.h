/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's inline functions and macros that the crate needs and that
 * neither bindgen nor kernel::bindings can give: each wraps exactly one, or
 * says below why it does more.
 */
#ifndef _HMM_CDM_HELPERS_H
#define _HMM_CDM_HELPERS_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct dev_pagemap;
struct device;
struct device_node;
struct dmem_cgroup_init;
struct dmem_cgroup_pool_state;
struct dmem_cgroup_region;
struct eventfd_ctx;
struct folio;
struct mm_struct;
struct mmu_interval_notifier;
struct mmu_notifier_range;
struct module;
struct page;
struct resource;
struct task_struct;
struct vm_area_struct;
struct vm_fault;

/* Page frames */
struct page *hmm_cdm_helper_pfn_to_page(unsigned long pfn);
unsigned long hmm_cdm_helper_page_to_pfn(struct page *page);
unsigned long hmm_cdm_helper_folio_pfn(struct folio *folio);
struct folio *hmm_cdm_helper_page_folio(struct page *page);
unsigned int hmm_cdm_helper_folio_order(struct folio *folio);
struct dev_pagemap *hmm_cdm_helper_folio_pgmap(struct folio *folio);
struct dev_pagemap *hmm_cdm_helper_page_pgmap(struct page *page);
void *hmm_cdm_helper_pfn_to_virt(unsigned long pfn);
bool hmm_cdm_helper_pfn_online(unsigned long pfn);
unsigned long hmm_cdm_helper_next_inaccessible(const unsigned long *hmm_pfns,
				  unsigned long i, unsigned long nr);
void hmm_cdm_helper_mark_written(unsigned long pfn);
bool hmm_cdm_helper_page_set_damaged(struct page *page, unsigned long *first,
			      unsigned int *order);
bool hmm_cdm_helper_page_is_damaged(struct page *page);
bool hmm_cdm_helper_any_damaged(void);
void hmm_cdm_helper_folio_clear_damaged(struct folio *folio);
void hmm_cdm_helper_folio_split(struct folio *folio, struct folio *part);
bool hmm_cdm_helper_page_has_extra_refs(struct page *page);
bool hmm_cdm_helper_pfn_is_zero(unsigned long pfn);
int hmm_cdm_helper_page_refs(struct page *page);
int hmm_cdm_helper_page_maps(struct page *page);

/* Pages that nobody else knows yet */
struct page *hmm_cdm_helper_alloc_page(void);
struct page *hmm_cdm_helper_alloc_page_hard(void);
struct page *hmm_cdm_helper_alloc_huge_page(bool hard);
unsigned long hmm_cdm_helper_lock_new_page(struct page *page);
void hmm_cdm_helper_unlock_put_page(struct page *page);
void hmm_cdm_helper_clear_page(unsigned long pfn);
bool hmm_cdm_helper_copy_page(unsigned long to, unsigned long from);

/* A folio that the caller has locked, with a reference */
void hmm_cdm_helper_folio_unlock_put(struct folio *folio);

/* A fault of the CPU */
bool hmm_cdm_helper_fault_is_huge(struct vm_fault *vmf);
struct vm_area_struct *hmm_cdm_helper_fault_vma(struct vm_fault *vmf);
unsigned long hmm_cdm_helper_fault_address(struct vm_fault *vmf);
vm_fault_t hmm_cdm_helper_fault_retry(struct vm_fault *vmf);
struct mm_struct *hmm_cdm_helper_vma_mm(struct vm_area_struct *vma);

/* An address space and its mappings, under the mmap lock */
int hmm_cdm_helper_mmap_read_lock_killable(struct mm_struct *mm);
bool hmm_cdm_helper_mm_is_unstable(struct mm_struct *mm);
bool hmm_cdm_helper_vma_is_protected(struct vm_area_struct *vma);
bool hmm_cdm_helper_vma_is_anonymous(struct vm_area_struct *vma);
bool hmm_cdm_helper_vma_is_accessible(struct vm_area_struct *vma);

/* Pages that a migration holds locked */
unsigned long hmm_cdm_helper_next_damaged(const unsigned long *src, unsigned long i,
				   unsigned long nr);
unsigned long hmm_cdm_helper_next_with_extra_refs(const unsigned long *src, unsigned long i,
				unsigned long nr);
bool hmm_cdm_helper_page_is_anon(struct page *page);

/* mmu_interval_notifier */
void hmm_cdm_helper_interval_set_seq(struct mmu_interval_notifier *mni,
			      unsigned long seq);
bool hmm_cdm_helper_interval_read_retry(struct mmu_interval_notifier *mni,
				 unsigned long seq);

/* Addresses of a process */
bool hmm_cdm_helper_user_range(unsigned long start, unsigned long size);

/* Physical memory */
bool hmm_cdm_helper_nid_possible(int nid);
u64 hmm_cdm_helper_max_phys(void);
struct resource *hmm_cdm_helper_request_region(u64 start, u64 size, const char *name);
struct resource *hmm_cdm_helper_request_free_region(u64 size, const char *name);
void hmm_cdm_helper_release_region(u64 start, u64 size);

/* The device tree. Those that find a node return it with a reference. */
struct device_node *hmm_cdm_helper_of_get(struct device_node *np);
void hmm_cdm_helper_of_put(struct device_node *np);
struct device_node *hmm_cdm_helper_of_next_compatible(struct device_node *from,
					       const char *name);
struct device_node *hmm_cdm_helper_of_next_of_type(struct device_node *from,
					    const char *name);
struct device_node *hmm_cdm_helper_of_next_with_property(struct device_node *from,
						  const char *name);
struct device_node *hmm_cdm_helper_of_of_device(struct device *dev);
struct device_node *hmm_cdm_helper_of_phandle(struct device_node *np,
				       const char *name);
struct device_node *hmm_cdm_helper_of_parent(struct device_node *np);
const void *hmm_cdm_helper_of_property(struct device_node *np, const char *name,
				int *len);
int hmm_cdm_helper_of_addr_cells(struct device_node *np);
int hmm_cdm_helper_of_size_cells(struct device_node *np);
int hmm_cdm_helper_of_nid(struct device_node *np);
bool hmm_cdm_helper_of_available(struct device_node *np);
size_t hmm_cdm_helper_of_path(struct device_node *np, char *path, size_t size);

/* Device memory of cgroups */
struct dmem_cgroup_region *
hmm_cdm_helper_dmem_register(const struct dmem_cgroup_init *init, const char *name);
void hmm_cdm_helper_dmem_unregister(struct dmem_cgroup_region *region);
int hmm_cdm_helper_dmem_try_charge(struct dmem_cgroup_region *region, u64 size,
			    struct dmem_cgroup_pool_state **pool);
void hmm_cdm_helper_dmem_uncharge(struct dmem_cgroup_pool_state *pool, u64 size);
bool hmm_cdm_helper_dmem_evict_valuable(struct dmem_cgroup_pool_state *limit,
				 struct dmem_cgroup_pool_state *pool,
				 bool ignore_low, bool *hit_low);

/* Huge pages */
unsigned int hmm_cdm_helper_pmd_order(void);
bool hmm_cdm_helper_huge_pages_move(void);

/* Threads, files */
struct task_struct *hmm_cdm_helper_kthread_run(int (*fn)(void *data), void *data,
					const char *name, unsigned int nr,
					bool join);
void hmm_cdm_helper_kthread_allow_interrupt(void);
void hmm_cdm_helper_kthread_interrupt(struct task_struct *task);
struct task_struct *hmm_cdm_helper_kthread_begin_wait(bool *allowed);
void hmm_cdm_helper_kthread_end_wait(struct task_struct *task, bool allowed);
bool hmm_cdm_helper_is_current(const struct task_struct *task);
struct eventfd_ctx *hmm_cdm_helper_eventfd_get(int fd);
void hmm_cdm_helper_eventfd_signal(struct eventfd_ctx *ctx);
void hmm_cdm_helper_eventfd_put(struct eventfd_ctx *ctx);
void hmm_cdm_helper_cond_resched(void);
bool hmm_cdm_helper_capable_sys_admin(void);
bool hmm_cdm_helper_fatal_signal_pending(void);
void hmm_cdm_helper_might_sleep(void);

/* The device's accesses to memory that the CPU uses at the same time */
u64 hmm_cdm_helper_read_u64(const void *p);
void hmm_cdm_helper_write_u64(void *p, u64 value);
u64 hmm_cdm_helper_cmpxchg_u64(void *p, u64 old, u64 new);
u64 hmm_cdm_helper_fetch_add_u64(void *p, u64 value);

#endif /* _HMM_CDM_HELPERS_H */

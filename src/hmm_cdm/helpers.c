// SPDX-License-Identifier: GPL-2.0
/*
 * C inlines and macros as functions, see helpers.h. Rust callers are in
 * src/mm/ and src/os/, next to the invariants that make the calls sound.
 */

#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/cgroup_dmem.h>
#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/nodemask.h>
#include <linux/of.h>
#include <linux/oom.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

#include "helpers.h"

/* Page frames */

struct page *hmm_cdm_helper_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

unsigned long hmm_cdm_helper_page_to_pfn(struct page *page)
{
	return page_to_pfn(page);
}

unsigned long hmm_cdm_helper_folio_pfn(struct folio *folio)
{
	return folio_pfn(folio);
}

struct folio *hmm_cdm_helper_page_folio(struct page *page)
{
	return page_folio(page);
}

unsigned int hmm_cdm_helper_folio_order(struct folio *folio)
{
	return folio_order(folio);
}

struct dev_pagemap *hmm_cdm_helper_folio_pgmap(struct folio *folio)
{
	return folio->pgmap;
}

/* The pagemap of a page of device memory that is in use, or NULL. */
struct dev_pagemap *hmm_cdm_helper_page_pgmap(struct page *page)
{
	if (!is_device_coherent_page(page) && !is_device_private_page(page))
		return NULL;
	return page_pgmap(page);
}

/*
 * HMM depends on 64BIT (mm/Kconfig), so every page is in the direct map, but
 * for those that hmm_cdm_may_access() refuses.
 */
void *hmm_cdm_helper_pfn_to_virt(unsigned long pfn)
{
	return page_to_virt(pfn_to_page(pfn));
}

/*
 * Whether @pfn is ordinary memory of the kernel. ZONE_DEVICE pages are not
 * online, whoever they belong to.
 */
bool hmm_cdm_helper_pfn_online(unsigned long pfn)
{
	return pfn_to_online_page(pfn);
}

/*
 * Damaged pages in use. The word of a folio of device memory that is its owner's
 * tells, and not PG_hwpoison: with that try_to_migrate() leaves hwpoison entries
 * in page tables, which hold no reference, but which /proc/<pid>/smaps follows to
 * a struct page (softleaf_to_page()), that is gone once the memory is unplugged.
 * folio_set_zone_device_data() would do, but wants private memory.
 */
static char damaged;
/* Some page was marked at some time, so that others have to be looked at. */
static bool any_damaged;

/*
 * Marks the folio that the page is part of, and tells which one that is. False if
 * nobody uses it, and nothing is marked.
 */
bool hmm_cdm_helper_page_set_damaged(struct page *page, unsigned long *first,
			      unsigned int *order)
{
	struct folio *folio;

	for (;;) {
		folio = page_folio(page);
		if (!folio_try_get(folio))
			return false;
		if (page_folio(page) == folio)
			break;
		/* It was split meanwhile. */
		folio_put(folio);
	}
	/*
	 * Who does not see it yet has entries for the page in time to have them taken
	 * away, when it is taken away from those who map it.
	 */
	WRITE_ONCE(any_damaged, true);
	WRITE_ONCE(folio->page.zone_device_data, &damaged);
	*first = folio_pfn(folio);
	*order = folio_order(folio);
	folio_put(folio);
	return true;
}

/* The page is kept from being freed by the caller, or mapped. */
static bool is_damaged(const struct folio *folio)
{
	return folio_is_zone_device(folio) &&
	       READ_ONCE(folio->page.zone_device_data) == &damaged;
}

bool hmm_cdm_helper_page_is_damaged(struct page *page)
{
	return is_damaged(page_folio(page));
}

bool hmm_cdm_helper_any_damaged(void)
{
	return READ_ONCE(any_damaged);
}

/* Before its frames can be had again. */
void hmm_cdm_helper_folio_clear_damaged(struct folio *folio)
{
	folio->page.zone_device_data = NULL;
}

/*
 * dev_pagemap_ops.folio_split: @part comes into being, behind @folio, by a split;
 * NULL after the last one. What zone_device_private_split_cb() does without it, and
 * what was one damaged folio is several.
 */
void hmm_cdm_helper_folio_split(struct folio *folio, struct folio *part)
{
	if (!part)
		return;
	part->pgmap = folio->pgmap;
	part->page.mapping = folio->page.mapping;
	part->page.zone_device_data = READ_ONCE(folio->page.zone_device_data);
}

/*
 * Whether the device may have an entry for the page: not if it is damaged. GUP gives no pages of
 * memfd_secret(2) to anybody, and guest_memfd's are not to be touched; both may
 * be taken out of the direct map. hmm_range_fault() does not know them
 * (7.3.4). vma_is_secretmem() and secretmem_aops are not exported; the file
 * system is secretmem's own.
 *
 * As below, the page is mapped meanwhile, so its file and inode stay.
 */
static bool may_access(struct folio *folio)
{
	struct address_space *mapping;

	if (is_damaged(folio))
		return false;
	if (folio_test_anon(folio))
		return true;
	mapping = folio_mapping(folio);
	if (!mapping)
		return true;
	if (mapping_inaccessible(mapping))
		return false;
	return !mapping->host ||
	       mapping->host->i_sb->s_magic != SECRETMEM_MAGIC;
}

/*
 * The first of @nr entries of hmm_range_fault(), from @i on, that the device may
 * not have; @nr if it may have all. What one entry of a page table maps is of one
 * folio.
 */
unsigned long hmm_cdm_helper_next_inaccessible(const unsigned long *hmm_pfns,
				  unsigned long i, unsigned long nr)
{
	for (; i < nr; i++) {
		unsigned long hmm_pfn = hmm_pfns[i];
		unsigned int order;

		if (!(hmm_pfn & HMM_PFN_VALID))
			continue;
		if (!may_access(page_folio(hmm_pfn_to_page(hmm_pfn))))
			return i;
		order = hmm_pfn_to_map_order(hmm_pfn);
		if (order)
			i += ~hmm_pfn & ((1UL << order) - 1);
	}
	return nr;
}

/*
 * The device got a writable entry for the page: from now on it may change
 * without a dirty page table entry to show it. MADV_FREE and swap would drop
 * such a page as clean, so it is marked now; whoever cleans it again takes the
 * device's entry away first (an mmu notifier runs before).
 *
 * Only anonymous and shmem pages need it (both are "swap backed", MADV_FREE
 * clears that bit of anonymous ones). Their dirty_folio is noop_dirty_folio,
 * which does not sleep. Pages of other files become writable in a page table
 * only after page_mkwrite, which marked them.
 *
 * The caller has rechecked the notifier's sequence and holds the lock that the
 * invalidation takes, so the page cannot be freed meanwhile.
 */
void hmm_cdm_helper_mark_written(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	if (folio_test_anon(folio) || folio_test_swapbacked(folio))
		folio_mark_dirty(folio);
}

/*
 * Whether the page has more references than mappings and caches explain: a
 * pin, or someone who is about to look at it. One of system memory that is not
 * on the LRU list has one more: it is in a CPU's batch of those on their way
 * there (lru_add_drain()), or isolated for a moment. The caller keeps it from
 * being freed; the answer may be old when it arrives.
 */
bool hmm_cdm_helper_page_has_extra_refs(struct page *page)
{
	struct folio *folio = page_folio(page);
	bool moving = !folio_is_zone_device(folio) && !folio_test_lru(folio);

	return folio_maybe_dma_pinned(folio) ||
	       folio_ref_count(folio) > folio_expected_ref_count(folio) + moving;
}

/*
 * Whether it is the page of zeros that stands for untouched memory. Which one the
 * huge page of zeros is modules do not get to know (huge_zero_pfn).
 */
bool hmm_cdm_helper_pfn_is_zero(unsigned long pfn)
{
	return is_zero_pfn(pfn);
}

int hmm_cdm_helper_page_refs(struct page *page)
{
	return folio_ref_count(page_folio(page));
}

int hmm_cdm_helper_page_maps(struct page *page)
{
	return folio_mapcount(page_folio(page));
}

/* Pages that nobody else knows yet */

/*
 * A page that does not move is no error, so nobody is killed for it: the
 * allocation fails rather than call the OOM killer.
 */
struct page *hmm_cdm_helper_alloc_page(void)
{
	return alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL |
			  __GFP_NOWARN);
}

/* For a fault that cannot do without: whatever it takes, as any fault does. */
struct page *hmm_cdm_helper_alloc_page_hard(void)
{
	return alloc_page(GFP_HIGHUSER_MOVABLE);
}

/* One try at compaction is enough where there is another way: not @hard. */
struct page *hmm_cdm_helper_alloc_huge_page(bool hard)
{
	gfp_t gfp = GFP_TRANSHUGE |
		    (hard ? __GFP_RETRY_MAYFAIL : __GFP_NORETRY);
	struct folio *folio = folio_alloc(gfp, PMD_SHIFT - PAGE_SHIFT);

	return folio ? folio_page(folio, 0) : NULL;
}

unsigned long hmm_cdm_helper_lock_new_page(struct page *page)
{
	__folio_set_locked(page_folio(page));
	return page_to_pfn(page);
}

void hmm_cdm_helper_unlock_put_page(struct page *page)
{
	unlock_page(page);
	put_page(page);
}

void hmm_cdm_helper_clear_page(unsigned long pfn)
{
	clear_highpage(pfn_to_page(pfn));
}

/*
 * Whether copy_mc_to_kernel() recovers from errors. Without ERMS it is memcpy() on
 * x86, which takes three times as many instructions as copy_page().
 */
static bool copy_recovers(void)
{
#ifdef CONFIG_X86
	return cpu_feature_enabled(X86_FEATURE_ERMS);
#else
	return true;
#endif
}

/*
 * False if the memory that is read has an error, which is then reported as a
 * memory failure.
 */
bool hmm_cdm_helper_copy_page(unsigned long to, unsigned long from)
{
	struct page *src = pfn_to_page(from), *dst = pfn_to_page(to);

	if (copy_recovers())
		return !copy_mc_highpage(dst, src);
	copy_highpage(dst, src);
	return true;
}

/* A folio that the caller has locked, with a reference */

void hmm_cdm_helper_folio_unlock_put(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* A fault of the CPU. struct vm_fault has unions that bindgen renames. */

/*
 * do_huge_pmd_device_private() sets no PTE; do_swap_page() leaves the one that it
 * has looked at.
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

/* As __folio_lock_or_retry() does; nothing of the fault is used after that. */
vm_fault_t hmm_cdm_helper_fault_retry(struct vm_fault *vmf)
{
	if (!fault_flag_allow_retry_first(vmf->flags) ||
	    (vmf->flags & (FAULT_FLAG_RETRY_NOWAIT | FAULT_FLAG_VMA_LOCK)))
		return 0;
	mmap_read_unlock(vmf->vma->vm_mm);
	return VM_FAULT_RETRY;
}

struct mm_struct *hmm_cdm_helper_vma_mm(struct vm_area_struct *vma)
{
	return vma->vm_mm;
}

/* An address space and its mappings, under the mmap lock */

int hmm_cdm_helper_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

bool hmm_cdm_helper_mm_is_unstable(struct mm_struct *mm)
{
	return check_stable_address_space(mm);
}

bool hmm_cdm_helper_vma_is_protected(struct vm_area_struct *vma)
{
	return userfaultfd_protected(vma);
}

bool hmm_cdm_helper_vma_is_anonymous(struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma);
}

bool hmm_cdm_helper_vma_is_accessible(struct vm_area_struct *vma)
{
	return vma_is_accessible(vma);
}

/* Pages that a migration holds locked */

static bool is_held(const struct folio *folio)
{
	return folio_is_device_coherent(folio) && folio_ref_count(folio) > 1;
}

/*
 * Each finds the first of the @nr entries of a migration's source array, from @i on,
 * of which that is true, and @nr if there is none.
 */
unsigned long hmm_cdm_helper_next_damaged(const unsigned long *src, unsigned long i,
				   unsigned long nr)
{
	for (; i < nr; i++) {
		struct page *page = migrate_pfn_to_page(src[i]);

		if (page && (src[i] & MIGRATE_PFN_MIGRATE) &&
		    is_damaged(page_folio(page)))
			break;
	}
	return i;
}

/*
 * Someone else has a reference on a page of coherent memory that was unmapped for
 * the migration. migrate_vma_check_page() lets one pass ("Page from ZONE_DEVICE have
 * one extra reference": it has not), and folio_migrate_mapping() does not if it is
 * still there. In between its holder may write, with no lock (__access_remote_vm()).
 * Nobody can get a new one from a page table, so where this finds none, the content
 * holds.
 */
unsigned long hmm_cdm_helper_next_with_extra_refs(const unsigned long *src, unsigned long i,
				unsigned long nr)
{
	for (; i < nr; i++) {
		struct page *page = migrate_pfn_to_page(src[i]);

		if (page && (src[i] & MIGRATE_PFN_MIGRATE) &&
		    is_held(page_folio(page)))
			break;
	}
	/* After folio_put(): what was written before is what is copied. */
	smp_rmb();
	return i;
}

/*
 * What KSM has merged belongs to many, and KSM remembers its frame: of a device it
 * would merge others' pages into it, and look at its struct page even after the
 * memory is gone (folio_migrate_ksm(), ksm_get_folio()).
 */
bool hmm_cdm_helper_page_is_anon(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_anon(folio) && !folio_test_ksm(folio);
}

/* mmu_interval_notifier */

void hmm_cdm_helper_interval_set_seq(struct mmu_interval_notifier *mni,
			      unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
}

bool hmm_cdm_helper_interval_read_retry(struct mmu_interval_notifier *mni,
				 unsigned long seq)
{
	return mmu_interval_read_retry(mni, seq);
}

/* Physical memory */

/* Possible, and with the node data that arch_add_memory() dereferences. */
bool hmm_cdm_helper_nid_possible(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_possible(nid) &&
	       NODE_DATA(nid);
}

/*
 * Whether the range is one that a process may name. copy_from_user() does not ask
 * where an architecture masks addresses instead, and what powerpc masks them to,
 * 1 << 63, is taken not to be mapped (7.3.4, mask_user_address_simple()). With the
 * radix MMU on bare metal it is: quadrant 2 is the page table of PID 0, so that the
 * copy is one of the first bytes of RAM.
 */
bool hmm_cdm_helper_user_range(unsigned long start, unsigned long size)
{
	return access_ok((void __user *)start, size);
}

/*
 * The last address that can be given a linear mapping. powerpc does not say it
 * in the pluggable range, and refuses what ends at vmalloc's addresses or beyond
 * (hash__create_section_mapping() and its counterpart for radix).
 */
u64 hmm_cdm_helper_max_phys(void)
{
	u64 last = mhp_get_pluggable_range(true).end;

#ifdef CONFIG_PPC_BOOK3S_64
	last = min(last, round_down(VMALLOC_START - PAGE_OFFSET - 1,
				    (u64)memremap_compat_align()) - 1);
#endif
	return last;
}

struct resource *hmm_cdm_helper_request_region(u64 start, u64 size, const char *name)
{
	return request_mem_region(start, size, name);
}

/* Addresses that nothing is behind, for memory that the CPU cannot access. */
struct resource *hmm_cdm_helper_request_free_region(u64 size, const char *name)
{
	return request_free_mem_region(&iomem_resource, size, name);
}

void hmm_cdm_helper_release_region(u64 start, u64 size)
{
	release_mem_region(start, size);
}

/* The device tree. With CONFIG_OF=n these are inlines that find nothing. */

struct device_node *hmm_cdm_helper_of_get(struct device_node *np)
{
	return of_node_get(np);
}

void hmm_cdm_helper_of_put(struct device_node *np)
{
	of_node_put(np);
}

struct device_node *hmm_cdm_helper_of_next_compatible(struct device_node *from,
					       const char *name)
{
	return of_find_compatible_node(from, NULL, name);
}

struct device_node *hmm_cdm_helper_of_next_of_type(struct device_node *from,
					    const char *name)
{
	return of_find_node_by_type(from, name);
}

struct device_node *hmm_cdm_helper_of_next_with_property(struct device_node *from,
						  const char *name)
{
	return of_find_node_with_property(from, name);
}

struct device_node *hmm_cdm_helper_of_of_device(struct device *dev)
{
	return of_node_get(dev_of_node(dev));
}

struct device_node *hmm_cdm_helper_of_phandle(struct device_node *np,
				       const char *name)
{
	return of_parse_phandle(np, name, 0);
}

struct device_node *hmm_cdm_helper_of_parent(struct device_node *np)
{
	return of_get_parent(np);
}

const void *hmm_cdm_helper_of_property(struct device_node *np, const char *name,
				int *len)
{
	return of_get_property(np, name, len);
}

int hmm_cdm_helper_of_addr_cells(struct device_node *np)
{
	return of_n_addr_cells(np);
}

int hmm_cdm_helper_of_size_cells(struct device_node *np)
{
	return of_n_size_cells(np);
}

/*
 * Only powerpc exports its of_node_to_nid(). Elsewhere a memory node has the
 * number itself (of_numa_parse_memory_nodes() in drivers/of/of_numa.c).
 */
int hmm_cdm_helper_of_nid(struct device_node *np)
{
#ifdef CONFIG_PPC
	return of_node_to_nid(np);
#else
	u32 nid;

	return of_property_read_u32(np, "numa-node-id", &nid) ? NUMA_NO_NODE :
								nid;
#endif
}

bool hmm_cdm_helper_of_available(struct device_node *np)
{
	return of_device_is_available(np);
}

/* Rust's formatting has no %pOF. Returns the length, without the NUL. */
size_t hmm_cdm_helper_of_path(struct device_node *np, char *path, size_t size)
{
	return scnprintf(path, size, "%pOF", np);
}

/*
 * Device memory of cgroups: inline functions where the kernel has no dmem
 * controller, and exported ones where it has. There the name of a region is a
 * format.
 */

struct dmem_cgroup_region *
hmm_cdm_helper_dmem_register(const struct dmem_cgroup_init *init, const char *name)
{
	return dmem_cgroup_register_region(init, "hmm_cdm/%s", name);
}

void hmm_cdm_helper_dmem_unregister(struct dmem_cgroup_region *region)
{
	dmem_cgroup_unregister_region(region);
}

/* Whose limit was hit is not asked for: nothing is evicted for the caller. */
int hmm_cdm_helper_dmem_try_charge(struct dmem_cgroup_region *region, u64 size,
			    struct dmem_cgroup_pool_state **pool)
{
	return dmem_cgroup_try_charge(region, size, pool, NULL);
}

void hmm_cdm_helper_dmem_uncharge(struct dmem_cgroup_pool_state *pool, u64 size)
{
	dmem_cgroup_uncharge(pool, size);
}

bool hmm_cdm_helper_dmem_evict_valuable(struct dmem_cgroup_pool_state *limit,
				 struct dmem_cgroup_pool_state *pool,
				 bool ignore_low, bool *hit_low)
{
	return dmem_cgroup_state_evict_valuable(limit, pool, ignore_low,
						hit_low);
}

/* Huge pages */

/*
 * The order of what a page middle directory entry maps. HPAGE_PMD_ORDER does
 * not compile without THP, and is a variable on powerpc.
 */
unsigned int hmm_cdm_helper_pmd_order(void)
{
	return PMD_SHIFT - PAGE_SHIFT;
}

/*
 * Whether a huge page can be moved in one piece. Where this is false no page
 * middle directory entry ever holds one that is not present.
 */
bool hmm_cdm_helper_huge_pages_move(void)
{
	return thp_migration_supported();
}

/* Threads, files */

/* With a reference on the task, so that it may also end by itself. */
/*
 * With @join the thread is in the cgroups of the caller from its start, for the
 * sake of the device memory that it takes: dmem_cgroup_try_charge() charges the
 * current task's cgroup and no other. It takes a lock that all forks take, so
 * without that controller it is left out.
 */
struct task_struct *hmm_cdm_helper_kthread_run(int (*fn)(void *data), void *data,
					const char *name, unsigned int nr,
					bool join)
{
	struct task_struct *task = kthread_create(fn, data, "%s/%u", name, nr);
	int ret;

	if (IS_ERR(task))
		return task;
	if (join && IS_ENABLED(CONFIG_CGROUP_DMEM)) {
		ret = cgroup_attach_task_all(current, task);
		if (ret) {
			/* It has never run. */
			kthread_stop(task);
			return ERR_PTR(ret);
		}
	}
	get_task_struct(task);
	wake_up_process(task);
	return task;
}

/*
 * A kthread is in a killable wait as a process is (a page fault that a
 * userfaultfd is to answer, the mmap lock), but ignores all signals. SIGKILL
 * from the kernel ends these waits, before the thread is stopped.
 */
void hmm_cdm_helper_kthread_allow_interrupt(void)
{
	allow_kernel_signal(SIGKILL);
}

void hmm_cdm_helper_kthread_interrupt(struct task_struct *task)
{
	send_sig(SIGKILL, task, 1);
}

/*
 * The current task, with a reference, if it is a kthread; it allows the signal
 * until hmm_cdm_helper_kthread_end_wait(), which it calls itself. @allowed is set if it
 * did not before.
 */
struct task_struct *hmm_cdm_helper_kthread_begin_wait(bool *allowed)
{
	const struct k_sigaction *action = &current->sighand->action[SIGKILL - 1];

	if (!(current->flags & PF_KTHREAD))
		return NULL;
	*allowed = action->sa.sa_handler == SIG_IGN;
	if (*allowed)
		allow_kernel_signal(SIGKILL);
	get_task_struct(current);
	return current;
}

/* Ignoring it again takes it away, should it be pending (kernel_sigaction()). */
void hmm_cdm_helper_kthread_end_wait(struct task_struct *task, bool allowed)
{
	if (allowed)
		disallow_signal(SIGKILL);
	put_task_struct(task);
}

bool hmm_cdm_helper_is_current(const struct task_struct *task)
{
	return task == current;
}

struct eventfd_ctx *hmm_cdm_helper_eventfd_get(int fd)
{
	return eventfd_ctx_fdget(fd);
}

void hmm_cdm_helper_eventfd_signal(struct eventfd_ctx *ctx)
{
	eventfd_signal(ctx);
}

void hmm_cdm_helper_eventfd_put(struct eventfd_ctx *ctx)
{
	eventfd_ctx_put(ctx);
}

void hmm_cdm_helper_cond_resched(void)
{
	cond_resched();
}

bool hmm_cdm_helper_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

bool hmm_cdm_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

void hmm_cdm_helper_might_sleep(void)
{
	might_sleep();
}

/*
 * The device's accesses to memory that the CPU uses at the same time: single
 * copies for plain ones, the CPU's own atomics for atomic ones, which is what
 * cache coherence gives a real device.
 */

u64 hmm_cdm_helper_read_u64(const void *p)
{
	return READ_ONCE(*(const u64 *)p);
}

void hmm_cdm_helper_write_u64(void *p, u64 value)
{
	WRITE_ONCE(*(u64 *)p, value);
}

u64 hmm_cdm_helper_cmpxchg_u64(void *p, u64 old, u64 new)
{
	return atomic64_cmpxchg((atomic64_t *)p, old, new);
}

u64 hmm_cdm_helper_fetch_add_u64(void *p, u64 value)
{
	return atomic64_fetch_add(value, (atomic64_t *)p);
}

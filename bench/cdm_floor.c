// SPDX-License-Identifier: GPL-2.0
/*
 * The floor: the cost of the core mm's functions that every driver of coherent memory
 * has to call. Migration and device faults are as short as possible, with windows of
 * the same size as the library's, preallocated arrays, and a stack of free pages.
 * Nothing is accounted, retried or kept for a device. It is not a driver, but what
 * drivers are compared with.
 *
 * The parameters name two ranges of reserved RAM, as for cdm_emu.
 */
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "cdm_floor.h"

#define NR_NODES	2
#define WINDOW		PMD_SIZE
#define WINDOW_PAGES	(WINDOW >> PAGE_SHIFT)

/* Start and size of each range, in bytes. */
static unsigned long start[NR_NODES], size[NR_NODES];
module_param_array(start, ulong, NULL, 0444);
module_param_array(size, ulong, NULL, 0444);

struct floor_node {
	struct dev_pagemap pgmap;
	spinlock_t lock;	/* protects free, the stack of free pages */
	struct page *free;
};

static struct floor_node nodes[NR_NODES];

/* An open file, with the arrays of one window. Each thread opens its own. */
struct file_state {
	struct mutex busy;	/* protects the members below */
	struct mmu_interval_notifier notifier;
	bool watching;
	spinlock_t lock;	/* a driver's would protect its page table */
	unsigned long src[WINDOW_PAGES];
	unsigned long dst[WINDOW_PAGES];
};

/* Free pages */

static void free_push(struct floor_node *node, struct page *page)
{
	unsigned long flags;

	spin_lock_irqsave(&node->lock, flags);
	page->zone_device_data = node->free;
	node->free = page;
	spin_unlock_irqrestore(&node->lock, flags);
}

static struct page *free_pop(struct floor_node *node)
{
	struct page *page;
	unsigned long flags;

	spin_lock_irqsave(&node->lock, flags);
	page = node->free;
	if (page)
		node->free = page->zone_device_data;
	spin_unlock_irqrestore(&node->lock, flags);
	if (page)
		zone_device_page_init(page, &node->pgmap, 0);
	return page;
}

static void floor_folio_free(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);

	free_push(container_of(page_pgmap(page), struct floor_node, pgmap), page);
}

static int floor_memory_failure(struct dev_pagemap *pgmap, unsigned long pfn,
				unsigned long nr_pages, int mf_flags)
{
	return 0;
}

static const struct dev_pagemap_ops pgmap_ops = {
	.folio_free = floor_folio_free,
	.memory_failure = floor_memory_failure,
};

static struct page *system_page(void)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

	if (page)
		lock_page(page);
	return page;
}

/* Migration */

/* Copies each collected page. On a node (@node), zeroes pages for holes, too. */
static void fill_window(struct file_state *fs, unsigned long nr,
			struct floor_node *node)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		struct page *from = migrate_pfn_to_page(fs->src[i]);
		struct page *to;

		fs->dst[i] = 0;
		if (!(fs->src[i] & MIGRATE_PFN_MIGRATE) || (!from && !node))
			continue;
		to = node ? free_pop(node) : system_page();
		if (!to)
			continue;
		if (from)
			copy_highpage(to, from);
		else
			clear_highpage(to);
		fs->dst[i] = migrate_pfn(page_to_pfn(to));
	}
}

/* Number of pages migrated. */
static unsigned long count_moved(const struct file_state *fs, unsigned long nr)
{
	unsigned long i, moved = 0;

	for (i = 0; i < nr; i++)
		moved += fs->dst[i] && (fs->src[i] & MIGRATE_PFN_MIGRATE);
	return moved;
}

/* @to is NULL for system memory. */
static int move(struct file_state *fs, struct cdm_floor *cmd,
		unsigned int select, struct floor_node *owner, struct floor_node *to)
{
	struct mm_struct *mm = current->mm;
	unsigned long addr, end = cmd->addr + cmd->length;

	for (addr = cmd->addr; addr < end;) {
		struct migrate_vma args = {
			.src = fs->src,
			.dst = fs->dst,
			.start = addr,
			.end = min(end, ALIGN_DOWN(addr, WINDOW) + WINDOW),
			.pgmap_owner = owner,
			.flags = select,
		};
		int ret = -ENOMEM;

		mmap_read_lock(mm);
		args.vma = vma_lookup(mm, addr);
		if (args.vma)
			ret = migrate_vma_setup(&args);
		if (!ret) {
			fill_window(fs, args.npages, to);
			migrate_vma_pages(&args);
			cmd->pages += count_moved(fs, args.npages);
			migrate_vma_finalize(&args);
		}
		mmap_read_unlock(mm);
		if (ret)
			return ret;
		addr = args.end;
		cond_resched();
	}
	return 0;
}

static int evict(struct file_state *fs, struct cdm_floor *cmd,
		 struct floor_node *node)
{
	unsigned long pfn = PHYS_PFN(node->pgmap.range.start);
	unsigned long left = cmd->length >> PAGE_SHIFT;

	while (left) {
		unsigned long nr = min(left, WINDOW_PAGES);
		int ret = migrate_device_range(fs->src, pfn, nr);

		if (ret)
			return ret;
		fill_window(fs, nr, NULL);
		migrate_device_pages(fs->src, fs->dst, nr);
		cmd->pages += count_moved(fs, nr);
		migrate_device_finalize(fs->src, fs->dst, nr);
		pfn += nr;
		left -= nr;
		cond_resched();
	}
	return 0;
}

/* Copies or zeroes without migration. The memory has to be free on the node. */
static int fill(struct cdm_floor *cmd, struct floor_node *node, bool copy)
{
	struct page *from = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct page *to = pfn_to_page(PHYS_PFN(node->pgmap.range.start));

	if (!from)
		return -ENOMEM;
	for (; cmd->pages < cmd->length >> PAGE_SHIFT; cmd->pages++) {
		if (copy)
			copy_highpage(to + cmd->pages, from);
		else
			clear_highpage(to + cmd->pages);
	}
	__free_page(from);
	return 0;
}

/* Device faults */

static bool floor_invalidate(struct mmu_interval_notifier *mni,
			     const struct mmu_notifier_range *range,
			     unsigned long seq)
{
	struct file_state *fs = container_of(mni, struct file_state, notifier);

	spin_lock(&fs->lock);
	mmu_interval_set_seq(mni, seq);
	spin_unlock(&fs->lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = floor_invalidate,
};

static void unwatch(struct file_state *fs)
{
	if (fs->watching)
		mmu_interval_notifier_remove(&fs->notifier);
	fs->watching = false;
}

static int watch(struct file_state *fs, struct cdm_floor *cmd)
{
	int ret;

	unwatch(fs);
	ret = mmu_interval_notifier_insert(&fs->notifier, current->mm,
					   cmd->addr, cmd->length,
					   &notifier_ops);
	fs->watching = !ret;
	return ret;
}

/* Walks one window until the result is valid. */
static int fault_window(struct file_state *fs, struct hmm_range *range)
{
	struct mm_struct *mm = current->mm;
	bool stale;
	int ret;

	do {
		range->notifier_seq = mmu_interval_read_begin(&fs->notifier);
		mmap_read_lock(mm);
		ret = hmm_range_fault(range);
		mmap_read_unlock(mm);
		if (ret == -EBUSY)
			continue;
		if (ret)
			return ret;
		spin_lock(&fs->lock);
		stale = mmu_interval_read_retry(&fs->notifier,
						range->notifier_seq);
		spin_unlock(&fs->lock);
	} while (ret || stale);
	return 0;
}

static int fault(struct file_state *fs, struct cdm_floor *cmd)
{
	unsigned long addr, end = cmd->addr + cmd->length, i;

	if (!fs->watching)
		return -EINVAL;
	for (addr = cmd->addr; addr < end;) {
		struct hmm_range range = {
			.notifier = &fs->notifier,
			.start = addr,
			.end = min(end, ALIGN_DOWN(addr, WINDOW) + WINDOW),
			.hmm_pfns = fs->src,
		};
		int ret;

		if (cmd->flags & CDM_FLOOR_TOUCH)
			range.default_flags = HMM_PFN_REQ_FAULT |
					      HMM_PFN_REQ_WRITE;
		ret = fault_window(fs, &range);
		if (ret)
			return ret;
		/* Checks the last page only, as counting would cost time. */
		i = ((range.end - range.start) >> PAGE_SHIFT) - 1;
		if (fs->src[i] & HMM_PFN_VALID)
			cmd->pages += i + 1;
		addr = range.end;
		cond_resched();
	}
	return 0;
}

/* The file */

static bool range_is_valid(const struct cdm_floor *cmd)
{
	return cmd->node < NR_NODES && cmd->length &&
	       PAGE_ALIGNED(cmd->addr | cmd->length) &&
	       cmd->addr + cmd->length > cmd->addr;
}

static int call(struct file_state *fs, unsigned int command,
		struct cdm_floor *cmd)
{
	struct floor_node *node = &nodes[cmd->node];
	struct floor_node *other = &nodes[!cmd->node];
	bool fits = cmd->length <= range_len(&node->pgmap.range);

	switch (command) {
	case CDM_FLOOR_IN:
		return move(fs, cmd, MIGRATE_VMA_SELECT_SYSTEM, node, node);
	case CDM_FLOOR_OUT:
		return move(fs, cmd, MIGRATE_VMA_SELECT_DEVICE_COHERENT, node,
			    NULL);
	case CDM_FLOOR_PEER:
		return move(fs, cmd, MIGRATE_VMA_SELECT_DEVICE_COHERENT, other,
			    node);
	case CDM_FLOOR_EVICT:
		return fits ? evict(fs, cmd, node) : -EINVAL;
	case CDM_FLOOR_COPY:
		return fits ? fill(cmd, node, true) : -EINVAL;
	case CDM_FLOOR_ZERO:
		return fits ? fill(cmd, node, false) : -EINVAL;
	case CDM_FLOOR_WATCH:
		return watch(fs, cmd);
	case CDM_FLOOR_FAULT:
		return fault(fs, cmd);
	}
	return -ENOTTY;
}

static long floor_ioctl(struct file *file, unsigned int command,
			unsigned long arg)
{
	struct cdm_floor __user *user = (void __user *)arg;
	struct file_state *fs = file->private_data;
	struct cdm_floor cmd;
	int ret;

	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if (!range_is_valid(&cmd))
		return -EINVAL;
	if (!mutex_trylock(&fs->busy))
		return -EBUSY;
	cmd.pages = 0;
	ret = call(fs, command, &cmd);
	mutex_unlock(&fs->busy);
	if (copy_to_user(user, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

static int floor_open(struct inode *inode, struct file *file)
{
	struct file_state *fs = kvzalloc(sizeof(*fs), GFP_KERNEL);

	if (!fs)
		return -ENOMEM;
	mutex_init(&fs->busy);
	spin_lock_init(&fs->lock);
	file->private_data = fs;
	return 0;
}

static int floor_release(struct inode *inode, struct file *file)
{
	struct file_state *fs = file->private_data;

	unwatch(fs);
	kvfree(fs);
	return 0;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.open = floor_open,
	.release = floor_release,
	.unlocked_ioctl = floor_ioctl,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cdm_floor",
	.fops = &floor_fops,
};

/* The module */

static int node_init(struct floor_node *node, unsigned long start, unsigned long size)
{
	unsigned long pfn;
	void *addr;

	if (!request_mem_region(start, size, KBUILD_MODNAME))
		return -EBUSY;
	spin_lock_init(&node->lock);
	node->pgmap.type = MEMORY_DEVICE_COHERENT;
	node->pgmap.range.start = start;
	node->pgmap.range.end = start + size - 1;
	node->pgmap.nr_range = 1;
	node->pgmap.ops = &pgmap_ops;
	node->pgmap.owner = node;
	addr = memremap_pages(&node->pgmap, numa_mem_id());
	if (IS_ERR(addr)) {
		release_mem_region(start, size);
		return PTR_ERR(addr);
	}
	/* The lowest page is allocated first. */
	for (pfn = PHYS_PFN(start + size); pfn-- > PHYS_PFN(start);)
		free_push(node, pfn_to_page(pfn));
	return 0;
}

/* Waits for pages that are in use. */
static void node_exit(struct floor_node *node)
{
	struct range range = node->pgmap.range;

	memunmap_pages(&node->pgmap);
	release_mem_region(range.start, range_len(&range));
}

static int __init floor_init(void)
{
	int ret = node_init(&nodes[0], start[0], size[0]);

	if (ret)
		return ret;
	ret = node_init(&nodes[1], start[1], size[1]);
	if (ret)
		goto err_first;
	ret = misc_register(&misc);
	if (ret)
		goto err_second;
	return 0;

err_second:
	node_exit(&nodes[1]);
err_first:
	node_exit(&nodes[0]);
	return ret;
}
module_init(floor_init);

static void __exit floor_exit(void)
{
	misc_deregister(&misc);
	node_exit(&nodes[1]);
	node_exit(&nodes[0]);
}
module_exit(floor_exit);

MODULE_DESCRIPTION("Cost of the core mm functions that drivers of coherent memory call");
MODULE_LICENSE("GPL");

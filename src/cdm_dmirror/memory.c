// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory: adding and removing it, and the operations on it, which the CPU
 * performs. For coherent memory the library's own do.
 *
 * Nothing is behind the addresses of private memory. A page of system memory is
 * allocated for each of its pages when content is first put there, and freed with the
 * device page. Whoever owns the device page owns its slot in the array of backing
 * pages: from the library's allocator it passes to @zero or @copy, to accesses through
 * the device page table, to @freed, and back to the allocator, which orders the
 * accesses of one owner before those of the next.
 */

#include <linux/bug.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dmirror.h"

/**
 * dmirror_add_memory() - add the memory of a device unless it is added
 * @device: the device
 *
 * Return: zero, -EINTR if a fatal signal arrived, or an error of
 * hmm_cdm_add_memory(): -EBUSY if pages are still referenced since it was removed.
 */
int dmirror_add_memory(struct dmirror_device *device)
{
	int ret;

	ret = mutex_lock_killable(&device->memory_lock);
	if (ret)
		return ret;
	if (!hmm_cdm_pages(device->cdm, NULL))
		ret = hmm_cdm_add_memory(device->cdm, &device->memory);
	mutex_unlock(&device->memory_lock);
	return ret;
}

/**
 * dmirror_remove_memory() - remove the memory of a device if it is added
 * @device: the device
 *
 * Return: zero, -EINTR if a fatal signal arrived, or -EBUSY if pages are still
 * referenced: the memory is removed, but cannot be added again until they are freed.
 */
int dmirror_remove_memory(struct dmirror_device *device)
{
	int ret;

	ret = mutex_lock_killable(&device->memory_lock);
	if (ret)
		return ret;
	ret = hmm_cdm_remove_memory(device->cdm);
	mutex_unlock(&device->memory_lock);
	return ret == -ENODEV ? 0 : ret;
}

/*
 * Page locks and the mmap lock are held. If the allocation fails, the page stays in
 * system memory; that justifies neither retries nor a warning.
 */
#define DMIRROR_GFP	(GFP_NOFS | __GFP_HIGHMEM | __GFP_NORETRY | __GFP_NOWARN)

static size_t dmirror_backing_size(struct dmirror_device *device)
{
	return (device->memory.size >> PAGE_SHIFT) * sizeof(*device->backing);
}

/**
 * dmirror_alloc_backing() - allocate the array of backing pages
 * @device: the device, before it is registered
 *
 * Return: zero or -ENOMEM.
 */
int dmirror_alloc_backing(struct dmirror_device *device)
{
	device->backing = kvzalloc(dmirror_backing_size(device), GFP_KERNEL);
	return device->backing ? 0 : -ENOMEM;
}

/**
 * dmirror_free_backing() - undo dmirror_alloc_backing()
 * @device: the device, whose memory has been removed
 */
void dmirror_free_backing(struct dmirror_device *device)
{
	/* dmirror_freed() was called for each page. */
	WARN_ON(device->backing &&
		memchr_inv(device->backing, 0, dmirror_backing_size(device)));
	kvfree(device->backing);
	device->backing = NULL;
}

static struct page **dmirror_slot(struct dmirror_device *device, u64 offset)
{
	return &device->backing[offset >> PAGE_SHIFT];
}

/**
 * dmirror_page() - the page that the CPU accesses on behalf of the device
 * @device: the device
 * @at: an entry of the device page table; it is valid while the page is accessed
 *
 * Return: the page.
 */
struct page *dmirror_page(struct dmirror_device *device,
			  const struct hmm_cdm_extent *at)
{
	if (device->backing && (at->flags & HMM_CDM_EXTENT_LOCAL))
		return *dmirror_slot(device, at->offset);
	return pfn_to_page(at->pfn);
}

static void dmirror_drop_backing(struct page **slots, u32 pages)
{
	u32 i;

	for (i = 0; i < pages; i++) {
		struct page *page = slots[i];

		slots[i] = NULL;
		if (page)
			__free_page(page);
	}
}

/* Fills all slots or none. Keeps pages that are there already. */
static int dmirror_fill_backing(struct page **slots, u32 pages)
{
	unsigned long filled, before = 0;

	for (;;) {
		/* May stop early. The result includes pages that were there. */
		filled = alloc_pages_bulk(DMIRROR_GFP, pages, slots);
		if (filled == pages)
			return 0;
		if (filled == before)
			break;
		before = filled;
	}
	dmirror_drop_backing(slots, pages);
	return -ENOMEM;
}

static int dmirror_copy_one(struct dmirror_device *device,
			    const struct hmm_cdm_copy *copy)
{
	struct page **slots = dmirror_slot(device, copy->offset);
	bool in = copy->direction == HMM_CDM_COPY_IN;
	u32 i;

	if (in) {
		int ret = dmirror_fill_backing(slots, copy->pages);

		if (ret)
			return ret;
	}
	for (i = 0; i < copy->pages; i++) {
		if (in)
			copy_highpage(slots[i], copy->page + i);
		else
			copy_highpage(copy->page + i, slots[i]);
	}
	return 0;
}

static int dmirror_copy(struct hmm_cdm_device *cdm,
			const struct hmm_cdm_copy *copies, u32 nr)
{
	struct dmirror_device *device = hmm_cdm_device_data(cdm);
	u32 i;

	for (i = 0; i < nr; i++) {
		int ret = dmirror_copy_one(device, &copies[i]);

		if (ret)
			return i ?: ret;
	}
	return nr;
}

static int dmirror_zero(struct hmm_cdm_device *cdm, u64 offset, u32 pages)
{
	struct dmirror_device *device = hmm_cdm_device_data(cdm);
	struct page **slots = dmirror_slot(device, offset);
	int ret;
	u32 i;

	ret = dmirror_fill_backing(slots, pages);
	if (ret)
		return ret;
	for (i = 0; i < pages; i++)
		clear_highpage(slots[i]);
	return 0;
}

/* Called in any context. Pages that never had content have no backing. */
static void dmirror_freed(struct hmm_cdm_device *cdm, u64 offset, u32 pages)
{
	struct dmirror_device *device = hmm_cdm_device_data(cdm);

	dmirror_drop_backing(dmirror_slot(device, offset), pages);
}

const struct hmm_cdm_ops dmirror_private_ops = {
	.version	= HMM_CDM_API_VERSION,
	.owner		= THIS_MODULE,
	.name		= "cdm_dmirror",
	.copy		= dmirror_copy,
	.zero		= dmirror_zero,
	.freed		= dmirror_freed,
};

const struct hmm_cdm_ops dmirror_coherent_ops = {
	.version	= HMM_CDM_API_VERSION,
	.owner		= THIS_MODULE,
	.name		= "cdm_dmirror",
};

// SPDX-License-Identifier: GPL-2.0
/*
 * The engine's TLB, see engine.h. Hardware has page tables as well. This engine leaves
 * the walk to the library (hmm_cdm_access()), so an entry may be overwritten here.
 */
#include <linux/hmm_cdm.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "engine.h"

static struct hmm_cdm_extent *slot(struct tlb *tlb, u64 addr)
{
	return &tlb->entries[(addr >> PAGE_SHIFT) % ARRAY_SIZE(tlb->entries)];
}

void accel_tlb_enter(struct tlb *tlb, const struct hmm_cdm_extent *extent)
{
	struct hmm_cdm_extent page = *extent;

	page.pages = 1;
	spin_lock(&tlb->lock);
	for (u32 i = 0; i < extent->pages; i++) {
		*slot(tlb, page.addr) = page;
		page.addr += PAGE_SIZE;
		page.offset += PAGE_SIZE;
		page.pfn++;
	}
	spin_unlock(&tlb->lock);
}

void accel_tlb_flush(struct tlb *tlb, u64 addr, u64 length)
{
	spin_lock(&tlb->lock);
	for (unsigned int i = 0; i < ARRAY_SIZE(tlb->entries); i++) {
		struct hmm_cdm_extent *page = &tlb->entries[i];

		/* @addr + @length may overflow. */
		if (page->addr >= addr && page->addr - addr < length)
			page->pages = 0;
	}
	spin_unlock(&tlb->lock);
}

bool accel_tlb_access(struct tlb *tlb, u64 addr, bool write,
		      hmm_cdm_access_fn fn, void *arg)
{
	const struct hmm_cdm_extent *page = slot(tlb, addr);
	bool hit;

	/* Covers the access: accel_tlb_flush() waits for it. */
	spin_lock(&tlb->lock);
	hit = page->pages && page->addr == (addr & PAGE_MASK) &&
	      (!write || page->flags & HMM_CDM_EXTENT_WRITE);
	if (hit)
		fn(page, arg);
	spin_unlock(&tlb->lock);
	return hit;
}

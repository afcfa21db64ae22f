// SPDX-License-Identifier: GPL-2.0

#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../internal.h"

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

/* The pagemap of a page of device memory that is in use, NULL for other pages. */
struct dev_pagemap *hmm_cdm_helper_page_pgmap(struct page *page)
{
	if (!is_device_coherent_page(page) && !is_device_private_page(page))
		return NULL;
	return page_pgmap(page);
}

/*
 * HMM depends on 64BIT (mm/Kconfig), so the direct map has every page that a
 * device may access (cdm_rights_next_inaccessible()).
 */
void *hmm_cdm_helper_pfn_to_virt(unsigned long pfn)
{
	return page_to_virt(pfn_to_page(pfn));
}

/* Whether @pfn is system memory: no page of ZONE_DEVICE is online. */
bool hmm_cdm_helper_pfn_online(unsigned long pfn)
{
	return pfn_to_online_page(pfn);
}

/*
 * Whether @page, which a page table maps, is the page of zeros that backs untouched
 * memory, or a part of the huge one. huge_zero_folio is not exported, but it is the
 * only large folio that belongs to no process and no file and whose mappings are not
 * counted.
 */
bool hmm_cdm_helper_page_is_zero(struct page *page)
{
	const struct folio *folio;

	if (is_zero_pfn(page_to_pfn(page)))
		return true;
	folio = page_folio(page);
	return folio_test_large(folio) && !folio_is_zone_device(folio) &&
	       !READ_ONCE(folio->mapping) && !folio_mapped(folio);
}

int hmm_cdm_helper_page_refs(struct page *page)
{
	return folio_ref_count(page_folio(page));
}

int hmm_cdm_helper_page_maps(struct page *page)
{
	return folio_mapcount(page_folio(page));
}

/*
 * False for pages merged by KSM, too. They have many users, and KSM remembers the
 * frame: it would merge other pages into one on the device, and look at its struct
 * page even after the memory was unplugged (folio_migrate_ksm(), ksm_get_folio()).
 */
bool hmm_cdm_helper_page_is_anon(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_anon(folio) && !folio_test_ksm(folio);
}

bool hmm_cdm_helper_page_is_damaged(struct page *page)
{
	return cdm_damage_test(page_folio(page));
}

/* New pages, which only the caller knows */

/*
 * A page that cannot be migrated is no error, so the allocation fails rather than
 * invoke the OOM killer.
 */
struct page *hmm_cdm_helper_alloc_page(void)
{
	return alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL |
			  __GFP_NOWARN);
}

/* For a fault that cannot be served otherwise: may invoke the OOM killer. */
struct page *hmm_cdm_helper_alloc_page_hard(void)
{
	return alloc_page(GFP_HIGHUSER_MOVABLE);
}

/* @hard: the caller has no other way, so one attempt at compaction is not enough. */
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

void hmm_cdm_helper_folio_unlock_put(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

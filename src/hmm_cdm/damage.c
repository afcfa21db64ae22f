// SPDX-License-Identifier: GPL-2.0

#include <linux/migrate.h>
#include <linux/mm.h>

#include "internal.h"

/**
 * DOC: Damaged pages in use
 *
 * A damaged page of device memory is marked for as long as it is in use: devices
 * get no entry for it (page_rights.c), and a migration does not copy it. The mark is
 * zone_device_data of its folio, which belongs to the folio's driver;
 * folio_set_zone_device_data() refuses coherent memory.
 *
 * PG_hwpoison is not used. With it try_to_migrate() leaves hwpoison entries in page
 * tables. They hold no reference, but /proc/<pid>/smaps follows them to a struct
 * page (softleaf_to_page()), which is gone once the memory is unplugged.
 */

/* What zone_device_data of a damaged folio points to. */
char cdm_damage_tag;

/* Whether a folio was ever marked. Until then there is no need to look at any. */
static bool any_damaged;

/**
 * cdm_damage_any - whether a page was ever found damaged while in use
 *
 * Return: false until cdm_damage_set() succeeds for the first time.
 */
bool cdm_damage_any(void)
{
	return READ_ONCE(any_damaged);
}

/**
 * cdm_damage_set - mark the folio of a page as damaged
 * @page: a page of device memory, in use or not
 * @first: set to the folio's first frame
 * @order: set to the folio's order
 *
 * Context: Any. The caller unmaps the folio afterwards. A walk that misses the mark
 * has installed its entry before that, and the unmap invalidates it.
 *
 * Return: false if the page is not in use; then nothing is marked.
 */
bool cdm_damage_set(struct page *page, unsigned long *first, unsigned int *order)
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
	WRITE_ONCE(any_damaged, true);
	WRITE_ONCE(folio->page.zone_device_data, &cdm_damage_tag);
	*first = folio_pfn(folio);
	*order = folio_order(folio);
	folio_put(folio);
	return true;
}

/**
 * cdm_damage_clear - remove the mark of a folio that is being freed
 * @folio: a folio of device memory
 *
 * Context: dev_pagemap_ops.folio_free, before the frames can be allocated again.
 */
void cdm_damage_clear(struct folio *folio)
{
	folio->page.zone_device_data = NULL;
}

/**
 * cdm_damage_split - initialise a folio that results from a split
 * @folio: the folio that is being split
 * @part: a new folio behind it; NULL after the last one
 *
 * Does what zone_device_private_split_cb() does by default, and has each part of a
 * damaged folio inherit the mark.
 *
 * Context: dev_pagemap_ops.folio_split.
 */
void cdm_damage_split(struct folio *folio, struct folio *part)
{
	if (!part)
		return;
	part->pgmap = folio->pgmap;
	part->page.mapping = folio->page.mapping;
	part->page.zone_device_data = READ_ONCE(folio->page.zone_device_data);
}

static bool source_is_damaged(unsigned long mpfn)
{
	struct page *page = migrate_pfn_to_page(mpfn);

	return page && (mpfn & MIGRATE_PFN_MIGRATE) &&
	       cdm_damage_test(page_folio(page));
}

/**
 * cdm_damage_next - find the next damaged page of a migration
 * @src: the migration's source array
 * @i: index to start from
 * @nr: number of entries
 *
 * Context: Between migrate_vma_setup() and migrate_vma_finalize(), or their
 * counterparts for devices, which hold references on the pages.
 *
 * Return: the index of a damaged page that would migrate, @nr if there is none.
 */
unsigned long cdm_damage_next(const unsigned long *src, unsigned long i,
			      unsigned long nr)
{
	return cdm_next_where(src, i, nr, source_is_damaged, NULL);
}

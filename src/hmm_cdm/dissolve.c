// SPDX-License-Identifier: GPL-2.0

#include <linux/memremap.h>
#include <linux/mm.h>

#include "internal.h"

/**
 * cdm_dissolve_folio - make the frames of a freed folio independent of each other
 * @folio: a folio of device memory that is being freed
 *
 * free_zone_device_folio() leaves a large folio as it is: its head has its order, and
 * its tails name their head, until zone_device_page_init() hands these frames out
 * again. Meanwhile migrate_device_range() skips as many frames as the folio had, in
 * use or not, and page_folio() of a tail is whoever uses the head by then. Frames that
 * are retired are never handed out again. dax_folio_reset_order() does the same for
 * files.
 *
 * Context: dev_pagemap_ops.folio_free, before the frames can be allocated again.
 */
void cdm_dissolve_folio(struct folio *folio)
{
	struct dev_pagemap *pgmap = folio->pgmap;
	unsigned long nr = folio_nr_pages(folio);

	if (!folio_test_large(folio))
		return;
	/* In the flags of the second page, where it is another flag of a single page. */
	folio_clear_large_rmappable(folio);
	folio_reset_order(folio);
	for (unsigned long i = 0; i < nr; i++) {
		struct page *page = folio_page(folio, i);
		struct folio *part = (struct folio *)page;

		ClearPageHead(page);
		clear_compound_head(page);
		part->mapping = NULL;
		/* In the place of the head. */
		part->pgmap = pgmap;
	}
}

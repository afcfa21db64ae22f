// SPDX-License-Identifier: GPL-2.0
/* Elevated references: pages that someone may be using right now. */

#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>

#include "internal.h"

/**
 * cdm_refs_has_extra - whether a page has references that nothing accounts for
 * @page: a page that the caller keeps from being freed
 *
 * Mappings, the page cache and the swap cache account for the references they hold.
 * Another one is a pin, or belongs to someone about to look at the page. A folio of
 * system memory that is not on the LRU has one more: it waits in a per-CPU batch
 * (lru_add_drain()), or is isolated for a moment.
 *
 * Return: whether there was such a reference; it may be gone by now.
 */
bool cdm_refs_has_extra(struct page *page)
{
	struct folio *folio = page_folio(page);
	bool moving = !folio_is_zone_device(folio) && !folio_test_lru(folio);

	return folio_maybe_dma_pinned(folio) ||
	       folio_ref_count(folio) > folio_expected_ref_count(folio) + moving;
}

/* The migration's own reference is the only one to a page that was unmapped for it. */
static bool source_has_extra(unsigned long mpfn)
{
	struct page *page = migrate_pfn_to_page(mpfn);
	struct folio *folio;

	if (!page || !(mpfn & MIGRATE_PFN_MIGRATE))
		return false;
	folio = page_folio(page);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	return folio_is_device_coherent(folio) && folio_ref_count(folio) > 1;
}

/**
 * cdm_refs_next_extra - find the next page of a migration that can still change
 * @src: the migration's source array
 * @i: index to start from
 * @nr: number of entries
 *
 * migrate_vma_check_page() allows coherent pages one reference too many ("Page from
 * ZONE_DEVICE have one extra reference"; it has none). folio_migrate_mapping()
 * refuses them only if that reference is still there; in between, its holder may
 * write to the page without any lock (__access_remote_vm()). No page table has an
 * entry left to take a new reference from, so a page without an extra one does not
 * change any more.
 *
 * Context: Between migrate_vma_setup() and the copy; the pages are locked.
 *
 * Return: the index of a coherent page with an extra reference that would migrate,
 * @nr if there is none.
 */
unsigned long cdm_refs_next_extra(const unsigned long *src, unsigned long i,
				  unsigned long nr)
{
	i = cdm_next_where(src, i, nr, source_has_extra, NULL);
	/* Pairs with folio_put() of a holder: the copy sees what was written before. */
	smp_rmb();
	return i;
}

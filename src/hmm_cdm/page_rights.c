// SPDX-License-Identifier: GPL-2.0
/* Which pages a device may access, and what its writes mean for the kernel. */

#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"

/*
 * Devices get no entry for damaged pages, for pages of memfd_secret(2), which GUP
 * refuses too, and for those of guest_memfd. The latter two may be missing from the
 * direct map. hmm_range_fault() knows nothing of them (7.3.4).
 *
 * Neither vma_is_secretmem() nor secretmem_aops is exported; the file system is
 * used by secretmem alone.
 */
static bool may_access(struct folio *folio)
{
	struct address_space *mapping;

	if (cdm_damage_test(folio))
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

static bool is_inaccessible(unsigned long hmm_pfn)
{
	return (hmm_pfn & HMM_PFN_VALID) &&
	       !may_access(page_folio(hmm_pfn_to_page(hmm_pfn)));
}

/* An entry of a page table maps pages of one folio. */
static unsigned long same_folio(unsigned long hmm_pfn)
{
	unsigned int order;

	if (!(hmm_pfn & HMM_PFN_VALID))
		return 0;
	order = hmm_pfn_to_map_order(hmm_pfn);
	return order ? ~hmm_pfn & ((1UL << order) - 1) : 0;
}

/**
 * cdm_rights_next_inaccessible - find the next page that no device may access
 * @hmm_pfns: entries of hmm_range_fault()
 * @i: index to start from
 * @nr: number of entries
 *
 * Context: The caller has rechecked the notifier's sequence and holds the lock that
 * its invalidation takes. The pages are mapped until it drops the lock, so their
 * files and inodes stay.
 *
 * Return: the index of such a page, @nr if devices may access them all.
 */
unsigned long cdm_rights_next_inaccessible(const unsigned long *hmm_pfns,
					   unsigned long i, unsigned long nr)
{
	return cdm_next_where(hmm_pfns, i, nr, is_inaccessible, same_folio);
}

/**
 * cdm_rights_mark_written - mark a page dirty for which a device gets a writable entry
 * @pfn: frame of a mapped page
 *
 * From now on the page may change without a dirty page table entry to show it.
 * MADV_FREE and swap would drop it as clean. Whoever cleans it again invalidates the
 * device's entry first, by an MMU notifier.
 *
 * Only anonymous and shmem pages need this. Both are swap backed, but MADV_FREE
 * clears that flag of anonymous ones. Their dirty_folio is noop_dirty_folio(), which
 * does not sleep. A page of another file becomes writable in a page table only after
 * page_mkwrite, which has marked it.
 *
 * Context: As for cdm_rights_next_inaccessible(); the page cannot be freed meanwhile.
 */
void cdm_rights_mark_written(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	if (folio_test_anon(folio) || folio_test_swapbacked(folio))
		folio_mark_dirty(folio);
}

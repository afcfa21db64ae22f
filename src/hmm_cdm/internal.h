/* SPDX-License-Identifier: GPL-2.0 */
/* C functions of the library that are more than helpers, for the crate and each other. */
#ifndef _HMM_CDM_INTERNAL_H
#define _HMM_CDM_INTERNAL_H

#include <linux/compiler.h>
#include <linux/memremap.h>
#include <linux/mm_types.h>
#include <linux/types.h>

/* page_rights.c */
unsigned long cdm_rights_next_inaccessible(const unsigned long *hmm_pfns,
					   unsigned long i, unsigned long nr);
void cdm_rights_mark_written(unsigned long pfn);

/* damage.c */
extern char cdm_damage_tag;

/* The caller keeps the folio from being freed: by a reference, or by a mapping. */
static inline bool cdm_damage_test(const struct folio *folio)
{
	return folio_is_zone_device(folio) &&
	       READ_ONCE(folio->page.zone_device_data) == &cdm_damage_tag;
}

bool cdm_damage_any(void);
bool cdm_damage_set(struct page *page, unsigned long *first, unsigned int *order);
void cdm_damage_clear(struct folio *folio);
void cdm_damage_split(struct folio *folio, struct folio *part);
unsigned long cdm_damage_next(const unsigned long *src, unsigned long i,
			      unsigned long nr);

/* dissolve.c */
void cdm_dissolve_folio(struct folio *folio);

/* refs.c */
bool cdm_refs_has_extra(struct page *page);
unsigned long cdm_refs_next_extra(const unsigned long *src, unsigned long i,
				  unsigned long nr);

/**
 * cdm_next_where - find the next entry of an array for which a predicate is true
 * @entries: the array
 * @i: index to start from
 * @nr: number of entries
 * @pred: the predicate; a constant, so that it is inlined
 * @same: how many of the entries behind one share its answer, NULL if none does
 *
 * Return: an index below @nr, or @nr if there is no such entry.
 */
static __always_inline unsigned long
cdm_next_where(const unsigned long *entries, unsigned long i, unsigned long nr,
	       bool (*pred)(unsigned long entry),
	       unsigned long (*same)(unsigned long entry))
{
	for (; i < nr; i++) {
		if (pred(entries[i]))
			return i;
		if (same)
			i += same(entries[i]);
	}
	return nr;
}

#endif /* _HMM_CDM_INTERNAL_H */

// SPDX-License-Identifier: GPL-2.0

#include <linux/huge_mm.h>
#include <linux/mm.h>

/*
 * The order of what a PMD maps. HPAGE_PMD_ORDER does not compile without THP,
 * and is a variable on powerpc.
 */
unsigned int hmm_cdm_helper_pmd_order(void)
{
	return PMD_SHIFT - PAGE_SHIFT;
}

/*
 * Whether a huge page migrates in one piece. Where this is false, no PMD is ever
 * a non-present entry.
 */
bool hmm_cdm_helper_huge_pages_move(void)
{
	return thp_migration_supported();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * hmm-tests, cow and others pin pages with this. Upstream it can only be built
 * in: it has no licence, and no exit, so that it cannot be unloaded.
 */
#include <linux/mmzone.h>
#include <linux/module.h>

/*
 * get_pfnblock_migratetype() is not exported. folio_is_longterm_pinnable() uses
 * it to warn of long-term pins in CMA and isolated page blocks. That warning is
 * lost; those of device memory and ZONE_MOVABLE remain.
 */
#undef folio_migratetype
#define folio_migratetype(folio) ((void)(folio), MIGRATE_UNMOVABLE)

#include <mm/gup_test.c>

MODULE_DESCRIPTION("mm/gup_test.c as a module");
MODULE_LICENSE("GPL");

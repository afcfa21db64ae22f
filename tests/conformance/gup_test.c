// SPDX-License-Identifier: GPL-2.0
/*
 * What hmm-tests, cow and others pin pages with. Upstream it is built into the
 * kernel or not at all: it names no licence, and has no exit, so that once loaded
 * it stays.
 */
#include <linux/mmzone.h>
#include <linux/module.h>

/*
 * get_pfnblock_migratetype() is not exported. folio_is_longterm_pinnable() asks it
 * for CMA and isolated page blocks, to warn of a long-term pin there; it goes without
 * these two, and warns of device memory and ZONE_MOVABLE as ever.
 */
#undef folio_migratetype
#define folio_migratetype(folio) ((void)(folio), MIGRATE_UNMOVABLE)

#include <mm/gup_test.c>

MODULE_DESCRIPTION("mm/gup_test.c as a module");
MODULE_LICENSE("GPL");

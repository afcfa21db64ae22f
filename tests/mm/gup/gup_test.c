// SPDX-License-Identifier: GPL-2.0
/*
 * What cow, gup_longterm and uffd-unit-tests pin pages with. In the kernel it is built in
 * or not there: it names no licence, and has no exit, so once loaded it stays.
 */
#include <linux/mmzone.h>
#include <linux/module.h>

/*
 * folio_is_longterm_pinnable() asks whether a page block is for CMA, by what is not
 * exported. Without that it judges device memory and ZONE_MOVABLE as ever.
 */
#undef folio_migratetype
#define folio_migratetype(folio) ((void)(folio), MIGRATE_UNMOVABLE)

#include <mm/gup_test.c>

MODULE_DESCRIPTION("mm/gup_test.c as a module");
MODULE_LICENSE("GPL");

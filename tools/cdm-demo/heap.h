/* SPDX-License-Identifier: GPL-2.0 */
/* The mappings that hold the table: finding them, migrating them, counting their page frames. */
#ifndef CDM_DEMO_HEAP_H
#define CDM_DEMO_HEAP_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

struct device;
struct stage;
struct table;

#define HEAP_RANGES	256

/* @used: holds part of the table */
struct range {
	unsigned long start;
	unsigned long end;
	bool used;
};

/* @at_node: pages on the node after the last migration */
struct heap {
	struct range range[HEAP_RANGES];
	unsigned int nr;
	__u64 at_node;
};

/*
 * The sums of HMM_CDM_IOC_MIGRATE over all ranges.
 * @pages: pages of the ranges
 * @accounted: pages in any of the call's counts
 * @migrated: pages copied
 * @skipped: pages that did not migrate, by enum hmm_cdm_skip
 */
struct move {
	__u64 pages;
	__u64 accounted;
	__u64 migrated;
	__u64 skipped[HMM_CDM_SKIP_MAX];
};

void heap_find(struct heap *heap, const struct table *table);
void heap_move(struct heap *heap, const struct device *device, struct move *move);

/*
 * Sets @stage->frames and @stage->pages. Returns false, with @stage->failure set, if page tables
 * and driver disagree.
 */
bool heap_count(const struct heap *heap, const struct device *device, struct stage *stage);

/* Whether this process may read page frame numbers. */
bool heap_sees_frames(const struct device *device);

#endif

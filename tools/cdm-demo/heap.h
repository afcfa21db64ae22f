/* SPDX-License-Identifier: GPL-2.0 */
/* Where malloc() put the table, moving it, and counting its page frames. */
#ifndef CDM_DEMO_HEAP_H
#define CDM_DEMO_HEAP_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

struct device;
struct stage;
struct table;

#define HEAP_RANGES	256

/* @used: something of the table lies in it */
struct range {
	unsigned long start;
	unsigned long end;
	bool used;
};

/* @at_node: how many of its pages the last migration left on the node */
struct heap {
	struct range range[HEAP_RANGES];
	unsigned int nr;
	__u64 at_node;
};

/*
 * What HMM_CDM_IOC_MIGRATE said about all ranges.
 * @pages: pages of the ranges
 * @accounted: pages of which it said where they are now
 * @migrated: pages copied
 * @skipped: pages that stayed, by enum hmm_cdm_skip
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
 * Sets @stage->frames and @stage->pages. Returns false, with @stage->failure
 * set, when the page tables and the driver disagree.
 */
bool heap_count(const struct heap *heap, const struct device *device, struct stage *stage);

/* Whether heap_count() sees page frame numbers. */
bool heap_sees_frames(const struct device *device);

#endif

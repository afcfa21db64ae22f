/* SPDX-License-Identifier: GPL-2.0 */
/* The three stages of the demonstration, and what one of them found. */
#ifndef CDM_DEMO_STAGE_H
#define CDM_DEMO_STAGE_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

#include "die.h"

struct device;
struct expect;
struct heap;
struct table;

enum stage_number {
	STAGE_SYSTEM,
	STAGE_NODE,
	STAGE_SHARED,
	STAGE_NR,
};

/* What --break spoils, to show that the comparisons notice. */
enum spoil {
	SPOIL_NOTHING,
	SPOIL_COUNT,
	SPOIL_HITS,
	SPOIL_MOVE,
};

/*
 * @words, @distinct: what the device counted
 * @faults: device faults of the stage's jobs
 * @moved, @copied: pages and bytes, as HMM_CDM_IOC_STATS counts them
 * @frames: pages of the heap inside the CDM range after the stage, of @pages
 * @local, @remote: bytes that the jobs accessed on the node and elsewhere
 * @skipped: pages that were to move and stayed, by enum hmm_cdm_skip
 * @writes: words that the CPU thread changed while the jobs ran
 * @failure: empty, or the first thing that was not as expected
 */
struct stage {
	bool done;
	__u64 words;
	__u64 distinct;
	__u64 faults;
	__u64 moved;
	__u64 copied;
	__u64 frames;
	__u64 pages;
	__u64 local;
	__u64 remote;
	__u64 writes;
	__u64 move_ns;
	__u64 jobs_ns;
	__u64 skipped[HMM_CDM_SKIP_MAX];
	char failure[256];
};

/* Notes what is wrong, unless something else was before. Returns false. */
__printf(2, 3) bool stage_fail(struct stage *stage, const char *format, ...);

/* Everything that a stage works with. */
struct demo {
	struct device *device;
	struct table *table;
	struct expect *expect;
	struct heap *heap;
	enum spoil spoil;
};

/* Runs one stage and compares; false when @stage->failure says why not. */
bool stage_run(const struct demo *demo, enum stage_number number, struct stage *stage);

#endif

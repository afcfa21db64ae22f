/* SPDX-License-Identifier: GPL-2.0 */
/* The result of one stage of the demonstration. */
#ifndef CDM_DEMO_STAGE_H
#define CDM_DEMO_STAGE_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

/*
 * @words, @distinct: counted by the device
 * @faults: device faults of the stage's jobs
 * @moved, @copied: pages and bytes, from HMM_CDM_IOC_STATS
 * @frames: pages of the heap inside the CDM range after the stage, of @pages
 * @local, @remote: bytes that the jobs accessed on the node and elsewhere
 * @skipped: pages that did not migrate, by enum hmm_cdm_skip
 * @writes: words that the CPU thread changed while the jobs ran
 * @failure: the first failed check, or empty
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

/* Sets @stage->failure, unless an earlier check failed. Returns false. */
__printf(2, 3) bool stage_fail(struct stage *stage, const char *format, ...);

/* Fails the stage if the two differ. */
bool stage_equal(struct stage *stage, const char *what, __u64 expected, __u64 got);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What stands for the hardware: an engine in software for each process that has
 * the device open. It works on what the device's page table of the process has.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <linux/hmm_cdm.h>
#include <linux/spinlock_types.h>

/* Pages that the engine knows the place of, each in the one slot it can be in. */
struct tlb {
	spinlock_t lock;	/* inside of that of @map and @invalidate */
	struct hmm_cdm_extent entries[64];
};

void accel_tlb_enter(struct tlb *tlb, const struct hmm_cdm_extent *extent);
void accel_tlb_flush(struct tlb *tlb, u64 addr, u64 length);

/* Calls @fn for the page at @addr, if it is there with that right. */
bool accel_tlb_access(struct tlb *tlb, u64 addr, bool write,
		      hmm_cdm_access_fn fn, void *arg);

struct engine;

/* @vram is the device's memory, as the device accesses it. */
struct engine *engine_start(struct hmm_cdm_mirror *mirror, void *vram);

/* All jobs are completed by that, and nothing uses the mirror any more. */
void engine_stop(struct engine *engine);

struct tlb *engine_tlb(struct engine *engine);

/* After success the job is the engine's. */
int engine_queue(struct engine *engine, struct hmm_cdm_job *job);

#endif /* ENGINE_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The emulated hardware: an engine in software for each process that has the device
 * open. It accesses memory through the device page table of the process.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <linux/hmm_cdm.h>
#include <linux/spinlock_types.h>

/* Translations of single pages; an address has one possible slot. */
struct tlb {
	spinlock_t lock;	/* nests inside the lock of @map and @invalidate */
	struct hmm_cdm_extent entries[64];
};

void accel_tlb_enter(struct tlb *tlb, const struct hmm_cdm_extent *extent);
void accel_tlb_flush(struct tlb *tlb, u64 addr, u64 length);

/* Calls @fn for the page at @addr. Returns false if there is no entry that permits it. */
bool accel_tlb_access(struct tlb *tlb, u64 addr, bool write,
		      hmm_cdm_access_fn fn, void *arg);

struct engine;

/* @vram is where the device accesses its memory. */
struct engine *engine_start(struct hmm_cdm_mirror *mirror, void *vram);

/* Completes all jobs. Nothing uses the mirror afterwards. */
void engine_stop(struct engine *engine);

struct tlb *engine_tlb(struct engine *engine);

/* On success the engine owns the job. */
int engine_queue(struct engine *engine, struct hmm_cdm_job *job);

#endif /* ENGINE_H */

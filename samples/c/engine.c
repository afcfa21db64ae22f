// SPDX-License-Identifier: GPL-2.0
/*
 * The engine, see engine.h. Its jobs use addresses of the process. It looks them up in
 * the device page table, and faults where that has no entry.
 *
 * Its operations are two of the emulated accelerator's, CDM_EMU_REDUCE and CDM_EMU_ADD,
 * so that programs for cdm_emu run here, too. Each driver defines its own operations
 * and arguments.
 */
#include <linux/err.h>
#include <linux/hmm_cdm.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "engine.h"

struct engine {
	struct hmm_cdm_mirror *mirror;
	void *vram;
	struct workqueue_struct *queue;	/* ordered: one job at a time */
	struct tlb tlb;
	u64 regs[256];
};

struct job {
	struct work_struct work;
	struct engine *engine;
	struct hmm_cdm_job *cdm;
};

enum direction { LOAD, ADD, STORE };

/* A transfer of 64-bit elements between registers and memory, within one page. */
struct transfer {
	enum direction direction;
	u64 addr;
	u64 *regs;
	unsigned int nr;
	void *vram;
	bool local;
};

/*
 * Runs under the spinlock that keeps the page in place, so it has to be short: no more
 * than a page at a time.
 */
static void transfer_in_page(const struct hmm_cdm_extent *page, void *arg)
{
	struct transfer *t = arg;
	u64 *element;

	t->local = page->flags & HMM_CDM_EXTENT_LOCAL;
	if (t->local)
		element = t->vram + page->offset + offset_in_page(t->addr);
	else
		element = page_address(pfn_to_page(page->pfn)) +
			  offset_in_page(t->addr);

	for (unsigned int i = 0; i < t->nr; i++) {
		switch (t->direction) {
		case LOAD:
			t->regs[i] = READ_ONCE(element[i]);
			break;
		case ADD:
			t->regs[i] += READ_ONCE(element[i]);
			break;
		case STORE:
			WRITE_ONCE(element[i], t->regs[i]);
			break;
		}
	}
}

/* Faults memory in, as an access by the process would. */
static int fault(struct engine *engine, u64 addr, size_t bytes, bool write,
		 struct hmm_cdm_result *result)
{
	int err;

	result->faults++;
	err = hmm_cdm_fault(engine->mirror, addr, bytes,
			    write ? HMM_CDM_FAULT_WRITE : 0);
	switch (err) {
	case -EFAULT:
	case -EPERM:
		/* The process may not access the memory in this way. */
		result->fault_addr = addr;
		result->fault_access = write ? HMM_CDM_ACCESS_WRITE :
					       HMM_CDM_ACCESS_READ;
		return -EFAULT;
	case -EINTR:
	case -ESRCH:
		/* The device is being closed, or the process is exiting. */
		return -ECANCELED;
	default:
		return err;
	}
}

/* Transfers @nr elements at @addr, page by page. */
static int transfer(struct engine *engine, enum direction direction, u64 addr,
		    unsigned int nr, struct hmm_cdm_result *result)
{
	bool write = direction == STORE;
	u64 *regs = engine->regs;

	while (nr) {
		struct transfer t = {
			.direction = direction,
			.addr = addr,
			.regs = regs,
			.nr = min(nr, (PAGE_SIZE - offset_in_page(addr)) / sizeof(u64)),
			.vram = engine->vram,
		};
		size_t bytes = t.nr * sizeof(u64);

		if (!accel_tlb_access(&engine->tlb, addr, write,
				      transfer_in_page, &t) &&
		    hmm_cdm_access(engine->mirror, addr, write,
				   transfer_in_page, &t)) {
			int err;

			/* The entry may be invalidated before the next attempt. */
			err = fault(engine, addr, bytes, write, result);
			if (err)
				return err;
			continue;
		}
		if (t.local)
			result->bytes_local += bytes;
		else
			result->bytes_remote += bytes;
		addr += bytes;
		regs += t.nr;
		nr -= t.nr;
	}
	return 0;
}

/* result[0] = sum of args[1] elements at args[0] */
static int sum(struct engine *engine, const u64 *args,
	       struct hmm_cdm_result *result)
{
	unsigned int nr;
	int err;

	for (u64 done = 0; done < args[1]; done += nr) {
		nr = min(args[1] - done, ARRAY_SIZE(engine->regs));
		err = transfer(engine, LOAD, args[0] + done * sizeof(u64), nr,
			       result);
		if (err)
			return err;
		for (unsigned int i = 0; i < nr; i++)
			result->result[0] += engine->regs[i];
		cond_resched();
	}
	return 0;
}

/* args[0][i] = args[1][i] + args[2][i], for i below args[3] */
static int add(struct engine *engine, const u64 *args,
	       struct hmm_cdm_result *result)
{
	unsigned int nr;
	int err;

	for (u64 done = 0; done < args[3]; done += nr) {
		u64 at = done * sizeof(u64);

		nr = min(args[3] - done, ARRAY_SIZE(engine->regs));
		err = transfer(engine, LOAD, args[1] + at, nr, result);
		if (!err)
			err = transfer(engine, ADD, args[2] + at, nr, result);
		if (!err)
			err = transfer(engine, STORE, args[0] + at, nr, result);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

static void run(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);
	const u64 *args = hmm_cdm_job_args(job->cdm);
	struct hmm_cdm_result result = {};

	if (hmm_cdm_job_op(job->cdm) == CDM_EMU_REDUCE)
		result.status = sum(job->engine, args, &result);
	else
		result.status = add(job->engine, args, &result);
	hmm_cdm_complete_job(job->cdm, &result);
	kfree(job);
}

struct engine *engine_start(struct hmm_cdm_mirror *mirror, void *vram)
{
	struct engine *engine = kzalloc_obj(*engine);

	if (!engine)
		return ERR_PTR(-ENOMEM);
	engine->mirror = mirror;
	engine->vram = vram;
	spin_lock_init(&engine->tlb.lock);
	engine->queue = alloc_ordered_workqueue("%s/%d", 0, KBUILD_MODNAME,
						task_tgid_nr(current));
	if (!engine->queue) {
		kfree(engine);
		return ERR_PTR(-ENOMEM);
	}
	return engine;
}

/*
 * The mirror has no entries left and refuses faults, so the running job ends at its
 * next access and each queued one at its first. Waiting for them is bounded.
 */
void engine_stop(struct engine *engine)
{
	destroy_workqueue(engine->queue);
	kfree(engine);
}

struct tlb *engine_tlb(struct engine *engine)
{
	return &engine->tlb;
}

/* Whether @nr elements at @addr are aligned and do not overflow the address space. */
static bool range_is_valid(u64 addr, u64 nr)
{
	u64 bytes, end;

	return IS_ALIGNED(addr, sizeof(u64)) &&
	       !check_mul_overflow(nr, sizeof(u64), &bytes) &&
	       !check_add_overflow(addr, bytes, &end);
}

int engine_queue(struct engine *engine, struct hmm_cdm_job *cdm)
{
	const u64 *args = hmm_cdm_job_args(cdm);
	struct job *job;
	bool valid;

	switch (hmm_cdm_job_op(cdm)) {
	case CDM_EMU_REDUCE:
		valid = range_is_valid(args[0], args[1]);
		break;
	case CDM_EMU_ADD:
		valid = range_is_valid(args[0], args[3]) && range_is_valid(args[1], args[3]) &&
		       range_is_valid(args[2], args[3]);
		break;
	default:
		valid = false;
	}
	if (!valid)
		return -EINVAL;

	job = kzalloc_obj(*job);
	if (!job)
		return -ENOMEM;
	INIT_WORK(&job->work, run);
	job->engine = engine;
	job->cdm = cdm;
	queue_work(engine->queue, &job->work);
	return 0;
}

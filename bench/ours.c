// SPDX-License-Identifier: GPL-2.0
/*
 * Our driver, through /dev/hmm_cdm0 and jobs of cdm_emu. The cost of a fault is the
 * difference between a job that finds no entries and the same job run again.
 */
#include <sys/mman.h>

#include "cdm_calls.h"
#include "side.h"

static struct cdm first, second;

static void ours_open(void)
{
	if (cdm_open(&first, 0) || cdm_open(&second, 1))
		die("there is no /dev/hmm_cdm0 or 1");
}

static __u64 migrate(struct cdm *cdm, char *addr, size_t length,
		     enum hmm_cdm_target target)
{
	struct hmm_cdm_migrate m;
	__u64 begin = now();
	int err = cdm_migrate(cdm, addr, length, target, &m);
	__u64 end = now();

	if (err || !enough(m.migrated, length))
		die("ours: %d, %llu pages of %zu moved", err, m.migrated,
		    length / PAGE);
	return end - begin;
}

static __u64 ours_populate(char *addr, size_t length)
{
	struct hmm_cdm_populate p;
	__u64 begin = now();
	int err = cdm_populate(&first, addr, length, 0, &p);
	__u64 end = now();

	if (err || p.populated != length / PAGE)
		die("ours: %d, %llu pages of %zu populated", err, p.populated,
		    length / PAGE);
	return end - begin;
}

static __u64 ours_in(char *addr, size_t length)
{
	return migrate(&first, addr, length, HMM_CDM_TARGET_NODE);
}

static __u64 ours_out(char *addr, size_t length)
{
	return migrate(&first, addr, length, HMM_CDM_TARGET_SYSTEM);
}

/* Peers */

static __u64 ours_in_second(char *addr, size_t length)
{
	return migrate(&second, addr, length, HMM_CDM_TARGET_NODE);
}

static __u64 ours_peer(char *addr, size_t length)
{
	struct hmm_cdm_migrate m;
	__u64 begin = now();
	int err = cdm_migrate(&first, addr, length, HMM_CDM_TARGET_NODE, &m);
	__u64 end = now();

	if (err || m.peers != length / PAGE)
		die("ours: %d, %llu pages of %zu came from a peer", err, m.peers,
		    length / PAGE);
	return end - begin;
}

/* Eviction, from the second node */

static __u64 populate_second(char *addr, size_t length, __u32 flags,
			     __u64 *evicted)
{
	struct hmm_cdm_populate p;
	__u64 begin = now();
	int err = cdm_populate(&second, addr, length, flags, &p);
	__u64 end = now();

	if (err || p.populated != length / PAGE)
		die("ours: %d, %llu pages of %zu populated", err, p.populated,
		    length / PAGE);
	*evicted = p.evicted;
	return end - begin;
}

/*
 * Populates with free memory and without. Windows are evicted as a whole, so more may
 * be evicted than populated.
 */
static __u64 ours_evict(char *addr, size_t length)
{
	char *others = map(SECOND_SIZE);
	__u64 with, without;
	__u64 evicted;

	without = populate_second(addr, length, 0, &evicted);
	if (madvise(addr, length, MADV_DONTNEED))
		die("ours: MADV_DONTNEED failed");
	populate_second(others, SECOND_SIZE, 0, &evicted);
	with = populate_second(addr, length, HMM_CDM_POPULATE_EVICT, &evicted);
	if (evicted < length / PAGE)
		die("ours: %llu pages evicted for %zu", evicted, length / PAGE);
	munmap(others, SECOND_SIZE);
	return (with - without) * (length / PAGE) / evicted;
}

/* Faults */

static __u64 run_job(unsigned int op, const __u64 *args)
{
	__u64 begin = now();
	int err = cdm_run(&first, op, args, NULL);
	__u64 end = now();

	if (err)
		die("ours: a job ended with %d", err);
	return end - begin;
}

/* The first job faults, the second does not. */
static __u64 fault_cost(unsigned int op, const __u64 *args, size_t pages)
{
	struct hmm_cdm_stats before, between, after;
	__u64 with, without;

	if (cdm_stats(&first, &before))
		die("ours: no counters");
	with = run_job(op, args);
	if (cdm_stats(&first, &between))
		die("ours: no counters");
	without = run_job(op, args);
	if (cdm_stats(&first, &after))
		die("ours: no counters");
	if (between.fault_pages - before.fault_pages < pages ||
	    after.faults != between.faults)
		die("ours: %llu entries for %zu pages, then %llu faults",
		    between.fault_pages - before.fault_pages, pages,
		    after.faults - between.faults);
	return with > without ? with - without : 0;
}

/*
 * Walks a list with one element in each window, so that the engine reads two words
 * there. One fault maps the whole window.
 */
static __u64 ours_fault(char *addr, size_t length)
{
	static struct {
		__u64 head;
		struct cdm_emu_walk walk;
	} __aligned(PAGE) list;
	size_t windows = 0;

	list.head = CDM_ADDR(addr);
	list.walk = (struct cdm_emu_walk) {
		.heads = CDM_ADDR(&list.head),
		.nr_heads = 1,
		.next = 0,
		.child = CDM_EMU_WALK_NONE,
		.count = 8,
	};
	/* Maps the description, so that its fault is not counted. */
	run_job(CDM_EMU_REDUCE, CDM_ARGS(CDM_ADDR(&list), sizeof(list) / 8));
	for (size_t at = 0; at < length; at += first.window, windows++) {
		__u64 *words = (__u64 *)(addr + at);

		words[0] = at + first.window < length ?
			   CDM_ADDR(addr + at + first.window) : 0;
		words[1] = 1;
	}
	return fault_cost(CDM_EMU_WALK, CDM_ARGS(CDM_ADDR(&list.walk)),
			  length / PAGE);
}

static __u64 ours_touch(char *addr, size_t length)
{
	return fault_cost(CDM_EMU_FILL, CDM_ARGS(CDM_ADDR(addr), length, 1),
			  length / PAGE);
}

static __u64 ours_touch_node(char *addr, size_t length)
{
	struct hmm_cdm_stats before, after;
	__u64 cost;
	int err = cdm_advise(&first, addr, length, HMM_CDM_PLACE_NODE, 0);

	if (err || cdm_stats(&first, &before))
		die("ours: %d from ADVISE", err);
	cost = ours_touch(addr, length);
	if (cdm_stats(&first, &after) ||
	    cdm_advise(&first, addr, length, HMM_CDM_PLACE_NONE, 0))
		die("ours: no counters, or advice not withdrawn");
	if (after.touched - before.touched != length / PAGE)
		die("ours: %llu pages of %zu populated by the first touch",
		    after.touched - before.touched, length / PAGE);
	return cost;
}

/* One job for each window. */
static void ours_make_entries(char *addr, size_t length)
{
	struct hmm_cdm_stats before, after;

	if (cdm_stats(&first, &before))
		die("ours: no counters");
	for (size_t at = 0; at < length; at += first.window)
		run_job(CDM_EMU_REDUCE, CDM_ARGS(CDM_ADDR(addr + at), 1));
	if (cdm_stats(&first, &after) ||
	    after.fault_pages - before.fault_pages < length / PAGE)
		die("ours: no entries");
}

const struct side ours = {
	.name = "ours",
	.open = ours_open,
	.populate = ours_populate,
	.in = ours_in,
	.out = ours_out,
	.in_second = ours_in_second,
	.peer = ours_peer,
	.evict = ours_evict,
	.fault = ours_fault,
	.touch_system = ours_touch,
	.touch_node = ours_touch_node,
	.make_entries = ours_make_entries,
	.keeps_entries = true,
	.max_length = 256 * MIB,
};

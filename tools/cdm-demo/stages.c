// SPDX-License-Identifier: GPL-2.0
/*
 * The three stages. The device works on the words where malloc() put them, then in its own memory
 * at the same addresses, then there while the CPU writes to the same pages.
 */
#include <string.h>
#include <time.h>

#include "device.h"
#include "die.h"
#include "expect.h"
#include "heap.h"
#include "stages.h"
#include "writer.h"

/*
 * In each round the device adds DEVICE_STEP to the hits of the SHARED_WORDS most frequent words,
 * DEVICE_ADDS times, while the CPU adds 1 at a time. So the upper half of a counter counts the
 * device's additions and the lower half the CPU's, and no addition may be lost in either.
 */
#define SHARED_WORDS	8
#define DEVICE_ADDS	2000
#define DEVICE_STEP	0x100000000ULL

/*
 * On a machine with one CPU the jobs may end before the writer thread is scheduled. A round without
 * a write shows no sharing, so it is repeated.
 */
#define ROUNDS		100

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Waits for a job and adds its counters to the stage's. */
static bool finish(const struct demo *demo, __u64 job, const char *what,
		   struct hmm_cdm_wait *wait, struct stage *stage)
{
	device_wait(demo->device, job, wait);
	stage->faults += wait->faults;
	stage->local += wait->bytes_local;
	stage->remote += wait->bytes_remote;
	if (wait->status)
		return stage_fail(stage,
				  "the device's %s: expected to end well, got \"%s\" at address %#llx",
				  what, strerror(-wait->status), wait->fault_addr);
	return true;
}

static __u64 submit_walk(const struct demo *demo)
{
	return device_submit(demo->device, CDM_EMU_WALK,
			     (__u64)&demo->table->question->walk, 0, 0);
}

static bool check_walk(const struct demo *demo, const struct hmm_cdm_wait *wait,
		       struct stage *stage)
{
	stage->distinct = wait->result[0];
	stage->words = wait->result[1];
	return expect_check_walk(demo->expect, demo->table, wait->result, stage);
}

/* Only the device works. */
static bool run_alone(const struct demo *demo, enum stage_number number,
		      struct stage *stage)
{
	struct hmm_cdm_wait wait;
	__u64 start;
	bool ended;

	expect_poison(demo->expect, demo->table);
	start = now_ns();
	ended = finish(demo, submit_walk(demo), "walk", &wait, stage);
	stage->jobs_ns = now_ns() - start;
	/* --break=count: the device counts one word too many. */
	if (demo->spoil == SPOIL_COUNT && number == STAGE_NODE)
		demo->expect->ranked[0]->word->count++;
	return ended && check_walk(demo, &wait, stage);
}

/* The device walks, and adds, while the CPU thread writes. */
static bool run_round(const struct demo *demo, const struct writer *writer, __u64 round,
		      struct stage *stage)
{
	__u64 writes = writer_writes(writer), start = now_ns();
	__u64 before = (round + 1) * DEVICE_ADDS - 1;
	__u64 walk, adds[SHARED_WORDS], i;
	struct hmm_cdm_wait walked, added;
	struct expect *expect = demo->expect;
	bool right = true;

	walk = submit_walk(demo);
	for (i = 0; i < writer->nr_shared; i++)
		adds[i] = device_submit(demo->device, CDM_EMU_FETCH_ADD,
					(__u64)&expect->ranked[i]->word->hits,
					DEVICE_STEP, DEVICE_ADDS);
	for (i = 0; i < writer->nr_shared; i++) {
		right &= finish(demo, adds[i], "addition", &added, stage);
		/* Only the device adds steps, so its last addition finds all others. */
		right = right && stage_equal(stage, "additions that the last one found", before,
					     added.result[0] / DEVICE_STEP);
	}
	right &= finish(demo, walk, "walk", &walked, stage);
	stage->jobs_ns += now_ns() - start;
	stage->writes += writer_writes(writer) - writes;
	return right && check_walk(demo, &walked, stage);
}

static bool run_shared(const struct demo *demo, struct stage *stage)
{
	struct expect *expect = demo->expect;
	__u64 nr_shared = expect->distinct < SHARED_WORDS ? expect->distinct : SHARED_WORDS;
	struct writer writer;
	__u64 round = 0, i;
	bool right;

	writer_start(&writer, demo->table, expect, nr_shared);
	do {
		expect_poison(expect, demo->table);
		right = run_round(demo, &writer, round, stage);
		round++;
	} while (right && !stage->writes && round < ROUNDS);
	writer_stop(&writer);
	if (!right)
		return false;
	if (!stage->writes)
		return stage_fail(stage,
				  "CPU writes meanwhile: expected more than 0, got 0 in %llu rounds",
				  round);

	for (i = 0; i < nr_shared; i++)
		expect->ranked[i]->hits += round * DEVICE_ADDS * DEVICE_STEP;
	/* --break=hits: one addition is lost. */
	if (demo->spoil == SPOIL_HITS)
		expect->ranked[0]->word->hits--;
	return expect_check_hits(expect, stage) &&
	       expect_check_recent(expect, demo->table, stage);
}

/*
 * Migrates the heap to the node. Pages that do not migrate are reported, not an error; but with a
 * full node there would be nothing to show.
 */
static void move_to_node(const struct demo *demo, struct move *move, struct stage *stage)
{
	__u64 start = now_ns();

	memset(move, 0, sizeof(*move));
	/* --break=move: nothing migrates. */
	if (demo->spoil == SPOIL_MOVE)
		return;

	heap_move(demo->heap, demo->device, move);
	stage->move_ns = now_ns() - start;
	memcpy(stage->skipped, move->skipped, sizeof(stage->skipped));
	if (!demo->heap->at_node && move->skipped[HMM_CDM_SKIP_NO_MEMORY])
		die("%s: the node is full: end programs that use it, or name another with --device",
		    demo->device->path);
}

/*
 * Checks that as many frames are on the node as migrated there, and that the device accessed its
 * data where the frames are.
 */
static bool check_place(const struct demo *demo, enum stage_number number,
			struct stage *stage)
{
	/* A word has a pointer, a list and a count; an occurrence has a pointer. */
	__u64 least = 24 * demo->table->distinct + 8 * demo->table->words;

	if (number != STAGE_SYSTEM && !stage->frames)
		return stage_fail(stage,
				  "frames inside the CDM range: expected more than 0, got 0 of %llu",
				  stage->pages);
	if (!stage_equal(stage, "frames inside the CDM range", demo->heap->at_node, stage->frames))
		return false;
	if (stage->local + stage->remote < least)
		return stage_fail(stage, "bytes accessed: expected at least %llu, got %llu",
				  least, stage->local + stage->remote);
	if (!stage->frames)
		return stage_equal(stage, "bytes accessed on the node", 0, stage->local);
	if (stage->frames == stage->pages)
		return stage_equal(stage, "bytes accessed in system memory", 0, stage->remote);
	return true;
}

bool stage_run(const struct demo *demo, enum stage_number number, struct stage *stage)
{
	struct hmm_cdm_stats before, after;
	struct move move = { 0 };
	bool right;

	memset(stage, 0, sizeof(*stage));
	device_stats(demo->device, &before);
	if (number == STAGE_NODE)
		move_to_node(demo, &move, stage);
	if (number == STAGE_SHARED)
		right = run_shared(demo, stage);
	else
		right = run_alone(demo, number, stage);

	device_stats(demo->device, &after);
	stage->moved = after.migrated_in - before.migrated_in +
		       after.migrated_out - before.migrated_out;
	stage->copied = after.bytes_copied - before.bytes_copied;
	stage->done = true;

	/* Even after a failure: the table shows where the frames are. */
	right &= heap_count(demo->heap, demo->device, stage);
	return right && check_place(demo, number, stage) &&
	       stage_equal(stage, "pages that the migration accounts for", move.pages,
			   move.accounted) &&
	       stage_equal(stage, "pages moved", move.migrated, stage->moved);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Several threads that move memory of their own in and out at the same time. Where
 * processors run side by side there is no count of instructions, so this is time,
 * of which only the ratios say something.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"

#define MOST_THREADS	4
#define EACH		(2 * MIB)

struct mover {
	const struct side *side;
	char *addr;
	int rounds;
	pthread_barrier_t *start;
	pthread_t thread;
};

static uint64_t time_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void *run(void *arg)
{
	struct mover *mover = arg;

	if (mover->side->open_thread)
		mover->side->open_thread();
	pthread_barrier_wait(mover->start);
	for (int i = 0; i < mover->rounds; i++) {
		mover->side->in(mover->addr, EACH);
		mover->side->out(mover->addr, EACH);
	}
	if (mover->side->close_thread)
		mover->side->close_thread();
	return NULL;
}

/* What the slowest of @count threads takes to do as much as one by itself. */
static uint64_t together(const struct side *side, int count, int rounds)
{
	struct mover movers[MOST_THREADS];
	pthread_barrier_t start;
	uint64_t begin;

	pthread_barrier_init(&start, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		movers[i] = (struct mover) {
			.side = side,
			.addr = map(EACH),
			.rounds = rounds,
			.start = &start,
		};
		touch(movers[i].addr, EACH);
		if (pthread_create(&movers[i].thread, NULL, run, &movers[i]))
			die("no thread");
	}
	pthread_barrier_wait(&start);
	begin = time_ns();
	for (int i = 0; i < count; i++)
		pthread_join(movers[i].thread, NULL);
	begin = time_ns() - begin;
	for (int i = 0; i < count; i++)
		munmap(movers[i].addr, EACH);
	pthread_barrier_destroy(&start);
	return begin;
}

void sample_threads(const struct side *side, int rounds)
{
	static const char *const names[] = {
		[1] = "threads-1", [2] = "threads-2", [4] = "threads-4",
	};

	/* In turn, as the machine may become busier or less busy meanwhile. */
	for (int i = 0; i < rounds; i++)
		for (int count = 1; count <= MOST_THREADS; count *= 2)
			emit(names[count], side->name, EACH,
			     together(side, count, 2));
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Several threads, or processes, that move memory of their own in and out at the same
 * time. Where processors run side by side there is no count of instructions, so this
 * is time, of which only the ratios say something.
 *
 * What threads of one process unmap they have to make each other forget, and that
 * takes an emulator longer than all the rest; processes share the driver alone.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MOST_MOVERS	4
#define EACH		(2 * MIB)
#define TIMES		1

/* What those who start together have in common, in shared memory. */
struct start {
	pthread_barrier_t barrier;
	const struct side *side;
};

static __u64 time_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Both the thread that moves, and what the process does. */
static void *run(void *arg)
{
	struct start *start = arg;
	const struct side *side = start->side;
	char *addr = map(EACH);

	touch(addr, EACH);
	if (side->open_thread)
		side->open_thread();
	pthread_barrier_wait(&start->barrier);
	for (int i = 0; i < TIMES; i++) {
		side->in(addr, EACH);
		side->out(addr, EACH);
	}
	if (side->close_thread)
		side->close_thread();
	munmap(addr, EACH);
	return NULL;
}

static void start_all(struct start *start, pthread_t *threads, pid_t *pids,
		      int count)
{
	for (int i = 0; i < count; i++) {
		if (threads) {
			if (pthread_create(&threads[i], NULL, run, start))
				die("no thread");
			continue;
		}
		pids[i] = fork();
		if (pids[i] < 0)
			die("no process");
		if (!pids[i]) {
			/* A file is for the process that opened it. */
			start->side->open();
			run(start);
			_exit(0);
		}
	}
}

/* What the slowest of @count takes to do as much as one by itself. */
static __u64 together(const struct side *side, int count, bool processes)
{
	struct start *start = mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t threads[MOST_MOVERS];
	pid_t pids[MOST_MOVERS];
	pthread_barrierattr_t shared;
	__u64 begin;

	if (start == MAP_FAILED)
		die("no memory");
	start->side = side;
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&start->barrier, &shared, count + 1);
	start_all(start, processes ? NULL : threads, pids, count);
	pthread_barrier_wait(&start->barrier);
	begin = time_ns();
	for (int i = 0; i < count; i++) {
		int status = 0;

		if (processes)
			waitpid(pids[i], &status, 0);
		else
			pthread_join(threads[i], NULL);
		if (status)
			die("%s: a process failed", side->name);
	}
	begin = time_ns() - begin;
	pthread_barrier_destroy(&start->barrier);
	munmap(start, sizeof(*start));
	return begin;
}

void sample_threads(const struct side *side, int rounds)
{
	static const char *const names[][MOST_MOVERS + 1] = {
		{ "", "threads-1", "threads-2", "", "threads-4" },
		{ "", "processes-1", "processes-2", "", "processes-4" },
	};

	/* In turn, as the machine may become busier or less busy meanwhile. */
	for (int i = 0; i < rounds; i++)
		for (int count = 1; count <= MOST_MOVERS; count *= 2)
			for (int p = 0; p < 2; p++)
				emit(names[p][count], side->name, EACH,
				     together(side, count, p));
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Threads, or processes, that migrate memory of their own in and out at the same time.
 * With several processors there is no instruction count, so the cost is time, and only
 * ratios are meaningful.
 *
 * Threads of one process also wait for each other's TLB shootdowns, which take an
 * emulator longer than everything else. Processes share the driver only.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "threads.h"

#define MAX_WORKERS	4
#define EACH		(2 * MIB)
#define REPEAT		1

/* Shared by all workers, in shared memory. */
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

/* The body of a worker, be it a thread or a process. */
static void *work(void *arg)
{
	struct start *start = arg;
	const struct side *side = start->side;
	char *addr = map(EACH);

	touch(addr, EACH);
	if (side->open_thread)
		side->open_thread();
	pthread_barrier_wait(&start->barrier);
	for (int i = 0; i < REPEAT; i++) {
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
			if (pthread_create(&threads[i], NULL, work, start))
				die("no thread");
			continue;
		}
		pids[i] = fork();
		if (pids[i] < 0)
			die("no process");
		if (!pids[i]) {
			/* A file mirrors the process that opened it. */
			start->side->open();
			work(start);
			_exit(0);
		}
	}
}

/* The time until the slowest of @count workers is done. */
static __u64 run_workers(const struct side *side, int count, bool processes)
{
	struct start *start = mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t threads[MAX_WORKERS];
	pid_t pids[MAX_WORKERS];
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
	static const char *const names[][MAX_WORKERS + 1] = {
		{ "", "threads-1", "threads-2", "", "threads-4" },
		{ "", "processes-1", "processes-2", "", "processes-4" },
	};

	/* In turn, as the load of the machine may change. */
	for (int i = 0; i < rounds; i++)
		for (int count = 1; count <= MAX_WORKERS; count *= 2)
			for (int p = 0; p < 2; p++)
				emit(names[p][count], side->name, EACH,
				     run_workers(side, count, p));
}

/* SPDX-License-Identifier: GPL-2.0 */
/* A CPU thread that keeps changing the words while the device walks them. */
#ifndef CDM_DEMO_WRITER_H
#define CDM_DEMO_WRITER_H

#include <pthread.h>
#include <stdbool.h>
#include <linux/types.h>

struct expect;
struct table;

/* @writes: words changed so far; @stop: set to end the thread */
struct writer {
	pthread_t thread;
	struct table *table;
	struct expect *expect;
	__u64 nr_shared;
	__u64 writes;
	bool stop;
};

/*
 * Every other write is to one of the @nr_shared most frequent words, whose hits the device
 * increments, too. Returns once the thread is writing.
 */
void writer_start(struct writer *writer, struct table *table, struct expect *expect,
		  __u64 nr_shared);
__u64 writer_writes(const struct writer *writer);
void writer_stop(struct writer *writer);

#endif

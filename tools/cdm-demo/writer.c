// SPDX-License-Identifier: GPL-2.0
/*
 * A CPU thread that keeps changing the words while the device walks them.
 *
 * It counts hits with atomic instructions, on counters to which the device adds at the same time,
 * and maintains a list of recently used words, relinking three words at a time with plain stores.
 * Both are in the same cache lines as the pointers and counts that the device reads and writes. If
 * a side worked on a copy of a page, or wrote back more than it changed, it would lose the other's
 * updates.
 */
#include <sched.h>
#include <string.h>

#include "die.h"
#include "expect.h"
#include "writer.h"

/* xorshift: the same sequence on every machine. */
static __u64 next_random(__u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static void *write_words(void *argument)
{
	struct writer *writer = argument;
	struct expect *expect = writer->expect;
	__u64 state = 0x9e3779b97f4a7c15ULL;

	while (!__atomic_load_n(&writer->stop, __ATOMIC_ACQUIRE)) {
		__u64 random = next_random(&state);
		struct expected *expected;

		if (random & 1)
			expected = expect->ranked[(random >> 1) % writer->nr_shared];
		else
			expected = &expect->word[(random >> 1) % expect->distinct];

		__atomic_fetch_add(&expected->word->hits, 1, __ATOMIC_SEQ_CST);
		expected->hits++;
		table_touch(writer->table, expected->word);
		__atomic_fetch_add(&writer->writes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

__u64 writer_writes(const struct writer *writer)
{
	return __atomic_load_n(&writer->writes, __ATOMIC_ACQUIRE);
}

void writer_start(struct writer *writer, struct table *table, struct expect *expect,
		  __u64 nr_shared)
{
	int error;

	*writer = (struct writer) {
		.table = table,
		.expect = expect,
		.nr_shared = nr_shared,
	};
	error = pthread_create(&writer->thread, NULL, write_words, writer);
	if (error)
		die("no thread can be started: %s", strerror(error));
	while (!writer_writes(writer))
		sched_yield();
}

void writer_stop(struct writer *writer)
{
	__atomic_store_n(&writer->stop, true, __ATOMIC_RELEASE);
	pthread_join(writer->thread, NULL);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bench measures, and on whom. A side is one way to do the same: our driver,
 * the kernel's test_hmm, the bare calls of the core mm, or nobody.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define PAGE		(4 * KIB)
#define HUGE		(2 * MIB)

/* All of the second device's memory. */
#define SECOND		(64 * MIB)

/*
 * An operation on @length bytes at @addr returns what it cost, without what is
 * only there to measure it. The memory is as the name says before and after; a
 * page that did not do what was asked ends the program.
 */
typedef __u64 (*bench_op)(char *addr, size_t length);

struct side {
	const char *name;
	void (*open)(void);
	/* What each thread needs besides. */
	void (*open_thread)(void);
	void (*close_thread)(void);
	/* Untouched memory becomes device memory; system memory and back. */
	bench_op populate, in, out;
	/* To the second device's memory, and from there to the first's. */
	bench_op in_second, peer;
	/* The device's first look at memory that is there; at none, and then
	 * memory of the system or of the device comes.
	 */
	bench_op fault, touch_system, touch_node;
	/* The copy of a page to the device's memory by itself, and the zeroing. */
	bench_op copy, zero;
	/* What it costs more where as much has to leave for it, whoever's that
	 * is: untouched memory.
	 */
	bench_op evict;
	/* Device entries for all of it, whatever it costs. */
	void (*enter)(char *addr, size_t length);
	/* Whether these are entries that the side keeps. */
	bool keeps;
	/* The largest range. */
	size_t most;
	/* Needs addresses that are not aligned to a huge page when memory is
	 * untouched.
	 */
	bool skewed;
};

extern const struct side ours, reference, bare, nobody;

/* Instructions since the machine was started, if it counts them; or else time. */
static inline __u64 now(void)
{
	return __builtin_ia32_rdtsc();
}

/* One sample. */
void emit(const char *op, const char *who, size_t bytes, __u64 cost);

/* Say what is wrong and end. */
void __noreturn __printf(1, 2) die(const char *format, ...);

/*
 * Whether as many pages as were asked for did what was asked. Where several threads
 * move pages, another processor may hold a few on their way to an LRU list.
 */
bool enough(__u64 pages, size_t length);

/* A mapping of base pages at a place of its own. */
char *map(size_t length);

/* Write one word of each page. */
void touch(char *addr, size_t length);

/* The side moves memory with 1, 2 and 4 threads, each @rounds times. */
void sample_threads(const struct side *side, int rounds);

#endif /* BENCH_H */

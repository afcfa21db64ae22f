/* SPDX-License-Identifier: GPL-2.0 */
/* Taking and writing samples, and the memory for them. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define PAGE		(4 * KIB)
#define HUGE		(2 * MIB)

/* Instructions since the machine was started, if it counts them; else time. */
static inline __u64 now(void)
{
	return __builtin_ia32_rdtsc();
}

/* Do not write samples: the first round is not representative. */
extern bool warming_up;

/*
 * Several threads migrate pages. Some of the pages may fail, as another processor
 * keeps them in a batch on their way to an LRU list.
 */
extern bool concurrent;

/* Writes one sample of @op for the side called @who. */
void emit(const char *op, const char *who, size_t bytes, __u64 cost);

/* Writes all samples out before the next measurement begins. */
void settle(void);

/* Writes an error and ends the program. */
void __noreturn __printf(1, 2) die(const char *format, ...);

/* Whether an operation on @length bytes that did @pages pages counts as a sample. */
bool enough(__u64 pages, size_t length);

/* Maps base pages at the start of a window. */
char *map(size_t length);

/* Writes one word of each page. */
void touch(char *addr, size_t length);

#endif /* BENCH_SAMPLE_H */

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include "side.h"

/* Migrates memory with 1, 2 and 4 threads and processes, @rounds times each. */
void sample_threads(const struct side *side, int rounds);

#endif /* BENCH_THREADS_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sides of a comparison. A side is one way to perform the same operations: our
 * driver, the kernel's test_hmm, the bare calls of the core mm, or no device at all.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "sample.h"

/* The memory of the second device, all of it. */
#define SECOND_SIZE	(64 * MIB)

/*
 * An operation on @length bytes at @addr. Returns its cost, without that of measuring
 * it. Ends the program if a page was not processed.
 */
typedef __u64 (*bench_op)(char *addr, size_t length);

/**
 * struct side - a side
 * @name: its name in samples
 * @open: open the device
 * @open_thread: prepare a further thread, if that is needed
 * @close_thread: undo @open_thread
 * @populate: back untouched memory with device memory
 * @in: migrate system memory to the device
 * @out: migrate it back
 * @in_second: migrate system memory to the second device
 * @peer: migrate it from there to the first device
 * @fault: first device access to memory that is present
 * @touch_system: first device access to untouched memory, backed by system memory
 * @touch_node: first device access to untouched memory, backed by device memory
 * @copy: copy to device memory, without migration
 * @zero: zero device memory, without migration
 * @evict: the additional cost of populating if the same amount has to be evicted first
 * @make_entries: have the device map all of a range; not measured
 * @keeps_entries: the side keeps these mappings, which take memory
 * @max_length: the largest range it supports
 * @unaligned: does not work on untouched memory aligned to a huge page
 */
struct side {
	const char *name;
	void (*open)(void);
	void (*open_thread)(void);
	void (*close_thread)(void);
	bench_op populate, in, out;
	bench_op in_second, peer;
	bench_op fault, touch_system, touch_node;
	bench_op copy, zero;
	bench_op evict;
	void (*make_entries)(char *addr, size_t length);
	bool keeps_entries;
	size_t max_length;
	bool unaligned;
};

extern const struct side ours, reference, bare;

#endif /* BENCH_SIDE_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what migrating and sharing memory costs, on all sides. Writes one sample a
 * line, and "done" last; lab/vm/bench.py makes tables of them:
 *
 *	sample <operation> <side> <bytes> <cost>
 *
 * Each side runs in a process of its own, without the notifiers of the others.
 *
 * usage: cdm-bench [quick] [threads]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_mem.h"
#include "sample.h"
#include "side.h"
#include "threads.h"

/* Addresses for the largest range, from the start of a window. */
#define ARENA_SIZE	(256 * MIB + 2 * HUGE)

/* The CPU alone. */
static const struct side no_device = {
	.name = "nobody",
	.max_length = 256 * MIB,
};

static char *arena;
static bool quick;

/* Maps untouched memory, off the alignment of huge pages if @unaligned. */
static char *map_untouched(size_t length, bool huge, bool unaligned)
{
	char *addr = mmap(arena + (unaligned ? PAGE : 0), length,
			  PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (addr == MAP_FAILED ||
	    madvise(addr, length, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("no memory: %d", errno);
	return addr;
}

/* Maps memory, and touches it. */
static char *map_present(size_t length, bool huge)
{
	char *addr = map_untouched(length, huge, false);

	touch(addr, length);
	if (huge && cdm_smaps(addr, "AnonHugePages:") != (long)(length / KIB))
		die("no huge pages");
	return addr;
}

/* Unmaps everything, page tables included. */
static void unmap_arena(void)
{
	if (mmap(arena, ARENA_SIZE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("no memory: %d", errno);
}

static void sample_one(const struct side *side, const char *op, bench_op call,
		       char *addr, size_t length)
{
	if (call)
		emit(op, side->name, length, call(addr, length));
}

static void sample_migration(const struct side *side, size_t length)
{
	char *addr;

	sample_one(side, "copy", side->copy, arena, length);
	sample_one(side, "zero", side->zero, arena, length);
	if (side->populate) {
		addr = map_untouched(length, false, side->unaligned);
		sample_one(side, "populate", side->populate, addr, length);
		unmap_arena();
	}
	if (side->in) {
		addr = map_present(length, false);
		sample_one(side, "in", side->in, addr, length);
		sample_one(side, "out", side->out, addr, length);
		unmap_arena();
	}
	if (side->in && length >= HUGE && length <= 32 * MIB && !side->unaligned) {
		addr = map_present(length, true);
		sample_one(side, "in-huge", side->in, addr, length);
		unmap_arena();
	}
	if (side->in_second && length <= 32 * MIB) {
		addr = map_present(length, false);
		side->in_second(addr, length);
		sample_one(side, "peer", side->peer, addr, length);
		unmap_arena();
	}
	if (side->evict && length >= HUGE && length <= 32 * MIB) {
		addr = map_untouched(length, false, false);
		sample_one(side, "evict", side->evict, addr, length);
		unmap_arena();
	}
}

static void sample_faults(const struct side *side, size_t length)
{
	char *addr;

	if (side->fault) {
		addr = map_present(length, false);
		sample_one(side, "fault", side->fault, addr, length);
		unmap_arena();
	}
	if (side->fault && length >= HUGE && length <= 32 * MIB) {
		addr = map_present(length, true);
		sample_one(side, "fault-huge", side->fault, addr, length);
		unmap_arena();
	}
	if (side->touch_system) {
		addr = map_untouched(length, false, false);
		sample_one(side, "touch-system", side->touch_system, addr, length);
		unmap_arena();
	}
	if (side->touch_node) {
		addr = map_untouched(length, false, false);
		sample_one(side, "touch-node", side->touch_node, addr, length);
		unmap_arena();
	}
}

/*
 * Takes samples without and with device entries in turn, so that both find the free
 * lists in the same state.
 */
static void sample_changes(const struct side *side, size_t length)
{
	static const char *const names[][2] = {
		{ "munmap-none", "munmap" },
		{ "mprotect-none", "mprotect" },
		{ "dontneed-none", "dontneed" },
	};

	for (int i = 0; i < 6; i++) {
		const char *name = names[i / 2][i % 2];
		char *addr = map_present(length, false);
		__u64 begin, end;
		int err;

		if (i % 2 && side->make_entries)
			side->make_entries(addr, length);
		begin = now();
		err = i / 2 == 0 ? munmap(addr, length) :
		      i / 2 == 1 ? mprotect(addr, length, PROT_READ) :
				   madvise(addr, length, MADV_DONTNEED);
		end = now();
		if (err)
			die("%s: %d", name, errno);
		emit(name, side->name, length, end - begin);
		unmap_arena();
	}
}

static size_t kernel_memory(void)
{
	return (cdm_meminfo("Slab:") + cdm_meminfo("VmallocUsed:")) * KIB;
}

/*
 * Measures the kernel memory of a side's entries. It is allocated in slabs, so there
 * have to be many entries; all are of the zero page, which takes no further memory.
 * The first part uses up the free space in slabs.
 */
static void sample_memory(const struct side *side)
{
	const size_t spare = 64 * MIB, length = (quick ? 512UL : 2048UL) * MIB;
	char *addr = map(spare + length);
	size_t before;

	for (size_t at = 0; at < spare + length; at += PAGE)
		__atomic_load_n(addr + at, __ATOMIC_RELAXED);
	side->make_entries(addr, spare);
	before = kernel_memory();
	side->make_entries(addr + spare, length);
	emit("mirror-memory", side->name, length, kernel_memory() - before);
	munmap(addr, spare + length);
}

/* The CPU's own first touch. */
static void sample_touch(size_t length)
{
	for (int huge = 0; huge <= (length >= HUGE); huge++) {
		char *addr = map_untouched(length, huge, false);
		__u64 begin = now();

		touch(addr, length);
		emit(huge ? "cpu-touch-huge" : "cpu-touch", "cpu", length,
		     now() - begin);
		unmap_arena();
	}
}

static void sample_all(const struct side *side, size_t length)
{
	if (side == &no_device)
		sample_touch(length);
	sample_migration(side, length);
	sample_faults(side, length);
	if (length <= 32 * MIB)
		sample_changes(side, length);
}

/* Samples of each operation, besides those of warming up. */
static int rounds(size_t length)
{
	if (quick)
		return 3;
	return length <= 2 * MIB ? 9 : length <= 8 * MIB ? 5 : 2;
}

static void run_side(const struct side *side)
{
	static const size_t sizes[] = {
		4 * KIB, 64 * KIB, 512 * KIB, 2 * MIB, 8 * MIB, 32 * MIB,
		256 * MIB,
	};

	if (side->open)
		side->open();
	if (concurrent) {
		if (side == &bare || side == &ours)
			sample_threads(side, quick ? 1 : 3);
		return;
	}
	/* First, since memory that is freed later is not returned at once. */
	if (side->keeps_entries)
		sample_memory(side);
	warming_up = true;
	sample_all(side, HUGE);
	settle();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t length = sizes[i];

		if (length > side->max_length || (quick && length > 2 * MIB))
			break;
		/* Ranges of up to 32 MiB need no further warming up. */
		for (int n = length > 32 * MIB; n <= rounds(length); n++) {
			warming_up = !n;
			sample_all(side, length);
		}
	}
}

/* A loop with a known number of instructions, to check the clock. */
static void sample_clock(void)
{
	const unsigned long loops = 10000000;
	unsigned long left = loops;
	__u64 begin = now();

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left));
	emit("clock", "cpu", 2 * loops, now() - begin);
}

int main(int argc, char **argv)
{
	static const struct side *const sides[] = {
		&no_device, &bare, &reference, &ours,
	};

	for (int i = 1; i < argc; i++) {
		quick |= !strcmp(argv[i], "quick");
		concurrent |= !strcmp(argv[i], "threads");
	}
	arena = map(ARENA_SIZE);
	setvbuf(stdout, NULL, _IOFBF, MIB);
	settle();
	if (!concurrent)
		sample_clock();
	for (size_t i = 0; i < sizeof(sides) / sizeof(*sides); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			run_side(sides[i]);
			settle();
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	printf("done\n");
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What moving and sharing memory costs, on all sides, one sample to a line:
 *
 *	sample <operation> <side> <bytes> <cost>
 *
 * Each side runs in a process of its own, so that none has the notifiers of
 * another. The last line is "done"; scripts/vm/bench.py makes tables of it.
 *
 * usage: cdm-bench [quick] [threads]
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cdm_mem.h"

/* Room for the largest range, from a window's start on. */
#define ARENA		(256 * MIB + 2 * HUGE)

static char *arena;
static bool quick, threads;
/* What is only done once is done now, and not counted. */
static bool warming;

void emit(const char *op, const char *who, size_t bytes, __u64 cost)
{
	if (!warming)
		printf("sample %s %s %zu %llu\n", op, who, bytes,
		       cost);
}

/*
 * Both the kernel's log and what is written here go out by serial lines that are as
 * slow as real ones, and take most of the processor while they do. So nothing is
 * written while something is measured, and before that all is given the time to go
 * out; where the clock counts instructions, idle time passes at once.
 */
static void settle(void)
{
	fflush(stdout);
	sleep(5);
}

bool enough(__u64 pages, size_t length)
{
	__u64 wanted = length / PAGE;

	return threads ? pages >= wanted - wanted / 8 : pages == wanted;
}

void die(const char *format, ...)
{
	va_list args;

	printf("error ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	exit(1);
}

void touch(char *addr, size_t length)
{
	for (size_t at = 0; at < length; at += PAGE)
		__atomic_store_n((__u64 *)(addr + at), 1, __ATOMIC_RELAXED);
}

/* Fresh memory; @skew keeps it from being whole huge pages. */
static char *fresh(size_t length, bool huge, bool skew)
{
	char *addr = mmap(arena + (skew ? PAGE : 0), length,
			  PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (addr == MAP_FAILED ||
	    madvise(addr, length, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("no memory: %d", errno);
	return addr;
}

/* The same with pages in it. */
static char *present(size_t length, bool huge)
{
	char *addr = fresh(length, huge, false);

	touch(addr, length);
	if (huge && cdm_smaps(addr, "AnonHugePages:") != (long)(length / KIB))
		die("no huge pages");
	return addr;
}

char *map(size_t length)
{
	char *addr = cdm_map(&(struct cdm) { .window = HUGE }, length);

	if (!addr)
		die("no memory");
	return addr;
}

/* Nothing stays, not even the page tables. */
static void forget(void)
{
	if (mmap(arena, ARENA, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("no memory: %d", errno);
}

static void one(const struct side *side, const char *op, bench_op call,
		char *addr, size_t length)
{
	if (call)
		emit(op, side->name, length, call(addr, length));
}

static void sample_moves(const struct side *side, size_t length)
{
	char *addr;

	one(side, "copy", side->copy, arena, length);
	one(side, "zero", side->zero, arena, length);
	if (side->populate) {
		one(side, "populate", side->populate,
		    fresh(length, false, side->skewed), length);
		forget();
	}
	if (side->in) {
		addr = present(length, false);
		one(side, "in", side->in, addr, length);
		one(side, "out", side->out, addr, length);
		forget();
	}
	if (side->in && length >= HUGE && length <= 32 * MIB && !side->skewed) {
		addr = present(length, true);
		one(side, "in-huge", side->in, addr, length);
		forget();
	}
	if (side->in_second && length <= 32 * MIB) {
		addr = present(length, false);
		side->in_second(addr, length);
		one(side, "peer", side->peer, addr, length);
		forget();
	}
	if (side->evict && length >= HUGE && length <= 32 * MIB) {
		one(side, "evict", side->evict, fresh(length, false, false),
		    length);
		forget();
	}
}

static void sample_faults(const struct side *side, size_t length)
{
	if (side->fault) {
		one(side, "fault", side->fault, present(length, false), length);
		forget();
	}
	if (side->fault && length >= HUGE && length <= 32 * MIB) {
		one(side, "fault-huge", side->fault, present(length, true),
		    length);
		forget();
	}
	if (side->touch_system) {
		one(side, "touch-system", side->touch_system,
		    fresh(length, false, false), length);
		forget();
	}
	if (side->touch_node) {
		one(side, "touch-node", side->touch_node,
		    fresh(length, false, false), length);
		forget();
	}
}

/*
 * Each once without entries and once with them, so that both find the lists of free
 * pages as the same things have left them.
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
		char *addr = present(length, false);
		__u64 begin, end;
		int err;

		if (i % 2 && side->enter)
			side->enter(addr, length);
		begin = now();
		err = i / 2 == 0 ? munmap(addr, length) :
		      i / 2 == 1 ? mprotect(addr, length, PROT_READ) :
				   madvise(addr, length, MADV_DONTNEED);
		end = now();
		if (err)
			die("%s: %d", name, errno);
		emit(name, side->name, length, end - begin);
		forget();
	}
}

static size_t kernel_memory(void)
{
	return (cdm_meminfo("Slab:") + cdm_meminfo("VmallocUsed:")) * KIB;
}

/*
 * Kernel memory that the entries of a side take. It comes in slabs, so there have to
 * be many: of the page of zeros, which takes no memory of its own. What was free in
 * slabs before goes with the first part.
 */
static void sample_memory(const struct side *side)
{
	const size_t spare = 64 * MIB, length = (quick ? 512UL : 2048UL) * MIB;
	char *addr = map(spare + length);
	size_t before;

	for (size_t at = 0; at < spare + length; at += PAGE)
		__atomic_load_n(addr + at, __ATOMIC_RELAXED);
	side->enter(addr, spare);
	before = kernel_memory();
	side->enter(addr + spare, length);
	emit("mirror-memory", side->name, length, kernel_memory() - before);
	munmap(addr, spare + length);
}

/* What the CPU's own first touch costs. */
static void sample_touch(size_t length)
{
	for (int huge = 0; huge <= (length >= HUGE); huge++) {
		char *addr = fresh(length, huge, false);
		__u64 begin = now();

		touch(addr, length);
		emit(huge ? "cpu-touch-huge" : "cpu-touch", "cpu", length,
		     now() - begin);
		forget();
	}
}

static void sample_all(const struct side *side, size_t length)
{
	if (side == &nobody)
		sample_touch(length);
	sample_moves(side, length);
	sample_faults(side, length);
	if (length <= 32 * MIB)
		sample_changes(side, length);
}

/* Samples of each, besides the round before them. */
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
	if (threads) {
		if (side == &bare || side == &ours)
			sample_threads(side, quick ? 1 : 3);
		return;
	}
	/* First, as what is free afterwards is not given back at once. */
	if (side->keeps)
		sample_memory(side);
	warming = true;
	sample_all(side, HUGE);
	settle();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t length = sizes[i];

		if (length > side->most || (quick && length > 2 * MIB))
			break;
		/* What is large has been done often enough in parts. */
		for (int n = length > 32 * MIB; n <= rounds(length); n++) {
			warming = !n;
			sample_all(side, length);
		}
	}
}

const struct side nobody = {
	.name = "nobody",
	.most = 256 * MIB,
};

/* That a loop of a known number of instructions takes as long. */
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
		&nobody, &bare, &reference, &ours,
	};

	for (int i = 1; i < argc; i++) {
		quick |= !strcmp(argv[i], "quick");
		threads |= !strcmp(argv[i], "threads");
	}
	arena = map(ARENA);
	setvbuf(stdout, NULL, _IOFBF, MIB);
	settle();
	if (!threads)
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

// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cdm_mem.h"
#include "sample.h"

bool warming_up, concurrent;

void emit(const char *op, const char *who, size_t bytes, __u64 cost)
{
	if (!warming_up)
		printf("sample %s %s %zu %llu\n", op, who, bytes, cost);
}

/*
 * The kernel's log and our output go to serial lines as slow as real ones, and writing
 * to them takes most of the processor. So nothing is written during a measurement, and
 * this waits for all output before one. Where the clock counts instructions, idle time
 * is skipped.
 */
void settle(void)
{
	fflush(stdout);
	sleep(5);
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

bool enough(__u64 pages, size_t length)
{
	__u64 wanted = length / PAGE;

	return concurrent ? pages >= wanted - wanted / 8 : pages == wanted;
}

char *map(size_t length)
{
	char *addr = cdm_map(&(struct cdm) { .window = HUGE }, length);

	if (!addr)
		die("no memory");
	return addr;
}

void touch(char *addr, size_t length)
{
	for (size_t at = 0; at < length; at += PAGE)
		__atomic_store_n((__u64 *)(addr + at), 1, __ATOMIC_RELAXED);
}

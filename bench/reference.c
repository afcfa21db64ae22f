// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's test driver, with coherent memory. It also copies the pages that it
 * migrates or faults to the caller. That costs as much as a read of present memory,
 * which is subtracted.
 */
#include <fcntl.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <lib/test_hmm_uapi.h>

#include "side.h"

#define MAX_LENGTH	(32 * MIB)

static int fd = -1;
static char *content;

/* The first two devices have private memory. */
static void reference_open(void)
{
	fd = open("/dev/hmm_dmirror2", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("there is no /dev/hmm_dmirror2");
	content = mmap(NULL, MAX_LENGTH, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (content == MAP_FAILED)
		die("no memory");
}

static __u64 call(unsigned long command, char *addr, size_t length)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (size_t)addr,
		.ptr = (size_t)content,
		.npages = length / PAGE,
	};
	__u64 begin = now();
	int err = ioctl(fd, command, &cmd);
	__u64 end = now();

	if (err || cmd.cpages != length / PAGE)
		die("test_hmm: %lx gives %d, %llu pages of %zu", command,
		    err ? -errno : 0, cmd.cpages, length / PAGE);
	return end - begin;
}

static __u64 subtract_read(__u64 cost, char *addr, size_t length)
{
	__u64 read = call(HMM_DMIRROR_READ, addr, length);

	return cost > read ? cost - read : 0;
}

static __u64 reference_in(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_MIGRATE_TO_DEV, addr, length);

	emit("in", "test_hmm+read", length, cost);
	return subtract_read(cost, addr, length);
}

static __u64 reference_populate(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_MIGRATE_TO_DEV, addr, length);

	emit("populate", "test_hmm+read", length, cost);
	return subtract_read(cost, addr, length);
}

static __u64 reference_out(char *addr, size_t length)
{
	return call(HMM_DMIRROR_MIGRATE_TO_SYS, addr, length);
}

static __u64 reference_fault(char *addr, size_t length)
{
	return subtract_read(call(HMM_DMIRROR_READ, addr, length), addr, length);
}

/* A read would map the zero page. */
static __u64 reference_touch_system(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_WRITE, addr, length);
	__u64 write = call(HMM_DMIRROR_WRITE, addr, length);

	return cost > write ? cost - write : 0;
}

static void reference_make_entries(char *addr, size_t length)
{
	for (size_t at = 0; at < length; at += MAX_LENGTH)
		call(HMM_DMIRROR_READ, addr + at,
		     length - at < MAX_LENGTH ? length - at : MAX_LENGTH);
}

const struct side reference = {
	.name = "test_hmm",
	.open = reference_open,
	.populate = reference_populate,
	.in = reference_in,
	.out = reference_out,
	.fault = reference_fault,
	.touch_system = reference_touch_system,
	.make_entries = reference_make_entries,
	.keeps_entries = true,
	.max_length = MAX_LENGTH,
	.unaligned = true,
};

// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own test driver with coherent memory. What it moves or faults it
 * also copies to the caller, by way of a buffer; that is what the same read costs
 * when everything is there, and is not counted.
 */
#include <fcntl.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <lib/test_hmm_uapi.h>

#include "bench.h"

#define MOST		(32 * MIB)

static int fd = -1;
static char *content;

/* The first two devices have private memory. */
static void reference_open(void)
{
	fd = open("/dev/hmm_dmirror2", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("there is no /dev/hmm_dmirror2");
	content = mmap(NULL, MOST, PROT_READ | PROT_WRITE,
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

static __u64 without_read(__u64 cost, char *addr, size_t length)
{
	__u64 read = call(HMM_DMIRROR_READ, addr, length);

	return cost > read ? cost - read : 0;
}

static __u64 reference_in(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_MIGRATE_TO_DEV, addr, length);

	emit("in", "test_hmm+read", length, cost);
	return without_read(cost, addr, length);
}

static __u64 reference_populate(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_MIGRATE_TO_DEV, addr, length);

	emit("populate", "test_hmm+read", length, cost);
	return without_read(cost, addr, length);
}

static __u64 reference_out(char *addr, size_t length)
{
	return call(HMM_DMIRROR_MIGRATE_TO_SYS, addr, length);
}

static __u64 reference_fault(char *addr, size_t length)
{
	return without_read(call(HMM_DMIRROR_READ, addr, length), addr, length);
}

/* A read would give the page of zeros. */
static __u64 reference_touch_system(char *addr, size_t length)
{
	__u64 cost = call(HMM_DMIRROR_WRITE, addr, length);
	__u64 write = call(HMM_DMIRROR_WRITE, addr, length);

	return cost > write ? cost - write : 0;
}

static void reference_enter(char *addr, size_t length)
{
	for (size_t at = 0; at < length; at += MOST)
		call(HMM_DMIRROR_READ, addr + at,
		     length - at < MOST ? length - at : MOST);
}

const struct side reference = {
	.name = "test_hmm",
	.open = reference_open,
	.populate = reference_populate,
	.in = reference_in,
	.out = reference_out,
	.fault = reference_fault,
	.touch_system = reference_touch_system,
	.enter = reference_enter,
	.keeps = true,
	.most = MOST,
	.skewed = true,
};

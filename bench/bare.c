// SPDX-License-Identifier: GPL-2.0
/* The bare calls of the core mm (cdm_floor.ko). */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_floor.h"
#include "side.h"

/* Each thread has its own, as a file serves one call at a time. */
static __thread int fd = -1;

static void bare_open(void)
{
	fd = open("/dev/cdm_floor", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("there is no /dev/cdm_floor");
}

static void bare_close(void)
{
	close(fd);
	fd = -1;
}

static __u64 call(unsigned long command, unsigned int node,
		  unsigned int flags, char *addr, size_t length)
{
	struct cdm_floor cmd = {
		.addr = (size_t)addr,
		.length = length,
		.node = node,
		.flags = flags,
	};
	__u64 begin = now();
	int err = ioctl(fd, command, &cmd);
	__u64 end = now();

	if (err ||
	    (command != CDM_FLOOR_WATCH && !enough(cmd.pages, length)))
		die("floor: %lx gives %d, %llu pages of %zu", command,
		    err ? -errno : 0, cmd.pages, length / PAGE);
	return end - begin;
}

static __u64 bare_in(char *addr, size_t length)
{
	return call(CDM_FLOOR_IN, 0, 0, addr, length);
}

static __u64 bare_out(char *addr, size_t length)
{
	return call(CDM_FLOOR_OUT, 0, 0, addr, length);
}

static __u64 bare_in_second(char *addr, size_t length)
{
	return call(CDM_FLOOR_IN, 1, 0, addr, length);
}

static __u64 bare_peer(char *addr, size_t length)
{
	return call(CDM_FLOOR_PEER, 0, 0, addr, length);
}

/* The second memory is full, so the pages evicted are in use. */
static __u64 bare_evict(char *addr, size_t length)
{
	char *others = map(SECOND_SIZE);
	__u64 cost;

	call(CDM_FLOOR_IN, 1, 0, others, SECOND_SIZE);
	cost = call(CDM_FLOOR_EVICT, 1, 0, addr, length);
	munmap(others, SECOND_SIZE);
	return cost;
}

static __u64 bare_copy(char *addr, size_t length)
{
	return call(CDM_FLOOR_COPY, 0, 0, addr, length);
}

static __u64 bare_zero(char *addr, size_t length)
{
	return call(CDM_FLOOR_ZERO, 0, 0, addr, length);
}

static __u64 bare_fault(char *addr, size_t length)
{
	call(CDM_FLOOR_WATCH, 0, 0, addr, length);
	return call(CDM_FLOOR_FAULT, 0, 0, addr, length);
}

static __u64 bare_touch_system(char *addr, size_t length)
{
	call(CDM_FLOOR_WATCH, 0, 0, addr, length);
	return call(CDM_FLOOR_FAULT, 0, CDM_FLOOR_TOUCH, addr, length);
}

/* Populate, then fault. */
static __u64 bare_touch_node(char *addr, size_t length)
{
	return bare_in(addr, length) + bare_fault(addr, length);
}

static void bare_make_entries(char *addr, size_t length)
{
	call(CDM_FLOOR_WATCH, 0, 0, addr, length);
}

const struct side bare = {
	.name = "floor",
	.open = bare_open,
	.open_thread = bare_open,
	.close_thread = bare_close,
	.populate = bare_in,
	.in = bare_in,
	.out = bare_out,
	.in_second = bare_in_second,
	.peer = bare_peer,
	.evict = bare_evict,
	.fault = bare_fault,
	.touch_system = bare_touch_system,
	.touch_node = bare_touch_node,
	.copy = bare_copy,
	.zero = bare_zero,
	.make_entries = bare_make_entries,
	.max_length = 256 * MIB,
};

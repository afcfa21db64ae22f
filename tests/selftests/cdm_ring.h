/* SPDX-License-Identifier: GPL-2.0 */
/*
 * io_uring for one thread, by its system calls. Every function that can fail
 * returns zero or a negative errno.
 */
#ifndef CDM_RING_H
#define CDM_RING_H

#include <linux/io_uring.h>

#include "cdm_test.h"

struct cdm_ring {
	struct io_uring_params params;
	int fd;
	char *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
};

int cdm_ring_open(struct cdm_ring *ring, unsigned int entries);
void cdm_ring_close(struct cdm_ring *ring);

/* Buffer 0, for the operations that end in _FIXED; none for a NULL @addr. */
int cdm_ring_register(struct cdm_ring *ring, void *addr, size_t length);

/* Begin a request that is known by @id; no more of them than entries. */
int cdm_ring_start(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		   size_t length, __u64 offset, __u64 id);

/* The next that is done: its result, and which it was. */
int cdm_ring_wait(struct cdm_ring *ring, __u64 *id);

/* Both for a single one: the bytes, or a negative errno. */
int cdm_ring_do(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		size_t length, __u64 offset);

#endif /* CDM_RING_H */

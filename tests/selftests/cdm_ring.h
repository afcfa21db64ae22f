/* SPDX-License-Identifier: GPL-2.0 */
/*
 * io_uring for one thread, through its system calls. Functions that can fail
 * return zero or a negative errno.
 */
#ifndef CDM_RING_H
#define CDM_RING_H

#include <linux/io_uring.h>

#include "cdm_calls.h"

struct cdm_ring {
	struct io_uring_params params;
	int fd;
	char *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
};

int cdm_ring_open(struct cdm_ring *ring, unsigned int entries);
void cdm_ring_close(struct cdm_ring *ring);

/*
 * Registers buffer 0, for the _FIXED operations; a NULL @addr unregisters it.
 */
int cdm_ring_register(struct cdm_ring *ring, void *addr, size_t length);

/*
 * Submits a request with user data @id. At most as many as entries may be
 * pending.
 */
int cdm_ring_start(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		   size_t length, __u64 offset, __u64 id);

/* Waits for the next completion; returns its result and its @id. */
int cdm_ring_wait(struct cdm_ring *ring, __u64 *id);

/* Both, for a single request: the number of bytes, or a negative errno. */
int cdm_ring_do(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		size_t length, __u64 offset);

#endif /* CDM_RING_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * io_uring through its system calls; see cdm_ring.h.
 */
#include "cdm_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned int *word(const struct cdm_ring *ring, __u32 offset)
{
	return (unsigned int *)(ring->rings + offset);
}

int cdm_ring_open(struct cdm_ring *ring, unsigned int entries)
{
	struct io_uring_params *p = &ring->params;
	size_t sq, cq;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, entries, p);
	if (ring->fd < 0)
		return -errno;
	/* Both rings are one mapping (IORING_FEAT_SINGLE_MMAP). */
	sq = p->sq_off.array + p->sq_entries * sizeof(__u32);
	cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings_size = sq > cq ? sq : cq;
	ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, p->sq_entries * sizeof(*ring->sqes),
			  PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			  IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || (void *)ring->sqes == MAP_FAILED) {
		close(ring->fd);
		return -ENOMEM;
	}
	return 0;
}

void cdm_ring_close(struct cdm_ring *ring)
{
	munmap(ring->sqes, ring->params.sq_entries * sizeof(*ring->sqes));
	munmap(ring->rings, ring->rings_size);
	close(ring->fd);
}

int cdm_ring_register(struct cdm_ring *ring, void *addr, size_t length)
{
	struct iovec iov = { addr, length };
	unsigned int op = addr ? IORING_REGISTER_BUFFERS :
			  IORING_UNREGISTER_BUFFERS;

	return syscall(SYS_io_uring_register, ring->fd, op, addr ? &iov : NULL,
		       addr ? 1 : 0) ? -errno : 0;
}

int cdm_ring_start(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		   size_t length, __u64 offset, __u64 id)
{
	const struct io_sqring_offsets *sq = &ring->params.sq_off;
	unsigned int tail = *word(ring, sq->tail);
	unsigned int at = tail & *word(ring, sq->ring_mask);

	ring->sqes[at] = (struct io_uring_sqe) {
		.opcode = op,
		.fd = fd,
		.addr = CDM_ADDR(addr),
		.len = length,
		.off = offset,
		.user_data = id,
	};
	word(ring, sq->array)[at] = at;
	__atomic_store_n(word(ring, sq->tail), tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) == 1 ?
	       0 : -errno;
}

int cdm_ring_wait(struct cdm_ring *ring, __u64 *id)
{
	const struct io_cqring_offsets *cq = &ring->params.cq_off;
	unsigned int head = *word(ring, cq->head);
	const struct io_uring_cqe *cqe;
	int result;

	while (__atomic_load_n(word(ring, cq->tail), __ATOMIC_ACQUIRE) == head)
		if (syscall(SYS_io_uring_enter, ring->fd, 0, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
		    errno != EINTR)
			return -errno;
	cqe = (struct io_uring_cqe *)(ring->rings + cq->cqes) +
	      (head & *word(ring, cq->ring_mask));
	result = cqe->res;
	*id = cqe->user_data;
	__atomic_store_n(word(ring, cq->head), head + 1, __ATOMIC_RELEASE);
	return result;
}

int cdm_ring_do(struct cdm_ring *ring, unsigned int op, int fd, void *addr,
		size_t length, __u64 offset)
{
	int err = cdm_ring_start(ring, op, fd, addr, length, offset, 0);
	__u64 id;

	return err ? err : cdm_ring_wait(ring, &id);
}

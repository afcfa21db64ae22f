/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of liburing that cow.c and gup_longterm.c use, for one thread and one
 * request at a time. Every function returns a negative errno, and sets errno, too.
 */
#ifndef SHIM_LIBURING_H
#define SHIM_LIBURING_H

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/io_uring.h>

struct io_uring {
	struct io_uring_params params;
	int fd;
	char *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
};

static inline unsigned int *shim_ring_word(struct io_uring *ring, __u32 offset)
{
	return (unsigned int *)(ring->rings + offset);
}

static inline void io_uring_queue_exit(struct io_uring *ring)
{
	munmap(ring->sqes, ring->sqes_size);
	munmap(ring->rings, ring->rings_size);
	close(ring->fd);
}

static inline int io_uring_queue_init(unsigned int entries, struct io_uring *ring,
				      unsigned int flags)
{
	struct io_uring_params *p = &ring->params;
	size_t sq, cq;

	memset(ring, 0, sizeof(*ring));
	p->flags = flags;
	ring->fd = syscall(__NR_io_uring_setup, entries, p);
	if (ring->fd < 0)
		return -errno;
	/* Both rings are one mapping since 5.4 (IORING_FEAT_SINGLE_MMAP). */
	sq = p->sq_off.array + p->sq_entries * sizeof(__u32);
	cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings_size = sq > cq ? sq : cq;
	ring->sqes_size = p->sq_entries * sizeof(struct io_uring_sqe);
	ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->sqes_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || (void *)ring->sqes == MAP_FAILED) {
		int error = errno;

		io_uring_queue_exit(ring);
		errno = error;
		return -error;
	}
	return 0;
}

static inline int io_uring_register_buffers(struct io_uring *ring, const struct iovec *iov,
					    unsigned int count)
{
	int ret = syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, iov, count);

	return ret < 0 ? -errno : 0;
}

static inline int io_uring_unregister_buffers(struct io_uring *ring)
{
	int ret = syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);

	return ret < 0 ? -errno : 0;
}

/* The only one that there is: the one before it is done. */
static inline struct io_uring_sqe *io_uring_get_sqe(struct io_uring *ring)
{
	return ring->sqes;
}

static inline void io_uring_prep_write_fixed(struct io_uring_sqe *sqe, int fd, const void *buf,
					     unsigned int length, __u64 offset, int index)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_WRITE_FIXED;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buf;
	sqe->len = length;
	sqe->off = offset;
	sqe->buf_index = index;
}

static inline int io_uring_submit(struct io_uring *ring)
{
	const struct io_sqring_offsets *sq = &ring->params.sq_off;
	unsigned int *tail = shim_ring_word(ring, sq->tail);
	int ret;

	shim_ring_word(ring, sq->array)[*tail & *shim_ring_word(ring, sq->ring_mask)] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ret = syscall(__NR_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0);
	return ret < 0 ? -errno : ret;
}

static inline int io_uring_wait_cqe(struct io_uring *ring, struct io_uring_cqe **cqe)
{
	const struct io_cqring_offsets *cq = &ring->params.cq_off;
	unsigned int head = *shim_ring_word(ring, cq->head);
	unsigned int mask = *shim_ring_word(ring, cq->ring_mask);

	while (__atomic_load_n(shim_ring_word(ring, cq->tail), __ATOMIC_ACQUIRE) == head)
		if (syscall(__NR_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS,
			    NULL, 0) < 0 && errno != EINTR)
			return -errno;
	*cqe = (struct io_uring_cqe *)(ring->rings + cq->cqes) + (head & mask);
	return 0;
}

static inline void io_uring_cqe_seen(struct io_uring *ring, struct io_uring_cqe *cqe)
{
	unsigned int *head = shim_ring_word(ring, ring->params.cq_off.head);

	(void)cqe;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}

#endif /* SHIM_LIBURING_H */

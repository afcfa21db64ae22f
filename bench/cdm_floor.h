/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What bench asks of cdm_floor.ko, through /dev/cdm_floor. One size of one
 * structure, as both are built together.
 */
#ifndef CDM_FLOOR_H
#define CDM_FLOOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct cdm_floor - a call
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size
 * @node: in: which of the two memories, 0 or 1
 * @flags: in: CDM_FLOOR_*
 * @pages: out: pages that were moved, seen, copied or zeroed
 */
struct cdm_floor {
	__u64 addr;
	__u64 length;
	__u32 node;
	__u32 flags;
	__u64 pages;
};

/* Fault in what is not there, for writing. */
#define CDM_FLOOR_TOUCH		1

/* System memory and holes to the node; from the node to system memory. */
#define CDM_FLOOR_IN		_IOWR('F', 0, struct cdm_floor)
#define CDM_FLOOR_OUT		_IOWR('F', 1, struct cdm_floor)
/* To the node from the other one. */
#define CDM_FLOOR_PEER		_IOWR('F', 2, struct cdm_floor)
/* The node's first @length bytes to system memory, whoever maps them. */
#define CDM_FLOOR_EVICT		_IOWR('F', 3, struct cdm_floor)
/* Copy @length bytes of system memory to the node, or zero as many there. */
#define CDM_FLOOR_COPY		_IOWR('F', 4, struct cdm_floor)
#define CDM_FLOOR_ZERO		_IOWR('F', 5, struct cdm_floor)
/* Have a notifier on the range; look at the range, window by window. */
#define CDM_FLOOR_WATCH		_IOWR('F', 6, struct cdm_floor)
#define CDM_FLOOR_FAULT		_IOWR('F', 7, struct cdm_floor)

#endif /* CDM_FLOOR_H */

/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctls of cdm_floor.ko, on /dev/cdm_floor. Only cdm-bench uses them, and both are
 * built together.
 */
#ifndef CDM_FLOOR_H
#define CDM_FLOOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct cdm_floor - a call
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size
 * @node: in: index of the memory, 0 or 1
 * @flags: in: CDM_FLOOR_*
 * @pages: out: number of pages migrated, faulted, copied or zeroed
 */
struct cdm_floor {
	__u64 addr;
	__u64 length;
	__u32 node;
	__u32 flags;
	__u64 pages;
};

/* Fault untouched memory in, for writing. */
#define CDM_FLOOR_TOUCH		1

/* Migrate system memory and holes to the node; migrate from the node. */
#define CDM_FLOOR_IN		_IOWR('F', 0, struct cdm_floor)
#define CDM_FLOOR_OUT		_IOWR('F', 1, struct cdm_floor)
/* Migrate to the node from the other one. */
#define CDM_FLOOR_PEER		_IOWR('F', 2, struct cdm_floor)
/* Evict the node's first @length bytes, whoever maps them. */
#define CDM_FLOOR_EVICT		_IOWR('F', 3, struct cdm_floor)
/* Copy @length bytes to the node; zero as many there. Without migration. */
#define CDM_FLOOR_COPY		_IOWR('F', 4, struct cdm_floor)
#define CDM_FLOOR_ZERO		_IOWR('F', 5, struct cdm_floor)
/* Install a notifier for the range; fault the range in, window by window. */
#define CDM_FLOOR_WATCH		_IOWR('F', 6, struct cdm_floor)
#define CDM_FLOOR_FAULT		_IOWR('F', 7, struct cdm_floor)

#endif /* CDM_FLOOR_H */

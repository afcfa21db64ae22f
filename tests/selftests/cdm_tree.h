/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory nodes of the machine's device tree, from /proc/device-tree.
 */
#ifndef CDM_TREE_H
#define CDM_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

#define CDM_TREE		"/proc/device-tree"
#define CDM_TREE_MAX		64

/* compatible string of coherent device memory. */
#define CDM_COMPATIBLE		"ibm,coherent-device-memory"

/* A node that describes memory of any kind. */
struct cdm_memory {
	char path[128];
	bool online;		/* device_type is "memory" */
	bool device;		/* compatible has CDM_COMPATIBLE */
	char defect[32];	/* intended defect, see tree.c */
	__u32 phandle;
	__u64 start;		/* first range of reg, if any */
	__u64 size;
	int node;		/* NUMA node, -1 if not given */
};

/*
 * Reads up to CDM_TREE_MAX memory nodes. Returns their number, zero without a
 * device tree.
 */
int cdm_memories(struct cdm_memory *memories);

/*
 * Reads a property of node @path of up to @size bytes and appends a zero byte
 * that is not counted. Returns its length, or a negative errno.
 */
long cdm_property(const char *path, const char *name, void *value,
		  size_t size);

/* A big-endian number of @bytes bytes, as the device tree stores it. */
__u64 cdm_number(const unsigned char *value, size_t bytes);

#endif /* CDM_TREE_H */

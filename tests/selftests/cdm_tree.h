/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The memory that the machine's device tree describes, read from
 * /proc/device-tree.
 */
#ifndef CDM_TREE_H
#define CDM_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

#define CDM_TREE		"/proc/device-tree"
#define CDM_TREE_MAX		64

/* The compatible string of coherent device memory. */
#define CDM_COMPATIBLE		"ibm,coherent-device-memory"

/* A node that describes memory of any kind. */
struct cdm_memory {
	char path[128];
	bool online;		/* device_type is "memory" */
	bool device;		/* one of its strings is CDM_COMPATIBLE */
	char defect[32];	/* what is wrong with it on purpose, see tree.c */
	__u32 phandle;
	__u64 start;		/* the first range of reg, if there is one */
	__u64 size;
	int node;		/* NUMA node, -1 if it does not say */
};

/*
 * All of them, at most CDM_TREE_MAX. Returns how many; zero where there is no
 * device tree.
 */
int cdm_memories(struct cdm_memory *memories);

/*
 * A property of the node @path, of at most @size bytes, with a zero behind it
 * that is not counted. Returns its length, or a negative errno.
 */
long cdm_property(const char *path, const char *name, void *value,
		  size_t size);

/* A number of @bytes bytes as the device tree has it: big endian. */
__u64 cdm_number(const unsigned char *value, size_t bytes);

#endif /* CDM_TREE_H */

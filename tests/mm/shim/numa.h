/* SPDX-License-Identifier: GPL-2.0 */
/* The part of libnuma that migration.c uses, by system calls. */
#ifndef SHIM_NUMA_H
#define SHIM_NUMA_H

#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>

#define SHIM_NODES	1024
#define SHIM_BITS	(sizeof(unsigned long) * CHAR_BIT)

struct bitmask {
	unsigned long word[SHIM_NODES / SHIM_BITS];
};

/* The nodes with memory, once numa_available() has been called. */
static struct bitmask shim_all_nodes;
#define numa_all_nodes_ptr (&shim_all_nodes)

static inline int numa_available(void)
{
	return syscall(__NR_get_mempolicy, NULL, shim_all_nodes.word, SHIM_NODES, NULL,
		       MPOL_F_MEMS_ALLOWED) ? -1 : 0;
}

static inline int numa_max_possible_node(void)
{
	return SHIM_NODES - 1;
}

static inline int numa_bitmask_isbitset(const struct bitmask *mask, unsigned int node)
{
	return mask->word[node / SHIM_BITS] >> node % SHIM_BITS & 1;
}

static inline int numa_num_task_cpus(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) ? -1 : CPU_COUNT(&cpus);
}

#endif /* SHIM_NUMA_H */

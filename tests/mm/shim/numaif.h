/* SPDX-License-Identifier: GPL-2.0 */
/* The system call of libnuma that migration.c makes; node.c defines it. */
#ifndef SHIM_NUMAIF_H
#define SHIM_NUMAIF_H

#include <linux/mempolicy.h>

long move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		int flags);

#endif /* SHIM_NUMAIF_H */

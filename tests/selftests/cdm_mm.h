/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What memory management is told and tells outside of system calls on memory:
 * settings of /proc and /sys, counters, a control group, a swap device; and
 * threads that move memory meanwhile.
 */
#ifndef CDM_MM_H
#define CDM_MM_H

#include <pthread.h>

#include "cdm_mem.h"
#include "cdm_test.h"

/* A file of /proc or /sys: as a number (negative: it is not there), or set. */
long cdm_value_of(const char *path);
int cdm_write(const char *path, const char *text);

/* A setting for the time of a test; cdm_unset() undoes it, if it was made. */
struct cdm_setting {
	const char *path;
	char old[128];
};

int cdm_set(struct cdm_setting *setting, const char *path, const char *text);
void cdm_unset(struct cdm_setting *setting);

/* A counter of /proc/vmstat, of memory.stat of the group, or negative. */
long cdm_vmstat(const char *name);

/*
 * A control group for the process, and memory.* in it. Leaving it removes it;
 * what has been charged to it by then is the business of whoever has it.
 */
int cdm_group_enter(void);
void cdm_group_leave(void);
int cdm_group_set(const char *file, const char *text);
long cdm_group_number(const char *file);

/* Have the group give up @bytes; what cannot be had is no error. */
int cdm_group_reclaim(size_t bytes);

/* All of the disk for swap. -ENODEV: the guest has none. */
int cdm_swap_on(void);
int cdm_swap_off(void);

/* How many pages of the range are swapped out, of /proc/self/pagemap. */
size_t cdm_swapped(const void *addr, size_t length);

/* The load of a word, or the store of @value: whether it went without a signal. */
bool cdm_can_read(const void *addr);
bool cdm_can_write(void *addr, __u64 value);

/* A thread that moves a range to the node and back until it is told to end. */
struct cdm_mover {
	pthread_t thread;
	const struct cdm *cdm;
	char *mem;
	size_t length;
	bool stop;
	int allowed;	/* an errno that is none */
	int err;
	__u64 calls;
	__u64 migrated;
};

int cdm_mover_start(struct cdm_mover *mover, const struct cdm *cdm, char *mem,
		    size_t length);
void cdm_mover_end(struct cdm_mover *mover);

#endif /* CDM_MM_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interfaces of memory management outside the system calls on memory: settings
 * in /proc and /sys, counters, a cgroup, a swap device.
 */
#ifndef CDM_MM_H
#define CDM_MM_H

#include "cdm_calls.h"
#include "cdm_mem.h"

/*
 * Read a file of /proc or /sys as a number, negative on error; or write to it.
 */
long cdm_value_of(const char *path);
int cdm_write(const char *path, const char *text);

/* A setting changed for one test; cdm_unset() restores it if it was changed. */
struct cdm_setting {
	const char *path;
	char old[128];
};

int cdm_set(struct cdm_setting *setting, const char *path, const char *text);
void cdm_unset(struct cdm_setting *setting);

/* A counter of /proc/vmstat; negative on error. */
long cdm_vmstat(const char *name);

/*
 * A cgroup for the process, and its memory.* files. Leaving removes the cgroup;
 * its remaining charges move to the parent.
 */
int cdm_group_enter(void);
void cdm_group_leave(void);
int cdm_group_set(const char *file, const char *text);
long cdm_group_number(const char *file);

/* Makes the cgroup reclaim @bytes; reclaiming less is no error. */
int cdm_group_reclaim(size_t bytes);

/* Use the whole disk for swap. -ENODEV if the guest has no disk. */
int cdm_swap_on(void);
int cdm_swap_off(void);

/* Number of pages of the range in swap, from /proc/self/pagemap. */
size_t cdm_swapped(const void *addr, size_t length);

/*
 * Keeps the thread on the CPU that it runs on. Batches of the LRU lists and of
 * mlock() hold references to pages that were touched on their CPU, and most calls
 * drain only the batches of the caller's CPU: pages in others count as pinned.
 */
int cdm_stay_on_cpu(void);

/* Whether a load, or a store of @value, works without a signal. */
bool cdm_can_read(const void *addr);
bool cdm_can_write(void *addr, __u64 value);

#endif /* CDM_MM_H */

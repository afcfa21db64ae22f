/* SPDX-License-Identifier: GPL-2.0 */
/* The calls that the demonstration makes. Each ends the program when it fails. */
#ifndef CDM_DEMO_DEVICE_H
#define CDM_DEMO_DEVICE_H

#include <linux/types.h>
#include <linux/hmm_cdm.h>

struct cdm;

struct device {
	const char *path;
	struct cdm *cdm;
	struct hmm_cdm_info info;
};

void device_open(struct device *device, const char *path);
void device_migrate(const struct device *device, unsigned long start, unsigned long end,
		    struct hmm_cdm_migrate *migrate);
void device_query(const struct device *device, unsigned long start, unsigned long end,
		  struct hmm_cdm_query *query);
void device_stats(const struct device *device, struct hmm_cdm_stats *stats);

/* Returns the job's number. */
__u64 device_submit(const struct device *device, enum cdm_emu_op op,
		    __u64 arg0, __u64 arg1, __u64 arg2);

/* Returns when the job has ended, well or not: see @wait->status. */
void device_wait(const struct device *device, __u64 job, struct hmm_cdm_wait *wait);

#endif

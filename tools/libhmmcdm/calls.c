// SPDX-License-Identifier: LGPL-2.1-or-later
/* The ioctls of /dev/hmm_cdm<N>; see calls.h. */
#include "calls.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

int cdm_call(int fd, unsigned long command, void *arg)
{
	return ioctl(fd, command, arg) ? -errno : 0;
}

int cdm_call_info(int fd, struct hmm_cdm_info *info)
{
	*info = (struct hmm_cdm_info) { .size = sizeof(*info) };
	return cdm_call(fd, HMM_CDM_IOC_INFO, info);
}

int cdm_call_stats(int fd, struct hmm_cdm_stats *stats)
{
	*stats = (struct hmm_cdm_stats) { .size = sizeof(*stats) };
	return cdm_call(fd, HMM_CDM_IOC_STATS, stats);
}

int cdm_call_populate(int fd, const void *addr, size_t length, __u32 flags,
		      struct hmm_cdm_populate *report)
{
	struct hmm_cdm_populate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
	};
	int err = cdm_call(fd, HMM_CDM_IOC_POPULATE, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_call_migrate(int fd, const void *addr, size_t length, enum hmm_cdm_target target,
		     __u32 flags, struct hmm_cdm_migrate *report)
{
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
		.target = target,
	};
	int err = cdm_call(fd, HMM_CDM_IOC_MIGRATE, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_call_advise(int fd, const void *addr, size_t length, enum hmm_cdm_place place,
		    __u32 flags)
{
	struct hmm_cdm_advise arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
		.place = place,
	};

	return cdm_call(fd, HMM_CDM_IOC_ADVISE, &arg);
}

int cdm_call_query(int fd, const void *addr, size_t length, struct hmm_cdm_page *pages,
		   struct hmm_cdm_query *report)
{
	struct hmm_cdm_query arg = {
		.size = sizeof(arg),
		.addr = (uintptr_t)addr,
		.length = length,
		.pages = (uintptr_t)pages,
	};
	int err = cdm_call(fd, HMM_CDM_IOC_QUERY, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_call_submit(int fd, __u32 op, const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job)
{
	struct hmm_cdm_submit arg = { .size = sizeof(arg), .op = op };
	int err;

	memcpy(arg.args, args, sizeof(arg.args));
	err = cdm_call(fd, HMM_CDM_IOC_SUBMIT, &arg);
	*job = arg.job;
	return err;
}

int cdm_call_wait(int fd, __u64 job, __s64 timeout_ns, struct hmm_cdm_wait *report)
{
	struct hmm_cdm_wait arg = {
		.size = sizeof(arg),
		.job = job,
		.timeout_ns = timeout_ns,
	};
	int err = cdm_call(fd, HMM_CDM_IOC_WAIT, &arg);

	if (report)
		*report = arg;
	return err;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of <linux/hmm_cdm.h> on a file descriptor.
 *
 * Programs use hmmcdm.h. This header is for code that cannot: cdmrun's library runs inside the
 * allocator and must not allocate, and the kselftests check each call by itself.
 *
 * Each function makes one ioctl and returns zero or a negative errno. A report that is not NULL is
 * filled in even on an error.
 */
#ifndef HMMCDM_CALLS_H
#define HMMCDM_CALLS_H

#include <stddef.h>

#include <linux/hmm_cdm.h>

int cdm_call(int fd, unsigned long command, void *arg);

int cdm_call_info(int fd, struct hmm_cdm_info *info);
int cdm_call_stats(int fd, struct hmm_cdm_stats *stats);
int cdm_call_populate(int fd, const void *addr, size_t length, __u32 flags,
		      struct hmm_cdm_populate *report);
int cdm_call_migrate(int fd, const void *addr, size_t length, enum hmm_cdm_target target,
		     __u32 flags, struct hmm_cdm_migrate *report);
int cdm_call_advise(int fd, const void *addr, size_t length, enum hmm_cdm_place place,
		    __u32 flags);
int cdm_call_query(int fd, const void *addr, size_t length, struct hmm_cdm_page *pages,
		   struct hmm_cdm_query *report);

/* @job is set to zero on an error. */
int cdm_call_submit(int fd, __u32 op, const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job);

/* A signal ends the wait: -EINTR. The job's own status is in @report. */
int cdm_call_wait(int fd, __u64 job, __s64 timeout_ns, struct hmm_cdm_wait *report);

#endif /* HMMCDM_CALLS_H */

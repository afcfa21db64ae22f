/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhmmcdm: coherent device memory for C programs. See hmmcdm(3), and <linux/hmm_cdm.h> for the
 * structures.
 *
 * A function that returns an int returns zero or a negative errno. One that returns a pointer
 * returns NULL with errno set. All are thread safe. A handle works only in the process that
 * opened it: after fork() the child opens its own.
 */
#ifndef HMMCDM_H
#define HMMCDM_H

#include <stddef.h>
#include <stdint.h>

#include <linux/hmm_cdm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cdm;

/* Opens /dev/hmm_cdm<node>, or the device file at @path. */
struct cdm *cdm_open(unsigned int node);
struct cdm *cdm_open_path(const char *path);
void cdm_close(struct cdm *cdm);

/* Describes the node; valid until cdm_close(). */
const struct hmm_cdm_info *cdm_info(const struct cdm *cdm);

/*
 * Allocates zeroed memory: on the node while it has free pages, the rest in system memory.
 * cdm_free() takes the size that was asked for.
 */
void *cdm_alloc(struct cdm *cdm, size_t size);
void cdm_free(struct cdm *cdm, void *mem, size_t size);

/* @report may be NULL; it is filled in even on an error. */
int cdm_populate(struct cdm *cdm, void *addr, size_t length, __u32 flags,
		 struct hmm_cdm_populate *report);
int cdm_migrate(struct cdm *cdm, void *addr, size_t length,
		enum hmm_cdm_target target, __u32 flags,
		struct hmm_cdm_migrate *report);
int cdm_advise(struct cdm *cdm, void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags);

/* @pages has one entry for each page of the range, or is NULL. */
int cdm_query(struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *report);

/*
 * cdm_submit() starts a job. cdm_wait() returns the status with which the job ended, and the
 * number in @job is no longer valid then. A negative @timeout_ns waits without a limit.
 */
int cdm_submit(struct cdm *cdm, __u32 op,
	       const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job);
int cdm_wait(struct cdm *cdm, __u64 job, __s64 timeout_ns,
	     struct hmm_cdm_wait *result);

int cdm_stats(struct cdm *cdm, struct hmm_cdm_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* HMMCDM_H */

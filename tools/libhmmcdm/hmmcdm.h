/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhmmcdm: coherent device memory for C programs. See hmmcdm(3), and
 * <linux/hmm_cdm.h> for the structures.
 *
 * Functions that can fail return zero or a negative errno, unless they return a
 * pointer: then NULL, with errno set. All may be called by several threads at
 * once. A handle is of the process that opened it; a child opens its own.
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

struct cdm *cdm_open(unsigned int node);
void cdm_close(struct cdm *cdm);

/* What the node is; valid as long as the handle. */
const struct hmm_cdm_info *cdm_info(const struct cdm *cdm);

/* Zeroed memory, on the node as far as it has room; freed with the same size. */
void *cdm_alloc(struct cdm *cdm, size_t size);
void cdm_free(struct cdm *cdm, void *mem, size_t size);

/* @report may be NULL, and is filled in whatever is returned. */
int cdm_populate(struct cdm *cdm, void *addr, size_t length, __u32 flags,
		 struct hmm_cdm_populate *report);
int cdm_migrate(struct cdm *cdm, void *addr, size_t length,
		enum hmm_cdm_target target, __u32 flags,
		struct hmm_cdm_migrate *report);
int cdm_advise(struct cdm *cdm, void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags);

/* @pages has room for each page, or is NULL; @report has the sums, or is NULL. */
int cdm_query(struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *report);

/* A job of the device, known by @job until it has been waited for. */
int cdm_submit(struct cdm *cdm, __u32 op,
	       const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job);
int cdm_wait(struct cdm *cdm, __u64 job, __s64 timeout_ns,
	     struct hmm_cdm_wait *result);

int cdm_stats(struct cdm *cdm, struct hmm_cdm_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* HMMCDM_H */

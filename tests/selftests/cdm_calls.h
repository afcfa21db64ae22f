/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of the userspace interface, jobs, and time.
 *
 * Functions that can fail return zero or a negative errno, so that a test
 * compares a single number.
 */
#ifndef CDM_CALLS_H
#define CDM_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/hmm_cdm.h>

#include "cdm_defs.h"

#define CDM_NODES		2

/*
 * Factor by which all time limits grow, for emulated and debug kernels
 * (PATIENCE= of the Makefile). The harness has no such factor.
 */
#ifndef CDM_PATIENCE
#define CDM_PATIENCE		1
#endif
#ifdef TEST_F_TIMEOUT
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	(30 * CDM_PATIENCE)
#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture, test, seconds) \
	__TEST_F_IMPL(fixture, test, -1, (seconds) * CDM_PATIENCE)
#endif

/* A job that is expected to end fails after this time. */
#define CDM_JOB_MS		(20000 * CDM_PATIENCE)

/* Time that background work may take. */
#define CDM_SETTLE_MS		(2000 * CDM_PATIENCE)

/* More repetitions than any test waits for. */
#define CDM_FOREVER		(~0ULL >> 2)

/* An open device file and its INFO. */
struct cdm {
	int fd;
	size_t page;
	size_t window;
	struct hmm_cdm_info info;
};

/* The calls. @out and @wait may be NULL. */
int cdm_open(struct cdm *cdm, unsigned int index);
void cdm_close(struct cdm *cdm);
int cdm_ioctl(int fd, unsigned long command, void *arg);
int cdm_info(int fd, struct hmm_cdm_info *out);
int cdm_stats(const struct cdm *cdm, struct hmm_cdm_stats *out);
int cdm_migrate(const struct cdm *cdm, const void *addr, size_t length,
		enum hmm_cdm_target target, struct hmm_cdm_migrate *out);
int cdm_populate(const struct cdm *cdm, const void *addr, size_t length,
		 __u32 flags, struct hmm_cdm_populate *out);
int cdm_advise(const struct cdm *cdm, const void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags);
int cdm_query(const struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *out);
int cdm_submit(const struct cdm *cdm, unsigned int op, const __u64 *args,
	       __u64 *job);
int cdm_wait(const struct cdm *cdm, __u64 job, __s64 timeout_ms,
	     struct hmm_cdm_wait *wait);

/* Sum of all counts of @m: the number of mapped pages, says the header. */
__u64 cdm_migrate_sum(const struct hmm_cdm_migrate *m);

/* Free pages of the node, or UINT64_MAX on error. */
__u64 cdm_free_pages(const struct cdm *cdm);

/* Waits up to CDM_SETTLE_MS until @pages are free; returns the last count. */
__u64 cdm_free_settles(const struct cdm *cdm, __u64 pages);

/*
 * Submit a job and wait for it. Return the error of the call, or else the
 * status of the job.
 */
#define CDM_ARGS(...) \
	((const __u64[HMM_CDM_JOB_ARGS]) { __VA_ARGS__ })
#define CDM_ADDR(p)		((__u64)(uintptr_t)(p))

int cdm_run(const struct cdm *cdm, unsigned int op, const __u64 *args,
	    struct hmm_cdm_wait *wait);
int cdm_run_fill(const struct cdm *cdm, void *addr, size_t length,
		 __u64 pattern, struct hmm_cdm_wait *wait);
int cdm_run_copy(const struct cdm *cdm, void *to, const void *from,
		 size_t length, struct hmm_cdm_wait *wait);
int cdm_run_sum(const struct cdm *cdm, const void *addr, size_t words,
		struct hmm_cdm_wait *wait);
int cdm_run_adds(const struct cdm *cdm, __u64 *word, __u64 value,
		 __u64 times, struct hmm_cdm_wait *wait);

/* Starts a job that keeps adding one to @word. */
int cdm_start_adds(const struct cdm *cdm, __u64 *word, __u64 times,
		   __u64 *job);

/* Waits up to CDM_SETTLE_MS until *@word exceeds @value. */
bool cdm_rises_above(const __u64 *word, __u64 value);

/*
 * POWER9's hash MMU with pages of 4K: regions are aligned to eight windows, and there
 * are no addresses for private memory.
 */
bool cdm_hash_4k(void);

__u64 cdm_now_ms(void);
void cdm_sleep_ms(unsigned int ms);

/*
 * Reaps @pid, killing it after @ms. Returns its exit code, or -1 if it was
 * killed.
 */
int cdm_reap(pid_t pid, unsigned int ms);

#endif /* CDM_CALLS_H */

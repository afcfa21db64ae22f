/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of the userspace interface with the errno as their result, jobs,
 * and the time that they take.
 *
 * Every function that can fail returns zero or a negative errno, so that a
 * test compares one number.
 */
#ifndef CDM_TEST_H
#define CDM_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/hmm_cdm.h>

#include "cdm_defs.h"

#define CDM_NODES		2

/*
 * A kernel full of checkers is slow: how many times as long as usual anything
 * may take (PATIENCE= of the Makefile). The harness has no such thing.
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

/* A job that is expected to end and has not by now, has failed. */
#define CDM_JOB_MS		(20000 * CDM_PATIENCE)

/* How long something that happens in the background may take. */
#define CDM_SETTLE_MS		(2000 * CDM_PATIENCE)

/* More repetitions than any test lives to see. */
#define CDM_FOREVER		(~0ULL >> 2)

/* An open device file, and what INFO said about it. */
struct cdm {
	int fd;
	size_t page;
	size_t window;
	struct hmm_cdm_info info;
};

/* The calls. @out and @wait may be NULL where only the result matters. */
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

/* All counts of @m together: the mapped pages of the range, says the header. */
__u64 cdm_migrate_sum(const struct hmm_cdm_migrate *m);

/* Pages of the node that no process uses, or UINT64_MAX. */
__u64 cdm_free_pages(const struct cdm *cdm);

/* Wait until as many are free, at most CDM_SETTLE_MS; returns the last count */
__u64 cdm_free_settles(const struct cdm *cdm, __u64 pages);

/*
 * Jobs, submitted and waited for. Returns the call's error or else the status
 * with which the job ended.
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

/* A job that keeps adding one to @word, in the background. */
int cdm_start_adds(const struct cdm *cdm, __u64 *word, __u64 times,
		   __u64 *job);

/* Wait until *@word is above @value, at most CDM_SETTLE_MS. */
bool cdm_rises_above(const __u64 *word, __u64 value);

__u64 cdm_now_ms(void);
void cdm_sleep_ms(unsigned int ms);

/* Wait for @pid, at most @ms, killing it then. Returns its exit code or -1. */
int cdm_reap(pid_t pid, unsigned int ms);

#endif /* CDM_TEST_H */

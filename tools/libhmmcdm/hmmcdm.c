// SPDX-License-Identifier: LGPL-2.1-or-later
/* libhmmcdm: a handle on a node, memory on it, and waits that survive signals; see hmmcdm.h. */
#include "hmmcdm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

struct cdm {
	int fd;
	struct hmm_cdm_info info;
};

struct cdm *cdm_open(unsigned int node)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_cdm%u", node);
	return cdm_open_path(path);
}

struct cdm *cdm_open_path(const char *path)
{
	struct cdm *cdm = malloc(sizeof(*cdm));
	int err;

	if (!cdm)
		return NULL;
	cdm->fd = open(path, O_RDWR | O_CLOEXEC);
	err = cdm->fd < 0 ? -errno : cdm_call_info(cdm->fd, &cdm->info);
	if (!err)
		return cdm;
	if (cdm->fd >= 0)
		close(cdm->fd);
	free(cdm);
	errno = -err;
	return NULL;
}

void cdm_close(struct cdm *cdm)
{
	if (!cdm)
		return;
	close(cdm->fd);
	free(cdm);
}

const struct hmm_cdm_info *cdm_info(const struct cdm *cdm)
{
	return &cdm->info;
}

static size_t whole_pages(const struct cdm *cdm, size_t size)
{
	size_t page = cdm->info.page_size;

	return (size + page - 1) & ~(page - 1);
}

void *cdm_alloc(struct cdm *cdm, size_t size)
{
	size_t window = cdm->info.window_size, length = whole_pages(cdm, size);
	/* A window gets contiguous device memory only if it is aligned to its size. */
	size_t slack = length >= window ? window - cdm->info.page_size : 0;
	uintptr_t start, end;
	char *raw, *mem;

	if (!size || length < size || length + slack < length) {
		errno = size ? ENOMEM : EINVAL;
		return NULL;
	}
	raw = mmap(NULL, length + slack, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	start = (uintptr_t)raw;
	end = start + length + slack;
	if (slack)
		start = (start + window - 1) & ~(window - 1);
	mem = (char *)start;
	if (mem > raw)
		munmap(raw, mem - raw);
	if (start + length < end)
		munmap(mem + length, end - start - length);
	/* What is not populated will be system memory. */
	cdm_populate(cdm, mem, length, 0, NULL);
	return mem;
}

void cdm_free(struct cdm *cdm, void *mem, size_t size)
{
	if (mem)
		munmap(mem, whole_pages(cdm, size));
}

int cdm_populate(struct cdm *cdm, void *addr, size_t length, __u32 flags,
		 struct hmm_cdm_populate *report)
{
	return cdm_call_populate(cdm->fd, addr, length, flags, report);
}

int cdm_migrate(struct cdm *cdm, void *addr, size_t length,
		enum hmm_cdm_target target, __u32 flags,
		struct hmm_cdm_migrate *report)
{
	return cdm_call_migrate(cdm->fd, addr, length, target, flags, report);
}

int cdm_advise(struct cdm *cdm, void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags)
{
	return cdm_call_advise(cdm->fd, addr, length, place, flags);
}

int cdm_query(struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *report)
{
	return cdm_call_query(cdm->fd, addr, length, pages, report);
}

int cdm_submit(struct cdm *cdm, __u32 op,
	       const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job)
{
	__u64 number;
	int err = cdm_call_submit(cdm->fd, op, args, &number);

	if (!err)
		*job = number;
	return err;
}

static __s64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int cdm_wait(struct cdm *cdm, __u64 job, __s64 timeout_ns,
	     struct hmm_cdm_wait *result)
{
	struct hmm_cdm_wait report;
	__s64 deadline = 0;
	int err;

	if (timeout_ns > 0 && __builtin_add_overflow(now(), timeout_ns, &deadline))
		deadline = INT64_MAX;
	/* A signal restarts the wait with the time that is left. */
	do {
		err = cdm_call_wait(cdm->fd, job, timeout_ns, &report);
		if (timeout_ns > 0)
			timeout_ns = deadline > now() ? deadline - now() : 0;
	} while (err == -EINTR);
	if (result)
		*result = report;
	return err ? err : report.status;
}

int cdm_stats(struct cdm *cdm, struct hmm_cdm_stats *stats)
{
	return cdm_call_stats(cdm->fd, stats);
}

// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hmmcdm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct cdm {
	int fd;
	struct hmm_cdm_info info;
};

static int call(const struct cdm *cdm, unsigned long command, void *arg)
{
	return ioctl(cdm->fd, command, arg) ? -errno : 0;
}

struct cdm *cdm_open(unsigned int node)
{
	struct cdm *cdm = malloc(sizeof(*cdm));
	char path[32];
	int err;

	if (!cdm)
		return NULL;
	snprintf(path, sizeof(path), "/dev/hmm_cdm%u", node);
	cdm->fd = open(path, O_RDWR | O_CLOEXEC);
	cdm->info = (struct hmm_cdm_info) { .size = sizeof(cdm->info) };
	if (cdm->fd >= 0 && !call(cdm, HMM_CDM_IOC_INFO, &cdm->info))
		return cdm;
	err = errno;
	if (cdm->fd >= 0)
		close(cdm->fd);
	free(cdm);
	errno = err;
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
	/* A whole window is contiguous only where it is aligned as one. */
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
	/* What gets no room on the node is system memory, which is no error. */
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
	struct hmm_cdm_populate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
	};
	int err = call(cdm, HMM_CDM_IOC_POPULATE, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_migrate(struct cdm *cdm, void *addr, size_t length,
		enum hmm_cdm_target target, __u32 flags,
		struct hmm_cdm_migrate *report)
{
	struct hmm_cdm_migrate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
		.target = target,
	};
	int err = call(cdm, HMM_CDM_IOC_MIGRATE, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_advise(struct cdm *cdm, void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags)
{
	struct hmm_cdm_advise arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uintptr_t)addr,
		.length = length,
		.place = place,
	};

	return call(cdm, HMM_CDM_IOC_ADVISE, &arg);
}

int cdm_query(struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *report)
{
	struct hmm_cdm_query arg = {
		.size = sizeof(arg),
		.addr = (uintptr_t)addr,
		.length = length,
		.pages = (uintptr_t)pages,
	};
	int err = call(cdm, HMM_CDM_IOC_QUERY, &arg);

	if (report)
		*report = arg;
	return err;
}

int cdm_submit(struct cdm *cdm, __u32 op,
	       const __u64 args[HMM_CDM_JOB_ARGS], __u64 *job)
{
	struct hmm_cdm_submit arg = { .size = sizeof(arg), .op = op };
	int err;

	for (int i = 0; i < HMM_CDM_JOB_ARGS; i++)
		arg.args[i] = args[i];
	err = call(cdm, HMM_CDM_IOC_SUBMIT, &arg);
	if (!err)
		*job = arg.job;
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
	__s64 until = timeout_ns > 0 ? now() + timeout_ns : 0;
	struct hmm_cdm_wait arg;
	int err;

	/* A signal does not end it, and does not make it longer. */
	do {
		arg = (struct hmm_cdm_wait) {
			.size = sizeof(arg),
			.job = job,
			.timeout_ns = timeout_ns,
		};
		err = call(cdm, HMM_CDM_IOC_WAIT, &arg);
		if (timeout_ns > 0)
			timeout_ns = until > now() ? until - now() : 0;
	} while (err == -EINTR);
	if (result)
		*result = arg;
	return err ? err : arg.status;
}

int cdm_stats(struct cdm *cdm, struct hmm_cdm_stats *stats)
{
	*stats = (struct hmm_cdm_stats) { .size = sizeof(*stats) };
	return call(cdm, HMM_CDM_IOC_STATS, stats);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The calls of the userspace interface; see cdm_calls.h. The ioctls are libhmmcdm's.
 */
#include "cdm_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <calls.h>

int cdm_ioctl(int fd, unsigned long command, void *arg)
{
	return cdm_call(fd, command, arg);
}

int cdm_info(int fd, struct hmm_cdm_info *out)
{
	return cdm_call_info(fd, out);
}

int cdm_open(struct cdm *cdm, unsigned int index)
{
	char path[32];
	int err;

	snprintf(path, sizeof(path), "/dev/hmm_cdm%u", index);
	cdm->fd = open(path, O_RDWR | O_CLOEXEC);
	if (cdm->fd < 0)
		return -errno;
	err = cdm_info(cdm->fd, &cdm->info);
	if (err) {
		cdm_close(cdm);
		return err;
	}
	cdm->page = cdm->info.page_size;
	cdm->window = cdm->info.window_size;
	return 0;
}

void cdm_close(struct cdm *cdm)
{
	if (cdm->fd >= 0)
		close(cdm->fd);
	cdm->fd = -1;
}

int cdm_stats(const struct cdm *cdm, struct hmm_cdm_stats *out)
{
	return cdm_call_stats(cdm->fd, out);
}

int cdm_migrate(const struct cdm *cdm, const void *addr, size_t length,
		enum hmm_cdm_target target, struct hmm_cdm_migrate *out)
{
	return cdm_call_migrate(cdm->fd, addr, length, target, 0, out);
}

__u64 cdm_migrate_sum(const struct hmm_cdm_migrate *m)
{
	__u64 sum = m->migrated + m->populated + m->present;

	for (int i = 0; i < HMM_CDM_SKIP_MAX; i++)
		sum += m->skipped[i];
	return sum;
}

int cdm_populate(const struct cdm *cdm, const void *addr, size_t length,
		 __u32 flags, struct hmm_cdm_populate *out)
{
	return cdm_call_populate(cdm->fd, addr, length, flags, out);
}

int cdm_advise(const struct cdm *cdm, const void *addr, size_t length,
	       enum hmm_cdm_place place, __u32 flags)
{
	return cdm_call_advise(cdm->fd, addr, length, place, flags);
}

int cdm_query(const struct cdm *cdm, const void *addr, size_t length,
	      struct hmm_cdm_page *pages, struct hmm_cdm_query *out)
{
	return cdm_call_query(cdm->fd, addr, length, pages, out);
}

int cdm_submit(const struct cdm *cdm, unsigned int op, const __u64 *args,
	       __u64 *job)
{
	return cdm_call_submit(cdm->fd, op, args, job);
}

int cdm_wait(const struct cdm *cdm, __u64 job, __s64 timeout_ms,
	     struct hmm_cdm_wait *wait)
{
	return cdm_call_wait(cdm->fd, job, timeout_ms * 1000000, wait);
}

__u64 cdm_free_pages(const struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	return cdm_stats(cdm, &stats) ? UINT64_MAX : stats.node_free;
}

__u64 cdm_free_settles(const struct cdm *cdm, __u64 pages)
{
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;
	__u64 seen;

	while ((seen = cdm_free_pages(cdm)) != pages &&
	       cdm_now_ms() < deadline)
		cdm_sleep_ms(5);
	return seen;
}

int cdm_run(const struct cdm *cdm, unsigned int op, const __u64 *args,
	    struct hmm_cdm_wait *wait)
{
	struct hmm_cdm_wait w;
	__u64 job;
	int err;

	if (wait)
		memset(wait, 0, sizeof(*wait));
	err = cdm_submit(cdm, op, args, &job);
	if (err)
		return err;
	err = cdm_wait(cdm, job, CDM_JOB_MS, &w);
	if (wait)
		*wait = w;
	return err ? err : w.status;
}

int cdm_run_fill(const struct cdm *cdm, void *addr, size_t length,
		 __u64 pattern, struct hmm_cdm_wait *wait)
{
	return cdm_run(cdm, CDM_EMU_FILL,
		       CDM_ARGS(CDM_ADDR(addr), length, pattern), wait);
}

int cdm_run_copy(const struct cdm *cdm, void *to, const void *from,
		 size_t length, struct hmm_cdm_wait *wait)
{
	return cdm_run(cdm, CDM_EMU_COPY,
		       CDM_ARGS(CDM_ADDR(to), CDM_ADDR(from), length), wait);
}

int cdm_run_sum(const struct cdm *cdm, const void *addr, size_t words,
		struct hmm_cdm_wait *wait)
{
	return cdm_run(cdm, CDM_EMU_REDUCE,
		       CDM_ARGS(CDM_ADDR(addr), words), wait);
}

int cdm_run_adds(const struct cdm *cdm, __u64 *word, __u64 value,
		 __u64 times, struct hmm_cdm_wait *wait)
{
	return cdm_run(cdm, CDM_EMU_FETCH_ADD,
		       CDM_ARGS(CDM_ADDR(word), value, times), wait);
}

int cdm_start_adds(const struct cdm *cdm, __u64 *word, __u64 times,
		   __u64 *job)
{
	return cdm_submit(cdm, CDM_EMU_FETCH_ADD,
			  CDM_ARGS(CDM_ADDR(word), 1, times), job);
}

bool cdm_rises_above(const __u64 *word, __u64 value)
{
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;

	while (__atomic_load_n(word, __ATOMIC_RELAXED) <= value) {
		if (cdm_now_ms() > deadline)
			return false;
		cdm_sleep_ms(1);
	}
	return true;
}

bool cdm_hash_4k(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	bool hash = false;
	char line[256];

	while (f && !hash && fgets(line, sizeof(line), f))
		hash = !strncmp(line, "MMU", 3) && strstr(line, "Hash");
	if (f)
		fclose(f);
	return hash && sysconf(_SC_PAGESIZE) == 4096;
}

__u64 cdm_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

void cdm_sleep_ms(unsigned int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

int cdm_reap(pid_t pid, unsigned int ms)
{
	__u64 deadline = cdm_now_ms() + ms;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (cdm_now_ms() > deadline) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		cdm_sleep_ms(2);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

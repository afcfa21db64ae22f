// SPDX-License-Identifier: GPL-2.0
/*
 * An execution unit hangs (CDM_EMU_HANG): its jobs end in bounded time, others
 * go on, no data is lost, and the device works afterwards, whether it is reset
 * or its driver reloaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(HANG)
/* Each reset takes as long as a hang takes to be noticed. */
#define TIMES			(CDM_PATIENCE > 1 ? 5 : 20)
#define QUEUED			8

/* timeout_ms= of the driver, and the limit for a reset, with slack. */
#define HANG_MS			(250 * CDM_PATIENCE)
#define LIMIT_MS		(HANG_MS * 3 / 2 + 1000 * CDM_PATIENCE)

/* Adds in one job of the other users: a few steps. */
#define ADDS			20000

FIXTURE(hang) {
	struct cdm_found found;
	struct cdm cdm;
	__u64 *mem;
	size_t length;
	int log;
};

/* Loads the driver as it was found, with more parameters. */
static int load(const struct cdm_found *found, const char *more)
{
	char params[sizeof(found->list) + 128];

	snprintf(params, sizeof(params), "%s%s %s",
		 found->list[0] ? "region=" : "", found->list, more);
	return cdm_insert(CDM_EMU, params);
}

static int load_impatient(const struct cdm_found *found)
{
	char param[32];

	snprintf(param, sizeof(param), "timeout_ms=%d", HANG_MS);
	return load(found, param);
}

FIXTURE_SETUP(hang)
{
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	ASSERT_EQ(0, load_impatient(&self->found));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = 2 * self->cdm.window;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	self->log = cdm_log_open();
	ASSERT_LE(0, self->log);
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(hang)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

static int start_hang(const struct cdm *cdm, __u64 *job)
{
	return cdm_submit(cdm, CDM_EMU_HANG, CDM_ARGS(0), job);
}

/* The status of a job that ends in time, or the error of the call. */
static int status_of(const struct cdm *cdm, __u64 job)
{
	struct hmm_cdm_wait wait;
	int err = cdm_wait(cdm, job, LIMIT_MS, &wait);

	return err ? err : wait.status;
}

static bool log_has_reset(int log, int number)
{
	char text[32], line[512];

	snprintf(text, sizeof(text), "; reset %d", number);
	return cdm_log_find(log, text, line, sizeof(line));
}

/* The CPU sees what the device adds to memory. */
static bool works(const struct cdm *cdm, __u64 *word)
{
	__u64 before = __atomic_load_n(word, __ATOMIC_RELAXED);

	return !cdm_run_adds(cdm, word, 3, 5, NULL) &&
	       __atomic_load_n(word, __ATOMIC_RELAXED) == before + 15;
}

TEST_F(hang, needs_privilege)
{
	__u64 job;

	ASSERT_EQ(0, setresuid(USER, USER, USER));
	EXPECT_EQ(-EPERM, start_hang(&self->cdm, &job));
	EXPECT_TRUE(works(&self->cdm, self->mem));
	EXPECT_FALSE(log_has_reset(self->log, 1));
}

TEST_F(hang, parameter)
{
	cdm_close(&self->cdm);
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_EQ(-EINVAL, load(&self->found, "timeout_ms=9"));
	EXPECT_EQ(-EINVAL, load(&self->found, "timeout_ms=60001"));
	EXPECT_EQ(0, load(&self->found, "timeout_ms=60000"));
}

TEST_F(hang, waiting_caller_is_told)
{
	struct pollfd event = { eventfd(0, EFD_CLOEXEC), POLLIN, 0 };
	struct hmm_cdm_submit submit = {
		.size = sizeof(submit),
		.flags = HMM_CDM_SUBMIT_EVENTFD,
		.op = CDM_EMU_HANG,
		.eventfd = event.fd,
	};
	__u64 start = cdm_now_ms();

	ASSERT_LE(0, event.fd);
	ASSERT_EQ(0, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_SUBMIT, &submit));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, submit.job, HANG_MS / 2,
				       NULL));
	EXPECT_EQ(0, poll(&event, 1, 0));
	EXPECT_EQ(-EIO, status_of(&self->cdm, submit.job));
	EXPECT_LE(start + HANG_MS, cdm_now_ms());
	EXPECT_GE(start + LIMIT_MS, cdm_now_ms());
	/* Waiters are woken before the reset is done. */
	EXPECT_EQ(1, poll(&event, 1, CDM_SETTLE_MS));
	EXPECT_TRUE(log_has_reset(self->log, 1));
	/* Through the same file, at once. */
	EXPECT_TRUE(works(&self->cdm, self->mem));
	close(event.fd);
}

/* Jobs behind the hanging one are not executed, and end with an error. */
TEST_F(hang, jobs_behind_it_end)
{
	__u64 hung, jobs[QUEUED];

	ASSERT_EQ(0, start_hang(&self->cdm, &hung));
	for (int i = 0; i < QUEUED; i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, self->mem, 1,
					    &jobs[i]));
	EXPECT_EQ(-EIO, status_of(&self->cdm, hung));
	for (int i = 0; i < QUEUED; i++)
		EXPECT_EQ(-EIO, status_of(&self->cdm, jobs[i]));
	EXPECT_EQ(0, self->mem[0]);
	EXPECT_TRUE(works(&self->cdm, self->mem));
}

/* Another user of the device. */
struct other {
	struct cdm cdm;
	__u64 *word;
	__u64 done;		/* jobs */
	bool stop;
	int err;		/* of SUBMIT, other than -EIO */
	int status;
};

static void *keep_adding(void *arg)
{
	struct other *other = arg;

	while (!__atomic_load_n(&other->stop, __ATOMIC_RELAXED)) {
		__u64 job;
		int err = cdm_start_adds(&other->cdm, other->word, ADDS, &job);

		/* During a reset. */
		if (err == -EIO)
			continue;
		if (err) {
			other->err = err;
			break;
		}
		other->status = status_of(&other->cdm, job);
		if (other->status)
			break;
		__atomic_add_fetch(&other->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Of the two units one goes on, and loses none of its work. */
TEST_F(hang, others_go_on)
{
	struct other other = { .word = self->mem };
	pthread_t thread;
	__u64 job;

	ASSERT_EQ(0, cdm_open(&other.cdm, 0));
	ASSERT_EQ(0, cdm_populate(&other.cdm, self->mem, self->length, 0,
				  NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_adding, &other));
	for (int i = 0; i < 4; i++) {
		__u64 before;

		EXPECT_TRUE(cdm_rises_above(self->mem, 0));
		ASSERT_EQ(0, start_hang(&self->cdm, &job));
		cdm_sleep_ms(HANG_MS / 8);
		before = __atomic_load_n(self->mem, __ATOMIC_RELAXED);
		EXPECT_TRUE(cdm_rises_above(self->mem, before));
		/* The hanging job has not ended yet. */
		EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 0, NULL));
		EXPECT_EQ(-EIO, status_of(&self->cdm, job));
		before = __atomic_load_n(&other.done, __ATOMIC_RELAXED);
		EXPECT_TRUE(cdm_rises_above(&other.done, before + 1));
	}
	__atomic_store_n(&other.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, other.err);
	EXPECT_EQ(0, other.status);
	EXPECT_EQ(other.done * ADDS, self->mem[0]);
	cdm_close(&other.cdm);
}

/* Both units hang; then jobs that wait for a unit get one. */
TEST_F(hang, both_units)
{
	struct cdm second, third;
	__u64 jobs[3];

	ASSERT_EQ(0, cdm_open(&second, 0));
	ASSERT_EQ(0, cdm_open(&third, 0));
	ASSERT_EQ(0, start_hang(&self->cdm, &jobs[0]));
	ASSERT_EQ(0, start_hang(&second, &jobs[1]));
	cdm_sleep_ms(HANG_MS / 8);
	ASSERT_EQ(0, cdm_start_adds(&third, self->mem, 7, &jobs[2]));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&third, jobs[2], HANG_MS / 4, NULL));
	EXPECT_EQ(0, __atomic_load_n(self->mem, __ATOMIC_RELAXED));
	EXPECT_EQ(-EIO, status_of(&self->cdm, jobs[0]));
	EXPECT_EQ(-EIO, status_of(&second, jobs[1]));
	EXPECT_EQ(0, status_of(&third, jobs[2]));
	EXPECT_EQ(7, self->mem[0]);
	EXPECT_TRUE(works(&self->cdm, self->mem));
	EXPECT_TRUE(works(&second, self->mem));
	cdm_close(&second);
	cdm_close(&third);
}

/* Pages of the range that the device has entries for. */
static ssize_t entries(const struct cdm *cdm, const void *mem, size_t length)
{
	size_t pages = length / cdm->page, found = 0;
	struct hmm_cdm_page *info = calloc(pages, sizeof(*info));
	int err = cdm_query(cdm, mem, length, info, NULL);

	for (size_t i = 0; i < pages; i++)
		found += info[i].device != 0;
	free(info);
	return err ? err : (ssize_t)found;
}

/*
 * One half written by the CPU, one by the device: after the reset both see the
 * same bytes in the same place. The device starts without entries.
 */
TEST_F(hang, data_is_intact)
{
	size_t half = self->length / 2, pages = self->length / self->cdm.page;
	char *mem = (char *)self->mem;
	__u64 *pfns = calloc(2 * pages, sizeof(*pfns));
	struct hmm_cdm_wait wait;
	__u64 job;

	ASSERT_NE(NULL, pfns);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, self->length, 0, NULL));
	cdm_fill(mem, half, SEED);
	ASSERT_EQ(0, cdm_run_copy(&self->cdm, mem + half, mem, half, NULL));
	ASSERT_EQ(pages, cdm_on_node(&self->cdm, mem, self->length));
	ASSERT_EQ(0, cdm_pfns(mem, self->length, pfns));
	EXPECT_EQ(pages, entries(&self->cdm, mem, self->length));

	ASSERT_EQ(0, start_hang(&self->cdm, &job));
	/* The memory is usable during the hang. */
	EXPECT_EQ(-1, cdm_check(mem + half, half, SEED));
	EXPECT_EQ(-EIO, status_of(&self->cdm, job));

	EXPECT_EQ(0, entries(&self->cdm, mem, self->length));
	EXPECT_EQ(-1, cdm_check(mem, half, SEED));
	EXPECT_EQ(-1, cdm_check(mem + half, half, SEED));
	ASSERT_EQ(0, cdm_pfns(mem, self->length, pfns + pages));
	EXPECT_EQ(0, memcmp(pfns, pfns + pages, pages * sizeof(*pfns)));
	EXPECT_EQ(0, cdm_run_sum(&self->cdm, mem, half / 8, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, half / 8), wait.result[0]);
	EXPECT_EQ(half, wait.bytes_local);
	EXPECT_LE(1, wait.faults);
	EXPECT_EQ(0, cdm_run_copy(&self->cdm, mem, mem + half, half, &wait));
	EXPECT_EQ(-1, cdm_check(mem, half, SEED));
	free(pfns);
}

/* Registers the range with a userfaultfd; returns it, or a negative errno. */
static int watch_faults(void *mem, size_t length)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { CDM_ADDR(mem), length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &range))
		return -errno;
	return fd;
}

/*
 * A device fault that waits for the process, longer than a step may take, is
 * not taken for a hang, while another file's job hangs.
 */
TEST_F(hang, fault_that_sleeps_is_none)
{
	int fd = watch_faults(self->mem, self->cdm.page);
	struct pollfd event = { fd, POLLIN, 0 };
	struct uffdio_zeropage answer = {
		.range = { CDM_ADDR(self->mem), self->cdm.page },
	};
	struct cdm other;
	__u64 job, hung;

	if (fd < 0)
		SKIP(return, "no userfaultfd: errno %d", -fd);
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, self->mem, 10, &job));
	ASSERT_EQ(1, poll(&event, 1, CDM_SETTLE_MS));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 3 * HANG_MS, NULL));
	EXPECT_FALSE(log_has_reset(self->log, 1));

	ASSERT_EQ(0, cdm_open(&other, 0));
	ASSERT_EQ(0, start_hang(&other, &hung));
	EXPECT_EQ(-EIO, status_of(&other, hung));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 0, NULL));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_ZEROPAGE, &answer));
	EXPECT_EQ(0, status_of(&self->cdm, job));
	EXPECT_EQ(10, self->mem[0]);
	cdm_close(&other);
	close(fd);
}

TEST_F_TIMEOUT(hang, many_in_a_row, 60)
{
	for (int i = 1; i <= TIMES; i++) {
		__u64 job;

		ASSERT_EQ(0, start_hang(&self->cdm, &job));
		ASSERT_EQ(-EIO, status_of(&self->cdm, job));
		ASSERT_TRUE(log_has_reset(self->log, i));
		ASSERT_TRUE(works(&self->cdm, self->mem));
	}
	EXPECT_EQ(TIMES * 15, self->mem[0]);
}

/* The driver can be unloaded, and works when loaded again. */
static void expect_rebind(struct __test_metadata *_metadata,
			  const struct cdm_found *found, struct cdm *cdm,
			  __u64 *word)
{
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	ASSERT_EQ(0, load_impatient(found));
	ASSERT_EQ(0, cdm_open(cdm, 0));
	EXPECT_EQ(cdm->info.capacity, cdm->info.free);
	EXPECT_TRUE(works(cdm, word));
}

/* close() waits for the reset, and no longer. */
TEST_F(hang, closed_and_unloaded)
{
	__u64 start, job;

	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  NULL));
	cdm_fill(self->mem, self->length, SEED);
	start = cdm_now_ms();
	ASSERT_EQ(0, start_hang(&self->cdm, &job));
	cdm_sleep_ms(HANG_MS / 8);
	cdm_close(&self->cdm);
	EXPECT_GE(start + LIMIT_MS, cdm_now_ms());
	EXPECT_TRUE(log_has_reset(self->log, 1));
	expect_rebind(_metadata, &self->found, &self->cdm, self->mem);
	/* All but the word that the job worked on. */
	self->mem[0] -= 15;
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_F(hang, killed)
{
	int ready[2];
	__u64 start;
	char byte;
	pid_t pid;

	cdm_close(&self->cdm);
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm cdm;
		__u64 job;

		if (cdm_open(&cdm, 0) ||
		    cdm_populate(&cdm, self->mem, self->length, 0, NULL) ||
		    start_hang(&cdm, &job) || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(cdm_wait(&cdm, job, -1, NULL) == 0);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	start = cdm_now_ms();
	cdm_sleep_ms(HANG_MS / 8);
	kill(pid, SIGKILL);
	EXPECT_EQ(-1, cdm_reap(pid, LIMIT_MS));
	EXPECT_GE(start + LIMIT_MS, cdm_now_ms());
	EXPECT_TRUE(log_has_reset(self->log, 1));
	expect_rebind(_metadata, &self->found, &self->cdm, self->mem);
	close(ready[0]);
	close(ready[1]);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_CDM_IOC_SUBMIT and HMM_CDM_IOC_WAIT: jobs run in the background, side by
 * side, end once, and report it in every requested way.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/time.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(JOB)
#define QUEUED			200
#define PROCESSES		4
#define FILES			8

/* The most jobs of a file whose results have not been collected. */
#define MAX_JOBS		1024

FIXTURE(job) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	struct hmm_cdm_wait wait;
	__u64 job;
};

FIXTURE_SETUP(job)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = 4 * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, self->length);
}

FIXTURE_TEARDOWN(job)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

static int submit_with_event(const struct cdm *cdm, unsigned int op,
			     const __u64 *args, int event, __u64 *job)
{
	struct hmm_cdm_submit s = {
		.size = sizeof(s),
		.flags = HMM_CDM_SUBMIT_EVENTFD,
		.op = op,
		.eventfd = event,
	};
	int err;

	memcpy(s.args, args, sizeof(s.args));
	err = cdm_ioctl(cdm->fd, HMM_CDM_IOC_SUBMIT, &s);
	*job = s.job;
	return err;
}

TEST_F(job, waited_for_once)
{
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 10,
				    &self->job));
	ASSERT_EQ(0, cdm_wait(&self->cdm, self->job, -1, &self->wait));
	EXPECT_EQ(0, self->wait.status);
	EXPECT_EQ(9, self->wait.result[0]);
	EXPECT_EQ(-ENOENT, cdm_wait(&self->cdm, self->job, 0, NULL));
	EXPECT_EQ(-ENOENT, cdm_wait(&self->cdm, self->job, -1, NULL));
	EXPECT_EQ(-ENOENT, cdm_wait(&self->cdm, self->job + 1, -1, NULL));
	EXPECT_EQ(-ENOENT, cdm_wait(&self->cdm, ~0ULL, 0, NULL));
}

/* A job's number is unknown in another file. */
TEST_F(job, known_to_its_file)
{
	struct cdm other;

	ASSERT_EQ(0, cdm_open(&other, 0));
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 10,
				    &self->job));
	EXPECT_EQ(-ENOENT, cdm_wait(&other, self->job, 0, NULL));
	cdm_close(&other);
	EXPECT_EQ(0, cdm_wait(&self->cdm, self->job, CDM_JOB_MS, NULL));
}

TEST_F(job, times_out)
{
	__u64 before;

	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem,
				    CDM_FOREVER, &self->job));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, self->job, 0, NULL));
	before = cdm_now_ms();
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, self->job, 50, NULL));
	EXPECT_LE(before + 49, cdm_now_ms());
	/* The job goes on, and can be waited for. */
	ASSERT_EQ(0, munmap(self->mem, self->length));
	ASSERT_EQ(0, cdm_wait(&self->cdm, self->job, CDM_JOB_MS, &self->wait));
	EXPECT_EQ(-EFAULT, self->wait.status);
}

/* The largest timeout, and the most negative one: both are infinite. */
TEST_F(job, waited_for_long)
{
	const __s64 timeouts[] = { INT64_MAX, INT64_MIN, -1, INT64_MAX - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
		struct hmm_cdm_wait wait = {
			.size = sizeof(wait),
			.timeout_ns = timeouts[i],
		};

		ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem,
					    50000, &wait.job));
		EXPECT_EQ(0, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_WAIT, &wait));
		EXPECT_EQ(0, wait.status);
	}
	EXPECT_EQ(50000 * ARRAY_SIZE(timeouts), *(__u64 *)self->mem);
}

static void nothing(int signal)
{
	(void)signal;
}

TEST_F(job, interrupted)
{
	struct sigaction action = { .sa_handler = nothing };
	/* Periodic, as the first signal may come before the wait. */
	struct itimerval timer = { { 0, 50000 }, { 0, 50000 } };
	const struct itimerval off = {};

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem,
				    CDM_FOREVER, &self->job));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	EXPECT_EQ(-EINTR, cdm_wait(&self->cdm, self->job, -1, NULL));
	EXPECT_EQ(-EINTR, cdm_wait(&self->cdm, self->job, CDM_JOB_MS, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &off, NULL));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	ASSERT_EQ(0, cdm_wait(&self->cdm, self->job, CDM_JOB_MS, &self->wait));
	EXPECT_EQ(-EFAULT, self->wait.status);
}

TEST_F(job, event)
{
	struct pollfd event = { eventfd(0, EFD_CLOEXEC), POLLIN, 0 };
	__u64 value;

	ASSERT_LE(0, event.fd);
	ASSERT_EQ(0, submit_with_event(&self->cdm, CDM_EMU_FETCH_ADD,
				       CDM_ARGS(CDM_ADDR(self->mem), 1,
						CDM_FOREVER),
				       event.fd, &self->job));
	EXPECT_EQ(0, poll(&event, 1, 50));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	ASSERT_EQ(1, poll(&event, 1, CDM_JOB_MS));
	ASSERT_EQ(sizeof(value), read(event.fd, &value, sizeof(value)));
	EXPECT_EQ(1, value);
	/* The job has ended: WAIT returns at once. */
	EXPECT_EQ(0, cdm_wait(&self->cdm, self->job, 0, &self->wait));
	EXPECT_EQ(-EFAULT, self->wait.status);
	close(event.fd);
}

/*
 * One eventfd counts the ends of several jobs, although its descriptor is
 * closed.
 */
/* A job that is refused is none, and has no event. */
TEST_F(job, no_event_of_refused)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const __u64 *args = CDM_ARGS(CDM_ADDR(self->mem), 1, 1);
	__u64 count;

	ASSERT_LE(0, event);
	EXPECT_EQ(-EINVAL, submit_with_event(&self->cdm, ~0u, args, event,
					     &self->job));
	args = CDM_ARGS(CDM_ADDR(self->mem) + 1, 1, 1);
	EXPECT_EQ(-EINVAL, submit_with_event(&self->cdm, CDM_EMU_FETCH_ADD,
					     args, event, &self->job));
	EXPECT_EQ(-1, read(event, &count, sizeof(count)));
	EXPECT_EQ(EAGAIN, errno);
	close(event);
}

TEST_F(job, events_add_up)
{
	int event = eventfd(0, EFD_CLOEXEC), dup_event = dup(event);
	__u64 jobs[10], value = 0, sum = 0;

	ASSERT_LE(0, event);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, submit_with_event(&self->cdm, CDM_EMU_FETCH_ADD,
					       CDM_ARGS(CDM_ADDR(self->mem), 1,
							100),
					       event, &jobs[i]));
	close(event);
	while (sum < ARRAY_SIZE(jobs)) {
		struct pollfd poll_event = { dup_event, POLLIN, 0 };

		ASSERT_EQ(1, poll(&poll_event, 1, CDM_JOB_MS));
		ASSERT_EQ(sizeof(value), read(dup_event, &value,
					      sizeof(value)));
		sum += value;
	}
	EXPECT_EQ(ARRAY_SIZE(jobs), sum);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		EXPECT_EQ(0, cdm_wait(&self->cdm, jobs[i], 0, NULL));
	EXPECT_EQ(100 * ARRAY_SIZE(jobs), *(__u64 *)self->mem);
	close(dup_event);
}

/* Many jobs at once, each with its own result, waited for in reverse order. */
TEST_F(job, many_queued)
{
	__u64 *words = (__u64 *)self->mem;
	struct hmm_cdm_stats stats;
	__u64 jobs[QUEUED];

	for (int i = 0; i < QUEUED; i++) {
		words[i] = i;
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, &words[i], i + 1,
					    &jobs[i]));
	}
	for (int i = QUEUED - 1; i >= 0; i--) {
		ASSERT_EQ(0, cdm_wait(&self->cdm, jobs[i], CDM_JOB_MS,
				      &self->wait));
		EXPECT_EQ(0, self->wait.status);
		EXPECT_EQ(2 * i, self->wait.result[0]);
		EXPECT_EQ(2 * i + 1, words[i]);
	}
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(QUEUED, stats.jobs);
}

/* A file may have MAX_JOBS jobs; those waited for no longer count. */
TEST_F(job, too_many)
{
	__u64 jobs[MAX_JOBS];

	for (int i = 0; i < MAX_JOBS; i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 1,
					    &jobs[i]));
	EXPECT_EQ(-EAGAIN, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 1,
					  &self->job));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_wait(&self->cdm, jobs[i], CDM_JOB_MS, NULL));
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 1,
					    &jobs[i]));
		EXPECT_EQ(-EAGAIN, cdm_start_adds(&self->cdm,
						  (__u64 *)self->mem, 1,
						  &self->job));
	}
	for (int i = 0; i < MAX_JOBS; i++)
		ASSERT_EQ(0, cdm_wait(&self->cdm, jobs[i], CDM_JOB_MS, NULL));
	EXPECT_EQ(MAX_JOBS + 2, *(__u64 *)self->mem);
}

/* One or two endless jobs do not keep others from running. */
TEST_F(job, side_by_side)
{
	__u64 *words = (__u64 *)self->mem;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, &words[i], CDM_FOREVER,
					    &self->job));
	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(cdm_rises_above(&words[i], 1000));
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->mem + self->page,
				  self->page, 7, NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem + self->page, self->page, 7));
}

/* Closing the file ends its jobs, running or queued. */
TEST_F(job, closed)
{
	__u64 *words = (__u64 *)self->mem;
	__u64 seen[8];

	for (int i = 0; i < 8; i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm, &words[i], CDM_FOREVER,
					    &self->job));
	ASSERT_TRUE(cdm_rises_above(&words[0], 1000));
	cdm_close(&self->cdm);
	memcpy(seen, words, sizeof(seen));
	cdm_sleep_ms(100);
	EXPECT_EQ(0, memcmp(seen, words, sizeof(seen)));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	EXPECT_EQ(0, cdm_run_adds(&self->cdm, words, 1, 10, NULL));
	EXPECT_EQ(seen[0] + 10, words[0]);
}

struct waiter {
	pthread_t thread;
	const struct cdm *cdm;
	__u64 job;
	int err;
};

static void *wait_in_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->err = cdm_wait(waiter->cdm, waiter->job, CDM_JOB_MS, NULL);
	return NULL;
}

/* Of several waiting threads one gets the result, the others ENOENT. */
/*
 * More files with a job than the device has units, closed while others wait for
 * theirs: none loses its turn.
 */
TEST_F_TIMEOUT(job, closed_while_others_wait, 60)
{
	struct cdm files[FILES];
	__u64 *words = (__u64 *)self->mem;

	for (int i = 0; i < FILES; i++)
		ASSERT_EQ(0, cdm_open(&files[i], 0));
	for (int i = 0; i < FILES; i++)
		ASSERT_EQ(0, cdm_start_adds(&files[i], words + 8 * i,
					    CDM_FOREVER, &self->job));
	for (int round = 0; round < 4 * FILES; round++) {
		struct cdm *file = &files[round * 5 % FILES];

		cdm_close(file);
		ASSERT_EQ(0, cdm_open(file, 0));
		ASSERT_EQ(0, cdm_start_adds(file, words + 8 * (file - files),
					    CDM_FOREVER, &self->job));
	}
	for (int i = 0; i < FILES; i++) {
		__u64 now = __atomic_load_n(words + 8 * i, __ATOMIC_RELAXED);

		EXPECT_TRUE(cdm_rises_above(words + 8 * i, now));
	}
	for (int i = 0; i < FILES; i++)
		cdm_close(&files[i]);
}

TEST_F(job, several_waiters)
{
	struct waiter waiters[4];
	int got = 0;

	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem,
				    CDM_FOREVER, &self->job));
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		waiters[i].cdm = &self->cdm;
		waiters[i].job = self->job;
		ASSERT_EQ(0, pthread_create(&waiters[i].thread, NULL,
					    wait_in_thread, &waiters[i]));
	}
	cdm_sleep_ms(50);
	ASSERT_EQ(0, munmap(self->mem, self->length));
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		pthread_join(waiters[i].thread, NULL);
		got += waiters[i].err == 0;
		EXPECT_TRUE(waiters[i].err == 0 || waiters[i].err == -ENOENT);
	}
	EXPECT_EQ(1, got);
}

/*
 * All processes use the same address, each with its own memory; one has a hole.
 */
static int process(const struct cdm *parent, char *mem, size_t length, int nr)
{
	const __u64 times = 20000;
	struct hmm_cdm_wait wait;
	struct cdm cdm;
	int status;

	if (cdm_open(&cdm, parent->info.index))
		return 1;
	cdm_fill(mem, length, SEED + nr);
	if (nr == 0 && munmap(mem + cdm.page, cdm.page))
		return 2;
	for (int i = 0; i < 10; i++) {
		status = cdm_run_sum(&cdm, mem, length / 8, &wait);
		if (nr == 0 && (status != -EFAULT ||
				wait.fault_addr != CDM_ADDR(mem + cdm.page)))
			return 3;
		if (nr && (status || wait.result[0] !=
				     cdm_word_sum(SEED + nr, length / 8)))
			return 4;
	}
	*(__u64 *)mem = nr;
	if (cdm_run_adds(&cdm, (__u64 *)mem, 1, times, NULL))
		return 5;
	return *(__u64 *)mem == nr + times ? 0 : 6;
}

TEST_F(job, several_processes)
{
	pid_t pids[PROCESSES];

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i])
			_exit(process(&self->cdm, self->mem, self->length, i));
	}
	/* The parent's memory is unaffected. */
	EXPECT_EQ(0, cdm_run_adds(&self->cdm, (__u64 *)self->mem, 1, 20000,
				  NULL));
	for (int i = 0; i < PROCESSES; i++)
		EXPECT_EQ(0, cdm_reap(pids[i], CDM_JOB_MS));
	EXPECT_EQ(20000, *(__u64 *)self->mem);
}

/* Closing the file under a job signals the job's eventfd. */
TEST_F(job, event_of_cancelled)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	__u64 args[HMM_CDM_JOB_ARGS] = { CDM_ADDR(self->mem), 1, CDM_FOREVER };
	struct hmm_cdm_submit submit = {
		.size = sizeof(submit),
		.flags = HMM_CDM_SUBMIT_EVENTFD,
		.op = CDM_EMU_FETCH_ADD,
		.eventfd = event,
	};
	struct pollfd poller = { event, POLLIN, 0 };
	__u64 count = 0;

	ASSERT_LE(0, event);
	memcpy(submit.args, args, sizeof(submit.args));
	/* Some run, others are still queued. */
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(0, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_SUBMIT,
				       &submit));
	ASSERT_TRUE(cdm_rises_above((__u64 *)self->mem, 100));
	EXPECT_EQ(0, poll(&poller, 1, 0));
	cdm_close(&self->cdm);
	EXPECT_EQ(1, poll(&poller, 1, CDM_SETTLE_MS));
	EXPECT_EQ((ssize_t)sizeof(count), read(event, &count, sizeof(count)));
	EXPECT_EQ(8, count);
	close(event);
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
}

struct spinner {
	__u64 word;	/* 0: free, 1: taken by the CPU, 2: by the device */
	__u64 broken;
	bool stop;
};

/* Takes and releases the word continuously. */
static void *take_word(void *arg)
{
	struct spinner *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		if (!__sync_bool_compare_and_swap(&s->word, 0, 1))
			continue;
		for (int i = 0; i < 20; i++)
			s->broken += __atomic_load_n(&s->word,
						     __ATOMIC_RELAXED) != 1;
		s->broken += !__sync_bool_compare_and_swap(&s->word, 1, 0);
	}
	return NULL;
}

/* A lock that CPU and device take by CAS has one owner at a time. */
TEST_F_TIMEOUT(job, compare_and_swap_is_atomic, 60)
{
	struct spinner *s = (void *)self->mem;
	struct hmm_cdm_wait wait;
	__u64 taken = 0, kept = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, take_word, s));
	for (int i = 0; i < 3000; i++) {
		ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_CAS,
				     CDM_ARGS(CDM_ADDR(&s->word), 0, 2),
				     &wait));
		if (wait.result[0] != 0)
			continue;
		taken++;
		kept += __sync_bool_compare_and_swap(&s->word, 2, 0);
	}
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_LT(0, taken);
	EXPECT_EQ(taken, kept);
	EXPECT_EQ(0, s->broken);
}

/* Source and destination of a copy must not overlap. */
TEST_F(job, copy_overlapping)
{
	char *mem = self->mem;

	EXPECT_EQ(-EINVAL, cdm_run_copy(&self->cdm, mem, mem, 64, NULL));
	EXPECT_EQ(-EINVAL, cdm_run_copy(&self->cdm, mem, mem + 63, 64, NULL));
	EXPECT_EQ(-EINVAL, cdm_run_copy(&self->cdm, mem + 63, mem, 64, NULL));
	EXPECT_EQ(0, cdm_run_copy(&self->cdm, mem, mem + 64, 64, NULL));
	EXPECT_EQ(0, cdm_run_copy(&self->cdm, mem + 64, mem, 64, NULL));
}

/*
 * A result that could not be written is kept: the job can be waited for again.
 */
TEST_F(job, wait_not_written)
{
	struct hmm_cdm_wait *wait = (void *)(self->mem + self->page);
	__u64 job;

	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 7, &job));
	*wait = (struct hmm_cdm_wait){
		.size = sizeof(*wait), .job = job, .timeout_ns = -1,
	};
	ASSERT_EQ(0, mprotect(wait, self->page, PROT_READ));
	EXPECT_EQ(-EFAULT, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_WAIT, wait));
	EXPECT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, NULL));
	EXPECT_EQ(7, *(__u64 *)self->mem);
}

/*
 * A job whose number could not be written is not started, and does not count.
 */
TEST_F(job, submit_not_written)
{
	struct hmm_cdm_submit *submit = (void *)(self->mem + self->page);

	*submit = (struct hmm_cdm_submit){
		.size = sizeof(*submit), .op = CDM_EMU_FETCH_ADD,
		.args = { CDM_ADDR(self->mem), 1, 1 },
	};
	ASSERT_EQ(0, mprotect(submit, self->page, PROT_READ));
	for (int i = 0; i < 5000; i++)
		ASSERT_EQ(-EFAULT, cdm_ioctl(self->cdm.fd,
					     HMM_CDM_IOC_SUBMIT, submit));
	EXPECT_EQ(0, cdm_run_adds(&self->cdm, (__u64 *)self->mem, 1, 1, NULL));
	EXPECT_EQ(1, *(__u64 *)self->mem);
}

TEST_HARNESS_MAIN

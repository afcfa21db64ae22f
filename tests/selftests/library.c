// SPDX-License-Identifier: GPL-2.0
/*
 * libhmmcdm through its header alone: the effect of each function.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <hmmcdm.h>

FIXTURE(library) {
	struct cdm *cdm;
	size_t page;
	size_t window;
	size_t length;
	__u64 *mem;
	__u64 free;
};

static __u64 free_pages(struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	return cdm_stats(cdm, &stats) ? ~0ULL : stats.node_free;
}

static __u64 on_node(struct cdm *cdm, const void *mem, size_t length)
{
	struct hmm_cdm_query q;

	return cdm_query(cdm, mem, length, NULL, &q) ?
	       ~0ULL : q.where[HMM_CDM_WHERE_NODE];
}

FIXTURE_SETUP(library)
{
	self->cdm = cdm_open(0);
	ASSERT_NE(NULL, self->cdm);
	self->page = cdm_info(self->cdm)->page_size;
	self->window = cdm_info(self->cdm)->window_size;
	ASSERT_EQ((size_t)sysconf(_SC_PAGESIZE), self->page);
	self->free = free_pages(self->cdm);
	self->length = 2 * self->window;
	self->mem = cdm_alloc(self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(library)
{
	cdm_free(self->cdm, self->mem, self->length);
	/* Pages in a CPU's batch are freed a moment later. */
	for (int i = 0; i < 100 && free_pages(self->cdm) != self->free; i++)
		usleep(20000);
	EXPECT_EQ(self->free, free_pages(self->cdm));
	cdm_close(self->cdm);
}

TEST_F(library, memory_is_on_the_node)
{
	size_t nr = self->length / self->page;
	struct hmm_cdm_page pages[2];
	struct hmm_cdm_stats stats;
	char *odd;

	EXPECT_EQ(0, (uintptr_t)self->mem % self->window);
	EXPECT_EQ(nr, on_node(self->cdm, self->mem, self->length));
	EXPECT_EQ(self->free - nr, free_pages(self->cdm));
	for (size_t i = 0; i < self->length / 8; i++)
		ASSERT_EQ(0, self->mem[i]);
	ASSERT_EQ(0, cdm_query(self->cdm, self->mem, 2 * self->page, pages,
			       NULL));
	EXPECT_EQ(HMM_CDM_WHERE_NODE, pages[1].where);
	ASSERT_EQ(0, cdm_stats(self->cdm, &stats));
	EXPECT_EQ(0, stats.bytes_copied);
	EXPECT_EQ(nr, stats.populated);

	/* Sizes may be any number of bytes. */
	odd = cdm_alloc(self->cdm, self->page + 1);
	ASSERT_NE(NULL, odd);
	EXPECT_EQ(2, on_node(self->cdm, odd, 2 * self->page));
	cdm_free(self->cdm, odd, self->page + 1);
	cdm_free(self->cdm, NULL, 7);
	EXPECT_EQ(NULL, cdm_alloc(self->cdm, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, cdm_alloc(self->cdm, ~(size_t)0));
	EXPECT_EQ(ENOMEM, errno);
}

TEST_F(library, moves_there_and_back)
{
	size_t nr = self->length / self->page;
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;

	memset(self->mem, 7, self->length);
	ASSERT_EQ(0, cdm_migrate(self->cdm, self->mem, self->length,
				 HMM_CDM_TARGET_SYSTEM, 0, &m));
	EXPECT_EQ(nr, m.migrated);
	EXPECT_EQ(0, on_node(self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_populate(self->cdm, self->mem, self->length, 0, &p));
	EXPECT_EQ(nr, p.stayed);
	ASSERT_EQ(0, cdm_populate(self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &p));
	EXPECT_EQ(nr, p.migrated);
	EXPECT_EQ(-EINVAL, cdm_migrate(self->cdm, (char *)self->mem + 1,
				       self->page, HMM_CDM_TARGET_NODE, 0,
				       NULL));
	EXPECT_EQ(-EINVAL, cdm_populate(self->cdm, self->mem, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, cdm_query(self->cdm, self->mem, 3, NULL, NULL));
	for (size_t i = 0; i < self->length; i++)
		ASSERT_EQ(7, ((char *)self->mem)[i]);
}

TEST_F(library, jobs)
{
	const __u64 fill[8] = { (uintptr_t)self->mem, self->length, 5 };
	const __u64 sum[8] = { (uintptr_t)self->mem, self->length / 8 };
	const __u64 beyond[8] = { 8, 8 };
	struct hmm_cdm_wait w;
	__u64 job;

	/* Untouched and advised: the device touches it first. */
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_advise(self->cdm, self->mem, self->length,
				HMM_CDM_PLACE_NODE, 0));
	EXPECT_EQ(-EINVAL, cdm_advise(self->cdm, self->mem, self->length,
				      HMM_CDM_PLACE_NONE, ~0U));
	ASSERT_EQ(0, cdm_submit(self->cdm, CDM_EMU_FILL, fill, &job));
	ASSERT_EQ(0, cdm_wait(self->cdm, job, -1, &w));
	EXPECT_EQ(self->length, w.bytes_local);
	EXPECT_EQ(-ENOENT, cdm_wait(self->cdm, job, -1, NULL));
	ASSERT_EQ(0, cdm_submit(self->cdm, CDM_EMU_REDUCE, sum, &job));
	ASSERT_EQ(0, cdm_wait(self->cdm, job, 100000000000, &w));
	EXPECT_EQ(5 * self->length / 8, w.result[0]);
	ASSERT_EQ(0, cdm_submit(self->cdm, CDM_EMU_REDUCE, beyond, &job));
	EXPECT_EQ(-EFAULT, cdm_wait(self->cdm, job, -1, &w));
	EXPECT_EQ(8, w.fault_addr);
	EXPECT_EQ(-EINVAL, cdm_submit(self->cdm, ~0U, sum, &job));
}

TEST_F(library, waits_no_longer_than_asked)
{
	const __u64 adds[8] = { (uintptr_t)self->mem, 1, ~0ULL >> 2 };
	struct hmm_cdm_wait w;
	__u64 job;

	ASSERT_EQ(0, cdm_submit(self->cdm, CDM_EMU_FETCH_ADD, adds, &job));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(self->cdm, job, 50000000, &w));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(self->cdm, job, 0, NULL));
}

static int alarms;

/* Ends the timer after 400 signals, 2 s: a wait that restarts its timeout ends only then. */
static void count_alarm(int signal)
{
	const struct itimerval off = {};

	(void)signal;
	if (__atomic_add_fetch(&alarms, 1, __ATOMIC_RELAXED) == 400)
		setitimer(ITIMER_REAL, &off, NULL);
}

TEST_F(library, signals_do_not_prolong_a_wait)
{
	const __u64 adds[8] = { (uintptr_t)self->mem, 1, ~0ULL >> 2 };
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, off = {};
	const struct sigaction action = { .sa_handler = count_alarm };
	struct hmm_cdm_wait w;
	int err, seen;
	__u64 job;

	ASSERT_EQ(0, cdm_submit(self->cdm, CDM_EMU_FETCH_ADD, adds, &job));
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	err = cdm_wait(self->cdm, job, 100000000, &w);
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, SIG_DFL);
	EXPECT_EQ(-ETIMEDOUT, err);
	seen = __atomic_load_n(&alarms, __ATOMIC_RELAXED);
	EXPECT_LT(0, seen);
	EXPECT_GT(400, seen);
	/* The sum of the current time and this timeout overflows. */
	EXPECT_EQ(-ENOENT, cdm_wait(self->cdm, ~job, INT64_MAX, NULL));
}

TEST_F(library, a_full_node_is_no_error)
{
	struct cdm *small = cdm_open(1);
	size_t capacity, more = 4 * self->window;
	char *mem;

	ASSERT_NE(NULL, small);
	capacity = cdm_info(small)->capacity;
	mem = cdm_alloc(small, capacity + more);
	ASSERT_NE(NULL, mem);
	EXPECT_EQ(capacity / self->page, on_node(small, mem, capacity + more));
	mem[capacity + more - 1] = 3;
	EXPECT_EQ(3, mem[capacity + more - 1]);
	cdm_free(small, mem, capacity + more);
	cdm_close(small);
}

TEST(what_is_not_there)
{
	struct cdm *cdm;
	int status;
	pid_t pid;

	EXPECT_EQ(NULL, cdm_open(99));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(NULL, cdm_open_path("/dev/null"));
	EXPECT_EQ(ENOTTY, errno);
	cdm_close(NULL);
	cdm = cdm_open_path("/dev/hmm_cdm0");
	ASSERT_NE(NULL, cdm);
	pid = fork();
	if (!pid) {
		struct hmm_cdm_stats stats;

		_exit(-cdm_stats(cdm, &stats));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
	cdm_close(cdm);
}

TEST_HARNESS_MAIN

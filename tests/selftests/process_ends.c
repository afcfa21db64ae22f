// SPDX-License-Identifier: GPL-2.0
/*
 * A process with memory on the node ends or changes: exit and SIGKILL with many
 * threads, exec, vfork(2), shared address spaces. All pages of the node are
 * free afterwards, whatever went on.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(PROCESS_ENDS)
#define PAGES			16
#define STACK			65536
#define THREADS			6
#define TIMES			100

/* A process that is to be ended: its state, and its sign of life. */
struct victim {
	struct cdm cdm;
	char *mem;
	size_t length;
	atomic_int *working;	/* shared with the parent */
};

FIXTURE(ends) {
	struct cdm cdm;
	__u64 free;
	char *mem;
	size_t length;
	atomic_int *shared;
};

FIXTURE_SETUP(ends)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	self->shared = mmap(NULL, self->cdm.page, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
}

FIXTURE_TEARDOWN(ends)
{
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* Bodies of the threads. */
static void *move_about(void *arg)
{
	struct victim *v = arg;

	for (int target = NODE;; target = SYSTEM - target) {
		cdm_migrate(&v->cdm, v->mem, v->length, target, NULL);
		atomic_fetch_add(v->working, 1);
	}
	return NULL;
}

static void *compute(void *arg)
{
	struct victim *v = arg;

	for (;;)
		cdm_run_fill(&v->cdm, v->mem, v->length, 3, NULL);
	return NULL;
}

static void *touch(void *arg)
{
	struct victim *v = arg;

	for (__u64 seed = 0;; seed++) {
		cdm_fill(v->mem, v->length, seed);
		madvise(v->mem + v->length / 2, v->length / 4, MADV_DONTNEED);
	}
	return NULL;
}

static void *(*const jobs[])(void *) = { move_about, compute, touch };

/* Starts all threads in this process, which the caller then ends. */
static struct victim *become_victim(atomic_int *working, size_t threads)
{
	static struct victim v;
	pthread_t thread;

	v.working = working;
	if (cdm_open(&v.cdm, 0))
		_exit(101);
	v.length = PAGES * v.cdm.page;
	v.mem = cdm_map(&v.cdm, v.length);
	if (!v.mem)
		_exit(102);
	cdm_fill(v.mem, v.length, SEED);
	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, jobs[i % ARRAY_SIZE(jobs)],
				   &v))
			_exit(103);
	return &v;
}

/* Waits for @nr migrations, so that another one is under way. */
static bool works(atomic_int *working, int nr)
{
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;

	while (atomic_load(working) < nr) {
		if (cdm_now_ms() > deadline)
			return false;
		sched_yield();
	}
	return true;
}

/* SIGKILL for the whole thread group at any moment. */
TEST_F_TIMEOUT(ends, killed, 60)
{
	int early = 0;

	for (int i = 0; i < TIMES; i++) {
		pid_t pid;

		atomic_store(self->shared, 0);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			cdm_close(&self->cdm);
			become_victim(self->shared, i % 10 ? 2 : THREADS);
			pause();
			_exit(0);
		}
		/* Sometimes before it has started. */
		if (i % 5)
			ASSERT_TRUE(works(self->shared, 1 + i % 2));
		early += i % 5 == 0;
		kill(pid, SIGKILL);
		ASSERT_EQ(-1, cdm_reap(pid, CDM_JOB_MS));
	}
	EXPECT_EQ(TIMES / 5, early);
}

/* The process exits while its threads work. */
TEST_F_TIMEOUT(ends, exits, 60)
{
	for (int i = 0; i < TIMES / 8; i++) {
		pid_t pid;

		atomic_store(self->shared, 0);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			cdm_close(&self->cdm);
			become_victim(self->shared, 3);
			if (!works(self->shared, 1))
				_exit(1);
			/* pthread_exit() of the first thread ends no other. */
			if (i % 2)
				_exit(0);
			syscall(SYS_exit_group, 0);
		}
		ASSERT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	}
}

/* A thread that moves memory once, and exits or is interrupted. */
static void *move_once(void *arg)
{
	struct victim *v = arg;

	cdm_migrate(&v->cdm, v->mem, v->length,
		    atomic_fetch_add(v->working, 1) % 2 ? SYSTEM : NODE, NULL);
	return NULL;
}

/* Threads come and go with their migrations; the process stays. */
TEST_F(ends, threads_exit)
{
	struct victim v = {
		.cdm = self->cdm,
		.mem = self->mem,
		.length = self->length,
		.working = self->shared,
	};
	pthread_t threads[THREADS];

	cdm_fill(self->mem, self->length, SEED);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < THREADS; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL,
						    move_once, &v));
		for (int i = 0; i < THREADS; i++)
			ASSERT_EQ(0, pthread_join(threads[i], NULL));
		ASSERT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	}
	/* Any signal ends a migration; its thread goes on. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 2,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 2));
}

/* Another process in its parent's address space. */
struct sharer {
	struct _test_data_ends *self;
	atomic_int go;
	atomic_int seen;
	int info;
	int job;
	int migrate;
	int opened;
	size_t moved;
	bool kill;	/* kill it while it moves memory */
};

static int share(void *arg)
{
	struct sharer *s = arg;
	struct _test_data_ends *self = s->self;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_info info;
	struct cdm own;

	while (!atomic_load(&s->go))
		sched_yield();
	/* The file serves the address space, which this process shares. */
	s->info = cdm_info(self->cdm.fd, &info);
	s->job = cdm_run_fill(&self->cdm, self->mem, self->length, 6, NULL);
	s->migrate = cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m);
	s->moved = m.migrated;
	s->opened = cdm_open(&own, 0);
	atomic_store(&s->seen, 1);
	while (s->kill) {
		cdm_migrate(&own, self->mem, self->length, SYSTEM, NULL);
		cdm_migrate(&own, self->mem, self->length, NODE, NULL);
		atomic_fetch_add(&s->seen, 1);
	}
	cdm_close(&own);
	return 0;
}

/* CLONE_VM without CLONE_THREAD: two processes share an address space. */
TEST_F(ends, shared_address_space)
{
	struct sharer s = { .self = self, .kill = true };
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	ASSERT_NE(MAP_FAILED, stack);
	cdm_fill(self->mem, self->length, SEED);
	for (int i = 0; i < 2; i++) {
		s.kill = !i;
		atomic_store(&s.go, 0);
		atomic_store(&s.seen, 0);
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, NULL));
		pid = clone(share, stack + STACK, CLONE_VM | SIGCHLD, &s);
		ASSERT_LE(0, pid);
		atomic_store(&s.go, 1);
		ASSERT_TRUE(works(&s.seen, s.kill ? 3 : 1));
		if (s.kill)
			kill(pid, SIGKILL);
		ASSERT_EQ(s.kill ? -1 : 0, cdm_reap(pid, CDM_JOB_MS));
		EXPECT_EQ(0, s.info);
		EXPECT_EQ(0, s.job);
		EXPECT_EQ(0, s.migrate);
		EXPECT_EQ(PAGES, s.moved);
		EXPECT_EQ(0, s.opened);
		/* Memory and file of this process are intact. */
		EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 6));
		ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length,
					  7, NULL));
		EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 7));
	}
	munmap(stack, STACK);
}

/*
 * The process that opened the file goes first and leaves memory and jobs to the
 * other.
 */
struct heir {
	struct victim v;
	pid_t parent;
};

static int inherit(void *arg)
{
	struct heir *h = arg;
	struct hmm_cdm_wait wait;
	int err;

	while (getppid() == h->parent)
		cdm_sleep_ms(1);
	err = cdm_run_sum(&h->v.cdm, h->v.mem, h->v.length / 8, &wait);
	if (err || wait.result[0] != cdm_word_sum(SEED, h->v.length / 8) ||
	    cdm_on_node(&h->v.cdm, h->v.mem, h->v.length) != PAGES ||
	    cdm_check(h->v.mem, h->v.length, SEED) != -1)
		atomic_store(h->v.working, 2);
	else
		atomic_store(h->v.working, 1);
	_exit(0);
}

static void leave_to_heir(atomic_int *result)
{
	static struct heir h;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	h.parent = getpid();
	h.v.working = result;
	if (stack == MAP_FAILED || cdm_open(&h.v.cdm, 0))
		_exit(1);
	h.v.length = PAGES * h.v.cdm.page;
	h.v.mem = cdm_map_on_node(&h.v.cdm, h.v.length, SEED);
	if (!h.v.mem || clone(inherit, stack + STACK, CLONE_VM | CLONE_FILES |
			      SIGCHLD, &h) < 0)
		_exit(2);
	/* exit(3) would write to memory that both share. */
	syscall(SYS_exit_group, 0);
}

TEST_F(ends, opener_first)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		leave_to_heir(self->shared);
	ASSERT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	ASSERT_TRUE(works(self->shared, 1));
	EXPECT_EQ(1, atomic_load(self->shared));
}

/*
 * A vfork(2) child runs in the parent's memory, and exits or executes a
 * program.
 */
TEST_F(ends, vfork)
{
	struct hmm_cdm_wait wait;
	struct hmm_cdm_info info;
	static int job, told;	/* written by the child */
	pid_t pid;
	__u64 adds;

	job = -1;
	told = -1;
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	/* The job goes on while the parent is suspended. */
	((__u64 *)self->mem)[0] = 0;
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, (__u64 *)self->mem, 100000,
				    &adds));
	pid = vfork();
	if (!pid) {
		told = cdm_info(self->cdm.fd, &info);
		job = cdm_run_fill(&self->cdm, self->mem + self->length / 2,
				   self->length / 2, 8, NULL);
		self->mem[self->cdm.page] ^= 1;
		_exit(0);
	}
	ASSERT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(0, told);
	EXPECT_EQ(0, job);
	ASSERT_EQ(0, cdm_wait(&self->cdm, adds, CDM_JOB_MS, &wait));
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(100000, ((__u64 *)self->mem)[0]);
	EXPECT_EQ((char)(cdm_word(SEED, self->cdm.page / 8) ^ 1),
		  self->mem[self->cdm.page]);
	EXPECT_EQ(-1, cdm_check_value(self->mem + self->length / 2,
				      self->length / 2, 8));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/* exec after vfork(2) takes nothing from the parent. */
TEST_F(ends, vfork_exec)
{
	static char *const argv[] = { "/proc/self/exe", "--help", NULL };
	struct hmm_cdm_wait wait;
	int null;
	pid_t pid;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, null);
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	pid = vfork();
	if (!pid) {
		dup2(null, 1);
		dup2(null, 2);
		execve(argv[0], argv, (char *const []) { NULL });
		_exit(99);
	}
	EXPECT_NE(99, cdm_reap(pid, CDM_JOB_MS));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	close(null);
}

/* exec with threads in the middle of their work. */
TEST_F(ends, exec)
{
	static char *const argv[] = { "/proc/self/exe", "--help", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, null);
	for (int i = 0; i < 5; i++) {
		pid_t pid;

		atomic_store(self->shared, 0);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			cdm_close(&self->cdm);
			become_victim(self->shared, 3);
			if (!works(self->shared, 1))
				_exit(99);
			dup2(null, 1);
			dup2(null, 2);
			execve(argv[0], argv, (char *const []) { NULL });
			_exit(99);
		}
		EXPECT_NE(99, cdm_reap(pid, CDM_JOB_MS));
	}
	close(null);
}

TEST_HARNESS_MAIN

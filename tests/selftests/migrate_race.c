// SPDX-License-Identifier: GPL-2.0
/*
 * Migration races with other migrations, with CPU and device writes, with
 * changes of the mapping, and with the end of the process. Neither data nor
 * pages of the nodes get lost.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <pthread.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mover.h"

/* Few, as each unmapped page costs an interrupt of the other processors. */
#define SEED			CDM_SEED(MIGRATE_RACE)
#define PAGES			32
#define MOVERS			8
#define COUNTERS		2
#define ROUNDS			10
#define CALLS			100
#define RACE_MS			1500
/* How long a call waits for pages that another one is moving. */
#define WAITS_MS		20

/* A thread that counts in its own word of each page. */
struct counter {
	pthread_t thread;
	__u64 *first;
	size_t stride;
	bool *stop;
	__u64 rounds;
	__u64 wrong;
};

FIXTURE(race) {
	struct cdm cdm[CDM_NODES];
	__u64 free[CDM_NODES];
	char *mem;
	size_t length;
	size_t page;
	bool stop;
	struct cdm_mover movers[MOVERS];
	struct counter counters[COUNTERS];
};

FIXTURE_SETUP(race)
{
	for (int i = 0; i < CDM_NODES; i++) {
		ASSERT_EQ(0, cdm_open(&self->cdm[i], i));
		self->free[i] = cdm_free_pages(&self->cdm[i]);
	}
	self->page = self->cdm[0].page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm[0], self->length);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, self->length);
}

/* All pages of the nodes are free again. */
FIXTURE_TEARDOWN(race)
{
	munmap(self->mem, self->length);
	for (int i = 0; i < CDM_NODES; i++) {
		EXPECT_EQ(self->free[i],
			  cdm_free_settles(&self->cdm[i], self->free[i]));
		cdm_close(&self->cdm[i]);
	}
}

static void *count(void *arg)
{
	struct counter *counter = arg;

	while (!__atomic_load_n(counter->stop, __ATOMIC_RELAXED)) {
		for (size_t i = 0; i < PAGES; i++) {
			__u64 *word = counter->first + i * counter->stride;
			__u64 seen = __atomic_load_n(word, __ATOMIC_RELAXED);

			counter->wrong += seen != counter->rounds;
			__atomic_store_n(word, counter->rounds + 1,
					 __ATOMIC_RELAXED);
		}
		counter->rounds++;
	}
	return NULL;
}

/* Every other one moves the range to the node first. */
static int start_mover(struct _test_data_race *self, int i, int node)
{
	self->movers[i].target = i % 2 ? SYSTEM : NODE;
	return cdm_mover_start(&self->movers[i], &self->cdm[node], self->mem,
			       self->length);
}

static int start_counter(struct _test_data_race *self, int i)
{
	self->counters[i] = (struct counter) {
		.first = (__u64 *)self->mem + i,
		.stride = self->page / sizeof(__u64),
		.stop = &self->stop,
	};
	return pthread_create(&self->counters[i].thread, NULL, count,
			      &self->counters[i]);
}

/* Ends the race; no thread may have seen an error. */
static void finish(struct __test_metadata *_metadata,
		   struct _test_data_race *self, int movers, int counters)
{
	__u64 migrated = 0;

	for (int i = 0; i < movers; i++) {
		cdm_mover_end(&self->movers[i]);
		EXPECT_EQ(0, self->movers[i].err);
		EXPECT_EQ(0, self->movers[i].wrong);
		EXPECT_LT(0, self->movers[i].calls);
		migrated += self->movers[i].migrated;
	}
	/* A race in which nothing moved shows nothing. */
	EXPECT_LE(2 * PAGES, migrated);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < counters; i++) {
		pthread_join(self->counters[i].thread, NULL);
		EXPECT_EQ(0, self->counters[i].wrong);
		EXPECT_LT(0, self->counters[i].rounds);
	}
}

TEST_F(race, eight_threads)
{
	const size_t stride = self->page / sizeof(__u64);
	size_t wrong = 0;

	for (int i = 0; i < COUNTERS; i++)
		ASSERT_EQ(0, start_counter(self, i));
	for (int i = 0; i < MOVERS; i++)
		ASSERT_EQ(0, start_mover(self, i, 0));
	cdm_sleep_ms(RACE_MS);
	finish(_metadata, self, MOVERS, COUNTERS);
	for (int i = 0; i < COUNTERS; i++)
		for (int j = 0; j < PAGES; j++)
			wrong += ((__u64 *)self->mem)[j * stride + i] !=
				 self->counters[i].rounds;
	EXPECT_EQ(0, wrong);
}

/* Two nodes and system memory compete for the same pages. */
TEST_F(race, two_nodes)
{
	for (int i = 0; i < COUNTERS; i++)
		ASSERT_EQ(0, start_counter(self, i));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, start_mover(self, i, i / 2));
	cdm_sleep_ms(RACE_MS);
	finish(_metadata, self, 4, COUNTERS);
}

/* Parts are unmapped, mapped and protected meanwhile. */
TEST_F(race, mapping_changes)
{
	char *part = self->mem + self->length / 4;
	size_t length = self->length / 2;
	__u64 deadline;

	for (int i = 0; i < 3; i++) {
		self->movers[i].allowed = -ENOMEM;
		ASSERT_EQ(0, start_mover(self, i, 0));
	}
	deadline = cdm_now_ms() + RACE_MS;
	for (int i = 1; cdm_now_ms() < deadline; i++) {
		ASSERT_EQ(0, i % 2 ? munmap(part, length) :
			  madvise(part, length, MADV_DONTNEED));
		if (i % 2)
			ASSERT_EQ(part, mmap(part, length,
					     PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS |
					     MAP_FIXED, -1, 0));
		EXPECT_EQ(-1, cdm_check_value(part, length, 0));
		cdm_fill(part, length, SEED + i);
		ASSERT_EQ(0, mprotect(part, length, PROT_READ));
		EXPECT_EQ(-1, cdm_check(part, length, SEED + i));
		ASSERT_EQ(0, mprotect(part, length, PROT_READ | PROT_WRITE));
	}
	finish(_metadata, self, 3, 0);
}

/*
 * A thread that moves a range to the node once, at the same time as the others.
 */
struct caller {
	pthread_t thread;
	pthread_barrier_t *start;
	const struct cdm *cdm;
	char *mem;
	size_t length;
	int err;
	__u64 took_ms;
	struct hmm_cdm_migrate m;
};

static void *call(void *arg)
{
	struct caller *caller = arg;
	__u64 begin;

	pthread_barrier_wait(caller->start);
	begin = cdm_now_ms();
	caller->err = cdm_migrate(caller->cdm, caller->mem, caller->length, NODE, &caller->m);
	caller->took_ms = cdm_now_ms() - begin;
	return NULL;
}

/*
 * Pages that another call is moving look swapped out. They are not skipped: all
 * are on the node when the slower call returns.
 */
TEST_F(race, same_to_the_node)
{
	struct caller callers[2];
	pthread_barrier_t start;
	__u64 migrated = 0, deadline;
	int rounds = 0, judged = 0;

	ASSERT_EQ(0, pthread_barrier_init(&start, NULL, ARRAY_SIZE(callers)));
	/* On a busy machine few rounds are judged, and each takes long. */
	deadline = cdm_now_ms() + CDM_JOB_MS;
	for (; judged < CALLS && rounds < 10 * CALLS && cdm_now_ms() < deadline; rounds++) {
		__u64 absent = 0, longest = 0;

		ASSERT_EQ(0, cdm_migrate(&self->cdm[0], self->mem, self->length, SYSTEM, NULL));
		for (size_t j = 0; j < ARRAY_SIZE(callers); j++) {
			callers[j] = (struct caller) {
				.start = &start,
				.cdm = &self->cdm[0],
				.mem = self->mem,
				.length = self->length,
			};
			ASSERT_EQ(0, pthread_create(&callers[j].thread, NULL,
						    call, &callers[j]));
		}
		for (size_t j = 0; j < ARRAY_SIZE(callers); j++) {
			pthread_join(callers[j].thread, NULL);
			EXPECT_EQ(0, callers[j].err);
			migrated += callers[j].m.migrated;
			absent += callers[j].m.skipped[HMM_CDM_SKIP_ABSENT];
			if (longest < callers[j].took_ms)
				longest = callers[j].took_ms;
		}
		/* Pages that are in transit for so long are skipped. */
		if (longest >= WAITS_MS)
			continue;
		judged++;
		EXPECT_EQ(0, absent);
	}
	pthread_barrier_destroy(&start);
	EXPECT_EQ(rounds * PAGES, migrated);
	EXPECT_LT(0, judged);
	TH_LOG("%d of %d rounds were fast enough", judged, rounds);
}

/* QUERY counts each page once, wherever it is at that moment. */
TEST_F(race, query_meanwhile)
{
	__u64 deadline = cdm_now_ms() + RACE_MS;
	struct hmm_cdm_page pages[PAGES];
	struct hmm_cdm_query query;
	int seen = 0;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, start_mover(self, i, 0));
	while (cdm_now_ms() < deadline) {
		int err = cdm_query(&self->cdm[0], self->mem, self->length,
				    pages, &query);

		if (err == -EBUSY)
			continue;
		ASSERT_EQ(0, err);
		seen++;
		EXPECT_EQ(PAGES, query.where[HMM_CDM_WHERE_SYSTEM] +
				 query.where[HMM_CDM_WHERE_NODE] +
				 query.where[HMM_CDM_WHERE_ABSENT]);
	}
	EXPECT_LT(0, seen);
	finish(_metadata, self, 2, 0);
}

/* CPU and device add to the same word while its page moves. */
TEST_F(race, job_meanwhile)
{
	const __u64 times = 30000;
	__u64 *word = (__u64 *)self->mem + 100;
	struct hmm_cdm_wait wait;
	__u64 added = 0, job;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, start_mover(self, i, 0));
	ASSERT_EQ(0, cdm_start_adds(&self->cdm[0], word, times, &job));
	while (cdm_wait(&self->cdm[0], job, 0, &wait) == -ETIMEDOUT) {
		for (int i = 0; i < 1000; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
		added += 1000;
	}
	EXPECT_EQ(0, wait.status);
	cdm_sleep_ms(200);
	finish(_metadata, self, 2, 0);
	EXPECT_LT(0, added);
	EXPECT_EQ(times + added, *word);
}

/* CPU and device add to a page on the node: no update is lost. */
TEST_F(race, adds_on_the_node)
{
	const __u64 times = 200000;
	__u64 *word = (__u64 *)self->mem;
	struct hmm_cdm_wait wait;
	__u64 added = 0, job;

	ASSERT_EQ(0, cdm_migrate(&self->cdm[0], self->mem, self->length, NODE, NULL));
	ASSERT_TRUE(cdm_pfn_on_node(&self->cdm[0], cdm_pfn(word)));
	ASSERT_EQ(0, cdm_start_adds(&self->cdm[0], word, times, &job));
	while (cdm_wait(&self->cdm[0], job, 0, &wait) == -ETIMEDOUT) {
		for (int i = 0; i < 1000; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
		added += 1000;
	}
	EXPECT_EQ(0, wait.status);
	EXPECT_LT(0, added);
	EXPECT_EQ(times + added, *word);
	EXPECT_EQ(times * sizeof(*word), wait.bytes_local);
	EXPECT_EQ(0, wait.bytes_remote);
	EXPECT_TRUE(cdm_pfn_on_node(&self->cdm[0], cdm_pfn(word)));
}

/* The same with two devices. */
TEST_F(race, adds_of_two_devices)
{
	const __u64 times = 200000;
	__u64 *word = (__u64 *)self->mem;
	__u64 added = 0, jobs[CDM_NODES];
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_migrate(&self->cdm[1], self->mem, self->page, NODE, NULL));
	for (int i = 0; i < CDM_NODES; i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm[i], word, times,
					    &jobs[i]));
	for (int i = 0; i < CDM_NODES; i++) {
		while (cdm_wait(&self->cdm[i], jobs[i], 0, &wait) ==
		       -ETIMEDOUT) {
			for (int j = 0; j < 1000; j++)
				__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
			added += 1000;
		}
		EXPECT_EQ(0, wait.status);
		EXPECT_EQ(times * sizeof(*word),
			  i == 1 ? wait.bytes_local : wait.bytes_remote);
	}
	EXPECT_EQ(CDM_NODES * times + added, *word);
	EXPECT_TRUE(cdm_pfn_on_node(&self->cdm[1], cdm_pfn(word)));
}

enum end {
	EXITS,
	IS_KILLED,
	EXECS,
};

/* A process that moves memory and runs a job, and ends meanwhile. */
static void busy_process(enum end end, int ready, unsigned int ms)
{
	static struct cdm_mover movers[] = { { .target = NODE }, { .target = SYSTEM } };
	struct cdm cdm;
	size_t length;
	__u64 job;
	char *mem;

	if (cdm_open(&cdm, 0))
		_exit(1);
	length = PAGES * cdm.page;
	mem = cdm_map(&cdm, length);
	cdm_fill(mem, length, SEED + ms);
	if (cdm_start_adds(&cdm, (__u64 *)mem, CDM_FOREVER, &job))
		_exit(2);
	for (int i = 0; i < 2; i++)
		if (cdm_mover_start(&movers[i], &cdm, mem, length))
			_exit(3);
	if (write(ready, "", 1) != 1)
		_exit(4);
	cdm_sleep_ms(end == IS_KILLED ? CDM_JOB_MS : ms);
	if (end == EXECS) {
		/* The usage message of the harness is discarded. */
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		execl("/proc/self/exe", "migrate_race", "-h", NULL);
	}
	_exit(0);
}

FIXTURE(ends) {
	struct cdm cdm;
	__u64 free;
	int ready[2];
};

FIXTURE_VARIANT(ends) {
	enum end end;
	int code;	/* exit status, from cdm_reap() */
};

FIXTURE_VARIANT_ADD(ends, exits) { EXITS, 0 };
FIXTURE_VARIANT_ADD(ends, killed) { IS_KILLED, -1 };
FIXTURE_VARIANT_ADD(ends, execs) { EXECS, KSFT_SKIP };

FIXTURE_SETUP(ends)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->free = cdm_free_pages(&self->cdm);
	ASSERT_EQ(0, pipe(self->ready));
}

FIXTURE_TEARDOWN(ends)
{
	cdm_close(&self->cdm);
}

TEST_F_TIMEOUT(ends, in_the_middle, 60)
{
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = fork();
		char byte;

		ASSERT_LE(0, pid);
		if (!pid)
			busy_process(variant->end, self->ready[1], 3 * i);
		ASSERT_EQ(1, read(self->ready[0], &byte, 1));
		if (variant->end == IS_KILLED) {
			cdm_sleep_ms(3 * i);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(variant->code, cdm_reap(pid, CDM_JOB_MS));
		ASSERT_EQ(self->free,
			  cdm_free_settles(&self->cdm, self->free));
	}
}

/* The process is gone; another one still holds its file, and closes it. */
static void heir(const struct cdm *cdm, pid_t parent, int result)
{
	struct hmm_cdm_stats stats;
	char good;

	while (getppid() == parent)
		cdm_sleep_ms(1);
	good = cdm_stats(cdm, &stats) == -EPERM;
	close(cdm->fd);
	_exit(write(result, &good, 1) != 1);
}

static void leave_file(int result)
{
	pid_t self = getpid();
	struct cdm cdm;
	char *mem;
	__u64 job;

	if (cdm_open(&cdm, 0))
		_exit(1);
	mem = cdm_map(&cdm, PAGES * cdm.page);
	if (cdm_start_adds(&cdm, (__u64 *)mem, CDM_FOREVER, &job) ||
	    cdm_migrate(&cdm, mem, PAGES * cdm.page, NODE,
			NULL))
		_exit(2);
	if (!fork())
		heir(&cdm, self, result);
	_exit(!cdm_rises_above((__u64 *)mem, 100));
}

TEST(file_outlives_process)
{
	struct cdm cdm;
	char good = 0;
	int ends[2];
	__u64 free;
	pid_t pid;

	ASSERT_EQ(0, cdm_open(&cdm, 0));
	free = cdm_free_pages(&cdm);
	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		leave_file(ends[1]);
	close(ends[1]);
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(1, read(ends[0], &good, 1));
	EXPECT_EQ(1, good);
	EXPECT_EQ(free, cdm_free_settles(&cdm, free));
	cdm_close(&cdm);
}

struct zapper {
	char *mem;
	size_t length;
	bool stop;
};

static void *zap_again_and_again(void *arg)
{
	struct zapper *zapper = arg;

	while (!__atomic_load_n(&zapper->stop, __ATOMIC_RELAXED)) {
		madvise(zapper->mem, zapper->length, MADV_DONTNEED);
		usleep(rand() % 200);
	}
	return NULL;
}

/* Free pages, including those on per-CPU lists. */
static long free_pages(long page)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	long count, sum = 0;
	char line[256];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %ld", &count) == 1)
			sum += count;
	fclose(file);
	return sum + cdm_meminfo("MemFree:") * 1024 / page;
}

/* The same after two seconds of moving a huge page while it is zapped. */
static long free_after_races(struct __test_metadata *_metadata,
			     const struct cdm *cdm, struct zapper *zapper)
{
	struct hmm_cdm_migrate m;
	pthread_t thread;
	__u64 end;

	zapper->stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, zap_again_and_again,
				    zapper));
	for (end = cdm_now_ms() + 2000; cdm_now_ms() < end;) {
		*zapper->mem = 1;
		EXPECT_EQ(0, cdm_migrate(cdm, zapper->mem, zapper->length, NODE, &m));
		EXPECT_EQ(zapper->length / cdm->page, cdm_migrate_sum(&m));
		madvise(zapper->mem, zapper->length, MADV_DONTNEED);
	}
	__atomic_store_n(&zapper->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	madvise(zapper->mem, zapper->length, MADV_DONTNEED);
	cdm_sleep_ms(200);
	return free_pages(cdm->page);
}

/* A huge page that is zapped while it moves is freed. */
TEST_F_TIMEOUT(race, zapped_huge_page, 60)
{
	struct zapper zapper = {
		.mem = cdm_map_thp(1, SEED), .length = cdm_thp_size(), };
	long before, lost = 0;

	if (!zapper.mem)
		SKIP(return, "no huge pages");
	before = free_after_races(_metadata, &self->cdm[0], &zapper);
	for (int i = 0; i < 3; i++)
		lost = before - free_after_races(_metadata, &self->cdm[0],
						 &zapper);
	TH_LOG("%ld pages less are free", lost);
	/* A leak would lose a huge page in each round. */
	EXPECT_GT(2 * (long)(zapper.length / self->page), lost);
	munmap(zapper.mem, zapper.length);
}

TEST_HARNESS_MAIN

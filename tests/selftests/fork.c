// SPDX-License-Identifier: GPL-2.0
/*
 * fork(2) and copy on write of memory on the node: a writer, CPU or device, gets
 * its own page, and all others keep the old content, while pages move. First by two
 * processes, then by many.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(FORK)
#define FORK_PAGES		64

/* Of the storm. */
#define PAGES			24
#define DEPTH			3
#define CHILDREN		2
#define CHAIN			10
#define ADDS			60000

FIXTURE(fork) {
	struct cdm cdm;
	char *mem;
	size_t length;
};

/* All pages have the pattern of SEED, and lie on the node. */
FIXTURE_SETUP(fork)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = FORK_PAGES * self->cdm.page;
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(FORK_PAGES,
		  cdm_on_node(&self->cdm, self->mem, self->length));
}

FIXTURE_TEARDOWN(fork)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* Forks a child that runs @work once the parent writes a byte to @go. */
static pid_t start_child(int (*work)(const struct cdm *cdm, char *mem,
				     size_t length),
			 const struct cdm *cdm, char *mem, size_t length,
			 int *go)
{
	int ends[2];
	char byte;
	pid_t pid;

	if (pipe(ends))
		return -1;
	pid = fork();
	if (pid) {
		close(ends[0]);
		*go = ends[1];
		return pid;
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1)
		_exit(100);
	_exit(work(cdm, mem, length));
}

/*
 * The child's pages have the content from before the parent's write, and are
 * its own.
 */
static int child_writes(const struct cdm *cdm, char *mem, size_t length)
{
	(void)cdm;
	if (cdm_check(mem, length, SEED) != -1)
		return 1;
	cdm_fill(mem, length, SEED + 2);
	return cdm_check(mem, length, SEED + 2) != -1 ? 2 : 0;
}

/* As above; the first to write gets copies in system memory. */
static int child_writes_first(const struct cdm *cdm, char *mem, size_t length)
{
	int wrong = child_writes(cdm, mem, length);

	return wrong || !cdm_on_node(cdm, mem, length) ? wrong : 3;
}

/* After fork(2), the child writes first. */
TEST_F(fork, child_writes)
{
	int go;
	pid_t pid = start_child(child_writes_first, &self->cdm, self->mem,
				self->length, &go);

	ASSERT_LE(0, pid);
	ASSERT_EQ(1, write(go, "", 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	cdm_fill(self->mem, self->length, SEED + 1);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	close(go);
}

/* The parent writes first: one half by the CPU, one by the device. */
TEST_F(fork, both_write)
{
	size_t half = self->length / 2;
	int go;
	pid_t pid = start_child(child_writes, &self->cdm, self->mem,
				self->length, &go);

	ASSERT_LE(0, pid);
	cdm_fill(self->mem, half, SEED + 1);
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->mem + half, half, 9,
				  NULL));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(1, write(go, "", 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(-1, cdm_check(self->mem, half, SEED + 1));
	EXPECT_EQ(-1, cdm_check_value(self->mem + half, half, 9));
	close(go);
}

static int child_reads(const struct cdm *cdm, char *mem, size_t length)
{
	(void)cdm;
	return cdm_check(mem, length, SEED) != -1;
}

/* Pages that parent and child share move for both. */
TEST_F(fork, shared_moves)
{
	struct hmm_cdm_migrate m;
	int go;
	pid_t pid = start_child(child_reads, &self->cdm, self->mem,
				self->length, &go);

	ASSERT_LE(0, pid);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i ? NODE : SYSTEM, &m));
		EXPECT_EQ(FORK_PAGES, cdm_migrate_sum(&m));
		EXPECT_EQ(FORK_PAGES, m.migrated);
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	}
	ASSERT_EQ(1, write(go, "", 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	close(go);
}

/* Leaves its memory on the node to a child, and exits. */
static void leave_to_child(int result)
{
	pid_t self = getpid();
	struct cdm cdm;
	size_t length;
	char *mem, good;

	if (cdm_open(&cdm, 0))
		_exit(1);
	length = FORK_PAGES * cdm.page;
	mem = cdm_map(&cdm, length);
	cdm_fill(mem, length, SEED + 3);
	if (cdm_migrate(&cdm, mem, length, NODE, NULL) || fork())
		_exit(0);
	while (getppid() == self)
		cdm_sleep_ms(1);
	good = cdm_check(mem, length, SEED + 3) == -1 &&
	       cdm_on_node(&cdm, mem, length) == FORK_PAGES;
	_exit(write(result, &good, 1) != 1);
}

TEST_F(fork, parent_gone)
{
	__u64 free = cdm_free_pages(&self->cdm);
	char good = 0;
	int ends[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		leave_to_child(ends[1]);
	close(ends[1]);
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(1, read(ends[0], &good, 1));
	EXPECT_EQ(1, good);
	EXPECT_EQ(free, cdm_free_settles(&self->cdm, free));
	close(ends[0]);
}

FIXTURE(storm) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;
};

/* Each page is filled with its number, and all lie on the node. */
FIXTURE_SETUP(storm)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	for (int i = 0; i < PAGES; i++)
		ASSERT_EQ(0, cdm_run_fill(&self->cdm,
					  self->mem + i * self->page,
					  self->page, i, NULL));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

FIXTURE_TEARDOWN(storm)
{
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* State of one process: the content that its pages should have. */
struct life {
	struct cdm cdm;
	char *mem;
	unsigned int random;
	__u64 known[PAGES];
};

/* The first page with other content than this process's, or -1. */
static int wrong_page(const struct life *life)
{
	struct hmm_cdm_wait wait;
	__u64 sum = 0;

	for (int i = 0; i < PAGES; i++) {
		if (cdm_check_value(life->mem + i * life->cdm.page,
				    life->cdm.page, life->known[i]) != -1)
			return i;
		sum += life->known[i] * (life->cdm.page / 8);
	}
	/* The device has to agree. */
	if (cdm_run_sum(&life->cdm, life->mem, PAGES * life->cdm.page / 8,
			&wait) || wait.result[0] != sum)
		return PAGES;
	return -1;
}

/* Writes some pages, by CPU or device, and moves others. */
static int work(struct life *life)
{
	for (int n = 0; n < PAGES / 3; n++) {
		int i = rand_r(&life->random) % PAGES;
		char *at = life->mem + i * life->cdm.page;
		__u64 value = (__u64)getpid() << 32 | rand_r(&life->random);

		switch (rand_r(&life->random) % 4) {
		case 0:
			if (cdm_migrate(&life->cdm, at, life->cdm.page,
					rand_r(&life->random) % 2, NULL))
				return 1;
			continue;
		case 1:
			if (cdm_run_fill(&life->cdm, at, life->cdm.page,
					 value, NULL))
				return 2;
			break;
		default:
			for (size_t j = 0; j < life->cdm.page / 8; j++)
				((__u64 *)at)[j] = value;
		}
		life->known[i] = value;
	}
	return wrong_page(life) == -1 ? 0 : 3;
}

/* Works, forks children that do the same, and goes on beside them. */
static int live(struct life *life, int depth)
{
	pid_t children[CHILDREN];
	int wrong = work(life);

	if (wrong || !depth)
		return wrong;
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (!children[i]) {
			life->random += 1 + i;
			/* The parent's file serves only the parent. */
			close(life->cdm.fd);
			if (cdm_open(&life->cdm, 0))
				_exit(4);
			_exit(live(life, depth - 1));
		}
		wrong = wrong ?: work(life);
	}
	for (int i = 0; i < CHILDREN; i++)
		wrong = wrong ?: cdm_reap(children[i], CDM_JOB_MS) ?
			10 + depth : 0;
	return wrong ?: work(life);
}

/* Generations of processes write to pages that a thread moves. */
TEST_F(storm, generations)
{
	struct cdm_mover mover = { .interrupted = true };
	struct life life = { .mem = self->mem, .random = 1 };
	struct hmm_cdm_migrate m;

	for (int i = 0; i < PAGES; i++)
		life.known[i] = i;
	ASSERT_EQ(0, cdm_open(&life.cdm, 0));
	ASSERT_EQ(-1, wrong_page(&life));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	EXPECT_EQ(0, live(&life, DEPTH));
	cdm_mover_end(&mover);
	EXPECT_EQ(0, mover.err);
	EXPECT_LT(PAGES, mover.migrated);
	EXPECT_EQ(-1, wrong_page(&life));
	/* The children are gone: the process owns all pages. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES, m.migrated + m.present);
	EXPECT_EQ(self->free - PAGES,
		  cdm_free_settles(&self->cdm, self->free - PAGES));
	EXPECT_EQ(-1, wrong_page(&life));
	cdm_close(&life.cdm);
}

/* Each process outlives its parent, and has copied one more page. */
static void chain(char *mem, size_t page, int result)
{
	struct cdm cdm;
	char good = 1;

	for (int at = 0;; at++) {
		pid_t parent = getpid();

		if (cdm_open(&cdm, 0) ||
		    cdm_run_fill(&cdm, mem + at * page, page, 1000 + at, NULL))
			_exit(1);
		if (at == CHAIN - 1)
			break;
		if (fork())
			_exit(0);
		cdm_close(&cdm);
		while (getppid() == parent)
			cdm_sleep_ms(1);
	}
	for (int i = 0; i < PAGES; i++)
		good &= cdm_check_value(mem + i * page, page,
					i < CHAIN ? 1000 + i : i) == -1;
	/*
	 * Written pages are in system memory now, the others where they were.
	 */
	good &= cdm_on_node(&cdm, mem, PAGES * page) == PAGES - CHAIN;
	_exit(write(result, &good, 1) != 1);
}

/* Pages pass through processes that are long gone. */
TEST_F(storm, chain)
{
	char good = 0;
	int ends[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		chain(self->mem, self->page, ends[1]);
	close(ends[1]);
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(1, read(ends[0], &good, 1));
	EXPECT_EQ(1, good);
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(-1, cdm_check_value(self->mem + i * self->page,
					      self->page, i));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	close(ends[0]);
}

/* The device writes to half of the pages: the child gets copies. */
static int device_writes_first(char *mem, size_t length)
{
	struct cdm cdm;

	if (cdm_open(&cdm, 0) ||
	    cdm_run_fill(&cdm, mem, length / 2, 77, NULL))
		return 1;
	if (cdm_on_node(&cdm, mem, length / 2) ||
	    cdm_on_node(&cdm, mem, length) != PAGES / 2)
		return 2;
	return cdm_check_value(mem, length / 2, 77) == -1 ? 0 : 3;
}

/*
 * The first writer, CPU or device, gets a copy in system memory. The last
 * process that has a page keeps its frame, without a copy.
 */
TEST_F(storm, first_writer)
{
	__u64 before[PAGES], after[PAGES];
	pid_t pid;

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, before));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(device_writes_first(self->mem, self->length));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	for (int i = 0; i < PAGES; i++) {
		char *at = self->mem + i * self->page;

		EXPECT_EQ(-1, cdm_check_value(at, self->page, i));
		if (i % 2)
			*(__u64 *)at = 5;
		else
			EXPECT_EQ(0, cdm_run_fill(&self->cdm, at, 8, 5, NULL));
		EXPECT_EQ(5, *(__u64 *)at);
	}
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
}

/* With advice for the node, the copies are on the node, too. */
static int copies_on_the_node(char *mem, size_t length)
{
	struct cdm cdm;

	if (cdm_open(&cdm, 0) ||
	    cdm_advise(&cdm, mem, length, HMM_CDM_PLACE_NODE,
		       HMM_CDM_ADVISE_COW) ||
	    cdm_run_fill(&cdm, mem, length, 78, NULL))
		return 1;
	if (cdm_on_node(&cdm, mem, length) != PAGES)
		return 2;
	return cdm_check_value(mem, length, 78) == -1 ? 0 : 3;
}

TEST_F(storm, first_writer_with_advice)
{
	__u64 before[PAGES], after[PAGES];
	pid_t pid;

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, before));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(copies_on_the_node(self->mem, self->length));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(-1, cdm_check_value(self->mem + i * self->page,
					      self->page, i));
	EXPECT_EQ(self->free - PAGES,
		  cdm_free_settles(&self->cdm, self->free - PAGES));
}

/* In the child the parent's counting word stands still. */
static int stands_still(const __u64 *word)
{
	__u64 seen = __atomic_load_n(word, __ATOMIC_RELAXED);

	for (int i = 0; i < 5; i++) {
		usleep(200);
		if (__atomic_load_n(word, __ATOMIC_RELAXED) != seen)
			return 1;
	}
	return 0;
}

/* CPU and device add and the page moves, while children come and go. */
TEST_F(storm, adds_meanwhile)
{
	__u64 *word = (__u64 *)self->mem;
	struct cdm_mover mover = { .interrupted = true };
	struct hmm_cdm_wait wait;
	__u64 added = 0, job;
	int children = 0;

	*word = 0;
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     4 * self->page));
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, word, ADDS, &job));
	while (cdm_wait(&self->cdm, job, 0, &wait) == -ETIMEDOUT) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(stands_still(word));
		for (int i = 0; i < 1000; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
		added += 1000;
		ASSERT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
		children++;
	}
	cdm_mover_end(&mover);
	EXPECT_EQ(0, wait.status);
	EXPECT_LT(0, children);
	EXPECT_EQ(0, mover.err);
	EXPECT_EQ(ADDS + added, *word);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * More memory than the node has: the least recently used pages are evicted, all
 * calls and jobs complete, and no byte changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(EVICT)

/* The second node is the smaller one. */
#define INDEX			1

FIXTURE(evict) {
	struct cdm cdm;
	size_t page;
	size_t window;
	size_t capacity;
	size_t pages;		/* of the node */
	size_t windows;		/* of the node */
	size_t per;		/* pages of a window */
	struct hmm_cdm_migrate m;
	struct hmm_cdm_populate p;
	struct hmm_cdm_stats stats;
	struct hmm_cdm_wait wait;
};

FIXTURE_SETUP(evict)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, INDEX));
	self->page = self->cdm.page;
	self->window = self->cdm.window;
	self->capacity = self->cdm.info.capacity;
	self->pages = self->capacity / self->page;
	self->windows = self->capacity / self->window;
	self->per = self->window / self->page;
	ASSERT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));
}

FIXTURE_TEARDOWN(evict)
{
	EXPECT_EQ(self->pages, cdm_free_settles(&self->cdm, self->pages));
	cdm_close(&self->cdm);
}

static int migrate_evicting(const struct cdm *cdm, void *addr, size_t length,
			    struct hmm_cdm_migrate *m)
{
	*m = (struct hmm_cdm_migrate) {
		.size = sizeof(*m),
		.flags = HMM_CDM_MIGRATE_EVICT,
		.addr = CDM_ADDR(addr),
		.length = length,
		.target = NODE,
	};
	return cdm_ioctl(cdm->fd, HMM_CDM_IOC_MIGRATE, m);
}

/* Pages evicted from the node so far, for any user. */
static __u64 node_evicted(const struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	return cdm_stats(cdm, &stats) ? 0 : stats.node_evicted;
}

/* The device reads one word of each page. */
static int touch(const struct cdm *cdm, char *addr, size_t length)
{
	int err = 0;

	for (size_t at = 0; !err && at < length; at += cdm->window)
		err = cdm_run_sum(cdm, addr + at, 1, NULL);
	return err;
}

/*
 * Recently used windows stay, however old their allocation; the others are
 * evicted in the order of their last use.
 */
TEST_F(evict, least_recently_used)
{
	size_t used = self->windows / 2, extra = self->windows / 4;
	char *mem = cdm_map(&self->cdm, self->capacity);
	char *more = cdm_map(&self->cdm, extra * self->window);

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, more);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, self->capacity, 0,
				  &self->p));
	ASSERT_EQ(self->pages, self->p.populated);
	cdm_fill(mem, self->capacity, SEED);
	/* The first half is older, but used last. */
	ASSERT_EQ(0, touch(&self->cdm, mem, used * self->window));

	/* Without the flag, nothing is evicted. */
	ASSERT_EQ(0, cdm_populate(&self->cdm, more, self->window, 0,
				  &self->p));
	EXPECT_EQ(self->per, self->p.skipped[HMM_CDM_SKIP_NO_MEMORY]);

	ASSERT_EQ(0, cdm_populate(&self->cdm, more, extra * self->window,
				  HMM_CDM_POPULATE_EVICT, &self->p));
	EXPECT_EQ(extra * self->per, self->p.populated);
	EXPECT_EQ(extra, self->p.contiguous);
	EXPECT_EQ(extra * self->per, self->p.evicted);
	/* The oldest unused windows were evicted, and no others. */
	EXPECT_EQ(used * self->per,
		  cdm_on_node(&self->cdm, mem, used * self->window));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, mem + used * self->window,
				 extra * self->window));
	EXPECT_EQ((used - extra) * self->per,
		  cdm_on_node(&self->cdm, mem + (used + extra) * self->window,
			      (used - extra) * self->window));
	EXPECT_EQ(-1, cdm_check(mem, self->capacity, SEED));
	EXPECT_EQ(-1, cdm_check_value(more, extra * self->window, 0));

	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(extra * self->per, self->stats.evicted);
	EXPECT_LE(extra * self->per, self->stats.node_evicted);
	munmap(mem, self->capacity);
	munmap(more, extra * self->window);
}

/* Four times the node's memory moves there in turn; every byte is checked. */
TEST_F_TIMEOUT(evict, four_times_the_node, 60)
{
	size_t length = 4 * self->capacity, words = length / 8;
	char *mem = cdm_map(&self->cdm, length);
	__u64 sum = 0, local = 0, in, out;
	struct hmm_cdm_stats before;

	ASSERT_NE(NULL, mem);
	cdm_fill(mem, length, SEED);
	ASSERT_EQ(0, migrate_evicting(&self->cdm, mem, length, &self->m));
	EXPECT_EQ(4 * self->pages, cdm_migrate_sum(&self->m));
	EXPECT_EQ(4 * self->pages, self->m.migrated);
	EXPECT_EQ(3 * self->pages, self->m.evicted);
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, mem, length));
	/* The last to come. */
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm,
					   mem + 3 * self->capacity,
					   self->capacity));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));

	/* Device accesses to all of it fault it in piece by piece. */
	ASSERT_EQ(0, cdm_stats(&self->cdm, &before));
	ASSERT_EQ(0, cdm_advise(&self->cdm, mem, length, HMM_CDM_PLACE_NODE,
				HMM_CDM_ADVISE_MIGRATE |
				HMM_CDM_ADVISE_EVICT));
	for (char *at = mem; at < mem + length; at += self->capacity) {
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, at, self->capacity / 8,
					 &self->wait));
		sum += self->wait.result[0];
		local += self->wait.bytes_local;
		EXPECT_EQ(self->capacity, self->wait.bytes_local +
					  self->wait.bytes_remote);
	}
	EXPECT_EQ(cdm_word_sum(SEED, words), sum);
	EXPECT_LT(length / 10 * 9, local);
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	/* Each page came once, and evicted one. */
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	in = self->stats.migrated_in - before.migrated_in;
	out = self->stats.evicted - before.evicted;
	TH_LOG("the device had %llu pages come and %llu leave", in, out);
	EXPECT_GE(4 * self->pages / 10 * 11, in);
	EXPECT_GE(4 * self->pages / 10 * 11, out);
	munmap(mem, length);
}

/*
 * A job streams over untouched memory of eight times the node's size: each page
 * is allocated on the node once and evicted once, except for those left at the
 * end.
 */
TEST_F_TIMEOUT(evict, streaming_over_eight_times_the_node, 60)
{
	size_t length = 8 * self->capacity;
	size_t least = 7 * self->pages;
	char *mem = cdm_map(&self->cdm, length);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_advise(&self->cdm, mem, length, HMM_CDM_PLACE_NODE,
				HMM_CDM_ADVISE_EVICT));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, mem, length, 3, &self->wait));
	EXPECT_LT(length / 10 * 9, self->wait.bytes_local);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	TH_LOG("%llu pages placed, %llu left, of %zu at least",
	       self->stats.touched, self->stats.evicted, least);
	EXPECT_LE(8 * self->pages / 10 * 9, self->stats.touched);
	EXPECT_GE(least * 3 / 2, self->stats.evicted);
	EXPECT_EQ(0, self->stats.migrated_in);
	EXPECT_EQ(-1, cdm_check_value(mem, length, 3));
	munmap(mem, length);
}

/* One of two processes that each use three quarters of the node. */
static int compete(size_t length, int seed)
{
	struct hmm_cdm_wait wait;
	size_t words = length / 8;
	struct cdm cdm;
	char *mem;

	if (cdm_open(&cdm, INDEX))
		return 1;
	mem = cdm_map(&cdm, length);
	if (!mem || cdm_advise(&cdm, mem, length, HMM_CDM_PLACE_NODE,
			       HMM_CDM_ADVISE_MIGRATE | HMM_CDM_ADVISE_EVICT))
		return 2;
	cdm_fill(mem, length, seed);
	for (int round = 0; round < 4; round++) {
		struct hmm_cdm_migrate m;

		if (migrate_evicting(&cdm, mem, length, &m))
			return 3;
		if (cdm_migrate_sum(&m) != length / cdm.page)
			return 4;
		if (cdm_run_sum(&cdm, mem, words, &wait))
			return 5;
		if (wait.result[0] != cdm_word_sum(seed, words))
			return 6;
		if (cdm_check(mem, length, seed) != -1)
			return 7;
	}
	return 0;
}

TEST_F_TIMEOUT(evict, two_processes, 60)
{
	size_t length = self->windows * 3 / 4 * self->window;
	__u64 before = node_evicted(&self->cdm);
	pid_t pids[2];

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i])
			_exit(compete(length, SEED + i));
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, cdm_reap(pids[i], 50000 * CDM_PATIENCE));
	EXPECT_LT(before, node_evicted(&self->cdm));
}

/* Free memory, but not contiguous: a request for a whole window evicts one. */
TEST_F(evict, contiguity_regained)
{
	char *mem = cdm_map(&self->cdm, self->capacity);
	char *more = cdm_map(&self->cdm, 2 * self->window);
	size_t left = self->pages / 2;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, more);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, self->capacity, 0, NULL));
	for (size_t i = 0; i < self->pages; i++)
		*(__u64 *)(mem + i * self->page) = cdm_word(SEED, i);
	for (size_t i = 0; i < self->pages; i += 2)
		ASSERT_EQ(0, madvise(mem + i * self->page, self->page,
				     MADV_DONTNEED));
	EXPECT_EQ(left, cdm_free_settles(&self->cdm, left));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	ASSERT_EQ(0, self->stats.node_contiguous);

	ASSERT_EQ(0, cdm_populate(&self->cdm, more, 2 * self->window,
				  HMM_CDM_POPULATE_EVICT, &self->p));
	EXPECT_EQ(2 * self->per, self->p.populated);
	EXPECT_EQ(2, self->p.contiguous);
	/* Only as much as needed: half of each of two windows. */
	EXPECT_EQ(self->per, self->p.evicted);
	EXPECT_EQ(cdm_pfn(more) + self->per - 1,
		  cdm_pfn(more + self->window - self->page));
	for (size_t i = 1; i < self->pages; i += 2)
		ASSERT_EQ(cdm_word(SEED, i),
			  *(__u64 *)(mem + i * self->page));
	/*
	 * While there are free pages, requests for single pages evict nothing.
	 */
	ASSERT_EQ(0, munmap(more, self->window));
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, 10 * self->page,
				  HMM_CDM_POPULATE_EVICT, &self->p));
	EXPECT_EQ(5, self->p.populated);
	EXPECT_EQ(5, self->p.stayed);
	EXPECT_EQ(0, self->p.evicted);
	munmap(mem, self->capacity);
	munmap(more + self->window, self->window);
}

/*
 * More untouched memory than the node holds pushes out what was there, but not what
 * the same call has populated: that would be pages of zeros for pages of zeros.
 */
TEST_F(evict, never_for_its_own_call)
{
	const size_t length = 2 * self->capacity;
	char *old = cdm_map(&self->cdm, self->capacity);
	char *mem = cdm_map(&self->cdm, length);
	struct hmm_cdm_migrate m;

	ASSERT_NE(NULL, old);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_populate(&self->cdm, old, self->capacity, 0, NULL));
	cdm_fill(old, self->capacity, SEED);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, length,
				  HMM_CDM_POPULATE_EVICT, &self->p));
	EXPECT_EQ(self->pages, self->p.populated);
	EXPECT_EQ(self->pages, self->p.evicted);
	EXPECT_EQ(self->pages, self->p.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(self->pages, cdm_on_node(&self->cdm, mem, self->capacity));
	/* The rest is still untouched. */
	EXPECT_EQ(self->pages, cdm_present(mem, length));
	EXPECT_EQ(-1, cdm_check(old, self->capacity, SEED));

	/* So it is for holes that MIGRATE fills. */
	ASSERT_EQ(0, madvise(mem, length, MADV_DONTNEED));
	ASSERT_EQ(0, migrate_evicting(&self->cdm, mem, length, &m));
	EXPECT_EQ(self->pages, m.populated);
	EXPECT_EQ(0, m.evicted);
	EXPECT_EQ(self->pages, cdm_present(mem, length));
	munmap(old, self->capacity);
	munmap(mem, length);
}

/*
 * Nothing is evicted for pages that cannot move to the node: file pages, read
 * or not, and holes.
 */
TEST_F(evict, not_for_files)
{
	char *mem = cdm_map(&self->cdm, self->capacity);
	int fd = cdm_pattern_file(true, self->window, SEED);
	char *file = mmap(NULL, self->window, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE, fd, 0);
	char *none = mmap(NULL, self->window, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *copied = file + self->window - self->page;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(MAP_FAILED, file);
	ASSERT_NE(MAP_FAILED, none);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, self->capacity, 0, NULL));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, migrate_evicting(&self->cdm, file, self->window,
					      &self->m));
		EXPECT_EQ(0, self->m.evicted);
		EXPECT_EQ(self->per, cdm_migrate_sum(&self->m));
		ASSERT_EQ(0, migrate_evicting(&self->cdm, none, self->window,
					      &self->m));
		EXPECT_EQ(0, self->m.evicted);
		EXPECT_EQ(-1, cdm_check(file, self->window, SEED));
	}
	/* Only for the page that the process has written to. */
	*(__u64 *)copied = 7;
	ASSERT_EQ(0, migrate_evicting(&self->cdm, file, self->window,
				      &self->m));
	EXPECT_EQ(1, self->m.migrated);
	EXPECT_LE(1, self->m.evicted);
	EXPECT_EQ(1, cdm_on_node(&self->cdm, copied, self->page));
	EXPECT_EQ(7, *(__u64 *)copied);
	munmap(mem, self->capacity);
	munmap(file, self->window);
	munmap(none, self->window);
	close(fd);
}

/*
 * One page of every window is pinned: these stay with their content, the others
 * are evicted around them, and nothing waits for ever.
 */
TEST_F_TIMEOUT(evict, pinned_in_between, 60)
{
	char *mem = cdm_map(&self->cdm, self->capacity);
	char *more = cdm_map(&self->cdm, self->capacity);
	int (*pipes)[2] = calloc(self->windows, sizeof(*pipes));
	__u64 *pfns = calloc(self->windows, sizeof(*pfns));
	char *copy = malloc(self->page);

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, more);
	cdm_fill(more, self->capacity, SEED + 1);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, self->capacity, 0, NULL));
	cdm_fill(mem, self->capacity, SEED);
	for (size_t i = 0; i < self->windows; i++) {
		char *pinned = mem + i * self->window + i % 7 * self->page;
		struct iovec iov = { pinned, self->page };

		ASSERT_EQ(0, pipe(pipes[i]));
		ASSERT_EQ((ssize_t)self->page,
			  vmsplice(pipes[i][1], &iov, 1, 0));
		pfns[i] = cdm_pfn(pinned);
	}
	ASSERT_EQ(0, migrate_evicting(&self->cdm, more, self->capacity,
				      &self->m));
	EXPECT_EQ(self->pages, cdm_migrate_sum(&self->m));
	EXPECT_LT(self->pages / 4, self->m.migrated);
	/* Pages that found no free page on the node are used in place. */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, more, self->capacity / 8,
				 &self->wait));
	EXPECT_EQ(cdm_word_sum(SEED + 1, self->capacity / 8),
		  self->wait.result[0]);
	EXPECT_EQ(-1, cdm_check(mem, self->capacity, SEED));
	EXPECT_EQ(-1, cdm_check(more, self->capacity, SEED + 1));
	for (size_t i = 0; i < self->windows; i++) {
		char *pinned = mem + i * self->window + i % 7 * self->page;

		EXPECT_EQ(pfns[i], cdm_pfn(pinned));
		ASSERT_EQ((ssize_t)self->page,
			  read(pipes[i][0], copy, self->page));
		EXPECT_EQ(0, memcmp(copy, pinned, self->page));
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	free(pipes);
	free(pfns);
	free(copy);
	munmap(mem, self->capacity);
	munmap(more, self->capacity);
}

/* Waits until some page has been evicted since @before. */
static bool evicts(const struct cdm *cdm, __u64 before)
{
	__u64 deadline = cdm_now_ms() + CDM_JOB_MS;

	while (node_evicted(cdm) <= before) {
		if (cdm_now_ms() > deadline)
			return false;
		cdm_sleep_ms(1);
	}
	return true;
}

/* Several processes evict for themselves at once, and die meanwhile. */
TEST_F_TIMEOUT(evict, killed_in_the_middle, 60)
{
	size_t length = self->windows / 2 * self->window;

	for (int round = 0; round < 3; round++) {
		__u64 before = node_evicted(&self->cdm);
		int status, killed = 0;
		pid_t pids[4];

		for (int i = 0; i < 4; i++) {
			pids[i] = fork();
			ASSERT_LE(0, pids[i]);
			if (!pids[i])
				_exit(compete(length, SEED + i));
		}
		EXPECT_TRUE(evicts(&self->cdm, before));
		cdm_sleep_ms(20 * round);
		for (int i = 0; i < 4; i++)
			kill(pids[i], SIGKILL);
		for (int i = 0; i < 4; i++) {
			ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
			killed += WIFSIGNALED(status);
		}
		EXPECT_LT(0, killed);
		EXPECT_EQ(self->pages,
			  cdm_free_settles(&self->cdm, self->pages));
	}
}

/* A node with only as many windows as are exempt from eviction. */
#define EXEMPT			4

FIXTURE(small) {
	struct cdm_found found;
	struct cdm cdm;
	size_t window;
};

FIXTURE_SETUP(small)
{
	struct cdm_region regions[CDM_REGIONS_MAX];
	char text[64];

	self->cdm.fd = -1;
	if (!cdm_regions(regions, NULL, 0))
		SKIP(return, "CDM_REGIONS names no region");
	if (cdm_hash_4k())
		SKIP(return, "the smallest region has more windows");
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->window = self->cdm.window;
	cdm_close(&self->cdm);
	snprintf(text, sizeof(text), "%#llx+%#zx@%d",
		 (unsigned long long)regions[0].start, EXEMPT * self->window,
		 regions[0].node);
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	ASSERT_EQ(0, cdm_load(CDM_EMU, text));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	ASSERT_EQ(EXEMPT * self->window, self->cdm.info.capacity);
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(small)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* Pages of the running step stay; pages without a free one are used in place. */
TEST_F(small, running_step_is_exempt)
{
	size_t window = self->window, per = window / self->cdm.page;
	size_t length = (EXEMPT + 1) * window;
	char *mem = cdm_map(&self->cdm, length);
	struct hmm_cdm_populate p;
	struct hmm_cdm_wait wait;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, length,
				  HMM_CDM_POPULATE_EVICT, &p));
	EXPECT_EQ(EXEMPT * per, p.populated);
	EXPECT_EQ(per, p.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(0, p.evicted);
	cdm_fill(mem, length, SEED);

	ASSERT_EQ(0, cdm_advise(&self->cdm, mem, length, HMM_CDM_PLACE_NODE,
				HMM_CDM_ADVISE_MIGRATE |
				HMM_CDM_ADVISE_EVICT));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem, length / 8, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, length / 8), wait.result[0]);
	EXPECT_EQ(EXEMPT * window, wait.bytes_local);
	EXPECT_EQ(window, wait.bytes_remote);
	EXPECT_EQ(EXEMPT * per, cdm_on_node(&self->cdm, mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	munmap(mem, length);
	cdm_close(&self->cdm);
}

/* Two steps run on two windows each, and nothing evicts these. */
TEST_F(small, running_steps_are_exempt)
{
	const size_t page = self->cdm.page, window = self->window;
	size_t per = window / page;
	char *mem = cdm_map(&self->cdm, EXEMPT * window);
	char *more = cdm_map(&self->cdm, window);
	struct hmm_cdm_populate p;
	struct hmm_cdm_wait wait;
	__u64 jobs[2];
	int tries = 0;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, more);
	/* Until an eviction was tried while both steps ran. */
	while (!tries) {
		ASSERT_EQ(0, cdm_populate(&self->cdm, mem, EXEMPT * window, 0,
					  &p));
		ASSERT_EQ(EXEMPT * per, p.populated + p.present);
		/* The job over one window counts its bytes in the other. */
		for (int i = 0; i < 2; i++) {
			char *bytes = mem + 2 * i * window;
			char *counts = bytes + window;

			*(__u64 *)counts = 0;
			ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_HISTOGRAM,
						CDM_ARGS(CDM_ADDR(bytes),
							 window,
							 CDM_ADDR(counts)),
						&jobs[i]));
		}
		for (int i = 0; i < 2; i++)
			ASSERT_TRUE(cdm_rises_above((__u64 *)(mem + (2 * i + 1) *
							      window), 0));
		for (;; tries++) {
			ASSERT_EQ(0, cdm_populate(&self->cdm, more, window,
						  HMM_CDM_POPULATE_EVICT, &p));
			if (cdm_wait(&self->cdm, jobs[0], 0, &wait) !=
			    -ETIMEDOUT ||
			    cdm_wait(&self->cdm, jobs[1], 0, &wait) !=
			    -ETIMEDOUT)
				break;
			EXPECT_EQ(0, p.evicted);
			EXPECT_EQ(per, p.skipped[HMM_CDM_SKIP_NO_MEMORY]);
			ASSERT_EQ(0, madvise(more, window, MADV_DONTNEED));
		}
		for (int i = 0; i < 2; i++)
			cdm_wait(&self->cdm, jobs[i], -1, &wait);
		ASSERT_EQ(0, madvise(mem, EXEMPT * window, MADV_DONTNEED));
		ASSERT_EQ(0, madvise(more, window, MADV_DONTNEED));
	}
	munmap(mem, EXEMPT * window);
	munmap(more, window);
	cdm_close(&self->cdm);
}

TEST_HARNESS_MAIN

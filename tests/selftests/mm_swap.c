// SPDX-License-Identifier: GPL-2.0
/*
 * Swap: the kernel reclaims a process's system memory and nothing on the node,
 * under any pressure. Pages from swap come back unchanged for both sides and
 * can move on; pages moving back under pressure are not lost.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(MM_SWAP)
#define LENGTH			(4UL << 20)
#define SWAPPED_IN		512

FIXTURE(swap) {
	struct cdm cdm;
	char *node;	/* first half, on the node */
	char *system;	/* second half */
	size_t half;
	size_t pages;	/* in each half */
	__u64 free;
	__u64 *pfns;	/* of the first half */
	bool on;
};

FIXTURE_SETUP(swap)
{
	int err = cdm_swap_on();

	if (err == -ENODEV)
		SKIP(return, "no disk to swap to");
	ASSERT_EQ(0, err);
	self->on = true;
	ASSERT_EQ(0, cdm_group_enter());
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->free = cdm_free_pages(&self->cdm);
	self->half = LENGTH / 2;
	self->pages = self->half / self->cdm.page;
	self->node = cdm_map(&self->cdm, LENGTH);
	self->pfns = calloc(self->pages, sizeof(*self->pfns));
	ASSERT_NE(NULL, self->node);
	ASSERT_NE(NULL, self->pfns);
	self->system = self->node + self->half;
	cdm_fill(self->node, LENGTH, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->node, self->half, NODE,
				 NULL));
	ASSERT_EQ(self->pages,
		  cdm_on_node(&self->cdm, self->node, self->half));
	ASSERT_EQ(0, cdm_pfns(self->node, self->half, self->pfns));
}

FIXTURE_TEARDOWN(swap)
{
	if (!self->on)
		return;
	if (self->node) {
		munmap(self->node, LENGTH);
		EXPECT_EQ(self->free,
			  cdm_free_settles(&self->cdm, self->free));
		cdm_close(&self->cdm);
	}
	cdm_group_leave();
	/* The test may have done that already. */
	cdm_swap_off();
}

/* Whether the first half has kept its frames. */
static bool same_frames(const struct _test_data_swap *self)
{
	__u64 *now = calloc(self->pages, sizeof(*now));
	bool same = now && !cdm_pfns(self->node, self->half, now) &&
		    !memcmp(now, self->pfns, self->pages * sizeof(*now));

	free(now);
	return same;
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

/*
 * Reclaims all it can, which takes several attempts; returns the pages swapped
 * out.
 */
static size_t swap_out(const char *addr, size_t length)
{
	const size_t pages = length / sysconf(_SC_PAGESIZE);
	size_t gone = 0;

	for (int i = 0; i < 8 && gone < pages; i++) {
		cdm_group_reclaim(length);
		gone = cdm_swapped(addr, length);
	}
	return gone;
}

/* Reclaim takes all of the system memory, and nothing on the node. */
TEST_F(swap, reclaim_leaves_the_node)
{
	long out = cdm_vmstat("pswpout"), in = cdm_vmstat("pswpin");
	/* Some pages may still be in the swap cache. */
	const long cached = self->pages / 8;
	struct hmm_cdm_wait wait;

	EXPECT_EQ(self->pages, swap_out(self->system, self->half));
	EXPECT_LE(out + (long)self->pages, cdm_vmstat("pswpout"));
	EXPECT_EQ(0, cdm_present(self->system, self->half));
	EXPECT_EQ(0, cdm_swapped(self->node, self->half));
	EXPECT_TRUE(same_frames(self));
	/* The device faults them back in, unchanged. */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->node, LENGTH / 8, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, LENGTH / 8), wait.result[0]);
	EXPECT_EQ(self->half, wait.bytes_local);
	EXPECT_EQ(self->half, wait.bytes_remote);
	EXPECT_LE(in + (long)self->pages - cached, cdm_vmstat("pswpin"));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->system, self->half));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	EXPECT_TRUE(same_frames(self));
}

/* Device writes reach the disk. */
TEST_F(swap, device_writes_are_swapped)
{
	for (int i = 1; i < 4; i++) {
		ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->system,
					  self->half, i, NULL));
		EXPECT_EQ(self->pages, swap_out(self->system, self->half));
		EXPECT_EQ(-1, cdm_check_value(self->system, self->half, i));
	}
	EXPECT_TRUE(same_frames(self));
	EXPECT_EQ(-1, cdm_check(self->node, self->half, SEED));
}

/* A swapped-out page counts as absent; once it is back, it moves. */
TEST_F(swap, swapped_is_absent)
{
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_query q;

	ASSERT_EQ(self->pages, swap_out(self->system, self->half));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->system, self->half, NODE,
				 &m));
	EXPECT_EQ(self->pages, m.skipped[HMM_CDM_SKIP_ABSENT]);
	EXPECT_EQ(self->pages, cdm_migrate_sum(&m));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_populate(&self->cdm, self->system,
					  self->half,
					  i ? HMM_CDM_POPULATE_MIGRATE : 0,
					  &p));
		EXPECT_EQ(self->pages, p.skipped[HMM_CDM_SKIP_ABSENT]);
		EXPECT_EQ(0, p.populated);
	}
	ASSERT_EQ(0, cdm_query(&self->cdm, self->system, self->half, NULL,
			       &q));
	EXPECT_EQ(self->pages, q.where[HMM_CDM_WHERE_ABSENT]);
	EXPECT_EQ(self->pages, cdm_swapped(self->system, self->half));

	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->system, self->half, NODE,
				 &m));
	EXPECT_EQ(self->pages, m.migrated);
	EXPECT_EQ(2 * self->pages,
		  cdm_on_node(&self->cdm, self->node, LENGTH));
	/* On the node nothing is reclaimed any more. */
	EXPECT_EQ(0, swap_out(self->node, LENGTH));
	EXPECT_EQ(2 * self->pages,
		  cdm_on_node(&self->cdm, self->node, LENGTH));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
}

/* With advice, a device fault on a swapped-out page brings it to the node. */
TEST_F(swap, advice_brings_it_to_the_node)
{
	struct hmm_cdm_wait wait;

	ASSERT_EQ(self->pages, swap_out(self->system, self->half));
	ASSERT_EQ(0, cdm_advise(&self->cdm, self->system, self->half,
				HMM_CDM_PLACE_NODE, HMM_CDM_ADVISE_MIGRATE));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->node, LENGTH / 8,
					 &wait));
		EXPECT_EQ(cdm_word_sum(SEED, LENGTH / 8), wait.result[0]);
	}
	EXPECT_EQ(2 * self->pages,
		  cdm_on_node(&self->cdm, self->node, LENGTH));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
}

/* A page that a child's swap entry still refers to. */
TEST_F(swap, shared_with_swapped)
{
	struct hmm_cdm_migrate m;
	int ends[2], status;
	char good = 0;
	pid_t pid;

	ASSERT_EQ(self->pages, swap_out(self->system, self->half));
	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (read(ends[0], &good, 1) != 1)
			_exit(1);
		_exit(cdm_check(self->node, LENGTH, SEED) == -1 ? 0 : 2);
	}
	/* Only read, so not copied: page and entry go together. */
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->system, self->half, NODE,
				 &m));
	EXPECT_EQ(self->pages, cdm_migrate_sum(&m));
	EXPECT_EQ(m.migrated,
		  cdm_on_node(&self->cdm, self->system, self->half));
	cdm_fill(self->system, self->half, SEED + 1);
	ASSERT_EQ(1, write(ends[1], "", 1));
	status = cdm_reap(pid, CDM_JOB_MS);
	EXPECT_EQ(0, status);
	EXPECT_EQ(-1, cdm_check(self->system, self->half, SEED + 1));
	EXPECT_EQ(-1, cdm_check(self->node, self->half, SEED));
}

/* Pages move back without memory to spare: both places are charged. */
TEST_F(swap, back_under_pressure)
{
	struct hmm_cdm_migrate m;
	char limit[32];

	EXPECT_LE((long)LENGTH, cdm_group_number("memory.current"));
	/*
	 * Below the present charge: part of the other half has to be swapped
	 * out.
	 */
	snprintf(limit, sizeof(limit), "%lu", LENGTH - self->half / 4);
	ASSERT_EQ(0, cdm_group_set("memory.max", limit));
	EXPECT_LT(0, cdm_swapped(self->system, self->half));
	EXPECT_TRUE(same_frames(self));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->node, self->half, SYSTEM,
				 &m));
	EXPECT_EQ(self->pages, m.migrated);
	/* Back in system memory, all of it can be swapped out. */
	EXPECT_EQ(2 * self->pages, swap_out(self->node, LENGTH));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	EXPECT_GE(atol(limit), cdm_group_number("memory.current"));
	ASSERT_EQ(0, cdm_group_set("memory.max", "max"));
}

/*
 * Returns how much memory to use if a quarter of it has to be reclaimed. What two CPUs
 * have in their batches of the LRU lists, 10 of 31 pages, cannot be reclaimed, nor a
 * window that is being migrated, nor pages that are just written to the disk: if
 * nothing else is left, the OOM killer comes. In whole windows.
 */
static size_t over_the_limit(const struct cdm *cdm)
{
	const size_t busy = 310 * cdm->page + cdm->window;
	const size_t length = 2 * busy + cdm->window - 1;

	return length - length % cdm->window;
}

/* CPU and device use more memory than the limit permits at a time. */
TEST_F(swap, working_set_over_the_limit)
{
	const size_t length = over_the_limit(&self->cdm);
	const long limit = LENGTH + length * 3 / 4;
	char *more = cdm_map(&self->cdm, length), text[32];
	struct hmm_cdm_wait wait;
	long out;

	ASSERT_NE(NULL, more);
	snprintf(text, sizeof(text), "%ld", limit);
	ASSERT_EQ(0, cdm_group_set("memory.max", text));
	out = cdm_vmstat("pswpout");
	for (int i = 1; i < 3; i++) {
		cdm_fill(more, length, SEED + i);
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->node, LENGTH / 8,
					 &wait));
		EXPECT_EQ(cdm_word_sum(SEED, LENGTH / 8), wait.result[0]);
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, more, length / 8, &wait));
		EXPECT_EQ(cdm_word_sum(SEED + i, length / 8), wait.result[0]);
		EXPECT_TRUE(same_frames(self));
	}
	EXPECT_LT(out, cdm_vmstat("pswpout"));
	EXPECT_GE(limit, cdm_group_number("memory.current"));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	EXPECT_EQ(-1, cdm_check(more, length, SEED + 2));
	ASSERT_EQ(0, cdm_group_set("memory.max", "max"));
	munmap(more, length);
}

/* Locked pages stay in memory, also after a stay on the node. */
TEST_F(swap, locked_stays)
{
	const size_t some = self->half / 4;
	const size_t pages = some / self->cdm.page;

	ASSERT_EQ(0, mlock(self->node, some));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->node, self->half, SYSTEM,
				 NULL));
	/* All pages that came back, except the locked ones. */
	EXPECT_EQ(self->pages - pages,
		  swap_out(self->node + some, self->half - some));
	EXPECT_EQ(0, cdm_swapped(self->node, some));
	EXPECT_EQ(pages, cdm_present(self->node, some));
	ASSERT_EQ(0, munlock(self->node, some));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
}

/* swapoff reads everything back while it moves to and fro. */
TEST_F(swap, swapoff_while_migrating)
{
	struct cdm_mover mover = { .interrupted = true };
	struct hmm_cdm_wait wait;
	__u64 job;

	ASSERT_EQ(self->pages, swap_out(self->system, self->half));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->node, LENGTH));
	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				CDM_ARGS(CDM_ADDR(self->node), LENGTH / 8),
				&job));
	EXPECT_EQ(0, cdm_swap_off());
	ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
	cdm_mover_end(&mover);
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(cdm_word_sum(SEED, LENGTH / 8), wait.result[0]);
	EXPECT_EQ(0, mover.err);
	EXPECT_LT(0, mover.migrated);
	EXPECT_EQ(0, cdm_swapped(self->node, LENGTH));
	EXPECT_EQ(2 * self->pages, cdm_present(self->node, LENGTH));
	EXPECT_EQ(0, cdm_meminfo("SwapTotal:"));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
}

/* Reclaim and migration compete for the same pages. */
TEST_F(swap, reclaim_while_migrating)
{
	const __u64 end = cdm_now_ms() + 800;
	struct cdm_mover mover = { .interrupted = true };
	struct hmm_cdm_wait wait;
	long out = cdm_vmstat("pswpout");

	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->node, LENGTH));
	while (cdm_now_ms() < end || !mover.migrated ||
	       cdm_vmstat("pswpout") <= out) {
		ASSERT_EQ(0, cdm_group_reclaim(LENGTH));
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->node, LENGTH / 8,
					 &wait));
		EXPECT_EQ(cdm_word_sum(SEED, LENGTH / 8), wait.result[0]);
	}
	cdm_mover_end(&mover);
	EXPECT_EQ(0, mover.err);
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
}

struct reclaimer {
	pthread_t thread;
	size_t bytes;
	bool stop;
	int err;
};

static void *reclaim(void *arg)
{
	struct reclaimer *reclaimer = arg;

	while (!__atomic_load_n(&reclaimer->stop, __ATOMIC_RELAXED)) {
		int err = cdm_group_reclaim(reclaimer->bytes);

		if (err)
			reclaimer->err = err;
		/* Otherwise pages from the disk do not stay long enough. */
		cdm_sleep_ms(10);
	}
	return NULL;
}

/*
 * More memory than a full node and the limit hold together: pages are evicted
 * from the node, and swapped out for what the device has read back.
 */
TEST_F_TIMEOUT(swap, reclaim_while_evicting, 60)
{
	const __u64 end = cdm_now_ms() + 800;
	const size_t more = over_the_limit(&self->cdm);
	struct reclaimer reclaimer = { .bytes = more / 8 };
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;
	size_t length, pages;
	__u64 evicted = 0;
	struct cdm small;
	char limit[32];
	long out, in, max;
	char *mem;

	ASSERT_EQ(0, cdm_open(&small, 1));
	length = small.info.capacity + more;
	pages = small.info.capacity / small.page;
	mem = cdm_map(&small, length);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, length, SEED + 1);
	ASSERT_EQ(0, migrate_evicting(&small, mem, length, &m));
	ASSERT_EQ(pages, cdm_on_node(&small, mem, length));
	/*
	 * The node's pages cannot be reclaimed, so a quarter of the others has
	 * to be.
	 */
	out = cdm_vmstat("pswpout");
	in = cdm_vmstat("pswpin") + SWAPPED_IN;
	max = LENGTH + small.info.capacity + more * 3 / 4;
	snprintf(limit, sizeof(limit), "%ld", max);
	ASSERT_EQ(0, cdm_group_set("memory.max", limit));
	ASSERT_EQ(0, pthread_create(&reclaimer.thread, NULL, reclaim,
				    &reclaimer));
	while (cdm_now_ms() < end || evicted <= pages / 4 ||
	       cdm_vmstat("pswpout") <= out || cdm_vmstat("pswpin") <= in) {
		ASSERT_EQ(0, cdm_run_sum(&small, mem, length / 8, &wait));
		ASSERT_EQ(cdm_word_sum(SEED + 1, length / 8), wait.result[0]);
		ASSERT_EQ(0, migrate_evicting(&small, mem, length, &m));
		EXPECT_EQ(length / small.page, cdm_migrate_sum(&m));
		evicted += m.evicted;
	}
	__atomic_store_n(&reclaimer.stop, true, __ATOMIC_RELAXED);
	pthread_join(reclaimer.thread, NULL);
	EXPECT_EQ(0, reclaimer.err);
	EXPECT_GE(max, cdm_group_number("memory.current"));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED + 1));
	EXPECT_EQ(-1, cdm_check(self->node, LENGTH, SEED));
	EXPECT_TRUE(same_frames(self));
	ASSERT_EQ(0, cdm_group_set("memory.max", "max"));
	munmap(mem, length);
	EXPECT_EQ(pages, cdm_free_settles(&small, pages));
	cdm_close(&small);
}

TEST_HARNESS_MAIN

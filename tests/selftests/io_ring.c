// SPDX-License-Identifier: GPL-2.0
/*
 * io_uring on memory of the node: requests work in place; registered buffers
 * are pinned for long, so they leave the node first and can return later.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <sys/mman.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"
#include "cdm_ring.h"

#define SEED			CDM_SEED(IO_RING)
#define PAGES			32
#define ROUNDS			5

FIXTURE(ring) {
	struct cdm cdm;
	struct cdm_ring ring;
	char *mem;	/* on the node, with the pattern of SEED */
	size_t length;
	size_t page;
	__u64 free;
	int file;	/* with the pattern of SEED + 1 */
};

FIXTURE_SETUP(ring)
{
	int err = cdm_ring_open(&self->ring, 4);

	if (err)
		SKIP(return, "no io_uring: errno %d", -err);
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	self->file = cdm_pattern_file(true, self->length, SEED + 1);
	ASSERT_LE(0, self->file);
}

FIXTURE_TEARDOWN(ring)
{
	munmap(self->mem, self->length);
	cdm_ring_close(&self->ring);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
	close(self->file);
}

static int transfer(struct _test_data_ring *self, unsigned int op)
{
	int n = cdm_ring_do(&self->ring, op, self->file, self->mem,
			    self->length, 0);

	return n == (int)self->length ? 0 : n < 0 ? n : -EIO;
}

static int move(const struct _test_data_ring *self, struct hmm_cdm_migrate *m)
{
	return cdm_migrate(&self->cdm, self->mem, self->length, NODE, m);
}

/*
 * Returns the number of pages that move to the node. The ring drops what was
 * registered with the last request that used it. A worker of the ring may leave that
 * to this thread, and interrupts its call as a signal would.
 */
static size_t come_back(const struct _test_data_ring *self)
{
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;
	size_t come = 0;

	do {
		struct hmm_cdm_migrate m;
		int err = move(self, &m);

		if (err && err != -EINTR)
			break;
		come += m.migrated;
	} while (come < PAGES && cdm_now_ms() <= deadline);
	return come;
}

/* Returns zero if the device reads the pattern of @seed. */
static int device_sees(const struct _test_data_ring *self, __u64 seed)
{
	struct hmm_cdm_wait wait;
	int err = cdm_run_sum(&self->cdm, self->mem, self->length / 8, &wait);

	return err ? err : wait.result[0] == cdm_word_sum(seed,
				self->length / 8) ? 0 : -EIO;
}

TEST_F(ring, requests)
{
	__u64 pfns[2][PAGES];

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[0]));
	ASSERT_EQ(0, device_sees(self, SEED));
	ASSERT_EQ(0, transfer(self, IORING_OP_READ));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	EXPECT_EQ(0, device_sees(self, SEED + 1));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 7,
				  NULL));
	ASSERT_EQ(0, transfer(self, IORING_OP_WRITE));
	memset(self->mem, 0, self->length);
	ASSERT_EQ((ssize_t)self->length,
		  pread(self->file, self->mem, self->length, 0));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 7));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[1]));
	EXPECT_EQ(0, memcmp(pfns[0], pfns[1], sizeof(pfns[0])));
}

/* A buffer of node pages, system pages and holes. */
TEST_F(ring, registered_mixed)
{
	const size_t quarter = self->length / 4;
	struct hmm_cdm_migrate m;
	int err;

	/* Pinning pages twice puts them into an LRU batch of this CPU. */
	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem + quarter, quarter,
				 SYSTEM, NULL));
	ASSERT_EQ(0, madvise(self->mem + 2 * quarter, quarter, MADV_DONTNEED));
	err = cdm_ring_register(&self->ring, self->mem, self->length);
	if (err == -ENOMEM)
		SKIP(return, "RLIMIT_MEMLOCK is too small");
	ASSERT_EQ(0, err);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * quarter, SEED));
	EXPECT_EQ(-1, cdm_check_value(self->mem + 2 * quarter, quarter, 0));

	/* All pages are pinned, and both sides use them in place. */
	ASSERT_EQ(0, move(self, &m));
	EXPECT_EQ(PAGES, m.skipped[HMM_CDM_SKIP_PINNED]);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&m));
	ASSERT_EQ(0, transfer(self, IORING_OP_READ_FIXED));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	EXPECT_EQ(0, device_sees(self, SEED + 1));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 9,
				  NULL));
	ASSERT_EQ(0, transfer(self, IORING_OP_WRITE_FIXED));

	ASSERT_EQ(0, cdm_ring_register(&self->ring, NULL, 0));
	EXPECT_EQ(PAGES, come_back(self));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 9));
	ASSERT_EQ((ssize_t)self->length,
		  pread(self->file, self->mem, self->length, 0));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 9));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/* Pages that POPULATE provided and that are still untouched. */
TEST_F(ring, registered_untouched)
{
	struct hmm_cdm_populate p;

	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length / 2, 0,
				  &p));
	ASSERT_EQ(PAGES / 2, p.populated);
	ASSERT_EQ(0, cdm_ring_register(&self->ring, self->mem, self->length));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
	/* All pages are present now, and pinned pages do not move. */
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &p));
	EXPECT_EQ(0, p.populated + p.migrated);
	EXPECT_EQ(PAGES, p.skipped[HMM_CDM_SKIP_PINNED]);
	ASSERT_EQ(0, transfer(self, IORING_OP_READ_FIXED));
	ASSERT_EQ(0, cdm_ring_register(&self->ring, NULL, 0));
	EXPECT_EQ(PAGES, come_back(self));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
}

/* Pinning races with moving: one of them wins, and no data is lost. */
TEST_F(ring, register_while_pages_move)
{
	struct hmm_cdm_migrate m;
	struct cdm_mover mover = { .target = SYSTEM };
	size_t wrong = 0;
	int failed = 0;

	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	for (int i = 0; i < ROUNDS; i++) {
		__u64 moved = __atomic_load_n(&mover.migrated,
					      __ATOMIC_RELAXED);
		__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;
		int err = cdm_ring_register(&self->ring, self->mem,
					    self->length);

		/*
		 * Pages that move all the time cannot be pinned, which is an
		 * error.
		 */
		if (err) {
			EXPECT_TRUE(err == -EAGAIN || err == -EBUSY ||
				    err == -EFAULT || err == -ENOMEM) {
				TH_LOG("round %d: %d", i, err);
			}
			failed++;
			continue;
		}
		wrong += cdm_on_node(&self->cdm, self->mem, self->length) != 0;
		cdm_fill(self->mem, self->length, SEED + 2 + i);
		wrong += transfer(self, IORING_OP_WRITE_FIXED) != 0;
		memset(self->mem, 0, self->length);
		wrong += transfer(self, IORING_OP_READ_FIXED) != 0;
		wrong += cdm_check(self->mem, self->length, SEED + 2 + i) != -1;
		ASSERT_EQ(0, cdm_ring_register(&self->ring, NULL, 0));
		/* Let some pages move before the next round. */
		while (__atomic_load_n(&mover.migrated, __ATOMIC_RELAXED) ==
		       moved && cdm_now_ms() < deadline)
			cdm_sleep_ms(1);
		wrong += cdm_check(self->mem, self->length, SEED + 2 + i) != -1;
	}
	EXPECT_TRUE(cdm_mover_end(&mover));
	EXPECT_EQ(0, wrong);
	EXPECT_GT(ROUNDS, failed);
	ASSERT_EQ(0, move(self, &m));
	EXPECT_EQ(PAGES, m.migrated + m.present);
}

/* The process dies with its ring: no page stays pinned. */
TEST_F(ring, owner_killed)
{
	struct hmm_cdm_migrate m;
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;
	int ready[2];
	pid_t pid;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm_ring ring;

		/*
		 * The pages are shared with the parent, so the child gets
		 * copies in system memory.
		 */
		_exit(cdm_ring_open(&ring, 1) ||
		      cdm_ring_register(&ring, self->mem, self->length) ||
		      cdm_on_node(&self->cdm, self->mem, self->length) ||
		      write(ready[1], "", 1) != 1 || pause());
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	kill(pid, SIGKILL);
	EXPECT_EQ(-1, cdm_reap(pid, CDM_JOB_MS));
	do {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, &m));
	} while (m.skipped[HMM_CDM_SKIP_PINNED] && cdm_now_ms() < deadline);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	close(ready[0]);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * A disk reads and writes the node's memory (O_DIRECT): in place, at any
 * offset, with many requests in flight, while pages move and the device works.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"
#include "cdm_ring.h"

#define SEED			CDM_SEED(IO_DIRECT)
#define PAGES			32
#define SECTOR			512
#define DEPTH			16
#define RACE_MS			1500

FIXTURE(direct) {
	struct cdm cdm;
	struct cdm_ring ring;
	char *mem;	/* on the node, with the pattern of SEED */
	char *copy;	/* in system memory */
	size_t length;
	size_t page;
	__u64 free;
	__u64 pfns[PAGES];
	int disk;
};

FIXTURE_SETUP(direct)
{
	__u64 size = 0;

	/* Exclusive, as the disk may be in use for swap. */
	self->disk = open(DISK, O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC);
	if (self->disk < 0)
		SKIP(return, "no " DISK ": errno %d", errno);
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	ASSERT_EQ(0, ioctl(self->disk, BLKGETSIZE64, &size));
	ASSERT_LE(2 * self->length, size);
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	self->copy = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->copy);
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, self->pfns));
}

FIXTURE_TEARDOWN(direct)
{
	munmap(self->mem, self->length);
	munmap(self->copy, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
	close(self->disk);
}

static void expect_in_place(struct __test_metadata *_metadata,
			    const struct _test_data_direct *self)
{
	__u64 pfns[PAGES];

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, sizeof(pfns)));
}

/* The disk gets what CPU and device wrote, and both read what the disk has. */
TEST_F(direct, out_and_in)
{
	const ssize_t length = self->length;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(length, pwrite(self->disk, self->mem, length, 0));
	ASSERT_EQ(length, pread(self->disk, self->copy, length, 0));
	EXPECT_EQ(-1, cdm_check(self->copy, length, SEED));

	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, length, 5, NULL));
	ASSERT_EQ(length, pwrite(self->disk, self->mem, length, length));
	ASSERT_EQ(length, pread(self->disk, self->copy, length, length));
	EXPECT_EQ(-1, cdm_check_value(self->copy, length, 5));

	/* The device has entries for these pages, and sees the new content. */
	ASSERT_EQ(length, pread(self->disk, self->mem, length, 0));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, length / 8, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, length / 8), wait.result[0]);
	EXPECT_EQ(-1, cdm_check(self->mem, length, SEED));
	expect_in_place(_metadata, self);
}

/* Parts of pages, across their borders: no byte beside them changes. */
TEST_F(direct, pieces)
{
	const struct { size_t at, length; } pieces[] = {
		{ 0, SECTOR },
		{ SECTOR, 2 * SECTOR },
		{ self->page - SECTOR, SECTOR },
		{ 2 * self->page - SECTOR, 2 * SECTOR },
		{ 3 * self->page + 3 * SECTOR, 2 * self->page },
		{ 6 * self->page + SECTOR, 20 * self->page + 2 * SECTOR },
	};
	size_t wrong = 0;

	/* One pattern on the disk, another in memory. */
	cdm_fill(self->copy, self->length, SEED + 1);
	ASSERT_EQ((ssize_t)self->length,
		  pwrite(self->disk, self->copy, self->length, 0));
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		ASSERT_EQ((ssize_t)pieces[i].length,
			  pread(self->disk, self->mem + pieces[i].at,
				pieces[i].length, pieces[i].at));
	for (size_t i = 0; i < self->length / 8; i++) {
		__u64 seed = SEED;

		for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
			if (pieces[j].at <= i * 8 &&
			    i * 8 < pieces[j].at + pieces[j].length)
				seed = SEED + 1;
		wrong += ((__u64 *)self->mem)[i] != cdm_word(seed, i);
	}
	EXPECT_EQ(0, wrong);

	/* And back, to a disk of zeros. */
	memset(self->copy, 0, self->length);
	ASSERT_EQ((ssize_t)self->length,
		  pwrite(self->disk, self->copy, self->length, 0));
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		ASSERT_EQ((ssize_t)pieces[i].length,
			  pwrite(self->disk, self->mem + pieces[i].at,
				 pieces[i].length, pieces[i].at));
	ASSERT_EQ((ssize_t)self->length,
		  pread(self->disk, self->copy, self->length, 0));
	for (size_t i = 0; i < self->length / 8; i++) {
		__u64 value = 0;

		for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
			if (pieces[j].at <= i * 8 &&
			    i * 8 < pieces[j].at + pieces[j].length)
				value = cdm_word(SEED + 1, i);
		wrong += ((__u64 *)self->copy)[i] != value;
	}
	EXPECT_EQ(0, wrong);
	expect_in_place(_metadata, self);
}

/*
 * One request over node pages, system pages, holes, and pages shared after
 * fork(2).
 */
TEST_F(direct, mixed)
{
	size_t quarter = self->length / 4;
	struct iovec iov[] = {
		{ self->mem + quarter, quarter },
		{ self->mem, quarter },
		{ self->mem + 2 * quarter, 2 * quarter },
	};
	struct cdm_child child;

	ASSERT_EQ((ssize_t)self->length,
		  pwritev(self->disk, iov, ARRAY_SIZE(iov), 0));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem + quarter, quarter,
				 SYSTEM, NULL));
	ASSERT_EQ(0, madvise(self->mem + 2 * quarter, quarter, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_child_start(&child, NULL, NULL));
	memset(self->mem + quarter, 0, self->page);
	ASSERT_EQ((ssize_t)self->length,
		  preadv(self->disk, iov, ARRAY_SIZE(iov), 0));
	ASSERT_EQ(0, cdm_child_end(&child));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	/* The read has copied the shared pages first. */
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/*
 * Pages move to and fro under continuous requests: the disk never writes to a
 * page that the process does not have any more. The device adds to words of the
 * same pages, beside what is read.
 */
TEST_F(direct, while_pages_move)
{
	const size_t sectors = self->page / SECTOR;
	size_t wrong = 0, done = 0, at[DEPTH];
	struct cdm_mover mover = { .target = SYSTEM };
	struct hmm_cdm_wait wait;
	__u64 deadline, job, id, *counter;
	bool stopping = false;
	int flying = 0, err;

	err = cdm_ring_open(&self->ring, DEPTH);
	if (err)
		SKIP(return, "no io_uring: errno %d", -err);
	/* Every sector holds different data. */
	cdm_fill(self->copy, self->length, SEED + 2);
	ASSERT_EQ((ssize_t)self->length,
		  pwrite(self->disk, self->copy, self->length, 0));
	/* Only the device writes to the first sector of the first page. */
	counter = (__u64 *)self->mem;
	*counter = 0;
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, counter, 400000, &job));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	deadline = cdm_now_ms() + RACE_MS;
	for (size_t i = 0; i < DEPTH; i++) {
		/* Each request has its own sectors; several share a page. */
		at[i] = (i / 2 * sectors + 1 + i % 2 * 3) * SECTOR;
		memset(self->mem + at[i], 0, 2 * SECTOR);
		ASSERT_EQ(0, cdm_ring_start(&self->ring, IORING_OP_READ,
					    self->disk, self->mem + at[i],
					    2 * SECTOR, at[i], i));
		flying++;
	}
	while (flying) {
		ASSERT_EQ(2 * SECTOR, cdm_ring_wait(&self->ring, &id));
		ASSERT_GT(DEPTH, id);
		wrong += !!memcmp(self->mem + at[id], self->copy + at[id],
				  2 * SECTOR);
		done++;
		flying--;
		stopping = cdm_now_ms() > deadline && done >= 4 * DEPTH;
		if (stopping)
			continue;
		memset(self->mem + at[id], 0, 2 * SECTOR);
		ASSERT_EQ(0, cdm_ring_start(&self->ring, IORING_OP_READ,
					    self->disk, self->mem + at[id],
					    2 * SECTOR, at[id], id));
		flying++;
	}
	EXPECT_TRUE(cdm_mover_end(&mover));
	EXPECT_EQ(0, wrong);
	TH_LOG("%zu requests, %llu pages moved", done,
	       (unsigned long long)mover.migrated);
	ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(400000, *counter);
	/*
	 * The pins of the requests are dropped, at the latest after a moment. Pages
	 * may be in the LRU batches of the CPU where the mover ran, which a migration
	 * does not drain; compaction drains all.
	 */
	deadline = cdm_now_ms() + CDM_SETTLE_MS;
	do {
		cdm_write("/proc/sys/vm/compact_memory", "1");
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 NODE, NULL));
	} while (cdm_on_node(&self->cdm, self->mem, self->length) < PAGES &&
		 cdm_now_ms() < deadline);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	cdm_ring_close(&self->ring);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of the node in a pipe (vmsplice(2)), gifted or not, are pinned until
 * they are read. They stay where they are, move again afterwards, and keep
 * their content.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(IO_SPLICE)
#define PAGES			32
#define PINNED			(PAGES / 4)	/* in the pipe, the first ones */
#define ROUNDS			60

FIXTURE(splice) {
	struct cdm cdm;
	char *mem;	/* on the node, with the pattern of SEED */
	char *copy;
	size_t length;
	size_t pinned;	/* bytes */
	size_t page;
	__u64 free;
	int pipe[2];
};

FIXTURE_VARIANT(splice) {
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(splice, lent) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(splice, gift) {
	.flags = SPLICE_F_GIFT,
};

FIXTURE_SETUP(splice)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->pinned = PINNED * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	self->copy = malloc(self->length);
	ASSERT_NE(NULL, self->copy);
	ASSERT_EQ(0, pipe2(self->pipe, O_CLOEXEC | O_NONBLOCK));
	ASSERT_LE((int)self->pinned,
		  fcntl(self->pipe[1], F_SETPIPE_SZ, (int)self->pinned));
}

FIXTURE_TEARDOWN(splice)
{
	close(self->pipe[0]);
	close(self->pipe[1]);
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
	free(self->copy);
}

static ssize_t put(const struct _test_data_splice *self, size_t length,
		   unsigned int flags)
{
	struct iovec iov = { self->mem, length };
	ssize_t n = vmsplice(self->pipe[1], &iov, 1, flags);

	return n < 0 ? -errno : n;
}

static ssize_t get(const struct _test_data_splice *self, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = read(self->pipe[0], self->copy + done,
				 length - done);

		if (n <= 0)
			return n ? -errno : (ssize_t)done;
		done += n;
	}
	return done;
}

/*
 * Pages in the pipe do not move; the others do, and so do these once they are
 * read.
 */
TEST_F(splice, pinned)
{
	struct hmm_cdm_migrate m;

	ASSERT_EQ((ssize_t)self->pinned,
		  put(self, self->pinned, variant->flags));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &m));
	EXPECT_EQ(PINNED, m.skipped[HMM_CDM_SKIP_PINNED]);
	EXPECT_EQ(PAGES - PINNED, m.migrated);
	EXPECT_EQ(PINNED, cdm_on_node(&self->cdm, self->mem, self->pinned));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	/* The reader sees what the device writes to the pages meanwhile. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->pinned / 2, 6,
				  NULL));
	ASSERT_EQ((ssize_t)self->pinned, get(self, self->pinned));
	EXPECT_EQ(-1, cdm_check_value(self->copy, self->pinned / 2, 6));
	EXPECT_EQ(0, memcmp(self->copy, self->mem, self->pinned));

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &m));
	EXPECT_EQ(PINNED, m.migrated);
	EXPECT_EQ(0, memcmp(self->copy, self->mem, self->pinned));
	/* The same for pages in system memory. */
	ASSERT_EQ((ssize_t)self->pinned,
		  put(self, self->pinned, variant->flags));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PINNED, m.skipped[HMM_CDM_SKIP_PINNED]);
	ASSERT_EQ((ssize_t)self->pinned, get(self, self->pinned));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PINNED, m.migrated);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/* The pages outlive their mapping until they are read. */
TEST_F(splice, outlives_mapping)
{
	ASSERT_EQ((ssize_t)self->pinned,
		  put(self, self->pinned, variant->flags));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(self->free - PINNED,
		  cdm_free_settles(&self->cdm, self->free - PINNED));
	ASSERT_EQ((ssize_t)self->pinned, get(self, self->pinned));
	EXPECT_EQ(-1, cdm_check(self->copy, self->pinned, SEED));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
}

/* They are freed when the pipe is closed unread. */
TEST_F(splice, never_read)
{
	ASSERT_EQ((ssize_t)self->pinned,
		  put(self, self->pinned, variant->flags));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	close(self->pipe[0]);
	close(self->pipe[1]);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	ASSERT_EQ(0, pipe2(self->pipe, O_CLOEXEC | O_NONBLOCK));
}

/* From the pipe to a file, and read back into the node. */
TEST_F(splice, to_file)
{
	int files[] = {
		cdm_pattern_file(true, self->length, SEED + 1),
		cdm_pattern_file(false, self->length, SEED + 1),
	};
	__u64 pfns[2][PAGES];

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[0]));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		loff_t at = 0;

		ASSERT_LE(0, files[i]);
		ASSERT_EQ((ssize_t)self->pinned,
			  put(self, self->pinned, variant->flags));
		while (at < (loff_t)self->pinned)
			ASSERT_LT(0, splice(self->pipe[0], NULL, files[i], &at,
					    self->pinned - at, SPLICE_F_MOVE));
		memset(self->mem, 0, self->pinned);
		ASSERT_EQ((ssize_t)self->pinned,
			  pread(files[i], self->mem, self->pinned, 0));
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
		close(files[i]);
	}
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[1]));
	EXPECT_EQ(0, memcmp(pfns[0], pfns[1], sizeof(pfns[0])));
}

/*
 * Pages are pinned for moments while a thread moves them: pinned ones are
 * skipped and tried again, and the reader gets what was written last.
 */
TEST_F(splice, while_pages_move)
{
	struct hmm_cdm_migrate m;
	struct cdm_mover mover = { .target = SYSTEM };
	size_t wrong = 0;

	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	for (int i = 0; i < ROUNDS; i++) {
		__u64 *first = (__u64 *)self->mem;
		size_t stride = self->page / 8;

		ASSERT_EQ((ssize_t)self->pinned,
			  put(self, self->pinned, variant->flags));
		/* The reader sees writes to the pinned page. */
		for (size_t j = 0; j < PINNED; j++)
			first[j * stride] = i;
		if (i % 10 == 0)
			cdm_sleep_ms(10);
		ASSERT_EQ((ssize_t)self->pinned, get(self, self->pinned));
		for (size_t j = 0; j < PINNED; j++) {
			__u64 *seen = (__u64 *)self->copy + j * stride;

			wrong += seen[0] != (__u64)i ||
				 seen[1] != cdm_word(SEED, j * stride + 1);
		}
	}
	EXPECT_TRUE(cdm_mover_end(&mover));
	EXPECT_EQ(0, wrong);
	for (size_t j = 0; j < PINNED; j++)
		((__u64 *)self->mem)[j * self->page / 8] =
			cdm_word(SEED, j * self->page / 8);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES, m.migrated + m.present);
}

TEST_HARNESS_MAIN

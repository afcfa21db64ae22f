// SPDX-License-Identifier: GPL-2.0
/*
 * mremap(2), mprotect(2) and mlock(2) on memory of the node: pages move along,
 * stay or are freed as system pages are, and the device has exactly the
 * process's rights, at the process's addresses.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(MM_REMAP)
#define PAGES			32
#define RACE_MS			800
#define ADDS			100000

FIXTURE(remap) {
	struct cdm cdm;
	char *mem;	/* all on the node */
	char *room;	/* untouched, as long */
	size_t length;
	size_t page;
	__u64 free;
	__u64 pfns[PAGES];
};

FIXTURE_SETUP(remap)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map(&self->cdm, self->length);
	self->room = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->room);
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, self->pfns));
	/* The device has entries for all of it, which it has to lose. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->room, 8, 0, NULL));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 NULL));
}

FIXTURE_TEARDOWN(remap)
{
	munlockall();
	munmap(self->mem, self->length);
	munmap(self->room, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* Whether the pages at @addr have the frames of @nr pages from @first on. */
static bool have_frames(const struct _test_data_remap *self, const char *addr,
			size_t first, size_t nr)
{
	__u64 pfns[PAGES];

	return !cdm_pfns(addr, nr * self->page, pfns) &&
	       !memcmp(pfns, self->pfns + first, nr * sizeof(*pfns));
}

/* The pattern of SEED from @offset on. */
static bool as_filled(const char *addr, size_t offset, size_t length)
{
	const __u64 *word = (const __u64 *)addr;

	for (size_t i = 0; i < length / 8; i++)
		if (word[i] != cdm_word(SEED, offset / 8 + i))
			return false;
	return true;
}

/* Pages from the middle replace other pages of the node, which are freed. */
TEST_F(remap, part_over_others)
{
	const size_t at = 5 * self->page, part = 9 * self->page;
	char *to = self->room + 3 * self->page;
	struct hmm_cdm_wait wait;

	cdm_fill(self->room, self->length, SEED + 1);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->room, self->length, NODE,
				 NULL));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->room, self->length / 8,
				 NULL));
	ASSERT_EQ(self->free - 2 * PAGES, cdm_free_pages(&self->cdm));
	ASSERT_EQ(to, mremap(self->mem + at, part, part,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(self->free - 2 * PAGES + 9,
		  cdm_free_settles(&self->cdm, self->free - 2 * PAGES + 9));
	EXPECT_TRUE(have_frames(self, to, 5, 9));
	EXPECT_TRUE(have_frames(self, self->mem, 0, 5));
	EXPECT_TRUE(have_frames(self, self->mem + at + part, 14, PAGES - 14));
	EXPECT_TRUE(as_filled(to, at, part));
	/*
	 * The device reads the pages at their new address, and nothing at the
	 * old one.
	 */
	ASSERT_EQ(0, cdm_run_copy(&self->cdm, self->mem, to, self->page,
				  NULL));
	EXPECT_TRUE(as_filled(self->mem, at, self->page));
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem + at, 1, &wait));
	EXPECT_EQ(CDM_ADDR(self->mem + at), wait.fault_addr);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm,
					self->mem + at + part - 8, 8, 1,
					NULL));
}

/* The old range stays mapped and is untouched again, for both sides. */
TEST_F(remap, dontunmap)
{
	char *to = mremap(self->mem, self->length, self->length,
			  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	struct hmm_cdm_wait wait;

	ASSERT_NE(MAP_FAILED, to);
	EXPECT_TRUE(have_frames(self, to, 0, PAGES));
	EXPECT_EQ(0, cdm_present(self->mem, self->length));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(0, wait.result[0]);
	EXPECT_EQ(0, wait.bytes_local);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 6,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 6));
	EXPECT_TRUE(as_filled(to, 0, self->length));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, to, self->length / 8, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	EXPECT_EQ(self->length, wait.bytes_local);
	/* POPULATE can back it again. */
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  NULL));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
	munmap(to, self->length);
}

/*
 * The part cut off is freed and out of the device's reach; the part added is
 * zero.
 */
TEST_F(remap, shrink_and_grow)
{
	const size_t half = self->length / 2;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(self->mem, mremap(self->mem, self->length, half, 0));
	EXPECT_EQ(self->free - PAGES / 2,
		  cdm_free_settles(&self->cdm, self->free - PAGES / 2));
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem + half, 1,
				       &wait));
	EXPECT_EQ(CDM_ADDR(self->mem + half), wait.fault_addr);
	ASSERT_EQ(self->mem, mremap(self->mem, half, self->length, 0));
	EXPECT_TRUE(have_frames(self, self->mem, 0, PAGES / 2));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem + half, half / 8,
				 &wait));
	EXPECT_EQ(0, wait.result[0]);
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, NULL));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_TRUE(as_filled(self->mem, 0, half));
	EXPECT_EQ(-1, cdm_check_value(self->mem + half, half, 0));
}

/* A mapping that cannot grow in place moves, with its pages. */
TEST_F(remap, grow_elsewhere)
{
	const size_t half = self->length / 2;
	char *to;

	/* The second half, another mapping, is in its way. */
	ASSERT_EQ(0, mprotect(self->mem + half, half, PROT_READ));
	EXPECT_EQ(MAP_FAILED, mremap(self->mem, half, self->length, 0));
	EXPECT_EQ(ENOMEM, errno);
	to = mremap(self->mem, half, self->length, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_TRUE(have_frames(self, to, 0, PAGES / 2));
	EXPECT_TRUE(have_frames(self, self->mem + half, PAGES / 2, PAGES / 2));
	EXPECT_TRUE(as_filled(to, 0, half));
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, to, self->length, 3, NULL));
	EXPECT_EQ(-1, cdm_check_value(to, self->length, 3));
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem, 1, NULL));
	munmap(to, self->length);
}

/*
 * The page that a job adds to is moved away again and again: the job goes on
 * with a new page, and no add is lost.
 */
TEST_F(remap, under_a_job)
{
	__u64 *word = (__u64 *)self->mem, sum = 0, job;
	struct hmm_cdm_wait wait;
	int taken = 0;

	*word = 0;
	ASSERT_EQ(0, cdm_start_adds(&self->cdm, word, ADDS, &job));
	while (cdm_wait(&self->cdm, job, 0, &wait) == -ETIMEDOUT) {
		char *to = mremap(self->mem, self->page, self->page,
				  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

		ASSERT_NE(MAP_FAILED, to);
		/*
		 * Once mremap() has returned, nothing writes to the moved page.
		 */
		sum += *(__u64 *)to;
		munmap(to, self->page);
		taken++;
		if (taken % 2)
			cdm_populate(&self->cdm, self->mem, self->page, 0,
				     NULL);
		usleep(500);
	}
	EXPECT_EQ(0, wait.status);
	EXPECT_LT(1, taken);
	EXPECT_EQ(ADDS, sum + *word);
}

/* Both addresses of a mapping are migrated while it moves between them. */
TEST_F(remap, while_migrating)
{
	const __u64 end = cdm_now_ms() + RACE_MS;
	struct cdm_mover movers[2] = {
		{ .allowed = -ENOMEM, .interrupted = true },
		{ .allowed = -ENOMEM, .interrupted = true },
	};
	char *from = self->mem, *to = self->room;
	struct hmm_cdm_wait wait;
	int rounds = 0;

	ASSERT_EQ(0, cdm_mover_start(&movers[0], &self->cdm, self->mem,
				     self->length));
	ASSERT_EQ(0, cdm_mover_start(&movers[1], &self->cdm, self->room,
				     self->length));
	while (cdm_now_ms() < end || rounds < 2 ||
	       movers[0].migrated + movers[1].migrated <= PAGES) {
		const size_t half = self->length / 2;
		char *swap = from;

		/* In two parts, with a border inside the window. */
		ASSERT_EQ(to + half, mremap(from + half, half, half,
					    MREMAP_MAYMOVE | MREMAP_FIXED,
					    to + half));
		ASSERT_EQ(to, mremap(from, half, half,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		from = to;
		to = swap;
		ASSERT_EQ(-1, cdm_check(from, self->length, SEED));
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, from, self->length / 8,
					 &wait));
		ASSERT_EQ(cdm_word_sum(SEED, self->length / 8),
			  wait.result[0]);
		ASSERT_EQ(-EFAULT, cdm_run_sum(&self->cdm, to, 1, NULL));
		rounds++;
	}
	for (int i = 0; i < 2; i++) {
		cdm_mover_end(&movers[i]);
		EXPECT_EQ(0, movers[i].err);
	}
}

/*
 * mprotect() of single pages at random, under a device that reads and writes
 * and a thread that moves: each access obeys the rights of its page.
 */
TEST_F(remap, protect_storm)
{
	static const int rights[] = {
		PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
	};
	const __u64 end = cdm_now_ms() + RACE_MS;
	__u64 value[PAGES] = {};
	struct cdm_mover mover = { .interrupted = true };
	unsigned int random = 1;
	int now[PAGES] = {}, refused = 0, done = 0;

	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 0,
				  NULL));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	while (cdm_now_ms() < end || mover.migrated <= PAGES || !refused ||
	       refused == done) {
		size_t first = rand_r(&random) % PAGES;
		size_t nr = 1 + rand_r(&random) % (PAGES - first);
		size_t i = rand_r(&random) % PAGES;
		int right = rand_r(&random) % 3;
		char *at = self->mem + i * self->page;
		struct hmm_cdm_wait wait;

		ASSERT_EQ(0, mprotect(self->mem + first * self->page,
				      nr * self->page, rights[right]));
		for (size_t j = first; j < first + nr; j++)
			now[j] = right;
		right = now[i];
		ASSERT_EQ(right ? -EFAULT : 0,
			  cdm_run_fill(&self->cdm, at, self->page, done,
				       &wait));
		if (right) {
			ASSERT_EQ(CDM_ADDR(at), wait.fault_addr);
			ASSERT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
			refused++;
		} else {
			value[i] = done;
		}
		ASSERT_EQ(right == 2 ? -EFAULT : 0,
			  cdm_run_sum(&self->cdm, at, self->page / 8, &wait));
		if (right != 2)
			ASSERT_EQ(value[i] * self->page / 8, wait.result[0]);
		ASSERT_EQ(right != 2, cdm_can_read(at));
		ASSERT_EQ(!right, cdm_can_write(at, value[i]));
		done++;
	}
	cdm_mover_end(&mover);
	EXPECT_EQ(0, mover.err);
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(-1, cdm_check_value(self->mem + i * self->page,
					      self->page, value[i]));
}

/*
 * mlock() fills holes with system memory; MLOCK_ONFAULT leaves them to the
 * node.
 */
TEST_F(remap, lock)
{
	const long kb = self->length / 1024;
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;

	/*
	 * mlock_folio() keeps pages in a batch of this CPU, which munlock()
	 * drains on the same CPU only.
	 */
	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_EQ(0, madvise(self->room, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, mlock(self->room, self->length));
	EXPECT_EQ(PAGES, cdm_present(self->room, self->length));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->room, self->length));
	EXPECT_EQ(kb, cdm_smaps(self->room, "Locked:"));
	/*
	 * On the node they are locked, too, though reclaim would not touch
	 * them.
	 */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->room, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES, m.migrated);
	EXPECT_EQ(kb, cdm_smaps(self->room, "Locked:"));
	/* Locked pages can be discarded only with MADV_DONTNEED_LOCKED. */
	EXPECT_EQ(-1, madvise(self->room, self->length, MADV_DONTNEED));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->room, self->length));
	ASSERT_EQ(0, madvise(self->room, self->length,
			     MADV_DONTNEED_LOCKED));
	EXPECT_EQ(0, cdm_present(self->room, self->length));
	ASSERT_EQ(0, munlock(self->room, self->length));
	EXPECT_EQ(self->free - PAGES,
		  cdm_free_settles(&self->cdm, self->free - PAGES));

	ASSERT_EQ(0, mlock2(self->room, self->length, MLOCK_ONFAULT));
	EXPECT_EQ(0, cdm_present(self->room, self->length));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->room, self->length, 0,
				  &p));
	EXPECT_EQ(PAGES, p.populated);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->room, self->length));
	EXPECT_EQ(kb, cdm_smaps(self->room, "Locked:"));
	EXPECT_EQ(-1, cdm_check_value(self->room, self->length, 0));
	ASSERT_EQ(0, munlock(self->room, self->length));
	EXPECT_EQ(0, cdm_smaps(self->room, "Locked:"));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->room, self->length));
}

/* mlockall() leaves pages on the node, present and future ones. */
TEST_F(remap, lock_all)
{
	char *later;

	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
	EXPECT_TRUE(have_frames(self, self->mem, 0, PAGES));
	EXPECT_EQ(self->length / 1024, cdm_smaps(self->mem, "Locked:"));
	later = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, later);
	EXPECT_EQ(0, cdm_present(later, self->length));
	ASSERT_EQ(0, cdm_populate(&self->cdm, later, self->length, 0, NULL));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, later, self->length));
	EXPECT_EQ(self->length / 1024, cdm_smaps(later, "Locked:"));
	/* Unmapped while locked, after a move. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 NULL));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, munmap(later, self->length));
	ASSERT_EQ(0, munlockall());
	EXPECT_EQ(0, cdm_smaps(self->mem, "Locked:"));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_CDM_IOC_QUERY: where pages lie, what CPU and device may do with them, and
 * how often the device accessed them. QUERY changes nothing.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define RW			(HMM_CDM_ACCESS_READ | HMM_CDM_ACCESS_WRITE)
#define SEED			CDM_SEED(QUERY)
#define PAGES			8

FIXTURE(query) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	struct hmm_cdm_page pages[PAGES];
	struct hmm_cdm_query sums;
};

FIXTURE_SETUP(query)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(query)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* All counts other than @a and @b are zero. */
static bool only(const struct hmm_cdm_query *q, int a, int b)
{
	for (int i = 0; i < (int)ARRAY_SIZE(q->where); i++)
		if (q->where[i] && i != a && i != b)
			return false;
	return true;
}

TEST_F(query, untouched_stays_untouched)
{
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, &self->sums));
	EXPECT_EQ(PAGES, self->sums.where[HMM_CDM_WHERE_ABSENT]);
	EXPECT_TRUE(only(&self->sums, HMM_CDM_WHERE_ABSENT, -1));
	for (int i = 0; i < PAGES; i++) {
		EXPECT_EQ(HMM_CDM_WHERE_ABSENT, self->pages[i].where);
		EXPECT_EQ(0, self->pages[i].cpu);
		EXPECT_EQ(0, self->pages[i].device);
		EXPECT_EQ(0, self->pages[i].accesses);
		EXPECT_EQ(0, self->pages[i].flags);
	}
	EXPECT_EQ(0, cdm_present(self->mem, self->length));
}

/* Half of the pages are touched and then moved to the node. */
TEST_F(query, system_and_node)
{
	size_t half = self->length / 2;
	struct hmm_cdm_stats stats;
	struct cdm other;

	cdm_fill(self->mem, half, SEED);
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, &self->sums));
	EXPECT_EQ(PAGES / 2, self->sums.where[HMM_CDM_WHERE_SYSTEM]);
	EXPECT_EQ(PAGES / 2, self->sums.where[HMM_CDM_WHERE_ABSENT]);
	EXPECT_TRUE(only(&self->sums, HMM_CDM_WHERE_SYSTEM,
			 HMM_CDM_WHERE_ABSENT));
	EXPECT_EQ(HMM_CDM_WHERE_SYSTEM, self->pages[0].where);
	EXPECT_EQ(RW, self->pages[0].cpu);
	EXPECT_EQ(0, self->pages[0].order);
	EXPECT_EQ(HMM_CDM_WHERE_ABSENT, self->pages[PAGES - 1].where);
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(0, stats.fault_pages);
	EXPECT_EQ(0, stats.migrated_in);

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, NODE, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, &self->sums));
	EXPECT_EQ(PAGES / 2, self->sums.where[HMM_CDM_WHERE_NODE]);
	EXPECT_EQ(HMM_CDM_WHERE_NODE, self->pages[0].where);
	EXPECT_EQ(RW, self->pages[0].cpu);
	EXPECT_TRUE(only(&self->sums, HMM_CDM_WHERE_NODE,
			 HMM_CDM_WHERE_ABSENT));

	/* The same pages, seen by the other node. */
	ASSERT_EQ(0, cdm_open(&other, 1));
	ASSERT_EQ(0, cdm_query(&other, self->mem, self->length, self->pages,
			       &self->sums));
	EXPECT_EQ(PAGES / 2, self->sums.where[HMM_CDM_WHERE_DEVICE]);
	EXPECT_EQ(HMM_CDM_WHERE_DEVICE, self->pages[0].where);
	EXPECT_TRUE(only(&self->sums, HMM_CDM_WHERE_DEVICE,
			 HMM_CDM_WHERE_ABSENT));
	cdm_close(&other);
}

TEST_F(query, unmapped_and_prot_none)
{
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, munmap(self->mem + 2 * self->page, self->page));
	ASSERT_EQ(0, mprotect(self->mem + 4 * self->page, self->page,
			      PROT_NONE));
	ASSERT_EQ(0, mprotect(self->mem + 6 * self->page, self->page,
			      PROT_READ));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, &self->sums));
	EXPECT_EQ(2, self->sums.where[HMM_CDM_WHERE_UNMAPPED]);
	EXPECT_EQ(PAGES - 2, self->sums.where[HMM_CDM_WHERE_SYSTEM]);
	EXPECT_EQ(HMM_CDM_WHERE_UNMAPPED, self->pages[2].where);
	EXPECT_EQ(0, self->pages[2].cpu);
	EXPECT_EQ(HMM_CDM_WHERE_UNMAPPED, self->pages[4].where);
	EXPECT_EQ(0, self->pages[4].cpu);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, self->pages[6].cpu);
	EXPECT_EQ(RW, self->pages[7].cpu);
}

/* The counts are the same without an array. */
TEST_F(query, sums_only)
{
	struct hmm_cdm_query without;

	cdm_fill(self->mem, self->page, SEED);
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, &self->sums));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length, NULL,
			       &without));
	EXPECT_EQ(1, without.where[HMM_CDM_WHERE_SYSTEM]);
	EXPECT_EQ(0, memcmp(self->sums.where, without.where,
			    sizeof(without.where)));
}

/* Several windows, with a different answer in each. */
TEST_F(query, across_windows)
{
	size_t window = self->cdm.window, nr = 3 * window / self->page;
	struct hmm_cdm_page *pages = calloc(nr, sizeof(*pages));
	char *mem = cdm_map(&self->cdm, 3 * window);
	struct hmm_cdm_query sums;
	size_t wrong = 0;

	ASSERT_NE(NULL, pages);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, munmap(mem + 2 * window - self->page, self->page));
	cdm_fill(mem + window - self->page, 2 * self->page, SEED);
	ASSERT_EQ(0, cdm_query(&self->cdm, mem, 3 * window, pages, &sums));
	for (size_t i = 0; i < nr; i++) {
		int where = HMM_CDM_WHERE_ABSENT;

		if (i == nr / 3 - 1 || i == nr / 3)
			where = HMM_CDM_WHERE_SYSTEM;
		if (i == 2 * nr / 3 - 1)
			where = HMM_CDM_WHERE_UNMAPPED;
		wrong += pages[i].where != where;
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(2, sums.where[HMM_CDM_WHERE_SYSTEM]);
	EXPECT_EQ(1, sums.where[HMM_CDM_WHERE_UNMAPPED]);
	EXPECT_EQ(nr - 3, sums.where[HMM_CDM_WHERE_ABSENT]);
	munmap(mem, 3 * window);
	free(pages);
}

/* Device rights follow its faults and the CPU's page table. */
TEST_F(query, device_rights)
{
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->page / 8, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_TRUE(self->pages[0].device & HMM_CDM_ACCESS_READ);
	EXPECT_LT(0, self->pages[0].accesses);
	/* The fault may have mapped the neighbour, without an access. */
	EXPECT_EQ(0, self->pages[1].accesses);

	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->page, 1, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(RW, self->pages[0].device);

	ASSERT_EQ(0, mprotect(self->mem, self->page, PROT_READ));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_FALSE(self->pages[0].device & HMM_CDM_ACCESS_WRITE);
	ASSERT_EQ(0, munmap(self->mem, self->page));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(0, self->pages[0].device);
	EXPECT_EQ(0, self->pages[0].accesses);
}

/* Each atomic operation counts as an access; the count saturates. */
TEST_F(query, accesses)
{
	__u64 *word = (__u64 *)self->mem;

	*word = 0;
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 1, 10, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(10, self->pages[0].accesses);
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 1, 90, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(100, self->pages[0].accesses);
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 1, 70000, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(65535, self->pages[0].accesses);
	EXPECT_EQ(70100, *word);

	/* A new entry starts at zero. */
	ASSERT_EQ(0, madvise(self->mem, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 1, 3, NULL));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length,
			       self->pages, NULL));
	EXPECT_EQ(3, self->pages[0].accesses);
}

TEST_F(query, order)
{
	size_t size = cdm_thp_size(), nr = size / self->page;
	struct hmm_cdm_page *pages = calloc(nr ? nr : 1, sizeof(*pages));
	size_t wrong = 0;
	char *mem;

	ASSERT_NE(NULL, pages);
	mem = cdm_map_thp(1, SEED);
	if (!mem)
		SKIP(return, "no transparent huge page to be had");
	ASSERT_EQ(0, cdm_query(&self->cdm, mem, size, pages, NULL));
	for (size_t i = 0; i < nr; i++)
		wrong += self->page << pages[i].order != size ||
			 pages[i].where != HMM_CDM_WHERE_SYSTEM;
	EXPECT_EQ(0, wrong);
	munmap(mem, size);
	free(pages);
}

/* All kinds of memory can be queried, though only anonymous memory moves. */
TEST_F(query, file)
{
	int fd = cdm_pattern_file(true, self->length, SEED);
	char *mem;

	ASSERT_LE(0, fd);
	mem = mmap(NULL, self->length, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(-1, cdm_check(mem, self->length, SEED));
	ASSERT_EQ(0, cdm_query(&self->cdm, mem, self->length, self->pages,
			       &self->sums));
	EXPECT_EQ(PAGES, self->sums.where[HMM_CDM_WHERE_SYSTEM]);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, self->pages[0].cpu);
	munmap(mem, self->length);
	close(fd);
}

TEST_F(query, hugetlb)
{
	size_t size;
	char *mem = cdm_map_hugetlb(&size);

	if (!mem)
		SKIP(return, "no free hugetlb page");
	cdm_fill(mem, size, SEED);
	ASSERT_EQ(0, cdm_query(&self->cdm, mem, size, NULL, &self->sums));
	EXPECT_EQ(size / self->page, self->sums.where[HMM_CDM_WHERE_SYSTEM]);
	munmap(mem, size);
}

static void nothing(int nr)
{
	(void)nr;
}

/*
 * A signal ends the long answer for a large hole. The array for it is one small
 * piece of memory, mapped many times.
 */
TEST_F(query, long_answer)
{
	const size_t hole = 64UL << 30, chunk = 2UL << 20;
	size_t answer = hole / self->cdm.page * sizeof(struct hmm_cdm_page);
	struct sigaction action = { .sa_handler = nothing };
	struct itimerval soon = { { 0, 2000 }, { 0, 2000 } }, never = {};
	int fd = memfd_create("answer", 0);
	char *at, *buffer;
	int ret;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, chunk));
	at = mmap(NULL, hole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		  MAP_NORESERVE, -1, 0);
	buffer = mmap(NULL, answer + chunk, PROT_NONE, MAP_PRIVATE |
		      MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, at);
	ASSERT_NE(MAP_FAILED, buffer);
	for (size_t i = 0; i <= answer; i += chunk)
		ASSERT_NE(MAP_FAILED,
			  mmap(buffer + i, chunk, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0));
	ASSERT_EQ(0, munmap(at, hole));
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
	ret = cdm_query(&self->cdm, at, hole, (struct hmm_cdm_page *)buffer,
			NULL);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	EXPECT_EQ(-EINTR, ret);
	/* Without an array the answer is immediate, however large the range. */
	EXPECT_EQ(0, cdm_query(&self->cdm, at, hole, NULL, NULL));
	munmap(buffer, answer + chunk);
	close(fd);
}

TEST_HARNESS_MAIN

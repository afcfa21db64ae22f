// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_CDM_IOC_MIGRATE: which pages move and which stay, where they lie
 * afterwards, and that the counts agree. on_node.c tests memory that has moved.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(MIGRATE)
#define PAGES			64

FIXTURE(migrate) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_stats stats;
};

FIXTURE_SETUP(migrate)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(migrate)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* The given counts, all other pages skipped for @reason, and no other skips. */
static void expect_counts(struct __test_metadata *_metadata,
			  const struct hmm_cdm_migrate *m, __u64 migrated,
			  __u64 populated, __u64 present, int reason,
			  __u64 skipped)
{
	EXPECT_EQ(migrated, m->migrated);
	EXPECT_EQ(populated, m->populated);
	EXPECT_EQ(present, m->present);
	if (reason >= 0)
		EXPECT_EQ(skipped, m->skipped[reason]);
	EXPECT_EQ(migrated + populated + present + skipped,
		  cdm_migrate_sum(m));
}

TEST_F(migrate, there_and_back)
{
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, PAGES, 0, 0, -1, 0);
	EXPECT_EQ(0, self->m.huge);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	/* Present pages are left alone. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, 0, PAGES, -1, 0);

	cdm_fill(self->mem, self->length, SEED + 1);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, PAGES, 0, 0, -1, 0);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, 0, PAGES, -1, 0);

	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(PAGES, self->stats.migrated_in);
	EXPECT_EQ(PAGES, self->stats.migrated_out);
	EXPECT_EQ(2 * self->length, self->stats.bytes_copied);
	EXPECT_EQ(0, self->stats.populated);
}

/* A hundred round trips; each time a page is written on each side. */
TEST_F(migrate, hundred_trips)
{
	__u64 *words = (__u64 *)self->mem;
	size_t per_page = self->page / 8;

	cdm_fill(self->mem, self->length, SEED);
	for (int i = 0; i < 100; i++) {
		__u64 *word = &words[i % PAGES * per_page + i];

		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 NODE, &self->m));
		ASSERT_EQ(PAGES, self->m.migrated);
		ASSERT_EQ(cdm_word(SEED, word - words), *word);
		*word = i;
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, &self->m));
		ASSERT_EQ(PAGES, self->m.migrated);
		ASSERT_EQ(i, *word);
		*word = cdm_word(SEED, word - words);
		if (i % 10 == 0)
			ASSERT_EQ(-1, cdm_check(self->mem, self->length,
						SEED));
	}
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(100 * PAGES, self->stats.migrated_in);
	EXPECT_EQ(100 * PAGES, self->stats.migrated_out);
}

/* Untouched memory gets node pages: no byte is copied. */
TEST_F(migrate, holes_are_populated)
{
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, 0, 0, HMM_CDM_SKIP_ABSENT, PAGES);
	EXPECT_EQ(0, cdm_present(self->mem, self->length));

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, PAGES, 0, -1, 0);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(PAGES, self->stats.populated);
	EXPECT_EQ(0, self->stats.migrated_in);
	EXPECT_EQ(0, self->stats.bytes_copied);

	/* CPU and device write to the same page frames. */
	cdm_fill(self->mem, self->length, SEED);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 5,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 5));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/* The same for memory that was only read: the zero page has nothing to copy. */
TEST_F(migrate, zero_pages_are_populated)
{
	ASSERT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, PAGES, 0, -1, 0);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
}

/*
 * Alternating holes and touched pages over several windows, from inside the
 * first.
 */
TEST_F(migrate, mixed_over_windows)
{
	size_t window = self->cdm.window, nr = 2 * window / self->page;
	char *mem = cdm_map(&self->cdm, 3 * window);
	char *from = mem + window / 2;
	size_t wrong = 0;

	ASSERT_NE(NULL, mem);
	for (size_t i = 0; i < nr; i += 2)
		*(__u64 *)(from + i * self->page) = i + 1;
	ASSERT_EQ(0, cdm_migrate(&self->cdm, from, nr * self->page, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, nr / 2, nr / 2, 0, -1, 0);
	EXPECT_EQ(nr, cdm_on_node(&self->cdm, mem, 3 * window));
	EXPECT_EQ(0, cdm_present(mem, window / 2));
	for (size_t i = 0; i < nr; i++)
		wrong += *(__u64 *)(from + i * self->page) !=
			 (i % 2 ? 0 : i + 1);
	EXPECT_EQ(0, wrong);
	munmap(mem, 3 * window);
}

/* A pinned page stays and its holder sees it unchanged; the others move. */
TEST_F(migrate, pinned)
{
	char *pinned = self->mem + 3 * self->page;
	struct iovec iov = { pinned, self->page };
	char *copy = malloc(self->page);
	int pipes[2];

	ASSERT_NE(NULL, copy);
	cdm_fill(self->mem, self->length, SEED);
	for (int back = 0; back < 2; back++) {
		int target = back ? SYSTEM : NODE;
		__u64 pfn = cdm_pfn(pinned);

		/* The pipe refers to the process's own pages. */
		ASSERT_EQ(0, pipe(pipes));
		ASSERT_EQ((ssize_t)self->page, vmsplice(pipes[1], &iov, 1, 0));
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 target, &self->m));
		expect_counts(_metadata, &self->m, PAGES - 1, 0, 0,
			      HMM_CDM_SKIP_PINNED, 1);
		EXPECT_EQ(pfn, cdm_pfn(pinned));
		EXPECT_EQ(back ? 1 : PAGES - 1,
			  cdm_on_node(&self->cdm, self->mem, self->length));
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
		ASSERT_EQ((ssize_t)self->page,
			  read(pipes[0], copy, self->page));
		EXPECT_EQ(0, memcmp(copy, pinned, self->page));
		close(pipes[0]);
		close(pipes[1]);

		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 target, &self->m));
		expect_counts(_metadata, &self->m, 1, 0, PAGES - 1, -1, 0);
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	}
	free(copy);
}

/* Moving pages does not change the rights of a mapping. */
TEST_F(migrate, read_only)
{
	struct hmm_cdm_page pages[PAGES];
	pid_t pid;

	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, PAGES, 0, 0, -1, 0);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_query(&self->cdm, self->mem, self->length, pages,
			       NULL));
	EXPECT_EQ(HMM_CDM_ACCESS_READ, pages[0].cpu);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, self->mem, 8, 0, NULL));
	/* A CPU write still raises a signal. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		self->mem[0] = 1;
		_exit(0);
	}
	EXPECT_EQ(-1, cdm_reap(pid, CDM_JOB_MS));
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	cdm_fill(self->mem, self->length, SEED + 1);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
}

/* Memory without access rights moves or stays, and keeps its content. */
TEST_F(migrate, prot_none)
{
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_NONE));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	EXPECT_EQ(0, self->m.populated);
	EXPECT_EQ(self->m.migrated,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* As with madvise(2), mapped pages move and the call reports the gaps. */
TEST_F(migrate, gaps)
{
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, munmap(self->mem + 8 * self->page, 4 * self->page));
	EXPECT_EQ(-ENOMEM, cdm_migrate(&self->cdm, self->mem, self->length,
				       NODE, &self->m));
	expect_counts(_metadata, &self->m, PAGES - 4, 0, 0, -1, 0);
	EXPECT_EQ(PAGES - 4, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, 8 * self->page, SEED));

	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(-ENOMEM, cdm_migrate(&self->cdm, self->mem, self->length,
				       NODE, &self->m));
	expect_counts(_metadata, &self->m, 0, 0, 0, -1, 0);
}

/* A node does not move another node's pages to system memory. */
TEST_F(migrate, elsewhere)
{
	struct cdm other;

	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_open(&other, 1));
	ASSERT_EQ(0, cdm_migrate(&other, self->mem, self->length, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, PAGES, 0, 0, -1, 0);
	EXPECT_EQ(PAGES, cdm_on_node(&other, self->mem, self->length));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, 0, 0, 0, HMM_CDM_SKIP_ELSEWHERE,
		      PAGES);
	EXPECT_EQ(PAGES, cdm_on_node(&other, self->mem, self->length));
	ASSERT_EQ(0, cdm_migrate(&other, self->mem, self->length, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, PAGES, 0, 0, -1, 0);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	cdm_close(&other);
}

/* The stack of the caller. */
TEST_F(migrate, stack)
{
	size_t nr = 16;
	char *raw = alloca((nr + 1) * self->page);
	char *mem = (char *)(((uintptr_t)raw + self->page - 1) /
			     self->page * self->page);

	cdm_fill(mem, nr * self->page, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, nr * self->page, NODE,
				 &self->m));
	expect_counts(_metadata, &self->m, nr, 0, 0, -1, 0);
	EXPECT_EQ(nr, cdm_on_node(&self->cdm, mem, nr * self->page));
	EXPECT_EQ(-1, cdm_check(mem, nr * self->page, SEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, nr * self->page, SYSTEM,
				 &self->m));
	expect_counts(_metadata, &self->m, nr, 0, 0, -1, 0);
	EXPECT_EQ(-1, cdm_check(mem, nr * self->page, SEED));
}

/* End of the highest mapping, the stack. */
static size_t stack_end(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long end = 0, to;
	char line[512];

	if (!f)
		return 0;
	while (!end && fgets(line, sizeof(line), f))
		if (strstr(line, "[stack]") && sscanf(line, "%*x-%lx", &to) == 1)
			end = to;
	fclose(f);
	return end;
}

/* Everything the process has mapped, including the running code. */
TEST_F(migrate, whole_address_space)
{
	size_t end = stack_end();

	ASSERT_LT(self->page, end);
	cdm_fill(self->mem, self->length, SEED);
	EXPECT_EQ(-ENOMEM, cdm_migrate(&self->cdm, (void *)self->page,
				       end - self->page, NODE, &self->m));
	EXPECT_LE(PAGES, self->m.migrated);
	EXPECT_LT(0, self->m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

static void nothing(int nr)
{
	(void)nr;
}

/*
 * A signal ends a long migration between two windows; the counts report what is
 * done.
 */
TEST_F(migrate, interrupted)
{
	size_t length = self->cdm.info.capacity;
	struct sigaction action = { .sa_handler = nothing };
	struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = {};
	struct hmm_cdm_migrate m = {};
	char *mem = cdm_map(&self->cdm, length);
	int ret;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	ret = cdm_migrate(&self->cdm, mem, length, NODE, &m);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	EXPECT_EQ(-EINTR, ret);
	EXPECT_GT(length / self->page, cdm_migrate_sum(&m));
	EXPECT_EQ(m.populated, cdm_on_node(&self->cdm, mem, length));
	munmap(mem, length);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Two devices with their own memory: each uses the other's in place, takes
 * pages over from it, and counts only its own as local.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(PEERS)
#define PAGES			390

/* Pages into a window, so that a window border lies inside. */
#define OFFSET			300

FIXTURE(peers) {
	struct cdm a;
	struct cdm b;
	size_t page;
	size_t length;
	char *map;
	char *mem;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;
};

FIXTURE_SETUP(peers)
{
	ASSERT_EQ(0, cdm_open(&self->a, 0));
	ASSERT_EQ(0, cdm_open(&self->b, 1));
	self->page = self->a.page;
	self->length = PAGES * self->page;
	self->map = cdm_map(&self->a, self->length + OFFSET * self->page);
	ASSERT_NE(NULL, self->map);
	self->mem = self->map + OFFSET * self->page;
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->a, self->mem, self->length, NODE,
				 &self->m));
	ASSERT_EQ(PAGES, self->m.migrated);
}

FIXTURE_TEARDOWN(peers)
{
	const struct cdm *all[] = { &self->a, &self->b };

	munmap(self->map, self->length + OFFSET * self->page);
	for (int i = 0; i < 2; i++) {
		__u64 pages = all[i]->info.capacity / self->page;

		EXPECT_EQ(pages, cdm_free_settles(all[i], pages));
	}
	cdm_close(&self->a);
	cdm_close(&self->b);
}

/* B reads and writes A's memory in place, and each counts it its own way. */
TEST_F(peers, used_in_place)
{
	size_t words = self->length / 8;
	__u64 pfn = cdm_pfn(self->mem);

	ASSERT_EQ(0, cdm_run_sum(&self->b, self->mem, words, &self->wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), self->wait.result[0]);
	EXPECT_EQ(self->length, self->wait.bytes_remote);
	EXPECT_EQ(0, self->wait.bytes_local);
	ASSERT_EQ(0, cdm_run_sum(&self->a, self->mem, words, &self->wait));
	EXPECT_EQ(self->length, self->wait.bytes_local);
	EXPECT_EQ(0, self->wait.bytes_remote);

	ASSERT_EQ(0, cdm_run_fill(&self->b, self->mem, self->length, 4, NULL));
	ASSERT_EQ(0, cdm_run_sum(&self->a, self->mem, words, &self->wait));
	EXPECT_EQ(4 * words, self->wait.result[0]);
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 4));
	EXPECT_EQ(pfn, cdm_pfn(self->mem));
	EXPECT_EQ(PAGES, cdm_on_node(&self->a, self->mem, self->length));
}

static __u64 system_pages(const struct cdm *cdm, char *mem, size_t length)
{
	struct hmm_cdm_query q;

	return cdm_query(cdm, mem, length, NULL, &q) ?
	       ~0ULL : q.where[HMM_CDM_WHERE_SYSTEM];
}

/* From one node to the other and back, with one copy each. */
TEST_F(peers, moved_directly)
{
	struct hmm_cdm_stats stats;

	for (int round = 0; round < 4; round++) {
		const struct cdm *to = round % 2 ? &self->a : &self->b;
		const struct cdm *from = round % 2 ? &self->b : &self->a;

		ASSERT_EQ(0, cdm_migrate(to, self->mem, self->length, NODE,
					 &self->m));
		EXPECT_EQ(PAGES, self->m.migrated);
		EXPECT_EQ(PAGES, self->m.peers);
		EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
		EXPECT_EQ(PAGES, cdm_on_node(to, self->mem, self->length));
		EXPECT_EQ(0, cdm_on_node(from, self->mem, self->length));
		EXPECT_EQ(0, system_pages(to, self->mem, self->length));
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
		EXPECT_EQ(from->info.capacity / self->page,
			  cdm_free_settles(from, from->info.capacity /
						 self->page));
	}
	ASSERT_EQ(0, cdm_stats(&self->b, &stats));
	EXPECT_EQ(2 * PAGES, stats.migrated_in);
	EXPECT_EQ(2 * PAGES, stats.peers);
	/* One copy for each move: none through system memory. */
	EXPECT_EQ(2 * self->length, stats.bytes_copied);
	EXPECT_EQ(0, stats.migrated_out);
}

/* Without the flag, the other node's pages stay there. */
TEST_F(peers, left_where_they_are)
{
	__u64 pfn = cdm_pfn(self->mem);
	struct hmm_cdm_migrate m = {
		.size = sizeof(m),
		.flags = HMM_CDM_MIGRATE_LEAVE_PEERS,
		.addr = (uintptr_t)self->map,
		.length = self->length + OFFSET * self->page,
	};

	ASSERT_EQ(0, ioctl(self->b.fd, HMM_CDM_IOC_MIGRATE, &m));
	EXPECT_EQ(PAGES, m.skipped[HMM_CDM_SKIP_ELSEWHERE]);
	EXPECT_EQ(OFFSET, m.populated);
	EXPECT_EQ(OFFSET + PAGES, cdm_migrate_sum(&m));
	EXPECT_EQ(0, m.peers);
	EXPECT_EQ(pfn, cdm_pfn(self->mem));
	EXPECT_EQ(PAGES, cdm_on_node(&self->a, self->mem, self->length));

	/* They do not move to system memory either. */
	m.target = SYSTEM;
	EXPECT_EQ(-1, ioctl(self->b.fd, HMM_CDM_IOC_MIGRATE, &m));
	EXPECT_EQ(EINVAL, errno);
}

/* Pages of both nodes and of system memory in one window, and holes. */
TEST_F(peers, mixed)
{
	struct hmm_cdm_page pages[PAGES];
	size_t third = PAGES / 3 * self->page;

	ASSERT_EQ(0, cdm_migrate(&self->b, self->mem, third, NODE, &self->m));
	ASSERT_EQ(0, cdm_migrate(&self->a, self->mem + third, third, SYSTEM,
				 &self->m));
	ASSERT_EQ(0, madvise(self->mem + third, 10 * self->page,
			     MADV_DONTNEED));
	ASSERT_EQ(0, cdm_query(&self->a, self->mem, self->length, pages,
			       NULL));
	EXPECT_EQ(HMM_CDM_WHERE_DEVICE, pages[0].where);
	EXPECT_EQ(self->b.info.index + 1,
		  (unsigned int)HMM_CDM_PAGE_DEVICE(pages[0].flags));
	EXPECT_EQ(HMM_CDM_WHERE_ABSENT, pages[PAGES / 3].where);
	EXPECT_EQ(HMM_CDM_WHERE_SYSTEM, pages[PAGES / 2].where);
	EXPECT_EQ(HMM_CDM_WHERE_NODE, pages[PAGES - 1].where);
	EXPECT_EQ(0, pages[PAGES - 1].flags);

	ASSERT_EQ(0, cdm_migrate(&self->a, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES / 3, self->m.peers);
	EXPECT_EQ(PAGES / 3 * 2 - 10, self->m.migrated);
	EXPECT_EQ(10, self->m.populated);
	EXPECT_EQ(PAGES / 3, self->m.present);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	EXPECT_EQ(-1, cdm_check(self->mem, third, SEED));
	EXPECT_EQ(-1, cdm_check_value(self->mem + third, 10 * self->page, 0));
}

/* POPULATE leaves and counts pages of another node. */
TEST_F(peers, populate_leaves_them)
{
	struct hmm_cdm_populate p;

	ASSERT_EQ(0, cdm_populate(&self->b, self->mem, self->length, 0, &p));
	EXPECT_EQ(PAGES, p.stayed);
	EXPECT_EQ(PAGES, cdm_on_node(&self->a, self->mem, self->length));
	ASSERT_EQ(0, cdm_populate(&self->b, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &p));
	EXPECT_EQ(PAGES, p.migrated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/*
 * With advice to move, the faulting device gets the pages: the last one wins.
 */
TEST_F(peers, advice)
{
	size_t words = self->length / 8;

	ASSERT_EQ(0, cdm_advise(&self->b, self->mem, self->length,
				HMM_CDM_PLACE_NODE, HMM_CDM_ADVISE_MIGRATE));
	ASSERT_EQ(0, cdm_run_sum(&self->b, self->mem, words, &self->wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), self->wait.result[0]);
	EXPECT_EQ(self->length, self->wait.bytes_local);
	EXPECT_EQ(PAGES, cdm_on_node(&self->b, self->mem, self->length));
	/* A has given no advice, and uses them in place. */
	ASSERT_EQ(0, cdm_run_sum(&self->a, self->mem, words, &self->wait));
	EXPECT_EQ(self->length, self->wait.bytes_remote);
	EXPECT_EQ(PAGES, cdm_on_node(&self->b, self->mem, self->length));
}

/*
 * With advice to move and a full node, pages are used in place however often
 * they are invalidated, and the job completes.
 */
TEST_F(peers, advice_without_room)
{
	size_t words = self->length / 8, left = 10;
	char *all = cdm_map(&self->b, self->b.info.capacity);
	struct hmm_cdm_populate p;

	ASSERT_NE(NULL, all);
	ASSERT_EQ(0, cdm_populate(&self->b, all, self->b.info.capacity -
				  left * self->page, 0, &p));
	ASSERT_EQ(0, cdm_advise(&self->b, self->mem, self->length,
				HMM_CDM_PLACE_NODE, HMM_CDM_ADVISE_MIGRATE));
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, cdm_run_sum(&self->b, self->mem, words,
					 &self->wait));
		EXPECT_EQ(cdm_word_sum(SEED, words), self->wait.result[0]);
		EXPECT_EQ(left * self->page, self->wait.bytes_local);
		ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
		ASSERT_EQ(0, mprotect(self->mem, self->length,
				      PROT_READ | PROT_WRITE));
	}
	EXPECT_EQ(PAGES - left, cdm_on_node(&self->a, self->mem,
					    self->length));
	munmap(all, self->b.info.capacity);
}

/* Moves a page from one node to the other until it is stopped. */
struct node_mover {
	const struct cdm *a, *b;
	char *mem;
	size_t length;
	size_t moved;
	int stop;
};

static void *move(void *arg)
{
	struct node_mover *mover = arg;
	struct hmm_cdm_migrate m;

	for (int i = 0; !__atomic_load_n(&mover->stop, __ATOMIC_RELAXED); i++) {
		cdm_migrate(i % 2 ? mover->a : mover->b, mover->mem,
			    mover->length, NODE, &m);
		mover->moved += m.migrated;
	}
	return NULL;
}

/*
 * Both engines and the CPU add to the same counters atomically while the page
 * moves between the nodes: no update is lost.
 */
TEST_F_TIMEOUT(peers, atomics_from_all, 60)
{
	enum { TIMES = 20000, WORDS = 4 };
	struct node_mover mover = {
		.a = &self->a,
		.b = &self->b,
		.mem = self->mem,
		.length = self->page,
	};
	__u64 *words = (__u64 *)self->mem;
	__u64 jobs[2][WORDS];
	pthread_t thread;

	memset(words, 0, self->page);
	ASSERT_EQ(0, pthread_create(&thread, NULL, move, &mover));
	for (int i = 0; i < WORDS; i++) {
		ASSERT_EQ(0, cdm_start_adds(&self->a, &words[i], TIMES,
					    &jobs[0][i]));
		ASSERT_EQ(0, cdm_start_adds(&self->b, &words[i], TIMES,
					    &jobs[1][i]));
	}
	for (int n = 0; n < TIMES; n++)
		for (int i = 0; i < WORDS; i++)
			__atomic_fetch_add(&words[i], 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < WORDS; i++) {
		ASSERT_EQ(0, cdm_wait(&self->a, jobs[0][i],
				      50000 * CDM_PATIENCE, &self->wait));
		EXPECT_EQ(0, self->wait.status);
		ASSERT_EQ(0, cdm_wait(&self->b, jobs[1][i],
				      50000 * CDM_PATIENCE, &self->wait));
		EXPECT_EQ(0, self->wait.status);
	}
	__atomic_store_n(&mover.stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	for (int i = 0; i < WORDS; i++)
		EXPECT_EQ(3 * TIMES, words[i]);
	EXPECT_LT(0, mover.moved);
	TH_LOG("moved %zu times meanwhile", mover.moved);
}

/* Two full nodes that both want the same memory. */
TEST_F_TIMEOUT(peers, both_full, 60)
{
	size_t length = self->b.info.capacity + 4 * self->b.window;
	char *mem = cdm_map(&self->b, length);
	size_t nr = length / self->page;

	ASSERT_NE(NULL, mem);
	cdm_fill(mem, length, SEED + 1);
	ASSERT_EQ(0, cdm_migrate(&self->a, mem, length, NODE, &self->m));
	EXPECT_EQ(nr, cdm_migrate_sum(&self->m));
	/* B cannot take all of it; the rest stays on A. */
	ASSERT_EQ(0, cdm_migrate(&self->b, mem, length, NODE, &self->m));
	EXPECT_EQ(self->b.info.capacity / self->page, self->m.migrated);
	EXPECT_EQ(nr - self->m.migrated,
		  self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(nr - self->m.migrated, cdm_on_node(&self->a, mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED + 1));
	munmap(mem, length);
}

TEST_HARNESS_MAIN

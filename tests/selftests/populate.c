// SPDX-License-Identifier: GPL-2.0
/*
 * Zero copy: untouched memory gets device pages, by POPULATE or by the device's
 * first touch. From the CPU's first write to the device's read and back it is
 * the same page frame, without a copy, and it never shows other processes'
 * data.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(POPULATE)
#define PAGES			100

FIXTURE(zero_copy) {
	struct cdm cdm;
	size_t page;
	size_t window;
	size_t length;
	char *mem;	/* untouched, @length bytes */
	__u64 free;
	struct hmm_cdm_populate p;
	struct hmm_cdm_stats stats;
	struct hmm_cdm_wait wait;
};

FIXTURE_SETUP(zero_copy)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->window = self->cdm.window;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	self->free = cdm_free_settles(&self->cdm, self->cdm.info.capacity /
						  self->page);
}

FIXTURE_TEARDOWN(zero_copy)
{
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

static __u64 sum(const struct hmm_cdm_populate *p)
{
	__u64 sum = p->populated + p->present + p->stayed + p->migrated;

	for (int i = 0; i < HMM_CDM_SKIP_MAX; i++)
		sum += p->skipped[i];
	return sum;
}

/* This file has copied nothing so far. */
static void expect_no_copy(struct __test_metadata *_metadata,
			   const struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	EXPECT_EQ(0, cdm_stats(cdm, &stats));
	EXPECT_EQ(0, stats.bytes_copied);
	EXPECT_EQ(0, stats.migrated_in);
	EXPECT_EQ(0, stats.migrated_out);
}

/* The same for a child, which cannot fail the test. */
static bool copied(const struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	return cdm_stats(cdm, &stats) || stats.bytes_copied ||
	       stats.migrated_in || stats.migrated_out;
}

/*
 * The question of 2017: malloc(), and then the same frame from the CPU's first
 * write to the device's answer.
 */
TEST_F(zero_copy, malloc)
{
	size_t nr = 4 * PAGES;
	char *raw = malloc((nr + 1) * self->page);
	char *mem = (char *)(((uintptr_t)raw + self->page) &
			     ~(self->page - 1));
	__u64 before[nr], after[nr];
	size_t words = nr * self->page / 8;

	ASSERT_NE(NULL, raw);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, nr * self->page, 0,
				  &self->p));
	/* malloc() may have touched the page of its header. */
	EXPECT_LE(nr - 1, self->p.populated);
	EXPECT_EQ(nr, sum(&self->p));
	/* Zeroed, whoever used the frames before. */
	EXPECT_EQ(-1, cdm_check_value(mem, nr * self->page, 0));

	cdm_fill(mem, nr * self->page, SEED);
	ASSERT_EQ(0, cdm_pfns(mem, nr * self->page, before));
	for (size_t i = 0; i < nr; i++)
		EXPECT_TRUE(cdm_pfn_on_node(&self->cdm, before[i]));

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem, words, &self->wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), self->wait.result[0]);
	EXPECT_EQ(nr * self->page, self->wait.bytes_local);
	EXPECT_EQ(0, self->wait.bytes_remote);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, mem, nr * self->page, 5, NULL));
	EXPECT_EQ(-1, cdm_check_value(mem, nr * self->page, 5));

	ASSERT_EQ(0, cdm_pfns(mem, nr * self->page, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	expect_no_copy(_metadata, &self->cdm);
	free(raw);
}

/* A whole window gets contiguous frames if the node has them. */
TEST_F(zero_copy, contiguous)
{
	size_t nr = 3 * self->window / self->page;
	char *mem = cdm_map(&self->cdm, 3 * self->window);
	__u64 *pfns = calloc(nr, sizeof(*pfns));

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, 3 * self->window, 0,
				  &self->p));
	EXPECT_EQ(nr, self->p.populated);
	EXPECT_EQ(3, self->p.contiguous);
	ASSERT_EQ(0, cdm_pfns(mem, 3 * self->window, pfns));
	for (size_t i = 0; i < nr; i++) {
		size_t first = i - i % (self->window / self->page);

		EXPECT_EQ(pfns[first] + i - first, pfns[i]);
		EXPECT_EQ(0, pfns[first] % (self->window / self->page));
	}
	/* Two thirds of a window do not. */
	ASSERT_EQ(0, munmap(mem, self->window));
	mem += self->window;
	ASSERT_EQ(0, madvise(mem, self->window, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, 2 * self->page, 0,
				  &self->p));
	EXPECT_EQ(0, self->p.contiguous);
	EXPECT_EQ(2, self->p.populated);
	expect_no_copy(_metadata, &self->cdm);
	munmap(mem, 2 * self->window);
	free(pfns);
}

/* Existing pages keep their frames; the holes around them are filled. */
TEST_F(zero_copy, what_exists_stays)
{
	__u64 before[PAGES], after[PAGES];

	for (size_t i = 0; i < PAGES; i += 3)
		cdm_fill(self->mem + i * self->page, self->page, SEED + i);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->page, NODE,
				 NULL));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, before));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
	EXPECT_EQ(66, self->p.populated);
	EXPECT_EQ(33, self->p.stayed);
	EXPECT_EQ(1, self->p.present);
	EXPECT_EQ(PAGES, sum(&self->p));
	for (size_t i = 0; i < PAGES; i++) {
		char *at = self->mem + i * self->page;

		if (i % 3 == 0) {
			EXPECT_EQ(before[i], after[i]);
			EXPECT_EQ(-1, cdm_check(at, self->page, SEED + i));
		} else {
			EXPECT_TRUE(cdm_pfn_on_node(&self->cdm, after[i]));
			EXPECT_EQ(-1, cdm_check_value(at, self->page, 0));
		}
	}
	/* With the flag they move along. */
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &self->p));
	EXPECT_EQ(33, self->p.migrated);
	EXPECT_EQ(67, self->p.present);
	EXPECT_EQ(0, self->p.stayed);
	EXPECT_EQ(PAGES, sum(&self->p));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	for (size_t i = 0; i < PAGES; i += 3)
		EXPECT_EQ(-1, cdm_check(self->mem + i * self->page,
					self->page, SEED + i));
}

/* Memory that was only read is untouched: node pages replace the zero page. */
TEST_F(zero_copy, read_before)
{
	int seen = 0;

	for (size_t i = 0; i < PAGES; i += 2)
		seen += __atomic_load_n(self->mem + i * self->page,
					__ATOMIC_RELAXED);
	cdm_fill(self->mem + 10 * self->page, self->page, SEED);
	ASSERT_EQ(0, seen);
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES - 1, self->p.populated);
	EXPECT_EQ(1, self->p.stayed);
	EXPECT_EQ(PAGES - 1, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem + 10 * self->page, self->page,
				SEED));
	expect_no_copy(_metadata, &self->cdm);
}

/* Mappings of files and of shared memory are skipped, and counted so. */
TEST_F(zero_copy, not_anonymous)
{
	int fd = cdm_pattern_file(true, self->length, SEED);
	char *file = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);
	char *shared = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *private = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE, fd, 0);

	ASSERT_EQ(0, cdm_populate(&self->cdm, file, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES, self->p.skipped[HMM_CDM_SKIP_NOT_ANON]);
	ASSERT_EQ(0, cdm_populate(&self->cdm, shared, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES, self->p.skipped[HMM_CDM_SKIP_NOT_ANON]);
	ASSERT_EQ(0, cdm_populate(&self->cdm, private, self->length, 0,
				  &self->p));
	EXPECT_EQ(0, self->p.populated);
	EXPECT_EQ(PAGES, sum(&self->p));
	EXPECT_EQ(-1, cdm_check(private, self->length, SEED));
	munmap(file, self->length);
	munmap(shared, self->length);
	munmap(private, self->length);
	close(fd);
}

/* Reserved addresses get no memory, also as part of a larger range. */
TEST_F(zero_copy, reserved)
{
	struct hmm_cdm_migrate m;
	__u64 free = cdm_free_pages(&self->cdm);

	ASSERT_EQ(0, mprotect(self->mem + 10 * self->page, 60 * self->page,
			      PROT_NONE));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES - 60, self->p.populated);
	EXPECT_EQ(60, self->p.skipped[HMM_CDM_SKIP_ABSENT]);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE, &m));
	EXPECT_EQ(0, m.populated);
	EXPECT_EQ(60, m.skipped[HMM_CDM_SKIP_ABSENT]);
	EXPECT_EQ(free - (PAGES - 60), cdm_free_pages(&self->cdm));
	/* Existing pages still move. */
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_NONE));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM, &m));
	EXPECT_EQ(PAGES - 60, m.migrated);
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	EXPECT_EQ(PAGES - 60, cdm_present(self->mem, self->length));
}

/* Gaps are reported, and the memory around them is populated. */
TEST_F(zero_copy, gaps)
{
	ASSERT_EQ(0, munmap(self->mem + 40 * self->page, 10 * self->page));
	EXPECT_EQ(-ENOMEM, cdm_populate(&self->cdm, self->mem, self->length,
					0, &self->p));
	EXPECT_EQ(90, self->p.populated);
	EXPECT_EQ(90, sum(&self->p));
}

/*
 * A read-only mapping is populated: its pages are there when it becomes
 * writable.
 */
TEST_F(zero_copy, read_only)
{
	__u64 pfn;

	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES, self->p.populated);
	pfn = cdm_pfn(self->mem);
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	cdm_fill(self->mem, self->length, SEED);
	EXPECT_EQ(pfn, cdm_pfn(self->mem));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	expect_no_copy(_metadata, &self->cdm);
}

/* A nearly full node populates as many pages as it has free. */
TEST_F(zero_copy, full)
{
	struct cdm small;
	char *all, *more;

	ASSERT_EQ(0, cdm_open(&small, 1));
	all = cdm_map(&small, small.info.capacity);
	more = cdm_map(&small, self->length);
	ASSERT_EQ(0, cdm_populate(&small, all, small.info.capacity -
				  10 * self->page, 0, &self->p));
	ASSERT_EQ(0, cdm_populate(&small, more, self->length, 0, &self->p));
	EXPECT_EQ(10, self->p.populated);
	EXPECT_EQ(PAGES - 10, self->p.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(0, self->p.evicted);
	/* The rest is as usable as ever. */
	cdm_fill(more, self->length, SEED);
	EXPECT_EQ(-1, cdm_check(more, self->length, SEED));
	EXPECT_EQ(10, cdm_on_node(&small, more, self->length));
	munmap(all, small.info.capacity);
	munmap(more, self->length);
	cdm_close(&small);
}

/* Memory under userfaultfd is left to its handler, without waiting. */
TEST_F(zero_copy, userfault)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { CDM_ADDR(self->mem), self->length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	EXPECT_EQ(0, self->p.populated);
	EXPECT_EQ(PAGES, sum(&self->p));
	EXPECT_EQ(0, cdm_present(self->mem, self->length));
	close(fd);
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &self->p));
	EXPECT_EQ(PAGES, self->p.populated);
}

struct toucher {
	char *mem;
	size_t pages;
	size_t page;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;

	/* From the end, to meet in the middle. */
	for (size_t i = t->pages; i-- > 0;)
		__atomic_store_n((__u64 *)(t->mem + i * t->page),
				 cdm_word(SEED, i), __ATOMIC_RELAXED);
	return NULL;
}

/*
 * CPU and POPULATE race for pages: each gets one frame, and no write is lost.
 */
TEST_F(zero_copy, race_with_the_cpu)
{
	size_t length = 2 * self->window, lost = 0, met = 0;
	struct toucher t = { .pages = length / self->page, .page = self->page };

	/* Until each side has won pages. */
	for (int round = 0; round < 10 || !met; round++) {
		size_t node = 0, cpu = 0;
		pthread_t thread;

		t.mem = cdm_map(&self->cdm, length);
		ASSERT_NE(NULL, t.mem);
		ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &t));
		for (size_t at = 0; at < length; at += 16 * self->page) {
			ASSERT_EQ(0, cdm_populate(&self->cdm, t.mem + at,
						  16 * self->page, 0,
						  &self->p));
			EXPECT_EQ(16, sum(&self->p));
			node += self->p.populated;
			cpu += self->p.stayed;
		}
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(node, cdm_on_node(&self->cdm, t.mem, length));
		EXPECT_EQ(t.pages, cdm_present(t.mem, length));
		met += node && cpu;
		for (size_t i = 0; i < t.pages; i++)
			lost += *(__u64 *)(t.mem + i * self->page) !=
				cdm_word(SEED, i);
		munmap(t.mem, length);
	}
	EXPECT_EQ(0, lost);
	expect_no_copy(_metadata, &self->cdm);
}

static void nothing(int nr)
{
	(void)nr;
}

/*
 * A signal ends the call after some window: the windows before are done and
 * counted, the rest is unchanged. Another call does the rest.
 */
TEST_F(zero_copy, interrupted)
{
	size_t length = self->cdm.info.capacity, per = self->window / self->page;
	size_t pages = length / self->page, done = 0, wrong = 0;
	struct sigaction action = { .sa_handler = nothing };
	struct itimerval once = {}, never = {};
	char *mem = cdm_map(&self->cdm, length);
	__u64 *before = calloc(pages, sizeof(*before));
	__u64 *after = calloc(pages, sizeof(*after));
	int ret = 0;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, before);
	ASSERT_NE(NULL, after);
	/* The first page of each window is in system memory. */
	for (size_t i = 0; i < pages; i += per)
		cdm_fill(mem + i * self->page, self->page, SEED + i);
	ASSERT_EQ(0, cdm_pfns(mem, length, before));
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	/* Until it is interrupted after the first window. */
	for (int i = 0; ret != -EINTR || !done; i++) {
		once.it_value.tv_usec = 2000 + i * 7000 % 90000;
		for (size_t at = 0; at < length; at += self->window)
			ASSERT_EQ(0, madvise(mem + at + self->page,
					     self->window - self->page,
					     MADV_DONTNEED));
		ASSERT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &once, NULL));
		ret = cdm_populate(&self->cdm, mem, length, 0, &self->p);
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
		done = sum(&self->p);
	}
	EXPECT_GT(pages, done);
	EXPECT_EQ(0, done % per);
	EXPECT_EQ(done / per, self->p.stayed);
	EXPECT_EQ(done / per * (per - 1), self->p.populated);
	ASSERT_EQ(0, cdm_pfns(mem, length, after));
	for (size_t i = 0; i < pages; i++)
		wrong += i % per == 0 || i >= done ? before[i] != after[i] :
			 !cdm_pfn_on_node(&self->cdm, after[i]);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(self->free - self->p.populated, cdm_free_pages(&self->cdm));

	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, length, 0, &self->p));
	EXPECT_EQ(done / per * (per - 1), self->p.present);
	EXPECT_EQ((pages - done) / per * (per - 1), self->p.populated);
	EXPECT_EQ(pages / per, self->p.stayed);
	for (size_t i = 0; i < pages; i += per) {
		char *at = mem + i * self->page;

		EXPECT_EQ(before[i], cdm_pfn(at));
		EXPECT_EQ(-1, cdm_check(at, self->page, SEED + i));
		EXPECT_EQ(-1, cdm_check_value(at + self->page, self->window -
					      self->page, 0));
	}
	expect_no_copy(_metadata, &self->cdm);
	munmap(mem, length);
	free(before);
	free(after);
}

static void advise(struct __test_metadata *_metadata, const struct cdm *cdm,
		   void *mem, size_t length, __u32 flags)
{
	ASSERT_EQ(0, cdm_advise(cdm, mem, length, HMM_CDM_PLACE_NODE, flags));
}

/* With advice, the device's first touch allocates on the node. */
TEST_F(zero_copy, first_touch)
{
	__u64 before[PAGES], after[PAGES];

	advise(_metadata, &self->cdm, self->mem, self->length, 0);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 9,
				  &self->wait));
	EXPECT_EQ(self->length, self->wait.bytes_local);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, before));
	/* The CPU reads and writes it there, and nothing moves. */
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 9));
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	EXPECT_EQ(0, cdm_stats(&self->cdm, &self->stats));
	EXPECT_EQ(PAGES, self->stats.touched);
	EXPECT_EQ(PAGES, self->stats.populated);
	expect_no_copy(_metadata, &self->cdm);
}

/* A read of untouched memory gives zeros, from pages of the node. */
TEST_F(zero_copy, first_touch_reads)
{
	advise(_metadata, &self->cdm, self->mem, self->length, 0);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &self->wait));
	EXPECT_EQ(0, self->wait.result[0]);
	EXPECT_EQ(self->length, self->wait.bytes_local);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	expect_no_copy(_metadata, &self->cdm);
}

/* Advice holds in its range, and until it is withdrawn. */
TEST_F(zero_copy, advice_has_bounds)
{
	struct cdm *cdm = &self->cdm;
	size_t half = PAGES / 2 * self->page;

	advise(_metadata, cdm, self->mem, half, 0);
	ASSERT_EQ(0, cdm_run_fill(cdm, self->mem, self->length, 9, NULL));
	EXPECT_EQ(PAGES / 2, cdm_on_node(cdm, self->mem, half));
	EXPECT_EQ(0, cdm_on_node(cdm, self->mem + half, half));
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_advise(cdm, self->mem + 10 * self->page,
				10 * self->page, HMM_CDM_PLACE_NONE, 0));
	ASSERT_EQ(0, cdm_run_fill(cdm, self->mem, self->length, 8, NULL));
	EXPECT_EQ(PAGES / 2 - 10, cdm_on_node(cdm, self->mem, half));
	EXPECT_EQ(0, cdm_on_node(cdm, self->mem + 10 * self->page,
				 10 * self->page));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 8));
}

/* A touch populates none of the inaccessible pages beside it. */
TEST_F(zero_copy, first_touch_keeps_off_guards)
{
	struct cdm *cdm = &self->cdm;
	char *guard = self->mem + 10 * self->page;

	ASSERT_EQ(0, mprotect(guard, 10 * self->page, PROT_NONE));
	advise(_metadata, cdm, self->mem, self->length, 0);
	EXPECT_EQ(-EFAULT, cdm_run_fill(cdm, self->mem, self->length, 9,
					&self->wait));
	EXPECT_EQ(CDM_ADDR(guard), self->wait.fault_addr);
	EXPECT_EQ(-EFAULT, cdm_run_fill(cdm, guard, self->page, 9, NULL));
	ASSERT_EQ(0, mprotect(guard, 10 * self->page, PROT_READ));
	EXPECT_EQ(0, cdm_present(guard, 10 * self->page));
	EXPECT_EQ(10, cdm_on_node(cdm, self->mem, self->length));
}

/* Pages in system memory stay, unless the advice is to move them. */
TEST_F(zero_copy, advice_to_move)
{
	struct cdm *cdm = &self->cdm;
	size_t words = self->length / 8;

	cdm_fill(self->mem, self->length, SEED);
	advise(_metadata, cdm, self->mem, self->length, 0);
	ASSERT_EQ(0, cdm_run_sum(cdm, self->mem, words, &self->wait));
	EXPECT_EQ(self->length, self->wait.bytes_remote);
	EXPECT_EQ(0, cdm_on_node(cdm, self->mem, self->length));

	advise(_metadata, cdm, self->mem, self->length,
	       HMM_CDM_ADVISE_MIGRATE);
	/* Drops the device's entries, so that it faults again. */
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, cdm_run_sum(cdm, self->mem, words, &self->wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), self->wait.result[0]);
	EXPECT_EQ(self->length, self->wait.bytes_local);
	EXPECT_EQ(PAGES, cdm_on_node(cdm, self->mem, self->length));
	EXPECT_EQ(0, cdm_stats(cdm, &self->stats));
	EXPECT_EQ(PAGES, self->stats.migrated_in);
	EXPECT_EQ(0, self->stats.touched);
}

static int hold_still(int ready, int go)
{
	char c = 1;

	return write(ready, &c, 1) != 1 || read(go, &c, 1) != 1;
}

/*
 * A device write to a page shared after fork(2): with advice, the copy is on
 * the node.
 */
TEST_F(zero_copy, copy_on_write)
{
	struct cdm *cdm = &self->cdm;
	int ready[2], go[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	cdm_fill(self->mem, self->length, SEED);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (hold_still(ready[1], go[0]))
			_exit(1);
		_exit(cdm_check(self->mem, self->length, SEED) != -1);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	advise(_metadata, cdm, self->mem, self->length / 2,
	       HMM_CDM_ADVISE_COW);
	ASSERT_EQ(0, cdm_run_fill(cdm, self->mem, self->length, 6, NULL));
	EXPECT_EQ(PAGES / 2, cdm_on_node(cdm, self->mem, self->length / 2));
	EXPECT_EQ(0, cdm_on_node(cdm, self->mem + self->length / 2,
				 self->length / 2));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 6));
	ASSERT_EQ(1, write(go[1], &c, 1));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

/*
 * Where the process wants huge pages, touching one byte populates a window
 * contiguously, as it would for the CPU.
 */
TEST_F(zero_copy, first_touch_of_a_huge_page)
{
	struct cdm *cdm = &self->cdm;
	char *mem = cdm_map(cdm, 2 * self->window);
	size_t nr = self->window / self->page;

	ASSERT_NE(NULL, mem);
	if (madvise(mem, 2 * self->window, MADV_HUGEPAGE))
		SKIP(return, "there are no huge pages here");
	advise(_metadata, cdm, mem, 2 * self->window - self->page, 0);
	ASSERT_EQ(0, cdm_run_fill(cdm, mem + 8, 8, 9, NULL));
	EXPECT_EQ(nr, cdm_on_node(cdm, mem, self->window));
	EXPECT_EQ(cdm_pfn(mem) + nr - 1,
		  cdm_pfn(mem + self->window - self->page));
	/* Not where a part of the window has other advice. */
	ASSERT_EQ(0, cdm_run_fill(cdm, mem + self->window, 8, 9, NULL));
	EXPECT_EQ(1, cdm_on_node(cdm, mem + self->window, self->window));
	expect_no_copy(_metadata, cdm);
	munmap(mem, 2 * self->window);
}

/* No process sees what another one left, by touch or by request. */
TEST_F(zero_copy, nobody_elses_data)
{
	struct cdm small;
	char *mem;
	size_t capacity;

	ASSERT_EQ(0, cdm_open(&small, 1));
	capacity = small.info.capacity;
	for (int round = 0; round < 3; round++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			if (cdm_open(&small, 1))
				_exit(1);
			mem = cdm_map(&small, capacity);
			if (round == 1 &&
			    cdm_advise(&small, mem, capacity,
				       HMM_CDM_PLACE_NODE, 0))
				_exit(2);
			if (round != 1 &&
			    cdm_populate(&small, mem, capacity, 0, NULL))
				_exit(3);
			if (round == 1 &&
			    cdm_run_sum(&small, mem, capacity / 8, NULL))
				_exit(4);
			if (cdm_on_node(&small, mem, capacity) !=
			    capacity / small.page)
				_exit(5);
			if (cdm_check_value(mem, capacity, 0) != -1)
				_exit(6);
			if (copied(&small))
				_exit(7);
			memset(mem, 0x5a, capacity);
			_exit(0);
		}
		EXPECT_EQ(0, cdm_reap(pid, 2 * CDM_JOB_MS));
		EXPECT_EQ(capacity / small.page,
			  cdm_free_settles(&small, capacity / small.page));
	}
	cdm_close(&small);
}

TEST_HARNESS_MAIN

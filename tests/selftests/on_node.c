// SPDX-License-Identifier: GPL-2.0
/*
 * Memory on the node behaves as any memory of the process: mremap, mlock, madvise,
 * access from outside, accounting. fork.c has fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(ON_NODE)
#define PAGES			64

FIXTURE(on_node) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;	/* free pages of the node before the test */
	__u64 pfns[PAGES];
};

/* All pages have the pattern of SEED, and lie on the node. */
FIXTURE_SETUP(on_node)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, self->pfns));
}

FIXTURE_TEARDOWN(on_node)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* mremap() keeps the page frames. */
TEST_F(on_node, mremap)
{
	char *to = cdm_map(&self->cdm, self->length);
	__u64 pfns[PAGES];

	ASSERT_NE(NULL, to);
	ASSERT_EQ(to, mremap(self->mem, self->length, self->length,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	self->mem = to;
	EXPECT_EQ(-1, cdm_check(to, self->length, SEED));
	ASSERT_EQ(0, cdm_pfns(to, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, sizeof(pfns)));
	/* The device follows to the new address. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, to, self->length, 3, NULL));
	EXPECT_EQ(-1, cdm_check_value(to, self->length, 3));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, to, self->length, SYSTEM, NULL));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, to, self->length));
	EXPECT_EQ(-1, cdm_check_value(to, self->length, 3));
}

/* Locked memory may lie on the node, and move while it is locked. */
TEST_F(on_node, mlock)
{
	struct hmm_cdm_migrate m;

	ASSERT_EQ(0, mlock(self->mem, self->length));
	EXPECT_EQ(self->length / 1024, cdm_smaps(self->mem, "Locked:"));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i ? NODE : SYSTEM, &m));
		EXPECT_EQ(PAGES, m.migrated);
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	}
	ASSERT_EQ(0, munlock(self->mem, self->length));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_F(on_node, madv_dontneed)
{
	ASSERT_EQ(0, madvise(self->mem, self->length / 2, MADV_DONTNEED));
	EXPECT_EQ(self->free - PAGES / 2,
		  cdm_free_settles(&self->cdm, self->free - PAGES / 2));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length / 2, 0));
	EXPECT_EQ(PAGES / 2,
		  cdm_on_node(&self->cdm, self->mem, self->length));
}

/* Advice without effect on the node's pages keeps their content. */
TEST_F(on_node, other_advice)
{
	const int advice[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_HUGEPAGE, MADV_COLLAPSE,
		MADV_MERGEABLE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		/* The kernel may refuse it. */
		int err = madvise(self->mem, self->length, advice[i]);

		TH_LOG("advice %d: %d", advice[i], err ? errno : 0);
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
		EXPECT_EQ(PAGES,
			  cdm_on_node(&self->cdm, self->mem, self->length));
	}
}

/* A long-term pin moves pages off the node first, and keeps them away. */
TEST_F(on_node, long_term_pin)
{
	struct io_uring_params params = {};
	struct iovec iov = { self->mem, self->length / 2 };
	struct hmm_cdm_migrate m;
	int ring = syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0)
		SKIP(return, "no io_uring: errno %d", errno);
	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring,
			     IORING_REGISTER_BUFFERS, &iov, 1));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length / 2));
	EXPECT_EQ(PAGES / 2,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES / 2, m.skipped[HMM_CDM_SKIP_PINNED]);
	EXPECT_EQ(PAGES / 2, m.present);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&m));
	/* The device uses them in place. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 6,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 6));

	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring,
			     IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &m));
	EXPECT_EQ(PAGES / 2, m.migrated);
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 6));
}

TEST_F(on_node, mprotect)
{
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_NONE));
	ASSERT_EQ(0, mprotect(self->mem, self->length, PROT_READ));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, mprotect(self->mem, self->length,
			      PROT_READ | PROT_WRITE));
	cdm_fill(self->mem, self->length, SEED + 1);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/* System calls read and write memory on the node. */
TEST_F(on_node, system_calls)
{
	char *copy = malloc(self->length);
	struct iovec here = { copy, self->length };
	struct iovec there = { self->mem, self->length };
	int file = memfd_create("cdm-on-node", MFD_CLOEXEC);
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ASSERT_NE(NULL, copy);
	ASSERT_LE(0, file);
	ASSERT_LE(0, mem);
	ASSERT_EQ((ssize_t)self->length,
		  process_vm_readv(getpid(), &here, 1, &there, 1, 0));
	EXPECT_EQ(-1, cdm_check(copy, self->length, SEED));
	ASSERT_EQ((ssize_t)self->length,
		  write(file, self->mem, self->length));
	cdm_fill(copy, self->length, SEED + 1);
	ASSERT_EQ((ssize_t)self->length,
		  pwrite(mem, copy, self->length, (off_t)CDM_ADDR(self->mem)));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
	ASSERT_EQ((ssize_t)self->length,
		  pread(file, self->mem, self->length, 0));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	close(file);
	close(mem);
	free(copy);
}

/* Closing the file moves no page. */
TEST_F(on_node, close)
{
	__u64 pfns[PAGES];

	cdm_close(&self->cdm);
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	EXPECT_EQ(0, memcmp(pfns, self->pfns, sizeof(pfns)));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	EXPECT_EQ(self->free - PAGES, cdm_free_pages(&self->cdm));
}

/* Pages count for the process wherever they lie. */
TEST_F(on_node, rss)
{
	const long noise = PAGES / 4;
	long rss[3], anon;

	ASSERT_EQ(self->length / 1024, cdm_smaps(self->mem, "Rss:"));
	rss[0] = cdm_rss();
	for (int i = 1; i < 3; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i == 1 ? SYSTEM : NODE, NULL));
		EXPECT_EQ(self->length / 1024, cdm_smaps(self->mem, "Rss:"));
		EXPECT_EQ(self->length / 1024,
			  cdm_smaps(self->mem, "Anonymous:"));
		rss[i] = cdm_rss();
		EXPECT_LE(rss[0] - noise, rss[i]);
		EXPECT_GE(rss[0] + noise, rss[i]);
	}
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	EXPECT_EQ(0, cdm_smaps(self->mem, "Rss:"));
	anon = cdm_rss();
	EXPECT_GE(rss[2] - PAGES + noise, anon);

	/* Pages populated without a copy count as well. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	EXPECT_EQ(self->length / 1024, cdm_smaps(self->mem, "Rss:"));
	EXPECT_LE(anon + PAGES - noise, cdm_rss());
}

TEST_HARNESS_MAIN

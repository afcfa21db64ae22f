// SPDX-License-Identifier: GPL-2.0
/*
 * madvise(2) on memory of the node. Advice about page tables works as for
 * system memory. Advice about reclaim has no effect, as the pages are on no LRU
 * list, and loses no data.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"

#define SEED			CDM_SEED(MM_ADVICE)
#define PAGES			32

FIXTURE(advice) {
	struct cdm cdm;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;
	__u64 pfns[PAGES];
};

/* All pages have the pattern of SEED and lie on the node. */
FIXTURE_SETUP(advice)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, self->pfns));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 NULL));
}

FIXTURE_TEARDOWN(advice)
{
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* Neither content nor frames have changed, for the CPU and the device. */
static bool untouched(const struct _test_data_advice *self)
{
	struct hmm_cdm_wait wait;
	__u64 pfns[PAGES];

	return cdm_check(self->mem, self->length, SEED) == -1 &&
	       !cdm_pfns(self->mem, self->length, pfns) &&
	       !memcmp(pfns, self->pfns, sizeof(pfns)) &&
	       !cdm_run_sum(&self->cdm, self->mem, self->length / 8, &wait) &&
	       wait.result[0] == cdm_word_sum(SEED, self->length / 8) &&
	       wait.bytes_local == self->length;
}

/* Whether /proc/self/smaps shows this flag of the mapping. */
static bool has_flag(const char *mem, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false, has = false;
	char line[512];

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= CDM_ADDR(mem) && CDM_ADDR(mem) < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			has = strstr(line, flag);
	}
	fclose(file);
	return has;
}

/* Advice that only sets a flag of the mapping changes no page. */
TEST_F(advice, noted)
{
	static const struct {
		int advice, undo;
		const char *flag;
	} all[] = {
		{ MADV_RANDOM, MADV_NORMAL, " rr" },
		{ MADV_SEQUENTIAL, MADV_NORMAL, " sr" },
		{ MADV_DONTFORK, MADV_DOFORK, " dc" },
		{ MADV_WIPEONFORK, MADV_KEEPONFORK, " wf" },
		{ MADV_DONTDUMP, MADV_DODUMP, " dd" },
		{ MADV_MERGEABLE, MADV_UNMERGEABLE, " mg" },
		{ MADV_HUGEPAGE, MADV_NOHUGEPAGE, " hg" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		/* Kernels without KSM or huge pages lack these. */
		if (madvise(self->mem, self->length, all[i].advice)) {
			EXPECT_EQ(EINVAL, errno);
			EXPECT_TRUE(all[i].advice == MADV_MERGEABLE ||
				    all[i].advice == MADV_HUGEPAGE);
			continue;
		}
		EXPECT_TRUE(has_flag(self->mem, all[i].flag));
		EXPECT_TRUE(untouched(self));
		ASSERT_EQ(0, madvise(self->mem, self->length, all[i].undo));
		EXPECT_FALSE(has_flag(self->mem, all[i].flag));
		EXPECT_TRUE(untouched(self));
	}
}

/* Advice about reclaim succeeds and has no effect. */
TEST_F(advice, reclaim)
{
	static const int all[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_EQ(0, madvise(self->mem, self->length, all[i]));
		EXPECT_TRUE(untouched(self));
	}
}

/*
 * MADV_FREE permits the kernel to drop pages: those of the node keep their
 * content under any pressure, while system pages beside them are dropped.
 */
TEST_F(advice, free)
{
	const size_t half = self->length / 2;
	char *system = self->mem + half;

	if (cdm_group_enter())
		SKIP(return, "no control group to reclaim from");
	ASSERT_EQ(0, cdm_migrate(&self->cdm, system, half, SYSTEM, NULL));
	/* Touched in this cgroup, so that it is charged. */
	ASSERT_EQ(0, madvise(system, half, MADV_DONTNEED));
	cdm_fill(system, half, SEED + 1);
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_FREE));
	/* What the device writes afterwards has to stay, in either memory. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->page, 7, NULL));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, system, self->page, 8, NULL));
	for (int i = 0; i < 4; i++)
		cdm_group_reclaim(64 << 20);
	EXPECT_EQ(PAGES / 2,
		  cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->page, 7));
	for (size_t i = self->page / 8; i < half / 8; i++)
		ASSERT_EQ(cdm_word(SEED, i), ((__u64 *)self->mem)[i]);
	EXPECT_EQ(-1, cdm_check_value(system, self->page, 8));
	EXPECT_EQ(-1, cdm_check_value(system + self->page, half - self->page,
				      0));
	cdm_group_leave();
}

/* Pages are freed at once; both sides read zeros at the next access. */
TEST_F(advice, dontneed)
{
	const size_t part = 7 * self->page;
	char *at = self->mem + 4 * self->page;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, madvise(at, part, MADV_DONTNEED));
	EXPECT_EQ(self->free - PAGES + 7,
		  cdm_free_settles(&self->cdm, self->free - PAGES + 7));
	EXPECT_EQ(0, cdm_present(at, part));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, at, part / 8, &wait));
	EXPECT_EQ(0, wait.result[0]);
	EXPECT_EQ(-1, cdm_check_value(at, part, 0));
	EXPECT_EQ(-1, cdm_check(self->mem, 4 * self->page, SEED));
	EXPECT_EQ(PAGES - 7,
		  cdm_on_node(&self->cdm, self->mem, self->length));
}

/* MADV_REMOVE needs a file. */
TEST_F(advice, remove)
{
	EXPECT_EQ(-1, madvise(self->mem, self->length, MADV_REMOVE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(untouched(self));
}

/*
 * Installing a guard frees the page and excludes devices and POPULATE; removing
 * it leaves untouched memory.
 */
TEST_F(advice, guard)
{
	const size_t part = 3 * self->page;
	char *at = self->mem + 2 * self->page;
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;

	if (madvise(at, part, MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages: errno %d", errno);
	EXPECT_EQ(self->free - PAGES + 3,
		  cdm_free_settles(&self->cdm, self->free - PAGES + 3));
	EXPECT_FALSE(cdm_can_read(at));
	EXPECT_FALSE(cdm_can_write(at + part - 8, 1));
	EXPECT_TRUE(cdm_can_read(at + part));
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem,
				       self->length / 8, &wait));
	EXPECT_EQ(CDM_ADDR(at), wait.fault_addr);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, at + part - 8, 8, 1,
					NULL));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &p));
	EXPECT_EQ(0, p.populated);
	EXPECT_EQ(PAGES - 3, p.present);
	/* The other pages still move out and back. */
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i ? NODE : SYSTEM, &m));
		EXPECT_EQ(PAGES - 3, m.migrated);
		EXPECT_EQ(PAGES, cdm_migrate_sum(&m));
		EXPECT_FALSE(cdm_can_read(at));
	}
	ASSERT_EQ(0, madvise(at, part, MADV_GUARD_REMOVE));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length, 0,
				  &p));
	EXPECT_EQ(3, p.populated);
	EXPECT_EQ(-1, cdm_check_value(at, part, 0));
	EXPECT_EQ(-1, cdm_check(self->mem, 2 * self->page, SEED));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
}

/*
 * The child lacks the pages excluded from fork, and reads zeros where they are
 * wiped.
 */
TEST_F(advice, fork)
{
	const size_t half = self->length / 2;
	pid_t pid;

	ASSERT_EQ(0, madvise(self->mem, half, MADV_DONTFORK));
	ASSERT_EQ(0, madvise(self->mem + half, half, MADV_WIPEONFORK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct hmm_cdm_wait wait;
		struct cdm cdm;

		if (cdm_open(&cdm, 0))
			_exit(1);
		if (cdm_can_read(self->mem) ||
		    cdm_run_sum(&cdm, self->mem, 1, NULL) != -EFAULT)
			_exit(2);
		if (cdm_present(self->mem + half, half) ||
		    cdm_run_sum(&cdm, self->mem + half, half / 8, &wait) ||
		    wait.result[0])
			_exit(3);
		if (cdm_populate(&cdm, self->mem + half, half, 0, NULL) ||
		    cdm_check_value(self->mem + half, half, 0) != -1)
			_exit(4);
		cdm_fill(self->mem + half, half, SEED + 1);
		_exit(0);
	}
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_TRUE(untouched(self));
}

/*
 * MADV_COLLAPSE makes a huge page of system pages, and fails if a page is on
 * the node.
 */
TEST_F(advice, collapse)
{
	const size_t size = cdm_thp_size();
	struct hmm_cdm_migrate m;
	char *mem;

	if (!size || size != self->cdm.window)
		SKIP(return, "no transparent huge page of a window's size");
	mem = cdm_map(&self->cdm, size);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, size, SEED);
	ASSERT_EQ(0, madvise(mem, size, MADV_HUGEPAGE));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, NODE, NULL));
	EXPECT_EQ(-1, madvise(mem, size, MADV_COLLAPSE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(1, cdm_on_node(&self->cdm, mem, size));
	EXPECT_EQ(-1, cdm_check(mem, size, SEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, SYSTEM, NULL));
	ASSERT_EQ(0, madvise(mem, size, MADV_COLLAPSE));
	EXPECT_EQ(size / 1024, cdm_smaps(mem, "AnonHugePages:"));
	EXPECT_EQ(-1, cdm_check(mem, size, SEED));
	/* The collapsed page moves as any huge page. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, size, NODE, &m));
	EXPECT_EQ(1, m.huge);
	EXPECT_EQ(-1, cdm_check(mem, size, SEED));
	munmap(mem, size);
}

/* The same advice from another process has the same effect: none. */
TEST_F(advice, of_another_process)
{
	static const int all[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED };
	struct iovec range = { self->mem, self->length };
	int ends[2], pidfd;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(ends[1]);
		byte = read(ends[0], &byte, 1);
		_exit(cdm_check(self->mem, self->length, SEED) != -1);
	}
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_EQ((long)self->length,
			  syscall(SYS_process_madvise, pidfd, &range, 1,
				  all[i], 0));
		EXPECT_TRUE(untouched(self));
	}
	/* Other advice is restricted to the process itself. */
	EXPECT_EQ(-1, syscall(SYS_process_madvise, pidfd, &range, 1,
			      MADV_DONTNEED, 0));
	EXPECT_EQ(EINVAL, errno);
	close(ends[1]);
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	close(pidfd);
	pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	EXPECT_EQ((long)self->length,
		  syscall(SYS_process_madvise, pidfd, &range, 1,
			  MADV_DONTNEED, 0));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
	close(pidfd);
}

/*
 * NUMA policies are about memory that the kernel allocates: pages of the node
 * stay, even under MPOL_MF_STRICT; only the driver moves them.
 */
TEST_F(advice, of_numa_nodes)
{
	/*
	 * Node 0; and all other nodes, including device memory's: up to 255 on
	 * POWER.
	 */
	unsigned long nodes[5] = { 1 }, others[5] = { ~1UL };
	const int last = self->cdm.info.numa_node < 64 ? 63 : 255;
	const unsigned long bits = 8 * sizeof(nodes);
	void *addrs[PAGES];
	int status[PAGES], to[PAGES] = {};
	struct hmm_cdm_migrate m;

	for (int i = 64; i <= last; i++)
		others[i / 64] |= 1UL << i % 64;
	ASSERT_TRUE(others[self->cdm.info.numa_node / 64] >>
		    self->cdm.info.numa_node % 64 & 1);
	EXPECT_EQ(0, syscall(SYS_mbind, self->mem, self->length, MPOL_BIND,
			     nodes, bits, MPOL_MF_MOVE | MPOL_MF_STRICT));
	EXPECT_TRUE(untouched(self));
	EXPECT_EQ(0, syscall(SYS_migrate_pages, 0, bits, others, nodes));
	EXPECT_TRUE(untouched(self));
	for (int i = 0; i < PAGES; i++)
		addrs[i] = self->mem + i * self->page;
	EXPECT_LE(0, syscall(SYS_move_pages, 0, PAGES, addrs, to, status,
			     MPOL_MF_MOVE));
	EXPECT_TRUE(untouched(self));

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &m));
	EXPECT_EQ(PAGES, m.migrated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_HARNESS_MAIN

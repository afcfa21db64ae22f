// SPDX-License-Identifier: GPL-2.0
/*
 * The hardware reports a page of the node as damaged, in use or free, however the
 * report is made: that frame is retired once it is free, its neighbours are not,
 * and the process that has it is neither harmed nor hindered.
 *
 * Each test takes frames from the node for good. They come back with the memory,
 * which the last test registers anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/mman.h>

#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_test.h"

#define NODE			HMM_CDM_TARGET_NODE
#define SYSTEM			HMM_CDM_TARGET_SYSTEM
#define SEED			241
#define PAGES			32
#define HIT			7	/* the page that is hit, of these */
#define HARD			"/sys/devices/system/memory/hard_offline_page"
#define SOFT			"/sys/devices/system/memory/soft_offline_page"
#define INJECT			"/sys/kernel/debug/hwpoison/corrupt-pfn"

/* Of linux/mman.h, which the C library's does without. */
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* The smaller one. */
#define INDEX			1

FIXTURE(damage) {
	struct cdm cdm;
	__u64 free;
	char *mem;
	size_t length;
	size_t page;
	long poisoned;	/* kB, of the whole machine */
};

FIXTURE_VARIANT(damage) {
	int (*hit)(const struct cdm *cdm, void *addr, __u64 pfn);
	int (*soft)(const struct cdm *cdm, void *addr, __u64 pfn);
};

/* Each returns zero once the kernel has been told. */
static int tell(const char *path, __u64 value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[32];
	int n, err;

	if (fd < 0)
		return -errno;
	n = snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	/* EBUSY: it need not do more about it than the driver does. */
	err = write(fd, text, n) == n || errno == EBUSY ? 0 : -errno;
	close(fd);
	return err;
}

static int hit_by_madvise(const struct cdm *cdm, void *addr, __u64 pfn)
{
	(void)pfn;
	return madvise(addr, cdm->page, MADV_HWPOISON) && errno != EBUSY ?
	       -errno : 0;
}

static int hit_by_sysfs(const struct cdm *cdm, void *addr, __u64 pfn)
{
	(void)addr;
	return tell(HARD, pfn * cdm->page);
}

static int hit_by_debugfs(const struct cdm *cdm, void *addr, __u64 pfn)
{
	(void)cdm;
	(void)addr;
	return tell(INJECT, pfn);
}

static int soft_by_madvise(const struct cdm *cdm, void *addr, __u64 pfn)
{
	(void)pfn;
	return madvise(addr, cdm->page, MADV_SOFT_OFFLINE) ? -errno : 0;
}

static int soft_by_sysfs(const struct cdm *cdm, void *addr, __u64 pfn)
{
	(void)addr;
	return tell(SOFT, pfn * cdm->page);
}

FIXTURE_VARIANT_ADD(damage, madvise) {
	.hit = hit_by_madvise, .soft = soft_by_madvise,
};

FIXTURE_VARIANT_ADD(damage, hard_offline_page) {
	.hit = hit_by_sysfs, .soft = soft_by_sysfs,
};

FIXTURE_VARIANT_ADD(damage, corrupt_pfn) {
	.hit = hit_by_debugfs, .soft = soft_by_sysfs,
};

FIXTURE_SETUP(damage)
{
	if (variant->hit == hit_by_debugfs && access(INJECT, W_OK))
		SKIP(return, "no " INJECT);
	if (variant->hit == hit_by_sysfs && access(HARD, W_OK))
		SKIP(return, "no " HARD);
	ASSERT_EQ(0, cdm_open(&self->cdm, INDEX));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->poisoned = cdm_meminfo("HardwareCorrupted:");
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(damage)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* It goes on with the page, on both sides, and can take it away. */
TEST_F(damage, in_use)
{
	char *hit = self->mem + HIT * self->page;
	__u64 frame = cdm_pfn(hit), pfns[2][PAGES];
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[0]));
	ASSERT_EQ(0, variant->hit(&self->cdm, hit, frame));
	EXPECT_EQ(self->poisoned + (long)self->page / 1024,
		  cdm_meminfo("HardwareCorrupted:"));
	/* Told twice it is no more damaged than that. */
	ASSERT_EQ(0, variant->hit(&self->cdm, hit, frame));
	EXPECT_EQ(self->free - PAGES, cdm_free_pages(&self->cdm));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[1]));
	EXPECT_EQ(0, memcmp(pfns[0], pfns[1], sizeof(pfns[0])));

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 &m));
	EXPECT_EQ(PAGES, m.migrated);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	EXPECT_EQ(self->free - 1,
		  cdm_free_settles(&self->cdm, self->free - 1));
	/* The way back leads to other frames. */
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 NODE, &m));
		EXPECT_EQ(PAGES, m.migrated);
		ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[1]));
		for (int j = 0; j < PAGES; j++)
			EXPECT_NE(frame, pfns[1][j]);
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, &m));
	}
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	EXPECT_EQ(self->free - 1, cdm_free_pages(&self->cdm));
}

/* Two processes have the page; both end without giving it up before. */
TEST_F(damage, of_who_ends)
{
	char *hit = self->mem + HIT * self->page;
	struct cdm_child child;

	ASSERT_EQ(0, cdm_child_start(&child, NULL, NULL));
	ASSERT_EQ(0, variant->hit(&self->cdm, hit, cdm_pfn(hit)));
	EXPECT_EQ(0, waitpid(child.pid, NULL, WNOHANG));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free - PAGES, cdm_free_pages(&self->cdm));
	cdm_child_kill(&child);
	EXPECT_EQ(self->free - 1,
		  cdm_free_settles(&self->cdm, self->free - 1));
}

/* Giving a page up beforehand is refused: the kernel cannot replace it. */
TEST_F(damage, soft_offline)
{
	char *hit = self->mem + HIT * self->page;
	__u64 pfns[2][PAGES];
	int err;

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[0]));
	err = variant->soft(&self->cdm, hit, pfns[0][HIT]);
	if (err == -EINVAL || err == -ENOENT)
		SKIP(return, "no soft offlining");
	EXPECT_EQ(-EIO, err);
	EXPECT_EQ(self->poisoned, cdm_meminfo("HardwareCorrupted:"));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns[1]));
	EXPECT_EQ(0, memcmp(pfns[0], pfns[1], sizeof(pfns[0])));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
}

FIXTURE(frame) {
	struct cdm cdm;
	__u64 free;
	char *mem;
	size_t length;
	size_t page;
};

FIXTURE_SETUP(frame)
{
	if (access(HARD, W_OK))
		SKIP(return, "no " HARD);
	ASSERT_EQ(0, cdm_open(&self->cdm, INDEX));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map_on_node(&self->cdm, self->length, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(frame)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* A free frame is gone at once; all others can be had. */
TEST_F(frame, free)
{
	size_t capacity = self->cdm.info.capacity, wrong = 0;
	char *hit = self->mem + HIT * self->page;
	__u64 frame = cdm_pfn(hit);
	struct hmm_cdm_populate p;
	char *all;

	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	ASSERT_EQ(0, hit_by_sysfs(&self->cdm, NULL, frame));
	EXPECT_EQ(self->free - 1, cdm_free_pages(&self->cdm));
	all = cdm_map(&self->cdm, capacity);
	ASSERT_NE(NULL, all);
	ASSERT_EQ(0, cdm_populate(&self->cdm, all, capacity, 0, &p));
	EXPECT_EQ(self->free - 1, p.populated);
	EXPECT_EQ(0, cdm_free_pages(&self->cdm));
	for (size_t at = 0; at < capacity; at += self->page)
		wrong += cdm_pfn(all + at) == frame;
	EXPECT_EQ(0, wrong);
	munmap(all, capacity);
	EXPECT_EQ(self->free - 1,
		  cdm_free_settles(&self->cdm, self->free - 1));
}

/* The report comes while the page is on its way, there or back. */
TEST_F(frame, while_it_moves)
{
	struct cdm_mover mover;
	__u64 pfns[PAGES];
	size_t hits;

	ASSERT_EQ(0, cdm_pfns(self->mem, self->length, pfns));
	ASSERT_EQ(0, cdm_mover_start(&mover, &self->cdm, self->mem,
				     self->length));
	for (hits = 0; hits < PAGES; hits++) {
		ASSERT_EQ(0, hit_by_sysfs(&self->cdm, NULL, pfns[hits]));
		cdm_sleep_ms(2);
	}
	EXPECT_TRUE(cdm_mover_stop(&mover));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free - hits,
		  cdm_free_settles(&self->cdm, self->free - hits));
}

FIXTURE(reload) {
	struct cdm_found found;
};

FIXTURE_SETUP(reload)
{
	ASSERT_EQ(0, cdm_remember(&self->found));
}

/* In the parent, so that it runs with all files of the test closed. */
FIXTURE_TEARDOWN_PARENT(reload)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* The last of all: the memory comes with all its frames again. */
TEST_F(reload, frames_are_back)
{
	struct cdm cdm;

	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	ASSERT_EQ(0, cdm_restore(&self->found));
	for (int i = 0; i < CDM_NODES; i++) {
		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(cdm.info.capacity, cdm.info.free);
		cdm_close(&cdm);
	}
}

TEST_HARNESS_MAIN

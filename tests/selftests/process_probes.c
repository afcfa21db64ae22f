// SPDX-License-Identifier: GPL-2.0
/*
 * uprobes. They write breakpoints into private copies of text pages, and skip
 * ZONE_DEVICE pages without a word (kernel/events/uprobes.c): a breakpoint on the
 * node would stay when its probe goes, and a probe would not reach text there.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"

#define UPROBE_PMU	"/sys/bus/event_source/devices/uprobe/type"

#ifdef __x86_64__
#define IS_NATIVE	true
#else
#define IS_NATIVE	false
#endif

/* int f(int x) { return x + 1; }, behind four no-ops, on x86-64. */
static const unsigned char text[] = {
	0x90, 0x90, 0x90, 0x90, 0x8d, 0x47, 0x01, 0xc3,
};

FIXTURE(probes) {
	struct cdm cdm;
	int file;		/* two pages: text, and data */
	char *page;		/* the text, mapped */
	char path[64];
	unsigned int word;	/* the first of the text, without a probe */
	unsigned int type;	/* of the uprobe PMU */
};

static int call(const struct _test_data_probes *self, int x)
{
	int (*probed)(int x) = (void *)self->page;

	return probed(x);
}

static unsigned int first_word(const struct _test_data_probes *self)
{
	return __atomic_load_n((unsigned int *)self->page, __ATOMIC_RELAXED);
}

/* Puts a probe on the text for this process. Closing the descriptor removes it. */
static int probe(const struct _test_data_probes *self)
{
	struct perf_event_attr attr = {
		.type = self->type,
		.size = sizeof(attr),
		.config1 = CDM_ADDR(self->path),
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			 PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Calls the text and returns the number of times that the probe was hit. */
static __u64 hits(const struct _test_data_probes *self, int fd,
		  unsigned int calls)
{
	__u64 before = 0, after = 0;

	if (read(fd, &before, sizeof(before)) != sizeof(before))
		return CDM_FOREVER;
	for (unsigned int i = 0; i < calls; i++)
		if (call(self, i) != (int)i + 1)
			return CDM_FOREVER;
	if (read(fd, &after, sizeof(after)) != sizeof(after))
		return CDM_FOREVER;
	return after - before;
}

/* The call moves nothing and says that the page is not private anonymous memory. */
static void expect_stays(struct __test_metadata *_metadata,
			 const struct _test_data_probes *self)
{
	struct hmm_cdm_migrate m;

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->page, self->cdm.page, NODE,
				 &m));
	EXPECT_EQ(0, m.migrated);
	EXPECT_EQ(1, m.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->page, self->cdm.page));
}

FIXTURE_SETUP(probes)
{
	FILE *type = fopen(UPROBE_PMU, "re");
	int n = type ? fscanf(type, "%u", &self->type) : 0;

	if (type)
		fclose(type);
	if (n != 1 || !IS_NATIVE)
		SKIP(return, "no uprobes, or not x86-64");
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->file = memfd_create("cdm-test", MFD_CLOEXEC);
	ASSERT_LE(0, self->file);
	ASSERT_EQ((ssize_t)sizeof(text), write(self->file, text, sizeof(text)));
	ASSERT_EQ(0, ftruncate(self->file, 2 * self->cdm.page));
	snprintf(self->path, sizeof(self->path), "/proc/self/fd/%d", self->file);
	self->page = mmap(NULL, self->cdm.page, PROT_READ | PROT_EXEC,
			  MAP_PRIVATE, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	self->word = first_word(self);
}

FIXTURE_TEARDOWN(probes)
{
	munmap(self->page, self->cdm.page);
	close(self->file);
	cdm_close(&self->cdm);
}

TEST_F(probes, breakpoint_stays_where_it_can_be_removed)
{
	int fd = probe(self);

	ASSERT_LE(0, fd);
	EXPECT_EQ(3, hits(self, fd, 3));
	ASSERT_NE(self->word, first_word(self));
	expect_stays(_metadata, self);
	EXPECT_EQ(3, hits(self, fd, 3));
	close(fd);
	EXPECT_EQ(self->word, first_word(self));
	EXPECT_EQ(5, call(self, 4));
}

/* A text page that has been written to is anonymous memory, but still text. */
TEST_F(probes, probe_reaches_text_that_was_written)
{
	int fd;

	ASSERT_EQ(0, mprotect(self->page, self->cdm.page,
			      PROT_READ | PROT_WRITE | PROT_EXEC));
	__atomic_store_n((unsigned int *)self->page, self->word,
			 __ATOMIC_RELAXED);
	expect_stays(_metadata, self);
	ASSERT_EQ(0, mprotect(self->page, self->cdm.page, PROT_READ));
	expect_stays(_metadata, self);
	ASSERT_EQ(0, mprotect(self->page, self->cdm.page,
			      PROT_READ | PROT_EXEC));
	expect_stays(_metadata, self);

	fd = probe(self);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, hits(self, fd, 2));
	close(fd);
	EXPECT_EQ(self->word, first_word(self));
}

/* Nor does it get there because the device writes, or by advice. */
TEST_F(probes, device_writes_do_not_place_text)
{
	const size_t page = self->cdm.page;
	int fd;

	ASSERT_EQ(0, cdm_advise(&self->cdm, self->page, page,
				HMM_CDM_PLACE_NODE, 0));
	ASSERT_EQ(0, mprotect(self->page, page,
			      PROT_READ | PROT_WRITE | PROT_EXEC));
	/* Words behind the code. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->page + page / 2, page / 2,
				  7, NULL));
	EXPECT_EQ(-1, cdm_check_value(self->page + page / 2, page / 2, 7));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->page, page));
	ASSERT_EQ(0, mprotect(self->page, page, PROT_READ | PROT_EXEC));
	fd = probe(self);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, hits(self, fd, 2));
	close(fd);
	EXPECT_EQ(5, call(self, 4));
}

/* Data of a program is private memory of a file, too, and moves. */
TEST_F(probes, data_moves)
{
	const size_t page = self->cdm.page;
	char *data = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			  self->file, page);
	struct hmm_cdm_migrate m;

	ASSERT_NE(MAP_FAILED, data);
	data[0] = 3;
	ASSERT_EQ(0, cdm_migrate(&self->cdm, data, page, NODE, &m));
	EXPECT_EQ(1, m.migrated);
	EXPECT_EQ(1, cdm_on_node(&self->cdm, data, page));
	EXPECT_EQ(3, data[0]);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, data, page, SYSTEM, &m));
	EXPECT_EQ(1, m.migrated);
	munmap(data, page);
}

TEST_HARNESS_MAIN

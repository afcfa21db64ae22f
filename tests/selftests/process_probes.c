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
#define PAGE_MAX	65536

/* Alone in its pages, whose content is that of a file until someone writes. */
static __attribute__((noinline, noclone, aligned(PAGE_MAX), section(".text.probed")))
int probed(int x)
{
	asm volatile("nop\n nop\n nop\n nop");
	return x + 1;
}

static __attribute__((used, noinline, aligned(PAGE_MAX), section(".text.probed_end")))
int behind(void)
{
	return 0;
}

FIXTURE(probes) {
	struct cdm cdm;
	char *page;		/* of probed() */
	char path[256];		/* its file */
	unsigned long long offset;
	unsigned int word;	/* the first of probed(), without a probe */
	unsigned int type;	/* of the uprobe PMU */
};

/* Looks up the file and the offset of self->page. */
static int find_file(struct _test_data_probes *self)
{
	unsigned long start, end, at = (unsigned long)self->page;
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long long offset;
	int err = -ENOENT;
	char line[512];

	while (maps && err && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %llx %*s %*s %255s", &start, &end,
			   &offset, self->path) != 4 ||
		    at < start || at >= end)
			continue;
		self->offset = offset + at - start;
		err = 0;
	}
	if (maps)
		fclose(maps);
	return err;
}

static unsigned int first_word(void)
{
	return *(volatile unsigned int *)(void *)probed;
}

/* Puts a probe on probed() for this process. Closing the descriptor removes it. */
static int probe(const struct _test_data_probes *self)
{
	struct perf_event_attr attr = {
		.type = self->type,
		.size = sizeof(attr),
		.config1 = CDM_ADDR(self->path),
		.config2 = self->offset,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			 PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Calls probed() and returns the number of times that the probe was hit. */
static __u64 hits(int fd, unsigned int calls)
{
	__u64 before = 0, after = 0;

	if (read(fd, &before, sizeof(before)) != sizeof(before))
		return CDM_FOREVER;
	for (unsigned int i = 0; i < calls; i++)
		if (probed(i) != (int)i + 1)
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
	if (n != 1)
		SKIP(return, "no uprobes in this kernel");
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = (char *)(void *)probed;
	ASSERT_EQ(0, find_file(self));
	self->word = first_word();
}

FIXTURE_TEARDOWN(probes)
{
	cdm_close(&self->cdm);
}

TEST_F(probes, breakpoint_stays_where_it_can_be_removed)
{
	int fd = probe(self);

	ASSERT_LE(0, fd);
	EXPECT_EQ(3, hits(fd, 3));
	ASSERT_NE(self->word, first_word());
	expect_stays(_metadata, self);
	EXPECT_EQ(3, hits(fd, 3));
	close(fd);
	EXPECT_EQ(self->word, first_word());
	EXPECT_EQ(5, probed(4));
}

/* A text page that has been written to is anonymous memory, but still text. */
TEST_F(probes, probe_reaches_text_that_was_written)
{
	int fd;

	ASSERT_EQ(0, mprotect(self->page, self->cdm.page,
			      PROT_READ | PROT_WRITE | PROT_EXEC));
	*(volatile unsigned int *)self->page = self->word;
	expect_stays(_metadata, self);
	ASSERT_EQ(0, mprotect(self->page, self->cdm.page, PROT_READ));
	expect_stays(_metadata, self);
	ASSERT_EQ(0, mprotect(self->page, self->cdm.page,
			      PROT_READ | PROT_EXEC));
	expect_stays(_metadata, self);

	fd = probe(self);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, hits(fd, 2));
	close(fd);
	EXPECT_EQ(self->word, first_word());
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
	/* Words behind the function. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->page + page / 2, page / 2,
				  7, NULL));
	EXPECT_EQ(-1, cdm_check_value(self->page + page / 2, page / 2, 7));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->page, page));
	ASSERT_EQ(0, mprotect(self->page, page, PROT_READ | PROT_EXEC));
	fd = probe(self);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, hits(fd, 2));
	close(fd);
	EXPECT_EQ(5, probed(4));
}

/* Data of a program is private memory of a file, too, and moves. */
TEST_F(probes, data_moves)
{
	static char data[2 * PAGE_MAX] __attribute__((aligned(PAGE_MAX))) = { 1 };
	struct hmm_cdm_migrate m;

	data[0] = 3;
	ASSERT_EQ(0, cdm_migrate(&self->cdm, data, self->cdm.page, NODE, &m));
	EXPECT_EQ(1, m.migrated);
	EXPECT_EQ(1, cdm_on_node(&self->cdm, data, self->cdm.page));
	EXPECT_EQ(3, data[0]);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, data, self->cdm.page, SYSTEM, &m));
	EXPECT_EQ(1, m.migrated);
}

TEST_HARNESS_MAIN

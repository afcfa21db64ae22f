// SPDX-License-Identifier: GPL-2.0
/*
 * The regions that cdm_emu accepts, the errors for those it refuses, and what
 * the kernel shows of an accepted region.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_tree.h"

/* Sufficient for memremap_pages() on every architecture. */
#define ALIGNED			(16ULL << 20)
#define DOZENS			36

/* Each defect of a region has its own message. */
enum defect {
	SYNTAX,
	ZERO,
	MISALIGNED,
	RAM,
	NOTHING,
	RANGE,
	NUMA_NODE,
	TAKEN,
	DEFECTS,
};

struct bad {
	enum defect defect;
	int err;
	char text[96];
};

FIXTURE(region) {
	struct cdm_found found;
	struct cdm_region regions[CDM_REGIONS_MAX];
	char list[512];
	int nr;
};

FIXTURE_SETUP(region)
{
	self->nr = cdm_regions(self->regions, self->list, sizeof(self->list));
	if (self->nr < CDM_NODES)
		SKIP(return, "CDM_REGIONS does not name %d regions", CDM_NODES);
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(region)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* A NUMA node that this kernel can never have. */
static int impossible_node(void)
{
	FILE *f = fopen("/sys/devices/system/node/possible", "r");
	char list[256] = "0";
	char *last;

	if (f) {
		if (!fgets(list, sizeof(list), f))
			list[0] = '\0';
		fclose(f);
	}
	for (last = list + strlen(list); last > list; last--)
		if (last[-1] == '-' || last[-1] == ',')
			break;
	return atoi(last) + 1;
}

static int bad_syntax(struct bad *bad, const struct cdm_region *good)
{
	const char *const forms[] = {
		"nonsense", "0x%llx", "0x%llx+", "+0x%llx", "0x%llx-0x10000000",
		"0x%llx+0x10000000@", "0x%llx+0x10000000@x",
		"0x%llx+0x10000000@0junk", "0x%llx+0x10000000junk",
		"0x%llx+0x10000000@0@0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		bad[i].defect = SYNTAX;
		bad[i].err = -EINVAL;
		snprintf(bad[i].text, sizeof(bad[i].text), forms[i],
			 (unsigned long long)good->start);
	}
	return ARRAY_SIZE(forms);
}

static void bad_numbers(struct bad *bad, enum defect defect, int err,
			__u64 start, __u64 size, const char *node)
{
	bad->defect = defect;
	bad->err = err;
	snprintf(bad->text, sizeof(bad->text), "0x%llx+0x%llx%s",
		 (unsigned long long)start, (unsigned long long)size, node);
}

/*
 * Fills in regions with each defect, given a good one. Returns their number.
 */
static int bad_regions(struct bad *bad, const struct cdm_region *good)
{
	size_t page = sysconf(_SC_PAGESIZE);
	int nr = bad_syntax(bad, good);
	__u64 start;
	char node[16];

	bad_numbers(&bad[nr++], ZERO, -EINVAL, good->start, 0, "");
	bad_numbers(&bad[nr++], MISALIGNED, -EINVAL, good->start + 1,
		    ALIGNED, "");
	bad_numbers(&bad[nr++], MISALIGNED, -EINVAL, good->start + page,
		    ALIGNED, "");
	bad_numbers(&bad[nr++], MISALIGNED, -EINVAL, good->start,
		    ALIGNED + 1, "");
	bad_numbers(&bad[nr++], MISALIGNED, -EINVAL, good->start,
		    ALIGNED + page, "");
	/* Ends past 2^64, at 2^64, and past what any CPU can address. */
	bad_numbers(&bad[nr++], RANGE, -ERANGE, good->start,
		    0ULL - ALIGNED, "");
	bad_numbers(&bad[nr++], RANGE, -ERANGE, 0ULL - ALIGNED, ALIGNED, "");
	bad_numbers(&bad[nr++], RANGE, -ERANGE, 1ULL << 60, ALIGNED, "");
	snprintf(node, sizeof(node), "@%d", impossible_node());
	bad_numbers(&bad[nr++], NUMA_NODE, -ENXIO, good->start, ALIGNED, node);
	if (cdm_iomem_hole(ALIGNED, &start))
		bad_numbers(&bad[nr++], NOTHING, -ENODEV, start, ALIGNED, "");
	if (cdm_iomem_ram(ALIGNED, &start))
		bad_numbers(&bad[nr++], RAM, -EBUSY, start, ALIGNED, "");
	return nr;
}

/* The second half of @region, as text. */
static void overlapping(char *text, size_t size,
			const struct cdm_region *region)
{
	__u64 half = region->size / 2;

	snprintf(text, size, "0x%llx+0x%llx",
		 (unsigned long long)(region->start + half),
		 (unsigned long long)half);
}

/* Removes the words of the region from a message about it. */
static void strip(char *message, const char *text)
{
	char *at = strstr(message, text);

	if (at)
		memmove(at, at + strlen(text), strlen(at + strlen(text)) + 1);
}

/* The message about the second of two regions that overlap. */
static void taken_message(const struct cdm_region *regions, int log,
			  char *line, size_t size)
{
	char overlap[96], list[256];

	overlapping(overlap, sizeof(overlap), &regions[1]);
	snprintf(list, sizeof(list), "%s,%s", regions[1].text, overlap);
	if (cdm_load(CDM_EMU, list))
		return;
	if (cdm_log_find(log, overlap, line, size))
		strip(line, overlap);
	cdm_unload(CDM_EMU);
}

TEST_F_TIMEOUT(region, refused, 60)
{
	char messages[DEFECTS][512] = {};
	struct bad bad[32];
	int nr = bad_regions(bad, &self->regions[0]);
	int log = cdm_log_open();

	ASSERT_LE(0, log);
	for (int i = 0; i < nr; i++) {
		char line[512] = "";

		TH_LOG("region=%s", bad[i].text);
		EXPECT_EQ(bad[i].err, cdm_load(CDM_EMU, bad[i].text));
		EXPECT_FALSE(cdm_loaded(CDM_EMU))
			cdm_unload(CDM_EMU);
		EXPECT_FALSE(cdm_node_exists(0));
		EXPECT_TRUE(cdm_log_find(log, bad[i].text, line,
					 sizeof(line)));
		strip(line, bad[i].text);
		memcpy(messages[bad[i].defect], line, sizeof(line));
	}
	EXPECT_STRNE("", messages[RAM]);
	taken_message(self->regions, log, messages[TAKEN],
		      sizeof(messages[TAKEN]));
	EXPECT_STRNE("", messages[TAKEN]);
	for (int i = 0; i < DEFECTS; i++)
		for (int j = 0; j < i; j++)
			if (messages[i][0])
				EXPECT_STRNE(messages[i], messages[j]);
}

/* A bad region, in any position, does not keep a good one from loading. */
TEST_F_TIMEOUT(region, good_beside_bad, 60)
{
	const struct cdm_region *good = &self->regions[1];
	struct bad bad[32];
	int nr = bad_regions(bad, &self->regions[0]);
	int log = cdm_log_open();

	ASSERT_LE(0, log);
	for (int i = 0; i < nr; i++) {
		bool first = i % 2;
		char list[256], line[512];
		struct cdm cdm;

		/* One region with each defect is enough: the last. */
		if (i + 1 < nr && bad[i + 1].defect == bad[i].defect)
			continue;
		snprintf(list, sizeof(list), "%s,%s",
			 first ? bad[i].text : good->text,
			 first ? good->text : bad[i].text);
		TH_LOG("region=%s", list);
		ASSERT_EQ(0, cdm_load(CDM_EMU, list));
		EXPECT_TRUE(cdm_log_find(log, bad[i].text, line,
					 sizeof(line)));
		EXPECT_FALSE(cdm_node_exists(1));
		ASSERT_EQ(0, cdm_open(&cdm, 0));
		EXPECT_EQ(good->start, cdm.info.start);
		EXPECT_EQ(good->size, cdm.info.capacity);
		cdm_close(&cdm);
		ASSERT_EQ(0, cdm_unload(CDM_EMU));
	}
}

/* Of two regions that overlap, only the second is refused. */
TEST_F_TIMEOUT(region, taken_twice, 60)
{
	const struct cdm_region *good = &self->regions[1];
	char same[96], overlap[96], list[256], line[512];
	const char *const second[] = { same, overlap };
	int log = cdm_log_open();
	struct cdm cdm;

	ASSERT_LE(0, log);
	snprintf(same, sizeof(same), "%s", good->text);
	overlapping(overlap, sizeof(overlap), good);
	for (size_t i = 0; i < ARRAY_SIZE(second); i++) {
		snprintf(list, sizeof(list), "%s,%s", good->text, second[i]);
		TH_LOG("region=%s", list);
		ASSERT_EQ(0, cdm_load(CDM_EMU, list));
		EXPECT_TRUE(cdm_log_find(log, second[i], line, sizeof(line)));
		EXPECT_FALSE(cdm_node_exists(1));
		ASSERT_EQ(0, cdm_open(&cdm, 0));
		EXPECT_EQ(good->size, cdm.info.capacity);
		cdm_close(&cdm);
		ASSERT_EQ(0, cdm_unload(CDM_EMU));
	}
}

/*
 * Without a parameter the driver takes the regions of the device tree, or logs
 * a hint and registers no device.
 */
TEST_F(region, none_named)
{
	struct cdm_memory memories[CDM_TREE_MAX];
	int nr = cdm_memories(memories), devices = 0;
	int log = cdm_log_open();
	char line[512];

	ASSERT_LE(0, log);
	for (int i = 0; i < nr; i++)
		devices += memories[i].device;
	EXPECT_EQ(devices ? 0 : -ENODEV, cdm_load(CDM_EMU, NULL));
	EXPECT_EQ(devices > 0, cdm_node_exists(0));
	EXPECT_EQ(!devices, cdm_log_find(log, "region=", line, sizeof(line)));
}

/* With bad regions only, loading fails, although for different reasons. */
TEST_F(region, all_bad)
{
	struct bad bad[32];
	int nr = bad_regions(bad, &self->regions[0]);
	char list[256], line[512];
	int log = cdm_log_open();

	ASSERT_LE(0, log);
	snprintf(list, sizeof(list), "%s,%s", bad[0].text, bad[nr - 1].text);
	EXPECT_GT(0, cdm_load(CDM_EMU, list));
	EXPECT_FALSE(cdm_loaded(CDM_EMU));
	EXPECT_TRUE(cdm_log_find(log, bad[0].text, line, sizeof(line)));
	EXPECT_TRUE(cdm_log_find(log, bad[nr - 1].text, line, sizeof(line)));
}

/*
 * A good region is registered whole, has a name in /proc/iomem, and does not
 * count as system memory.
 */
TEST_F_TIMEOUT(region, taken, 60)
{
	long total = cdm_meminfo("MemTotal:");

	ASSERT_LT(0, total);
	for (int i = 0; i < self->nr; i++)
		EXPECT_FALSE(cdm_iomem_has(self->regions[i].start,
					   self->regions[i].size, "cdm"));
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->list));
	EXPECT_EQ(total, cdm_meminfo("MemTotal:"));
	for (int i = 0; i < self->nr; i++) {
		const struct cdm_region *region = &self->regions[i];
		struct hmm_cdm_stats stats;
		struct cdm cdm;

		EXPECT_TRUE(cdm_iomem_has(region->start, region->size, "cdm"));
		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(HMM_CDM_VERSION, cdm.info.version);
		EXPECT_EQ(i, cdm.info.index);
		EXPECT_EQ(region->node, cdm.info.numa_node);
		EXPECT_EQ(region->start, cdm.info.start);
		EXPECT_EQ(region->size, cdm.info.capacity);
		EXPECT_EQ(region->size, cdm.info.free);
		EXPECT_EQ(sysconf(_SC_PAGESIZE), cdm.page);
		EXPECT_EQ(0, cdm.window % cdm.page);
		EXPECT_EQ(0, cdm.window & (cdm.window - 1));
		EXPECT_EQ(0, cdm.info.reserved);
		EXPECT_EQ(0, cdm.info.flags);
		EXPECT_STREQ(CDM_EMU, (const char *)cdm.info.driver);
		ASSERT_EQ(0, cdm_stats(&cdm, &stats));
		EXPECT_EQ(region->size / cdm.page, stats.node_pages);
		EXPECT_EQ(region->size / cdm.page, stats.node_free);
		cdm_close(&cdm);
	}
	EXPECT_FALSE(cdm_node_exists(self->nr));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	for (int i = 0; i < self->nr; i++)
		EXPECT_FALSE(cdm_iomem_has(self->regions[i].start,
					   self->regions[i].size, "cdm"));
	EXPECT_EQ(total, cdm_meminfo("MemTotal:"));
}

/* As many devices as a machine with partitioned accelerators has, and more. */
TEST_F_TIMEOUT(region, dozens, 60)
{
	const struct cdm_region *region = &self->regions[0];
	char list[DOZENS * 40] = "";
	struct cdm cdm;
	size_t unit;

	ASSERT_EQ(0, cdm_load(CDM_EMU, self->list));
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	unit = (cdm_hash_4k() ? 8 : 1) * cdm.window;
	cdm_close(&cdm);
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	if (DOZENS * unit > region->size)
		SKIP(return, "the region is too small");

	for (int i = 0, at = 0; i < DOZENS; i++)
		at += sprintf(list + at, "%s%#llx+%#zx@%d", i ? "," : "",
			      (unsigned long long)region->start + i * unit,
			      unit, region->node);
	ASSERT_EQ(0, cdm_load(CDM_EMU, list));
	for (int i = 0; i < DOZENS; i++) {
		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(i, cdm.info.index);
		EXPECT_EQ(region->start + i * unit, cdm.info.start);
		cdm_close(&cdm);
	}
	EXPECT_FALSE(cdm_node_exists(DOZENS));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
}

/* The kernel shows the memory on the NUMA node that was asked for. */
TEST(pages_are_on_their_numa_node)
{
	struct cdm_region regions[CDM_REGIONS_MAX];
	int nr = cdm_regions(regions, NULL, 0);

	if (nr < CDM_NODES)
		SKIP(return, "CDM_REGIONS does not name %d regions", CDM_NODES);
	for (int i = 0; i < nr; i++) {
		struct cdm cdm;
		int node = -1;
		char *mem;

		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(regions[i].node, cdm.info.numa_node);
		mem = cdm_map(&cdm, cdm.page);
		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, cdm_migrate(&cdm, mem, cdm.page, NODE, NULL));
		ASSERT_EQ(1, cdm_on_node(&cdm, mem, cdm.page));
		ASSERT_EQ(0, syscall(SYS_get_mempolicy, &node, NULL, 0UL, mem,
				     MPOL_F_NODE | MPOL_F_ADDR));
		EXPECT_EQ(regions[i].node, node);
		munmap(mem, cdm.page);
		cdm_close(&cdm);
	}
}

TEST_HARNESS_MAIN

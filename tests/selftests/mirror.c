// SPDX-License-Identifier: GPL-2.0
/*
 * Device faults: the device reaches all memory that the process reaches, of any
 * kind and in place. rights.c tests what it must not reach.
 */
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define PATTERN			0x1122334455667788ULL
#define SEED			CDM_SEED(MIRROR)
#define PAGES			5

enum kind {
	ANON,
	FILE_PRIVATE,
	FILE_SHARED,
	SHM,
	THP,
	HUGETLB,
	GROWN,
};

/* State of the memory before the device's first access. */
enum before {
	UNTOUCHED,
	CPU_READ,
	CPU_WROTE,
};

FIXTURE(mapping) {
	struct cdm cdm;
	char *mem;
	size_t length;
	int file;
};

FIXTURE_VARIANT(mapping) {
	enum kind kind;
	enum before before;
};

FIXTURE_VARIANT_ADD(mapping, anon_untouched) { ANON, UNTOUCHED };
FIXTURE_VARIANT_ADD(mapping, anon_zero_page) { ANON, CPU_READ };
FIXTURE_VARIANT_ADD(mapping, anon_touched) { ANON, CPU_WROTE };
FIXTURE_VARIANT_ADD(mapping, grown) { GROWN, CPU_WROTE };
FIXTURE_VARIANT_ADD(mapping, file_private) { FILE_PRIVATE, UNTOUCHED };
FIXTURE_VARIANT_ADD(mapping, file_shared) { FILE_SHARED, UNTOUCHED };
FIXTURE_VARIANT_ADD(mapping, shm_untouched) { SHM, UNTOUCHED };
FIXTURE_VARIANT_ADD(mapping, shm_touched) { SHM, CPU_WROTE };
FIXTURE_VARIANT_ADD(mapping, thp) { THP, CPU_WROTE };
FIXTURE_VARIANT_ADD(mapping, hugetlb) { HUGETLB, CPU_WROTE };

static void *map_file(int fd, size_t length, int prot, int flags)
{
	void *mem = mmap(NULL, length, prot, flags, fd, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Memory that the device touched at another address, moved and grown since. */
static void *map_grown(const struct cdm *cdm, size_t length)
{
	void *mem = cdm_map(cdm, cdm->page);
	void *grown;

	if (!mem || cdm_run_fill(cdm, mem, cdm->page, PATTERN, NULL))
		return NULL;
	grown = mremap(mem, cdm->page, length, MREMAP_MAYMOVE);
	return grown == MAP_FAILED ? NULL : grown;
}

FIXTURE_SETUP(mapping)
{
	const int rw = PROT_READ | PROT_WRITE;

	self->file = -1;
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	switch (variant->kind) {
	case ANON:
		self->mem = cdm_map(&self->cdm, self->length);
		break;
	case GROWN:
		self->mem = map_grown(&self->cdm, self->length);
		break;
	case FILE_PRIVATE:
	case FILE_SHARED:
		self->file = cdm_pattern_file(variant->kind == FILE_SHARED,
					      self->length, SEED);
		ASSERT_LE(0, self->file);
		self->mem = map_file(self->file, self->length, rw,
				     variant->kind == FILE_SHARED ?
				     MAP_SHARED : MAP_PRIVATE);
		break;
	case SHM:
		self->mem = map_file(-1, self->length, rw,
				     MAP_SHARED | MAP_ANONYMOUS);
		break;
	case THP:
		self->length = cdm_thp_size();
		self->mem = cdm_map_thp(1, SEED);
		if (!self->mem)
			SKIP(return, "no transparent huge page to be had");
		break;
	case HUGETLB:
		self->mem = cdm_map_hugetlb(&self->length);
		if (!self->mem)
			SKIP(return, "no free hugetlb page");
		break;
	}
	ASSERT_NE(NULL, self->mem);
	if (variant->before == CPU_WROTE)
		cdm_fill(self->mem, self->length, SEED);
	if (variant->before == CPU_READ)
		ASSERT_EQ(-1, cdm_check_value(self->mem, self->length, 0));
}

FIXTURE_TEARDOWN(mapping)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

static bool has_pattern(enum kind kind, enum before before)
{
	return before == CPU_WROTE || kind == FILE_PRIVATE ||
	       kind == FILE_SHARED;
}

/* The sum of the memory's words, as the device has to find it. */
static __u64 sum_before(enum kind kind, enum before before, size_t length)
{
	return has_pattern(kind, before) ? cdm_word_sum(SEED, length / 8) : 0;
}

/* No page moved and no byte was copied, in either direction. */
static bool in_place(const struct cdm *cdm)
{
	struct hmm_cdm_stats stats;

	return !cdm_stats(cdm, &stats) && stats.faults && stats.fault_pages &&
	       !stats.migrated_in && !stats.migrated_out &&
	       !stats.bytes_copied && !stats.huge;
}

/* Each page has a device entry with @access, was accessed, and lies in RAM. */
static bool mirrored(const struct cdm *cdm, const void *mem, size_t length,
		     unsigned int access)
{
	size_t nr = length / cdm->page;
	struct hmm_cdm_page *pages = calloc(nr, sizeof(*pages));
	bool good = pages && !cdm_query(cdm, mem, length, pages, NULL);

	for (size_t i = 0; good && i < nr; i++)
		good = (pages[i].device & access) == access &&
		       pages[i].accesses > 0 &&
		       pages[i].where == HMM_CDM_WHERE_SYSTEM;
	free(pages);
	return good;
}

TEST_F(mapping, read)
{
	__u64 before[PAGES], after[PAGES];
	size_t first = PAGES * self->cdm.page;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_pfns(self->mem, first, before));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(sum_before(variant->kind, variant->before,
			     self->length), wait.result[0]);
	EXPECT_EQ(self->length, wait.bytes_remote);
	EXPECT_EQ(0, wait.bytes_local);
	EXPECT_TRUE(in_place(&self->cdm));
	EXPECT_TRUE(mirrored(&self->cdm, self->mem, self->length,
			     HMM_CDM_ACCESS_READ));
	/* The device read the very page that was there. */
	ASSERT_EQ(0, cdm_pfns(self->mem, first, after));
	for (int i = 0; i < PAGES; i++) {
		EXPECT_NE(0, after[i]);
		if (before[i])
			EXPECT_EQ(before[i], after[i]);
	}
	EXPECT_EQ(-1, has_pattern(variant->kind, variant->before) ?
		  cdm_check(self->mem, self->length, SEED) :
		  cdm_check_value(self->mem, self->length, 0));
}

/* The content of a file after device writes to its mapping. */
static void check_file(struct __test_metadata *_metadata, enum kind kind,
		       int file, size_t length)
{
	char *data = malloc(length);

	ASSERT_NE(NULL, data);
	ASSERT_EQ((ssize_t)length, pread(file, data, length, 0));
	EXPECT_EQ(-1, kind == FILE_SHARED ?
		  cdm_check_value(data, length, PATTERN) :
		  cdm_check(data, length, SEED));
	free(data);
}

/* A process that shares the memory and waits for what is written. */
static pid_t start_watcher(const char *mem, size_t length)
{
	const __u64 *last = (const __u64 *)(mem + length) - 1;
	__u64 deadline = cdm_now_ms() + CDM_JOB_MS;
	pid_t pid = fork();

	if (pid)
		return pid;
	while (__atomic_load_n(last, __ATOMIC_RELAXED) != PATTERN &&
	       cdm_now_ms() < deadline)
		cdm_sleep_ms(5);
	_exit(cdm_check_value(mem, length, PATTERN) != -1);
}

TEST_F(mapping, write)
{
	__u64 before[PAGES], after[PAGES];
	size_t first = PAGES * self->cdm.page;
	struct hmm_cdm_wait wait;
	pid_t watcher = 0;

	ASSERT_EQ(0, cdm_pfns(self->mem, first, before));
	if (variant->kind == SHM)
		watcher = start_watcher(self->mem, self->length);
	ASSERT_LE(0, watcher);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, PATTERN,
				  &wait));
	EXPECT_EQ(self->length, wait.bytes_remote);
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, PATTERN));
	EXPECT_TRUE(in_place(&self->cdm));
	EXPECT_TRUE(mirrored(&self->cdm, self->mem, self->length,
			     HMM_CDM_ACCESS_WRITE));
	/* Of the other kinds, some pages were read-only and are copies now. */
	ASSERT_EQ(0, cdm_pfns(self->mem, first, after));
	for (int i = 0; i < PAGES; i++)
		if (variant->before == CPU_WROTE)
			EXPECT_EQ(before[i], after[i]);
	if (self->file >= 0)
		check_file(_metadata, variant->kind, self->file, self->length);
	if (watcher)
		EXPECT_EQ(0, cdm_reap(watcher, CDM_JOB_MS));
}

/* Device and CPU take turns: neither keeps a stale entry. */
TEST_F(mapping, take_turns)
{
	size_t words = self->length / 8;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(sum_before(variant->kind, variant->before,
			     self->length), wait.result[0]);
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, 3,
				  NULL));
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, 3));
	cdm_fill(self->mem, self->length, SEED + 1);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED + 1, words), wait.result[0]);
	EXPECT_TRUE(in_place(&self->cdm));
}

/*
 * The device has read the page, so the CPU's first write replaces what it had.
 */
TEST_F(mapping, cpu_write_is_seen)
{
	size_t words = self->length / 8;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	cdm_fill(self->mem, self->length, SEED + 2);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED + 2, words), wait.result[0]);
}

/* Stack memory below what was used so far. */
TEST(stack)
{
	__u64 words[4 * 65536 / 8];
	struct hmm_cdm_wait wait;
	struct cdm cdm;

	ASSERT_EQ(0, cdm_open(&cdm, 0));
	ASSERT_EQ(0, cdm_run_fill(&cdm, words, sizeof(words), PATTERN, &wait));
	EXPECT_EQ(-1, cdm_check_value(words, sizeof(words), PATTERN));
	EXPECT_EQ(sizeof(words), wait.bytes_remote);
	cdm_fill(words, sizeof(words), SEED);
	ASSERT_EQ(0, cdm_run_sum(&cdm, words, ARRAY_SIZE(words), &wait));
	EXPECT_EQ(cdm_word_sum(SEED, ARRAY_SIZE(words)), wait.result[0]);
	EXPECT_TRUE(in_place(&cdm));
	cdm_close(&cdm);
}

TEST_HARNESS_MAIN

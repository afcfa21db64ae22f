// SPDX-License-Identifier: GPL-2.0
/*
 * The emulated accelerator's operations on flat memory give, byte for byte,
 * what a CPU computes, wherever the memory lies. walk.c tests operations that
 * follow pointers.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define PATTERN			0x0102030405060708ULL
#define SEED			CDM_SEED(ENGINE)

FIXTURE(engine) {
	struct cdm cdm;
	char *mem;	/* two windows */
	char *expected;	/* what the CPU computed */
	size_t length;
	size_t page;
	size_t window;
};

FIXTURE_VARIANT(engine) {
	bool first_on_node;
	bool second_on_node;
};

FIXTURE_VARIANT_ADD(engine, system) { false, false };
FIXTURE_VARIANT_ADD(engine, node) { true, true };
FIXTURE_VARIANT_ADD(engine, both) { true, false };

FIXTURE_SETUP(engine)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->window = self->cdm.window;
	self->length = 2 * self->window;
	self->mem = cdm_map(&self->cdm, self->length);
	self->expected = malloc(self->length);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->expected);
	if (variant->first_on_node)
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->window,
					 NODE, NULL));
	if (variant->second_on_node)
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem + self->window,
					 self->window, NODE,
					 NULL));
	cdm_fill(self->mem, self->length, SEED);
	memcpy(self->expected, self->mem, self->length);
	ASSERT_EQ((variant->first_on_node + variant->second_on_node) *
		  self->window / self->page,
		  cdm_on_node(&self->cdm, self->mem, self->length));
}

FIXTURE_TEARDOWN(engine)
{
	/* The requested bytes changed, and none beside them. */
	EXPECT_EQ(0, memcmp(self->mem, self->expected, self->length));
	free(self->expected);
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/*
 * Offsets and lengths around bytes, words, pages and the border of the windows.
 */
static size_t odd_ranges(size_t page, size_t window, size_t (*ranges)[2])
{
	const size_t some[][2] = {
		{ 0, 8 }, { 0, 1 }, { 1, 1 }, { 3, 5 }, { 7, 9 }, { 5, 64 },
		{ 16, 7 }, { 8, 24 }, { page - 1, 2 }, { page - 3, page + 7 },
		{ page, page }, { 2 * page - 8, 16 }, { 13, 3 * page + 1 },
		{ window - 1, 2 }, { window - 5, 11 }, { window - 8, 16 },
		{ window - page - 1, 2 * page + 2 }, { 2 * window - 9, 9 },
		{ 0, 2 * window }, { 1, 2 * window - 2 },
	};

	memcpy(ranges, some, sizeof(some));
	return ARRAY_SIZE(some);
}

/* A job counts the bytes it accessed by their location. */
static void expect_bytes(struct __test_metadata *_metadata,
			 const struct hmm_cdm_wait *wait, __u64 bytes,
			 bool first_on_node, bool second_on_node)
{
	EXPECT_EQ(bytes, wait->bytes_local + wait->bytes_remote);
	if (first_on_node && second_on_node)
		EXPECT_EQ(0, wait->bytes_remote);
	if (!first_on_node && !second_on_node)
		EXPECT_EQ(0, wait->bytes_local);
}

TEST_F(engine, fill)
{
	__u64 pattern = PATTERN;
	struct hmm_cdm_wait wait;
	size_t ranges[32][2];
	size_t nr = odd_ranges(self->page, self->window, ranges);

	for (size_t i = 0; i < nr; i++) {
		size_t from = ranges[i][0], length = ranges[i][1];

		TH_LOG("%zu bytes at %zu", length, from);
		ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem + from, length,
					  pattern, &wait));
		expect_bytes(_metadata, &wait, length, variant->first_on_node,
			     variant->second_on_node);
		for (size_t j = 0; j < length; j++)
			self->expected[from + j] = ((char *)&pattern)[j % 8];
		ASSERT_EQ(0, memcmp(self->mem, self->expected, self->length));
		pattern = pattern * 3 + 1;
	}
}

TEST_F(engine, copy)
{
	size_t page = self->page, window = self->window;
	const size_t copies[][3] = {	/* to, from, bytes */
		{ 0, 8, 8 }, { 0, 1, 1 }, { 9, 3, 5 }, { 40, 17, 21 },
		{ page - 3, 11, 7 }, { 11, page - 3, 7 },
		{ 2 * page - 1, 5 * page + 3, 2 * page + 1 },
		{ window - 5, 7, 11 }, { 7, window - 5, 11 },
		{ window + 13, 1, window - 13 }, { 0, window, window },
	};
	struct hmm_cdm_wait wait;

	for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
		size_t to = copies[i][0], from = copies[i][1];
		size_t length = copies[i][2];

		TH_LOG("%zu bytes from %zu to %zu", length, from, to);
		ASSERT_EQ(0, cdm_run_copy(&self->cdm, self->mem + to,
					  self->mem + from, length, &wait));
		expect_bytes(_metadata, &wait, 2 * length,
			     variant->first_on_node, variant->second_on_node);
		memcpy(self->expected + to, self->expected + from, length);
		ASSERT_EQ(0, memcmp(self->mem, self->expected, self->length));
	}
}

TEST_F(engine, add)
{
	size_t words = self->window / 8;
	const size_t adds[][4] = {	/* result, terms, elements */
		{ 0, 1, 2, 1 }, { 100, 200, 300, 33 },
		{ words - 3, 5, 1000, 7 }, { 0, words, words / 2, words / 4 },
		{ 50, 50, 5000, 600 }, { words + 1, 3, 3, 3000 },
	};
	__u64 *expected = (__u64 *)self->expected;
	struct hmm_cdm_wait wait;

	for (size_t i = 0; i < ARRAY_SIZE(adds); i++) {
		size_t to = adds[i][0], a = adds[i][1], b = adds[i][2];
		size_t nr = adds[i][3];
		__u64 *mem = (__u64 *)self->mem;

		TH_LOG("%zu elements, %zu = %zu + %zu", nr, to, a, b);
		ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_ADD,
				     CDM_ARGS(CDM_ADDR(mem + to),
					      CDM_ADDR(mem + a),
					      CDM_ADDR(mem + b), nr), &wait));
		expect_bytes(_metadata, &wait, 24 * nr, variant->first_on_node,
			     variant->second_on_node);
		for (size_t j = 0; j < nr; j++)
			expected[to + j] = expected[a + j] + expected[b + j];
		ASSERT_EQ(0, memcmp(self->mem, self->expected, self->length));
	}
}

TEST_F(engine, reduce)
{
	size_t words = self->window / 8, page = self->page / 8;
	const size_t sums[][2] = {	/* from, elements */
		{ 0, 1 }, { 1, 1 }, { 7, 12 }, { page - 1, 2 },
		{ page - 5, page + 9 }, { words - 1, 2 },
		{ words - page, 2 * page }, { 0, 2 * words },
	};
	__u64 *mem = (__u64 *)self->mem;
	struct hmm_cdm_wait wait;

	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		size_t from = sums[i][0], nr = sums[i][1];
		__u64 sum = 0;

		for (size_t j = 0; j < nr; j++)
			sum += mem[from + j];
		ASSERT_EQ(0, cdm_run_sum(&self->cdm, mem + from, nr, &wait));
		EXPECT_EQ(sum, wait.result[0]);
		expect_bytes(_metadata, &wait, 8 * nr, variant->first_on_node,
			     variant->second_on_node);
	}
}

/* The operation adds to existing counters; these cross a page border. */
TEST_F(engine, histogram)
{
	size_t at = self->window - 1000 * 8;
	__u64 *expected = (__u64 *)(self->expected + at);
	size_t ranges[32][2];
	size_t nr = odd_ranges(self->page, self->window, ranges);

	for (size_t i = 0; i < nr; i++) {
		size_t from = ranges[i][0], length = ranges[i][1];
		const unsigned char *bytes = (unsigned char *)self->mem + from;

		/*
		 * A histogram of bytes that change meanwhile has no right
		 * result.
		 */
		if (from < at + 256 * 8 && from + length > at)
			continue;
		for (size_t j = 0; j < length; j++)
			expected[bytes[j]]++;
		ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_HISTOGRAM,
				     CDM_ARGS(CDM_ADDR(bytes), length,
					      CDM_ADDR(self->mem + at)),
				     NULL));
		ASSERT_EQ(0, memcmp(self->mem, self->expected, self->length));
	}
}

TEST_F(engine, compare_and_swap)
{
	size_t at = self->window / 8 - 1;
	__u64 *word = (__u64 *)self->mem + at;
	__u64 was = *word;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_CAS,
			     CDM_ARGS(CDM_ADDR(word), was + 1, 5), &wait));
	EXPECT_EQ(was, wait.result[0]);
	EXPECT_EQ(was, *word);
	ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_CAS,
			     CDM_ARGS(CDM_ADDR(word), was, 5), &wait));
	EXPECT_EQ(was, wait.result[0]);
	EXPECT_EQ(5, *word);
	((__u64 *)self->expected)[at] = 5;
}

TEST_F(engine, fetch_add)
{
	size_t at = self->page / 8 - 1;
	__u64 *word = (__u64 *)self->mem + at;
	struct hmm_cdm_wait wait;

	*word = 10;
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 5, 1, &wait));
	EXPECT_EQ(10, wait.result[0]);
	EXPECT_EQ(15, *word);
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, 3, 1000, &wait));
	EXPECT_EQ(15 + 999 * 3, wait.result[0]);
	EXPECT_EQ(15 + 1000 * 3, *word);
	expect_bytes(_metadata, &wait, 8 * 1000, variant->first_on_node,
		     variant->second_on_node);
	/* Downwards, and past zero. */
	ASSERT_EQ(0, cdm_run_adds(&self->cdm, word, ~0ULL, 3016, &wait));
	EXPECT_EQ(~0ULL, *word);
	((__u64 *)self->expected)[at] = ~0ULL;
}

/* Misaligned words are refused, and nothing is done. */
TEST_F(engine, misaligned)
{
	__u64 good = CDM_ADDR(self->mem);
	const struct {
		unsigned int op;
		__u64 args[HMM_CDM_JOB_ARGS];
	} jobs[] = {
		{ CDM_EMU_ADD, { good + 4, good, good, 1 } },
		{ CDM_EMU_ADD, { good, good + 1, good, 1 } },
		{ CDM_EMU_ADD, { good, good, good + 7, 1 } },
		{ CDM_EMU_REDUCE, { good + 2, 1 } },
		{ CDM_EMU_HISTOGRAM, { good, 8, good + 4 } },
		{ CDM_EMU_CAS, { good + 1, 0, 1 } },
		{ CDM_EMU_FETCH_ADD, { good + 4, 1, 1 } },
		{ CDM_EMU_WALK, { good + 4 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		TH_LOG("operation %u", jobs[i].op);
		EXPECT_EQ(-EINVAL, cdm_run(&self->cdm, jobs[i].op,
					   jobs[i].args, NULL));
	}
}

/* A range that ends past the last address touches no memory at all. */
TEST_F(engine, overflowing)
{
	__u64 good = CDM_ADDR(self->mem);
	const __u64 huge = ~0ULL / 8 + 1;
	const struct {
		unsigned int op;
		__u64 args[HMM_CDM_JOB_ARGS];
	} jobs[] = {
		{ CDM_EMU_FILL, { ~0ULL - 7, 64, 0 } },
		{ CDM_EMU_COPY, { ~0ULL - 7, good, 64 } },
		{ CDM_EMU_COPY, { good, ~0ULL - 7, 64 } },
		{ CDM_EMU_ADD, { ~0ULL - 7, good, good, 2 } },
		{ CDM_EMU_REDUCE, { ~0ULL - 7, 2 } },
		{ CDM_EMU_HISTOGRAM, { ~0ULL - 7, 64, good } },
		{ CDM_EMU_REDUCE, { good, huge } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		int status = cdm_run(&self->cdm, jobs[i].op, jobs[i].args,
				     NULL);

		TH_LOG("operation %u: %d", jobs[i].op, status);
		EXPECT_TRUE(status == -EINVAL || status == -EFAULT);
	}
}

/* Bytes move from remote to local when the memory moves. */
TEST(bytes_follow_migration)
{
	struct hmm_cdm_wait wait;
	struct cdm cdm;
	size_t length;
	char *mem;

	ASSERT_EQ(0, cdm_open(&cdm, 0));
	length = 4 * cdm.page;
	mem = cdm_map(&cdm, length);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_run_fill(&cdm, mem, length, PATTERN, &wait));
	EXPECT_EQ(length, wait.bytes_remote);
	EXPECT_EQ(0, wait.bytes_local);
	EXPECT_LT(0, wait.faults);
	/* The device has the entries by now. */
	ASSERT_EQ(0, cdm_run_fill(&cdm, mem, length, PATTERN, &wait));
	EXPECT_EQ(0, wait.faults);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, length, NODE, NULL));
	ASSERT_EQ(0, cdm_run_fill(&cdm, mem, length, PATTERN, &wait));
	EXPECT_EQ(0, wait.bytes_remote);
	EXPECT_EQ(length, wait.bytes_local);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, length, SYSTEM, NULL));
	ASSERT_EQ(0, cdm_run_fill(&cdm, mem, length, PATTERN, &wait));
	EXPECT_EQ(length, wait.bytes_remote);
	EXPECT_EQ(0, wait.bytes_local);
	munmap(mem, length);
	cdm_close(&cdm);
}

TEST_HARNESS_MAIN

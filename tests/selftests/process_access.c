// SPDX-License-Identifier: GPL-2.0
/*
 * One process reads and writes another's memory on the node, as a debugger
 * does: process_vm_readv(2), /proc/<pid>/mem, ptrace(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(PROCESS_ACCESS)
#define PAGES			8
#define MOVING_MS		400

/* ptrace(2) transfers single words: every 16th is enough. */
#define STRIDE			16

/* Questions to the other process about its memory. */
enum {
	OPEN,		/* open its own device file */
	FILL,		/* with the pattern of this seed, and move to the node */
	SUM,		/* by the device */
	ON_NODE,	/* answers the pages there */
	WRONG,		/* whether any word differs from this seed's */
	PROTECT,
	MOVE,		/* start to move to and fro, or stop */
};

FIXTURE(access) {
	struct cdm cdm;		/* of this process */
	struct cdm_mover mover;
	struct cdm_child other;
	char *mem;		/* at the same address in both */
	size_t length;
	size_t words;
	__u64 *copy;
	__u64 free;
	pid_t traced;
	int file;
};

FIXTURE_VARIANT(access) {
	ssize_t (*get)(const struct _test_data_access *self, size_t word,
		       size_t words);
	ssize_t (*put)(const struct _test_data_access *self, size_t word,
		       size_t words);
	bool trace;
	bool forces;	/* can write to what is read-only for the process */
	size_t stride;	/* in words */
};

/*
 * Copy @words words from index @word on between the other process's memory and
 * the same place in @copy. Return the number of bytes, or a negative errno.
 */
static ssize_t vm_move(const struct _test_data_access *self, size_t word,
		       size_t words, bool put)
{
	struct iovec here = { self->copy + word, words * 8 };
	struct iovec there = { self->mem + word * 8, words * 8 };
	ssize_t n = put ? process_vm_writev(self->other.pid, &here, 1, &there,
					    1, 0) :
		    process_vm_readv(self->other.pid, &here, 1, &there, 1, 0);

	return n < 0 ? -errno : n;
}

static ssize_t vm_get(const struct _test_data_access *self, size_t word,
		      size_t words)
{
	return vm_move(self, word, words, false);
}

static ssize_t vm_put(const struct _test_data_access *self, size_t word,
		      size_t words)
{
	return vm_move(self, word, words, true);
}

static ssize_t mem_get(const struct _test_data_access *self, size_t word,
		       size_t words)
{
	ssize_t n = pread(self->file, self->copy + word, words * 8,
			  (off_t)CDM_ADDR(self->mem) + word * 8);

	return n < 0 ? -errno : n;
}

static ssize_t mem_put(const struct _test_data_access *self, size_t word,
		       size_t words)
{
	ssize_t n = pwrite(self->file, self->copy + word, words * 8,
			   (off_t)CDM_ADDR(self->mem) + word * 8);

	return n < 0 ? -errno : n;
}

static ssize_t trace_get(const struct _test_data_access *self, size_t word,
			 size_t words)
{
	for (size_t i = word; i < word + words; i++) {
		errno = 0;
		self->copy[i] = ptrace(PTRACE_PEEKDATA, self->other.pid,
				       self->mem + i * 8, NULL);
		if (errno)
			return -errno;
	}
	return words * 8;
}

static ssize_t trace_put(const struct _test_data_access *self, size_t word,
			 size_t words)
{
	for (size_t i = word; i < word + words; i++)
		if (ptrace(PTRACE_POKEDATA, self->other.pid,
			   self->mem + i * 8, self->copy[i]))
			return -errno;
	return words * 8;
}

FIXTURE_VARIANT_ADD(access, process_vm) {
	.get = vm_get, .put = vm_put, .stride = 1,
};

FIXTURE_VARIANT_ADD(access, proc_mem) {
	.get = mem_get, .put = mem_put, .forces = true, .stride = 1,
};

FIXTURE_VARIANT_ADD(access, ptrace) {
	.get = trace_get, .put = trace_put, .trace = true, .forces = true,
	.stride = STRIDE,
};

static __s64 answer(void *state, unsigned int what, __u64 value)
{
	struct _test_data_access *self = state;
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;
	int err;

	switch (what) {
	case OPEN:
		/* The inherited file does not serve this process. */
		cdm_close(&self->cdm);
		return cdm_open(&self->cdm, 0);
	case FILL:
		cdm_fill(self->mem, self->length, value);
		err = cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				  &m);
		return err ? err : (__s64)m.migrated;
	case SUM:
		err = cdm_run_sum(&self->cdm, self->mem, self->words, &wait);
		return err ? err : (__s64)(wait.result[0] >> 1);
	case ON_NODE:
		return cdm_on_node(&self->cdm, self->mem, self->length);
	case WRONG:
		return cdm_check(self->mem, self->length, value) != -1;
	case PROTECT:
		return mprotect(self->mem, self->length, value);
	case MOVE:
		self->mover.target = SYSTEM;
		if (value)
			return cdm_mover_start(&self->mover, &self->cdm,
					       self->mem, self->length);
		return !cdm_mover_end(&self->mover);
	}
	return -EINVAL;
}

FIXTURE_SETUP(access)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->words = self->length / 8;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
}

/* Starts the other process, which inherits the memory as it is now. */
static void start(struct __test_metadata *_metadata,
		  struct _test_data_access *self)
{
	char path[32];

	ASSERT_EQ(0, cdm_child_start(&self->other, answer, self));
	ASSERT_EQ(0, cdm_ask(&self->other, OPEN, 0));
	snprintf(path, sizeof(path), "/proc/%d/mem", self->other.pid);
	self->file = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->file);
}

/* Stops the other process's main thread; its other threads go on. */
static int stop_other(const struct _test_data_access *self)
{
	if (ptrace(PTRACE_SEIZE, self->other.pid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, self->other.pid, NULL, NULL))
		return -errno;
	return waitpid(self->other.pid, NULL, 0) < 0 ? -errno : 0;
}

static int resume_other(const struct _test_data_access *self)
{
	return ptrace(PTRACE_DETACH, self->other.pid, NULL, NULL) ? -errno : 0;
}

FIXTURE_TEARDOWN(access)
{
	EXPECT_EQ(0, cdm_child_end(&self->other));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* From node to node and back; no page moves. */
TEST_F(access, both_on_node)
{
	size_t step = variant->stride, wrong = 0;
	struct hmm_cdm_wait wait;
	__u64 expected = 0;

	start(_metadata, self);
	ASSERT_EQ(PAGES, cdm_ask(&self->other, FILL, SEED));
	self->copy = (__u64 *)cdm_map_on_node(&self->cdm, self->length,
					      SEED + 1);
	ASSERT_NE(NULL, self->copy);
	if (variant->trace)
		ASSERT_EQ(0, stop_other(self));
	if (step == 1) {
		ASSERT_EQ((ssize_t)self->length,
			  variant->get(self, 0, self->words));
	} else {
		for (size_t i = 0; i < self->words; i += step)
			ASSERT_EQ(8, variant->get(self, i, 1));
	}
	for (size_t i = 0; i < self->words; i++)
		wrong += self->copy[i] !=
			 cdm_word(i % step ? SEED + 1 : SEED, i);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->copy, self->length));

	/*
	 * The device sees the bytes that came, and its results are transferred.
	 */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->copy, self->length, 5,
				  NULL));
	if (step == 1) {
		ASSERT_EQ((ssize_t)self->length,
			  variant->put(self, 0, self->words));
	} else {
		for (size_t i = 0; i < self->words; i += step)
			ASSERT_EQ(8, variant->put(self, i, 1));
	}
	if (variant->trace)
		ASSERT_EQ(0, resume_other(self));
	for (size_t i = 0; i < self->words; i++)
		expected += i % step ? cdm_word(SEED, i) : 5;
	EXPECT_EQ((__s64)(expected >> 1), cdm_ask(&self->other, SUM, 0));
	EXPECT_EQ(PAGES, cdm_ask(&self->other, ON_NODE, 0));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->copy, self->words, &wait));
	EXPECT_EQ(5 * self->words, wait.result[0]);
	munmap(self->copy, self->length);
}

/*
 * Pages shared after fork(2) and read-only for the other process: a debugger's
 * write is private to that process, and its device sees it.
 */
TEST_F(access, read_only)
{
	const size_t last = self->words - 1;
	__u64 expected = 0;

	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 NULL));
	start(_metadata, self);
	ASSERT_EQ(0, cdm_ask(&self->other, PROTECT, PROT_READ));
	for (size_t i = 0; i < self->words; i++)
		expected += cdm_word(SEED, i);
	/* The device has entries for these pages now, which it has to lose. */
	ASSERT_EQ((__s64)(expected >> 1), cdm_ask(&self->other, SUM, 0));

	self->copy = calloc(self->words, 8);
	ASSERT_NE(NULL, self->copy);
	self->copy[0] = 77;
	self->copy[last] = 78;
	/* Kernels may require that for a forced write. */
	if (variant->forces)
		ASSERT_EQ(0, stop_other(self));
	if (variant->forces) {
		EXPECT_EQ(8, variant->put(self, 0, 1));
		EXPECT_EQ(8, variant->put(self, last, 1));
		expected += 77 + 78 - cdm_word(SEED, 0) - cdm_word(SEED, last);
	} else {
		EXPECT_EQ(-EFAULT, variant->put(self, 0, 1));
		EXPECT_EQ(-EFAULT, variant->put(self, last, 1));
	}
	if (variant->forces)
		ASSERT_EQ(0, resume_other(self));
	EXPECT_EQ((__s64)(expected >> 1), cdm_ask(&self->other, SUM, 0));
	/* The copies are in system memory. */
	EXPECT_EQ(variant->forces ? PAGES - 2 : PAGES,
		  cdm_ask(&self->other, ON_NODE, 0));
	/* This process's memory is unchanged. */
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	free(self->copy);
}

/* Accesses race with moves: what is written is what is read. */
TEST_F(access, while_it_moves)
{
	const size_t stride = self->cdm.page / 8;
	size_t wrong = 0, moved = 0;
	__u64 deadline, round = 0;

	start(_metadata, self);
	ASSERT_EQ(PAGES, cdm_ask(&self->other, FILL, SEED));
	self->copy = calloc(self->words, 8);
	ASSERT_NE(NULL, self->copy);
	ASSERT_EQ(0, cdm_ask(&self->other, MOVE, true));
	if (variant->trace)
		ASSERT_EQ(0, stop_other(self));
	deadline = cdm_now_ms() + MOVING_MS;
	while (cdm_now_ms() < deadline) {
		round++;
		for (size_t i = 0; i < PAGES; i++) {
			self->copy[i * stride] = round;
			ASSERT_EQ(8, variant->put(self, i * stride, 1));
		}
		for (size_t i = 0; i < PAGES; i++) {
			self->copy[i * stride] = 0;
			ASSERT_EQ(8, variant->get(self, i * stride, 1));
			wrong += self->copy[i * stride] != round;
		}
	}
	if (variant->trace)
		ASSERT_EQ(0, resume_other(self));
	EXPECT_EQ(0, cdm_ask(&self->other, MOVE, false));
	EXPECT_EQ(0, wrong);
	EXPECT_LT(2, round);
	/* Words beside them are unchanged. */
	for (size_t i = 0; i < self->words; i++)
		self->copy[i] = cdm_word(SEED, i);
	for (size_t i = 0; i < PAGES; i++) {
		__u64 word = 0;
		struct iovec here = { &word, 8 };
		struct iovec there = { self->mem + (i * stride + 1) * 8, 8 };

		ASSERT_EQ(8, process_vm_readv(self->other.pid, &here, 1,
					      &there, 1, 0));
		moved += word != self->copy[i * stride + 1];
	}
	EXPECT_EQ(0, moved);
	free(self->copy);
}

TEST_HARNESS_MAIN

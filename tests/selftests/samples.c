// SPDX-License-Identifier: GPL-2.0
/*
 * The drivers of samples/ in place of cdm_emu provide ordinary devices. Their
 * memory is coherent or private, and the test covers the difference: whether
 * the CPU's page table maps pages on the node.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_mm.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(SAMPLES)
#define PAGES			24

FIXTURE(sample) {
	struct cdm_region region;
	char params[128];
	struct cdm cdm;
	char *mem;
	size_t length;
};

FIXTURE_VARIANT(sample) {
	const char *module;
	bool coherent;
};

FIXTURE_VARIANT_ADD(sample, private) { "cdm_private", false };
FIXTURE_VARIANT_ADD(sample, coherent) { "cdm_coherent", true };
/* The same driver with private memory. */
FIXTURE_VARIANT_ADD(sample, coherent_not) { "cdm_coherent", false };
FIXTURE_VARIANT_ADD(sample, rust) { "cdm_rust", true };

FIXTURE_SETUP(sample)
{
	struct cdm_region regions[CDM_REGIONS_MAX];

	self->cdm.fd = -1;
	if (!cdm_regions(regions, NULL, 0))
		SKIP(return, "CDM_REGIONS names no region");
	if (!variant->coherent && cdm_hash_4k())
		SKIP(return, "no addresses for private memory");
	self->region = regions[0];
	ASSERT_FALSE(cdm_loaded(CDM_EMU));
	if (variant->coherent)
		snprintf(self->params, sizeof(self->params),
			 "start=%llu size=%llu nid=%d",
			 (unsigned long long)self->region.start,
			 (unsigned long long)self->region.size,
			 self->region.node);
	ASSERT_EQ(0, cdm_insert(variant->module, self->params));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(sample)
{
	if (cdm_loaded(variant->module))
		EXPECT_EQ(0, cdm_unload(variant->module));
}

/* Moves the test's memory to the node. */
static bool to_node(const struct cdm *cdm, void *mem, size_t length)
{
	struct hmm_cdm_migrate m;

	return !cdm_migrate(cdm, mem, length, NODE, &m) &&
	       m.migrated + m.populated == length / cdm->page;
}

/* Number of pages that QUERY reports at @where with exactly @flags. */
static size_t lie_at(const struct cdm *cdm, const void *mem, size_t length,
		     enum hmm_cdm_where where, unsigned int flags)
{
	size_t nr = length / cdm->page, count = 0;
	struct hmm_cdm_page *pages = calloc(nr, sizeof(*pages));

	if (pages && !cdm_query(cdm, mem, length, pages, NULL))
		for (size_t i = 0; i < nr; i++)
			count += pages[i].where == where &&
				 pages[i].flags == flags;
	free(pages);
	return count;
}

/* All pages are on the node, in memory of its type. */
static void expect_on_node(struct __test_metadata *_metadata,
			   const struct cdm *cdm, const char *mem,
			   size_t length, bool coherent)
{
	size_t nr = length / cdm->page;

	EXPECT_EQ(nr, lie_at(cdm, mem, length, HMM_CDM_WHERE_NODE,
			     coherent ? 0 : HMM_CDM_PAGE_PRIVATE));
	/* The CPU's page table maps all of them, or none. */
	EXPECT_EQ(coherent ? nr : 0, cdm_present(mem, length));
	EXPECT_EQ(coherent ? nr : 0, cdm_on_node(cdm, mem, length));
}

/* INFO returns what the driver has registered. */
TEST_F(sample, info)
{
	EXPECT_STREQ(variant->module, (char *)self->cdm.info.driver);
	EXPECT_EQ(self->cdm.info.capacity, self->cdm.info.free);
	if (!variant->coherent) {
		EXPECT_EQ(64 << 20, self->cdm.info.capacity);
		return;
	}
	EXPECT_EQ(self->region.start, self->cdm.info.start);
	EXPECT_EQ(self->region.size, self->cdm.info.capacity);
	EXPECT_EQ(self->region.node, self->cdm.info.numa_node);
}

/*
 * Pages move to the node, are used there by the device and then by the CPU, and
 * move back.
 */
TEST_F(sample, node)
{
	size_t words = self->length / 8;
	struct hmm_cdm_wait wait;

	ASSERT_TRUE(to_node(&self->cdm, self->mem, self->length));
	expect_on_node(_metadata, &self->cdm, self->mem, self->length,
		       variant->coherent);
	EXPECT_EQ(self->cdm.info.capacity / self->cdm.page - PAGES,
		  cdm_free_pages(&self->cdm));

	/* Device accesses leave them there. */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), wait.result[0]);
	EXPECT_EQ(self->length, wait.bytes_local);
	EXPECT_EQ(0, wait.bytes_remote);
	expect_on_node(_metadata, &self->cdm, self->mem, self->length,
		       variant->coherent);

	/*
	 * CPU accesses leave coherent pages there, and migrate private ones to
	 * RAM.
	 */
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	cdm_fill(self->mem, self->length, SEED + 1);
	if (variant->coherent) {
		expect_on_node(_metadata, &self->cdm, self->mem, self->length,
			       true);
	} else {
		EXPECT_EQ(PAGES, lie_at(&self->cdm, self->mem, self->length,
					HMM_CDM_WHERE_SYSTEM, 0));
		EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
		EXPECT_EQ(self->cdm.info.capacity / self->cdm.page,
			  cdm_free_settles(&self->cdm,
					   self->cdm.info.capacity /
					   self->cdm.page));
	}
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED + 1, words), wait.result[0]);

	/* MIGRATE moves both kinds back. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM, NULL));
	EXPECT_EQ(PAGES, lie_at(&self->cdm, self->mem, self->length,
				HMM_CDM_WHERE_SYSTEM, 0));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED + 1));
}

/* Untouched memory gets zeroed pages, whatever they contained before. */
TEST_F(sample, populate)
{
	struct hmm_cdm_migrate m;
	struct hmm_cdm_wait wait;
	char *fresh;

	ASSERT_TRUE(to_node(&self->cdm, self->mem, self->length));
	munmap(self->mem, self->length);
	cdm_free_settles(&self->cdm, self->cdm.info.capacity / self->cdm.page);
	fresh = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, fresh);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, fresh, self->length, NODE, &m));
	EXPECT_EQ(PAGES, m.populated);
	expect_on_node(_metadata, &self->cdm, fresh, self->length,
		       variant->coherent);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, fresh, self->length / 8, &wait));
	EXPECT_EQ(0, wait.result[0]);
	EXPECT_EQ(self->length, wait.bytes_local);
	EXPECT_EQ(-1, cdm_check_value(fresh, self->length, 0));
}

/* Operands on the node and in system memory, at odd offsets in their pages. */
TEST_F(sample, add)
{
	size_t count = self->length / 8 - 9, wrong = 0;
	__u64 *left = (__u64 *)self->mem + 3, *right, *sum;
	struct hmm_cdm_wait wait;

	right = cdm_map(&self->cdm, self->length);
	sum = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, right);
	ASSERT_NE(NULL, sum);
	cdm_fill(right, self->length, SEED + 1);
	/* The device writes to untouched memory, also on the node. */
	ASSERT_TRUE(to_node(&self->cdm, self->mem, self->length));
	ASSERT_TRUE(to_node(&self->cdm, sum, self->length / 2));
	ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_ADD,
			     CDM_ARGS(CDM_ADDR(sum + 1), CDM_ADDR(left),
				      CDM_ADDR(right + 5), count), &wait));
	EXPECT_EQ(8 * count + self->length / 2 - 8, wait.bytes_local);
	EXPECT_EQ(8 * 3 * count, wait.bytes_local + wait.bytes_remote);
	EXPECT_LT(0, wait.faults);
	for (size_t i = 0; i < count; i++)
		wrong += sum[i + 1] != cdm_word(SEED, i + 3) +
				       cdm_word(SEED + 1, i + 5);
	EXPECT_EQ(0, wrong);
	/* And to nothing else. */
	EXPECT_EQ(0, sum[0]);
	EXPECT_EQ(0, sum[count + 1]);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	EXPECT_EQ(-1, cdm_check(right, self->length, SEED + 1));
}

/* Device entries follow changes of the address space. */
TEST_F(sample, changed)
{
	size_t half = self->length / 2, words = self->length / 8;
	__u64 addr = CDM_ADDR(self->mem);
	struct hmm_cdm_wait wait;
	char *other;

	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(self->length, wait.bytes_remote);
	/* Everything is mapped by now. */
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(0, wait.faults);
	EXPECT_EQ(cdm_word_sum(SEED, words), wait.result[0]);

	/* The memory moves there and back, */
	ASSERT_TRUE(to_node(&self->cdm, self->mem, self->length));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(self->length, wait.bytes_local);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, SYSTEM, NULL));
	cdm_fill(self->mem, half, SEED + 1);
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(half, wait.bytes_local);
	EXPECT_EQ(cdm_word_sum(SEED, words) - cdm_word_sum(SEED, words / 2) +
		  cdm_word_sum(SEED + 1, words / 2), wait.result[0]);

	/* is replaced, */
	other = cdm_map(&self->cdm, half);
	ASSERT_NE(NULL, other);
	cdm_fill(other, half, SEED + 2);
	ASSERT_EQ(self->mem, mremap(other, half, half,
				    MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, words / 2, &wait));
	EXPECT_EQ(cdm_word_sum(SEED + 2, words / 2), wait.result[0]);

	/* and becomes read-only. */
	ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_ADD,
			     CDM_ARGS(addr, addr, addr, 1), &wait));
	ASSERT_EQ(0, mprotect(self->mem, half, PROT_READ));
	EXPECT_EQ(-EFAULT, cdm_run(&self->cdm, CDM_EMU_ADD,
				   CDM_ARGS(addr, addr, addr, 1), &wait));
	EXPECT_EQ(addr, wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
	EXPECT_EQ(2 * cdm_word(SEED + 2, 0), *(__u64 *)self->mem);
}

/*
 * Device writes make pages dirty, whatever the CPU's page table says and
 * whoever looked the page up. See invalidate.c.
 */
TEST_F(sample, written_after_free)
{
	static __u64 ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	/* In another window, of which the device has no entries. */
	char *control = cdm_map(&self->cdm, self->length);
	size_t dropped = 0;

	ASSERT_EQ(0, cdm_stay_on_cpu());
	ASSERT_NE(NULL, control);
	cdm_fill(control, self->length, SEED);
	cdm_fill(self->mem, self->length, SEED);
	ASSERT_EQ(0, madvise(control, self->length, MADV_FREE));
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_FREE));
	for (size_t i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, cdm_run(&self->cdm, CDM_EMU_ADD,
				     CDM_ARGS(CDM_ADDR(self->mem) +
					      i * self->cdm.page,
					      CDM_ADDR(ones), CDM_ADDR(ones),
					      8), NULL));
	for (int i = 0; i < 100 && !dropped; i++) {
		if (madvise(control, self->length, MADV_PAGEOUT) ||
		    madvise(self->mem, self->length, MADV_PAGEOUT))
			SKIP(return, "no MADV_PAGEOUT");
		dropped = PAGES - cdm_present(control, self->length);
		cdm_sleep_ms(10);
	}
	if (!dropped)
		SKIP(return, "no page was dropped");
	for (size_t i = 0; i < PAGES; i += 2)
		EXPECT_EQ(2, *(__u64 *)(self->mem + i * self->cdm.page));
}

/* Accesses that the process, or any process, may not make. */
TEST_F(sample, refused)
{
	size_t half = self->length / 2, words = self->length / 8;
	__u64 addr = CDM_ADDR(self->mem), job;
	struct hmm_cdm_wait wait;

	EXPECT_EQ(-EINVAL, cdm_submit(&self->cdm, CDM_EMU_WALK, CDM_ARGS(addr),
				      &job));
	EXPECT_EQ(-EINVAL, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				      CDM_ARGS(addr + 4, 1), &job));
	EXPECT_EQ(-EINVAL, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				      CDM_ARGS(addr, 1ULL << 61), &job));
	EXPECT_EQ(-EINVAL, cdm_submit(&self->cdm, CDM_EMU_ADD,
				      CDM_ARGS(-8ULL, addr, addr, 2), &job));

	ASSERT_EQ(0, mprotect(self->mem + half, half, PROT_READ));
	EXPECT_EQ(-EFAULT, cdm_run(&self->cdm, CDM_EMU_ADD,
				   CDM_ARGS(addr, addr, addr, words), &wait));
	EXPECT_EQ(addr + half, wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
	/* Elements before the error are done, those after it are not. */
	EXPECT_EQ(2 * cdm_word(SEED, 0), ((__u64 *)self->mem)[0]);
	EXPECT_EQ(2 * cdm_word(SEED, half / 8 - 1),
		  ((__u64 *)self->mem)[half / 8 - 1]);
	EXPECT_EQ(cdm_word(SEED, half / 8), ((__u64 *)self->mem)[half / 8]);

	munmap(self->mem + half, half);
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, self->mem, words, &wait));
	EXPECT_EQ(addr + half, wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, wait.fault_access);
	EXPECT_EQ(0, cdm_run_sum(&self->cdm, self->mem, half / 8, &wait));
}

/* A device fault waits for the process; close() does not. */
TEST_F(sample, closed_while_it_faults)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *hole = cdm_map(&self->cdm, self->length);
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct pollfd event = { fd, POLLIN, 0 };
	__u64 started, jobs[3];

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, hole);
	range.range.start = CDM_ADDR(hole);
	range.range.len = self->length;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &range));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
					CDM_ARGS(CDM_ADDR(hole), 8), &jobs[i]));
	ASSERT_EQ(1, poll(&event, 1, CDM_SETTLE_MS));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, jobs[0], 20, NULL));
	started = cdm_now_ms();
	cdm_close(&self->cdm);
	EXPECT_GT(started + CDM_SETTLE_MS, cdm_now_ms());
	EXPECT_EQ(0, cdm_unload(variant->module));
	close(fd);
}

/* The driver is unloaded, and the process's pages on the node are saved. */
TEST_F(sample, unload)
{
	ASSERT_TRUE(to_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(variant->module));
	expect_on_node(_metadata, &self->cdm, self->mem, self->length,
		       variant->coherent);
	cdm_close(&self->cdm);
	EXPECT_EQ(0, cdm_unload(variant->module));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	/* A driver that cannot get its memory leaves nothing behind. */
	EXPECT_EQ(-EINVAL, cdm_insert(variant->module, variant->coherent ?
				      "start=2097152 size=4096" : "size=4096"));
	EXPECT_FALSE(cdm_loaded(variant->module));
	EXPECT_FALSE(cdm_node_exists(0));
	ASSERT_EQ(0, cdm_insert(variant->module, self->params));
	EXPECT_TRUE(cdm_node_exists(0));
}

/*
 * Loading cdm_emu takes longer than any of the tests, so it is unloaded once
 * for all of them. They run in a child, as the harness does not return.
 */
int main(int argc, char **argv)
{
	struct cdm_found found;
	int status, err = cdm_remember(&found);
	pid_t pid;

	if (!err)
		err = cdm_unload(CDM_EMU);
	pid = fork();
	if (!pid)
		return test_harness_run(argc, argv);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		status = -1;
	if (!err)
		err = cdm_restore(&found);
	if (err)
		ksft_print_msg("cdm_emu: %s\n", strerror(-err));
	return status == -1 || err ? KSFT_FAIL : WEXITSTATUS(status);
}

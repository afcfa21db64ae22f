// SPDX-License-Identifier: GPL-2.0
/*
 * The device has exactly the process's rights: a job that accesses what the
 * process cannot ends there and reports the address.
 */
#include <errno.h>
#include <kselftest_harness.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define PATTERN			0x1122334455667788ULL
#define SEED			CDM_SEED(RIGHTS)
#define PAGES			5

FIXTURE(rights) {
	struct cdm cdm;
	char *mem;
	size_t length;
};

FIXTURE_SETUP(rights)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
}

FIXTURE_TEARDOWN(rights)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/*
 * A job over all pages, which is not allowed from the third page on: it ends
 * there, and what comes before is done.
 */
static void expect_fault(struct __test_metadata *_metadata,
			 const struct cdm *cdm, char *mem, unsigned int access)
{
	size_t length = PAGES * cdm->page;
	size_t good = 2 * cdm->page;
	struct hmm_cdm_wait wait;
	int status;

	if (access == HMM_CDM_ACCESS_WRITE)
		status = cdm_run_fill(cdm, mem, length,
				      PATTERN, &wait);
	else
		status = cdm_run_sum(cdm, mem, length / 8,
				     &wait);
	EXPECT_EQ(-EFAULT, status);
	EXPECT_EQ(access, wait.fault_access);
	EXPECT_EQ(CDM_ADDR(mem) + good, wait.fault_addr);
	EXPECT_EQ(-1, access == HMM_CDM_ACCESS_WRITE ?
		  cdm_check_value(mem, good, PATTERN) :
		  cdm_check(mem, good, SEED));
	/* The file is still usable. */
	EXPECT_EQ(0, cdm_run_fill(cdm, mem, 8, 1, NULL));
}

TEST_F(rights, unmapped)
{
	ASSERT_EQ(0, munmap(self->mem + 2 * self->cdm.page,
			    3 * self->cdm.page));
	expect_fault(_metadata, &self->cdm, self->mem,
		     HMM_CDM_ACCESS_READ);
	expect_fault(_metadata, &self->cdm, self->mem,
		     HMM_CDM_ACCESS_WRITE);
}

TEST_F(rights, prot_none)
{
	char *third = self->mem + 2 * self->cdm.page;

	ASSERT_EQ(0, mprotect(third, 3 * self->cdm.page, PROT_NONE));
	expect_fault(_metadata, &self->cdm, self->mem,
		     HMM_CDM_ACCESS_READ);
	expect_fault(_metadata, &self->cdm, self->mem,
		     HMM_CDM_ACCESS_WRITE);
	ASSERT_EQ(0, mprotect(third, 3 * self->cdm.page, PROT_READ));
	for (size_t i = 2 * self->cdm.page / 8; i < self->length / 8; i++)
		ASSERT_EQ(cdm_word(SEED, i), ((__u64 *)self->mem)[i]);
}

/* Read-only memory is read in place; a write changes none of it. */
TEST_F(rights, read_only)
{
	char *third = self->mem + 2 * self->cdm.page;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, mprotect(third, 3 * self->cdm.page, PROT_READ));
	ASSERT_EQ(0, cdm_run_sum(&self->cdm, self->mem, self->length / 8,
				 &wait));
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
	expect_fault(_metadata, &self->cdm, self->mem,
		     HMM_CDM_ACCESS_WRITE);
	for (size_t i = 2 * self->cdm.page / 8; i < self->length / 8; i++)
		ASSERT_EQ(cdm_word(SEED, i), ((__u64 *)self->mem)[i]);
}

/*
 * Shared and private mappings of a file opened for reading are never written
 * to.
 */
TEST_F(rights, read_only_file)
{
	const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	int fd = cdm_pattern_file(true, self->length, SEED);
	struct hmm_cdm_wait wait;

	ASSERT_LE(0, fd);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char *mem = mmap(NULL, self->length, PROT_READ, flags[i],
				 fd, 0);

		ASSERT_NE(MAP_FAILED, mem);
		EXPECT_EQ(0, cdm_run_sum(&self->cdm, mem, self->length / 8,
					 &wait));
		EXPECT_EQ(cdm_word_sum(SEED, self->length / 8),
			  wait.result[0]);
		EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, mem, self->length,
						PATTERN, &wait));
		EXPECT_EQ(CDM_ADDR(mem), wait.fault_addr);
		EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
		EXPECT_EQ(-1, cdm_check(mem, self->length, SEED));
		munmap(mem, self->length);
	}
	close(fd);
}

/*
 * A page beyond the end of a file: SIGBUS for the CPU, -EFAULT for the device.
 */
TEST_F(rights, beyond_end_of_file)
{
	int fd = cdm_pattern_file(true, self->cdm.page, SEED);
	struct hmm_cdm_wait wait;
	char *mem;

	ASSERT_LE(0, fd);
	mem = mmap(NULL, 2 * self->cdm.page, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, mem,
				       2 * self->cdm.page / 8, &wait));
	EXPECT_EQ(CDM_ADDR(mem) + self->cdm.page, wait.fault_addr);
	close(fd);
}

/* The reported address is the byte's, not the page's. */
TEST_F(rights, exact_address)
{
	char *hole = self->mem + 2 * self->cdm.page;
	struct hmm_cdm_wait wait;

	ASSERT_EQ(0, munmap(hole, self->cdm.page));
	EXPECT_EQ(-EFAULT, cdm_run_adds(&self->cdm, (__u64 *)(hole + 40), 1, 1,
					&wait));
	EXPECT_EQ(CDM_ADDR(hole) + 40, wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, hole + 13, 100, 0, &wait));
	EXPECT_EQ(CDM_ADDR(hole) + 13, wait.fault_addr);
	EXPECT_EQ(-EFAULT, cdm_run_copy(&self->cdm, self->mem, hole + 77, 5,
					&wait));
	EXPECT_EQ(CDM_ADDR(hole) + 77, wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, wait.fault_access);
	/* A range that starts below reports the first missing byte. */
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, hole - 3, 8, 0, &wait));
	EXPECT_EQ(CDM_ADDR(hole), wait.fault_addr);
}

/* Addresses outside of any process's address space. */
TEST_F(rights, kernel_addresses)
{
	const __u64 addrs[] = { 0, 1ULL << 63, ~0ULL << 24 };
	struct hmm_cdm_wait wait;

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		EXPECT_EQ(-EFAULT, cdm_run(&self->cdm, CDM_EMU_FILL,
					   CDM_ARGS(addrs[i], 64, PATTERN),
					   &wait));
		EXPECT_EQ(addrs[i], wait.fault_addr);
		EXPECT_EQ(-EFAULT, cdm_run(&self->cdm, CDM_EMU_REDUCE,
					   CDM_ARGS(addrs[i], 8), &wait));
		EXPECT_EQ(addrs[i], wait.fault_addr);
	}
}

/* Special mappings are used in place or refused, and never changed. */
TEST_F(rights, vdso)
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
	size_t words = self->cdm.page / 8;
	struct hmm_cdm_wait wait;
	__u64 sum = 0;
	int status;

	if (!vdso)
		SKIP(return, "no vdso");
	for (size_t i = 0; i < words; i++)
		sum += ((__u64 *)vdso)[i];
	status = cdm_run_sum(&self->cdm, vdso, words, &wait);
	EXPECT_EQ(status ? -EFAULT : 0, status);
	EXPECT_EQ(status ? 0 : sum, wait.result[0]);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, vdso, 8, 0, &wait));
	EXPECT_EQ(CDM_ADDR(vdso), wait.fault_addr);
	EXPECT_EQ(0, memcmp(vdso, "\177ELF", 4));
}

/*
 * Memory that the kernel has removed from its own map is refused to the device,
 * although the process may use it.
 */
TEST_F(rights, secret_memory)
{
	size_t page = self->cdm.page;
	struct hmm_cdm_wait wait;
	int fd = syscall(SYS_memfd_secret, 0);
	char *mem;

	if (fd < 0)
		SKIP(return, "no memfd_secret(2): errno %d", errno);
	ASSERT_EQ(0, ftruncate(fd, page));
	mem = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	cdm_fill(mem, page, SEED);
	EXPECT_EQ(-EFAULT, cdm_run_fill(&self->cdm, mem, page, PATTERN, &wait));
	EXPECT_EQ(CDM_ADDR(mem), wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
	EXPECT_EQ(-EFAULT, cdm_run_sum(&self->cdm, mem, page / 8, &wait));
	EXPECT_EQ(HMM_CDM_ACCESS_READ, wait.fault_access);
	EXPECT_EQ(-1, cdm_check(mem, page, SEED));
	munmap(mem, page);
	close(fd);
}

TEST_HARNESS_MAIN

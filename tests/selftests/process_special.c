// SPDX-License-Identifier: GPL-2.0
/*
 * Other contents of an address space: mappings of the kernel, of device memory,
 * of drivers' buffers. They do not move; the device uses them in place or is
 * refused, and ordinary memory around them moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <kselftest_harness.h>
#include <linux/io_uring.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(PROCESS_SPECIAL)
#define AROUND			4	/* pages on either side */

/* The BIOS of a PC, which may always be mapped. */
#define BIOS			0xf0000

FIXTURE(special) {
	struct cdm cdm;
	char *around;		/* ordinary memory on both sides */
	char *mem;		/* the special mapping */
	size_t length;
	size_t pages;
	__u64 free;
};

FIXTURE_VARIANT(special) {
	/* Maps @length bytes at @where; NULL if the machine cannot. */
	char *(*map)(char *where, size_t length);
	bool placed;	/* the address can be chosen */
	bool used;	/* the device reads it in place, instead of -EFAULT */
	bool written;	/* the device writes to it in place, instead of -EFAULT */
	bool changes;	/* the kernel writes to it continuously */
};

static char *map_fd(int fd, char *where, size_t length, int prot, off_t at)
{
	char *mem;

	if (fd < 0)
		return NULL;
	mem = mmap(where, length, prot, MAP_SHARED | MAP_FIXED, fd, at);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

/* A mapping that every process has, by its name in /proc/self/maps. */
static char *find_map(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start = 0, found = 0;
	char line[512];

	if (!f)
		return NULL;
	while (fgets(line, sizeof(line), f))
		if (!found && sscanf(line, "%lx-", &start) == 1 &&
		    strstr(line, name))
			found = start;
	fclose(f);
	return (char *)found;
}

static char *map_vdso(char *where, size_t length)
{
	(void)where;
	(void)length;
	return (char *)getauxval(AT_SYSINFO_EHDR);
}

static char *map_vvar(char *where, size_t length)
{
	(void)where;
	(void)length;
	return find_map("[vvar]");
}

static char *map_bios(char *where, size_t length)
{
	return map_fd(open("/dev/mem", O_RDONLY | O_CLOEXEC), where, length,
		      PROT_READ, BIOS);
}

/* The first PCI BAR that this kernel lets a process map. */
static char *map_bar(char *where, size_t length)
{
	char *mem = NULL;
	glob_t found;

	if (glob("/sys/bus/pci/devices/*/resource[0-5]", 0, NULL, &found))
		return NULL;
	for (size_t i = 0; !mem && i < found.gl_pathc; i++)
		mem = map_fd(open(found.gl_pathv[i], O_RDWR | O_CLOEXEC),
			     where, length, PROT_READ | PROT_WRITE, 0);
	globfree(&found);
	return mem;
}

/* Pages that the kernel has inserted into the mapping. */
static char *map_ring(char *where, size_t length)
{
	struct io_uring_params params = {};
	int fd = syscall(SYS_io_uring_setup, 1, &params);
	char *mem;

	(void)where;
	if (fd < 0)
		return NULL;
	mem = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   IORING_OFF_SQ_RING);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

static char *map_secret(char *where, size_t length)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd >= 0 && ftruncate(fd, length))
		return NULL;
	return map_fd(fd, where, length, PROT_READ | PROT_WRITE, 0);
}

static char *map_shared(char *where, size_t length)
{
	return map_fd(cdm_pattern_file(true, length, SEED), where, length,
		      PROT_READ | PROT_WRITE, 0);
}

FIXTURE_VARIANT_ADD(special, vdso) {
	.map = map_vdso, .used = true,
};

FIXTURE_VARIANT_ADD(special, vvar) {
	.map = map_vvar, .changes = true,
};

FIXTURE_VARIANT_ADD(special, physical_memory) {
	.map = map_bios, .placed = true,
};

FIXTURE_VARIANT_ADD(special, pci_bar) {
	.map = map_bar, .placed = true, .changes = true,
};

FIXTURE_VARIANT_ADD(special, ring) {
	.map = map_ring, .used = true, .written = true,
};

FIXTURE_VARIANT_ADD(special, secret_memory) {
	.map = map_secret, .placed = true,
};

FIXTURE_VARIANT_ADD(special, shared_file) {
	.map = map_shared, .placed = true, .used = true, .written = true,
};

FIXTURE_SETUP(special)
{
	size_t page;
	char *where;

	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	page = self->cdm.page;
	self->length = page;
	self->pages = 2 * AROUND + 1;
	self->free = cdm_free_pages(&self->cdm);
	self->around = cdm_map(&self->cdm, self->pages * page);
	ASSERT_NE(NULL, self->around);
	cdm_fill(self->around, self->pages * page, SEED);
	where = self->around + AROUND * page;
	self->mem = variant->map(where, page);
	if (!self->mem)
		SKIP(return, "no such mapping here: errno %d", errno);
	if (variant->placed)
		ASSERT_EQ(where, self->mem);
	/*
	 * Faults the page in, unless it is a device's, where reading may have
	 * effects.
	 */
	if (!variant->changes)
		__atomic_load_n((__u64 *)self->mem, __ATOMIC_RELAXED);
}

FIXTURE_TEARDOWN(special)
{
	munmap(self->around, self->pages * self->cdm.page);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

/* The ordinary memory on both sides is unchanged. */
static bool around_is_good(const struct _test_data_special *self, bool placed)
{
	size_t words = self->cdm.page / 8;
	const __u64 *word = (const __u64 *)self->around;

	for (size_t i = 0; i < self->pages * words; i++)
		if ((!placed || i / words != AROUND) &&
		    word[i] != cdm_word(SEED, i))
			return false;
	return true;
}

/* It stays, and the memory around it moves. */
TEST_F(special, stays)
{
	const size_t moves = variant->placed ? 2 * AROUND : 2 * AROUND + 1;
	__u64 pfn = cdm_pfn(self->mem);
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;

	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 i % 2 ? SYSTEM : NODE, &m));
		EXPECT_EQ(1, cdm_migrate_sum(&m));
		EXPECT_EQ(0, m.migrated + m.populated);
		if (i % 2 == 0)
			EXPECT_EQ(1, m.skipped[HMM_CDM_SKIP_NOT_ANON]);
		EXPECT_EQ(pfn, cdm_pfn(self->mem));

		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->around,
					 self->pages * self->cdm.page,
					 i % 2 ? SYSTEM : NODE, &m));
		EXPECT_EQ(moves, m.migrated);
		EXPECT_EQ(self->pages, cdm_migrate_sum(&m));
		EXPECT_EQ(pfn, cdm_pfn(self->mem));
		EXPECT_TRUE(around_is_good(self, variant->placed));
	}
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_MIGRATE, &p));
	EXPECT_EQ(0, p.populated + p.migrated + p.present);
	EXPECT_EQ(1, p.stayed + p.skipped[HMM_CDM_SKIP_NOT_ANON]);
	EXPECT_EQ(pfn, cdm_pfn(self->mem));
}

/* A job ends at the refused address, or works on the very pages. */
TEST_F(special, device)
{
	const size_t words = self->length / 8;
	const __u64 *word = (const __u64 *)self->mem;
	struct hmm_cdm_wait wait;
	__u64 sum = 0, pfn;
	int status;

	if (variant->used)
		for (size_t i = 0; i < words; i++)
			sum += __atomic_load_n(word + i, __ATOMIC_RELAXED);
	pfn = cdm_pfn(self->mem);
	status = cdm_run_sum(&self->cdm, self->mem, words, &wait);
	EXPECT_EQ(variant->used ? 0 : -EFAULT, status);
	if (variant->used) {
		EXPECT_EQ(sum, wait.result[0]);
	} else {
		EXPECT_EQ(CDM_ADDR(self->mem), wait.fault_addr);
		EXPECT_EQ(HMM_CDM_ACCESS_READ, wait.fault_access);
	}
	/* Adding zero is a write, too, and harmless. */
	status = cdm_run_adds(&self->cdm, (__u64 *)self->mem, 0, 1, &wait);
	EXPECT_EQ(variant->written ? 0 : -EFAULT, status);
	if (!variant->written) {
		EXPECT_EQ(CDM_ADDR(self->mem), wait.fault_addr);
		EXPECT_EQ(HMM_CDM_ACCESS_WRITE, wait.fault_access);
	}
	EXPECT_EQ(pfn, cdm_pfn(self->mem));
	if (variant->used) {
		for (size_t i = 0; i < words; i++)
			sum -= __atomic_load_n(word + i, __ATOMIC_RELAXED);
		EXPECT_EQ(0, sum);
	}
	/* The file is still usable. */
	EXPECT_EQ(0, cdm_run_sum(&self->cdm, self->around, words, &wait));
	EXPECT_EQ(cdm_word_sum(SEED, words), wait.result[0]);
}

TEST_HARNESS_MAIN

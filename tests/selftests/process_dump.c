// SPDX-License-Identifier: GPL-2.0
/*
 * A process with memory on the node dumps core: the dump has the content, and
 * the node gets its pages back.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/elf.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mover.h"

#define SEED			CDM_SEED(PROCESS_DUMP)
#define PAGES			16
#define PATTERN			"/proc/sys/kernel/core_pattern"
#define CORE			"/tmp/cdm-core"

FIXTURE(dump) {
	struct cdm cdm;
	char *mem;
	char *left_out;
	size_t length;
	__u64 free;
	char pattern[256];
};

static int write_pattern(const char *text)
{
	int fd = open(PATTERN, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 :
	      -errno;
	close(fd);
	return err;
}

FIXTURE_SETUP(dump)
{
	int fd = open(PATTERN, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "no core dumps");
	ASSERT_LT(0, read(fd, self->pattern, sizeof(self->pattern) - 1));
	close(fd);
	ASSERT_EQ(0, write_pattern(CORE));
	unlink(CORE);
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->free = cdm_free_pages(&self->cdm);
	/* The process that dumps has them at the same addresses. */
	self->mem = cdm_map(&self->cdm, self->length);
	self->left_out = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->left_out);
}

FIXTURE_TEARDOWN(dump)
{
	unlink(CORE);
	EXPECT_EQ(0, write_pattern(self->pattern));
	cdm_close(&self->cdm);
}

/*
 * The first half is on the node. Every other page of the second half is a hole;
 * of the others one is on the node and the rest in system memory. Until the
 * process dies, the device counts in the first word, and a thread moves the
 * second page.
 */
static void dump_core(struct _test_data_dump *self)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	size_t page, half = self->length / 2;
	struct cdm_mover mover = { .target = SYSTEM };
	struct cdm cdm;
	__u64 job;

	cdm_close(&self->cdm);
	if (setrlimit(RLIMIT_CORE, &all) || cdm_open(&cdm, 0))
		_exit(1);
	page = cdm.page;
	cdm_fill(self->mem, half, SEED);
	cdm_fill(self->left_out, self->length, SEED);
	for (size_t at = half; at < self->length; at += 2 * page)
		cdm_fill(self->mem + at, page, SEED);
	if (cdm_migrate(&cdm, self->mem, half, NODE, NULL) ||
	    cdm_migrate(&cdm, self->left_out, self->length, NODE, NULL) ||
	    cdm_migrate(&cdm, self->mem + half, page, NODE,
			NULL) ||
	    madvise(self->left_out, self->length, MADV_DONTDUMP))
		_exit(2);
	((__u64 *)self->mem)[0] = 0;
	if (cdm_start_adds(&cdm, (__u64 *)self->mem, CDM_FOREVER, &job) ||
	    !cdm_rises_above((__u64 *)self->mem, 100) ||
	    cdm_mover_start(&mover, &cdm, self->mem + page, page) ||
	    cdm_on_node(&cdm, self->mem + half, half) != 1)
		_exit(3);
	abort();
}

/* The offset in the file of the bytes at @addr; 0 if it has none. */
static const char *find(const char *file, size_t size, const void *addr,
			size_t length, bool *described)
{
	const struct elf64_hdr *head = (const void *)file;
	const struct elf64_phdr *p = (const void *)(file + head->e_phoff);

	*described = false;
	for (int i = 0; i < head->e_phnum; i++, p++) {
		if (p->p_type != PT_LOAD || CDM_ADDR(addr) < p->p_vaddr ||
		    CDM_ADDR(addr) + length > p->p_vaddr + p->p_memsz)
			continue;
		*described = true;
		if (CDM_ADDR(addr) + length > p->p_vaddr + p->p_filesz ||
		    p->p_offset + p->p_filesz > size)
			return NULL;
		return file + p->p_offset + (CDM_ADDR(addr) - p->p_vaddr);
	}
	return NULL;
}

TEST_F(dump, content)
{
	size_t half = self->length / 2, page = self->cdm.page;
	const char *core, *found;
	struct stat stat;
	bool described;
	int fd, status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		dump_core(self);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status)) {
		TH_LOG("exit status %d", WEXITSTATUS(status));
	}
	ASSERT_EQ(SIGABRT, WTERMSIG(status));
	ASSERT_TRUE(WCOREDUMP(status));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));

	fd = open(CORE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &stat));
	ASSERT_LT((ssize_t)sizeof(struct elf64_hdr), stat.st_size);
	core = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, core);
	ASSERT_EQ(0, memcmp(core, ELFMAG, SELFMAG));
	ASSERT_EQ(ET_CORE, ((const struct elf64_hdr *)core)->e_type);

	found = find(core, stat.st_size, self->mem, self->length, &described);
	ASSERT_NE(NULL, found);
	/* The device's count at that moment; it stopped there. */
	EXPECT_LE(100, *(const __u64 *)found);
	for (size_t i = 1; i < half / 8; i++)
		ASSERT_EQ(cdm_word(SEED, i), ((const __u64 *)found)[i]);
	for (size_t at = half; at < self->length; at += 2 * page) {
		EXPECT_EQ(0, memcmp(found + at, found + half, page));
		EXPECT_EQ(-1, cdm_check(found + at, page, SEED));
		EXPECT_EQ(-1, cdm_check_value(found + at + page, page, 0));
	}
	EXPECT_EQ(NULL, find(core, stat.st_size, self->left_out, self->length,
			     &described));
	EXPECT_TRUE(described);
	munmap((void *)core, stat.st_size);
	close(fd);
}

TEST_HARNESS_MAIN

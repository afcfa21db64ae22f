// SPDX-License-Identifier: GPL-2.0
/*
 * Memory with known mapping and content; see cdm_mem.h.
 */
#include "cdm_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A bit of /proc/kpageflags. */
#define KPAGEFLAGS_THP		0x0000000000400000ULL

/* Anonymous memory aligned to @align, with unmapped memory around it. */
static void *map_aligned(size_t length, size_t align)
{
	char *raw = mmap(NULL, length + align, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *addr;

	if (raw == MAP_FAILED)
		return NULL;
	addr = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
	if (addr > raw)
		munmap(raw, addr - raw);
	if (raw + align > addr)
		munmap(addr + length, raw + align - addr);
	return addr;
}

void *cdm_map(const struct cdm *cdm, size_t length)
{
	void *addr = map_aligned(length, cdm->window);

	if (addr)
		madvise(addr, length, MADV_NOHUGEPAGE);
	return addr;
}

size_t cdm_thp_size(void)
{
	unsigned long size = 0;
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
			"r");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &size) != 1)
		size = 0;
	fclose(f);
	return size;
}

static bool is_thp(const void *addr)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	__u64 flags = 0;

	if (fd < 0)
		return false;
	if (pread(fd, &flags, sizeof(flags),
		  cdm_pfn(addr) * sizeof(flags)) != sizeof(flags))
		flags = 0;
	close(fd);
	return flags & KPAGEFLAGS_THP;
}

void *cdm_map_thp(size_t count, __u64 seed)
{
	size_t size = cdm_thp_size();
	char *addr;

	if (!size)
		return NULL;
	addr = map_aligned(count * size, size);
	if (!addr)
		return NULL;
	if (madvise(addr, count * size, MADV_HUGEPAGE))
		goto unmap;
	cdm_fill(addr, count * size, seed);
	for (size_t i = 0; i < count; i++)
		if (!is_thp(addr + i * size))
			goto unmap;
	return addr;
unmap:
	munmap(addr, count * size);
	return NULL;
}

void *cdm_map_hugetlb(size_t *length)
{
	long kb = cdm_meminfo("Hugepagesize:");
	void *addr;

	if (kb <= 0)
		return NULL;
	*length = kb * 1024;
	addr = mmap(NULL, *length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	return addr == MAP_FAILED ? NULL : addr;
}

char *cdm_map_on_node(const struct cdm *cdm, size_t length, __u64 seed)
{
	struct hmm_cdm_migrate m;
	char *mem = cdm_map(cdm, length);

	if (!mem)
		return NULL;
	cdm_fill(mem, length, seed);
	if (!cdm_migrate(cdm, mem, length, NODE, &m) &&
	    m.migrated == length / cdm->page)
		return mem;
	munmap(mem, length);
	return NULL;
}

int cdm_pattern_file(bool tmpfs, size_t length, __u64 seed)
{
	char path[] = "/var/tmp/cdm-test-XXXXXX";
	int fd = tmpfs ? memfd_create("cdm-test", MFD_CLOEXEC) :
		 mkstemp(path);
	char *data = malloc(length);

	if (fd < 0 || !data)
		return -1;
	if (!tmpfs)
		unlink(path);
	cdm_fill(data, length, seed);
	if (write(fd, data, length) != (ssize_t)length)
		fd = -1;
	free(data);
	return fd;
}

__u64 cdm_word(__u64 seed, size_t i)
{
	return (seed << 32 | (i + 1)) * 0x9E3779B97F4A7C15ULL;
}

__u64 cdm_word_sum(__u64 seed, size_t words)
{
	__u64 sum = 0;

	for (size_t i = 0; i < words; i++)
		sum += cdm_word(seed, i);
	return sum;
}

void cdm_fill(void *addr, size_t length, __u64 seed)
{
	__u64 *word = addr;

	for (size_t i = 0; i < length / sizeof(*word); i++)
		word[i] = cdm_word(seed, i);
}

ssize_t cdm_check(const void *addr, size_t length, __u64 seed)
{
	const __u64 *word = addr;

	for (size_t i = 0; i < length / sizeof(*word); i++)
		if (word[i] != cdm_word(seed, i))
			return i * sizeof(*word);
	return -1;
}

ssize_t cdm_check_value(const void *addr, size_t length, __u64 value)
{
	const __u64 *word = addr;

	for (size_t i = 0; i < length / sizeof(*word); i++)
		if (word[i] != value)
			return i * sizeof(*word);
	return -1;
}

int cdm_pfns(const void *addr, size_t length, __u64 *pfns)
{
	size_t page = sysconf(_SC_PAGESIZE);
	size_t bytes = length / page * sizeof(*pfns);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, pfns, bytes, (uintptr_t)addr / page * sizeof(*pfns));
	close(fd);
	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -EIO;
	for (size_t i = 0; i < length / page; i++)
		pfns[i] = pfns[i] & PAGEMAP_PRESENT ?
			  pfns[i] & PAGEMAP_PFN : 0;
	return 0;
}

__u64 cdm_pfn(const void *addr)
{
	size_t page = sysconf(_SC_PAGESIZE);
	__u64 pfn;

	return cdm_pfns(addr, page, &pfn) ? 0 : pfn;
}

bool cdm_pfn_on_node(const struct cdm *cdm, __u64 pfn)
{
	__u64 phys = pfn * cdm->page;

	return phys >= cdm->info.start &&
	       phys - cdm->info.start < cdm->info.capacity;
}

/*
 * Number of present pages in the range: on the node of @cdm, or anywhere if
 * NULL.
 */
static size_t count_pages(const struct cdm *cdm, const void *addr,
			  size_t length)
{
	size_t nr = length / sysconf(_SC_PAGESIZE);
	__u64 *pfns = calloc(nr, sizeof(*pfns));
	size_t count = 0;

	if (pfns && !cdm_pfns(addr, length, pfns))
		for (size_t i = 0; i < nr; i++)
			count += pfns[i] &&
				 (!cdm || cdm_pfn_on_node(cdm, pfns[i]));
	free(pfns);
	return count;
}

size_t cdm_present(const void *addr, size_t length)
{
	return count_pages(NULL, addr, length);
}

size_t cdm_on_node(const struct cdm *cdm, const void *addr, size_t length)
{
	return count_pages(cdm, addr, length);
}

long cdm_meminfo(const char *field)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = -1;

	if (!f)
		return -1;
	while (kb < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			kb = atol(line + strlen(field));
	fclose(f);
	return kb;
}

long cdm_smaps(const void *addr, const char *field)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false;
	char line[512];
	long kb = -1;

	if (!f)
		return -1;
	while (kb < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (uintptr_t)addr &&
				 (uintptr_t)addr < end;
		else if (inside && !strncmp(line, field, strlen(field)))
			kb = atol(line + strlen(field));
	}
	fclose(f);
	return kb;
}

long cdm_rss(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	long pages, shared;
	char text[128] = "";
	int n = 0;

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) > 0)
		n = sscanf(text, "%*d %ld %ld", &pages, &shared);
	close(fd);
	return n == 2 ? pages - shared : -1;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * A program that uses the node's device only to query where its memory lies. For each
 * way to allocate memory that is named (by default all) it prints a line:
 *
 *	WAY NODE ALL		pages on the node, of the pages touched
 *
 * It fails if memory has wrong content.
 *
 * It is C++ for new and delete alone: the headers of the C++ library are not there for
 * every machine that it is built for.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/hmm_cdm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

const size_t MIB = 1 << 20;
const int SMALL = 2000;		/* objects, of this size */
const size_t SMALL_SIZE = 100;
const int ROUNDS = 8;
const size_t ROUND_SIZE = 16 * MIB;

int cdm;
size_t page_size;

/* Pages that one way of allocating memory has touched. */
struct Pages {
	uint64_t node = 0, all = 0;

	/* Counts the pages that an object lies in. */
	void look(const void *object, size_t size)
	{
		uintptr_t start = (uintptr_t)object & ~(page_size - 1);
		uintptr_t end = ((uintptr_t)object + size + page_size - 1) & ~(page_size - 1);
		struct hmm_cdm_query q = {};

		q.size = sizeof(q);
		q.addr = start;
		q.length = end - start;
		if (ioctl(cdm, HMM_CDM_IOC_QUERY, &q))
			err(1, "query");
		node += q.where[HMM_CDM_WHERE_NODE];
		all += q.length / page_size;
	}
};

void expect(bool right, const char *what)
{
	if (!right)
		errx(1, "%s", what);
}

/* Keeps the compiler from removing the memory or the writes. */
void fill(void *object, size_t size, int value)
{
	memset(object, value, size);
	asm volatile("" : : "r"(object) : "memory");
}

bool holds(const void *object, size_t size, int value)
{
	const unsigned char *bytes = (const unsigned char *)object;

	return bytes[0] == value && !memcmp(bytes, bytes + 1, size - 1);
}

void *map(size_t size, int prot)
{
	void *mem = mmap(nullptr, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap");
	return mem;
}

void by_malloc(Pages &pages)
{
	for (int i = 0; i <= SMALL; i++) {
		size_t size = i ? SMALL_SIZE : 4 * MIB;
		void *mem = malloc(size);

		fill(mem, size, 1);
		pages.look(mem, size);
	}
}

void by_calloc(Pages &pages)
{
	for (int i = 0; i <= SMALL; i++) {
		size_t size = i ? SMALL_SIZE : 4 * MIB;
		void *mem = calloc(size, 1);

		expect(holds(mem, size, 0), "calloc: not zero");
		fill(mem, size, 2);
		pages.look(mem, size);
	}
}

void by_realloc(Pages &pages)
{
	size_t size = 1024;
	void *mem = malloc(size);

	fill(mem, size, 3);
	for (; size < 16 * MIB; size *= 2) {
		mem = realloc(mem, 2 * size);
		expect(holds(mem, size, 3), "realloc: another content");
		fill(mem, 2 * size, 3);
	}
	pages.look(mem, size);
}

struct Node {
	Node *next;
	char name[SMALL_SIZE];

	explicit Node(Node *before) : next(before)
	{
		fill(name, sizeof(name), 4);
	}
};

struct alignas(4096) Aligned {
	char bytes[8192];
};

void by_new(Pages &pages)
{
	Aligned *aligned = new Aligned[64];
	char *array = new char[4 * MIB];
	Node *list = nullptr;

	for (int i = 0; i < SMALL; i++) {
		list = new Node(list);
		pages.look(list, sizeof(*list));
	}
	fill(array, 4 * MIB, 5);
	pages.look(array, 4 * MIB);
	fill(aligned, 64 * sizeof(*aligned), 6);
	pages.look(aligned, 64 * sizeof(*aligned));
	for (int i = 0; i < SMALL; i++) {
		Node *next = list->next;

		expect(holds(list->name, sizeof(list->name), 4), "new: another content");
		delete list;
		list = next;
	}
	delete[] array;
	delete[] aligned;
}

void by_mmap(Pages &pages)
{
	void *mem = map(4 * MIB, PROT_READ | PROT_WRITE);

	fill(mem, 4 * MIB, 7);
	pages.look(mem, 4 * MIB);
}

/* Reserved, and made accessible in parts. */
void by_mprotect(Pages &pages)
{
	char *mem = (char *)map(16 * MIB, PROT_NONE);

	if (mprotect(mem + 4 * MIB, 4 * MIB, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
	fill(mem + 4 * MIB, 4 * MIB, 8);
	pages.look(mem + 4 * MIB, 4 * MIB);
}

/* As allocators grow large objects. */
void by_mremap(Pages &pages)
{
	void *mem = map(MIB, PROT_READ | PROT_WRITE);

	fill(mem, MIB, 9);
	mem = mremap(mem, MIB, 6 * MIB, MREMAP_MAYMOVE);
	if (mem == MAP_FAILED)
		err(1, "mremap");
	expect(holds(mem, MIB, 9), "mremap: another content");
	fill(mem, 6 * MIB, 10);
	pages.look(mem, 6 * MIB);
}

/* Released to the kernel and used again. */
void by_madvise(Pages &pages)
{
	char *mem = (char *)map(4 * MIB, PROT_READ | PROT_WRITE);

	fill(mem, 4 * MIB, 11);
	if (madvise(mem, 2 * MIB, MADV_DONTNEED))
		err(1, "MADV_DONTNEED");
	if (madvise(mem + 2 * MIB, 2 * MIB, MADV_FREE))
		err(1, "MADV_FREE");
	expect(holds(mem, 2 * MIB, 0), "madvise: not zero");
	fill(mem, 4 * MIB, 12);
	pages.look(mem, 4 * MIB);
}

/* Freed and allocated again, whole and in parts. */
void again(Pages &pages)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *parts[64];

		for (void *&part : parts) {
			part = malloc(ROUND_SIZE / 64);
			fill(part, ROUND_SIZE / 64, i);
			pages.look(part, ROUND_SIZE / 64);
		}
		for (void *part : parts) {
			expect(holds(part, ROUND_SIZE / 64, i), "again: another content");
			free(part);
		}
		void *whole = malloc(ROUND_SIZE);

		fill(whole, ROUND_SIZE, i);
		pages.look(whole, ROUND_SIZE);
		free(whole);
	}
}

const struct {
	const char *name;
	void (*run)(Pages &pages);
} ways[] = {
	{ "malloc", by_malloc },
	{ "calloc", by_calloc },
	{ "realloc", by_realloc },
	{ "new", by_new },
	{ "mmap", by_mmap },
	{ "mprotect", by_mprotect },
	{ "mremap", by_mremap },
	{ "madvise", by_madvise },
	{ "again", again },
};

bool named(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc == 1;
}

} /* namespace */

int main(int argc, char **argv)
{
	cdm = open("/dev/hmm_cdm0", O_RDWR | O_CLOEXEC);
	if (cdm < 0)
		err(1, "/dev/hmm_cdm0");
	page_size = sysconf(_SC_PAGESIZE);
	for (const auto &way : ways) {
		Pages pages;

		if (!named(argc, argv, way.name))
			continue;
		way.run(pages);
		printf("%s %llu %llu\n", way.name, (unsigned long long)pages.node,
		       (unsigned long long)pages.all);
	}
	return 0;
}

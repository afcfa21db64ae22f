/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device for tests of the C interface, through its header only: a little
 * private memory, backed by the test, in the test's own address space. It
 * follows orders and records the library's calls.
 */
#ifndef _CDM_KUNIT_TESTDEV_H
#define _CDM_KUNIT_TESTDEV_H

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/hmm_cdm.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

/* Pages in most tests. */
#define PAGES		8
/* The library works on windows of this size. */
#define WINDOW_PAGES	(PMD_SIZE / PAGE_SIZE)

#define NODE		HMM_CDM_TARGET_NODE
#define SYSTEM		HMM_CDM_TARGET_SYSTEM

/* A mirror and its device page table, which covers the test's memory. */
struct testdev_mirror {
	struct hmm_cdm_mirror *handle;
	/* Entries of single pages; no flags if there is none. */
	struct hmm_cdm_extent *table;
	/* Pages that the table has room for. */
	unsigned long size;
	spinlock_t lock; /* guards the table and the counts below */
	bool open;
	unsigned int opened;
	unsigned int closed;
	unsigned int maps;
	unsigned int invalidates;
	/* Recorded by @close: entries left, and the result of a fault. */
	unsigned int left;
	int late_fault;
};

struct testdev {
	struct hmm_cdm_device *device;
	struct testdev_mirror mirrors[2];
	u64 size;
	u64 total;
	/* Pages of these that are never used again. */
	u64 retired;
	void *vram;
	/* Pages with content. */
	unsigned long *busy;
	/* The test's memory, which starts a window. */
	unsigned long at;
	unsigned long pages;

	/* Errors to return. */
	int open_error;
	int zero_error;
	/* Copies to do before @copy stops, and its result if it does none. */
	int copies_left;
	int copy_error;
	/* Copies that @copy claims beyond those done. */
	int overstated;
	/* Offset of a page that cannot be copied. */
	u64 bad_offset;

	/* Counts of what was done. */
	atomic_t copy_calls;
	atomic_t copies;
	atomic_t pages_in;
	atomic_t pages_out;
	atomic_t zero_calls;
	atomic_t zeroed;
	atomic_t freed;
	/* Violations of the library's promises: see testdev.c. */
	atomic_t wrong;
};

extern const struct hmm_cdm_ops testdev_ops;

/*
 * Init and exit of every suite: a device with memory, all of it free at the
 * end.
 */
int testdev_init(struct kunit *test);
void testdev_exit(struct kunit *test);

struct hmm_cdm_memory testdev_memory(const struct testdev *dev);
/* Clears all errors to return. */
void testdev_heal(struct testdev *dev);
u64 testdev_in_use(struct testdev *dev);

/* Maps memory of single pages, or of huge ones where possible. */
void testdev_map(struct kunit *test, unsigned long pages, bool huge);
void testdev_unmap(struct kunit *test, unsigned long first, unsigned long pages);
/* Maps one more page, with these rights and flags. */
unsigned long testdev_map_page(struct kunit *test, unsigned long prot,
			       unsigned long flags);
/* Opens mirror @i. Functions without @i use the first one. */
void testdev_mirror(struct kunit *test, int i);
void testdev_close(struct kunit *test, int i);
/* Maps memory and opens a mirror. */
struct testdev *testdev_begin(struct kunit *test, unsigned long pages);

/* The mirror's handle, and the address of page @i. */
#define MIRROR(dev)	((dev)->mirrors[0].handle)
#define ADDR(dev, i)	((u64)(dev)->at + (u64)(i) * PAGE_SIZE)

/* The CPU writes and reads content that differs between pages. */
u64 testdev_pattern(unsigned long page);
void testdev_fill(struct kunit *test, unsigned long first, unsigned long pages);
void testdev_expect_content(struct kunit *test, unsigned long first,
			    unsigned long pages);
int testdev_read(struct testdev *dev, unsigned long page, u64 *value);
int testdev_write(struct testdev *dev, unsigned long page, u64 value);

struct hmm_cdm_migrate testdev_migrate(struct kunit *test, u32 target,
				       unsigned long first, unsigned long pages,
				       int error);
void testdev_expect_where(struct kunit *test, unsigned long first,
			  unsigned long pages, u8 where, u8 order, u16 flags);

/* The library's entry of a page; no flags if there is none. */
struct hmm_cdm_extent testdev_entry(struct testdev *dev, unsigned long page,
				    bool write);
/* Number of entries in a table. */
unsigned int testdev_entries(struct testdev *dev, int i);

#endif /* _CDM_KUNIT_TESTDEV_H */

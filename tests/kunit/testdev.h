/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device for tests of the C interface, through nothing but its header: a little
 * private memory, whose backing store is the test's, in an address space that is the
 * test's own. It does what it is told, and notes what the library has it do.
 */
#ifndef _CDM_KUNIT_TESTDEV_H
#define _CDM_KUNIT_TESTDEV_H

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/hmm_cdm.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

/* Pages of most tests. */
#define PAGES		8
/* What the library handles at a time. */
#define WINDOW_PAGES	(PMD_SIZE / PAGE_SIZE)

#define NODE		HMM_CDM_TARGET_NODE
#define SYSTEM		HMM_CDM_TARGET_SYSTEM

/* A mirror, and the device's own page table, which covers the test's memory. */
struct testdev_mirror {
	struct hmm_cdm_mirror *handle;
	/* Entries of single pages; without flags there is none. */
	struct hmm_cdm_extent *table;
	spinlock_t lock; /* guards the table and the counts below */
	bool open;
	unsigned int opened;
	unsigned int closed;
	unsigned int maps;
	unsigned int invalidates;
	/* Seen by @close: entries, and what a fault says. */
	unsigned int left;
	int late_fault;
};

struct testdev {
	struct hmm_cdm_device *device;
	struct testdev_mirror mirrors[2];
	u64 size;
	u64 total;
	/* Of these, out of use for ever. */
	u64 retired;
	void *vram;
	/* Pages that the device holds content for. */
	unsigned long *busy;
	/* The test's memory, from the beginning of a window on. */
	unsigned long at;
	unsigned long pages;

	/* What is to go wrong. */
	int open_error;
	int zero_error;
	/* How many copies are done yet, and what is returned instead of none. */
	int copies_left;
	int copy_error;
	/* How many more it says it has done. */
	int overstated;
	/* An offset that cannot be copied. */
	u64 bad_offset;

	/* What was done. */
	atomic_t copy_calls;
	atomic_t copies;
	atomic_t pages_in;
	atomic_t pages_out;
	atomic_t zero_calls;
	atomic_t zeroed;
	atomic_t freed;
	/* What the library must never do: see testdev.c. */
	atomic_t wrong;
};

extern const struct hmm_cdm_ops testdev_ops;

/* Of every suite: a device with memory, and its end, with nothing left in use. */
int testdev_init(struct kunit *test);
void testdev_exit(struct kunit *test);

struct hmm_cdm_memory testdev_memory(const struct testdev *dev);
/* Nothing goes wrong any more. */
void testdev_heal(struct testdev *dev);
u64 testdev_in_use(struct testdev *dev);

/* Memory of the process: single pages, or huge ones where there can be some. */
void testdev_map(struct kunit *test, unsigned long pages, bool huge);
void testdev_unmap(struct kunit *test, unsigned long first, unsigned long pages);
/* Memory besides, or mapped another way: one page. */
unsigned long testdev_map_page(struct kunit *test, unsigned long prot,
			       unsigned long flags);
/* Makes mirror @i; the first one is that of all functions without an @i. */
void testdev_mirror(struct kunit *test, int i);
void testdev_close(struct kunit *test, int i);
/* Memory and mirror in one. */
struct testdev *testdev_begin(struct kunit *test, unsigned long pages);

/* The mirror's and the address of page @i. */
#define MIRROR(dev)	((dev)->mirrors[0].handle)
#define ADDR(dev, i)	((u64)(dev)->at + (u64)(i) * PAGE_SIZE)

/* The CPU writes and reads content that is different for each page. */
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

/* What the library's table has for a page; no flags if nothing. */
struct hmm_cdm_extent testdev_entry(struct testdev *dev, unsigned long page,
				    bool write);
/* How many entries a table has. */
unsigned int testdev_entries(struct testdev *dev, int i);

#endif /* _CDM_KUNIT_TESTDEV_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The structure that both sides work on: a hash table of the words of a text,
 * built by the CPU with malloc() and pointers and nothing else.
 */
#ifndef CDM_DEMO_WORDS_H
#define CDM_DEMO_WORDS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

/*
 * The device reads pointers as 64 bits, at offsets that are multiples of
 * eight. On the architectures that have coherent device memory an ordinary
 * pointer is just that.
 */
static_assert(sizeof(void *) == sizeof(__u64), "needs 64-bit pointers");

/* A file's content, in lower case, and how many words it has. */
struct text {
	char *data;
	size_t size;
	__u64 words;
};

/* A piece of the text. */
struct token {
	const char *start;
	size_t length;
};

/* One place where a word stands in the text. */
struct occurrence {
	struct occurrence *next;
	__u64 offset;
};

/*
 * A word. The device follows @next and @first, sets @count and adds to @hits.
 * All else is the CPU's, and it lies on the same pages.
 */
struct word {
	struct word *next;
	struct occurrence *first;
	__u64 count;
	__u64 hits;
	struct word *newer;
	struct word *older;
	__u64 touched;
	__u64 hash;
	__u64 index;
	__u64 length;
	char letters[];
};

/* What the device is asked, and where it ranks the words. */
struct question {
	struct cdm_emu_walk walk;
	struct cdm_emu_top top[CDM_EMU_WALK_TOP];
};

/*
 * @bucket: the heads that the device starts from, @nr_buckets a power of two
 * @newest, @oldest: the words in the order they were last touched. The CPU
 *	relinks this list while the device walks the other one
 * @clock: counts touches
 */
struct table {
	struct word **bucket;
	__u64 nr_buckets;
	__u64 words;
	__u64 distinct;
	struct word *newest;
	struct word *oldest;
	__u64 clock;
	struct question *question;
};

void text_read(struct text *text, const char *path);
bool text_next(const struct text *text, size_t *position, struct token *token);

void table_build(struct table *table, const struct text *text);
struct word *table_find(const struct table *table, const struct token *token);
void table_touch(struct table *table, struct word *word);

typedef void (*table_visit_fn)(void *context, const void *piece, size_t size);
void table_visit(const struct table *table, table_visit_fn fn, void *context);

#endif

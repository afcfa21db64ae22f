/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The structure that both sides work on: a hash table of the words of a text, which the CPU builds
 * with malloc() and pointers.
 */
#ifndef CDM_DEMO_WORDS_H
#define CDM_DEMO_WORDS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <linux/hmm_cdm.h>

/* The device reads pointers of 64 bits, at offsets that are multiples of eight. */
static_assert(sizeof(void *) == sizeof(__u64), "needs 64-bit pointers");

/* The content of a file in lower case, and its number of words. */
struct text {
	char *data;
	size_t size;
	__u64 words;
};

/* A word in the text. */
struct token {
	const char *start;
	size_t length;
};

/* One occurrence of a word in the text. */
struct occurrence {
	struct occurrence *next;
	__u64 offset;
};

/*
 * A word. The device follows @next and @first, sets @count and adds to @hits. The other members, on
 * the same pages, are the CPU's.
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

/* The argument of CDM_EMU_WALK and the ranking that it writes. */
struct question {
	struct cdm_emu_walk walk;
	struct cdm_emu_top top[CDM_EMU_WALK_TOP];
};

/*
 * @bucket: the list heads from which the device starts; @nr_buckets is a power of two
 * @newest, @oldest: the ends of a list of the words in the order of their last touch. The
 *	CPU relinks it while the device walks the buckets
 * @clock: number of touches
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

// SPDX-License-Identifier: GPL-2.0
/*
 * The CPU's own count and ranking, and the comparison with the device's.
 *
 * The CPU counts the words by sorting them, not with the hash table, so that a bug in the table
 * cannot make both sides wrong in the same way. The result is in shared memory: it never migrates
 * to a node, and malloc() never returns it, so neither a job nor a migration can change it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "die.h"
#include "expect.h"
#include "stage.h"

/* Neither a word count nor an address. */
#define POISON	0xdeadfacedeadfaceULL

static void *allocate_apart(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("out of memory: use a smaller file");
	return memory;
}

static int compare_tokens(const void *left, const void *right)
{
	const struct token *a = left, *b = right;
	size_t shorter = a->length < b->length ? a->length : b->length;
	int order = memcmp(a->start, b->start, shorter);

	if (order)
		return order;
	return (a->length > b->length) - (a->length < b->length);
}

/* Highest count first; equal counts in the order of the walk. */
static int compare_ranks(const void *left, const void *right)
{
	const struct expected *a = *(struct expected *const *)left;
	const struct expected *b = *(struct expected *const *)right;

	if (a->count != b->count)
		return a->count < b->count ? 1 : -1;
	return (a->place > b->place) - (a->place < b->place);
}

/* Makes one expected word of each run of equal words in @sorted. */
static void count_runs(struct expect *expect, const struct token *sorted,
		       const struct table *table)
{
	__u64 start = 0, i;

	for (i = 1; i <= expect->words; i++) {
		struct word *word;

		if (i < expect->words && !compare_tokens(&sorted[start], &sorted[i]))
			continue;

		word = table_find(table, &sorted[start]);
		if (!word || expect->word[word->index].word)
			die("bug: the hash table and the sorted words differ");
		expect->word[word->index] = (struct expected) {
			.word = word,
			.letters = sorted[start],
			.count = i - start,
		};
		expect->distinct++;
		start = i;
	}
	if (expect->distinct != table->distinct)
		die("bug: the hash table and the sorted words differ");
}

void expect_make(struct expect *expect, const struct text *text, const struct table *table)
{
	struct token *sorted = allocate_apart(text->words * sizeof(*sorted));
	__u64 place = 0, i;
	size_t at = 0;

	memset(expect, 0, sizeof(*expect));
	expect->text = text;
	expect->words = text->words;
	expect->word = allocate_apart(table->distinct * sizeof(*expect->word));
	expect->ranked = allocate_apart(table->distinct * sizeof(*expect->ranked));

	for (i = 0; i < text->words; i++)
		text_next(text, &at, &sorted[i]);
	qsort(sorted, text->words, sizeof(*sorted), compare_tokens);
	count_runs(expect, sorted, table);
	munmap(sorted, text->words * sizeof(*sorted));

	for (i = 0; i < table->nr_buckets; i++) {
		struct word *word = table->bucket[i];

		for (; word; word = word->next)
			expect->word[word->index].place = place++;
	}
	for (i = 0; i < expect->distinct; i++)
		expect->ranked[i] = &expect->word[i];
	qsort(expect->ranked, expect->distinct, sizeof(*expect->ranked), compare_ranks);
	expect->nr_top = expect->distinct < CDM_EMU_WALK_TOP ?
			 expect->distinct : CDM_EMU_WALK_TOP;
}

void expect_poison(struct expect *expect, struct table *table)
{
	for (__u64 i = 0; i < expect->distinct; i++)
		expect->word[i].word->count = POISON;
	for (__u64 i = 0; i < CDM_EMU_WALK_TOP; i++) {
		table->question->top[i].count = POISON;
		table->question->top[i].element = POISON;
	}
}

/* Truncates long words for the message. A value that is still POISON was not written. */
static bool word_fail(struct stage *stage, const struct expected *expected,
		      const char *what, __u64 right, __u64 wrong)
{
	int length = expected->letters.length < 40 ? expected->letters.length : 40;

	if (wrong == POISON)
		return stage_fail(stage, "%s of the word \"%.*s\": expected %llu, got nothing",
				  what, length, expected->letters.start, right);
	return stage_fail(stage, "%s of the word \"%.*s\": expected %llu, got %llu",
			  what, length, expected->letters.start, right, wrong);
}

/*
 * Checks that the word is as the CPU built it: its letters, and for each occurrence, last one
 * first, the position of these letters in the text.
 */
static bool check_content(const struct expect *expect, const struct expected *expected,
			  struct stage *stage)
{
	const struct token *letters = &expected->letters;
	const struct word *word = expected->word;
	const struct occurrence *occurrence = word->first;
	__u64 found = 0, before = expect->text->size - letters->length + 1;

	if (word->length != letters->length)
		return word_fail(stage, expected, "length", letters->length, word->length);
	if (memcmp(word->letters, letters->start, letters->length))
		return word_fail(stage, expected, "letters", 1, 0);

	for (; occurrence && found <= expected->count; occurrence = occurrence->next) {
		if (occurrence->offset >= before ||
		    memcmp(expect->text->data + occurrence->offset, letters->start,
			   letters->length))
			return word_fail(stage, expected, "position of an occurrence",
					 letters->start - expect->text->data,
					 occurrence->offset);
		before = occurrence->offset;
		found++;
	}
	if (found != expected->count)
		return word_fail(stage, expected, "occurrences", expected->count, found);
	return true;
}

static bool check_ranking(const struct expect *expect, const struct question *question,
			  struct stage *stage)
{
	for (__u64 i = 0; i < expect->nr_top; i++) {
		const struct expected *expected = expect->ranked[i];
		const struct cdm_emu_top *got = &question->top[i];
		char what[40];

		snprintf(what, sizeof(what), "rank %llu: count", i + 1);
		if (got->count != expected->count)
			return word_fail(stage, expected, what, expected->count, got->count);
		snprintf(what, sizeof(what), "rank %llu: address", i + 1);
		if (got->element != (__u64)expected->word)
			return word_fail(stage, expected, what, (__u64)expected->word,
					 got->element);
	}
	/* The device must not write entries beyond those that it ranked. */
	for (__u64 i = expect->nr_top; i < CDM_EMU_WALK_TOP; i++)
		if (question->top[i].count != POISON || question->top[i].element != POISON)
			return stage_fail(stage, "rank %llu was written, of %llu words",
					  i + 1, expect->nr_top);
	return true;
}

bool expect_check_walk(const struct expect *expect, const struct table *table,
		       const __u64 *result, struct stage *stage)
{
	for (__u64 i = 0; i < expect->distinct; i++) {
		const struct expected *expected = &expect->word[i];

		if (expected->word->count != expected->count)
			return word_fail(stage, expected, "count", expected->count,
					 expected->word->count);
		if (!check_content(expect, expected, stage))
			return false;
	}
	return stage_equal(stage, "distinct words", expect->distinct, result[0]) &&
	       stage_equal(stage, "words", expect->words, result[1]) &&
	       stage_equal(stage, "ranked words", expect->nr_top, result[2]) &&
	       check_ranking(expect, table->question, stage);
}

bool expect_check_hits(const struct expect *expect, struct stage *stage)
{
	for (__u64 i = 0; i < expect->distinct; i++) {
		const struct expected *expected = &expect->word[i];

		if (expected->word->hits != expected->hits)
			return word_fail(stage, expected, "hits", expected->hits,
					 expected->word->hits);
	}
	return true;
}

/* Each word has to be in the list once, in the order of the last touch. */
bool expect_check_recent(const struct expect *expect, const struct table *table,
			 struct stage *stage)
{
	const struct word *word = table->newest, *newer = NULL;
	__u64 seen = 0;

	while (word && seen < expect->distinct) {
		if (word->newer != newer)
			return stage_fail(stage, "list of recent words: a link is wrong");
		if (newer && newer->touched <= word->touched)
			return stage_fail(stage, "list of recent words: the order is wrong");
		newer = word;
		word = word->older;
		seen++;
	}
	if (word || newer != table->oldest)
		return stage_fail(stage, "list of recent words: the end is wrong");
	return stage_equal(stage, "words in the list of recent words", expect->distinct, seen);
}

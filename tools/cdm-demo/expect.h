/* SPDX-License-Identifier: GPL-2.0 */
/* The results that the CPU computed by itself, and the comparison with the device's. */
#ifndef CDM_DEMO_EXPECT_H
#define CDM_DEMO_EXPECT_H

#include <stdbool.h>
#include <linux/types.h>

#include "words.h"

struct stage;

/*
 * The expected state of a word.
 * @letters: in the text, not in the hash table
 * @place: number of words before it in the hash table
 * @hits: sum of the additions to the word's hits
 */
struct expected {
	struct word *word;
	struct token letters;
	__u64 count;
	__u64 place;
	__u64 hits;
};

/*
 * @word: by struct word's index
 * @ranked: the same, highest count first
 */
struct expect {
	const struct text *text;
	struct expected *word;
	struct expected **ranked;
	__u64 words;
	__u64 distinct;
	__u64 nr_top;
};

void expect_make(struct expect *expect, const struct text *text, const struct table *table);

/* Overwrites the results of the last walk, so that they cannot pass for those of the next. */
void expect_poison(struct expect *expect, struct table *table);

/* Each returns false, with @stage->failure set, on the first difference. */
bool expect_check_walk(const struct expect *expect, const struct table *table,
		       const __u64 *result, struct stage *stage);
bool expect_check_hits(const struct expect *expect, struct stage *stage);
bool expect_check_recent(const struct expect *expect, const struct table *table,
			 struct stage *stage);

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Reading a text and building the hash table of its words.
 *
 * Nothing here depends on the device. The table is built as any program would build it: a malloc()
 * for each word and each occurrence, and a bucket array that grows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "die.h"
#include "words.h"

#define FIRST_BUCKETS	256

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (!memory)
		die("out of memory: use a smaller file");
	return memory;
}

/*
 * Letters, digits and all bytes beyond ASCII, so that words in UTF-8 stay whole. Not isalnum(),
 * which depends on the locale.
 */
static bool in_word(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
}

/* Finds the next word at or after *@position, and sets *@position to its end. */
bool text_next(const struct text *text, size_t *position, struct token *token)
{
	size_t at = *position;

	while (at < text->size && !in_word(text->data[at]))
		at++;
	token->start = text->data + at;
	while (at < text->size && in_word(text->data[at]))
		at++;
	token->length = text->data + at - token->start;
	*position = at;
	return token->length > 0;
}

static void open_failed(const char *path)
{
	if (errno == ENOENT)
		die("%s: no such file: name a text file", path);
	if (errno == EACCES)
		die("%s: permission denied: name a file that you may read", path);
	die("%s: %s", path, strerror(errno));
}

/* Reads the whole file and converts A to Z to lower case. */
void text_read(struct text *text, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct token token;
	struct stat status;
	size_t at = 0;

	if (fd < 0 || fstat(fd, &status))
		open_failed(path);
	if (!S_ISREG(status.st_mode))
		die("%s: not a regular file: name a text file", path);
	if (!status.st_size)
		die("%s: the file is empty: name a text with words in it", path);

	text->data = allocate(status.st_size);
	while (at < (size_t)status.st_size) {
		ssize_t got = read(fd, text->data + at, status.st_size - at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			die("%s: cannot be read: %s", path, strerror(errno));
		if (!got)
			break;		/* truncated meanwhile */
		at += got;
	}
	close(fd);
	text->size = at;

	for (at = 0; at < text->size; at++)
		if (text->data[at] >= 'A' && text->data[at] <= 'Z')
			text->data[at] += 'a' - 'A';

	text->words = 0;
	at = 0;
	while (text_next(text, &at, &token))
		text->words++;
	if (!text->words)
		die("%s: there are no words in it: name a text file", path);
}

/* FNV-1a */
static __u64 hash_of(const struct token *token)
{
	__u64 hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < token->length; i++)
		hash = (hash ^ (unsigned char)token->start[i]) * 0x100000001b3ULL;
	return hash;
}

static struct word **bucket_of(const struct table *table, __u64 hash)
{
	return &table->bucket[(hash ^ (hash >> 32)) & (table->nr_buckets - 1)];
}

static void allocate_buckets(struct table *table, __u64 nr)
{
	table->bucket = allocate(nr * sizeof(*table->bucket));
	memset(table->bucket, 0, nr * sizeof(*table->bucket));
	table->nr_buckets = nr;
}

static void grow(struct table *table)
{
	struct word **old = table->bucket;
	__u64 nr_old = table->nr_buckets;

	allocate_buckets(table, nr_old * 2);
	for (__u64 i = 0; i < nr_old; i++) {
		struct word *word = old[i], *next;

		for (; word; word = next) {
			struct word **bucket = bucket_of(table, word->hash);

			next = word->next;
			word->next = *bucket;
			*bucket = word;
		}
	}
	free(old);
}

struct word *table_find(const struct table *table, const struct token *token)
{
	__u64 hash = hash_of(token);
	struct word *word = *bucket_of(table, hash);

	while (word && (word->hash != hash || word->length != token->length ||
			memcmp(word->letters, token->start, token->length)))
		word = word->next;
	return word;
}

static struct word *insert(struct table *table, const struct token *token)
{
	struct word *word = allocate(sizeof(*word) + token->length);
	struct word **bucket;

	if (table->distinct >= table->nr_buckets)
		grow(table);

	memset(word, 0, sizeof(*word));
	word->hash = hash_of(token);
	word->index = table->distinct++;
	word->length = token->length;
	memcpy(word->letters, token->start, token->length);
	bucket = bucket_of(table, word->hash);
	word->next = *bucket;
	*bucket = word;
	return word;
}

/* Makes @word the newest. This changes three words, usually on three pages. */
void table_touch(struct table *table, struct word *word)
{
	word->touched = ++table->clock;
	if (table->newest == word)
		return;

	if (word->newer)
		word->newer->older = word->older;
	if (word->older)
		word->older->newer = word->newer;
	if (table->oldest == word)
		table->oldest = word->newer;

	word->newer = NULL;
	word->older = table->newest;
	if (table->newest)
		table->newest->newer = word;
	else
		table->oldest = word;
	table->newest = word;
}

void table_build(struct table *table, const struct text *text)
{
	struct cdm_emu_walk *walk;
	struct token token;
	size_t at = 0;

	memset(table, 0, sizeof(*table));
	allocate_buckets(table, FIRST_BUCKETS);

	while (text_next(text, &at, &token)) {
		struct occurrence *occurrence = allocate(sizeof(*occurrence));
		struct word *word = table_find(table, &token);

		if (!word)
			word = insert(table, &token);
		occurrence->offset = token.start - text->data;
		occurrence->next = word->first;
		word->first = occurrence;
		table_touch(table, word);
		table->words++;
	}

	/* All addresses are virtual addresses of this process. */
	table->question = allocate(sizeof(*table->question));
	walk = &table->question->walk;
	walk->heads = (__u64)table->bucket;
	walk->nr_heads = table->nr_buckets;
	walk->next = offsetof(struct word, next);
	walk->child = offsetof(struct word, first);
	walk->child_next = offsetof(struct occurrence, next);
	walk->count = offsetof(struct word, count);
	walk->top = (__u64)table->question->top;
	walk->nr_top = CDM_EMU_WALK_TOP;
	/* The walk ends even if a list is corrupt. */
	walk->max_steps = table->words + table->distinct + 1;
}

/* Calls @fn for each block of malloc() that the device walks. */
void table_visit(const struct table *table, table_visit_fn fn, void *context)
{
	fn(context, table->question, sizeof(*table->question));
	fn(context, table->bucket, table->nr_buckets * sizeof(*table->bucket));

	for (__u64 i = 0; i < table->nr_buckets; i++) {
		for (struct word *word = table->bucket[i]; word; word = word->next) {
			struct occurrence *occurrence = word->first;

			fn(context, word, sizeof(*word) + word->length);
			for (; occurrence; occurrence = occurrence->next)
				fn(context, occurrence, sizeof(*occurrence));
		}
	}
}

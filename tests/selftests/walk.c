// SPDX-License-Identifier: GPL-2.0
/*
 * The emulated accelerator follows pointers that the CPU built, in system
 * memory and on the node: lists, hash tables, elements with children.
 */
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define BUCKETS			64
#define ELEMENTS		500
#define SLOTS			1024	/* a power of two */

struct child {
	__u64 value;
	struct child *next;
};

struct element {
	struct element *next;
	__u64 value;
	struct child *children;
	__u64 count;
};

/* Everything that a walk reads and writes, in one piece of memory. */
struct arena {
	struct cdm_emu_walk walk;
	struct cdm_emu_top top[CDM_EMU_WALK_TOP];
	struct element *heads[BUCKETS];
	struct element elements[SLOTS];
	struct child children[4 * SLOTS];
};

FIXTURE(walk) {
	struct cdm cdm;
	struct arena *arena;
	size_t length;
	struct hmm_cdm_wait wait;
	__u64 random;
};

FIXTURE_VARIANT(walk) {
	bool on_node;
};

FIXTURE_VARIANT_ADD(walk, system) { false };
FIXTURE_VARIANT_ADD(walk, node) { true };

FIXTURE_SETUP(walk)
{
	struct cdm_emu_walk *walk;

	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = (sizeof(*self->arena) + self->cdm.page - 1) /
		       self->cdm.page * self->cdm.page;
	self->arena = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->arena);
	if (variant->on_node)
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->arena, self->length,
					 NODE, NULL));
	walk = &self->arena->walk;
	walk->heads = CDM_ADDR(self->arena->heads);
	walk->nr_heads = BUCKETS;
	walk->next = offsetof(struct element, next);
	walk->child = CDM_EMU_WALK_NONE;
	walk->child_next = offsetof(struct child, next);
	walk->count = offsetof(struct element, count);
	walk->top = CDM_ADDR(self->arena->top);
	self->random = 1;
}

FIXTURE_TEARDOWN(walk)
{
	munmap(self->arena, self->length);
	cdm_close(&self->cdm);
}

static int run(const struct cdm *cdm, const struct arena *arena,
	       struct hmm_cdm_wait *wait)
{
	return cdm_run(cdm, CDM_EMU_WALK, CDM_ARGS(CDM_ADDR(&arena->walk)),
		       wait);
}

static __u64 next_random(__u64 *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/*
 * Links @nr elements into the first @buckets lists, scattered over memory, with
 * many equal counts. Each element has up to three children.
 */
static void build(struct arena *arena, __u64 *random, size_t buckets,
		  size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		struct element *e = &arena->elements[i * 389 % SLOTS];
		struct element **head;
		size_t children = next_random(random) % 4;

		head = &arena->heads[next_random(random) % buckets];
		e->count = next_random(random) % 40;
		e->children = NULL;
		for (size_t j = 0; j < children; j++) {
			struct child *c;

			c = &arena->children[(4 * i + j) * 769 % (4 * SLOTS)];
			c->next = e->children;
			e->children = c;
		}
		e->next = *head;
		*head = e;
	}
}

/* Walks by CPU: results as in struct hmm_cdm_wait, and the ranking. */
static void walk_by_cpu(const struct arena *arena, bool children,
			__u64 *result, struct cdm_emu_top *top)
{
	const struct cdm_emu_walk *walk = &arena->walk;

	memset(result, 0, 3 * sizeof(*result));
	for (size_t i = 0; i < walk->nr_heads; i++) {
		const struct element *e;

		for (e = arena->heads[i]; e; e = e->next) {
			struct cdm_emu_top entry = { 0, CDM_ADDR(e) };
			size_t at = result[2];

			for (struct child *c = e->children; c; c = c->next)
				entry.count++;
			if (!children)
				entry.count = e->count;
			result[0]++;
			result[1] += entry.count;
			/* After entries with the same count. */
			while (at > 0 && top[at - 1].count < entry.count)
				at--;
			if (at == walk->nr_top)
				continue;
			if (result[2] < walk->nr_top)
				result[2]++;
			memmove(&top[at + 1], &top[at],
				(result[2] - 1 - at) * sizeof(*top));
			top[at] = entry;
		}
	}
}

/* Device and CPU get the same result, and counts are set if asked for. */
static void compare(struct __test_metadata *_metadata, const struct cdm *cdm,
		    struct arena *arena, bool children)
{
	struct cdm_emu_top top[CDM_EMU_WALK_TOP + 1] = {};
	struct hmm_cdm_wait wait;
	__u64 result[3];
	size_t wrong = 0;

	walk_by_cpu(arena, children, result, top);
	memset(arena->top, 0xff, sizeof(arena->top));
	ASSERT_EQ(0, run(cdm, arena, &wait));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(result[i], wait.result[i]);
	for (size_t i = 0; i < result[2]; i++)
		wrong += arena->top[i].count != top[i].count ||
			 arena->top[i].element != top[i].element;
	EXPECT_EQ(0, wrong);
	/* No further entries. */
	if (result[2] < CDM_EMU_WALK_TOP)
		EXPECT_EQ(~0ULL, arena->top[result[2]].element);
	if (!children)
		return;
	for (size_t i = 0; i < arena->walk.nr_heads; i++)
		for (struct element *e = arena->heads[i]; e; e = e->next) {
			__u64 nr = 0;

			for (struct child *c = e->children; c; c = c->next)
				nr++;
			wrong += e->count != nr;
		}
	EXPECT_EQ(0, wrong);
}

TEST_F(walk, list)
{
	self->arena->walk.nr_heads = 1;
	build(self->arena, &self->random, 1, ELEMENTS);
	compare(_metadata, &self->cdm, self->arena, false);
}

TEST_F(walk, empty)
{
	compare(_metadata, &self->cdm, self->arena, false);
	self->arena->walk.nr_heads = 0;
	compare(_metadata, &self->cdm, self->arena, false);
}

TEST_F(walk, hash_table)
{
	const size_t tops[] = { 0, 1, 10, CDM_EMU_WALK_TOP };

	build(self->arena, &self->random, BUCKETS, ELEMENTS);
	for (size_t i = 0; i < ARRAY_SIZE(tops); i++) {
		self->arena->walk.nr_top = tops[i];
		compare(_metadata, &self->cdm, self->arena, false);
	}
	self->arena->walk.top = 0;
	ASSERT_EQ(0, run(&self->cdm, self->arena, &self->wait));
	EXPECT_EQ(ELEMENTS, self->wait.result[0]);
	EXPECT_EQ(0, self->wait.result[2]);
}

/* The ranking has more entries than there are elements. */
TEST_F(walk, few)
{
	build(self->arena, &self->random, BUCKETS, 20);
	self->arena->walk.nr_top = CDM_EMU_WALK_TOP;
	compare(_metadata, &self->cdm, self->arena, false);
}

TEST_F(walk, children)
{
	build(self->arena, &self->random, BUCKETS, ELEMENTS);
	self->arena->walk.child = offsetof(struct element, children);
	self->arena->walk.nr_top = 20;
	compare(_metadata, &self->cdm, self->arena, true);
}

/* The second walk finds what the CPU has added. */
TEST_F(walk, grows)
{
	build(self->arena, &self->random, BUCKETS, 10);
	compare(_metadata, &self->cdm, self->arena, false);
	memset(self->arena->heads, 0, sizeof(self->arena->heads));
	build(self->arena, &self->random, BUCKETS, ELEMENTS);
	compare(_metadata, &self->cdm, self->arena, false);
}

TEST_F(walk, bounded)
{
	struct arena *arena = self->arena;
	struct element *e = arena->elements;

	arena->walk.nr_heads = 1;
	build(arena, &self->random, 1, 100);
	arena->walk.max_steps = 101;
	EXPECT_EQ(0, run(&self->cdm, arena, &self->wait));
	EXPECT_EQ(100, self->wait.result[0]);
	arena->walk.max_steps = 99;
	EXPECT_EQ(-ELOOP, run(&self->cdm, arena, &self->wait));

	/* Children count as steps. */
	arena->walk.child = offsetof(struct element, children);
	arena->walk.max_steps = 101;
	EXPECT_EQ(-ELOOP, run(&self->cdm, arena, &self->wait));
	arena->walk.max_steps = 500;
	EXPECT_EQ(0, run(&self->cdm, arena, &self->wait));

	/* Cycles of elements and of children. */
	arena->heads[0] = e;
	e->next = e;
	EXPECT_EQ(-ELOOP, run(&self->cdm, arena, &self->wait));
	e->next = NULL;
	e->children = arena->children;
	e->children->next = e->children;
	EXPECT_EQ(-ELOOP, run(&self->cdm, arena, &self->wait));
}

/* A cycle without a bound: only closing the file ends the walk. */
TEST_F(walk, circular_and_closed)
{
	struct arena *arena = self->arena;
	__u64 free, job;

	free = cdm_free_pages(&self->cdm);
	arena->walk.nr_heads = 1;
	arena->heads[0] = arena->elements;
	arena->elements[0].next = &arena->elements[900];
	arena->elements[900].next = arena->elements;
	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_WALK,
				CDM_ARGS(CDM_ADDR(&arena->walk)), &job));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 50, NULL));
	cdm_close(&self->cdm);

	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	EXPECT_EQ(free, cdm_free_settles(&self->cdm, free));
	EXPECT_EQ(-ENOENT, cdm_wait(&self->cdm, job, 0, NULL));
	arena->elements[900].next = NULL;
	EXPECT_EQ(0, run(&self->cdm, arena, &self->wait));
	EXPECT_EQ(2, self->wait.result[0]);
}

/* A bad pointer ends the walk, which reports it. */
TEST_F(walk, bad_pointers)
{
	struct arena *arena = self->arena;
	char *nowhere = cdm_map(&self->cdm, self->cdm.page);

	ASSERT_NE(NULL, nowhere);
	ASSERT_EQ(0, munmap(nowhere, self->cdm.page));
	arena->walk.nr_heads = 1;
	build(arena, &self->random, 1, 50);
	arena->elements[0].next = (struct element *)nowhere;
	EXPECT_EQ(-EFAULT, run(&self->cdm, arena, &self->wait));
	EXPECT_LE(CDM_ADDR(nowhere), self->wait.fault_addr);
	EXPECT_GT(CDM_ADDR(nowhere) + sizeof(struct element),
		  self->wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_READ, self->wait.fault_access);
	arena->elements[0].next = NULL;

	arena->walk.heads = CDM_ADDR(nowhere);
	EXPECT_EQ(-EFAULT, run(&self->cdm, arena, &self->wait));
	EXPECT_EQ(CDM_ADDR(nowhere), self->wait.fault_addr);
	arena->walk.heads = CDM_ADDR(arena->heads);

	arena->walk.nr_top = 1;
	arena->walk.top = CDM_ADDR(nowhere);
	EXPECT_EQ(-EFAULT, run(&self->cdm, arena, &self->wait));
	EXPECT_EQ(CDM_ADDR(nowhere), self->wait.fault_addr);
	EXPECT_EQ(HMM_CDM_ACCESS_WRITE, self->wait.fault_access);

	EXPECT_EQ(-EFAULT, cdm_run(&self->cdm, CDM_EMU_WALK,
				   CDM_ARGS(CDM_ADDR(nowhere)), &self->wait));
	EXPECT_LE(CDM_ADDR(nowhere), self->wait.fault_addr);
	EXPECT_GT(CDM_ADDR(nowhere) + sizeof(arena->walk),
		  self->wait.fault_addr);
}

/* Misaligned offsets, and a ranking longer than allowed. */
TEST_F(walk, refused)
{
	struct cdm_emu_walk *walk = &self->arena->walk;
	struct cdm_emu_walk good;
	const size_t words[] = {
		offsetof(struct cdm_emu_walk, heads),
		offsetof(struct cdm_emu_walk, next),
		offsetof(struct cdm_emu_walk, child),
		offsetof(struct cdm_emu_walk, child_next),
		offsetof(struct cdm_emu_walk, count),
		offsetof(struct cdm_emu_walk, top),
	};

	build(self->arena, &self->random, BUCKETS, 10);
	walk->child = offsetof(struct element, children);
	walk->nr_top = CDM_EMU_WALK_TOP;
	good = *walk;
	ASSERT_EQ(0, run(&self->cdm, self->arena, &self->wait));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		TH_LOG("word at %zu", words[i]);
		*(__u64 *)((char *)walk + words[i]) += 4;
		EXPECT_EQ(-EINVAL, run(&self->cdm, self->arena, &self->wait));
		*walk = good;
	}
	walk->nr_top = CDM_EMU_WALK_TOP + 1;
	EXPECT_EQ(-EINVAL, run(&self->cdm, self->arena, &self->wait));
}

TEST_HARNESS_MAIN

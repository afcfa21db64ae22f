// SPDX-License-Identifier: GPL-2.0
/* The demonstration's output. */
#include <stddef.h>
#include <stdio.h>

#include "device.h"
#include "expect.h"
#include "heap.h"
#include "report.h"
#include "words.h"

#define SHOWN_WORDS	10
#define SHOWN_LETTERS	40

static const char * const titles[STAGE_NR] = {
	[STAGE_SYSTEM] = "1 system memory",
	[STAGE_NODE] = "2 on the node",
	[STAGE_SHARED] = "3 CPU writing",
};

static const char * const reasons[HMM_CDM_SKIP_NR] = {
	[HMM_CDM_SKIP_PINNED] = "they are pinned or referenced",
	[HMM_CDM_SKIP_NOT_ANON] = "they are not anonymous memory",
	[HMM_CDM_SKIP_NO_MEMORY] = "the node has no more room",
	[HMM_CDM_SKIP_ABSENT] = "they are swapped out",
	[HMM_CDM_SKIP_RACED] = "they were changed at the same time",
	[HMM_CDM_SKIP_ELSEWHERE] = "they are on another device",
	[HMM_CDM_SKIP_FAILED] = "the device could not copy them",
};

/* A row of the table: how to print the member of struct stage at @offset. */
struct row {
	const char *title;
	void (*print)(char *cell, size_t size, const struct stage *stage, size_t offset);
	size_t offset;
};

#define CELL	24

static __u64 field(const struct stage *stage, size_t offset)
{
	return *(const __u64 *)((const char *)stage + offset);
}

static void print_number(char *cell, size_t size, const struct stage *stage, size_t offset)
{
	snprintf(cell, size, "%llu", field(stage, offset));
}

static void print_frames(char *cell, size_t size, const struct stage *stage, size_t offset)
{
	snprintf(cell, size, "%llu of %llu", field(stage, offset), stage->pages);
}

static void print_ms(char *cell, size_t size, const struct stage *stage, size_t offset)
{
	snprintf(cell, size, "%.1f", field(stage, offset) / 1e6);
}

static const struct row rows[] = {
	{ "words", print_number, offsetof(struct stage, words) },
	{ "distinct words", print_number, offsetof(struct stage, distinct) },
	{ "device faults", print_number, offsetof(struct stage, faults) },
	{ "pages moved", print_number, offsetof(struct stage, moved) },
	{ "bytes copied", print_number, offsetof(struct stage, copied) },
	{ "frames inside CDM range", print_frames, offsetof(struct stage, frames) },
	{ "bytes accessed, node", print_number, offsetof(struct stage, local) },
	{ "bytes accessed, system", print_number, offsetof(struct stage, remote) },
	{ "CPU writes meanwhile", print_number, offsetof(struct stage, writes) },
	{ "ms for moving", print_ms, offsetof(struct stage, move_ns) },
	{ "ms for device's jobs", print_ms, offsetof(struct stage, jobs_ns) },
};

void report_start(const struct demo *demo, const char *path, const struct text *text)
{
	const struct hmm_cdm_info *info = &demo->device->info;

	printf("%s: %zu bytes, %llu words, %llu of them distinct\n", path, text->size,
	       text->words, demo->table->distinct);
	printf("%s: %s, %llu MiB", demo->device->path, info->driver, info->capacity >> 20);
	if (info->numa_node >= 0)
		printf(" on NUMA node %d", info->numa_node);
	if (heap_sees_frames(demo->device))
		printf(" at %#llx-%#llx\n", info->start, info->start + info->capacity - 1);
	else
		printf("\nframes: from the driver; reading their numbers needs CAP_SYS_ADMIN\n");
	if (info->origin[0])
		printf("device tree node: %s\n", info->origin);
	/* The rest may take a while, or fail. */
	fflush(stdout);
}

void report_stages(const struct stage *stages)
{
	char cell[CELL];

	printf("\n%-24s", "");
	for (int i = 0; i < STAGE_NR; i++)
		printf("  %15s", titles[i]);
	printf("\n");

	for (size_t row = 0; row < sizeof(rows) / sizeof(*rows); row++) {
		printf("%-24s", rows[row].title);
		for (int i = 0; i < STAGE_NR; i++) {
			snprintf(cell, sizeof(cell), "-");
			if (stages[i].done)
				rows[row].print(cell, sizeof(cell), &stages[i],
						rows[row].offset);
			printf("  %15s", cell);
		}
		printf("\n");
	}
	for (int i = 0; i < HMM_CDM_SKIP_NR; i++)
		if (stages[STAGE_NODE].skipped[i])
			printf("%llu pages were used where they are: %s\n",
			       stages[STAGE_NODE].skipped[i], reasons[i]);
}

/* The device's ranking, which has been checked. */
void report_ranking(const struct demo *demo)
{
	const struct expect *expect = demo->expect;

	printf("\n");
	for (__u64 i = 0; i < expect->nr_top && i < SHOWN_WORDS; i++) {
		const struct cdm_emu_top *top = &demo->table->question->top[i];
		const struct word *word = (const struct word *)top->element;
		int length = word->length < SHOWN_LETTERS ? word->length : SHOWN_LETTERS;

		printf("%4llu. %8llu  %.*s\n", i + 1, top->count, length, word->letters);
	}
}

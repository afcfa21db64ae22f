// SPDX-License-Identifier: GPL-2.0
/*
 * Where malloc() put the table, moving it, and counting its page frames.
 *
 * No allocator has to cooperate. malloc() gets its memory from the kernel in
 * large pieces: by brk(), which /proc/self/maps shows as [heap]; and by
 * anonymous private mmap() for blocks above a threshold (the bucket array of a
 * long text), or for all when the program break cannot grow. Which of these
 * it took is seen by looking in which mapping the table's parts lie. Those
 * mappings are moved whole, as a program would do that cares for its pages and
 * not for its allocator's habits. What else is in them, such as the buffers of
 * stdio and the text itself, moves along, and works as before: the CPU reaches
 * coherent memory with plain loads and stores.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "die.h"
#include "heap.h"
#include "stage.h"
#include "words.h"

/* How often a page is asked to move that someone else holds for a moment. */
#define ATTEMPTS	4

/* An entry of /proc/self/pagemap; Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_PFN	0x007fffffffffffffULL

struct search {
	struct heap *heap;
	unsigned int last;
};

static void mark(void *context, const void *piece, size_t size)
{
	unsigned long start = (unsigned long)piece, end = start + size;
	struct search *search = context;
	struct heap *heap = search->heap;
	unsigned int i = search->last;

	/* Nearly always in the same mapping as the piece before. */
	if (start < heap->range[i].start || start >= heap->range[i].end) {
		for (i = 0; i < heap->nr; i++)
			if (start >= heap->range[i].start && start < heap->range[i].end)
				break;
	}
	/* A block may go on in a mapping that follows without a gap. */
	search->last = i;
	while (i < heap->nr && start >= heap->range[i].start && start < heap->range[i].end) {
		heap->range[i].used = true;
		if (end <= heap->range[i].end)
			return;
		start = heap->range[i++].end;
	}
	die("malloc() gave memory that is not anonymous: unset GLIBC_TUNABLES, LD_PRELOAD");
}

void heap_find(struct heap *heap, const struct table *table)
{
	/*
	 * Never closed: that would give its buffer back, maybe to the kernel,
	 * and the mappings have to stay as they were found.
	 */
	static FILE *maps;
	static char line[8192];
	struct search search = { .heap = heap };
	unsigned int kept = 0;

	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		die("/proc/self/maps: cannot be read: mount /proc");

	heap->nr = 0;
	while (fgets(line, sizeof(line), maps)) {
		char access[8], name[64] = "";
		unsigned long start, end, inode;

		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu %63s", &start, &end, access,
			   &inode, name) < 4)
			continue;
		if (inode || access[1] != 'w' || access[3] != 'p')
			continue;
		if (name[0] && strcmp(name, "[heap]") && strncmp(name, "[anon:", 6))
			continue;
		if (heap->nr == HEAP_RANGES)
			die("malloc() uses more than %d mappings: use a smaller file",
			    HEAP_RANGES);
		heap->range[heap->nr++] = (struct range) { .start = start, .end = end };
	}
	if (!heap->nr)
		die("bug: there is no anonymous memory in /proc/self/maps");

	table_visit(table, mark, &search);
	for (unsigned int i = 0; i < heap->nr; i++)
		if (heap->range[i].used)
			heap->range[kept++] = heap->range[i];
	heap->nr = kept;
}

void heap_move(struct heap *heap, const struct device *device, struct move *move)
{
	memset(move, 0, sizeof(*move));
	heap->at_node = 0;
	for (unsigned int i = 0; i < heap->nr; i++) {
		const struct range *range = &heap->range[i];
		struct hmm_cdm_migrate migrate;
		int attempt = 0;
		__u64 at_node;

		do {
			device_migrate(device, range->start, range->end, &migrate);
			move->migrated += migrate.migrated;
		} while ((migrate.skipped[HMM_CDM_SKIP_RACED] ||
			  migrate.skipped[HMM_CDM_SKIP_PINNED]) && ++attempt < ATTEMPTS);

		/* The last call saw the whole range once more. */
		at_node = migrate.migrated + migrate.populated + migrate.present;
		heap->at_node += at_node;
		move->accounted += at_node;
		for (int reason = 0; reason < HMM_CDM_SKIP_MAX; reason++) {
			move->skipped[reason] += migrate.skipped[reason];
			move->accounted += migrate.skipped[reason];
		}
		move->pages += (range->end - range->start) / device->info.page_size;
	}
}

/* The kernel tells physical addresses, here and in pagemap, to CAP_SYS_ADMIN. */
bool heap_sees_frames(const struct device *device)
{
	return device->info.start != 0;
}

/* Counts the page frames between the first and the last byte of the node. */
static __u64 frames_of(int pagemap, const struct range *range,
		       const struct hmm_cdm_info *info)
{
	__u64 first = info->start / info->page_size;
	__u64 last = (info->start + info->capacity) / info->page_size - 1;
	unsigned long page = range->start / info->page_size;
	unsigned long end = range->end / info->page_size;
	__u64 entry[512], frames = 0;

	while (page < end) {
		size_t nr = end - page < 512 ? end - page : 512;
		ssize_t got = pread(pagemap, entry, nr * sizeof(*entry),
				    (off_t)page * sizeof(*entry));

		if (got < (ssize_t)sizeof(*entry))
			die("/proc/self/pagemap: cannot be read: mount /proc");
		nr = got / sizeof(*entry);
		for (size_t i = 0; i < nr; i++) {
			__u64 pfn = entry[i] & PAGEMAP_PFN;

			if ((entry[i] & PAGEMAP_PRESENT) && pfn >= first && pfn <= last)
				frames++;
		}
		page += nr;
	}
	return frames;
}

bool heap_count(const struct heap *heap, const struct device *device, struct stage *stage)
{
	__u64 pages = 0, on_node = 0, frames = 0;
	int pagemap = -1;

	if (heap_sees_frames(device)) {
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		if (pagemap < 0)
			die("/proc/self/pagemap: cannot be opened: mount /proc");
	}

	for (unsigned int i = 0; i < heap->nr; i++) {
		const struct range *range = &heap->range[i];
		struct hmm_cdm_query query;

		device_query(device, range->start, range->end, &query);
		on_node += query.where[HMM_CDM_WHERE_NODE];
		pages += query.where[HMM_CDM_WHERE_NODE] +
			 query.where[HMM_CDM_WHERE_SYSTEM] +
			 query.where[HMM_CDM_WHERE_DEVICE];
		if (pagemap >= 0)
			frames += frames_of(pagemap, range, &device->info);
	}

	stage->pages = pages;
	stage->frames = on_node;
	if (pagemap < 0)
		return true;

	close(pagemap);
	stage->frames = frames;
	if (frames == on_node)
		return true;
	return stage_fail(stage, "frames inside the CDM range: expected %llu as of QUERY, got %llu",
			  on_node, frames);
}

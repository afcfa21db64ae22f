// SPDX-License-Identifier: GPL-2.0
/*
 * The mappings that hold the table: finding them, migrating them, counting their page frames.
 *
 * The allocator does not cooperate. malloc() gets memory from the kernel by brk(), which
 * /proc/self/maps shows as [heap], and by anonymous private mmap() for large blocks (the bucket
 * array of a long text) or if the program break cannot grow. The mappings that hold parts of the
 * table are found in /proc/self/maps and migrate whole. Everything else in them, such as the
 * buffers of stdio and the text, migrates along and works as before, as the CPU accesses coherent
 * memory with plain loads and stores.
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

/* Migration is retried this often for pages with a temporary reference. */
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

	/* Usually in the same mapping as the piece before. */
	if (start < heap->range[i].start || start >= heap->range[i].end) {
		for (i = 0; i < heap->nr; i++)
			if (start >= heap->range[i].start && start < heap->range[i].end)
				break;
	}
	/* A block may continue in an adjacent mapping. */
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
	 * Never closed: free() of its buffer might unmap memory, and the mappings must not change
	 * any more.
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

		/* The last call counts the whole range. */
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

/* Physical addresses, here and in pagemap, need CAP_SYS_ADMIN. */
bool heap_sees_frames(const struct device *device)
{
	return device->info.start != 0;
}

/* Counts the page frames inside the node's range. */
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

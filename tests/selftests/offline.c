// SPDX-License-Identifier: GPL-2.0
/*
 * A node's memory belongs to the driver: it is not online, its NUMA node has no
 * memory to allocate from or to bind to, and the kernel uses none of it even
 * when out of memory.
 *
 * The kernel's report of that has a call trace, which is no error in this
 * program alone (lab/vm/klog.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(OFFLINE)

/* NUMA nodes in a mask; powerpc has 256. */
#define NODES			1024
#define WORD_BITS		(8 * sizeof(unsigned long))

/* Bytes touched between two looks at their page frames. */
#define STEP			(8UL << 20)

/* Page frames per read of /proc/kpageflags. */
#define FRAMES			4096

FIXTURE(offline) {
	struct cdm cdm;
};

FIXTURE_VARIANT(offline) {
	unsigned int index;
};

FIXTURE_VARIANT_ADD(offline, first) { 0 };
FIXTURE_VARIANT_ADD(offline, second) { 1 };

FIXTURE_SETUP(offline)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, variant->index));
	ASSERT_EQ(self->cdm.info.capacity, self->cdm.info.free);
}

FIXTURE_TEARDOWN(offline)
{
	cdm_close(&self->cdm);
}

/* Whether a sysfs list such as "0-2,255" has @node; -1 if there is no list. */
static int listed(const char *path, int node)
{
	char list[4096] = "", *word, *save;
	FILE *f = fopen(path, "r");
	int first, last;

	if (!f)
		return -1;
	if (!fgets(list, sizeof(list), f))
		list[0] = '\0';
	fclose(f);
	for (word = strtok_r(list, ",\n", &save); word;
	     word = strtok_r(NULL, ",\n", &save)) {
		int n = sscanf(word, "%d-%d", &first, &last);

		if (n >= 1 && first <= node && node <= (n == 2 ? last : first))
			return 1;
	}
	return 0;
}

/* kB of @field in the node's meminfo; zero if the node is not online. */
static long node_meminfo(int node, const char *field)
{
	char path[64], line[128];
	long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(path, "r");
	if (!f)
		return errno == ENOENT ? 0 : -1;
	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, field);

		if (at)
			kb = atol(at + strlen(field));
	}
	fclose(f);
	return kb;
}

/* Number of the node's frames that the page allocator knows. */
static long online_frames(const struct cdm *cdm)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	__u64 first = cdm->info.start / cdm->page;
	__u64 nr = cdm->info.capacity / cdm->page;
	__u64 flags[FRAMES];
	long online = 0;

	if (fd < 0)
		return -errno;
	for (__u64 i = 0; i < nr; i += FRAMES) {
		/* A read is short past the last frame that the kernel knows. */
		ssize_t n = pread(fd, flags, sizeof(flags),
				  (first + i) * sizeof(*flags));

		if (n < 0) {
			online = -errno;
			break;
		}
		for (__u64 k = 0; k < n / sizeof(*flags); k++)
			online += i + k < nr && flags[k];
	}
	close(fd);
	return online;
}

/* Number of System RAM ranges in /proc/iomem that overlap the node. */
static int ram_inside(const struct cdm *cdm)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long from, to;
	char line[256];
	int count = 0;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		count += sscanf(line, " %llx-%llx", &from, &to) == 2 &&
			 strstr(line, "System RAM") &&
			 from < cdm->info.start + cdm->info.capacity &&
			 to >= cdm->info.start;
	fclose(f);
	return count;
}

static void expect_offline(struct __test_metadata *_metadata,
			   const struct cdm *cdm)
{
	int node = cdm->info.numa_node;

	EXPECT_EQ(0, node_meminfo(node, "MemTotal:"));
	EXPECT_EQ(0, listed("/sys/devices/system/node/has_memory", node));
	EXPECT_EQ(1, listed("/sys/devices/system/node/possible", node));
	EXPECT_EQ(0, ram_inside(cdm));
	EXPECT_EQ(0, online_frames(cdm));
}

TEST_F(offline, has_no_memory)
{
	/* The same checks find node 0's memory. */
	ASSERT_LT(0, node_meminfo(0, "MemTotal:"));
	ASSERT_EQ(1, listed("/sys/devices/system/node/has_memory", 0));
	expect_offline(_metadata, &self->cdm);
}

/* The same while a process uses the node's memory. */
TEST_F(offline, has_none_in_use)
{
	size_t length = 4 * self->cdm.window;
	char *mem = cdm_map(&self->cdm, length);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, length, NODE, NULL));
	ASSERT_EQ(length / self->cdm.page,
		  cdm_on_node(&self->cdm, mem, length));
	expect_offline(_metadata, &self->cdm);
	munmap(mem, length);
	EXPECT_EQ(self->cdm.info.capacity / self->cdm.page,
		  cdm_free_settles(&self->cdm, self->cdm.info.capacity /
				   self->cdm.page));
}

/* No NUMA policy reaches it: there is no memory to bind to. */
TEST_F(offline, cannot_be_bound_to)
{
	unsigned long mask[NODES / WORD_BITS] = {};
	int node = self->cdm.info.numa_node;
	char *mem = cdm_map(&self->cdm, self->cdm.page);
	long ret;

	ASSERT_NE(NULL, mem);
	ASSERT_LE(0, node);
	mask[0] = 1;
	ASSERT_EQ(0, syscall(SYS_mbind, mem, self->cdm.page, MPOL_BIND, mask,
			     (unsigned long)NODES, 0));
	mask[0] = 0;
	mask[node / WORD_BITS] |= 1UL << node % WORD_BITS;
	ret = syscall(SYS_mbind, mem, self->cdm.page, MPOL_BIND, mask,
		      (unsigned long)NODES, 0);
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(EINVAL, errno);
	ret = syscall(SYS_set_mempolicy, MPOL_BIND, mask, (unsigned long)NODES);
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(EINVAL, errno);
	munmap(mem, self->cdm.page);
}

static long vm_event(const char *field)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char name[64];
	long value, found = -1;

	if (!f)
		return -1;
	while (found < 0 && fscanf(f, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, field))
			found = value;
	fclose(f);
	return found;
}

/* Report of the child that takes all memory. */
struct hog {
	size_t touched;		/* bytes */
	size_t seen;		/* pages whose frames were looked at */
	size_t on_node;		/* those on a node */
};

/* Takes memory until the kernel kills this process, which it does first. */
static void take_all(const struct cdm *nodes, struct hog *hog)
{
	size_t length = 4096UL * cdm_meminfo("MemTotal:") / STEP * STEP;
	size_t page = nodes[0].page;
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	static __u64 entries[STEP / 4096];
	char *mem;

	if (fd < 0 || pagemap < 0 || write(fd, "1000", 4) != 4)
		_exit(1);
	mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		_exit(2);
	madvise(mem, length, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < length; at += STEP) {
		for (size_t i = 0; i < STEP; i += page)
			mem[at + i] = 1;
		/* Not cdm_pfns(), which would need more memory. */
		if (pread(pagemap, entries, STEP / page * 8,
			  ((size_t)mem + at) / page * 8) !=
		    (ssize_t)(STEP / page * 8))
			_exit(4);
		for (size_t i = 0; i < STEP / page; i++) {
			__u64 pfn = entries[i] & ((1ULL << 55) - 1);

			hog->seen += pfn != 0;
			for (int k = 0; k < CDM_NODES; k++)
				hog->on_node += cdm_pfn_on_node(&nodes[k], pfn);
		}
		hog->touched = at + STEP;
	}
	_exit(3);
}

FIXTURE(machine) {
	struct cdm nodes[CDM_NODES];
	char *mem[CDM_NODES];		/* on the nodes during the test */
	__u64 *pfns[CDM_NODES];
	struct hog *hog;
};

static size_t mem_length(const struct cdm *cdm)
{
	return 4 * cdm->window;
}

FIXTURE_SETUP(machine)
{
	for (int i = 0; i < CDM_NODES; i++) {
		const struct cdm *cdm = &self->nodes[i];

		ASSERT_EQ(0, cdm_open(&self->nodes[i], i));
		self->mem[i] = cdm_map_on_node(cdm, mem_length(cdm), SEED + i);
		ASSERT_NE(NULL, self->mem[i]);
		self->pfns[i] = calloc(mem_length(cdm) / cdm->page,
				       sizeof(__u64));
		ASSERT_NE(NULL, self->pfns[i]);
		ASSERT_EQ(0, cdm_pfns(self->mem[i], mem_length(cdm),
				      self->pfns[i]));
	}
	self->hog = mmap(NULL, sizeof(*self->hog), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->hog);
}

FIXTURE_TEARDOWN(machine)
{
	for (int i = 0; i < CDM_NODES; i++)
		cdm_close(&self->nodes[i]);
}

/* Memory on the node keeps its frames and its content. */
static void expect_unmoved(struct __test_metadata *_metadata,
			   const struct _test_data_machine *self, int i)
{
	const struct cdm *cdm = &self->nodes[i];
	const size_t pages = mem_length(cdm) / cdm->page;
	__u64 *now = calloc(pages, sizeof(*now));

	ASSERT_NE(NULL, now);
	ASSERT_EQ(0, cdm_pfns(self->mem[i], mem_length(cdm), now));
	EXPECT_EQ(0, memcmp(now, self->pfns[i], pages * sizeof(*now)));
	EXPECT_EQ(-1, cdm_check(self->mem[i], mem_length(cdm), SEED + i));
	free(now);
}

/*
 * When the kernel runs out of memory, the nodes stay as free as they were, and
 * nothing on them is reclaimed.
 */
TEST_F_TIMEOUT(machine, runs_out_of_memory, 100)
{
	long killed = vm_event("oom_kill"), total = cdm_meminfo("MemTotal:");
	long available = cdm_meminfo("MemAvailable:"), touched;
	int status = 0;
	pid_t pid;

	ASSERT_LE(0, killed);
	ASSERT_LT(0, available);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		take_all(self->nodes, self->hog);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	touched = self->hog->touched >> 10;
	TH_LOG("killed after %ld MiB of %ld that were available",
	       touched >> 10, available >> 10);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_EQ(killed + 1, vm_event("oom_kill"));

	/* All of the system's memory was taken, and nothing else. */
	EXPECT_LT(available / 10 * 9, touched);
	EXPECT_GT(total, touched);
	EXPECT_LE(self->hog->touched / self->nodes[0].page, self->hog->seen);
	EXPECT_EQ(0, self->hog->on_node);
	for (int i = 0; i < CDM_NODES; i++) {
		const struct cdm *cdm = &self->nodes[i];
		struct hmm_cdm_info info;

		ASSERT_EQ(0, cdm_info(cdm->fd, &info));
		EXPECT_EQ(info.capacity - mem_length(cdm), info.free);
		expect_offline(_metadata, cdm);
		expect_unmoved(_metadata, self, i);
	}
}

TEST_HARNESS_MAIN

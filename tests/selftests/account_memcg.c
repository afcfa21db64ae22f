// SPDX-License-Identifier: GPL-2.0
/*
 * Memory on the node is charged to its process's memory cgroup, as all memory,
 * wherever its pages move. A limit does not keep pages from coming back.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cdm_calls.h"
#include "cdm_child.h"
#include "cdm_mem.h"
#include "cdm_mm.h"

#define SEED			CDM_SEED(ACCOUNT_MEMCG)
#define PAGES			1024
#define PART			(PAGES / 4)	/* fits on the second node */
/*
 * Stocks of the CPUs are drained before a charge is read. What remains is
 * kernel memory of the process, and pages besides those under test: 20 after a
 * fork, 6 otherwise.
 */
#define NOISE			32
/* Statistics are flushed once each of two CPUs has 64 changes outstanding. */
#define STAT_NOISE		(128 + NOISE)
/* Other anonymous pages that the process touches meanwhile. */
#define RSS_NOISE		8

enum {
	JOIN,		/* join the cgroup .group */
	FILL,		/* in system memory, with this seed */
	MOVE,		/* to this target; answers the pages moved */
	PEER,		/* as MOVE: a part, to the second node */
	FORK,		/* a process that shares the pages */
	END_FORK,
	DEVICE_COW,	/* device writes copy pages onto the node */
	HUGE,		/* map a huge page; answers its pages */
	MOVE_HUGE,	/* as MOVE */
	HOLES,		/* release all pages */
	FREE_HALF,	/* release half of them */
	POPULATE,	/* answers the pages populated */
	TOUCH,		/* by the CPU */
	DEVICE_TOUCH,	/* by the device, on the node */
	CHECK,		/* whether any word differs from this seed's */
	RSS,		/* anonymous pages of the whole process */
	MAPPED,		/* the memory under test only, in kB */
	ON_NODE,	/* pages under test */
	SKIPPED,	/* pages that POPULATE or MOVE skipped for lack of memory */
};

FIXTURE(memcg) {
	struct cdm cdm;
	struct cdm_child child;
	char *mem;
	size_t length;
	size_t page;
	__u64 free;
	__u64 skipped;
	char *huge;		/* in the child */
	pid_t forked;		/* by the child */
	char *group;		/* shared with the child */
	bool mounted;
};

/* Files of cgroup @name; an empty name is the root. */
static int group_write(const char *name, const char *file, const char *text)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s/%s", name, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 :
	      -errno;
	close(fd);
	return err;
}

static int group_limit(const char *name, long pages, size_t page)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", pages * (long)page);
	return group_write(name, "memory.max", text);
}

/* The number after @key in a file; the first one if @key is empty. */
static long group_read(const char *name, const char *file, const char *key)
{
	char path[128], line[128];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s/%s", name, file);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), f)) {
		size_t n = strlen(key);

		if (!n)
			value = atol(line);
		else if (!strncmp(line, key, n) && line[n] == ' ')
			value = atol(line + n + 1);
	}
	fclose(f);
	return value;
}

static int group_make(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s", name);
	return mkdir(path, 0755) ? -errno : 0;
}

static int group_remove(const char *name)
{
	char path[128];
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s", name);
	/* A reaped process may still be listed for a moment. */
	while (rmdir(path)) {
		if (errno != EBUSY || cdm_now_ms() > deadline)
			return -errno;
		cdm_sleep_ms(5);
	}
	return 0;
}

/*
 * Charged pages. Setting a limit below the charge drains the CPUs' stocks; a
 * remote CPU drains its own a moment later.
 */
static long charged(const struct _test_data_memcg *self, const char *name)
{
	for (int i = 0; i < 2; i++) {
		group_write(name, "memory.high", "0");
		cdm_sleep_ms(2);
	}
	group_write(name, "memory.high", "max");
	return group_read(name, "memory.current", "") / (long)self->page;
}

static __s64 move_to_peer(struct _test_data_memcg *self)
{
	struct hmm_cdm_migrate m;
	struct cdm peer;
	int err = cdm_open(&peer, 1);

	if (err)
		return err;
	err = cdm_migrate(&peer, self->mem, PART * self->page, NODE, &m);
	cdm_close(&peer);
	return err ? err : (__s64)m.migrated;
}

static pid_t fork_and_wait(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static __s64 device_writes(struct _test_data_memcg *self, __u32 advice)
{
	int err = cdm_advise(&self->cdm, self->mem, self->length,
			     HMM_CDM_PLACE_NODE, advice);

	return err ? err : cdm_run_fill(&self->cdm, self->mem, self->length, 1,
					NULL);
}

static __s64 answer(void *state, unsigned int what, __u64 value)
{
	struct _test_data_memcg *self = state;
	struct hmm_cdm_populate p;
	struct hmm_cdm_migrate m;
	int err;

	switch (what) {
	case JOIN:
		cdm_close(&self->cdm);
		err = group_write(self->group, "cgroup.procs", "0");
		return err ? err : cdm_open(&self->cdm, 0);
	case FILL:
		cdm_fill(self->mem, self->length, value);
		return 0;
	case MOVE:
		err = cdm_migrate(&self->cdm, self->mem, self->length, value,
				  &m);
		self->skipped = m.skipped[HMM_CDM_SKIP_NO_MEMORY];
		return err ? err : (__s64)m.migrated;
	case HOLES:
		return madvise(self->mem, self->length, MADV_DONTNEED);
	case FREE_HALF:
		return madvise(self->mem, self->length / 2, MADV_DONTNEED);
	case POPULATE:
		err = cdm_populate(&self->cdm, self->mem, self->length, 0, &p);
		self->skipped = p.skipped[HMM_CDM_SKIP_NO_MEMORY];
		return err ? err : (__s64)p.populated;
	case TOUCH:
		for (size_t i = 0; i < PAGES; i++)
			self->mem[i * self->page] = 1;
		return 0;
	case DEVICE_TOUCH:
		return device_writes(self, 0);
	case DEVICE_COW:
		return device_writes(self, HMM_CDM_ADVISE_COW);
	case PEER:
		return move_to_peer(self);
	case FORK:
		self->forked = fork_and_wait();
		return self->forked < 0 ? -errno : 0;
	case END_FORK:
		kill(self->forked, SIGKILL);
		return waitpid(self->forked, NULL, 0) == self->forked ? 0 :
		       -errno;
	case HUGE:
		self->huge = cdm_map_thp(1, value);
		return self->huge ? cdm_thp_size() / self->page : 0;
	case MOVE_HUGE:
		err = cdm_migrate(&self->cdm, self->huge, cdm_thp_size(),
				  value, &m);
		return err ? err : (__s64)m.migrated;
	case ON_NODE:
		return cdm_on_node(&self->cdm, self->mem, self->length);
	case CHECK:
		return cdm_check(self->mem, self->length, value) != -1;
	case RSS:
		return cdm_rss();
	case MAPPED:
		return cdm_smaps(self->mem, "Rss:");
	case SKIPPED:
		return self->skipped;
	}
	return -EINVAL;
}

FIXTURE_SETUP(memcg)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->free = cdm_free_pages(&self->cdm);
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	self->group = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->group);
	/*
	 * With swap, a limit kills nobody; a test that was killed may have left
	 * it on.
	 */
	cdm_swap_off();
	mkdir(CGROUP_ROOT, 0755);
	if (mount("none", CGROUP_ROOT, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2: errno %d", errno);
	self->mounted = true;
	if (group_write("", "cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller");
	ASSERT_EQ(0, group_make("a"));
	ASSERT_EQ(0, cdm_child_start(&self->child, answer, self));
	self->group[0] = 'a';
	ASSERT_EQ(0, cdm_ask(&self->child, JOIN, 0));
}

FIXTURE_TEARDOWN(memcg)
{
	if (self->child.pid > 0)
		cdm_child_kill(&self->child);
	group_remove("a");
	group_remove("b");
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	/* The controller stays enabled: others may use it. */
	if (self->mounted)
		umount(CGROUP_ROOT);
	cdm_close(&self->cdm);
}

static long difference(long a, long b)
{
	return a < b ? b - a : a - b;
}

/* What the kernel reports about the child's memory, in pages. */
struct account {
	long charged;
	long anon;
	long rss;
	long mapped;
};

static struct account account(struct _test_data_memcg *self)
{
	const long page = self->page;

	return (struct account) {
		.charged = charged(self, "a"),
		.anon = group_read("a", "memory.stat", "anon") / page,
		.rss = cdm_ask(&self->child, RSS, 0),
		.mapped = cdm_ask(&self->child, MAPPED, 0) * 1024 / page,
	};
}

/* Nothing has changed by @what, within the noise. */
static void expect_same(struct __test_metadata *_metadata,
			struct _test_data_memcg *self,
			const struct account *before, long others,
			const char *what)
{
	struct account now = account(self);

	EXPECT_GE(NOISE, difference(before->charged + others, now.charged)) {
		TH_LOG("%ld pages, %ld after %s", before->charged, now.charged,
		       what);
	}
	EXPECT_GE(STAT_NOISE, difference(before->anon + others, now.anon));
	EXPECT_GE(RSS_NOISE, difference(before->rss, now.rss));
	EXPECT_EQ(before->mapped, now.mapped);
}

/* Charge, statistics and RSS are those of system memory. */
TEST_F(memcg, charged_everywhere)
{
	const long kb = self->length / 1024;
	long rss, base = charged(self, "a");
	struct account before;

	ASSERT_LE(0, base);
	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	before = account(self);
	rss = before.rss;
	EXPECT_GE(NOISE, difference(base + PAGES, before.charged));
	EXPECT_GE(STAT_NOISE, difference(PAGES, before.anon));
	EXPECT_EQ(PAGES, before.mapped);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE,
					 i % 2 ? SYSTEM : NODE));
		expect_same(_metadata, self, &before, 0, "a move");
	}
	ASSERT_EQ(0, cdm_ask(&self->child, CHECK, SEED));

	/* Released pages are uncharged, from either place. */
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	ASSERT_EQ(0, cdm_ask(&self->child, HOLES, 0));
	EXPECT_GE(NOISE, difference(base, charged(self, "a")));
	EXPECT_EQ(0, cdm_ask(&self->child, MAPPED, 0));
	EXPECT_GE(RSS_NOISE, difference(rss - PAGES,
					cdm_ask(&self->child, RSS, 0)));

	/* Pages populated without a copy are charged as well. */
	ASSERT_EQ(PAGES, cdm_ask(&self->child, POPULATE, 0));
	EXPECT_GE(NOISE, difference(base + PAGES, charged(self, "a")));
	EXPECT_EQ(kb, cdm_ask(&self->child, MAPPED, 0));
	ASSERT_EQ(0, cdm_ask(&self->child, HOLES, 0));
	ASSERT_EQ(0, cdm_ask(&self->child, DEVICE_TOUCH, 0));
	EXPECT_GE(NOISE, difference(base + PAGES, charged(self, "a")));
	EXPECT_EQ(kb, cdm_ask(&self->child, MAPPED, 0));
}

/* Moves between nodes change no account. */
TEST_F(memcg, peer)
{
	struct account before;

	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	before = account(self);
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(PART, cdm_ask(&self->child, PEER, 0));
		ASSERT_EQ(PAGES - PART, cdm_ask(&self->child, ON_NODE, 0));
		expect_same(_metadata, self, &before, 0, "leaving for a peer");
		ASSERT_EQ(PART, cdm_ask(&self->child, MOVE, NODE));
		expect_same(_metadata, self, &before, 0, "coming from a peer");
	}
	ASSERT_EQ(0, cdm_ask(&self->child, CHECK, SEED));
}

/*
 * Copies that device writes make on the node are charged besides the originals.
 */
TEST_F(memcg, copy_on_write)
{
	struct account before;

	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	ASSERT_EQ(0, cdm_ask(&self->child, FORK, 0));
	before = account(self);
	ASSERT_EQ(0, cdm_ask(&self->child, DEVICE_COW, 0));
	ASSERT_EQ(PAGES, cdm_ask(&self->child, ON_NODE, 0));
	expect_same(_metadata, self, &before, PAGES, "copies");
	ASSERT_EQ(0, cdm_ask(&self->child, END_FORK, 0));
	expect_same(_metadata, self, &before, 0, "the end of the other");
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, SYSTEM));
	expect_same(_metadata, self, &before, 0, "their move");
}

/* A huge page is charged whole, and so are the base pages it moves to. */
TEST_F(memcg, huge)
{
	struct account before;
	long pages;

	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	pages = cdm_ask(&self->child, HUGE, SEED + 1);
	if (!pages)
		SKIP(return, "no transparent huge page to be had");
	before = account(self);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(pages, cdm_ask(&self->child, MOVE_HUGE,
					 i % 2 ? SYSTEM : NODE));
		expect_same(_metadata, self, &before, 0, "a huge page's move");
	}
}

/*
 * The process joins another cgroup. Charges stay with the first, which can be
 * removed all the same, and keep following the pages.
 */
TEST_F(memcg, group_removed)
{
	long first, second;

	ASSERT_EQ(0, group_make("b"));
	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	first = charged(self, "a");
	self->group[0] = 'b';
	ASSERT_EQ(0, cdm_ask(&self->child, JOIN, 0));
	EXPECT_GE(NOISE, difference(first, charged(self, "a")));
	second = charged(self, "b");
	EXPECT_GT(NOISE, second);
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, SYSTEM));
	EXPECT_GE(NOISE, difference(first, charged(self, "a")));
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	EXPECT_GE(NOISE, difference(first, charged(self, "a")));
	EXPECT_GE(NOISE, difference(second, charged(self, "b")));

	ASSERT_EQ(0, group_remove("a"));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, cdm_ask(&self->child, CHECK, SEED));
		ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE,
					 i % 2 ? NODE : SYSTEM));
	}
	ASSERT_EQ(0, cdm_ask(&self->child, HOLES, 0));
	EXPECT_GE(NOISE, difference(second, charged(self, "b")));
}

/*
 * The cgroup's limit leaves only what the process needs to answer; pages still
 * come back from the node.
 */
TEST_F(memcg, limit_on_the_way_back)
{
	const long answers = 16;
	long used;

	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	used = charged(self, "a") + answers;
	ASSERT_EQ(0, group_limit("a", used, self->page));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE,
					 i % 2 ? NODE : SYSTEM));
		EXPECT_EQ(0, cdm_ask(&self->child, SKIPPED, 0));
		EXPECT_GE(used, charged(self, "a"));
	}
	EXPECT_EQ(0, cdm_ask(&self->child, CHECK, SEED));
	EXPECT_EQ(0, group_read("a", "memory.events", "oom"));
	EXPECT_EQ(0, group_read("a", "memory.events", "oom_kill"));
}

/*
 * The same with pages evicted by a process outside the limit: their charge
 * stays, and the limit holds.
 */
TEST_F(memcg, evicted_at_the_limit)
{
	size_t capacity = self->cdm.info.capacity, more = self->length;
	char *all = cdm_map(&self->cdm, capacity);
	char *mem = cdm_map(&self->cdm, more);
	struct hmm_cdm_populate p;
	struct account before;
	const long answers = 16;
	__u64 start;
	long used;

	ASSERT_NE(NULL, all);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_ask(&self->child, FILL, SEED));
	ASSERT_EQ(PAGES, cdm_ask(&self->child, MOVE, NODE));
	before = account(self);
	used = charged(self, "a") + answers;
	ASSERT_EQ(0, group_limit("a", used, self->page));
	/*
	 * Pages that fill the node are younger, so the child's are evicted
	 * first.
	 */
	ASSERT_EQ(0, cdm_populate(&self->cdm, all, capacity, 0, &p));
	ASSERT_EQ(0, cdm_free_pages(&self->cdm));
	start = cdm_now_ms();
	ASSERT_EQ(0, cdm_populate(&self->cdm, mem, more,
				  HMM_CDM_POPULATE_EVICT, &p));
	EXPECT_GT(CDM_SETTLE_MS, cdm_now_ms() - start);
	EXPECT_EQ(PAGES, p.populated);
	EXPECT_LE(PAGES, p.evicted);
	EXPECT_EQ(0, cdm_ask(&self->child, ON_NODE, 0));
	EXPECT_EQ(0, cdm_ask(&self->child, CHECK, SEED));
	EXPECT_GE(used, group_read("a", "memory.current", "") /
			(long)self->page);
	expect_same(_metadata, self, &before, 0, "eviction");
	EXPECT_EQ(0, group_read("a", "memory.events", "oom"));
	EXPECT_EQ(0, group_read("a", "memory.events", "oom_kill"));
	munmap(all, capacity);
	munmap(mem, more);
}

/*
 * The limit forbids new pages. Pages of the node are charged like all others,
 * whether the CPU's touch, the device's or POPULATE allocates them. Nothing can
 * be reclaimed, so the kernel kills in this cgroup, and nowhere else; all pages
 * are free afterwards.
 */
static void expect_killed(struct __test_metadata *_metadata,
			  struct _test_data_memcg *self, unsigned int what,
			  __u64 value)
{
	ASSERT_EQ(0, group_limit("a", charged(self, "a") + PAGES / 2,
				 self->page));
	EXPECT_EQ(-EPIPE, cdm_ask(&self->child, what, value));
	EXPECT_EQ(-1, cdm_reap(self->child.pid, CDM_JOB_MS));
	close(self->child.fd);
	self->child.pid = 0;
	EXPECT_EQ(1, group_read("a", "memory.events", "oom_kill"));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	EXPECT_GT(NOISE, charged(self, "a"));
}

TEST_F(memcg, limit_by_populate)
{
	expect_killed(_metadata, self, POPULATE, 0);
}

TEST_F(memcg, limit_by_device)
{
	expect_killed(_metadata, self, DEVICE_TOUCH, 0);
}

/* With half of its memory on the node. */
TEST_F(memcg, limit_by_cpu)
{
	struct cdm_child *child = &self->child;

	ASSERT_EQ(0, cdm_ask(child, FILL, SEED));
	ASSERT_EQ(PAGES, cdm_ask(child, MOVE, NODE));
	ASSERT_EQ(0, cdm_ask(child, FREE_HALF, 0));
	ASSERT_EQ(self->free - PAGES / 2,
		  cdm_free_settles(&self->cdm, self->free - PAGES / 2));
	ASSERT_EQ(0, group_limit("a", charged(self, "a") + PAGES / 4,
				 self->page));
	EXPECT_EQ(-EPIPE, cdm_ask(child, TOUCH, 0));
	EXPECT_EQ(-1, cdm_reap(child->pid, CDM_JOB_MS));
	close(child->fd);
	child->pid = 0;
	EXPECT_EQ(1, group_read("a", "memory.events", "oom_kill"));
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
}

TEST_HARNESS_MAIN

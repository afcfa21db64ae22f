// SPDX-License-Identifier: GPL-2.0
/*
 * The dmem controller: node pages are charged to the cgroup that asked for them
 * until they are freed, and limits hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(DMEM)
#define PAGES			64
#define ROUNDS			100

#define A			CGROUP_ROOT "/a"
#define B			CGROUP_ROOT "/b"
/* Two children of the first. */
#define X			A "/x"
#define Y			A "/y"

#define REGION			"hmm_cdm/hmm_cdm0"

static int write_text(const char *folder, const char *file, const char *text)
{
	char path[128];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static bool has_word(const char *folder, const char *file, const char *word)
{
	char path[128], text[256] = "";
	char *next = text, *seen;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len < 0)
		return false;
	while ((seen = strsep(&next, "\n ")))
		if (!strcmp(seen, word))
			return true;
	return false;
}

/* The number after @key in a cgroup's file; -1 if there is none. */
static long long number(const char *folder, const char *file, const char *key)
{
	char path[128], name[64];
	long long value, found = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fscanf(f, "%63s %lld%*[^\n]", name, &value) == 2)
		if (!strcmp(name, key))
			found = value;
	fclose(f);
	return found;
}

static long long charge_of(const char *folder)
{
	return number(folder, "dmem.current", REGION);
}

/* Removed cgroups that are still referenced. */
static long long dying(void)
{
	return number(CGROUP_ROOT, "cgroup.stat", "nr_dying_subsys_dmem");
}

/* A page may be freed a moment after its last user is gone. */
static long long settles(const char *folder, long long bytes)
{
	__u64 deadline = cdm_now_ms() + CDM_SETTLE_MS;
	long long seen;

	while ((seen = charge_of(folder)) != bytes && cdm_now_ms() < deadline)
		cdm_sleep_ms(5);
	return seen;
}

static int limit(const char *folder, const char *which, long long bytes)
{
	char file[32], text[64];

	snprintf(file, sizeof(file), "dmem.%s", which);
	snprintf(text, sizeof(text), REGION " %lld", bytes);
	return write_text(folder, file, text);
}

/* Moves the calling process into a cgroup. */
static int enter(const char *folder)
{
	return write_text(folder, "cgroup.procs", "0");
}

FIXTURE(dmem) {
	struct cdm cdm;
	struct hmm_cdm_migrate m;
	char *mem;
	size_t page;
	size_t length;
	/* Charge of the whole system before the test. */
	long long before;
	long long dying;
	__u64 free;
};

FIXTURE_SETUP(dmem)
{
	ASSERT_TRUE(!mkdir(CGROUP_ROOT, 0755) || errno == EEXIST);
	if (mount("none", CGROUP_ROOT, "cgroup2", 0, NULL) && errno != EBUSY)
		SKIP(return, "the kernel has no cgroup2");
	if (!has_word(CGROUP_ROOT, "cgroup.controllers", "dmem"))
		SKIP(return, "the kernel has no dmem controller");
	ASSERT_EQ(0, write_text(CGROUP_ROOT, "cgroup.subtree_control", "+dmem"));
	ASSERT_EQ(0, mkdir(A, 0755));
	ASSERT_EQ(0, mkdir(B, 0755));

	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
	self->before = charge_of(CGROUP_ROOT);
	ASSERT_LE(0, self->before);
	self->dying = dying();
	ASSERT_LE(0, self->dying);
	self->free = cdm_free_pages(&self->cdm);
	ASSERT_EQ(0, enter(A));
}

/*
 * The test's process has exited: all of its pages are uncharged, and no others,
 * and no removed cgroup is still referenced.
 */
FIXTURE_TEARDOWN_PARENT(dmem)
{
	__u64 deadline;
	struct cdm cdm;

	rmdir(X);
	rmdir(Y);
	rmdir(A);
	rmdir(B);
	if (self->free) {
		ASSERT_EQ(0, cdm_open(&cdm, 0));
		EXPECT_EQ(self->free, cdm_free_settles(&cdm, self->free));
		EXPECT_EQ(self->before, settles(CGROUP_ROOT, self->before));
		cdm_close(&cdm);
		deadline = cdm_now_ms() + CDM_SETTLE_MS;
		while (dying() != self->dying && cdm_now_ms() < deadline)
			cdm_sleep_ms(20);
		EXPECT_EQ(self->dying, dying());
	}
	umount(CGROUP_ROOT);
	rmdir(CGROUP_ROOT);
}

/* Exactly the node's pages of the range are charged to @group. */
#define expect_charged(group, pages) do {				\
	long long count = (pages);					\
									\
	EXPECT_EQ(count * (long long)self->page,			\
		  settles(group, count * self->page));			\
	EXPECT_EQ(count, (long long)cdm_on_node(&self->cdm, self->mem,	\
						self->length));		\
} while (0)

#define expect_to_node(moved, not)					\
do {									\
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,	\
				 NODE, &self->m));			\
	EXPECT_EQ(moved, self->m.migrated);				\
	EXPECT_EQ(not, self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);	\
} while (0)

TEST_F(dmem, capacity)
{
	EXPECT_EQ((long long)self->cdm.info.capacity, number(CGROUP_ROOT, "dmem.capacity", REGION));
	EXPECT_EQ(0, charge_of(A));
}

/*
 * Pages are charged when they move in, and uncharged when they move out or are
 * unmapped.
 */
TEST_F(dmem, charged_while_on_the_node)
{
	size_t half = self->length / 2;

	expect_to_node(PAGES, 0);
	expect_charged(A, PAGES);
	EXPECT_EQ(0, charge_of(B));
	EXPECT_EQ(self->before + (long long)self->length, charge_of(CGROUP_ROOT));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, SYSTEM, NULL));
	expect_charged(A, PAGES / 2);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	/* A single page of the other half. */
	ASSERT_EQ(0, madvise(self->mem + half, self->page, MADV_DONTNEED));
	expect_charged(A, PAGES / 2 - 1);
	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(0, settles(A, 0));
}

/* Untouched memory that gets node pages without a copy. */
TEST_F(dmem, charged_without_a_copy)
{
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(PAGES, self->m.populated);
	expect_charged(A, PAGES);

	/* What a limit leaves out stays untouched. */
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	EXPECT_EQ(0, settles(A, 0));
	ASSERT_EQ(0, limit(A, "max", 5 * self->page));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				 &self->m));
	EXPECT_EQ(5, self->m.populated);
	EXPECT_EQ(PAGES - 5, self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	expect_charged(A, 5);
	EXPECT_EQ(5, cdm_present(self->mem, self->length));
}

/* Pages that a device fault allocates are charged to the process of the job. */
TEST_F(dmem, device_faults)
{
	__u64 value = 0x0123456789abcdefULL;

	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, cdm_advise(&self->cdm, self->mem, self->length,
				HMM_CDM_PLACE_NODE, 0));
	ASSERT_EQ(0, limit(A, "max", 12 * self->page));
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, self->length, value,
				  NULL));
	/* The job succeeds all the same, on system memory. */
	EXPECT_EQ(-1, cdm_check_value(self->mem, self->length, value));
	expect_charged(A, 12);
	EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
	EXPECT_EQ(self->before + 12 * (long long)self->page, charge_of(CGROUP_ROOT));
}

/* POPULATE is charged, and EVICT takes no pages of other cgroups. */
TEST_F(dmem, populate)
{
	struct hmm_cdm_populate p;

	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	ASSERT_EQ(0, limit(A, "max", 20 * self->page));
	ASSERT_EQ(0, cdm_populate(&self->cdm, self->mem, self->length,
				  HMM_CDM_POPULATE_EVICT, &p));
	EXPECT_EQ(20, p.populated);
	EXPECT_EQ(PAGES - 20, p.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(0, p.evicted);
	expect_charged(A, 20);
	EXPECT_EQ(20, cdm_present(self->mem, self->length));
}

/* A whole window, allocated in one piece, is charged by the page. */
TEST_F(dmem, window)
{
	size_t pages = self->cdm.window / self->page;
	long long window = self->cdm.window;
	char *mem;

	mem = cdm_map(&self->cdm, self->cdm.window);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, self->cdm.window, SEED);
	ASSERT_EQ(0, limit(A, "max", window));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, window, NODE, &self->m));
	EXPECT_EQ(pages, self->m.migrated);
	EXPECT_EQ(window, charge_of(A));
	/* The limit is reached. */
	expect_to_node(0, PAGES);
	/* Freeing one page allows one more. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->page, SYSTEM, NULL));
	EXPECT_EQ(window - (long long)self->page,
		  settles(A, window - self->page));
	expect_to_node(1, PAGES - 1);
	EXPECT_EQ(window, charge_of(A));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				 NULL));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, window, SYSTEM, NULL));
	EXPECT_EQ(0, settles(A, 0));

	/*
	 * The window does not fit as a whole; as many pages as fit are charged.
	 */
	ASSERT_EQ(0, limit(A, "max", window - 1));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, window, NODE, &self->m));
	EXPECT_EQ(pages - 1, self->m.migrated);
	EXPECT_EQ(1, self->m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
	EXPECT_EQ(window - (long long)self->page, charge_of(A));
	EXPECT_EQ(-1, cdm_check(mem, window, SEED));
	munmap(mem, window);
	EXPECT_EQ(0, settles(A, 0));
}

/* A limit is no error: the rest stays where it is. */
TEST_F(dmem, limit)
{
	ASSERT_EQ(0, limit(A, "max", 10 * self->page));
	expect_to_node(10, PAGES - 10);
	expect_charged(A, 10);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&self->m));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	/* Other cgroups are not limited. */
	ASSERT_EQ(0, enter(B));
	expect_to_node(PAGES - 10, 0);
	EXPECT_EQ(10 * (long long)self->page, charge_of(A));
	EXPECT_EQ((PAGES - 10) * (long long)self->page, charge_of(B));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* A parent's limit holds for its children together. */
TEST_F(dmem, limit_of_a_parent)
{
	size_t half = self->length / 2;

	/* A cgroup with controllers for its children has no processes. */
	ASSERT_EQ(0, enter(B));
	ASSERT_EQ(0, write_text(A, "cgroup.subtree_control", "+dmem"));
	ASSERT_EQ(0, mkdir(X, 0755));
	ASSERT_EQ(0, mkdir(Y, 0755));
	ASSERT_EQ(0, limit(A, "max", 40 * self->page));

	ASSERT_EQ(0, enter(X));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, NODE, &self->m));
	EXPECT_EQ(PAGES / 2, self->m.migrated);
	ASSERT_EQ(0, enter(Y));
	expect_to_node(40 - PAGES / 2, PAGES - 40);
	EXPECT_EQ(40 * (long long)self->page, charge_of(A));
	EXPECT_EQ((long long)half, charge_of(X));
	EXPECT_EQ((40 - PAGES / 2) * (long long)self->page, charge_of(Y));
}

/* Lowering the limit evicts pages at once. */
TEST_F(dmem, lowered_limit)
{
	expect_to_node(PAGES, 0);
	ASSERT_EQ(0, limit(A, "max", 16 * self->page));
	expect_charged(A, 16);
	EXPECT_EQ(PAGES, cdm_present(self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	ASSERT_EQ(0, limit(A, "max", 0));
	expect_charged(A, 0);
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* Only pages of that cgroup are evicted, the protected ones last. */
TEST_F(dmem, lowered_limit_and_protection)
{
	size_t half = self->length / 2;
	char *mem;

	mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, self->length, SEED);
	ASSERT_EQ(0, enter(B));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, mem, self->length, NODE, NULL));

	ASSERT_EQ(0, write_text(A, "cgroup.subtree_control", "+dmem"));
	ASSERT_EQ(0, mkdir(X, 0755));
	ASSERT_EQ(0, mkdir(Y, 0755));
	ASSERT_EQ(0, limit(A, "low", self->length));
	ASSERT_EQ(0, limit(X, "low", half));
	/* X's pages are the oldest on the node. */
	ASSERT_EQ(0, enter(X));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, NODE, NULL));
	ASSERT_EQ(0, enter(Y));
	expect_to_node(PAGES / 2, 0);

	ASSERT_EQ(0, limit(A, "max", half + 4 * self->page));
	EXPECT_EQ((long long)half, charge_of(X));
	EXPECT_EQ(4 * (long long)self->page, charge_of(Y));
	ASSERT_EQ(0, limit(A, "max", 3 * self->page));
	EXPECT_EQ(3 * (long long)self->page, charge_of(A));
	EXPECT_EQ(3, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));

	/* No pages of other cgroups. */
	EXPECT_EQ((long long)self->length, charge_of(B));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, mem, self->length));
	munmap(mem, self->length);
	EXPECT_EQ(0, settles(B, 0));
}

/* Charges stay with the cgroup when the process moves. */
TEST_F(dmem, moved_process)
{
	size_t half = self->length / 2;

	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, NODE, NULL));
	ASSERT_EQ(0, enter(B));
	EXPECT_EQ((long long)half, charge_of(A));
	EXPECT_EQ(0, charge_of(B));
	expect_to_node(PAGES / 2, 0);
	EXPECT_EQ((long long)half, charge_of(A));
	EXPECT_EQ((long long)half, charge_of(B));

	/* Each page is uncharged where it was charged. */
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, half, SYSTEM, NULL));
	EXPECT_EQ(0, settles(A, 0));
	EXPECT_EQ((long long)half, charge_of(B));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(0, settles(B, 0));
}

/*
 * A page shared after fork(2) is charged once, until both processes are gone.
 */
TEST_F(dmem, shared_pages)
{
	int go[2];
	pid_t pid;

	expect_to_node(PAGES, 0);
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char byte;

		close(go[1]);
		_exit(enter(B) || read(go[0], &byte, 1) ||
		      cdm_check(self->mem, self->length, SEED) != -1);
	}
	close(go[0]);
	expect_charged(A, PAGES);
	ASSERT_EQ(0, madvise(self->mem, self->length, MADV_DONTNEED));
	EXPECT_EQ((long long)self->length, charge_of(A));
	close(go[1]);
	EXPECT_EQ(0, cdm_reap(pid, CDM_SETTLE_MS));
	EXPECT_EQ(0, settles(A, 0));
	EXPECT_EQ(0, charge_of(B));
}

/* Exit uncharges everything, however the process ends. */
TEST_F(dmem, killed)
{
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm cdm;

		_exit(cdm_open(&cdm, 0) ||
		      cdm_migrate(&cdm, self->mem, self->length, NODE, NULL) ||
		      write(ready[1], "", 1) != 1 || pause());
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	/* Copies made on our write are system memory and not charged. */
	cdm_fill(self->mem, self->length, SEED);
	EXPECT_EQ((long long)self->length, charge_of(A));
	kill(pid, SIGKILL);
	EXPECT_EQ(-1, cdm_reap(pid, CDM_SETTLE_MS));
	EXPECT_EQ(0, settles(A, 0));
}

/*
 * A cgroup can be removed while pages are charged to it; its parent keeps the
 * charge.
 */
TEST_F(dmem, removed_cgroup)
{
	long long charged = self->before + self->length;

	expect_to_node(PAGES, 0);
	ASSERT_EQ(0, enter(B));
	ASSERT_EQ(0, rmdir(A));
	EXPECT_EQ(charged, charge_of(CGROUP_ROOT));
	EXPECT_EQ(PAGES, cdm_on_node(&self->cdm, self->mem, self->length));

	/* A new cgroup of the same name starts at zero. */
	ASSERT_EQ(0, mkdir(A, 0755));
	EXPECT_EQ(0, charge_of(A));
	ASSERT_EQ(0, munmap(self->mem, self->length));
	EXPECT_EQ(self->before, settles(CGROUP_ROOT, self->before));
}

/* More cgroups at once than the table has accounts for at first. */
TEST_F(dmem, many_cgroups)
{
	char folder[64];

	for (int i = 0; i < PAGES; i++) {
		snprintf(folder, sizeof(folder), B "/%d", i);
		if (!i)
			ASSERT_EQ(0, write_text(B, "cgroup.subtree_control",
						"+dmem"));
		ASSERT_EQ(0, mkdir(folder, 0755));
		ASSERT_EQ(0, enter(folder));
		ASSERT_EQ(0, cdm_migrate(&self->cdm,
					 self->mem + i * self->page, self->page,
					 NODE, &self->m));
		ASSERT_EQ(1, self->m.migrated);
	}
	expect_charged(B, PAGES);
	ASSERT_EQ(0, enter(A));
	for (int i = 0; i < PAGES; i++) {
		snprintf(folder, sizeof(folder), B "/%d", i);
		EXPECT_EQ((long long)self->page, charge_of(folder));
		ASSERT_EQ(0, cdm_migrate(&self->cdm,
					 self->mem + i * self->page, self->page,
					 SYSTEM, NULL));
		EXPECT_EQ(0, settles(folder, 0));
		ASSERT_EQ(0, rmdir(folder));
	}
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_F(dmem, hundred_rounds)
{
	ASSERT_EQ(0, limit(A, "max", self->length));
	for (int i = 0; i < ROUNDS; i++) {
		expect_to_node(PAGES, 0);
		ASSERT_EQ((long long)self->length, charge_of(A));
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, NULL));
		ASSERT_EQ(0, settles(A, 0));
	}
	EXPECT_EQ((long long)self->length, number(A, "dmem.peak", REGION));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

FIXTURE(dmem_unload) {
	struct cdm_found found;
};

FIXTURE_SETUP(dmem_unload)
{
	ASSERT_TRUE(!mkdir(CGROUP_ROOT, 0755) || errno == EEXIST);
	if (mount("none", CGROUP_ROOT, "cgroup2", 0, NULL) && errno != EBUSY)
		SKIP(return, "the kernel has no cgroup2");
	if (!has_word(CGROUP_ROOT, "cgroup.controllers", "dmem"))
		SKIP(return, "the kernel has no dmem controller");
	ASSERT_EQ(0, write_text(CGROUP_ROOT, "cgroup.subtree_control", "+dmem"));
	ASSERT_EQ(0, mkdir(A, 0755));
	ASSERT_EQ(0, cdm_remember(&self->found));
}

FIXTURE_TEARDOWN_PARENT(dmem_unload)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
	rmdir(A);
	umount(CGROUP_ROOT);
	rmdir(CGROUP_ROOT);
}

/* Unloading the driver uncharges all pages and removes the region. */
TEST_F(dmem_unload, charged)
{
	struct cdm cdm;
	size_t length;
	char *mem;

	ASSERT_EQ(0, enter(A));
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	length = PAGES * cdm.page;
	mem = cdm_map(&cdm, length);
	ASSERT_NE(NULL, mem);
	cdm_fill(mem, length, SEED);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, length, NODE, NULL));
	EXPECT_EQ((long long)length, charge_of(A));
	ASSERT_EQ(0, limit(A, "max", length));
	cdm_close(&cdm);

	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_EQ(-1, charge_of(A));
	EXPECT_EQ(-1, number(CGROUP_ROOT, "dmem.capacity", REGION));
	EXPECT_EQ(-EINVAL, limit(A, "max", 0));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));

	/* After loading it again neither charge nor limit is left. */
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->found.list[0] ?
				   self->found.list : NULL));
	EXPECT_EQ(0, charge_of(A));
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	EXPECT_EQ((long long)cdm.info.capacity, number(CGROUP_ROOT, "dmem.capacity", REGION));
	ASSERT_EQ(0, limit(A, "max", 2 * length));
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, length, NODE, NULL));
	EXPECT_EQ((long long)length, charge_of(A));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	munmap(mem, length);
	EXPECT_EQ(0, settles(A, 0));
	cdm_close(&cdm);
}

TEST_HARNESS_MAIN

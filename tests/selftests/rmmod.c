// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading: not under open files; of what processes have in the node's
 * memory nothing is lost; and loading again works.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/uio.h>

#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_test.h"

#define SEED			97
#define PAGES			64
#define TIMES			20

/* Unloading moves pages, and the guest may be slow. */
#define UNLOAD_MS		(10000 * CDM_PATIENCE)

FIXTURE(rmmod) {
	struct cdm_found found;
	struct cdm_region regions[CDM_REGIONS_MAX];
	char list[512];
	int nr;
};

FIXTURE_SETUP(rmmod)
{
	self->nr = cdm_regions(self->regions, self->list, sizeof(self->list));
	if (self->nr < CDM_NODES)
		SKIP(return, "CDM_REGIONS does not name %d regions", CDM_NODES);
	ASSERT_EQ(0, cdm_remember(&self->found));
}

/* In the parent, so that it runs with all files of the test closed. */
FIXTURE_TEARDOWN_PARENT(rmmod)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* Memory with the pattern of SEED on the node, and the node's file closed. */
static char *leave_on_node(struct cdm *cdm, unsigned int index, size_t length)
{
	struct hmm_cdm_migrate m;
	char *mem;

	if (cdm_open(cdm, index))
		return NULL;
	mem = cdm_map(cdm, length);
	if (mem) {
		cdm_fill(mem, length, SEED);
		if (cdm_migrate(cdm, mem, length, HMM_CDM_TARGET_NODE, &m) ||
		    m.migrated != length / cdm->page)
			mem = NULL;
	}
	cdm_close(cdm);
	return mem;
}

/* All of it is in system memory, and as it was. */
static void expect_saved(struct __test_metadata *_metadata,
			 const struct cdm *cdm, const char *mem, size_t length)
{
	EXPECT_EQ(0, cdm_on_node(cdm, mem, length));
	EXPECT_EQ(length / cdm->page, cdm_present(mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
}

TEST_F(rmmod, refused_while_open)
{
	struct cdm cdm;

	/* Which of the nodes does not matter. */
	for (int i = 0; i < CDM_NODES; i++) {
		ASSERT_EQ(0, cdm_open(&cdm, i));
		EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_EMU));
		EXPECT_EQ(0, cdm_info(cdm.fd, &cdm.info));
		EXPECT_TRUE(cdm_node_exists(i));
		cdm_close(&cdm);
	}
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_CORE));
	EXPECT_TRUE(cdm_node_exists(0));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_FALSE(cdm_node_exists(1));
	EXPECT_TRUE(cdm_loaded(CDM_CORE));
	EXPECT_EQ(0, cdm_unload(CDM_CORE));
	EXPECT_FALSE(cdm_loaded(CDM_CORE));
}

/* Another process that has the file open counts as well, until it is gone. */
TEST_F(rmmod, refused_while_job_runs)
{
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		static __u64 word;
		struct cdm cdm;
		__u64 job;

		if (cdm_open(&cdm, 0) ||
		    cdm_start_adds(&cdm, &word, CDM_FOREVER, &job) ||
		    !cdm_rises_above(&word, 100))
			_exit(1);
		_exit(write(ready[1], "", 1) != 1 || pause());
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_EMU));
	kill(pid, SIGKILL);
	EXPECT_EQ(-1, cdm_reap(pid, UNLOAD_MS));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
}

/* Pages of both nodes, a huge page, and pages that fork(2) has shared. */
TEST_F(rmmod, pages_are_saved)
{
	size_t page = sysconf(_SC_PAGESIZE), huge = cdm_thp_size();
	char *mem[CDM_NODES], *thp;
	struct cdm cdm[CDM_NODES];
	int go[2];
	pid_t pid;

	for (int i = 0; i < CDM_NODES; i++) {
		mem[i] = leave_on_node(&cdm[i], i, PAGES * page);
		ASSERT_NE(NULL, mem[i]);
		ASSERT_EQ(PAGES, cdm_on_node(&cdm[i], mem[i], PAGES * page));
	}
	thp = cdm_map_thp(1, SEED);
	if (thp) {
		ASSERT_EQ(0, cdm_open(&cdm[0], 0));
		ASSERT_EQ(0, cdm_migrate(&cdm[0], thp, huge,
					 HMM_CDM_TARGET_NODE, NULL));
		cdm_close(&cdm[0]);
		ASSERT_EQ(huge / page, cdm_on_node(&cdm[0], thp, huge));
	}
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char byte;

		_exit(read(go[0], &byte, 1) != 1 ||
		      cdm_on_node(&cdm[0], mem[0], PAGES * page) ||
		      cdm_check(mem[0], PAGES * page, SEED) != -1);
	}
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_FALSE(cdm_node_exists(0));
	EXPECT_FALSE(cdm_node_exists(1));
	for (int i = 0; i < CDM_NODES; i++)
		expect_saved(_metadata, &cdm[i], mem[i], PAGES * page);
	if (thp)
		expect_saved(_metadata, &cdm[0], thp, huge);
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, cdm_reap(pid, UNLOAD_MS));
	/* It is memory to write to, too. */
	cdm_fill(mem[0], PAGES * page, SEED + 1);
	EXPECT_EQ(-1, cdm_check(mem[0], PAGES * page, SEED + 1));
}

/* The same memory goes there again each time that the node is there. */
TEST_F_TIMEOUT(rmmod, twenty_times, 60)
{
	const char *region = self->regions[1].text;
	size_t page = sysconf(_SC_PAGESIZE);
	char *mem = NULL;

	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	for (int i = 0; i < TIMES; i++) {
		struct hmm_cdm_migrate m;
		struct cdm cdm;

		/* The library too, now and then. */
		if (i % 5 == 4) {
			ASSERT_EQ(0, cdm_unload(CDM_CORE));
			ASSERT_EQ(0, cdm_load(CDM_CORE, NULL));
		}
		ASSERT_EQ(0, cdm_load(CDM_EMU, region));
		if (!mem)
			mem = leave_on_node(&cdm, 0, PAGES * page);
		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, cdm_open(&cdm, 0));
		ASSERT_EQ(0, cdm_migrate(&cdm, mem, PAGES * page,
					 HMM_CDM_TARGET_NODE, &m));
		ASSERT_EQ(PAGES, m.migrated + m.present);
		ASSERT_EQ(PAGES, cdm_on_node(&cdm, mem, PAGES * page));
		cdm_close(&cdm);
		ASSERT_EQ(0, cdm_unload(CDM_EMU));
		ASSERT_FALSE(cdm_node_exists(0));
		expect_saved(_metadata, &cdm, mem, PAGES * page);
	}
}

/* Processes end with their pages there, while it is unloaded. */
TEST_F(rmmod, exit_meanwhile)
{
	size_t page = sysconf(_SC_PAGESIZE);
	pid_t pids[4];
	struct cdm cdm;
	int ready[2];
	char byte;

	ASSERT_EQ(0, pipe(ready));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			if (!leave_on_node(&cdm, 0, 16 * PAGES * page) ||
			    write(ready[1], "", 1) != 1)
				_exit(1);
			cdm_sleep_ms(10 * i);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		EXPECT_EQ(0, cdm_reap(pids[i], UNLOAD_MS));
}

/* Memory on the first node, with its second page held by a pipe. */
static char *leave_pinned(struct cdm *cdm, size_t length, int *pipes)
{
	char *mem = leave_on_node(cdm, 0, length);
	struct iovec iov = { mem + cdm->page, cdm->page };

	if (!mem || pipe(pipes) ||
	    vmsplice(pipes[1], &iov, 1, 0) != (ssize_t)cdm->page)
		return NULL;
	return mem;
}

/* Unload in the background, as it has to wait. */
static pid_t start_unload(const int *pipes)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	/* It must not hold the page by its own ends of the pipe. */
	close(pipes[0]);
	close(pipes[1]);
	_exit(cdm_unload(CDM_EMU) != 0);
}

/* Wait until a module says something about @frame. */
static bool frame_is_reported(int log, __u64 frame)
{
	__u64 deadline = cdm_now_ms() + UNLOAD_MS;
	char text[32], line[512];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)frame);
	while (!cdm_log_find(log, text, line, sizeof(line))) {
		if (cdm_now_ms() > deadline)
			return false;
		cdm_sleep_ms(50);
	}
	return true;
}

/* Something holds a page: unloading says so, and ends when it is let go. */
TEST_F(rmmod, pinned)
{
	size_t page = sysconf(_SC_PAGESIZE), length = 8 * page;
	char *copy = malloc(page), *mem;
	int pipes[2], log;
	struct cdm cdm;
	__u64 frame;
	pid_t pid;

	mem = leave_pinned(&cdm, length, pipes);
	ASSERT_NE(NULL, mem);
	frame = cdm_pfn(mem + page);
	log = cdm_log_open();
	ASSERT_LE(0, log);
	pid = start_unload(pipes);
	ASSERT_LE(0, pid);
	EXPECT_TRUE(frame_is_reported(log, frame));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	EXPECT_EQ(frame, cdm_pfn(mem + page));
	ASSERT_EQ((ssize_t)page, read(pipes[0], copy, page));
	EXPECT_EQ(0, cdm_reap(pid, UNLOAD_MS));
	EXPECT_EQ(0, memcmp(copy, mem + page, page));
	expect_saved(_metadata, &cdm, mem, length);
	EXPECT_FALSE(cdm_loaded(CDM_EMU));
	free(copy);
}

/*
 * It is not let go: unloading ends in the end, and the page with its content
 * stays where it is. Once it is free, the memory can be had again.
 */
TEST_F_TIMEOUT(rmmod, pinned_for_ever, 90)
{
	size_t page = sysconf(_SC_PAGESIZE), length = 8 * page;
	char *copy = malloc(page), *mem;
	struct cdm cdm;
	int pipes[2];
	__u64 frame;
	pid_t pid;

	mem = leave_pinned(&cdm, length, pipes);
	ASSERT_NE(NULL, mem);
	frame = cdm_pfn(mem + page);
	pid = start_unload(pipes);
	ASSERT_LE(0, pid);
	EXPECT_EQ(0, cdm_reap(pid, 6 * UNLOAD_MS));
	EXPECT_FALSE(cdm_loaded(CDM_EMU));
	EXPECT_EQ(frame, cdm_pfn(mem + page));
	EXPECT_EQ(1, cdm_on_node(&cdm, mem, length));
	EXPECT_EQ(-1, cdm_check(mem, length, SEED));
	mem[page] ^= 1;
	mem[page] ^= 1;
	/* The library knows of it, and the range is taken. */
	EXPECT_EQ(-EWOULDBLOCK, cdm_unload(CDM_CORE));
	EXPECT_EQ(-EBUSY, cdm_load(CDM_EMU, self->regions[0].text));

	ASSERT_EQ((ssize_t)page, read(pipes[0], copy, page));
	EXPECT_EQ(0, memcmp(copy, mem + page, page));
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->list));
	expect_saved(_metadata, &cdm, mem, length);
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	EXPECT_EQ(cdm.info.capacity, cdm.info.free);
	cdm_close(&cdm);
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
	EXPECT_EQ(0, cdm_unload(CDM_CORE));
	free(copy);
}

/* A page that the hardware reports as damaged is never handed out again. */
TEST_F(rmmod, damaged)
{
	struct hmm_cdm_stats stats;
	struct cdm cdm;
	size_t capacity, wrong = 0;
	char *mem;
	__u64 frame;

	ASSERT_EQ(0, cdm_open(&cdm, 1));
	ASSERT_EQ(0, cdm_stats(&cdm, &stats));
	capacity = cdm.info.capacity;
	mem = cdm_map(&cdm, cdm.window);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, cdm.window,
				 HMM_CDM_TARGET_NODE, NULL));
	frame = cdm_pfn(mem);
	ASSERT_TRUE(cdm_pfn_on_node(&cdm, frame));
	/* EBUSY: the kernel need not do anything about it. */
	if (madvise(mem, cdm.page, MADV_HWPOISON) && errno == EINVAL)
		SKIP(return, "no injection of memory failures");
	/* It stays where it is as long as it is used. */
	EXPECT_EQ(frame, cdm_pfn(mem));
	munmap(mem, cdm.window);
	EXPECT_EQ(stats.node_free - 1,
		  cdm_free_settles(&cdm, stats.node_free - 1));
	mem = cdm_map(&cdm, capacity);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, cdm_migrate(&cdm, mem, capacity, HMM_CDM_TARGET_NODE,
				 NULL));
	EXPECT_EQ(stats.node_free - 1, cdm_on_node(&cdm, mem, capacity));
	for (size_t at = 0; at < capacity; at += cdm.page)
		wrong += cdm_pfn(mem + at) == frame;
	EXPECT_EQ(0, wrong);
	munmap(mem, capacity);
	cdm_close(&cdm);
	/* The page is back once the memory is registered anew. */
	EXPECT_EQ(0, cdm_unload(CDM_EMU));
}

TEST_HARNESS_MAIN

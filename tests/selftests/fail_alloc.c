// SPDX-License-Identifier: GPL-2.0
/*
 * Failing allocations: each call is repeated, each time with the next of its
 * allocations failing, until it makes no more. It returns a documented error or
 * does its work, memory keeps its content, and nothing leaks.
 *
 * Needs a kernel with fault injection (make check KERNEL=debug).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <sys/eventfd.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(FAIL_ALLOC)
#define PAGES			16

/* Upper bound of allocations in one call. */
#define NTH_MAX			20000

#define DEBUGFS			"/sys/kernel/debug"
#define NTH			"/proc/thread-self/fail-nth"
#define KUNIT_GLOB		"/sys/module/kunit/parameters/filter_glob"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/*
 * Makes every kind of allocation fail when counted, without a message. By
 * default only allocations that may not sleep fail.
 */
static int every_allocation(void)
{
	static const struct {
		const char *path;
		const char *text;
	} settings[] = {
		{ DEBUGFS "/failslab/ignore-gfp-wait", "N" },
		{ DEBUGFS "/failslab/verbose", "0" },
		{ DEBUGFS "/fail_page_alloc/ignore-gfp-wait", "N" },
		{ DEBUGFS "/fail_page_alloc/ignore-gfp-highmem", "N" },
		{ DEBUGFS "/fail_page_alloc/min-order", "0" },
		{ DEBUGFS "/fail_page_alloc/verbose", "0" },
	};
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		err = write_text(settings[i].path, settings[i].text);
		if (err)
			return err;
	}
	return 0;
}

/* Makes the @nth allocation from now on fail; zero for none. */
static int arm(int fd, unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(fd, text, len, 0) == len ? 0 : -errno;
}

/* Ends the injection. Returns whether an allocation has failed. */
static bool disarm(int fd)
{
	char text[16] = "";
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	arm(fd, 0);
	return len > 0 && strtoul(text, NULL, 10) == 0;
}

FIXTURE(fail) {
	struct cdm cdm;
	char *mem;
	size_t length;
	__u64 free;
	unsigned int nth;
	unsigned int errors;
	int fd;
};

FIXTURE_SETUP(fail)
{
	self->fd = open(NTH, O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, every_allocation());
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
	self->free = cdm_free_pages(&self->cdm);
	self->nth = 0;
	self->errors = 0;
}

FIXTURE_TEARDOWN(fail)
{
	arm(self->fd, 0);
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
	/* Without any failure the test has tested nothing. */
	EXPECT_LT(1, self->nth);
	TH_LOG("%u allocations failed, %u of the calls", self->nth - 1,
	       self->errors);
}

/*
 * Lets one more allocation succeed than the last time. The call goes between
 * begin() and end(). end() returns whether an allocation failed; if not, @err
 * has to be zero.
 */
#define begin()		arm(self->fd, ++self->nth)
#define end(err)	ended(_metadata, self, err)

static bool ended(struct __test_metadata *_metadata, struct _test_data_fail *self,
		  int err)
{
	bool failed = disarm(self->fd);

	if (err)
		self->errors++;
	EXPECT_TRUE(err == 0 || (failed && err == -ENOMEM))
		TH_LOG("allocation %u: error %d", self->nth, err);
	EXPECT_GT(NTH_MAX, self->nth);
	return failed && self->nth < NTH_MAX;
}

TEST_F(fail, open)
{
	struct hmm_cdm_info info;
	bool more;

	do {
		int fd;

		begin();
		fd = open("/dev/hmm_cdm0", O_RDWR | O_CLOEXEC);
		more = end(fd < 0 ? -errno : 0);
		if (fd >= 0) {
			EXPECT_EQ(0, cdm_info(fd, &info));
			close(fd);
		}
	} while (more);
	/* The other file still works. */
	EXPECT_EQ(0, cdm_run_fill(&self->cdm, self->mem, 8, 1, NULL));
}

/* The pages are where the counts say, with their content. */
static void expect_moved(struct __test_metadata *_metadata,
			 struct _test_data_fail *self,
			 const struct hmm_cdm_migrate *m, int err,
			 size_t on_node)
{
	if (!err)
		EXPECT_EQ(PAGES, cdm_migrate_sum(m));
	EXPECT_GE(PAGES, cdm_migrate_sum(m));
	EXPECT_EQ(on_node, cdm_on_node(&self->cdm, self->mem, self->length));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_F(fail, migrate_to_node)
{
	struct hmm_cdm_migrate m;
	bool more;
	int err;

	do {
		begin();
		err = cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				  &m);
		more = end(err);
		expect_moved(_metadata, self, &m, err, m.migrated);
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, NULL));
	} while (more);
	EXPECT_EQ(PAGES, m.migrated);
}

TEST_F(fail, migrate_to_system)
{
	struct hmm_cdm_migrate m;
	bool more;
	int err;

	do {
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 NODE, &m));
		ASSERT_EQ(PAGES, m.migrated);
		begin();
		err = cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				  &m);
		more = end(err);
		expect_moved(_metadata, self, &m, err, PAGES - m.migrated);
		if (!err)
			EXPECT_EQ(PAGES, m.migrated +
				  m.skipped[HMM_CDM_SKIP_NO_MEMORY]);
		ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length,
					 SYSTEM, NULL));
	} while (more);
	EXPECT_EQ(PAGES, m.migrated);
}

/* Nothing is mapped yet, not even page tables. */
TEST_F(fail, populate)
{
	struct hmm_cdm_migrate m;
	bool more;
	int err;

	do {
		char *mem = cdm_map(&self->cdm, self->length);

		ASSERT_NE(NULL, mem);
		begin();
		err = cdm_migrate(&self->cdm, mem, self->length, NODE, &m);
		more = end(err);
		EXPECT_GE(PAGES, cdm_migrate_sum(&m));
		EXPECT_EQ(m.populated, cdm_on_node(&self->cdm, mem,
						   self->length));
		EXPECT_EQ(-1, cdm_check_value(mem, self->length, 0));
		munmap(mem, self->length);
	} while (more);
	EXPECT_EQ(PAGES, m.populated);
}

TEST_F(fail, huge)
{
	struct hmm_cdm_migrate m;
	char *mem = cdm_map_thp(1, SEED);
	size_t length = cdm_thp_size();
	bool more;

	if (!mem)
		SKIP(self->nth = 2; return, "no huge page");
	do {
		begin();
		more = end(cdm_migrate(&self->cdm, mem, length, NODE, &m));
		EXPECT_EQ(m.migrated, cdm_on_node(&self->cdm, mem, length));
		EXPECT_EQ(-1, cdm_check(mem, length, SEED));
		munmap(mem, length);
		mem = cdm_map_thp(1, SEED);
		if (!mem)
			break;
	} while (more);
	if (mem)
		munmap(mem, length);
}

TEST_F(fail, query)
{
	struct hmm_cdm_page pages[PAGES];
	struct hmm_cdm_query q;
	bool more;

	do {
		begin();
		more = end(cdm_query(&self->cdm, self->mem, self->length,
				     pages, &q));
	} while (more);
	EXPECT_EQ(PAGES, q.where[HMM_CDM_WHERE_SYSTEM]);
}

/* A fresh file each time, so that this is its first job. */
TEST_F(fail, submit)
{
	int event = eventfd(0, EFD_CLOEXEC);
	bool more;

	ASSERT_LE(0, event);
	do {
		struct hmm_cdm_submit s = {
			.size = sizeof(s),
			.flags = HMM_CDM_SUBMIT_EVENTFD,
			.op = CDM_EMU_REDUCE,
			.eventfd = event,
			.args = { CDM_ADDR(self->mem), self->length / 8 },
		};
		struct hmm_cdm_wait wait;
		struct cdm cdm;
		int err;

		ASSERT_EQ(0, cdm_open(&cdm, 0));
		begin();
		err = cdm_ioctl(cdm.fd, HMM_CDM_IOC_SUBMIT, &s);
		more = end(err);
		if (!err) {
			EXPECT_EQ(0, cdm_wait(&cdm, s.job, CDM_JOB_MS, &wait));
			EXPECT_EQ(0, wait.status);
			EXPECT_EQ(cdm_word_sum(SEED, self->length / 8),
				  wait.result[0]);
		}
		/* A refused job has no valid number. */
		EXPECT_EQ(-ENOENT, cdm_wait(&cdm, 1, 0, NULL));
		cdm_close(&cdm);
	} while (more);
	close(event);
}

/* Finds the process's device thread by its name. */
static int open_thread(void)
{
	char name[32], path[300], text[32];
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int fd = -1;

	snprintf(name, sizeof(name), CDM_EMU "/%d\n", getpid());
	while (proc && fd < 0 && (entry = readdir(proc))) {
		ssize_t len;
		int comm;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		comm = open(path, O_RDONLY | O_CLOEXEC);
		if (comm < 0)
			continue;
		len = read(comm, text, sizeof(text) - 1);
		close(comm);
		text[len > 0 ? len : 0] = '\0';
		if (strcmp(text, name))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fail-nth",
			 entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (proc)
		closedir(proc);
	return fd;
}

/* Device faults, on present and on absent memory. */
TEST_F(fail, fault)
{
	struct hmm_cdm_wait wait;
	bool more;
	int self_fd = self->fd;

	/* Starts the thread that works for this process only. */
	ASSERT_EQ(0, cdm_run_fill(&self->cdm, self->mem, 8, cdm_word(SEED, 0),
				  NULL));
	self->fd = open_thread();
	ASSERT_LE(0, self->fd);
	do {
		char *mem = cdm_map(&self->cdm, self->length);
		int status;

		ASSERT_NE(NULL, mem);
		begin();
		status = cdm_run_copy(&self->cdm, mem, self->mem, self->length,
				      &wait);
		more = end(status);
		if (!status)
			EXPECT_EQ(-1, cdm_check(mem, self->length, SEED));
		EXPECT_EQ(0, wait.fault_addr);
		munmap(mem, self->length);
		EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
	} while (more);
	close(self->fd);
	self->fd = self_fd;
}

/*
 * From some allocation on all of them fail, so that fallbacks fail as well. The
 * kernel counts bytes for this, and pages.
 */
FIXTURE(fail_all) {
	struct cdm cdm;
	char *mem;
	size_t length;
	__u64 free;
};

static int set(const char *name, long value)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc" };
	char path[128], text[32];
	int err;

	snprintf(text, sizeof(text), "%ld", value);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s/%s", kinds[i], name);
		err = write_text(path, text);
		if (err)
			return err;
	}
	return 0;
}

FIXTURE_SETUP(fail_all)
{
	if (access(NTH, W_OK))
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, every_allocation());
	ASSERT_EQ(0, set("task-filter", 1));
	ASSERT_EQ(0, set("interval", 1));
	ASSERT_EQ(0, set("times", -1));
	ASSERT_EQ(0, set("probability", 100));
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
	self->free = cdm_free_pages(&self->cdm);
}

FIXTURE_TEARDOWN(fail_all)
{
	EXPECT_EQ(0, set("probability", 0));
	munmap(self->mem, self->length);
	EXPECT_EQ(self->free, cdm_free_settles(&self->cdm, self->free));
	cdm_close(&self->cdm);
}

enum call { OPEN, TO_NODE, TO_SYSTEM, QUERY, SUBMIT, CALLS };

static int call(const struct _test_data_fail_all *self, enum call what)
{
	const __u64 args[HMM_CDM_JOB_ARGS] = { CDM_ADDR(self->mem), 8 };
	__u64 job;
	int fd;

	switch (what) {
	case OPEN:
		fd = open("/dev/hmm_cdm0", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		close(fd);
		return 0;
	case TO_NODE:
		return cdm_migrate(&self->cdm, self->mem, self->length, NODE,
				   NULL);
	case TO_SYSTEM:
		return cdm_migrate(&self->cdm, self->mem, self->length, SYSTEM,
				   NULL);
	case QUERY:
		return cdm_query(&self->cdm, self->mem, self->length, NULL,
				 NULL);
	default:
		return cdm_submit(&self->cdm, CDM_EMU_REDUCE, args, &job);
	}
}

TEST_F(fail_all, calls)
{
	int fd = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	for (int what = OPEN; what < CALLS; what++) {
		unsigned int errors = 0;

		/* From no memory at all to more than any call needs. */
		for (long space = 0; space < 1 << 18;
		     space += 32 + space / 8) {
			int err;

			ASSERT_EQ(0, set("space", space));
			ASSERT_EQ(1, write(fd, "1", 1));
			err = call(self, what);
			ASSERT_EQ(1, write(fd, "0", 1));
			if (err)
				errors++;
			EXPECT_TRUE(err == 0 || err == -ENOMEM)
				TH_LOG("call %d, %ld bytes: error %d", what,
				       space, err);
			EXPECT_EQ(-1, cdm_check(self->mem, self->length,
						SEED));
		}
		EXPECT_LT(0, errors);
		EXPECT_EQ(0, call(self, what));
		TH_LOG("call %d: %u errors", what, errors);
	}
	close(fd);
}

FIXTURE(fail_load) {
	struct cdm_found found;
	struct cdm_region regions[CDM_REGIONS_MAX];
	char list[512];
	int fd;
};

/*
 * Selects the KUnit suites that run when a module is loaded. They run in the
 * loading process, so their allocations would fail, too.
 */
static int kunit_suites(const char *glob)
{
	return access(KUNIT_GLOB, W_OK) ? 0 : write_text(KUNIT_GLOB, glob);
}

FIXTURE_SETUP(fail_load)
{
	self->fd = open(NTH, O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no fault injection in this kernel");
	if (cdm_regions(self->regions, self->list, sizeof(self->list)) < 1)
		SKIP(return, "CDM_REGIONS is not set");
	ASSERT_EQ(0, every_allocation());
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, kunit_suites("none"));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
}

FIXTURE_TEARDOWN_PARENT(fail_load)
{
	EXPECT_EQ(0, kunit_suites("*"));
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/*
 * Loading makes thousands of allocations, mostly the kernel's own: the first
 * are tried one by one, later ones in growing steps.
 */
static unsigned int after(unsigned int nth)
{
	return nth + 1 + nth / 16;
}

static void load_failing(struct __test_metadata *_metadata, int fd,
			 const char *module, const char *params)
{
	unsigned int nth = 1, failures = 0;
	bool more;

	do {
		int err;

		arm(fd, nth);
		err = cdm_insert(module, params);
		more = disarm(fd);
		if (err)
			failures++;
		EXPECT_TRUE(err == 0 || (err == -ENOMEM && more))
			TH_LOG("allocation %u: error %d", nth, err);
		EXPECT_EQ(!err, cdm_loaded(module));
		if (!err)
			ASSERT_EQ(0, cdm_unload(module));
		nth = after(nth);
	} while (more && nth < 10 * NTH_MAX);
	EXPECT_LT(0, failures);
	EXPECT_FALSE(more);
	TH_LOG("%s: %u loads failed, the last allocation tried was %u", module,
	       failures, nth);
}

TEST_F_TIMEOUT(fail_load, core, 100)
{
	ASSERT_EQ(0, cdm_unload(CDM_CORE));
	load_failing(_metadata, self->fd, CDM_CORE, "");
}

/*
 * The smallest region only, which is a single section of the memory map. With
 * more sections, __add_pages() leaves those before the failure behind (7.3.4),
 * and the region is refused with EEXIST until the next boot.
 */
TEST_F_TIMEOUT(fail_load, region, 100)
{
	const struct cdm_region *region = &self->regions[0];
	char params[128];

	for (int i = 1; i < CDM_NODES; i++)
		if (self->regions[i].size < region->size)
			region = &self->regions[i];
	snprintf(params, sizeof(params), "region=%s", region->text);
	load_failing(_metadata, self->fd, CDM_EMU, params);
	EXPECT_FALSE(cdm_iomem_has(region->start, region->size, CDM_CORE));
	/* Failed loads have left nothing in the way. */
	ASSERT_EQ(0, cdm_load(CDM_EMU, self->list));
	EXPECT_TRUE(cdm_node_exists(CDM_NODES - 1));
}

/* A driver in C whose device copies: what it is asked for is never left out. */
TEST_F_TIMEOUT(fail_load, c_driver, 100)
{
	load_failing(_metadata, self->fd, "cdm_private", "size=0x2000000");
}

TEST_HARNESS_MAIN

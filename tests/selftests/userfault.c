// SPDX-License-Identifier: GPL-2.0
/*
 * Memory under userfaultfd(2): the handler answers the device's faults as the
 * CPU's, and nothing is populated without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest_harness.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(USERFAULT)
#define PAGES			8

FIXTURE(userfault) {
	struct cdm cdm;
	char *mem;
	char *content;	/* source of the pages that the handler supplies */
	size_t length;
	size_t page;
	int fd;
};

FIXTURE_SETUP(userfault)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (self->fd < 0)
		SKIP(return, "no userfaultfd: errno %d", errno);
	self->page = self->cdm.page;
	self->length = PAGES * self->page;
	self->mem = cdm_map(&self->cdm, self->length);
	self->content = malloc(self->length);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->content);
	cdm_fill(self->content, self->length, SEED);
	range.range.start = CDM_ADDR(self->mem);
	range.range.len = self->length;
	ASSERT_EQ(0, ioctl(self->fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(self->fd, UFFDIO_REGISTER, &range));
}

FIXTURE_TEARDOWN(userfault)
{
	cdm_close(&self->cdm);
	close(self->fd);
}

/* The address of the next fault, or zero if none comes in time. */
static __u64 next_fault(int fd)
{
	struct pollfd event = { fd, POLLIN, 0 };
	struct uffd_msg msg;

	if (poll(&event, 1, CDM_SETTLE_MS) != 1 ||
	    read(fd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return 0;
	return msg.arg.pagefault.address;
}

/* Supplies the page at @offset. */
static int answer(int fd, const char *mem, const char *content, size_t offset,
		  size_t page)
{
	struct uffdio_copy copy = {
		.dst = CDM_ADDR(mem) + offset,
		.src = CDM_ADDR(content) + offset,
		.len = page,
	};

	return ioctl(fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

/* Each device fault waits for the handler, and uses its page. */
TEST_F(userfault, device_faults)
{
	struct hmm_cdm_wait wait;
	int answered = 0;
	__u64 job;

	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				CDM_ARGS(CDM_ADDR(self->mem),
					 self->length / 8), &job));
	while (answered < PAGES) {
		__u64 addr = next_fault(self->fd);
		size_t offset = (addr - CDM_ADDR(self->mem)) / self->page *
				self->page;

		ASSERT_LE(CDM_ADDR(self->mem), addr);
		ASSERT_GT(self->length, offset);
		EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 0, NULL));
		ASSERT_EQ(0, answer(self->fd, self->mem, self->content, offset,
				    self->page));
		answered++;
	}
	ASSERT_EQ(0, cdm_wait(&self->cdm, job, CDM_JOB_MS, &wait));
	EXPECT_EQ(0, wait.status);
	EXPECT_EQ(cdm_word_sum(SEED, self->length / 8), wait.result[0]);
}

/* close() does not wait for a fault that nobody answers. */
TEST_F(userfault, closed_meanwhile)
{
	__u64 started, job;

	ASSERT_EQ(0, cdm_submit(&self->cdm, CDM_EMU_REDUCE,
				CDM_ARGS(CDM_ADDR(self->mem),
					 self->length / 8), &job));
	ASSERT_NE(0, next_fault(self->fd));
	EXPECT_EQ(-ETIMEDOUT, cdm_wait(&self->cdm, job, 20, NULL));
	started = cdm_now_ms();
	cdm_close(&self->cdm);
	EXPECT_GT(started + CDM_SETTLE_MS, cdm_now_ms());
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
}

/* A job that waits for the handler does not delay others' jobs. */
TEST_F(userfault, others_go_on)
{
	struct hmm_cdm_wait wait;
	struct cdm other;
	__u64 word = 0, jobs[4];

	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, cdm_start_adds(&self->cdm,
					    (__u64 *)(self->mem +
						      i * self->page),
					    1, &jobs[i]));
	ASSERT_NE(0, next_fault(self->fd));
	ASSERT_EQ(0, cdm_open(&other, 0));
	EXPECT_EQ(0, cdm_run_adds(&other, &word, 1, 10, NULL));
	EXPECT_EQ(10, word);
	cdm_close(&other);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, answer(self->fd, self->mem, self->content,
				    i * self->page, self->page));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		ASSERT_EQ(0, cdm_wait(&self->cdm, jobs[i], CDM_JOB_MS, &wait));
		EXPECT_EQ(0, wait.status);
		EXPECT_EQ(((__u64 *)(self->content + i * self->page))[0],
			  wait.result[0]);
	}
}

/* Migration leaves holes to the handler, and counts them as skipped. */
TEST_F(userfault, migrate_leaves_holes)
{
	struct hmm_cdm_migrate m;

	ASSERT_EQ(0, answer(self->fd, self->mem, self->content, self->page,
			    self->page));
	ASSERT_EQ(0, cdm_migrate(&self->cdm, self->mem, self->length, NODE, &m));
	EXPECT_EQ(1, m.migrated);
	EXPECT_EQ(0, m.populated);
	EXPECT_EQ(PAGES, cdm_migrate_sum(&m));
	EXPECT_EQ(1, cdm_present(self->mem, self->length));
	EXPECT_EQ(1, cdm_on_node(&self->cdm, self->mem, self->length));
	for (int i = 0; i < PAGES; i++)
		if (i != 1)
			ASSERT_EQ(0, answer(self->fd, self->mem, self->content,
					    i * self->page, self->page));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Every call with every argument that is invalid by itself. caller.c tests
 * callers that are not allowed.
 *
 * 32-bit callers are not covered: there is no 32-bit libc to build one with.
 */
#include <assert.h>
#include <errno.h>
#include <kselftest_harness.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "cdm_calls.h"
#include "cdm_mem.h"

#define SEED			CDM_SEED(UAPI)

/*
 * The ABI: sizes of structures and offsets of fields never change, and are the
 * same on all architectures.
 */
#define AT(type, field, offset) \
	static_assert(offsetof(struct type, field) == (offset), #type)
#define SIZE(type, size) \
	static_assert(sizeof(struct type) == (size), #type)

AT(hmm_cdm_info, size, 0);
AT(hmm_cdm_info, flags, 4);
AT(hmm_cdm_info, version, 8);
AT(hmm_cdm_info, index, 12);
AT(hmm_cdm_info, numa_node, 16);
AT(hmm_cdm_info, page_size, 20);
AT(hmm_cdm_info, window_size, 24);
AT(hmm_cdm_info, reserved, 28);
AT(hmm_cdm_info, capacity, 32);
AT(hmm_cdm_info, free, 40);
AT(hmm_cdm_info, start, 48);
AT(hmm_cdm_info, driver, 56);
AT(hmm_cdm_info, origin, 88);
SIZE(hmm_cdm_info, 216);

AT(hmm_cdm_migrate, size, 0);
AT(hmm_cdm_migrate, flags, 4);
AT(hmm_cdm_migrate, addr, 8);
AT(hmm_cdm_migrate, length, 16);
AT(hmm_cdm_migrate, target, 24);
AT(hmm_cdm_migrate, reserved, 28);
AT(hmm_cdm_migrate, migrated, 32);
AT(hmm_cdm_migrate, populated, 40);
AT(hmm_cdm_migrate, present, 48);
AT(hmm_cdm_migrate, huge, 56);
AT(hmm_cdm_migrate, skipped, 64);
AT(hmm_cdm_migrate, peers, 128);
AT(hmm_cdm_migrate, evicted, 136);
SIZE(hmm_cdm_migrate, 144);

AT(hmm_cdm_populate, size, 0);
AT(hmm_cdm_populate, flags, 4);
AT(hmm_cdm_populate, addr, 8);
AT(hmm_cdm_populate, length, 16);
AT(hmm_cdm_populate, populated, 24);
AT(hmm_cdm_populate, present, 32);
AT(hmm_cdm_populate, stayed, 40);
AT(hmm_cdm_populate, migrated, 48);
AT(hmm_cdm_populate, contiguous, 56);
AT(hmm_cdm_populate, evicted, 64);
AT(hmm_cdm_populate, skipped, 72);
SIZE(hmm_cdm_populate, 136);

AT(hmm_cdm_advise, size, 0);
AT(hmm_cdm_advise, flags, 4);
AT(hmm_cdm_advise, addr, 8);
AT(hmm_cdm_advise, length, 16);
AT(hmm_cdm_advise, place, 24);
AT(hmm_cdm_advise, reserved, 28);
SIZE(hmm_cdm_advise, 32);

AT(hmm_cdm_page, where, 0);
AT(hmm_cdm_page, order, 1);
AT(hmm_cdm_page, cpu, 2);
AT(hmm_cdm_page, device, 3);
AT(hmm_cdm_page, accesses, 4);
AT(hmm_cdm_page, flags, 6);
SIZE(hmm_cdm_page, 8);

AT(hmm_cdm_query, size, 0);
AT(hmm_cdm_query, flags, 4);
AT(hmm_cdm_query, addr, 8);
AT(hmm_cdm_query, length, 16);
AT(hmm_cdm_query, pages, 24);
AT(hmm_cdm_query, where, 32);
SIZE(hmm_cdm_query, 96);

AT(hmm_cdm_submit, size, 0);
AT(hmm_cdm_submit, flags, 4);
AT(hmm_cdm_submit, op, 8);
AT(hmm_cdm_submit, eventfd, 12);
AT(hmm_cdm_submit, args, 16);
AT(hmm_cdm_submit, job, 80);
SIZE(hmm_cdm_submit, 88);

AT(hmm_cdm_wait, size, 0);
AT(hmm_cdm_wait, flags, 4);
AT(hmm_cdm_wait, job, 8);
AT(hmm_cdm_wait, timeout_ns, 16);
AT(hmm_cdm_wait, status, 24);
AT(hmm_cdm_wait, fault_access, 28);
AT(hmm_cdm_wait, fault_addr, 32);
AT(hmm_cdm_wait, result, 40);
AT(hmm_cdm_wait, faults, 72);
AT(hmm_cdm_wait, bytes_local, 80);
AT(hmm_cdm_wait, bytes_remote, 88);
SIZE(hmm_cdm_wait, 96);

AT(hmm_cdm_stats, size, 0);
AT(hmm_cdm_stats, flags, 4);
AT(hmm_cdm_stats, faults, 8);
AT(hmm_cdm_stats, fault_pages, 16);
AT(hmm_cdm_stats, fault_retries, 24);
AT(hmm_cdm_stats, invalidations, 32);
AT(hmm_cdm_stats, invalidated_pages, 40);
AT(hmm_cdm_stats, migrated_in, 48);
AT(hmm_cdm_stats, migrated_out, 56);
AT(hmm_cdm_stats, bytes_copied, 64);
AT(hmm_cdm_stats, populated, 72);
AT(hmm_cdm_stats, huge, 80);
AT(hmm_cdm_stats, skipped, 88);
AT(hmm_cdm_stats, jobs, 152);
AT(hmm_cdm_stats, node_pages, 160);
AT(hmm_cdm_stats, node_free, 168);
AT(hmm_cdm_stats, node_contiguous, 176);
AT(hmm_cdm_stats, peers, 184);
AT(hmm_cdm_stats, touched, 192);
AT(hmm_cdm_stats, evicted, 200);
AT(hmm_cdm_stats, node_evicted, 208);
SIZE(hmm_cdm_stats, 216);

AT(cdm_emu_walk, heads, 0);
AT(cdm_emu_walk, nr_heads, 8);
AT(cdm_emu_walk, next, 16);
AT(cdm_emu_walk, child, 24);
AT(cdm_emu_walk, child_next, 32);
AT(cdm_emu_walk, count, 40);
AT(cdm_emu_walk, top, 48);
AT(cdm_emu_walk, nr_top, 56);
AT(cdm_emu_walk, max_steps, 64);
SIZE(cdm_emu_walk, 72);

AT(cdm_emu_top, count, 0);
AT(cdm_emu_top, element, 8);
SIZE(cdm_emu_top, 16);

/* _IO() differs between architectures. */
static_assert(_IOC(_IOC_NONE, 0xcd, 0, 0) == HMM_CDM_IOC_INFO, "INFO");
static_assert(_IOC(_IOC_NONE, 0xcd, 5, 0) == HMM_CDM_IOC_STATS, "STATS");
static_assert(_IOC(_IOC_NONE, 0xcd, 7, 0) == HMM_CDM_IOC_ADVISE, "ADVISE");

/* All structures start like this. */
struct head {
	__u32 size;
	__u32 flags;
};

union argument {
	struct head head;
	struct hmm_cdm_info info;
	struct hmm_cdm_migrate migrate;
	struct hmm_cdm_query query;
	struct hmm_cdm_submit submit;
	struct hmm_cdm_wait wait;
	struct hmm_cdm_stats stats;
	struct hmm_cdm_populate populate;
	struct hmm_cdm_advise advise;
};

/* Fills the area behind the argument, to see whether it is written to. */
#define CANARY			0x5a

FIXTURE(call) {
	struct cdm cdm;
	char *mem;	/* a page to work on */
	char *end;	/* end of two pages for arguments; unmapped behind */
	size_t page;
	size_t size;
	size_t first;	/* size that the oldest program passes */
	union argument good;
};

FIXTURE_VARIANT(call) {
	unsigned int command;
	size_t size;
	int err;	/* result of a valid call */
	size_t first;	/* size in the first version; 0 if unchanged */
};

#define FIRST_INFO		offsetof(struct hmm_cdm_info, origin)
#define FIRST_MIGRATE		offsetof(struct hmm_cdm_migrate, peers)
#define FIRST_STATS		offsetof(struct hmm_cdm_stats, peers)

FIXTURE_VARIANT_ADD(call, info) {
	HMM_CDM_IOC_INFO, sizeof(struct hmm_cdm_info), 0, FIRST_INFO
};

FIXTURE_VARIANT_ADD(call, migrate) {
	HMM_CDM_IOC_MIGRATE, sizeof(struct hmm_cdm_migrate), 0, FIRST_MIGRATE
};

FIXTURE_VARIANT_ADD(call, query) {
	HMM_CDM_IOC_QUERY, sizeof(struct hmm_cdm_query), 0, 0
};

FIXTURE_VARIANT_ADD(call, submit) {
	HMM_CDM_IOC_SUBMIT, sizeof(struct hmm_cdm_submit), 0, 0
};

/* No such job, since a job could be waited for only once. */
FIXTURE_VARIANT_ADD(call, wait) {
	HMM_CDM_IOC_WAIT, sizeof(struct hmm_cdm_wait), -ENOENT, 0
};

FIXTURE_VARIANT_ADD(call, stats) {
	HMM_CDM_IOC_STATS, sizeof(struct hmm_cdm_stats), 0, FIRST_STATS
};

FIXTURE_VARIANT_ADD(call, populate) {
	HMM_CDM_IOC_POPULATE, sizeof(struct hmm_cdm_populate), 0, 0
};

FIXTURE_VARIANT_ADD(call, advise) {
	HMM_CDM_IOC_ADVISE, sizeof(struct hmm_cdm_advise), 0, 0
};

FIXTURE_SETUP(call)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->page);
	ASSERT_NE(NULL, self->mem);
	self->end = cdm_map(&self->cdm, 3 * self->page);
	ASSERT_NE(NULL, self->end);
	self->end += 2 * self->page;
	ASSERT_EQ(0, munmap(self->end, self->page));

	self->size = variant->size;
	self->first = variant->first ? variant->first : variant->size;
	self->good.head.size = variant->size;
	switch (variant->command) {
	case HMM_CDM_IOC_MIGRATE:
		self->good.migrate.addr = CDM_ADDR(self->mem);
		self->good.migrate.length = self->page;
		break;
	case HMM_CDM_IOC_POPULATE:
		self->good.populate.addr = CDM_ADDR(self->mem);
		self->good.populate.length = self->page;
		break;
	case HMM_CDM_IOC_ADVISE:
		self->good.advise.addr = CDM_ADDR(self->mem);
		self->good.advise.length = self->page;
		self->good.advise.place = HMM_CDM_PLACE_NODE;
		break;
	case HMM_CDM_IOC_QUERY:
		self->good.query.addr = CDM_ADDR(self->mem);
		self->good.query.length = self->page;
		break;
	case HMM_CDM_IOC_SUBMIT:
		self->good.submit.op = CDM_EMU_FETCH_ADD;
		self->good.submit.args[0] = CDM_ADDR(self->mem);
		self->good.submit.args[1] = 1;
		self->good.submit.args[2] = 1;
		break;
	case HMM_CDM_IOC_WAIT:
		self->good.wait.job = ~0ULL;
		break;
	}
}

FIXTURE_TEARDOWN(call)
{
	/* The file is still usable after the error. */
	EXPECT_EQ(variant->err, cdm_ioctl(self->cdm.fd, variant->command,
					  &self->good));
	cdm_close(&self->cdm);
}

/* Places @good so that it ends where memory ends, with size @says. */
static union argument *at_the_end(char *end, const union argument *good,
				  size_t size, size_t says)
{
	union argument *arg = (union argument *)(end - size);

	memset(arg, 0, size);
	memcpy(arg, good, size < sizeof(*good) ? size : sizeof(*good));
	memcpy(arg, &(struct head) { says, good->head.flags },
	       size < sizeof(struct head) ? size : sizeof(struct head));
	return arg;
}

TEST_F(call, exact_size)
{
	char *guard = self->end - self->size - 64;
	union argument *arg;

	memset(guard, CANARY, 64);
	arg = at_the_end(self->end, &self->good, self->size, self->size);
	EXPECT_EQ(variant->err, cdm_ioctl(self->cdm.fd, variant->command,
					  arg));
	EXPECT_EQ(self->size, arg->head.size);
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(CANARY, guard[i]);
}

/*
 * Older programs, from the oldest on, are served as far as they know the
 * structure, and nothing is written behind it.
 */
TEST_F(call, older)
{
	for (size_t size = self->first; size <= self->size; size += 8) {
		union argument *arg = at_the_end(self->end, &self->good, size,
						 size);

		EXPECT_EQ(variant->err, cdm_ioctl(self->cdm.fd,
						  variant->command, arg));
		EXPECT_EQ(size, arg->head.size);
		if (variant->command != HMM_CDM_IOC_INFO)
			continue;
		/* Pages of earlier programs may still be freed. */
		arg->info.free = self->cdm.info.free;
		EXPECT_EQ(0, memcmp(&arg->info.version,
				    &self->cdm.info.version,
				    size - offsetof(struct hmm_cdm_info,
						    version)));
	}
}

/* Smaller than the first version: no such program exists. */
TEST_F(call, too_small)
{
	const size_t sizes[] = { 0, 1, 4, 8, self->first / 2 / 8 * 8,
				 self->first - 8, self->first - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->good.head.size = sizes[i];
		EXPECT_EQ(-EINVAL, cdm_ioctl(self->cdm.fd, variant->command,
					     &self->good));
	}
	self->good.head.size = self->size;
}

/* A newer program that does not use the new fields is served. */
TEST_F(call, larger_with_zeroes)
{
	const size_t sizes[] = { self->size + 8, self->size + 64, self->page };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		union argument *arg = at_the_end(self->end, &self->good,
						 sizes[i], sizes[i]);

		EXPECT_EQ(variant->err, cdm_ioctl(self->cdm.fd,
						  variant->command, arg));
		for (char *c = (char *)arg + self->size; c < self->end; c++)
			ASSERT_EQ(0, *c);
	}
}

/* A newer program that uses them gets an error. */
TEST_F(call, larger_with_content)
{
	const size_t sizes[] = { self->size + 8, self->size + 64, self->page };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		union argument *arg = at_the_end(self->end, &self->good,
						 sizes[i], sizes[i]);

		self->end[-1] = 1;
		EXPECT_EQ(-E2BIG, cdm_ioctl(self->cdm.fd, variant->command,
					    arg));
		self->end[-1] = 0;
		((char *)arg)[self->size] = 1;
		EXPECT_EQ(-E2BIG, cdm_ioctl(self->cdm.fd, variant->command,
					    arg));
	}
}

TEST_F(call, too_large)
{
	union argument *arg;

	arg = at_the_end(self->end, &self->good, self->page + 8,
			 self->page + 1);
	EXPECT_EQ(-E2BIG, cdm_ioctl(self->cdm.fd, variant->command, arg));
	arg->head.size = self->page + 8;
	EXPECT_EQ(-E2BIG, cdm_ioctl(self->cdm.fd, variant->command, arg));
	arg->head.size = ~0U;
	EXPECT_EQ(-E2BIG, cdm_ioctl(self->cdm.fd, variant->command, arg));
}

TEST_F(call, bad_pointer)
{
	const __u64 kernel = 1ULL << 63;
	unsigned int command = variant->command;
	int fd = self->cdm.fd;

	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command, NULL));
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command, (void *)8));
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command, self->end));
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command, (void *)(uintptr_t)kernel));
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command, (void *)~7UL));
	/* Half of the argument is mapped, or all but its last word. */
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command,
				     at_the_end(self->end, &self->good, 8,
						self->size)));
	EXPECT_EQ(-EFAULT, cdm_ioctl(fd, command,
				     at_the_end(self->end, &self->good,
						self->size - 8, self->size)));
}

/* Readable, but the result cannot be written. */
TEST_F(call, read_only)
{
	union argument *arg = at_the_end(self->end, &self->good, self->size,
					 self->size);

	ASSERT_EQ(0, mprotect(self->end - 2 * self->page, 2 * self->page,
			      PROT_READ));
	/* ADVISE returns no result. */
	EXPECT_EQ(variant->command == HMM_CDM_IOC_ADVISE ? 0 :
		  variant->err ? variant->err : -EFAULT,
		  cdm_ioctl(self->cdm.fd, variant->command, arg));
}

static __u32 known_flags(unsigned int command)
{
	switch (command) {
	case HMM_CDM_IOC_MIGRATE:
		return HMM_CDM_MIGRATE_EVICT | HMM_CDM_MIGRATE_LEAVE_PEERS;
	case HMM_CDM_IOC_POPULATE:
		return HMM_CDM_POPULATE_MIGRATE | HMM_CDM_POPULATE_EVICT;
	case HMM_CDM_IOC_ADVISE:
		return HMM_CDM_ADVISE_MIGRATE | HMM_CDM_ADVISE_COW |
		       HMM_CDM_ADVISE_EVICT;
	case HMM_CDM_IOC_SUBMIT:
		return HMM_CDM_SUBMIT_EVENTFD;
	}
	return 0;
}

TEST_F(call, unknown_flags)
{
	for (int bit = 0; bit < 32; bit++) {
		union argument arg = self->good;

		arg.head.flags = 1U << bit;
		if (arg.head.flags & known_flags(variant->command))
			continue;
		EXPECT_EQ(-EINVAL, cdm_ioctl(self->cdm.fd, variant->command,
					     &arg));
	}
}

FIXTURE(wrong) {
	struct cdm cdm;
	char *mem;
	size_t page;
};

FIXTURE_SETUP(wrong)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->page = self->cdm.page;
	self->mem = cdm_map(&self->cdm, 4 * self->page);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, 4 * self->page, SEED);
}

FIXTURE_TEARDOWN(wrong)
{
	EXPECT_EQ(-1, cdm_check(self->mem, 4 * self->page, SEED));
	cdm_close(&self->cdm);
}

TEST_F(wrong, command)
{
	struct hmm_cdm_stats arg = { .size = sizeof(arg) };
	const unsigned int commands[] = {
		HMM_CDM_IOC_ADVISE + 1, HMM_CDM_IOC_ADVISE + 2,
		_IO(HMM_CDM_IOC, 0xff), _IO(HMM_CDM_IOC + 1, 0),
		_IO(0, 0), ~0U,
		/* Commands do not encode sizes. */
		_IOWR(HMM_CDM_IOC, 0, struct hmm_cdm_info),
		_IOR(HMM_CDM_IOC, 5, struct hmm_cdm_stats),
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		TH_LOG("command %#x", commands[i]);
		EXPECT_EQ(-ENOTTY, cdm_ioctl(self->cdm.fd, commands[i], &arg));
	}
}

/* Invalid ranges, for the calls that take one. */
TEST_F(wrong, range)
{
	__u64 mem = CDM_ADDR(self->mem), page = self->page;
	const __u64 ranges[][2] = {
		{ mem, 0 }, { mem, 1 }, { mem, page - 1 }, { mem, page + 1 },
		{ mem + 1, page }, { mem + 8, page }, { mem + page / 2, page },
		{ mem, 0 - page }, { mem, 0 - mem + page },
		{ 0 - page, 2 * page }, { 0 - 2 * page, 4 * page },
		{ ~0ULL, page }, { mem, ~0ULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		void *addr = (void *)(uintptr_t)ranges[i][0];
		size_t length = ranges[i][1];

		TH_LOG("%#zx bytes at %p", length, addr);
		EXPECT_EQ(-EINVAL, cdm_migrate(&self->cdm, addr, length,
					       HMM_CDM_TARGET_NODE, NULL));
		EXPECT_EQ(-EINVAL, cdm_query(&self->cdm, addr, length, NULL,
					     NULL));
		EXPECT_EQ(-EINVAL, cdm_populate(&self->cdm, addr, length, 0,
						NULL));
		EXPECT_EQ(-EINVAL, cdm_advise(&self->cdm, addr, length,
					      HMM_CDM_PLACE_NODE, 0));
	}
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, 4 * page));
}

/* Ranges outside any address space are unmapped ranges, or invalid. */
TEST_F(wrong, kernel_range)
{
	__u64 page = self->page, half = 1ULL << 63;
	const __u64 ranges[][2] = {
		{ half, page }, { half, half - page }, { 0 - 2 * page, page },
		{ half - page, 2 * page },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		void *addr = (void *)(uintptr_t)ranges[i][0];
		size_t length = ranges[i][1];
		struct hmm_cdm_migrate m;
		struct hmm_cdm_query q;
		int err;

		TH_LOG("%#zx bytes at %p", length, addr);
		err = cdm_migrate(&self->cdm, addr, length,
				  HMM_CDM_TARGET_NODE, &m);
		EXPECT_TRUE(err == -ENOMEM || err == -EINVAL);
		EXPECT_EQ(0, cdm_migrate_sum(&m));
		err = cdm_query(&self->cdm, addr, length, NULL, &q);
		EXPECT_TRUE(err == 0 || err == -EINVAL);
		EXPECT_EQ(err ? 0 : length / page,
			  q.where[HMM_CDM_WHERE_UNMAPPED]);
	}
}

static void nothing(int signal)
{
	(void)signal;
}

/* Ranges longer than all memory: done soon, or on a signal. */
TEST_F(wrong, overlong)
{
	struct sigaction action = { .sa_handler = nothing };
	struct itimerval timer = { { 0, 200000 }, { 0, 200000 } };
	char *from = (char *)self->page;
	size_t length = CDM_ADDR(&timer) / self->page * self->page -
			self->page;
	__u64 started = cdm_now_ms();
	int err;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	err = cdm_query(&self->cdm, from, length, NULL, NULL);
	EXPECT_TRUE(err == 0 || err == -EINTR);
	err = cdm_migrate(&self->cdm, from, length, HMM_CDM_TARGET_SYSTEM,
			  NULL);
	EXPECT_TRUE(err == -ENOMEM || err == -EINTR);
	EXPECT_GT(started + 10000, cdm_now_ms());
}

TEST_F(wrong, advise)
{
	struct cdm *cdm = &self->cdm;
	struct hmm_cdm_advise a = {
		.size = sizeof(a),
		.addr = CDM_ADDR(self->mem),
		.length = self->page,
		.reserved = 1,
	};

	/* An unknown place, and flags without a place. */
	EXPECT_EQ(-EINVAL, cdm_advise(cdm, self->mem, self->page, 2, 0));
	EXPECT_EQ(-EINVAL, cdm_advise(cdm, self->mem, self->page, ~0U, 0));
	EXPECT_EQ(-EINVAL, cdm_advise(cdm, self->mem, self->page,
				      HMM_CDM_PLACE_NONE,
				      HMM_CDM_ADVISE_MIGRATE));
	EXPECT_EQ(-EINVAL, cdm_ioctl(cdm->fd, HMM_CDM_IOC_ADVISE, &a));
}

TEST_F(wrong, migrate)
{
	struct hmm_cdm_migrate m = {
		.size = sizeof(m),
		.addr = CDM_ADDR(self->mem),
		.length = self->page,
	};

	for (unsigned int target = 2; target; target <<= 1) {
		m.target = target;
		EXPECT_EQ(-EINVAL, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_MIGRATE,
					     &m));
	}
	m.target = HMM_CDM_TARGET_NODE;
	m.reserved = 1;
	EXPECT_EQ(-EINVAL, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_MIGRATE, &m));
	EXPECT_EQ(0, cdm_on_node(&self->cdm, self->mem, self->page));
}

/* The array is unmapped, or too short. */
TEST_F(wrong, query)
{
	struct hmm_cdm_page *pages = mmap(NULL, 2 * self->page,
					  PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct hmm_cdm_page *end = pages + self->page / sizeof(*pages);

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(end, self->page, PROT_READ));
	EXPECT_EQ(0, cdm_query(&self->cdm, self->mem, 4 * self->page, end - 4,
			       NULL));
	EXPECT_EQ(-EFAULT, cdm_query(&self->cdm, self->mem, 4 * self->page,
				     end - 3, NULL));
	EXPECT_EQ(-EFAULT, cdm_query(&self->cdm, self->mem, self->page,
				     (struct hmm_cdm_page *)8, NULL));
	EXPECT_EQ(-EFAULT, cdm_query(&self->cdm, self->mem, self->page,
				     (struct hmm_cdm_page *)~7UL, NULL));
}

TEST_F(wrong, operation)
{
	const unsigned int ops[] = { 0, CDM_EMU_HANG + 1, 1000, ~0U };
	struct hmm_cdm_stats stats;
	__u64 job;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		EXPECT_EQ(-EINVAL, cdm_submit(&self->cdm, ops[i],
					      CDM_ARGS(CDM_ADDR(self->mem), 8),
					      &job));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(0, stats.jobs);
}

TEST_F(wrong, event)
{
	struct hmm_cdm_submit s = {
		.size = sizeof(s),
		.flags = HMM_CDM_SUBMIT_EVENTFD,
		.op = CDM_EMU_REDUCE,
		.args = { CDM_ADDR(self->mem), 1 },
	};
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	/* No file, the device itself, a pipe, a closed file. */
	const int fds[] = { -1, 12345, self->cdm.fd, pipes[1], dup(0) };

	close(fds[4]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		s.eventfd = fds[i];
		TH_LOG("descriptor %d", fds[i]);
		EXPECT_EQ(-EBADF, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_SUBMIT,
					    &s));
	}
	/* Without the flag. */
	s.flags = 0;
	s.eventfd = eventfd(0, EFD_CLOEXEC);
	ASSERT_LT(0, s.eventfd);
	EXPECT_EQ(-EINVAL, cdm_ioctl(self->cdm.fd, HMM_CDM_IOC_SUBMIT, &s));
}

TEST_HARNESS_MAIN

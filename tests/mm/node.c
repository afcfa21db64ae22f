// SPDX-License-Identifier: GPL-2.0
/*
 * Linked with the kernel's own tests: before each call under test, all private
 * anonymous memory of the process moves to the node, stacks included. Only
 * present pages move, as MIGRATE would fill holes, which tests would notice.
 * Nothing moves unless the program's name ends in -node.
 *
 * The linker's --wrap leads the calls here (see the Makefile). The test must
 * not notice: only plain system calls, no memory but the stack, and errno is
 * preserved.
 */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/hmm_cdm.h>
#include <linux/userfaultfd.h>

#define DEVICE		"/dev/hmm_cdm0"
#define SUFFIX		"-node"
/* Regions of present pages per PAGEMAP_SCAN. */
#define REGIONS		32
/* Entries per read of pagemap, and the page frame in an entry. */
#define ENTRIES		256
#define PAGEMAP_PFN	0x007fffffffffffffULL
/* One of so many userfaultfd answers in a row moves memory. */
#define ANSWERS		64
/* Upper bound of the addresses that tests use. */
#define ADDRESS_END	(0x800000000000UL - 0x10000UL)

/* Shared memory, as all kinds of children count, and some are killed. */
struct counts {
	/* Calls that memory was to be moved for. */
	unsigned long calls;
	/* Calls with pages on the node when they were made. */
	unsigned long calls_on_node;
	/* Pages moved, and the most on the node at one call. */
	unsigned long moved;
	unsigned long most;
	/* Calls without access to the device, and the last errno. */
	unsigned long refused;
	unsigned long error;
};

static struct counts *counts;
static pid_t parent;
static size_t page_size;
static __u64 first_pfn = ~0ULL, last_pfn;

/*
 * /dev/hmm_cdm0 and /proc/self/pagemap are bound to the address space that
 * opened them, so they are opened again after fork(). Packed into one word, as
 * threads race here.
 */
struct files {
	__u32 pid;
	__u16 device;
	__u16 pagemap;
};

static __u64 files;

/* The node's page frames, which only root can see. */
static void find_node(int device)
{
	struct hmm_cdm_info info = { .size = sizeof(info) };

	page_size = getpagesize();
	if (__real_ioctl(device, HMM_CDM_IOC_INFO, &info) || !info.start)
		return;
	first_pfn = info.start / page_size;
	last_pfn = first_pfn + info.capacity / page_size - 1;
}

static bool open_files(struct files *f)
{
	__u64 old = __atomic_load_n(&files, __ATOMIC_ACQUIRE), new;
	__u32 pid = getpid();
	int device, pagemap;

	memcpy(f, &old, sizeof(*f));
	if (f->pid == pid)
		return true;
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (device < 0 || pagemap < 0) {
		counts->error = errno;
		__atomic_add_fetch(&counts->refused, 1, __ATOMIC_RELAXED);
		close(device);
		close(pagemap);
		return false;
	}
	if (f->pid) {
		/* Inherited from the parent. */
		close(f->device);
		close(f->pagemap);
	}
	find_node(device);
	*f = (struct files){ pid, device, pagemap };
	memcpy(&new, f, sizeof(new));
	if (!__atomic_compare_exchange_n(&files, &old, new, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		/* Another thread was faster. */
		close(device);
		close(pagemap);
		memcpy(f, &old, sizeof(*f));
	}
	return true;
}

static unsigned long move_range(int device, __u64 start, __u64 end)
{
	struct hmm_cdm_migrate m = {
		.size = sizeof(m),
		.addr = start,
		.length = end - start,
		.target = HMM_CDM_TARGET_NODE,
	};

	/* Whatever the error, the counts are right. */
	__real_ioctl(device, HMM_CDM_IOC_MIGRATE, &m);
	__atomic_add_fetch(&counts->moved, m.migrated + m.populated, __ATOMIC_RELAXED);
	return m.migrated + m.populated + m.present;
}

static bool on_node(__u64 entry)
{
	__u64 pfn = entry & PAGEMAP_PFN;

	return pfn >= first_pfn && pfn <= last_pfn;
}

/*
 * Moves the present pages of a range; returns how many are on the node now.
 * Pages already there are skipped, which saves most of the time; other users
 * than root cannot see that, and move everything.
 */
static unsigned long move_region(const struct files *f, __u64 start, __u64 end)
{
	__u64 entries[ENTRIES], from = start;
	unsigned long pages = 0;

	while (start < end) {
		size_t count = (end - start) / page_size;
		ssize_t got;

		if (count > ENTRIES)
			count = ENTRIES;
		got = pread(f->pagemap, entries, count * sizeof(*entries),
			    start / page_size * sizeof(*entries));
		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got / (ssize_t)sizeof(*entries); i++) {
			if (on_node(entries[i])) {
				if (from < start)
					pages += move_range(f->device, from, start);
				from = start + page_size;
				pages++;
			}
			start += page_size;
		}
	}
	if (from < start)
		pages += move_range(f->device, from, start);
	return pages;
}

static void move_all(void)
{
	/*
	 * Anonymous pages of any mapping, including the zero page, which is
	 * replaced.
	 */
	struct page_region regions[REGIONS];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.end = ADDRESS_END,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_inverted = PAGE_IS_FILE,
		.category_mask = PAGE_IS_PRESENT | PAGE_IS_FILE,
		.return_mask = PAGE_IS_PRESENT,
	};
	unsigned long pages = 0, most;
	int error = errno, found;
	struct files f;

	if (!counts)
		return;
	__atomic_add_fetch(&counts->calls, 1, __ATOMIC_RELAXED);
	if (!open_files(&f))
		goto out;
	do {
		found = __real_ioctl(f.pagemap, PAGEMAP_SCAN, &scan);
		for (int i = 0; i < found; i++)
			pages += move_region(&f, regions[i].start, regions[i].end);
		scan.start = scan.walk_end;
	} while (found > 0 && scan.start < scan.end);
	if (pages)
		__atomic_add_fetch(&counts->calls_on_node, 1, __ATOMIC_RELAXED);
	most = __atomic_load_n(&counts->most, __ATOMIC_RELAXED);
	while (pages > most && !__atomic_compare_exchange_n(&counts->most, &most, pages, false,
							    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
out:
	errno = error;
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
	size_t length = argc ? strlen(argv[0]) : 0;

	if (length < strlen(SUFFIX) || strcmp(argv[0] + length - strlen(SUFFIX), SUFFIX))
		return;
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (counts == MAP_FAILED)
		counts = NULL;
	parent = getpid();
}

/* lab/vm/compare.py reads this line; a run without it has failed. */
__attribute__((destructor)) static void report(void)
{
	char line[256];
	int length;

	if (!counts || getpid() != parent)
		return;
	length = snprintf(line, sizeof(line),
			  "# node: %lu calls, %lu with pages there, %lu moved, %lu at most, %lu refused (%lu)\n",
			  counts->calls, counts->calls_on_node, counts->moved, counts->most,
			  counts->refused, counts->error);
	if (write(STDERR_FILENO, line, length) != length)
		_exit(1);
}

/* The wrapped calls. */

pid_t __wrap_fork(void)
{
	move_all();
	return __real_fork();
}

int __wrap_madvise(void *addr, size_t length, int advice)
{
	move_all();
	return __real_madvise(addr, length, advice);
}

int __wrap_mlock(const void *addr, size_t length)
{
	move_all();
	return __real_mlock(addr, length);
}

int __wrap_mlock2(const void *addr, size_t length, unsigned int flags)
{
	move_all();
	return __real_mlock2(addr, length, flags);
}

int __wrap_mlockall(int flags)
{
	move_all();
	return __real_mlockall(flags);
}

int __wrap_mprotect(void *addr, size_t length, int prot)
{
	move_all();
	return __real_mprotect(addr, length, prot);
}

int __wrap_munlock(const void *addr, size_t length)
{
	move_all();
	return __real_munlock(addr, length);
}

int __wrap_munlockall(void)
{
	move_all();
	return __real_munlockall();
}

int __wrap_munmap(void *addr, size_t length)
{
	move_all();
	return __real_munmap(addr, length);
}

ssize_t __wrap_process_madvise(int pidfd, const struct iovec *iov, size_t count, int advice,
			       unsigned int flags)
{
	move_all();
	return __real_process_madvise(pidfd, iov, count, advice, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	move_all();
	return __real_pthread_create(thread, attr, run, arg);
}

ssize_t __wrap_vmsplice(int fd, const struct iovec *iov, size_t count, unsigned int flags)
{
	move_all();
	return __real_vmsplice(fd, iov, count, flags);
}

/*
 * userfaultfd handlers answer faults by the thousand. Memory moves before the
 * first of such calls in a row, and before every ANSWERS-th.
 */
static bool is_one_of_many(unsigned long request)
{
	static unsigned int answers;

	switch (request) {
	case UFFDIO_COPY:
	case UFFDIO_ZEROPAGE:
	case UFFDIO_MOVE:
	case UFFDIO_WRITEPROTECT:
	case UFFDIO_CONTINUE:
	case UFFDIO_POISON:
	case UFFDIO_WAKE:
		return __atomic_fetch_add(&answers, 1, __ATOMIC_RELAXED) % ANSWERS;
	default:
		__atomic_store_n(&answers, 0, __ATOMIC_RELAXED);
		return false;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	/*
	 * PAGEMAP_SCAN only reads, and its result is compared with other views.
	 */
	if (request != PAGEMAP_SCAN && !is_one_of_many(request))
		move_all();
	return __real_ioctl(fd, request, arg);
}

void *__wrap_mremap(void *addr, size_t old, size_t new, int flags, ...)
{
	va_list list;
	void *to;

	va_start(list, flags);
	to = va_arg(list, void *);
	va_end(list);
	move_all();
	return __real_mremap(addr, old, new, flags, to);
}

long __wrap_syscall(long number, ...)
{
	va_list list;
	long arg[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	move_all();
	return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* From libnuma, not libc. */
long __wrap_move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		       int flags)
{
	move_all();
	return __real_syscall(__NR_move_pages, pid, count, pages, nodes, status, flags);
}

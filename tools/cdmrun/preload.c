// SPDX-License-Identifier: GPL-2.0
/*
 * The library that cdmrun preloads. It backs anonymous private memory with node pages when the
 * program maps it, and again after the program has given pages up.
 *
 * This covers the heap because cdmrun preloads jemalloc, too, which calls mmap() through its
 * symbol; glibc's allocator calls mmap and brk through names that cannot be interposed. Interposing
 * mmap() rather than jemalloc's extent hooks also covers the program's own mappings, and works with
 * any other allocator that calls mmap().
 *
 * Nothing here may make the program fail. Without a device, on a full node, or after the program
 * has closed our descriptor, its memory is system memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../libhmmcdm/calls.h"
#include "cdmrun.h"

#define REPORT \
	"cdmrun: %s: %llu bytes placed, %llu there at the end, %llu in system memory, %llu copied\n"
#define REPORT_PLACED \
	"cdmrun: %s: %llu bytes placed, %llu copied; where they are at the end cannot be told\n"

#define MAPS			"/proc/self/maps"

/*
 * Mappings whose length is a multiple of this start at a multiple, as on kernels with huge pages
 * of this size. jemalloc needs that alignment: it would unmap a mapping without it, map more than
 * it needs, and unmap both ends, all of which would have been populated.
 */
#define ALIGNMENT		(2UL << 20)

/* Some programs expect that the low descriptors are free. */
#define FD_FLOOR		500

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	bool tried;	/* this process has tried to open the device */
	int fd;
	dev_t device;	/* device number of fd when it was opened */
	int err;	/* duplicate of stderr, which the program may close */
	int maps;	/* MAPS, opened before the program can enter a sandbox */
	size_t least;	/* smaller mappings are left alone */
	size_t most;	/* the node's capacity: larger mappings are reservations */
	bool reports;	/* this process reports when it ends */
	bool quiet;
	char path[32];
} run = { .fd = -1, .err = -1, .maps = -1 };

static size_t env_number(const char *name, size_t default_value)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : default_value;
}

/* Moves the descriptor to FD_FLOOR or above. */
static int move_up(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);

	if (up < 0)
		return fd;
	close(fd);
	return up;
}

__printf(1, 2)
static void report(const char *format, ...)
{
	char text[512];
	va_list args;
	int len;

	if (run.quiet || !run.reports)
		return;
	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len > 0)
		len = write(run.err < 0 ? 2 : run.err, text, len);
}

/* Called with the lock held. */
static void open_device(void)
{
	struct hmm_cdm_info info;
	struct stat st;
	int fd;

	run.tried = true;
	run.quiet = env_number(ENV_QUIET, 0);
	run.reports = env_number(ENV_PID, 0) == (size_t)getpid();
	run.least = env_number(ENV_LEAST, LEAST);
	if (run.err < 0)
		run.err = fcntl(2, F_DUPFD_CLOEXEC, FD_FLOOR);
	snprintf(run.path, sizeof(run.path), "/dev/hmm_cdm%zu",
		 env_number(ENV_NODE, 0));
	fd = open(run.path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || cdm_call_info(fd, &info)) {
		/* strerror() may allocate, and the allocator may have called us. */
		report("cdmrun: %s: %s; using system memory\n", run.path,
		       strerrordesc_np(errno));
		return;
	}
	run.device = st.st_rdev;
	run.most = info.capacity;
	run.fd = move_up(fd);
	if (run.reports && !run.quiet && run.maps < 0) {
		fd = open(MAPS, O_RDONLY | O_CLOEXEC);
		run.maps = fd < 0 ? fd : move_up(fd);
	}
}

/* Set while this thread runs our code: mappings that libc makes for us are left alone. */
static __thread bool inside;

/* Returns the device file of this process, or -1. */
static int device(void)
{
	struct stat st;
	int fd;

	if (inside)
		return -1;
	inside = true;
	pthread_mutex_lock(&lock);
	if (!run.tried)
		open_device();
	/* Some programs close all descriptors and reuse the numbers. */
	if (run.fd >= 0 && (fstat(run.fd, &st) || !S_ISCHR(st.st_mode) ||
			    st.st_rdev != run.device))
		open_device();
	fd = run.fd;
	pthread_mutex_unlock(&lock);
	inside = false;
	return fd;
}

static size_t whole_pages(size_t length)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (length + page - 1) / page * page;
}

/* Ignores errors: after a signal, on a full node or with the parent's file the program goes on. */
static void populate(void *addr, size_t length)
{
	int err = errno, fd = device();

	if (fd >= 0)
		cdm_call_populate(fd, addr, whole_pages(length), 0, NULL);
	errno = err;
}

/* Whether part of the range is on the node. False for a reservation. */
static bool placed(void *addr, size_t length)
{
	struct hmm_cdm_query query = {};
	int err = errno, fd = device();

	if (fd >= 0 && length <= run.most)
		cdm_call_query(fd, addr, whole_pages(length), NULL, &query);
	errno = err;
	return query.where[HMM_CDM_WHERE_NODE];
}

static bool wanted(size_t length, int prot, int flags)
{
	const int both = PROT_READ | PROT_WRITE;
	const int other = MAP_STACK | MAP_GROWSDOWN | MAP_HUGETLB;

	/* device() sets run.least and run.most. */
	return (flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) == MAP_PRIVATE &&
	       !(flags & other) && (prot & both) == both &&
	       (device(), length >= run.least && length <= run.most);
}

/* Moves a new mapping to a multiple of ALIGNMENT; returns where it is then. */
static void *align(void *mem, size_t length, int prot, int flags)
{
	const int reserve = (flags & ~(MAP_POPULATE | MAP_LOCKED)) | MAP_NORESERVE;
	char *room = (char *)syscall(SYS_mmap, NULL, length + ALIGNMENT, PROT_NONE, reserve, -1, 0);
	size_t front;

	if (room == MAP_FAILED)
		return mem;
	front = -(uintptr_t)room % ALIGNMENT;
	if ((void *)syscall(SYS_mmap, room + front, length, prot, flags | MAP_FIXED, -1, 0) ==
	    MAP_FAILED) {
		syscall(SYS_munmap, room, length + ALIGNMENT);
		return mem;
	}
	if (front)
		syscall(SYS_munmap, room, front);
	syscall(SYS_munmap, room + front + length, ALIGNMENT - front);
	syscall(SYS_munmap, mem, length);
	return room + front;
}

void *mmap(void *addr, size_t length, int prot, int flags, int fd,
	   off_t offset)
{
	void *mem = (void *)syscall(SYS_mmap, addr, length, prot, flags, fd,
				    offset);

	if (mem != MAP_FAILED && wanted(length, prot, flags)) {
		if (!addr && length % ALIGNMENT == 0 && (uintptr_t)mem % ALIGNMENT)
			mem = align(mem, length, prot, flags);
		populate(mem, length);
	}
	return mem;
}

void *mmap64(void *addr, size_t length, int prot, int flags, int fd,
	     off_t offset) __alias("mmap");

/* Memory that was reserved with PROT_NONE becomes accessible. */
int mprotect(void *addr, size_t length, int prot)
{
	int ret = syscall(SYS_mprotect, addr, length, prot);

	if (!ret && wanted(length, prot, MAP_PRIVATE | MAP_ANONYMOUS))
		populate(addr, length);
	return ret;
}

/* Populates the part by which a mapping grows. */
void *mremap(void *addr, size_t length, size_t new_length, int flags, ...)
{
	void *to = NULL, *mem;
	va_list args;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_start(args, flags);
		to = va_arg(args, void *);
		va_end(args);
	}
	mem = (void *)syscall(SYS_mremap, addr, length, new_length, flags, to);
	length = whole_pages(length);
	if (mem != MAP_FAILED && new_length > length &&
	    wanted(new_length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS))
		populate((char *)mem + length, new_length - length);
	return mem;
}

/*
 * Memory that is given up and touched again would be system memory. Allocators do that with freed
 * blocks, so a range that was on the node is populated again at once, with zeroed pages as
 * MADV_DONTNEED promises. MADV_FREE does not free device pages.
 */
int madvise(void *addr, size_t length, int advice)
{
	bool again = (advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED) &&
		     placed(addr, length);
	int ret = syscall(SYS_madvise, addr, length, advice);

	/* Even on an error: if part of the range is unmapped, the rest was given up. */
	if (again)
		populate(addr, length);
	return ret;
}

static void child(void)
{
	pthread_mutex_init(&lock, NULL);
	/* The file mirrors the parent's address space. */
	if (run.fd >= 0)
		close(run.fd);
	run.fd = -1;
	run.tried = false;
	run.reports = false;
}

__attribute__((constructor))
static void start(void)
{
	device();
	pthread_atfork(NULL, NULL, child);
}

/* Opens MAPS, or uses the file opened at the start if a sandbox forbids open(). */
static FILE *open_maps(void)
{
	FILE *maps = fopen(MAPS, "re");
	struct stat st, proc;

	if (maps)
		return maps;
	/* The program may have reused the number. */
	if (run.maps < 0 || fstat(run.maps, &st) || !S_ISREG(st.st_mode) ||
	    stat("/proc/self", &proc) || st.st_dev != proc.st_dev)
		return NULL;
	return fdopen(run.maps, "r");
}

/* Adds up where the pages of the process's anonymous private memory are. */
static bool count(int fd, __u64 *where)
{
	FILE *maps = open_maps();
	char line[512];

	if (!maps)
		return false;
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end, inode;
		struct hmm_cdm_query query;
		char perms[8];

		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &start, &end,
			   perms, &inode) != 4 || inode || perms[3] != 'p' ||
		    perms[1] != 'w' || strstr(line, "[stack"))
			continue;
		if (cdm_call_query(fd, (void *)start, end - start, NULL, &query))
			continue;
		for (int i = 0; i < 8; i++)
			where[i] += query.where[i];
	}
	fclose(maps);
	return true;
}

__attribute__((destructor))
static void finish(void)
{
	struct hmm_cdm_stats stats;
	size_t page = sysconf(_SC_PAGESIZE);
	__u64 where[8] = {};
	int fd = device();

	if (fd < 0 || run.quiet || !run.reports)
		return;
	if (cdm_call_stats(fd, &stats))
		return;
	if (!count(fd, where)) {
		report(REPORT_PLACED, run.path, stats.populated * page, stats.bytes_copied);
		return;
	}
	report(REPORT, run.path, stats.populated * page, where[HMM_CDM_WHERE_NODE] * page,
	       where[HMM_CDM_WHERE_SYSTEM] * page, stats.bytes_copied);
}

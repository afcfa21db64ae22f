// SPDX-License-Identifier: GPL-2.0
/*
 * What cdmrun preloads: anonymous private memory that the program maps is
 * populated with pages of a node before the program sees it, and again when it has
 * given them up.
 *
 * The heap comes along because the allocator that is preloaded after this,
 * jemalloc, gets all its memory by mmap(), through the symbol (glibc's own
 * calls mmap and brk by names that nobody else can define). Interposing mmap()
 * and not jemalloc's extent hooks covers the program's own mappings with the
 * same lines, and works with any allocator that a program brings.
 *
 * Nothing here may fail the program: without a device, with a full node, or
 * with a descriptor that the program has closed, memory is what it would have
 * been.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/hmm_cdm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cdmrun.h"

#define REPORT \
	"cdmrun: %s: %llu bytes placed, %llu there at the end, %llu in system memory, %llu copied\n"
#define REPORT_PLACED \
	"cdmrun: %s: %llu bytes placed, %llu copied; where they are at the end cannot be told\n"

#define MAPS			"/proc/self/maps"

/*
 * Mappings of multiples of this start at one, as they do on kernels with huge pages
 * of this size. jemalloc aligns its memory to it: it unmaps what is not aligned, maps
 * more than it needs, and unmaps both ends, all of which would have been populated.
 */
#define ALIGNMENT		(2UL << 20)

/* Out of the way of programs that expect certain numbers to be free. */
#define FD_FLOOR		500

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	bool tried;	/* to open the device, in this process */
	int fd;
	dev_t device;	/* what fd was when it was opened */
	int err;	/* where messages go: the program may close its own */
	int maps;	/* what is mapped: the program may shut itself in */
	size_t least;	/* bytes that a mapping has to have */
	size_t most;	/* and those of the node: what is larger is a reservation */
	bool reports;	/* this process, at its end */
	bool quiet;
	char path[32];
} run = { .fd = -1, .err = -1, .maps = -1 };

static size_t number(const char *name, size_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* A descriptor that the program does not trip over. */
static int move_up(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);

	if (up < 0)
		return fd;
	close(fd);
	return up;
}

__printf(1, 2)
static void say(const char *format, ...)
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

/* With the lock. */
static void begin(void)
{
	struct hmm_cdm_info info = { .size = sizeof(info) };
	struct stat st;
	int fd;

	run.tried = true;
	run.quiet = number(ENV_QUIET, 0);
	run.reports = number(ENV_PID, 0) == (size_t)getpid();
	run.least = number(ENV_LEAST, LEAST);
	if (run.err < 0)
		run.err = fcntl(2, F_DUPFD_CLOEXEC, FD_FLOOR);
	snprintf(run.path, sizeof(run.path), "/dev/hmm_cdm%zu",
		 number(ENV_NODE, 0));
	fd = open(run.path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || ioctl(fd, HMM_CDM_IOC_INFO, &info)) {
		/* strerror() may allocate, and we may be in the allocator. */
		say("cdmrun: %s: %s; the memory is the system's\n", run.path,
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

/* This thread is in here already: what libc maps for us is not looked at. */
static __thread bool inside;

/* The device file of this process, or -1. */
static int device(void)
{
	struct stat st;
	int fd;

	if (inside)
		return -1;
	inside = true;
	pthread_mutex_lock(&lock);
	if (!run.tried)
		begin();
	/* Some programs close all descriptors, and open others. */
	if (run.fd >= 0 && (fstat(run.fd, &st) || !S_ISCHR(st.st_mode) ||
			    st.st_rdev != run.device))
		begin();
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

static void populate(void *addr, size_t length)
{
	struct hmm_cdm_populate p = { .size = sizeof(p) };
	int err = errno, fd = device();

	p.addr = (uintptr_t)addr;
	p.length = whole_pages(length);
	/* A full node, a signal, a mirror of the parent's: all the same. */
	if (fd >= 0)
		ioctl(fd, HMM_CDM_IOC_POPULATE, &p);
	errno = err;
}

/* Whether anything of the range lies on the node, and is no reservation's. */
static bool placed(void *addr, size_t length)
{
	struct hmm_cdm_query q = { .size = sizeof(q) };
	int err = errno, fd = device();

	q.addr = (uintptr_t)addr;
	q.length = whole_pages(length);
	if (fd >= 0 && length <= run.most)
		ioctl(fd, HMM_CDM_IOC_QUERY, &q);
	errno = err;
	return q.where[HMM_CDM_WHERE_NODE];
}

static bool wanted(size_t length, int prot, int flags)
{
	const int both = PROT_READ | PROT_WRITE;
	const int other = MAP_STACK | MAP_GROWSDOWN | MAP_HUGETLB;

	/* The least is read with the device; until then all are looked at. */
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

/* What was reserved without rights is taken into use. */
int mprotect(void *addr, size_t length, int prot)
{
	int ret = syscall(SYS_mprotect, addr, length, prot);

	if (!ret && wanted(length, prot, MAP_PRIVATE | MAP_ANONYMOUS))
		populate(addr, length);
	return ret;
}

/* What grows has the rest of it placed, too. */
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
 * What is given up and used again would be the system's. Allocators do that with
 * what is freed, so what was on the node is placed again at once, zeroed as is
 * asked for; what was not goes. MADV_FREE leaves pages of devices alone.
 */
int madvise(void *addr, size_t length, int advice)
{
	bool again = (advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED) &&
		     placed(addr, length);
	int ret = syscall(SYS_madvise, addr, length, advice);

	/* Where part of the range is not mapped, it fails, and the rest is done. */
	if (again)
		populate(addr, length);
	return ret;
}

static void child(void)
{
	pthread_mutex_init(&lock, NULL);
	/* The file mirrors the parent. */
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

/* The mappings; a program that has shut itself in can open nothing any more. */
static FILE *mappings(void)
{
	FILE *maps = fopen(MAPS, "re");
	struct stat st, proc;

	if (maps)
		return maps;
	/* Not what the program has under that number by now. */
	if (run.maps < 0 || fstat(run.maps, &st) || !S_ISREG(st.st_mode) ||
	    stat("/proc/self", &proc) || st.st_dev != proc.st_dev)
		return NULL;
	return fdopen(run.maps, "r");
}

/* Anonymous private memory of the process: where it lies. */
static bool count(int fd, __u64 *where)
{
	FILE *maps = mappings();
	char line[512];

	if (!maps)
		return false;
	while (fgets(line, sizeof(line), maps)) {
		struct hmm_cdm_query q = { .size = sizeof(q) };
		unsigned long start, end, inode;
		char rights[8];

		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &start, &end,
			   rights, &inode) != 4 || inode || rights[3] != 'p' ||
		    rights[1] != 'w' || strstr(line, "[stack"))
			continue;
		q.addr = start;
		q.length = end - start;
		if (ioctl(fd, HMM_CDM_IOC_QUERY, &q))
			continue;
		for (int i = 0; i < 8; i++)
			where[i] += q.where[i];
	}
	fclose(maps);
	return true;
}

__attribute__((destructor))
static void finish(void)
{
	struct hmm_cdm_stats s = { .size = sizeof(s) };
	size_t page = sysconf(_SC_PAGESIZE);
	__u64 where[8] = {};
	int fd = device();

	if (fd < 0 || run.quiet || !run.reports)
		return;
	if (ioctl(fd, HMM_CDM_IOC_STATS, &s))
		return;
	if (!count(fd, where)) {
		say(REPORT_PLACED, run.path, s.populated * page, s.bytes_copied);
		return;
	}
	say(REPORT, run.path, s.populated * page,
	    where[HMM_CDM_WHERE_NODE] * page,
	    where[HMM_CDM_WHERE_SYSTEM] * page, s.bytes_copied);
}

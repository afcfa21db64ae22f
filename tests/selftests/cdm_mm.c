// SPDX-License-Identifier: GPL-2.0
/*
 * Settings, counters, cgroups and swap; see cdm_mm.h.
 */
#include "cdm_mm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#define CGROUP		"/sys/fs/cgroup"
#define GROUP		CGROUP "/cdm-test"

static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

int cdm_write(const char *path, const char *text)
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

long cdm_value_of(const char *path)
{
	char text[64];

	return read_text(path, text, sizeof(text)) ? -1 : atol(text);
}

/* The current choice is the word in brackets. */
static void keep_chosen(char *text)
{
	char *open = strchr(text, '['), *close = strchr(text, ']');

	if (!open || !close)
		return;
	*close = '\0';
	memmove(text, open + 1, close - open);
}

int cdm_set(struct cdm_setting *setting, const char *path, const char *text)
{
	int err = read_text(path, setting->old, sizeof(setting->old));

	if (err)
		return err;
	keep_chosen(setting->old);
	err = cdm_write(path, text);
	if (!err)
		setting->path = path;
	return err;
}

void cdm_unset(struct cdm_setting *setting)
{
	if (setting->path)
		cdm_write(setting->path, setting->old);
	setting->path = NULL;
}

long cdm_vmstat(const char *name)
{
	size_t length = strlen(name);
	FILE *file = fopen("/proc/vmstat", "r");
	long value = -1;
	char line[128];

	if (!file)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, length) && line[length] == ' ')
			value = atol(line + length);
	fclose(file);
	return value;
}

int cdm_group_enter(void)
{
	if (access(CGROUP "/cgroup.procs", F_OK) &&
	    mount("cgroup2", CGROUP, "cgroup2", 0, NULL))
		return -errno;
	if (cdm_write(CGROUP "/cgroup.subtree_control", "+memory"))
		return -ENODEV;
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		return -errno;
	return cdm_write(GROUP "/cgroup.procs", "0");
}

void cdm_group_leave(void)
{
	cdm_write(CGROUP "/cgroup.procs", "0");
	rmdir(GROUP);
}

int cdm_group_set(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), GROUP "/%s", file);
	return cdm_write(path, text);
}

long cdm_group_number(const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), GROUP "/%s", file);
	return cdm_value_of(path);
}

int cdm_group_reclaim(size_t bytes)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%zu", bytes);
	err = cdm_group_set("memory.reclaim", text);
	return err == -EAGAIN ? 0 : err;
}

/* Writes the header that mkswap(8) writes, laid out as union swap_header. */
int cdm_swap_on(void)
{
	struct {
		__u32 version;
		__u32 last_page;
		__u32 nr_badpages;
	} info = { .version = 1 };
	size_t page = sysconf(_SC_PAGESIZE);
	int fd = open(DISK, O_RDWR | O_CLOEXEC);
	off_t size;
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	/* A test that was killed may have left it on. */
	swapoff(DISK);
	size = lseek(fd, 0, SEEK_END);
	info.last_page = size / page - 1;
	if (pwrite(fd, &info, sizeof(info), 1024) != sizeof(info) ||
	    pwrite(fd, "SWAPSPACE2", 10, page - 10) != 10 || fsync(fd))
		err = -EIO;
	close(fd);
	if (!err && swapon(DISK, 0))
		err = -errno;
	return err;
}

int cdm_swap_off(void)
{
	return swapoff(DISK) ? -errno : 0;
}

size_t cdm_swapped(const void *addr, size_t length)
{
	size_t page = sysconf(_SC_PAGESIZE), count = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry;

	if (fd < 0)
		return 0;
	for (size_t i = 0; i < length / page; i++)
		count += pread(fd, &entry, sizeof(entry),
			       (CDM_ADDR(addr) / page + i) * sizeof(entry)) ==
			 sizeof(entry) && (entry & PAGEMAP_SWAPPED);
	close(fd);
	return count;
}

int cdm_stay_on_cpu(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	return sched_setaffinity(0, sizeof(here), &here) ? -errno : 0;
}

static sigjmp_buf caught;

static void catch(int signal)
{
	siglongjmp(caught, signal);
}

static bool can(void *addr, const __u64 *value)
{
	struct sigaction now = { .sa_handler = catch }, old[2];
	/* Static: siglongjmp() may lose locals that are in registers. */
	static bool good;

	good = false;
	sigaction(SIGSEGV, &now, &old[0]);
	sigaction(SIGBUS, &now, &old[1]);
	if (!sigsetjmp(caught, 1)) {
		if (value)
			__atomic_store_n((__u64 *)addr, *value, __ATOMIC_RELAXED);
		else
			__atomic_load_n((__u64 *)addr, __ATOMIC_RELAXED);
		good = true;
	}
	sigaction(SIGSEGV, &old[0], NULL);
	sigaction(SIGBUS, &old[1], NULL);
	return good;
}

bool cdm_can_read(const void *addr)
{
	return can((void *)addr, NULL);
}

bool cdm_can_write(void *addr, __u64 value)
{
	return can(addr, &value);
}

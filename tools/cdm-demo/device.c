// SPDX-License-Identifier: GPL-2.0
/* Opening a node, calling it, and explaining what failed. */
#include <errno.h>
#include <hmmcdm.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "die.h"

/* Each driver numbers its operations itself; these are cdm_emu's. */
#define DRIVER		"cdm_emu"

/* Advice for the user. */
#define LOAD		"load the driver (modprobe cdm_emu region=<start>+<size>)"
#define JOIN		"run this as root, or as a member of the device's group (see ls -l)"

/*
 * A job that takes longer counts as stuck. An emulated machine, the slowest that this runs on,
 * walks a megabyte of text in a few seconds.
 */
#define TIMEOUT_S	300LL

/* A debugger that stops and continues the program must not end a call. */
#define restart_on_signal(call)					\
	({							\
		int error = -EINTR;				\
								\
		while (error == -EINTR)				\
			error = (call);				\
		error;						\
	})

__noreturn static void open_failed(const char *path)
{
	switch (errno) {
	case ENOENT:
		die("%s: no such device: %s, or name another node with --device", path, LOAD);
	case ENXIO:
	case ENODEV:
		die("%s: the node is gone: %s", path, LOAD);
	case EACCES:
	case EPERM:
		die("%s: permission denied: %s", path, JOIN);
	case ENOTTY:
		die("%s: not a node of hmm_cdm: name one with --device", path);
	default:
		die("%s: cannot be opened: %s", path, strerror(errno));
	}
}

__noreturn static void call_failed(const struct device *device, const char *call, int error)
{
	switch (-error) {
	case ENODEV:
	case ENXIO:
		die("%s: the node was removed during %s: %s", device->path, call, LOAD);
	case EOPNOTSUPP:
		die("%s: driver %s has no engine: name a node of %s with --device",
		    device->path, device->info.driver, DRIVER);
	case EAGAIN:
		die("%s: %s: too many jobs: try again", device->path, call);
	case ENOMEM:
		die("%s: %s: out of memory: use a smaller file", device->path, call);
	default:
		die("%s: %s failed: %s: see the kernel's log (dmesg)",
		    device->path, call, strerror(-error));
	}
}

void device_open(struct device *device, const char *path)
{
	struct hmm_cdm_info *info = &device->info;

	device->path = path;
	device->cdm = cdm_open_path(path);
	if (!device->cdm)
		open_failed(path);

	*info = *cdm_info(device->cdm);
	info->driver[sizeof(info->driver) - 1] = '\0';
	info->origin[sizeof(info->origin) - 1] = '\0';

	if (info->version < HMM_CDM_VERSION)
		die("%s: the driver's interface is version %u: load a driver that has %u",
		    path, info->version, HMM_CDM_VERSION);
	if (strcmp((const char *)info->driver, DRIVER))
		die("%s: driver %s counts no words: name a node of %s with --device",
		    path, info->driver, DRIVER);
	if (info->page_size != (__u64)sysconf(_SC_PAGESIZE))
		die("%s: the driver's page size is %u bytes, the C library's %ld",
		    path, info->page_size, sysconf(_SC_PAGESIZE));
}

void device_migrate(const struct device *device, unsigned long start, unsigned long end,
		    struct hmm_cdm_migrate *migrate)
{
	int error = restart_on_signal(cdm_migrate(device->cdm, (void *)start, end - start,
						  HMM_CDM_TARGET_NODE, 0, migrate));

	if (error)
		call_failed(device, "MIGRATE", error);
}

void device_query(const struct device *device, unsigned long start, unsigned long end,
		  struct hmm_cdm_query *query)
{
	int error = restart_on_signal(cdm_query(device->cdm, (void *)start, end - start, NULL,
						query));

	if (error)
		call_failed(device, "QUERY", error);
}

void device_stats(const struct device *device, struct hmm_cdm_stats *stats)
{
	int error = cdm_stats(device->cdm, stats);

	if (error)
		call_failed(device, "STATS", error);
}

__u64 device_submit(const struct device *device, enum cdm_emu_op op,
		    __u64 arg0, __u64 arg1, __u64 arg2)
{
	const __u64 args[HMM_CDM_JOB_ARGS] = { arg0, arg1, arg2 };
	__u64 job;
	int error = restart_on_signal(cdm_submit(device->cdm, op, args, &job));

	if (error)
		call_failed(device, "SUBMIT", error);
	return job;
}

void device_wait(const struct device *device, __u64 job, struct hmm_cdm_wait *wait)
{
	int error = cdm_wait(device->cdm, job, TIMEOUT_S * 1000000000, wait);

	/* The job's own status is for the caller. */
	if (error == wait->status)
		return;
	if (error == -ETIMEDOUT)
		die("%s: the job did not end in %lld seconds: see the kernel's log (dmesg)",
		    device->path, TIMEOUT_S);
	call_failed(device, "WAIT", error);
}

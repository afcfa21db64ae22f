// SPDX-License-Identifier: GPL-2.0
/* Opening a node and calling it; what to do when that does not work. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device.h"
#include "die.h"

/* The operations are numbers of this driver's, and mean others elsewhere. */
#define DRIVER		"cdm_emu"

/* What to do. */
#define LOAD		"load the driver (modprobe cdm_emu region=<start>+<size>)"
#define JOIN		"run this as root, or as a member of the device's group (see ls -l)"

/*
 * A job that takes longer than this is taken to be stuck. The slowest machine
 * this runs on, an emulated one, walks a megabyte of text in a few seconds.
 */
#define PATIENCE_S	300LL

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
	default:
		die("%s: cannot be opened: %s", path, strerror(errno));
	}
}

__noreturn static void call_failed(const struct device *device, const char *call)
{
	switch (errno) {
	case ENOTTY:
		die("%s: not a node of hmm_cdm: name one with --device", device->path);
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
		    device->path, call, strerror(errno));
	}
}

/* A debugger that stops the program and lets it go on must not end a call. */
static int call(const struct device *device, unsigned long request, void *argument)
{
	int error;

	do
		error = ioctl(device->fd, request, argument);
	while (error && errno == EINTR);
	return error;
}

void device_open(struct device *device, const char *path)
{
	struct hmm_cdm_info *info = &device->info;

	device->path = path;
	device->fd = open(path, O_RDWR | O_CLOEXEC);
	if (device->fd < 0)
		open_failed(path);

	*info = (struct hmm_cdm_info) { .size = sizeof(*info) };
	if (call(device, HMM_CDM_IOC_INFO, info))
		call_failed(device, "INFO");
	info->driver[sizeof(info->driver) - 1] = '\0';
	info->origin[sizeof(info->origin) - 1] = '\0';

	if (info->version < HMM_CDM_VERSION)
		die("%s: the driver's interface is version %u: load a driver that has %u",
		    path, info->version, HMM_CDM_VERSION);
	if (strcmp((const char *)info->driver, DRIVER))
		die("%s: driver %s counts no words: name a node of %s with --device",
		    path, info->driver, DRIVER);
	if (info->page_size != (__u64)sysconf(_SC_PAGESIZE))
		die("%s: the driver says that a page has %u bytes, the C library %ld",
		    path, info->page_size, sysconf(_SC_PAGESIZE));
}

void device_migrate(const struct device *device, unsigned long start, unsigned long end,
		    struct hmm_cdm_migrate *migrate)
{
	*migrate = (struct hmm_cdm_migrate) {
		.size = sizeof(*migrate),
		.addr = start,
		.length = end - start,
		.target = HMM_CDM_TARGET_NODE,
	};
	if (call(device, HMM_CDM_IOC_MIGRATE, migrate))
		call_failed(device, "MIGRATE");
}

void device_query(const struct device *device, unsigned long start, unsigned long end,
		  struct hmm_cdm_query *query)
{
	*query = (struct hmm_cdm_query) {
		.size = sizeof(*query),
		.addr = start,
		.length = end - start,
	};
	if (call(device, HMM_CDM_IOC_QUERY, query))
		call_failed(device, "QUERY");
}

void device_stats(const struct device *device, struct hmm_cdm_stats *stats)
{
	*stats = (struct hmm_cdm_stats) { .size = sizeof(*stats) };
	if (call(device, HMM_CDM_IOC_STATS, stats))
		call_failed(device, "STATS");
}

__u64 device_submit(const struct device *device, enum cdm_emu_op op,
		    __u64 arg0, __u64 arg1, __u64 arg2)
{
	struct hmm_cdm_submit submit = {
		.size = sizeof(submit),
		.op = op,
		.args = { arg0, arg1, arg2 },
	};

	if (call(device, HMM_CDM_IOC_SUBMIT, &submit))
		call_failed(device, "SUBMIT");
	return submit.job;
}

void device_wait(const struct device *device, __u64 job, struct hmm_cdm_wait *wait)
{
	*wait = (struct hmm_cdm_wait) {
		.size = sizeof(*wait),
		.job = job,
		.timeout_ns = PATIENCE_S * 1000000000,
	};
	if (!call(device, HMM_CDM_IOC_WAIT, wait))
		return;
	if (errno == ETIMEDOUT)
		die("%s: the job did not end in %lld seconds: see the kernel's log (dmesg)",
		    device->path, PATIENCE_S);
	call_failed(device, "WAIT");
}

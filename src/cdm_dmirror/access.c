// SPDX-License-Identifier: GPL-2.0
/*
 * The device's accesses to memory: by the process's addresses, through the
 * library's device page table, with a fault where it has no entry.
 */

#include <linux/highmem.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <test_hmm_uapi.h>

#include "dmirror.h"

/*
 * So much is passed on at a time: not while a page is accessed, which is done
 * under a spinlock.
 */
#define DMIRROR_BOUNCE	SZ_2M

/**
 * struct dmirror_access - accesses to a range, page by page
 * @dmirror: the open file
 * @addr: the next page
 * @end: the end of the range
 * @write: @buf is written to the page; otherwise the page is read into it
 * @buf: room for a page
 * @need: HMM_CDM_EXTENT_* that the page must have
 * @found: it has them, and was accessed
 */
struct dmirror_access {
	struct dmirror *dmirror;
	u64 addr;
	u64 end;
	bool write;
	void *buf;
	u32 need;
	bool found;
};

static void dmirror_access_page(const struct hmm_cdm_extent *at, void *arg)
{
	struct dmirror_access *access = arg;
	struct page *page;

	access->found = (at->flags & access->need) == access->need;
	if (!access->found)
		return;
	page = dmirror_page(access->dmirror->device, at);
	if (access->write)
		memcpy_to_page(page, 0, access->buf, PAGE_SIZE);
	else
		memcpy_from_page(access->buf, page, 0, PAGE_SIZE);
}

/*
 * One access, which is tried again after each fault. If it is only for pages of
 * a kind, none is faulted in: once, the device looks for what is present.
 */
static int dmirror_access(struct dmirror_access *access, u64 *faults)
{
	struct hmm_cdm_mirror *mirror = access->dmirror->mirror;
	bool looked = false;
	u32 flags = 0;
	int ret;

	if (access->write)
		flags |= HMM_CDM_FAULT_WRITE;
	if (access->need)
		flags |= HMM_CDM_FAULT_PRESENT;

	for (;;) {
		/* If others take the page away each time, this goes on and on. */
		if (fatal_signal_pending(current))
			return -EINTR;

		ret = hmm_cdm_access(mirror, access->addr, access->write,
				     dmirror_access_page, access);
		if (!ret)
			return access->found ? 0 : -ENOENT;
		if (ret != -ENOENT || (access->need && looked))
			return ret;

		/* The device knows how much more it is going to access. */
		ret = hmm_cdm_fault(mirror, access->addr,
				    access->end - access->addr, flags);
		if (ret)
			return ret;
		looked = true;
		if (!access->need)
			(*faults)++;
	}
}

/* Copies the range of @cmd to the buffer of the process that asks, or back. */
static int dmirror_transfer(struct dmirror *dmirror,
			    struct hmm_dmirror_cmd *cmd, bool write, u32 need)
{
	struct dmirror_access access = {
		.dmirror = dmirror,
		.addr = cmd->addr,
		.end = cmd->addr + (cmd->npages << PAGE_SHIFT),
		.write = write,
		.need = need,
	};
	size_t room = min(access.end - access.addr, DMIRROR_BOUNCE);
	void __user *user = u64_to_user_ptr(cmd->ptr);
	void *bounce;
	int ret = 0;

	bounce = kvmalloc(room, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	while (!ret && access.addr < access.end) {
		size_t done, size = min(access.end - access.addr, room);

		if (write && copy_from_user(bounce, user, size))
			ret = -EFAULT;
		for (done = 0; !ret && done < size; done += PAGE_SIZE) {
			access.buf = bounce + done;
			ret = dmirror_access(&access, &cmd->faults);
			if (ret)
				break;
			access.addr += PAGE_SIZE;
			cmd->cpages++;
		}
		if (!ret && !write && copy_to_user(user, bounce, size))
			ret = -EFAULT;
		user += size;
		cond_resched();
	}
	kvfree(bounce);
	return ret;
}

/**
 * dmirror_read() - the device reads memory
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_READ was given; sets the counts
 *
 * HMM_DMIRROR_READ_UNLOCKED is the same: the library always faults in such a
 * way that the mmap lock can be dropped meanwhile.
 *
 * Return: zero, or
 *
 * * -EFAULT: the process itself could not read there, or there is no buffer
 * * -EINTR: a fatal signal arrived
 * * -ESRCH: the process has exited
 * * -ENOMEM
 */
int dmirror_read(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_transfer(dmirror, cmd, false, 0);
}

/**
 * dmirror_read_kind() - the device reads memory of one kind, without faults
 * @dmirror: the open file
 * @cmd: the range, and the buffer; sets the counts
 * @need: HMM_CDM_EXTENT_*, the kind
 *
 * Return: as of dmirror_read(); -ENOENT: a page of the range is not present, or
 * not of that kind. The buffer may have what comes before it.
 */
int dmirror_read_kind(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd,
		      u32 need)
{
	return dmirror_transfer(dmirror, cmd, false, need);
}

/**
 * dmirror_write() - the device writes memory
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_WRITE was given; sets the counts
 *
 * Return: as of dmirror_read(), for writing; -EPERM: the process could only
 * read. What came before has been written then.
 */
int dmirror_write(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_transfer(dmirror, cmd, true, 0);
}

static void dmirror_look_exclusive(const struct hmm_cdm_extent *at, void *arg)
{
	bool *exclusive = arg;

	*exclusive = at->flags & HMM_CDM_EXTENT_EXCLUSIVE;
}

/**
 * dmirror_check_exclusive() - look whether the CPU has taken all pages back
 * @dmirror: the open file
 * @cmd: the range
 *
 * Return: zero; -EPERM: the device still has one for itself; -EINTR.
 */
int dmirror_check_exclusive(struct dmirror *dmirror,
			    struct hmm_dmirror_cmd *cmd)
{
	u64 addr = cmd->addr, end = addr + (cmd->npages << PAGE_SHIFT);

	for (; addr < end; addr += PAGE_SIZE) {
		bool exclusive = false;

		if (fatal_signal_pending(current))
			return -EINTR;
		hmm_cdm_access(dmirror->mirror, addr, false,
			       dmirror_look_exclusive, &exclusive);
		if (exclusive)
			return -EPERM;
		cond_resched();
	}
	return 0;
}

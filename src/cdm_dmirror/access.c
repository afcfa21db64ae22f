// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of the device to memory: by addresses of the process, through the
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
 * Size of the bounce buffer. Pages are accessed under a spinlock, so user memory is
 * copied before or afterwards.
 */
#define DMIRROR_BOUNCE	SZ_2M

/**
 * struct dmirror_access - access to a range, page by page
 * @dmirror: the open file
 * @addr: address of the next page
 * @end: end of the range
 * @write: write @buf to the page; otherwise read the page into @buf
 * @buf: buffer of a page
 * @required: HMM_CDM_EXTENT_* flags that the page must have
 * @matched: the page had them, and was accessed
 */
struct dmirror_access {
	struct dmirror *dmirror;
	u64 addr;
	u64 end;
	bool write;
	void *buf;
	u32 required;
	bool matched;
};

static void dmirror_access_page(const struct hmm_cdm_extent *at, void *arg)
{
	struct dmirror_access *access = arg;
	struct page *page;

	access->matched = (at->flags & access->required) == access->required;
	if (!access->matched)
		return;
	page = dmirror_page(access->dmirror->device, at);
	if (access->write)
		memcpy_to_page(page, 0, access->buf, PAGE_SIZE);
	else
		memcpy_from_page(access->buf, page, 0, PAGE_SIZE);
}

/*
 * Accesses one page, and tries again after each fault. With required flags no page is
 * faulted in: the device looks it up once.
 */
static int dmirror_access(struct dmirror_access *access, u64 *faults)
{
	struct hmm_cdm_mirror *mirror = access->dmirror->mirror;
	bool looked_up = false;
	u32 flags = 0;
	int ret;

	if (access->write)
		flags |= HMM_CDM_FAULT_WRITE;
	if (access->required)
		flags |= HMM_CDM_FAULT_PRESENT;

	for (;;) {
		/* Unbounded if the entry is invalidated before each attempt. */
		if (fatal_signal_pending(current))
			return -EINTR;

		ret = hmm_cdm_access(mirror, access->addr, access->write,
				     dmirror_access_page, access);
		if (!ret)
			return access->matched ? 0 : -ENOENT;
		if (ret != -ENOENT || (access->required && looked_up))
			return ret;

		/* A hint: the device is going to access the rest of the range. */
		ret = hmm_cdm_fault(mirror, access->addr,
				    access->end - access->addr, flags);
		if (ret)
			return ret;
		looked_up = true;
		if (!access->required)
			(*faults)++;
	}
}

/* Copies the range of @cmd to the caller's buffer, or back. */
static int dmirror_transfer(struct dmirror *dmirror,
			    struct hmm_dmirror_cmd *cmd, bool write, u32 required)
{
	struct dmirror_access access = {
		.dmirror = dmirror,
		.addr = cmd->addr,
		.end = cmd->addr + (cmd->npages << PAGE_SHIFT),
		.write = write,
		.required = required,
	};
	size_t bounce_size = min(access.end - access.addr, DMIRROR_BOUNCE);
	void __user *user = u64_to_user_ptr(cmd->ptr);
	void *bounce;
	int ret = 0;

	bounce = kvmalloc(bounce_size, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	while (!ret && access.addr < access.end) {
		size_t done, size = min(access.end - access.addr, bounce_size);

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
 * @cmd: argument of HMM_DMIRROR_READ; the counts are set
 *
 * HMM_DMIRROR_READ_UNLOCKED does the same: the library always allows a fault to drop
 * the mmap lock.
 *
 * Return: zero, or
 *
 * * -EFAULT: the process may not read there, or the buffer is not mapped
 * * -EINTR: a fatal signal arrived
 * * -ESRCH: the process has exited
 * * -ENOMEM
 */
int dmirror_read(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_transfer(dmirror, cmd, false, 0);
}

/**
 * dmirror_read_present() - the device reads memory without faulting it in
 * @dmirror: the open file
 * @cmd: the range and the buffer; the counts are set
 * @required: HMM_CDM_EXTENT_* flags that each page must have
 *
 * Return: as for dmirror_read(), or -ENOENT if a page is not present or lacks the
 * flags. The buffer may have the content of the pages before it then.
 */
int dmirror_read_present(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd,
			 u32 required)
{
	return dmirror_transfer(dmirror, cmd, false, required);
}

/**
 * dmirror_write() - the device writes memory
 * @dmirror: the open file
 * @cmd: argument of HMM_DMIRROR_WRITE; the counts are set
 *
 * Return: as for dmirror_read(), or -EPERM if the process may only read. The pages
 * before the failing one are written.
 */
int dmirror_write(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_transfer(dmirror, cmd, true, 0);
}

static void dmirror_test_exclusive(const struct hmm_cdm_extent *at, void *arg)
{
	bool *exclusive = arg;

	*exclusive = at->flags & HMM_CDM_EXTENT_EXCLUSIVE;
}

/**
 * dmirror_check_exclusive() - check that the device has no page exclusively
 * @dmirror: the open file
 * @cmd: the range
 *
 * Return: zero, -EPERM if a page is still exclusive to the device, or -EINTR if a
 * fatal signal arrived.
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
			       dmirror_test_exclusive, &exclusive);
		if (exclusive)
			return -EPERM;
		cond_resched();
	}
	return 0;
}

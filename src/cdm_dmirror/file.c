// SPDX-License-Identifier: GPL-2.0
/*
 * The files /dev/hmm_dmirror<N>: the ioctls of lib/test_hmm_uapi.h.
 *
 * Differences from lib/test_hmm.c: closing a file leaves pages where they are; large
 * ranges are read and written in parts, so a call that fails may have done some of
 * them; unknown commands fail with -ENOTTY and unknown flags with -EINVAL; calls on an
 * inherited file fail with -ESRCH once the process that opened it has exited.
 */

#include <linux/array_size.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <test_hmm_uapi.h>

#include "dmirror.h"

/* misc_open() has set private_data to the miscdevice. */
static int dmirror_open(struct inode *inode, struct file *file)
{
	struct dmirror_device *device =
		container_of(file->private_data, struct dmirror_device, misc);
	struct dmirror *dmirror;

	dmirror = kzalloc_obj(*dmirror);
	if (!dmirror)
		return -ENOMEM;

	dmirror->device = device;
	dmirror->mirror = hmm_cdm_create_mirror(device->cdm, current->mm,
						dmirror);
	if (IS_ERR(dmirror->mirror)) {
		int ret = PTR_ERR(dmirror->mirror);

		kfree(dmirror);
		return ret;
	}
	file->private_data = dmirror;
	return 0;
}

/* No ioctl is running: each holds a reference on the file. */
static int dmirror_release(struct inode *inode, struct file *file)
{
	struct dmirror *dmirror = file->private_data;

	hmm_cdm_destroy_mirror(dmirror->mirror);
	kfree(dmirror);
	return 0;
}

static int dmirror_release_memory(struct dmirror *dmirror,
				  struct hmm_dmirror_cmd *cmd)
{
	return dmirror_remove_memory(dmirror->device);
}

static int dmirror_set_flags(struct dmirror *dmirror,
			     struct hmm_dmirror_cmd *cmd)
{
	if (cmd->npages & ~HMM_DMIRROR_FLAG_FAIL_ALLOC)
		return -EINVAL;
	WRITE_ONCE(dmirror->fail_alloc,
		   cmd->npages & HMM_DMIRROR_FLAG_FAIL_ALLOC);
	return 0;
}

static const struct dmirror_call {
	unsigned int command;
	bool range;
	int (*run)(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd);
} dmirror_calls[] = {
	{ HMM_DMIRROR_READ,		true,	dmirror_read },
	{ HMM_DMIRROR_WRITE,		true,	dmirror_write },
	{ HMM_DMIRROR_MIGRATE_TO_DEV,	true,	dmirror_migrate_to_device },
	{ HMM_DMIRROR_MIGRATE_TO_SYS,	true,	dmirror_migrate_to_system },
	{ HMM_DMIRROR_SNAPSHOT,		true,	dmirror_snapshot },
	{ HMM_DMIRROR_EXCLUSIVE,	true,	dmirror_exclusive },
	{ HMM_DMIRROR_CHECK_EXCLUSIVE,	true,	dmirror_check_exclusive },
	{ HMM_DMIRROR_RELEASE,		false,	dmirror_release_memory },
	{ HMM_DMIRROR_FLAGS,		false,	dmirror_set_flags },
	{ HMM_DMIRROR_READ_UNLOCKED,	true,	dmirror_read },
};

static const struct dmirror_call *dmirror_find_call(unsigned int command)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dmirror_calls); i++)
		if (dmirror_calls[i].command == command)
			return &dmirror_calls[i];
	return NULL;
}

/* A range is page aligned, not empty, and does not overflow. */
static bool dmirror_range_ok(const struct hmm_dmirror_cmd *cmd)
{
	u64 length, end;

	return PAGE_ALIGNED(cmd->addr) && cmd->npages &&
	       !check_shl_overflow(cmd->npages, PAGE_SHIFT, &length) &&
	       !check_add_overflow(cmd->addr, length, &end);
}

static long dmirror_ioctl(struct file *file, unsigned int command,
			  unsigned long arg)
{
	const struct dmirror_call *call = dmirror_find_call(command);
	void __user *uarg = (void __user *)arg;
	struct hmm_dmirror_cmd cmd;
	int ret;

	if (!call)
		return -ENOTTY;
	if (copy_from_user(&cmd, uarg, sizeof(cmd)))
		return -EFAULT;
	if (call->range && !dmirror_range_ok(&cmd))
		return -EINVAL;

	cmd.cpages = 0;
	cmd.faults = 0;
	ret = call->run(file->private_data, &cmd);
	if (!ret && copy_to_user(uarg, &cmd, sizeof(cmd)))
		ret = -EFAULT;
	return ret;
}

/*
 * Maps single pages (VM_MIXEDMAP), which the device can access. On error the core
 * unmaps those already inserted.
 */
static int dmirror_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;

	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		struct page *page;
		int ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, addr, page);
		put_page(page);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

const struct file_operations dmirror_fops = {
	.owner		= THIS_MODULE,
	.open		= dmirror_open,
	.release	= dmirror_release,
	.unlocked_ioctl	= dmirror_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= dmirror_mmap,
};

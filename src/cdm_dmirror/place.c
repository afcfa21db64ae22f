// SPDX-License-Identifier: GPL-2.0
/*
 * Where memory lies: looking, moving, and taking it away from the CPU.
 */

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <test_hmm_uapi.h>

#include "dmirror.h"

/* So many pages are looked at together. */
#define DMIRROR_LOOK	512

/* Calls @tell with what is known of the pages of a range, until it is not zero. */
static int dmirror_look(struct dmirror *dmirror,
			const struct hmm_dmirror_cmd *cmd,
			int (*tell)(const struct hmm_cdm_page *pages, u32 nr,
				    void *arg),
			void *arg)
{
	u64 addr = cmd->addr, left = cmd->npages;
	struct hmm_cdm_page *pages;
	int ret = 0;

	pages = kmalloc_array(DMIRROR_LOOK, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	while (!ret && left) {
		u32 nr = min(left, DMIRROR_LOOK);

		/* -EBUSY: others change the range all the time. */
		do {
			ret = hmm_cdm_query(dmirror->mirror, addr,
					    nr * PAGE_SIZE, pages);
		} while (ret == -EBUSY && !fatal_signal_pending(current));
		if (!ret)
			ret = tell(pages, nr, arg);
		addr += nr * PAGE_SIZE;
		left -= nr;
	}
	kfree(pages);
	return ret;
}

/* What HMM_DMIRROR_SNAPSHOT says of a page: HMM_DMIRROR_PROT_*. */
static u8 dmirror_prot(const struct hmm_cdm_page *page)
{
	bool private = page->flags & HMM_CDM_PAGE_PRIVATE;
	u8 prot = HMM_DMIRROR_PROT_NONE;

	switch (page->where) {
	case HMM_CDM_WHERE_UNMAPPED:
		return HMM_DMIRROR_PROT_ERROR;
	case HMM_CDM_WHERE_ABSENT:
		return HMM_DMIRROR_PROT_NONE;
	case HMM_CDM_WHERE_SYSTEM:
		if (page->flags & HMM_CDM_PAGE_ZERO)
			prot = HMM_DMIRROR_PROT_ZERO;
		break;
	case HMM_CDM_WHERE_NODE:
		prot = private ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
				 HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL;
		break;
	case HMM_CDM_WHERE_DEVICE:
		/* Of no use to this device until it has come home. */
		if (private)
			return HMM_DMIRROR_PROT_NONE;
		prot = HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
		break;
	}

	if (page->cpu & HMM_CDM_ACCESS_WRITE)
		prot |= HMM_DMIRROR_PROT_WRITE;
	else
		prot |= HMM_DMIRROR_PROT_READ;
	if (page->order == PMD_SHIFT - PAGE_SHIFT)
		prot |= HMM_DMIRROR_PROT_PMD;
	else if (page->order == PUD_SHIFT - PAGE_SHIFT)
		prot |= HMM_DMIRROR_PROT_PUD;
	return prot;
}

static int dmirror_tell_prot(const struct hmm_cdm_page *pages, u32 nr, void *arg)
{
	struct hmm_dmirror_cmd *cmd = arg;
	u8 prots[DMIRROR_LOOK];
	u32 i;

	for (i = 0; i < nr; i++)
		prots[i] = dmirror_prot(&pages[i]);
	if (copy_to_user(u64_to_user_ptr(cmd->ptr) + cmd->cpages, prots, nr))
		return -EFAULT;
	cmd->cpages += nr;
	return 0;
}

/**
 * dmirror_snapshot() - tell where pages lie, without changing anything
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_SNAPSHOT was given: room for one byte for each page;
 *	sets the count
 *
 * Return: zero, or -EFAULT, -EINTR, -ESRCH or -ENOMEM.
 */
int dmirror_snapshot(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_look(dmirror, cmd, dmirror_tell_prot, cmd);
}

static int dmirror_tell_readable(const struct hmm_cdm_page *pages, u32 nr,
				 void *arg)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (pages[i].where == HMM_CDM_WHERE_UNMAPPED)
			return -EINVAL;
	return 0;
}

/* Moves the range of @cmd, and counts pages whose content was copied. */
static int dmirror_migrate(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd,
			   u32 target)
{
	u64 addr = cmd->addr, end = addr + (cmd->npages << PAGE_SHIFT);
	u64 step = end - addr;
	u32 flags = target == HMM_CDM_TARGET_NODE ?
		    HMM_CDM_MIGRATE_LEAVE_PEERS : 0;

	/*
	 * It is the library that allocates where pages go. What follows of
	 * there being no large page for a huge one is that its pages have to
	 * go one by one.
	 */
	if (xchg(&dmirror->fail_alloc, false))
		step = PAGE_SIZE;

	for (; addr < end; addr += step) {
		struct hmm_cdm_migrate migrate = {
			.size = sizeof(migrate),
			.flags = flags,
			.addr = addr,
			.length = step,
			.target = target,
		};
		int ret = hmm_cdm_migrate(dmirror->mirror, &migrate);

		if (ret)
			return ret;
		cmd->cpages += migrate.migrated;
	}
	return 0;
}

/**
 * dmirror_migrate_to_device() - move pages to the device's memory, and read them
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_MIGRATE_TO_DEV was given; sets the count of those read
 *
 * Pages that cannot move stay where they are.
 *
 * Return: zero, or
 *
 * * -ENOENT: a page is not in the device's memory
 * * -EINVAL: part of the range is not mapped, or cannot be read; nothing was done
 * * -ENODEV: someone else had the device release its memory meanwhile
 * * -EBUSY: the device's memory was released, but someone held some of it, and
 *   still does
 * * -EFAULT: there is no buffer
 * * -EINTR, -ESRCH, -ENOMEM
 */
int dmirror_migrate_to_device(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd)
{
	int ret;

	ret = dmirror_look(dmirror, cmd, dmirror_tell_readable, NULL);
	if (ret)
		return ret;
	ret = dmirror_add_memory(dmirror->device);
	if (ret)
		return ret;
	ret = dmirror_migrate(dmirror, cmd, HMM_CDM_TARGET_NODE);
	if (ret)
		return ret;
	cmd->cpages = 0;
	return dmirror_read_kind(dmirror, cmd, HMM_CDM_EXTENT_LOCAL);
}

/**
 * dmirror_migrate_to_system() - move pages from the device's memory
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_MIGRATE_TO_SYS was given; sets the count of those moved
 *
 * Return: zero; -EINVAL: part of the range is not mapped, or cannot be read;
 * -EINTR, -ESRCH or -ENOMEM.
 */
int dmirror_migrate_to_system(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd)
{
	int ret;

	ret = dmirror_look(dmirror, cmd, dmirror_tell_readable, NULL);
	if (ret)
		return ret;
	ret = dmirror_migrate(dmirror, cmd, HMM_CDM_TARGET_SYSTEM);
	/* Nothing is in memory that the device does not have. */
	return ret == -ENODEV ? 0 : ret;
}

/**
 * dmirror_exclusive() - take pages away from the CPU, and read them
 * @dmirror: the open file
 * @cmd: what HMM_DMIRROR_EXCLUSIVE was given; sets the count of those read
 *
 * Return: zero, or the error of hmm_cdm_make_exclusive() for the first page that
 * it cannot be done for, or of dmirror_read_kind(): -ENOENT if the CPU has
 * taken a page back already.
 */
int dmirror_exclusive(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	u64 addr = cmd->addr, end = addr + (cmd->npages << PAGE_SHIFT);

	while (addr < end) {
		long done = hmm_cdm_make_exclusive(dmirror->mirror, addr,
						   end - addr);

		if (done < 0)
			return done;
		addr += (u64)done << PAGE_SHIFT;
	}
	return dmirror_read_kind(dmirror, cmd, HMM_CDM_EXTENT_EXCLUSIVE);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Snapshots, migrations, and pages exclusive to the device.
 */

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <test_hmm_uapi.h>

#include "dmirror.h"

/* Pages per query. */
#define DMIRROR_QUERY_PAGES	512

/* Queries the pages of a range, and calls @fn for each part until it fails. */
static int dmirror_query(struct dmirror *dmirror,
			 const struct hmm_dmirror_cmd *cmd,
			 int (*fn)(const struct hmm_cdm_page *pages, u32 nr,
				   void *arg),
			 void *arg)
{
	u64 addr = cmd->addr, left = cmd->npages;
	struct hmm_cdm_page *pages;
	int ret = 0;

	pages = kmalloc_array(DMIRROR_QUERY_PAGES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	while (!ret && left) {
		u32 nr = min(left, DMIRROR_QUERY_PAGES);

		/* -EBUSY: the range keeps changing. */
		do {
			ret = hmm_cdm_query(dmirror->mirror, addr,
					    nr * PAGE_SIZE, pages);
		} while (ret == -EBUSY && !fatal_signal_pending(current));
		if (!ret)
			ret = fn(pages, nr, arg);
		addr += nr * PAGE_SIZE;
		left -= nr;
	}
	kfree(pages);
	return ret;
}

/* HMM_DMIRROR_PROT_* of a page, for HMM_DMIRROR_SNAPSHOT. */
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
		/* Not accessible to this device before it is migrated. */
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

static int dmirror_copy_prots(const struct hmm_cdm_page *pages, u32 nr, void *arg)
{
	struct hmm_dmirror_cmd *cmd = arg;
	u8 prots[DMIRROR_QUERY_PAGES];
	u32 i;

	for (i = 0; i < nr; i++)
		prots[i] = dmirror_prot(&pages[i]);
	if (copy_to_user(u64_to_user_ptr(cmd->ptr) + cmd->cpages, prots, nr))
		return -EFAULT;
	cmd->cpages += nr;
	return 0;
}

/**
 * dmirror_snapshot() - report where pages are, without faulting any in
 * @dmirror: the open file
 * @cmd: argument of HMM_DMIRROR_SNAPSHOT, with a buffer of one byte for each page; the
 *	count is set
 *
 * Return: zero, or -EFAULT, -EINTR, -ESRCH or -ENOMEM.
 */
int dmirror_snapshot(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd)
{
	return dmirror_query(dmirror, cmd, dmirror_copy_prots, cmd);
}

static int dmirror_check_mapped(const struct hmm_cdm_page *pages, u32 nr,
				void *arg)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (pages[i].where == HMM_CDM_WHERE_UNMAPPED)
			return -EINVAL;
	return 0;
}

/* Migrates the range of @cmd, and counts the pages copied. */
static int dmirror_migrate(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd,
			   u32 target)
{
	u64 addr = cmd->addr, end = addr + (cmd->npages << PAGE_SHIFT);
	u64 step = end - addr;
	u32 flags = target == HMM_CDM_TARGET_NODE ?
		    HMM_CDM_MIGRATE_LEAVE_PEERS : 0;

	/*
	 * The library allocates the destinations. A failed allocation of a large folio
	 * would make it migrate single pages; request that instead.
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
 * dmirror_migrate_to_device() - migrate pages to device memory, and read them
 * @dmirror: the open file
 * @cmd: argument of HMM_DMIRROR_MIGRATE_TO_DEV; the count of pages read is set
 *
 * Pages that cannot be migrated stay where they are.
 *
 * Return: zero, or
 *
 * * -ENOENT: a page is not in device memory afterwards
 * * -EINVAL: part of the range is not mapped or not readable; nothing was done
 * * -ENODEV: the device's memory was removed meanwhile (HMM_DMIRROR_RELEASE)
 * * -EBUSY: the device's memory was removed, and some of its pages are still
 *   referenced
 * * -EFAULT: the buffer is not mapped
 * * -EINTR, -ESRCH, -ENOMEM
 */
int dmirror_migrate_to_device(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd)
{
	int ret;

	ret = dmirror_query(dmirror, cmd, dmirror_check_mapped, NULL);
	if (ret)
		return ret;
	ret = dmirror_add_memory(dmirror->device);
	if (ret)
		return ret;
	ret = dmirror_migrate(dmirror, cmd, HMM_CDM_TARGET_NODE);
	if (ret)
		return ret;
	cmd->cpages = 0;
	return dmirror_read_present(dmirror, cmd, HMM_CDM_EXTENT_LOCAL);
}

/**
 * dmirror_migrate_to_system() - migrate pages from device memory
 * @dmirror: the open file
 * @cmd: argument of HMM_DMIRROR_MIGRATE_TO_SYS; the count of pages migrated is set
 *
 * Return: zero, -EINVAL if part of the range is not mapped or not readable, -EINTR,
 * -ESRCH or -ENOMEM.
 */
int dmirror_migrate_to_system(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd)
{
	int ret;

	ret = dmirror_query(dmirror, cmd, dmirror_check_mapped, NULL);
	if (ret)
		return ret;
	ret = dmirror_migrate(dmirror, cmd, HMM_CDM_TARGET_SYSTEM);
	/* Without memory the device has no pages to migrate. */
	return ret == -ENODEV ? 0 : ret;
}

/**
 * dmirror_exclusive() - make pages exclusive to the device, and read them
 * @dmirror: the open file
 * @cmd: argument of HMM_DMIRROR_EXCLUSIVE; the count of pages read is set
 *
 * Return: zero, the error of hmm_cdm_make_exclusive() for the first page that it fails
 * for, or that of dmirror_read_present(): -ENOENT if the CPU has accessed a page
 * meanwhile.
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
	return dmirror_read_present(dmirror, cmd, HMM_CDM_EXTENT_EXCLUSIVE);
}

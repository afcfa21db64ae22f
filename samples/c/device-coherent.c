// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of device-private.c, extended to memory that the CPU accesses coherently.
 * Without start= it still drives a device whose memory the CPU cannot access.
 *
 * The parts that stand for the hardware, the copy engine (accel_copy() and accel_zero())
 * and the engine that runs jobs (engine.c), still access the memory by offset
 * (&struct accel.vram). Only the library has to be told that the CPU can access it.
 */
#include <linux/err.h>
#include <linux/hmm_cdm.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "engine.h"

/*
 * An object cannot be part of both drivers, so each includes the engine. A driver of
 * its own lists engine.o and tlb.o in its Kbuild.
 */
#include "engine.c"
#include "tlb.c"

static unsigned long long start;
module_param(start, ullong, 0400);
MODULE_PARM_DESC(start, "Physical address of memory that the CPU accesses coherently");

static int nid = HMM_CDM_ANY_NODE;
module_param(nid, int, 0444);
MODULE_PARM_DESC(nid, "NUMA node of that memory (default: ask the firmware)");

static unsigned long long size = SZ_64M;
module_param(size, ullong, 0444);
MODULE_PARM_DESC(size, "Bytes of device memory");

struct accel {
	struct hmm_cdm_device *cdm;
	void *vram;
};

/* The only device. The driver of a bus has one for each device that it probes. */
static struct accel *the_accel;

/*
 * A real driver maps the system pages for DMA, starts the hardware's copy engine and
 * waits for it. It may sleep. Page locks are held, so allocations need GFP_NOFS.
 */
static int accel_copy(struct hmm_cdm_device *device,
		      const struct hmm_cdm_copy *copies, u32 nr)
{
	struct accel *accel = hmm_cdm_device_data(device);

	for (u32 i = 0; i < nr; i++) {
		void *system = page_address(copies[i].page);
		void *local = accel->vram + copies[i].offset;
		size_t bytes = (size_t)copies[i].pages << PAGE_SHIFT;

		if (copies[i].direction == HMM_CDM_COPY_IN)
			memcpy(local, system, bytes);
		else
			memcpy(system, local, bytes);
	}
	return nr;
}

/* The pages still have the content of their last user. */
static int accel_zero(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	struct accel *accel = hmm_cdm_device_data(device);

	memset(accel->vram + offset, 0, (size_t)pages << PAGE_SHIFT);
	return 0;
}

/* A process has opened the device. */
static int accel_open(struct hmm_cdm_mirror *mirror)
{
	struct accel *accel = hmm_cdm_device_data(hmm_cdm_mirror_device(mirror));
	struct engine *engine = engine_start(mirror, accel->vram);

	if (IS_ERR(engine))
		return PTR_ERR(engine);
	hmm_cdm_set_mirror_data(mirror, engine);
	return 0;
}

/* The process has closed the device or exited. No callback of the mirror follows. */
static void accel_close(struct hmm_cdm_mirror *mirror)
{
	engine_stop(hmm_cdm_mirror_data(mirror));
}

/* The engine may use these pages until accel_invalidate() is called for them. */
static void accel_map(struct hmm_cdm_mirror *mirror,
		      const struct hmm_cdm_extent *extent)
{
	accel_tlb_enter(engine_tlb(hmm_cdm_mirror_data(mirror)), extent);
}

/* The engine does not use any page of the range when this returns. */
static void accel_invalidate(struct hmm_cdm_mirror *mirror, u64 addr, u64 length)
{
	accel_tlb_flush(engine_tlb(hmm_cdm_mirror_data(mirror)), addr, length);
}

static int accel_run(struct hmm_cdm_mirror *mirror, struct hmm_cdm_job *job)
{
	return engine_queue(hmm_cdm_mirror_data(mirror), job);
}

static const struct hmm_cdm_ops accel_ops = {
	.version = HMM_CDM_API_VERSION,
	.owner = THIS_MODULE,
	.name = KBUILD_MODNAME,
	.open = accel_open,
	.close = accel_close,
	.map = accel_map,
	.invalidate = accel_invalidate,
	.copy = accel_copy,
	.zero = accel_zero,
	.run = accel_run,
};

/* The driver of a bus does this in probe(). */
static int __init accel_init(void)
{
	struct hmm_cdm_memory memory = {
		.type = start ? HMM_CDM_MEMORY_COHERENT :
				HMM_CDM_MEMORY_PRIVATE,
		.start = start,
		.size = size,
		.nid = nid,
	};
	struct accel *accel = kzalloc_obj(*accel);
	int err;

	if (!accel)
		return -ENOMEM;
	/* Not accessed before hmm_cdm_add_memory() has mapped it. */
	accel->vram = start ? phys_to_virt(start) : vzalloc(size);
	if (!accel->vram) {
		err = -ENOMEM;
		goto free;
	}
	accel->cdm = hmm_cdm_register_device(&accel_ops, accel);
	if (IS_ERR(accel->cdm)) {
		err = PTR_ERR(accel->cdm);
		goto free_vram;
	}
	/* Last: from here on processes can open the device. */
	err = hmm_cdm_add_memory(accel->cdm, &memory);
	if (err)
		goto unregister;
	the_accel = accel;
	return 0;

unregister:
	WARN_ON(hmm_cdm_unregister_device(accel->cdm));
free_vram:
	if (!start)
		vfree(accel->vram);
free:
	kfree(accel);
	return err;
}
module_init(accel_init);

/*
 * The driver of a bus does this in remove(). No file is open, as that would hold a
 * reference on the module. Pages of processes migrate to system memory now.
 */
static void __exit accel_exit(void)
{
	struct accel *accel = the_accel;

	hmm_cdm_remove_memory(accel->cdm);
	WARN_ON(hmm_cdm_unregister_device(accel->cdm));
	if (!start)
		vfree(accel->vram);
	kfree(accel);
}
module_exit(accel_exit);

MODULE_AUTHOR("The hmm-cdm developers");
MODULE_DESCRIPTION("Sample of an accelerator with device memory");
MODULE_LICENSE("GPL");

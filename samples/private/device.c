// SPDX-License-Identifier: GPL-2.0
/*
 * A driver to copy from, on top of hmm_cdm.ko: an accelerator whose memory the
 * CPU cannot access.
 *
 * Its memory is an array (&struct accel.vram) that only the device's own parts
 * touch, by offset: the copy engine, which is accel_copy() and accel_zero() here,
 * and the engine that runs jobs, which is engine.c. Everything else is what a
 * driver of real hardware has, too.
 */
#include <linux/err.h>
#include <linux/hmm_cdm.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "engine.h"

static unsigned long long size = SZ_64M;
module_param(size, ullong, 0444);
MODULE_PARM_DESC(size, "Bytes of device memory");

struct accel {
	struct hmm_cdm_device *cdm;
	void *vram;
};

/* There is one. A driver of a bus has one for each device that it probes. */
static struct accel *the_accel;

/*
 * A real driver maps the system pages for DMA, has the hardware copy, and waits
 * for that. It may sleep, but with page locks held: what it allocates, it
 * allocates with GFP_NOFS.
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

/* What the last user has left in the pages is not for the next. */
static int accel_zero(struct hmm_cdm_device *device, u64 offset, u32 pages)
{
	struct accel *accel = hmm_cdm_device_data(device);

	memset(accel->vram + offset, 0, (size_t)pages << PAGE_SHIFT);
	return 0;
}

/* A process opens the device. */
static int accel_open(struct hmm_cdm_mirror *mirror)
{
	struct accel *accel = hmm_cdm_device_data(hmm_cdm_mirror_device(mirror));
	struct engine *engine = engine_start(mirror, accel->vram);

	if (IS_ERR(engine))
		return PTR_ERR(engine);
	hmm_cdm_set_mirror_data(mirror, engine);
	return 0;
}

/* It closes it, or is gone. Neither of the next two is called any more. */
static void accel_close(struct hmm_cdm_mirror *mirror)
{
	engine_stop(hmm_cdm_mirror_data(mirror));
}

/* The engine may use these pages from now on, */
static void accel_map(struct hmm_cdm_mirror *mirror,
		      const struct hmm_cdm_extent *extent)
{
	accel_tlb_enter(engine_tlb(hmm_cdm_mirror_data(mirror)), extent);
}

/* and does not any more when this returns. */
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

/* What probe() is for a driver of a bus. */
static int __init accel_init(void)
{
	struct hmm_cdm_memory memory = {
		.type = HMM_CDM_MEMORY_PRIVATE,
		.size = size,
		.nid = HMM_CDM_ANY_NODE,
	};
	struct accel *accel = kzalloc_obj(*accel);
	int err;

	if (!accel)
		return -ENOMEM;
	accel->vram = vzalloc(size);
	if (!accel->vram) {
		err = -ENOMEM;
		goto free;
	}
	accel->cdm = hmm_cdm_register_device(&accel_ops, accel);
	if (IS_ERR(accel->cdm)) {
		err = PTR_ERR(accel->cdm);
		goto free_vram;
	}
	/* Last, as processes have the device open from then on. */
	err = hmm_cdm_add_memory(accel->cdm, &memory);
	if (err)
		goto unregister;
	the_accel = accel;
	return 0;

unregister:
	WARN_ON(hmm_cdm_unregister_device(accel->cdm));
free_vram:
	vfree(accel->vram);
free:
	kfree(accel);
	return err;
}
module_init(accel_init);

/*
 * And remove(). No file is open, since that holds the module; but what processes
 * have put into the memory is there, and goes to system memory now.
 */
static void __exit accel_exit(void)
{
	struct accel *accel = the_accel;

	hmm_cdm_remove_memory(accel->cdm);
	WARN_ON(hmm_cdm_unregister_device(accel->cdm));
	vfree(accel->vram);
	kfree(accel);
}
module_exit(accel_exit);

MODULE_AUTHOR("The hmm-cdm developers");
MODULE_DESCRIPTION("Sample of an accelerator with device memory");
MODULE_LICENSE("GPL");

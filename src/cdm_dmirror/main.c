// SPDX-License-Identifier: GPL-2.0
/*
 * The devices: hmm_dmirror0 and 1 have private memory. hmm_dmirror2 and 3 have coherent
 * memory, and exist only if a parameter gives its address.
 */

#include <linux/array_size.h>
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>

#include "dmirror.h"

/* Memory of each device; lib/test_hmm.c has as much coherent memory. */
#define DMIRROR_MEMORY	SZ_256M

static unsigned long spm_addr_dev0;
module_param(spm_addr_dev0, ulong, 0400);
MODULE_PARM_DESC(spm_addr_dev0,
		 "Physical address of 256 MiB of memory that the kernel does not use: the coherent memory of hmm_dmirror2");

static unsigned long spm_addr_dev1;
module_param(spm_addr_dev1, ulong, 0400);
MODULE_PARM_DESC(spm_addr_dev1, "The same for hmm_dmirror3");

static struct dmirror_device dmirror_devices[4];

/* The caller holds the parameter lock, see dmirror_set_cdm(). */
static int dmirror_get_used(char *buffer, const struct kernel_param *kp)
{
	const char *separator = "";
	unsigned int i;
	int len = 0;

	for (i = 0; i < ARRAY_SIZE(dmirror_devices); i++) {
		struct hmm_cdm_device *cdm = dmirror_devices[i].cdm;
		u64 pages, free = 0;

		if (!cdm)
			continue;
		pages = hmm_cdm_pages(cdm, &free);
		len += scnprintf(buffer + len, PAGE_SIZE - len, "%s%llu",
				 separator, pages - free);
		separator = ",";
	}
	return len + scnprintf(buffer + len, PAGE_SIZE - len, "\n");
}

static const struct kernel_param_ops dmirror_used_ops = {
	.get = dmirror_get_used,
};

module_param_cb(used, &dmirror_used_ops, NULL, 0444);
MODULE_PARM_DESC(used,
		 "Number of device pages in use, for each device (read-only)");

/* Parameters can be read before the module's init and after its exit. */
static void dmirror_set_cdm(struct dmirror_device *device,
			    struct hmm_cdm_device *cdm)
{
	kernel_param_lock(THIS_MODULE);
	device->cdm = cdm;
	kernel_param_unlock(THIS_MODULE);
}

/* Undoes dmirror_start(). No file of the device is open. */
static void dmirror_stop(struct dmirror_device *device)
{
	struct hmm_cdm_device *cdm = device->cdm;

	if (!cdm)
		return;
	dmirror_set_cdm(device, NULL);
	/* Fails if there is none. Pages that are still referenced stay with the library. */
	hmm_cdm_remove_memory(cdm);
	WARN_ON(hmm_cdm_unregister_device(cdm));
	dmirror_free_backing(device);
}

/* Registers a device with coherent memory at @start, or private memory if that is 0. */
static int dmirror_start(struct dmirror_device *device, u64 start)
{
	const struct hmm_cdm_ops *ops = &dmirror_coherent_ops;
	struct hmm_cdm_device *cdm;
	int ret;

	mutex_init(&device->memory_lock);
	device->memory = (struct hmm_cdm_memory) {
		.type	= HMM_CDM_MEMORY_COHERENT,
		.flags	= HMM_CDM_MEMORY_NO_FILE,
		.start	= start,
		.size	= DMIRROR_MEMORY,
		.nid	= HMM_CDM_ANY_NODE,
	};
	if (!start) {
		device->memory.type = HMM_CDM_MEMORY_PRIVATE;
		ops = &dmirror_private_ops;
		ret = dmirror_alloc_backing(device);
		if (ret)
			return ret;
	}

	cdm = hmm_cdm_register_device(ops, device);
	if (IS_ERR(cdm)) {
		dmirror_free_backing(device);
		return PTR_ERR(cdm);
	}
	dmirror_set_cdm(device, cdm);

	ret = dmirror_add_memory(device);
	if (ret)
		dmirror_stop(device);
	return ret;
}

static int dmirror_add_file(struct dmirror_device *device, unsigned int index)
{
	static const char * const names[] = {
		"hmm_dmirror0", "hmm_dmirror1", "hmm_dmirror2", "hmm_dmirror3",
	};

	device->misc = (struct miscdevice) {
		.minor	= MISC_DYNAMIC_MINOR,
		.name	= names[index],
		.fops	= &dmirror_fops,
	};
	return misc_register(&device->misc);
}

static int __init dmirror_init(void)
{
	const u64 starts[] = { 0, 0, spm_addr_dev0, spm_addr_dev1 };
	unsigned int i, files;
	int ret;

	for (i = 0; i < ARRAY_SIZE(dmirror_devices); i++) {
		/* The last two are coherent, and optional. */
		if (i >= 2 && !starts[i])
			continue;
		ret = dmirror_start(&dmirror_devices[i], starts[i]);
		if (ret)
			goto stop;
	}
	/* Last: from here on the devices can be opened. */
	for (files = 0; files < ARRAY_SIZE(dmirror_devices); files++) {
		if (!dmirror_devices[files].cdm)
			continue;
		ret = dmirror_add_file(&dmirror_devices[files], files);
		if (ret)
			goto remove_files;
	}
	return 0;

remove_files:
	while (files--)
		if (dmirror_devices[files].cdm)
			misc_deregister(&dmirror_devices[files].misc);
stop:
	while (i--)
		dmirror_stop(&dmirror_devices[i]);
	return ret;
}

/* No file is open. Pages of processes migrate to system memory. */
static void __exit dmirror_exit(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dmirror_devices); i++)
		if (dmirror_devices[i].cdm)
			misc_deregister(&dmirror_devices[i].misc);
	for (i = 0; i < ARRAY_SIZE(dmirror_devices); i++)
		dmirror_stop(&dmirror_devices[i]);
}

module_init(dmirror_init);
module_exit(dmirror_exit);
MODULE_DESCRIPTION("The kernel's HMM tests on hmm_cdm.ko");
MODULE_LICENSE("GPL");

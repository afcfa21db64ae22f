/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cdm_dmirror.ko: the interface of the kernel's lib/test_hmm.c on top of hmm_cdm.ko,
 * so that the kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c) run on the
 * library. A driver in C that uses <linux/hmm_cdm.h> alone.
 */
#ifndef _CDM_DMIRROR_H
#define _CDM_DMIRROR_H

#include <linux/hmm_cdm.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>

struct hmm_dmirror_cmd;

/**
 * struct dmirror_device - a device, and its file /dev/hmm_dmirror<N>
 * @cdm: the library's device, NULL if this one is not configured. The parameter
 *	"used" reads it under the lock of the module's parameters; an open file keeps
 *	it in place
 * @misc: the file
 * @memory: describes the device's memory, whether or not it is added at the moment
 * @memory_lock: serialises adding and removing the memory, so that -EBUSY of
 *	hmm_cdm_add_memory() has one meaning
 * @backing: for private memory, the system page that emulates each page of it; NULL
 *	while the page is free. The user of a page owns its slot, so there is no lock
 *	(memory.c)
 */
struct dmirror_device {
	struct hmm_cdm_device *cdm;
	struct miscdevice misc;
	struct hmm_cdm_memory memory;
	struct mutex memory_lock; /* serialises adding and removing @memory */
	struct page **backing;
};

/**
 * struct dmirror - an open file
 * @device: the device
 * @mirror: mirrors the address space of the process that opened it. Children that
 *	inherit the file work on that address space, not on their own
 * @fail_alloc: the next migration fails to allocate large folios
 */
struct dmirror {
	struct dmirror_device *device;
	struct hmm_cdm_mirror *mirror;
	bool fail_alloc;
};

/* file.c */
extern const struct file_operations dmirror_fops;

/* memory.c */
extern const struct hmm_cdm_ops dmirror_private_ops;
extern const struct hmm_cdm_ops dmirror_coherent_ops;
int dmirror_add_memory(struct dmirror_device *device);
int dmirror_remove_memory(struct dmirror_device *device);
int dmirror_alloc_backing(struct dmirror_device *device);
void dmirror_free_backing(struct dmirror_device *device);
struct page *dmirror_page(struct dmirror_device *device,
			  const struct hmm_cdm_extent *at);

/* access.c */
int dmirror_read(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd);
int dmirror_read_present(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd,
			 u32 required);
int dmirror_write(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd);
int dmirror_check_exclusive(struct dmirror *dmirror,
			    struct hmm_dmirror_cmd *cmd);

/* migrate.c */
int dmirror_migrate_to_device(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd);
int dmirror_migrate_to_system(struct dmirror *dmirror,
			      struct hmm_dmirror_cmd *cmd);
int dmirror_exclusive(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd);
int dmirror_snapshot(struct dmirror *dmirror, struct hmm_dmirror_cmd *cmd);

#endif /* _CDM_DMIRROR_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loading and unloading the modules, and what the kernel says meanwhile: for
 * the tests of regions and of unloading.
 */
#ifndef CDM_MODULE_H
#define CDM_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <linux/types.h>

#define CDM_CORE		"hmm_cdm"
#define CDM_EMU			"cdm_emu"

/* One of the regions that the machine has for the tests, from CDM_REGIONS. */
struct cdm_region {
	__u64 start;
	__u64 size;
	int node;
	char text[64];
};

#define CDM_REGIONS_MAX		4

/* How things were, to have them the same after reloading. */
struct cdm_found {
	char list[512];		/* the parameter region=; empty if none was given */
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/*
 * The regions of CDM_REGIONS in @regions, and joined for region= in @list if
 * that is not NULL. Returns how many there are: zero if it is not set.
 */
int cdm_regions(struct cdm_region *regions, char *list, size_t size);

/*
 * Zero or a negative errno. cdm_insert() takes any parameters. Unloading does not
 * wait: see delete_module(2).
 */
int cdm_insert(const char *module, const char *params);
int cdm_load(const char *module, const char *regions);
int cdm_unload(const char *module);
bool cdm_loaded(const char *module);
bool cdm_node_exists(unsigned int index);

/* Remember how things are, and bring them back whatever a test left behind. */
int cdm_remember(struct cdm_found *found);
int cdm_restore(const struct cdm_found *found);

/*
 * The kernel's log from now on. cdm_log_find() looks through what was logged
 * since, for a line of one of the modules with @text in it.
 */
int cdm_log_open(void);
bool cdm_log_find(int fd, const char *text, char *line, size_t size);

/* Whether /proc/iomem has exactly this range under a name with @name in it. */
bool cdm_iomem_has(__u64 start, __u64 size, const char *name);

/* A range of @size bytes, aligned to it, inside the system's own RAM. */
bool cdm_iomem_ram(__u64 size, __u64 *start);

/*
 * A range of which the firmware says that there is no memory: on x86 above
 * 4 GiB, elsewhere behind the memory of the device tree, if that has any.
 */
bool cdm_iomem_hole(__u64 size, __u64 *start);

#endif /* CDM_MODULE_H */

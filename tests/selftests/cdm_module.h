/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Load and unload the modules, and read what the kernel logs meanwhile.
 */
#ifndef CDM_MODULE_H
#define CDM_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <linux/types.h>

#define CDM_CORE		"hmm_cdm"
#define CDM_EMU			"cdm_emu"

/* A region that the machine sets aside for the tests, from CDM_REGIONS. */
struct cdm_region {
	__u64 start;
	__u64 size;
	int node;
	char text[64];
};

#define CDM_REGIONS_MAX		4

/* State of module and device files, to be restored after reloading. */
struct cdm_found {
	char list[512];		/* parameter region=; empty if it was not given */
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/*
 * Parses CDM_REGIONS into @regions, and joins them for region= in @list unless
 * that is NULL. Returns the number of regions, zero if the variable is not set.
 */
int cdm_regions(struct cdm_region *regions, char *list, size_t size);

/*
 * Return zero or a negative errno. cdm_insert() takes any parameters.
 * cdm_unload() does not wait; see delete_module(2).
 */
int cdm_insert(const char *module, const char *params);
int cdm_load(const char *module, const char *regions);
int cdm_unload(const char *module);
bool cdm_loaded(const char *module);
bool cdm_node_exists(unsigned int index);

/* Save that state, and restore it whatever a test has left behind. */
int cdm_remember(struct cdm_found *found);
int cdm_restore(const struct cdm_found *found);

/*
 * cdm_log_open() opens the kernel's log at its end. cdm_log_find() searches
 * what was logged since for a line of one of the modules that contains @text.
 */
int cdm_log_open(void);
bool cdm_log_find(int fd, const char *text, char *line, size_t size);

/*
 * Whether /proc/iomem has exactly this range under a name that contains @name.
 */
bool cdm_iomem_has(__u64 start, __u64 size, const char *name);

/* Finds a naturally aligned range of @size bytes in system RAM. */
bool cdm_iomem_ram(__u64 size, __u64 *start);

/*
 * Finds a range that the firmware reports as no memory: above 4 GiB on x86,
 * elsewhere above the memory of the device tree, if that describes any.
 */
bool cdm_iomem_hole(__u64 size, __u64 *start);

#endif /* CDM_MODULE_H */

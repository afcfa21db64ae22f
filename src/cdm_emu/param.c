// SPDX-License-Identifier: GPL-2.0
/*
 * The parameter region= of cdm_emu.ko. The kernel crate's module! macro does not
 * support strings (rust/macros/module.rs).
 */

#include <linux/module.h>
#include <linux/moduleparam.h>

const char *cdm_emu_region(void);

static char *region;
/* Not for everybody: INFO tells users no physical addresses either. */
module_param(region, charp, 0400);
MODULE_PARM_DESC(region,
		 "Physical memory to use instead of the device tree's, as <start>+<size>[@<NUMA node>], several separated by commas; K, M, G and T are understood");

/* Returns NULL if the parameter was not given. */
const char *cdm_emu_region(void)
{
	return region;
}

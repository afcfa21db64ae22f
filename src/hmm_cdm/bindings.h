/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of bindgen for bindings.rs: headers of the kernel that kernel::bindings
 * leaves out, the userspace interface, and the C functions of the library. The
 * allow list is in Kbuild.
 */
#include <linux/cgroup_dmem.h>
#include <linux/hmm.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mman.h>
#include <linux/numa.h>
#include <linux/rmap.h>

#include <linux/hmm_cdm.h>
#include "helpers/helpers.c"
#include "internal.h"

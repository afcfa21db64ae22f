/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads for src/bindings.rs: the kernel's headers that
 * kernel::bindings leaves out, our C helpers, and the userspace interface.
 * Kbuild has the allow list.
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
#include "helpers.h"

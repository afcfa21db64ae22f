// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's macros and inline functions that the crate calls, as functions
 * ("helpers"), a file for each subject. As in rust/helpers/ of the kernel, one
 * object is made of all files, and bindgen reads their definitions (Kbuild), so
 * that no header has to repeat the prototypes.
 *
 * A helper wraps one macro or inline function, or its comment says why it does
 * more. Functions with a policy of their own are in damage.c, page_rights.c and
 * refs.c of the parent directory. The Rust callers are in mm/ and os/, next to
 * the invariants that make the calls sound.
 *
 * Sorted alphabetically.
 */

#include "copy.c"
#include "cpu_fault.c"
#include "dmem.c"
#include "eventfd.c"
#include "huge.c"
#include "kthread.c"
#include "notifier.c"
#include "of.c"
#include "page.c"
#include "resource.c"
#include "sched.c"
#include "vma.c"

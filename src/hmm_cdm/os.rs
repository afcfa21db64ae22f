// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of C objects outside of memory management that the `kernel` crate lacks, one
//! each.

pub mod dmem;
pub mod eventfd;
pub mod kthread;
pub mod module;
pub mod of;
pub mod resource;

use crate::bindings;

/// Lets other tasks run if they wait for this CPU. Context: process, no locks.
pub fn cond_resched() {
    // SAFETY: May be called in any context that can sleep.
    unsafe { bindings::hmm_cdm_helper_cond_resched() }
}

/// Says that the caller may sleep; a debug kernel reports it if it may not.
pub fn might_sleep() {
    // SAFETY: May be called in any context, and complains in the wrong ones.
    unsafe { bindings::hmm_cdm_helper_might_sleep() }
}

/// The time since boot, in the kernel's ticks, of which [`kernel::time::msecs_to_jiffies`] counts how
/// many there are. It wraps around. Context: any.
pub fn jiffies() -> usize {
    // SAFETY: The variable is there and aligned as long as the kernel is, and changes at any time.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// Whether the current task is being killed.
pub fn fatal_signal_pending() -> bool {
    // SAFETY: Looks at the current task only.
    unsafe { bindings::hmm_cdm_helper_fatal_signal_pending() }
}

/// Whether the current task has CAP_SYS_ADMIN in the initial user namespace.
pub fn capable_sys_admin() -> bool {
    // SAFETY: Looks at the current task only.
    unsafe { bindings::hmm_cdm_helper_capable_sys_admin() }
}

/// Whether a process may name `size` bytes from `start` as its own. To be asked before anything is
/// read there: not on every architecture does the copy from user space itself refuse the kernel's
/// addresses (see the C helper).
pub fn is_user_range(start: usize, size: usize) -> bool {
    // SAFETY: Any numbers may be given.
    unsafe { bindings::hmm_cdm_helper_user_range(start, size) }
}

// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers for what the `kernel` crate lacks outside memory management, one C object each.

pub mod dmem;
pub mod eventfd;
pub mod kthread;
pub mod module;
pub mod of;
pub mod resource;

use crate::bindings;

/// Lets other tasks run if they are waiting for this CPU. Context: process, no locks.
pub fn cond_resched() {
    // SAFETY: cond_resched() only asserts its context.
    unsafe { bindings::hmm_cdm_helper_cond_resched() }
}

/// Asserts that the caller may sleep; a debug kernel reports a caller that may not.
pub fn might_sleep() {
    // SAFETY: might_sleep() only asserts its context.
    unsafe { bindings::hmm_cdm_helper_might_sleep() }
}

/// Returns the time since boot in jiffies (see [`kernel::time::msecs_to_jiffies`]). It wraps
/// around. Context: any.
pub fn jiffies() -> usize {
    // SAFETY: The kernel's variable is valid and aligned. It may change at any time, hence
    // volatile.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// Returns whether the current task is being killed.
pub fn fatal_signal_pending() -> bool {
    // SAFETY: The function reads the current task's own signals.
    unsafe { bindings::hmm_cdm_helper_fatal_signal_pending() }
}

/// Returns whether the current task has CAP_SYS_ADMIN in the initial user namespace.
pub fn capable_sys_admin() -> bool {
    // SAFETY: capable() reads the current task's own credentials.
    unsafe { bindings::hmm_cdm_helper_capable_sys_admin() }
}

/// Returns whether the `size` bytes from `start` are in the user address space. Check this before
/// reading them: copy_from_user() does not refuse kernel addresses on every architecture (see the C
/// helper).
pub fn is_user_range(start: usize, size: usize) -> bool {
    // SAFETY: access_ok() takes any range: it only compares numbers.
    unsafe { bindings::hmm_cdm_helper_user_range(start, size) }
}

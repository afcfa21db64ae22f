// SPDX-License-Identifier: GPL-2.0

//! An eventfd that the kernel signals: `struct eventfd_ctx`.
//!
//! C file: `fs/eventfd.c`.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// A reference to an eventfd of a process.
///
/// # Invariants
///
/// The value owns a reference on `ctx`.
pub struct EventFd {
    ctx: NonNull<bindings::eventfd_ctx>,
}

// SAFETY: `eventfd_ctx_put()` may be called by any task.
unsafe impl Send for EventFd {}
// SAFETY: `eventfd_signal()` takes the lock of the wait queue itself.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Takes a reference to the eventfd that is file descriptor `fd` of the current task. EBADF if
    /// `fd` is not open or not an eventfd.
    pub fn get(fd: i32) -> Result<Self> {
        // SAFETY: `eventfd_ctx_fdget()` takes any number, and looks it up.
        let ctx = from_err_ptr(unsafe { bindings::hmm_cdm_helper_eventfd_get(fd) });

        match ctx {
            // INVARIANT: The call took a reference for us.
            Ok(ctx) => Ok(Self {
                ctx: NonNull::new(ctx).ok_or(EBADF)?,
            }),
            // EINVAL means another kind of file.
            Err(_) => Err(EBADF),
        }
    }

    /// Adds one to the counter. Context: any.
    pub fn signal(&self) {
        // SAFETY: By the type invariants the value owns a reference, so the context is valid.
        unsafe { bindings::hmm_cdm_helper_eventfd_signal(self.ctx.as_ptr()) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the value owns the reference that is dropped here.
        unsafe { bindings::hmm_cdm_helper_eventfd_put(self.ctx.as_ptr()) };
    }
}

#[kunit_tests(hmm_cdm_eventfd)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_open_is_refused() {
        assert_eq!(EventFd::get(-1).err(), Some(EBADF));
        assert_eq!(EventFd::get(i32::MIN).err(), Some(EBADF));
        assert_eq!(EventFd::get(i32::MAX).err(), Some(EBADF));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The C interface of the library: the functions of `include/linux/hmm_cdm.h`, where they are
//! described, on top of the Rust interface.
//!
//! Each handle that C has is a Rust value: a `hmm_cdm_device` an `Arc` of [`device::Device`], a
//! `hmm_cdm_mirror` a box of [`mirror::Handle`], a `hmm_cdm_job` a box of [`job::Handle`]. What a
//! driver promises about them, and about its operations, is what makes the `unsafe` here sound; the
//! header says it, and the SAFETY comments call it "the header's rules".
//!
//! A function that sleeps says so at once ([`may_sleep`]), so that a call from the wrong context is
//! found by the first test that makes one, and not by the one that happens to wait.

mod device;
mod job;
mod mirror;

use crate::os;
use kernel::{ffi::c_int, prelude::*};

/// Checks that a function has the type that the header declares.
macro_rules! declared {
    ($($name:ident),* $(,)?) => {
        $(
            const _: () = {
                if true {
                    crate::bindings::$name
                } else {
                    $name
                };
            };
        )*
    };
}
use declared;

/// Zero, or the negative errno.
fn to_errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// An `ERR_PTR()`.
fn err_ptr<T>(e: Error) -> *mut T {
    core::ptr::without_provenance_mut(e.to_errno() as isize as usize)
}

/// The caller may sleep; a debug kernel reports it if that is not so.
fn may_sleep() {
    os::might_sleep();
}

/// Waits of a driver's call end with a fatal signal.
fn killed() -> bool {
    os::fatal_signal_pending()
}

/// The error of a call that [`killed`] has ended.
fn interrupted(e: Error) -> Error {
    if e == ECANCELED {
        EINTR
    } else {
        e
    }
}

/// A driver breaks the header's rules: said once for each place, with a backtrace in debug kernels.
macro_rules! misuse {
    ($cond:expr, $($arg:tt)*) => {{
        let broken = $cond;

        if broken {
            kernel::pr_err_once!($($arg)*);
            if cfg!(CONFIG_DEBUG_VM) {
                kernel::warn_on!(true);
            }
        }
        broken
    }};
}
use misuse;

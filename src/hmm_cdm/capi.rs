// SPDX-License-Identifier: GPL-2.0

//! The C interface: implements the functions of `include/linux/hmm_cdm.h` on top of the Rust
//! interface.
//!
//! A `hmm_cdm_device` is an `Arc` of [`device::CDevice`], a `hmm_cdm_mirror` a box of
//! [`mirror::MirrorHandle`], a `hmm_cdm_job` a box of [`job::JobHandle`]. The header's "rules"
//! state what a driver guarantees about handles, pointers and operations. SAFETY comments cite them
//! by name, as "rule `handle`".
//!
//! | module | subject |
//! | --- | --- |
//! | `device` | `struct hmm_cdm_device` |
//! | `ops`, `driver` | a driver's operations, and the library's traits on top of them |
//! | `memory` | adding, removing and evicting memory, taking pages out of use |
//! | `mirror` | `struct hmm_cdm_mirror`, and the driver's page table |
//! | `range` | calls on ranges: faults, accesses, migration, advice, queries |
//! | `job` | `struct hmm_cdm_job` |
//!
//! A function that may sleep calls [`may_sleep`] first, so that a debug kernel reports a call from
//! the wrong context every time, and not just when the function happens to wait.

mod device;
mod driver;
mod job;
mod memory;
mod mirror;
mod ops;
mod range;

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

/// Returns zero or the negative errno.
fn to_errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Returns an `ERR_PTR()`.
fn err_ptr<T>(e: Error) -> *mut T {
    core::ptr::without_provenance_mut(e.to_errno() as isize as usize)
}

/// Asserts that the caller may sleep, in debug kernels.
fn may_sleep() {
    os::might_sleep();
}

/// Returns whether a call of a driver has to end: a fatal signal is pending.
fn killed() -> bool {
    os::fatal_signal_pending()
}

/// Translates the error of a call that [`killed`] ended.
fn interrupted(e: Error) -> Error {
    if e == ECANCELED {
        EINTR
    } else {
        e
    }
}

/// Reports that a driver breaks a rule of the header, once for each place, with a backtrace in
/// debug kernels. Returns the condition.
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

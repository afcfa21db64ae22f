// SPDX-License-Identifier: GPL-2.0

//! C definitions that `kernel::bindings` lacks: `hmm.h`, `migrate.h`, our helpers and the
//! userspace interface, as bindgen reads them from `bindings.h`.
//!
//! Everything that `kernel::bindings` has comes from there, so the types are the same. But for
//! tests, nothing outside `mm`, `os`, `uapi` and `capi` uses this module.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    reason = "generated code"
)]

use kernel::ffi;
use pin_init::MaybeZeroable;

pub(crate) use kernel::bindings::*;

include!(concat!(env!("HMM_CDM_OBJ"), "/bindings_generated.rs"));

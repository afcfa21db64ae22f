// SPDX-License-Identifier: GPL-2.0

//! Reading the CPU's page table for a device, and faulting pages in where asked: `struct
//! hmm_range`.
//!
//! A [`Walker`] returns a [`Snapshot`], which may be out of date. Its entries can be used only in
//! [`Snapshot::commit`], under the notifier's lock and after its sequence has been rechecked. There
//! it is a [`View`], whose [`CpuEntry`]s lend their pages and cannot leave.
//!
//! C file: `mm/hmm.c`.

mod cpu_entry;
mod view;
mod walker;

pub(crate) use cpu_entry::RawEntry;
pub use cpu_entry::{
    Access,
    CpuEntry, //
};
pub use view::{
    Snapshot,
    View, //
};
pub use walker::Walker;

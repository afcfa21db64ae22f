// SPDX-License-Identifier: GPL-2.0
// error: E0521

//! An entry of the CPU's page table, and the page in it, are valid inside commit() only.

use hmm_cdm::mm::{
    notifier::Invalidate,
    range::{
        CpuEntry,
        Snapshot, //
    }, //
};

pub fn keep<T: Invalidate + Unpin>(snapshot: Snapshot<'_, T>, addr: usize) -> bool {
    let mut kept = None;

    let _ = snapshot.commit(|_, view| {
        #[cfg(not(misuse))]
        {
            kept = Some(matches!(view.at(addr), CpuEntry::None));
        }
        #[cfg(misuse)]
        {
            kept = Some(view.at(addr));
        }
    });
    kept.is_some()
}

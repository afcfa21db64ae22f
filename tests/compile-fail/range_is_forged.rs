// SPDX-License-Identifier: GPL-2.0
// error: E0624

//! Drivers cannot make a `DeviceRange` from a claimed range, which is no proof of memory.

use hmm_cdm::{
    mm::pagemap::{
        DeviceRange,
        Kind, //
    },
    os::resource::ClaimedRange, //
};

pub fn kind(range: &DeviceRange) -> Kind {
    range.kind()
}

#[cfg(misuse)]
pub fn range(claim: ClaimedRange) -> DeviceRange {
    // SAFETY: None: a claim is no proof that there is memory.
    unsafe { DeviceRange::memory(claim) }
}

#[cfg(not(misuse))]
pub fn size(claim: &ClaimedRange) -> u64 {
    claim.size()
}

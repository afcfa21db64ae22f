// SPDX-License-Identifier: GPL-2.0
// error: E0133

//! Making a `Region` is unsafe: the caller vouches for the range of physical addresses.

use hmm_cdm::node::region::Region;

pub fn region(start: u64, size: u64) -> Region {
    #[cfg(not(misuse))]
    // SAFETY: It is never used.
    let region = unsafe { Region::new(start, size, None) };
    #[cfg(misuse)]
    let region = Region::new(start, size, None);

    region
}

// SPDX-License-Identifier: GPL-2.0
// error: E0616

//! A `Region` cannot be changed once it is made.

use hmm_cdm::node::region::Region;

pub fn grow(region: &mut Region) -> u64 {
    #[cfg(misuse)]
    {
        region.size += 4096;
    }
    region.start()
}

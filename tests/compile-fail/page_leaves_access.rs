// SPDX-License-Identifier: GPL-2.0
// error: E0521

//! A page that the device accesses is mapped only while the lock of its entry is held.

use hmm_cdm::{
    mirror::Mirror,
    mm::range::Access, //
};

pub fn keep(mirror: &Mirror, addr: usize) -> bool {
    let mut kept = None;

    let _ = mirror.access(addr, Access::Read, |hit| {
        #[cfg(not(misuse))]
        {
            kept = hit.page.read_u64(hit.offset);
        }
        #[cfg(misuse)]
        {
            kept = Some(&hit.page);
        }
    });
    kept.is_some()
}

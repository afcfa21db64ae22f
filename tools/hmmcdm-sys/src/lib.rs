// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw bindings to `<linux/hmm_cdm.h>`: the ioctls of `/dev/hmm_cdm<N>`, with which programs use
//! the memory of cache-coherent devices.
//!
//! Names are those of the header, which describes structures, flags, units and errors. Each
//! structure begins with its `size`, which the caller sets:
//!
//! ```
//! use hmmcdm_sys::hmm_cdm_info;
//!
//! let info = hmm_cdm_info {
//!     size: size_of::<hmm_cdm_info>() as u32,
//!     ..Default::default()
//! };
//! # assert_eq!(info.capacity, 0);
//! ```
//!
//! The crate `hmmcdm` has safe functions for these calls.

#![no_std]

#[allow(missing_docs, non_camel_case_types)]
#[allow(clippy::undocumented_unsafe_blocks, reason = "bindgen writes none")]
mod bindings;

pub use bindings::*;

/// Returns the command with this number, as `_IO(HMM_CDM_IOC, nr)` makes it.
const fn command(nr: u32) -> u32 {
    // _IOC_NONE is not zero everywhere.
    let none = cfg!(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64",
    ));

    ((none as u32) << 29) | (HMM_CDM_IOC << 8) | nr
}

/// Describes the node: [`hmm_cdm_info`].
pub const HMM_CDM_IOC_INFO: u32 = command(HMM_CDM_NR_INFO);
/// Migrates a range: [`hmm_cdm_migrate`].
pub const HMM_CDM_IOC_MIGRATE: u32 = command(HMM_CDM_NR_MIGRATE);
/// Returns the location of each page of a range: [`hmm_cdm_query`].
pub const HMM_CDM_IOC_QUERY: u32 = command(HMM_CDM_NR_QUERY);
/// Starts a job: [`hmm_cdm_submit`].
pub const HMM_CDM_IOC_SUBMIT: u32 = command(HMM_CDM_NR_SUBMIT);
/// Waits for a job: [`hmm_cdm_wait`].
pub const HMM_CDM_IOC_WAIT: u32 = command(HMM_CDM_NR_WAIT);
/// Reads the counters: [`hmm_cdm_stats`].
pub const HMM_CDM_IOC_STATS: u32 = command(HMM_CDM_NR_STATS);
/// Backs untouched memory with node pages: [`hmm_cdm_populate`].
pub const HMM_CDM_IOC_POPULATE: u32 = command(HMM_CDM_NR_POPULATE);
/// Sets the preferred placement of a range: [`hmm_cdm_advise`].
pub const HMM_CDM_IOC_ADVISE: u32 = command(HMM_CDM_NR_ADVISE);

/// In [`cdm_emu_walk::child`]: the elements have no children. (bindgen would make it an `i32`.)
pub const CDM_EMU_WALK_NONE: u64 = !0;

/// Returns the index of the device that holds a page, from [`hmm_cdm_page::flags`]; `None` if it
/// has no device file.
pub const fn hmm_cdm_page_device(flags: u16) -> Option<u16> {
    (flags >> 8).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let advise = if cfg!(target_arch = "powerpc64") {
            0x2000_cd07
        } else {
            0xcd07
        };

        assert_eq!(HMM_CDM_IOC_ADVISE, advise);
        assert_eq!(HMM_CDM_IOC_INFO, advise - 7);
    }

    #[test]
    fn devices_of_pages() {
        assert_eq!(hmm_cdm_page_device(0x00ff), None);
        assert_eq!(hmm_cdm_page_device(0x0100), Some(0));
        assert_eq!(
            hmm_cdm_page_device(0x0300 | HMM_CDM_PAGE_PINNED as u16),
            Some(2)
        );
    }
}

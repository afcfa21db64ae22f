// SPDX-License-Identifier: MIT OR Apache-2.0

//! The results of the calls. Counts are in base pages, except where bytes are named.

use crate::flags::{Access, PageFlags, Skip, Where};
use hmmcdm_sys as sys;
use std::ops::Index;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The N of `/dev/hmm_cdm<N>`.
    pub index: u32,
    /// The NUMA node of the memory, if it has one.
    pub numa_node: Option<u32>,
    /// Bytes in a base page.
    pub page_size: usize,
    /// Bytes that a fault or a migration handles at a time.
    pub window_size: usize,
    /// Bytes of memory.
    pub capacity: u64,
    /// Bytes that no process used when the handle was opened.
    pub free: u64,
    /// Physical address, for callers with `CAP_SYS_ADMIN`.
    pub start: Option<u64>,
    /// The driver of the device.
    pub driver: String,
    /// Path in the device tree, for callers with `CAP_SYS_ADMIN` and memory that has one.
    pub origin: Option<String>,
}

/// The text of a NUL-terminated string.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());

    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl From<sys::hmm_cdm_info> for Info {
    fn from(raw: sys::hmm_cdm_info) -> Self {
        Self {
            index: raw.index,
            numa_node: u32::try_from(raw.numa_node).ok(),
            page_size: raw.page_size as usize,
            window_size: raw.window_size as usize,
            capacity: raw.capacity,
            free: raw.free,
            start: Some(raw.start).filter(|start| *start != 0),
            driver: text(&raw.driver),
            origin: Some(text(&raw.origin)).filter(|origin| !origin.is_empty()),
        }
    }
}

/// Pages that did not move, by [`Skip`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped([u64; sys::HMM_CDM_SKIP_MAX as usize]);

impl Skipped {
    /// Returns the sum over all reasons, including those that only a newer kernel knows.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<Skip> for Skipped {
    type Output = u64;

    fn index(&self, reason: Skip) -> &u64 {
        &self.0[reason as usize]
    }
}

macro_rules! report {
    ($(#[$doc:meta])* $name:ident: $raw:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
            /// Pages that did not move.
            pub skipped: Skipped,
        }

        impl From<sys::$raw> for $name {
            fn from(raw: sys::$raw) -> Self {
                Self {
                    $($field: raw.$field,)*
                    skipped: Skipped(raw.skipped),
                }
            }
        }
    };
}

report! {
    /// The result of [`Cdm::migrate`](crate::Cdm::migrate).
    MigrateReport: hmm_cdm_migrate {
        /// Pages whose content was copied to the target.
        migrated,
        /// Untouched pages that are now zeroed pages of the target.
        populated,
        /// Pages that were at the target already.
        present,
        /// Windows that were one huge page and are now contiguous device memory.
        huge,
        /// Pages of `migrated` that came from the memory of other devices.
        peers,
        /// Pages of any process that the call evicted from the node.
        evicted,
    }
}

report! {
    /// The result of [`Cdm::populate`](crate::Cdm::populate).
    PopulateReport: hmm_cdm_populate {
        /// Untouched pages that are now zeroed pages of the node.
        populated,
        /// Pages that were on the node already.
        present,
        /// Pages that exist elsewhere and stay there.
        stayed,
        /// Pages whose content was copied to the node.
        migrated,
        /// Windows that got contiguous device memory as a whole.
        contiguous,
        /// Pages of any process that the call evicted from the node.
        evicted,
    }
}

report! {
    /// Counters of this handle; those whose names begin with `node_` are the node's.
    Stats: hmm_cdm_stats {
        /// Device faults.
        faults,
        /// Entries of the device page table that faults made.
        fault_pages,
        /// Retries of faults, because the range had changed.
        fault_retries,
        /// Invalidations of the address space.
        invalidations,
        /// Entries of the device page table that invalidations removed.
        invalidated_pages,
        /// Pages copied to the node.
        migrated_in,
        /// Pages copied from the node.
        migrated_out,
        /// Bytes copied by both.
        bytes_copied,
        /// Untouched pages that got zeroed pages of the node.
        populated,
        /// Windows that were one huge page and became contiguous device memory.
        huge,
        /// Jobs submitted.
        jobs,
        /// Pages of the node.
        node_pages,
        /// Pages of the node that no process uses.
        node_free,
        /// Free windows of contiguous pages on the node.
        node_contiguous,
        /// Pages of `migrated_in` that came from the memory of other devices.
        peers,
        /// Pages of `populated` that the device touched first.
        touched,
        /// Pages of any process that were evicted for this handle.
        evicted,
        /// Pages that were evicted from the node for any handle.
        node_evicted,
    }
}

/// Numbers of pages by [`Where`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(pub(crate) [u64; 8]);

impl Index<Where> for Places {
    type Output = u64;

    fn index(&self, place: Where) -> &u64 {
        &self.0[place as usize]
    }
}

/// A page, as it was when [`Cdm::query`](crate::Cdm::query) looked at it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Page(sys::hmm_cdm_page);

impl Page {
    /// Returns where it is; `None` for a place that only a newer kernel knows.
    pub fn place(&self) -> Option<Where> {
        Where::from_raw(self.0.where_)
    }

    /// The CPU maps it as part of a page of 2^order base pages.
    pub fn order(&self) -> u32 {
        self.0.order.into()
    }

    /// Accesses that the CPU's page table allows; with [`PageFlags::PRIVATE`], those that it will
    /// allow once the page is in system memory.
    pub fn cpu(&self) -> Access {
        Access::from_bits_retain(self.0.cpu.into())
    }

    /// Accesses that the device's page table allows; none if it has no entry.
    pub fn device(&self) -> Access {
        Access::from_bits_retain(self.0.device.into())
    }

    /// Returns the number of the device's accesses since its entry was made, at most 65535.
    pub fn accesses(&self) -> u16 {
        self.0.accesses
    }

    /// Returns its properties.
    pub fn flags(&self) -> PageFlags {
        PageFlags::from_bits_truncate(self.0.flags)
    }

    /// For a page in the memory of another device, the N of that device's `/dev/hmm_cdm<N>`.
    pub fn other_device(&self) -> Option<u16> {
        sys::hmm_cdm_page_device(self.0.flags)
    }
}

/// The locations of the pages of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Residency {
    /// Page by page.
    pub pages: Vec<Page>,
    /// In total.
    pub places: Places,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_zero() {
        assert_eq!(text(b"cdm_emu\0\0x"), "cdm_emu");
        assert_eq!(text(b"full"), "full");
        assert_eq!(text(b"\0"), "");
    }

    #[test]
    fn what_a_caller_may_not_see_is_none() {
        let info = Info::from(sys::hmm_cdm_info {
            numa_node: -1,
            ..Default::default()
        });

        assert_eq!(
            (info.numa_node, info.start, info.origin),
            (None, None, None)
        );
    }

    #[test]
    fn reasons_of_newer_kernels_count() {
        let skipped = Skipped([1, 2, 3, 4, 5, 6, 7, 100]);

        assert_eq!(skipped[Skip::Failed], 7);
        assert_eq!(skipped.total(), 128);
    }

    #[test]
    fn pages() {
        let page = Page(sys::hmm_cdm_page {
            where_: sys::HMM_CDM_WHERE_DEVICE as u8,
            cpu: 3,
            device: 1,
            flags: 0x0208,
            ..Default::default()
        });

        assert_eq!(page.place(), Some(Where::Device));
        assert_eq!((page.cpu(), page.device()), (Access::all(), Access::READ));
        assert_eq!(
            (page.flags(), page.other_device()),
            (PageFlags::PINNED, Some(1))
        );
        assert_eq!(
            Page(sys::hmm_cdm_page {
                where_: 9,
                ..Default::default()
            })
            .place(),
            None
        );
    }
}

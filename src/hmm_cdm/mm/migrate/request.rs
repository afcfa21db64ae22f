// SPDX-License-Identifier: GPL-2.0

//! The pages to collect for a migration, and the arrays that get them.
//!
//! C file: `include/linux/migrate.h`.

use crate::{
    bindings,
    mm::{
        cpu_fault::CpuFault,
        pagemap::{
            Kind,
            Owner, //
        }, //
    },
};
use kernel::{
    alloc::KVVec,
    prelude::*, //
};

/// The source and destination arrays, allocated once for many migrations.
///
/// # Invariants
///
/// Both have room for `2 * pages` entries. When no [`Collected`](super::Collected) borrows them,
/// they own no pages.
pub struct Buffers {
    pub(super) src: KVVec<usize>,
    pub(super) dst: KVVec<usize>,
    pub(super) pages: usize,
}

impl Buffers {
    /// Makes the arrays for migrations of up to `pages` pages at a time. ENOMEM.
    ///
    /// To split a large folio, `migrate_vma_collect_pmd()` (7.3.4) unlocks the page table, and then
    /// starts over. If the table is gone by then (MADV_DONTNEED frees empty tables under the mmap
    /// lock for reading), `migrate_vma_collect_huge_pmd()` collects the whole range, behind the
    /// entries that were collected before, without checking the end of the arrays. This happens at
    /// most once, so the arrays have room for twice the range.
    pub fn new(pages: usize) -> Result<Self> {
        let room = pages.checked_mul(2).ok_or(EINVAL)?;

        // INVARIANT: As just computed; an entry of zero is no page.
        Ok(Self {
            src: KVVec::zeroed(room, GFP_KERNEL)?,
            dst: KVVec::zeroed(room, GFP_KERNEL)?,
            pages,
        })
    }
}

/// Which pages are collected.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Pages of system memory, and holes: addresses without a page, or with the zero page.
    System,
    /// Holes without any page; the zero page stays.
    Nowhere,
    /// As [`Select::System`], and pages of the coherent memory of the request's owner.
    SystemAndPeer,
    /// Pages of the owner's memory, which is of this kind. Holes are collected, too, as the C
    /// function does not distinguish; leave them without a destination.
    Device(Kind),
}

impl Select {
    /// Returns the flags `MIGRATE_VMA_SELECT_*`.
    pub(super) fn flags(self) -> u32 {
        match self {
            Select::System => bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_SYSTEM,
            Select::SystemAndPeer => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_SYSTEM
                    | bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_COHERENT
            }
            // `migrate_vma_collect_pmd()` collects `pte_none()` whatever the flags are.
            Select::Nowhere => 0,
            Select::Device(Kind::Coherent) => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_COHERENT
            }
            Select::Device(Kind::Private) => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_PRIVATE
            }
        }
    }

    /// Returns whether pages of device memory may be collected.
    pub(super) fn includes_device(self) -> bool {
        matches!(self, Select::Device(_) | Select::SystemAndPeer)
    }
}

/// The arguments of [`Collected::vma`](super::Collected::vma).
pub(crate) struct Request<'a> {
    /// Which pages to collect.
    pub(crate) from: Select,
    /// The owner of the device memory.
    pub(crate) owner: Owner,
    /// Collect a huge page or hole that fills the span as one piece.
    pub(crate) whole: bool,
    /// The fault that waits for one of the pages and has locked it.
    pub(crate) fault: Option<&'a CpuFault<'a>>,
}

// SPDX-License-Identifier: GPL-2.0

//! Entries of the CPU's page table, and the form in which `hmm_range_fault()` reports them.
//!
//! C file: `include/linux/hmm.h`.

use crate::{
    bindings,
    mm::{
        folio::{
            PageRef,
            Pfn, //
        },
        pmd_order, //
    },
};
use core::marker::PhantomData;

/// How an address is accessed, or what a page table entry allows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// An entry of the CPU's page table. Its view lends the page.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CpuEntry<'v> {
    /// The address cannot be accessed: unmapped, `PROT_NONE`, special.
    Error,
    /// There is no page at the moment.
    None,
    /// There is a page.
    Page {
        /// The page.
        page: PageRef<'v>,
        /// What the CPU's page table entry allows.
        access: Access,
        /// The page is mapped as part of a page of `1 << order` base pages.
        order: u8,
    },
}

/// An entry in the form of `hmm_range_fault()`: a frame number with flags above it.
///
/// # Invariants
///
/// `hmm_range_fault()` has reported it. For `'v` no invalidation of the address returns, so the
/// page stays mapped.
#[derive(Copy, Clone)]
#[repr(transparent)]
pub(crate) struct RawEntry<'v> {
    pub(super) raw: usize,
    _view: PhantomData<&'v ()>,
}

/// The flags of an entry.
///
/// # Invariants
///
/// They are those of an entry with a page: `HMM_PFN_VALID` is set, and `HMM_PFN_ERROR` is not.
#[derive(Copy, Clone)]
pub(crate) struct PageFlags(usize);

impl<'v> RawEntry<'v> {
    const VALID: usize = bindings::hmm_pfn_flags_HMM_PFN_VALID;
    const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
    const WRITE: usize = bindings::hmm_pfn_flags_HMM_PFN_WRITE;
    const FLAGS: usize = bindings::hmm_pfn_flags_HMM_PFN_FLAGS;
    const ORDER_SHIFT: u32 = bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT as u32;

    /// Returns the flags of an entry that has a page.
    #[inline(always)]
    pub(crate) fn page_flags(self) -> Option<PageFlags> {
        // INVARIANT: Just checked.
        self.is_page().then_some(PageFlags(self.raw & Self::FLAGS))
    }

    /// Returns the frame of the page, if the entry has one and exactly these flags. Cheaper than
    /// [`Self::decode`].
    #[inline(always)]
    pub(crate) fn frame_with(self, flags: PageFlags) -> Option<Pfn> {
        // With other flags, this is not a bare frame number.
        let frame = self.raw.wrapping_sub(flags.0);

        // SAFETY: By the invariants of `PageFlags` the entry has a page: as in `decode()`.
        (frame & Self::FLAGS == 0).then(|| unsafe { Pfn::new(frame) })
    }

    pub(super) fn is_page(self) -> bool {
        self.raw & (Self::VALID | Self::ERROR) == Self::VALID
    }

    /// Decodes the entry.
    #[inline(always)]
    pub(crate) fn decode(self) -> CpuEntry<'v> {
        if self.raw & Self::ERROR != 0 {
            CpuEntry::Error
        } else if self.raw & Self::VALID == 0 {
            CpuEntry::None
        } else {
            CpuEntry::Page {
                // SAFETY: By the type invariants the page is mapped for `'v`. It has a
                // `struct page`: `hmm_vma_handle_pte()` reports HMM_PFN_ERROR for frames without
                // one. `hmm_vma_handle_pmd()` and `hmm_vma_walk_pud()` do not check that. They
                // report a frame without one only if a driver maps it in a VM_MIXEDMAP mapping by
                // `vmf_insert_pfn_pmd()` or `vmf_insert_pfn_pud()`; we assume that none does
                // (Documentation/mm-7.3.rst has the exception).
                page: unsafe { PageRef::new(Pfn::new(self.raw & !Self::FLAGS)) },
                access: if self.raw & Self::WRITE != 0 {
                    Access::Write
                } else {
                    Access::Read
                },
                order: ((self.raw >> Self::ORDER_SHIFT) & 0x1f) as u8,
            }
        }
    }
}

/// Corrects an entry for page `i` of a huge page, which may have a wrong frame of that huge page.
/// Leaves other entries unchanged.
pub(super) fn place_in_huge_page(raw: &mut usize, i: usize) {
    let pages = 1 << pmd_order();
    let is_page = *raw & (RawEntry::VALID | RawEntry::ERROR) == RawEntry::VALID;
    let order = (*raw >> RawEntry::ORDER_SHIFT) & 0x1f;

    if is_page && order == pmd_order() as usize {
        *raw = *raw & !(pages - 1) | i;
    }
}

#[cfg(CONFIG_KUNIT = "y")]
impl RawEntry<'_> {
    /// Makes the number of an entry for a page.
    pub(crate) fn new_raw(pfn: Pfn, access: Access) -> usize {
        let write = match access {
            Access::Read => 0,
            Access::Write => Self::WRITE,
        };

        pfn.raw() | write | Self::VALID
    }

    /// Makes the number of an entry for page `i` of a huge page that begins at `first`.
    pub(crate) fn new_raw_huge(first: Pfn, i: usize, access: Access) -> usize {
        Self::new_raw(first, access) + i | (pmd_order() as usize) << Self::ORDER_SHIFT
    }
}

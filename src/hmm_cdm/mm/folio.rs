// SPDX-License-Identifier: GPL-2.0

//! Page frames and their pages: lent by what keeps them in use ([`PageRef`]), mapped by a device
//! ([`MappedPage`]), or not mapped yet ([`NewPage`]).
//!
//! C files: `mm/page_alloc.c`, `mm/memremap.c`, `include/asm-generic/memory_model.h`.

mod mapped_page;
mod new_page;

pub use mapped_page::MappedPage;
pub use new_page::NewPage;

use crate::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// The number of a page frame that has a `struct page`.
///
/// It is not a reference: the page may be freed and reused. See [`PageRef`].
///
/// # Invariants
///
/// `pfn_to_page()` of the number is a `struct page`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pfn(usize);

impl Pfn {
    /// Wraps a number.
    ///
    /// # Safety
    ///
    /// The frame has a `struct page`, which outlives all uses of the value.
    pub(crate) unsafe fn new(pfn: usize) -> Self {
        // INVARIANT: By the safety requirements.
        Self(pfn)
    }

    /// Returns the number.
    pub fn raw(self) -> usize {
        self.0
    }

    /// Returns the number of frames that follow this one in its naturally aligned block of
    /// `1 << order` frames.
    pub(crate) fn following(self, order: u8) -> usize {
        let mask = (1_usize << order) - 1;

        mask - (self.0 & mask)
    }

    /// Returns the page, for C functions.
    pub(crate) fn as_raw_page(self) -> *mut bindings::page {
        // SAFETY: By the type invariants there is a page for this number.
        unsafe { bindings::hmm_cdm_helper_pfn_to_page(self.0) }
    }

    /// Returns the current numbers of references to the page and of page table entries that map it.
    pub(crate) fn counts(self) -> (i32, i32) {
        let page = self.as_raw_page();

        // SAFETY: The helper reads a counter of the page's folio. By the type invariants there is a
        // `struct page`, and what it has as its folio is one, too, even if neither is in use.
        let references = unsafe { bindings::hmm_cdm_helper_page_refs(page) };
        // SAFETY: As above.
        let mappings = unsafe { bindings::hmm_cdm_helper_page_maps(page) };

        (references, mappings)
    }

    /// Marks the page as damaged until it is freed: devices get no entry for it, and it is not
    /// copied. Returns the first frame and the order of its folio; `None` if the page is not in
    /// use.
    pub(crate) fn set_damaged(self) -> Option<(Self, u32)> {
        let (mut first, mut order) = (0, 0);
        let page = self.as_raw_page();

        // SAFETY: `cdm_damage_set()` requires a `struct page`, which exists by the type invariants.
        // If the page is in use, it takes a reference before it accesses the folio.
        unsafe { bindings::cdm_damage_set(page, &mut first, &mut order) }
            // INVARIANT: `first` is the frame of a `struct page`.
            .then_some((Self(first), order))
    }

    /// Returns whether it is system memory, not device memory.
    pub fn is_system(self) -> bool {
        // SAFETY: The helper takes any number, and looks it up in the kernel's memory map.
        unsafe { bindings::hmm_cdm_helper_pfn_online(self.0) }
    }
}

/// A page that cannot be freed for `'v`: its lender keeps it in use.
///
/// # Invariants
///
/// For `'v` the page is mapped and no invalidation of the mapping returns, or it is locked, or
/// there is a reference to it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PageRef<'v> {
    pfn: Pfn,
    _lent: PhantomData<&'v ()>,
}

impl PageRef<'_> {
    /// # Safety
    ///
    /// For the lifetime of the value the page is in use, as in the type's invariants.
    #[inline(always)]
    pub(super) unsafe fn new(pfn: Pfn) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            pfn,
            _lent: PhantomData,
        }
    }

    /// Returns its frame.
    #[inline(always)]
    pub fn pfn(self) -> Pfn {
        self.pfn
    }

    /// Returns whether the folio has more references than its mappings, its caches and the page
    /// cache account for: it is pinned, or about to be used.
    pub(crate) fn has_extra_refs(self) -> bool {
        // SAFETY: The function reads the counts of the page's folio, which stays valid while the
        // page is in use, as by the type invariants.
        unsafe { bindings::cdm_refs_has_extra(self.pfn.as_raw_page()) }
    }

    /// Returns whether it is the zero page, or a part of the huge one. Only for mapped pages (see
    /// the C helper).
    pub(crate) fn is_zero(self) -> bool {
        // SAFETY: The helper reads the page's folio, which stays valid while the page is in use, as
        // by the type invariants.
        unsafe { bindings::hmm_cdm_helper_page_is_zero(self.pfn.as_raw_page()) }
    }

    /// Returns whether it is currently anonymous memory that KSM has not merged.
    pub(crate) fn is_anon(self) -> bool {
        // SAFETY: The function reads the mapping of the page's folio, which stays valid while the
        // page is in use, as by the type invariants.
        unsafe { bindings::hmm_cdm_helper_page_is_anon(self.pfn.as_raw_page()) }
    }
}

/// Marks a page dirty to which the device is going to write, as the CPU's page table will not show
/// that. The C function explains why, and for which pages.
///
/// # Safety
///
/// The page is mapped by a mirrored address space, and the caller holds the lock that the
/// invalidation of its entry takes.
pub(crate) unsafe fn mark_written(pfn: Pfn) {
    // SAFETY: By the safety requirements the page is mapped and cannot be unmapped, so it is not
    // freed meanwhile.
    unsafe { bindings::cdm_rights_mark_written(pfn.raw()) };
}

#[kunit_tests(hmm_cdm_folio)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_to_the_end_of_a_huge_page() {
        // SAFETY: There need not be a `struct page`, as only the numbers are used.
        let following = |pfn, order| unsafe { Pfn::new(pfn) }.following(order);

        assert_eq!([0, 1, 7].map(|pfn| following(pfn, 0)), [0, 0, 0]);
        assert_eq!(
            [0, 1, 7, 8, 15].map(|pfn| following(pfn, 3)),
            [7, 6, 0, 7, 0]
        );
    }
}

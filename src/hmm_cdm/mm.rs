// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the kernel's memory management, one C object each.
//!
//! Most of the module's `unsafe` code is here and in [`crate::os`], in pieces that can each be
//! checked against one C file:
//!
//! | module | C object | C file |
//! | --- | --- | --- |
//! | [`folio`] | `struct page`, `struct folio` | `mm/page_alloc.c`, `mm/memremap.c` |
//! | [`copy`] | the content of pages | `include/linux/highmem.h` |
//! | [`cpu_fault`] | `struct vm_fault` of private memory | `mm/memory.c` |
//! | [`exclusive`] | a page that is exclusive to a device | `mm/rmap.c` |
//! | [`pagemap`] | `struct dev_pagemap` | `mm/memremap.c` |
//! | [`notifier`] | `struct mmu_interval_notifier` | `mm/mmu_notifier.c` |
//! | [`range`] | `struct hmm_range` | `mm/hmm.c` |
//! | [`migrate`] | `struct migrate_vma` | `mm/migrate_device.c` |
//! | [`vma`] | `struct vm_area_struct`, under the mmap lock | `mm/mmap.c` |
//!
//! Order is a type: consecutive steps are a chain of types whose `Drop` completes the rest, and
//! data that is valid only in a critical section cannot leave it. tests/compile-fail has misuse
//! that must not compile.

pub mod copy;
pub mod cpu_fault;
pub mod exclusive;
pub mod folio;
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) mod kunit;
pub mod migrate;
pub mod notifier;
pub mod pagemap;
pub mod range;
pub mod vma;

use crate::bindings;
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// Returns the order of a page that one page middle directory entry maps: that of the largest huge
/// page that migrates in one piece.
pub fn pmd_order() -> u32 {
    // SAFETY: The function returns a constant of the architecture, HPAGE_PMD_ORDER.
    unsafe { bindings::hmm_cdm_helper_pmd_order() }
}

/// Returns whether huge pages can be migrated in one piece.
pub fn huge_pages_move() -> bool {
    // SAFETY: The function reads the kernel's configuration and a flag of the CPU.
    unsafe { bindings::hmm_cdm_helper_huge_pages_move() }
}

/// Returns the number of pages of a window, the unit of faults, walks and migrations. A window has
/// the size of the largest huge page that can migrate.
pub fn window_pages() -> usize {
    1 << pmd_order()
}

/// Returns the logarithm of a window's size in bytes.
pub fn window_shift() -> u32 {
    pmd_order() + PAGE_SHIFT as u32
}

/// Returns the size of a window in bytes.
pub fn window_size() -> usize {
    1 << window_shift()
}

/// A span of user address space, page aligned, not empty and not wrapping around.
///
/// # Invariants
///
/// `start < end`, and both are multiples of `PAGE_SIZE`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// Makes the span `[start, end)`. `None` if it is empty or not page aligned.
    pub fn new(start: usize, end: usize) -> Option<Self> {
        let aligned = start % PAGE_SIZE == 0 && end % PAGE_SIZE == 0;

        // INVARIANT: Checked here.
        (aligned && start < end).then_some(Self { start, end })
    }

    /// Makes the span of the `len` bytes from `start`, extended to whole pages. `None` if it is
    /// empty or does not fit into the address space.
    pub fn covering(start: usize, len: usize) -> Option<Self> {
        let end = start
            .checked_add(len)?
            .checked_next_multiple_of(PAGE_SIZE)?;

        Self::new(start & !(PAGE_SIZE - 1), end)
    }

    /// Returns the address of the first byte.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Returns the address after the last byte.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Returns the number of pages, at least one.
    pub fn pages(&self) -> usize {
        (self.end - self.start) >> PAGE_SHIFT
    }

    /// Returns the window of `addr`; `None` at the very end of the address space.
    pub fn window(addr: usize) -> Option<Self> {
        let size = window_size();
        let start = addr & !(size - 1);

        Self::new(start, start.checked_add(size)?)
    }

    /// Returns the part before `end`, which is page aligned.
    pub fn until(&self, end: usize) -> Option<Self> {
        Self::new(self.start, self.end.min(end))
    }

    /// Returns the overlap of this span and `other`.
    pub fn intersect(&self, other: Span) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

#[kunit_tests(hmm_cdm_span)]
mod tests {
    use super::*;

    /// The last page of the address space, whose end no span can reach.
    const LAST: usize = usize::MAX & !(PAGE_SIZE - 1);

    #[test]
    fn only_whole_pages_are_taken() {
        assert!(Span::new(0, PAGE_SIZE).is_some());
        assert!(Span::new(1, PAGE_SIZE).is_none());
        assert!(Span::new(0, PAGE_SIZE - 1).is_none());
        assert!(Span::new(PAGE_SIZE, PAGE_SIZE).is_none());
        assert!(Span::new(2 * PAGE_SIZE, PAGE_SIZE).is_none());
        assert!(Span::new(0, LAST).is_some());
    }

    #[test]
    fn bytes_are_widened_to_pages() {
        let page = Span::new(PAGE_SIZE, 2 * PAGE_SIZE);
        let two = Span::new(PAGE_SIZE, 3 * PAGE_SIZE);

        assert_eq!(Span::covering(PAGE_SIZE, 1), page);
        assert_eq!(Span::covering(2 * PAGE_SIZE - 1, 1), page);
        assert_eq!(Span::covering(PAGE_SIZE, PAGE_SIZE), page);
        assert_eq!(Span::covering(2 * PAGE_SIZE - 1, 2), two);
        assert_eq!(two.map(|span| span.pages()), Some(2));
        assert_eq!(Span::covering(PAGE_SIZE, 0), None);
    }

    #[test]
    fn the_end_of_the_address_space_is_not_passed() {
        assert!(Span::covering(LAST - 1, 1).is_some());
        assert_eq!(Span::covering(LAST, 1), None);
        assert_eq!(Span::covering(usize::MAX, 1), None);
        assert_eq!(Span::covering(LAST - 1, 2), None);
        assert_eq!(Span::covering(PAGE_SIZE, usize::MAX), None);
    }

    #[test]
    fn intersections() -> Result {
        let at = |from: usize, to: usize| Span::new(from * PAGE_SIZE, to * PAGE_SIZE);
        let span = at(2, 6).ok_or(EINVAL)?;
        let with = |from, to| span.intersect(at(from, to)?);

        assert_eq!(with(2, 6), at(2, 6));
        assert_eq!(with(0, 9), at(2, 6));
        assert_eq!(with(3, 5), at(3, 5));
        assert_eq!(with(0, 3), at(2, 3));
        assert_eq!(with(5, 9), at(5, 6));
        // Adjacent spans do not overlap.
        assert_eq!(with(0, 2), None);
        assert_eq!(with(6, 9), None);
        Ok(())
    }
}

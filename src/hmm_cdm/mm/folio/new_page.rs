// SPDX-License-Identifier: GPL-2.0

//! Destinations of a migration: locked pages that are not mapped yet.
//!
//! C files: `mm/page_alloc.c`, `mm/memremap.c` (`zone_device_page_init()`).

use super::Pfn;
use crate::{
    bindings,
    mm::pmd_order, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The destination of a migration: a base page or huge page that is locked, not mapped, and has one
/// reference. Dropping it frees the page.
///
/// # Invariants
///
/// `pfn` is the first frame of a locked folio of `1 << order` pages. The value owns the lock and
/// the only reference. `order` is zero or [`pmd_order`].
pub struct NewPage {
    pfn: Pfn,
    order: u32,
}

// SAFETY: A folio lock has no owner: folio_unlock() may be called by any task.
unsafe impl Send for NewPage {}

impl NewPage {
    /// Allocates a page of system memory for a process. Sleeps; `None` if there is none.
    pub fn system() -> Option<Self> {
        // SAFETY: The helper allocates with GFP_HIGHUSER_MOVABLE, which requires a context that may
        // sleep, and returns null or a new page.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_page(), 0) }
    }

    /// The same for a page fault: may invoke the OOM killer. `None` if that has killed the caller.
    pub(crate) fn system_for_fault() -> Option<Self> {
        // SAFETY: As in `system()`.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_page_hard(), 0) }
    }

    /// Allocates a huge page of system memory for a process. Sleeps; `None` if there is none.
    pub fn system_huge() -> Option<Self> {
        // SAFETY: As in `system()`; the page has the order of a page middle directory entry.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_huge_page(false), pmd_order()) }
    }

    /// The same for a caller without an alternative: reclaims and compacts memory.
    pub(crate) fn system_huge_patiently() -> Option<Self> {
        // SAFETY: As in `system_huge()`.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_huge_page(true), pmd_order()) }
    }

    /// # Safety
    ///
    /// `page` is null, or the first of a new folio of `1 << order` pages, whose only reference the
    /// caller gives away. `order` is zero or [`pmd_order`].
    unsafe fn take(page: *mut bindings::page, order: u32) -> Option<Self> {
        let page = NonNull::new(page)?;

        // SAFETY: `__folio_set_locked()` is not atomic, so it requires a folio that nothing else
        // finds, as in `filemap_add_folio()`. By the safety requirements this one is new: it is on
        // no list, and in no page table or page cache.
        let pfn = unsafe { bindings::hmm_cdm_helper_lock_new_page(page.as_ptr()) };
        // INVARIANT: By the safety requirements, and just locked. The frame has a `struct page`.
        Some(Self {
            pfn: Pfn(pfn),
            order,
        })
    }

    /// Initialises free pages of device memory as one folio.
    ///
    /// # Safety
    ///
    /// The `1 << order` frames from `pfn` on belong to `pgmap`, which is registered, and are
    /// naturally aligned and free: the caller has just allocated them. `order` is zero or, if the
    /// memory is private, [`pmd_order`].
    pub(in crate::mm) unsafe fn device(
        pfn: Pfn,
        pgmap: *mut bindings::dev_pagemap,
        order: u32,
    ) -> Self {
        // SAFETY: `zone_device_page_init()` requires pages of `pgmap` without references, as by the
        // safety requirements.
        unsafe { bindings::zone_device_page_init(pfn.as_raw_page(), pgmap, order) };
        // INVARIANT: `zone_device_page_init()` sets the reference count to one and locks the page.
        Self { pfn, order }
    }

    /// Returns its first frame.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Lends the page.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn lend(&self) -> super::PageRef<'_> {
        // SAFETY: By the type invariants the value owns a reference.
        unsafe { super::PageRef::new(self.pfn) }
    }

    /// Returns the number of base pages.
    pub fn pages(&self) -> usize {
        1 << self.order
    }

    /// Fills the page with data, as its last user may have left it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn fill(&mut self, value: u8) {
        // SAFETY: The value owns the page. The tests allocate it from system memory, so it is in
        // the direct map.
        unsafe {
            bindings::hmm_cdm_helper_pfn_to_virt(self.pfn.raw())
                .cast::<u8>()
                .write_bytes(value, kernel::page::PAGE_SIZE)
        };
    }

    /// Turns the page into an entry of a migration's destination array, which then owns the lock
    /// and the reference.
    pub(in crate::mm) fn into_mpfn(self) -> usize {
        let huge = if self.order > 0 {
            bindings::MIGRATE_PFN_COMPOUND as usize
        } else {
            0
        };
        let pfn = self.pfn.raw();

        core::mem::forget(self);
        (pfn << bindings::MIGRATE_PFN_SHIFT) | bindings::MIGRATE_PFN_VALID as usize | huge
    }

    /// Takes a page back from a destination array.
    ///
    /// # Safety
    ///
    /// `mpfn` came from [`NewPage::into_mpfn`], and the array gives up the lock and the reference.
    pub(in crate::mm) unsafe fn from_mpfn(mpfn: usize) -> Self {
        let huge = mpfn & bindings::MIGRATE_PFN_COMPOUND as usize != 0;

        // INVARIANT: By the safety requirements.
        Self {
            pfn: Pfn(mpfn >> bindings::MIGRATE_PFN_SHIFT),
            order: if huge { pmd_order() } else { 0 },
        }
    }
}

impl Drop for NewPage {
    fn drop(&mut self) {
        // SAFETY: The helper unlocks the page and drops a reference. By the type invariants the
        // value owns both.
        unsafe { bindings::hmm_cdm_helper_unlock_put_page(self.pfn.as_raw_page()) };
    }
}

#[kunit_tests(hmm_cdm_new_page)]
mod tests {
    use super::*;

    #[test]
    fn new_pages_are_locked_system_memory() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;

        assert!(page.pfn().is_system());
        assert_eq!(page.pfn().counts(), (1, 0));
        // The one reference is ours; the kernel counts it as that of a page on its way to the LRU.
        assert!(!page.lend().has_extra_refs());
        Ok(())
    }

    #[test]
    fn a_destination_is_the_same_page_when_it_comes_back() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let pfn = page.pfn();

        let mpfn = page.into_mpfn();
        assert!(mpfn & bindings::MIGRATE_PFN_VALID as usize != 0);
        // SAFETY: It was made right above, and is not used again.
        let back = unsafe { NewPage::from_mpfn(mpfn) };
        assert_eq!(back.pfn(), pfn);
        // Neither the reference nor the lock was lost or duplicated; dropping the value releases
        // both.
        assert_eq!(back.pfn().counts(), (1, 0));
        Ok(())
    }

    #[test]
    fn huge_pages_are_one_destination() -> Result {
        let Some(page) = NewPage::system_huge() else {
            // There may be none, which is not an error.
            return Ok(());
        };
        let (pfn, pages) = (page.pfn(), page.pages());

        assert_eq!(pages, 1 << pmd_order());
        assert_eq!(pfn.raw() % pages, 0);
        let mpfn = page.into_mpfn();
        assert!(mpfn & bindings::MIGRATE_PFN_COMPOUND as usize != 0);
        // SAFETY: It was made right above, and is not used again.
        let back = unsafe { NewPage::from_mpfn(mpfn) };
        assert_eq!((back.pfn(), back.pages()), (pfn, pages));
        assert_eq!(back.pfn().counts(), (1, 0));
        Ok(())
    }
}

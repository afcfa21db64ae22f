// SPDX-License-Identifier: GPL-2.0

//! Allocation of a node's pages.
//!
//! Allocated pages go into the page table of a process. They are freed when the last reference
//! goes, by exit, munmap, COW or migration (`folio_free`), never explicitly.
//!
//! Each page is charged to the cgroup of the current task, which happens first: charging sleeps.

use super::{
    charge::{
        DmemCharges,
        Reservation, //
    },
    Node, //
};
use crate::mm::{
    self,
    folio::NewPage,
    pagemap::Kind, //
};

/// The number of single pages that are allocated under one hold of the allocator's lock.
const ALLOC_BATCH: usize = 32;

impl Node {
    /// Allocates up to `count` single pages, contiguous ones as far as possible, and passes them to
    /// `each`. Returns how many there were: fewer than `count` if the node is full, or if a limit
    /// of the current task's cgroup does not allow more. Sleeps.
    ///
    /// They still contain the data of their last user.
    pub fn alloc(&self, count: usize, mut each: impl FnMut(NewPage)) -> usize {
        let pages = self.node_pages();
        let mut allocated = 0;

        while allocated < count {
            let mut batch = [0; ALLOC_BATCH];
            let mut filled = 0;
            let mut reservation = pages.charges().reserve(ALLOC_BATCH.min(count - allocated));
            let want = reservation.pages();

            pages.alloc_with(|buddy| {
                buddy.alloc_singles(want, |index| {
                    if let Some(slot) = batch.get_mut(filled) {
                        *slot = index;
                        filled += 1;
                    }
                })
            });
            reservation.assign(batch.iter().copied().take(filled));
            for index in batch.iter().take(filled) {
                pages.window_lru().allocated(*index, 1);
                if let Some(page) = self.init_page(*index, 0) {
                    each(page);
                }
            }
            allocated += filled;
            if filled < want || want == 0 {
                break;
            }
        }
        allocated
    }

    /// Allocates a window of physically contiguous, naturally aligned single pages and passes them
    /// to `each`, in order. False if there is none, or if a limit of the current task's cgroup does
    /// not allow it. Sleeps.
    pub fn alloc_window(&self, mut each: impl FnMut(NewPage)) -> bool {
        let reserve = |charges, pages| Some(DmemCharges::reserve(charges, pages));
        let Some(first) = self.alloc_window_frames(reserve) else {
            return false;
        };

        self.window_lru().allocated(first, mm::window_pages());
        for index in first..first + mm::window_pages() {
            if let Some(page) = self.init_page(index, 0) {
                each(page);
            }
        }
        true
    }

    /// Allocates a window as one huge page; `None` as with [`Self::alloc_window`]. For private
    /// memory only: the kernel cannot split huge pages of coherent memory. Sleeps.
    pub fn alloc_huge(&self) -> Option<NewPage> {
        if self.kind() != Kind::Private {
            return None;
        }
        let first = self.alloc_window_frames(DmemCharges::reserve_huge)?;

        self.window_lru().allocated(first, mm::window_pages());
        self.init_page(first, mm::pmd_order())
    }

    /// Allocates the frames of a window, charged by `reserve`. Returns the index of the first.
    fn alloc_window_frames<'a>(
        &'a self,
        reserve: impl FnOnce(&'a DmemCharges, usize) -> Option<Reservation<'a>>,
    ) -> Option<usize> {
        let pages = self.node_pages();
        let charges = pages.charges();

        // Charging a window in vain would cost more than this check.
        if charges.is_open() && pages.free_windows() == 0 {
            return None;
        }
        let count = mm::window_pages();
        let mut reservation =
            reserve(charges, count).filter(|reservation| reservation.pages() == count)?;
        let first = pages
            .alloc_with(|buddy| buddy.alloc(mm::pmd_order()))
            .flatten()?;

        reservation.assign(first..first + count);
        Some(first)
    }

    /// Initialises the `struct page`s of a block that was just allocated.
    fn init_page(&self, index: usize, order: u32) -> Option<NewPage> {
        // SAFETY: The callers allocated the frames with the buddy allocator, which allocates them
        // again only after `folio_free()`, and initialise each once. A block of the order of a
        // window is private memory, and naturally aligned.
        unsafe { self.pagemap.hand_out(index, order) }
    }
}

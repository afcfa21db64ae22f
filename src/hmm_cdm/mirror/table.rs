// SPDX-License-Identifier: GPL-2.0

//! What a device that has page tables of its own is told, and what the library's page table has to
//! know of the device's memory.

use super::stats::Stats;
use crate::{
    mm::{folio::Pfn, pagemap::Kind, range::Access, Span},
    node::{window_lru::WindowLru, Node},
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, SetOnce,
    },
};

/// Contiguous pages of the device's page table, all with the same rights.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The process's address of the first page.
    pub addr: usize,
    /// The first page's frame.
    pub pfn: Pfn,
    /// If the pages are in the device's own memory: the first one's place, counted in pages from
    /// the start of the memory.
    pub index: Option<usize>,
    /// How many pages there are.
    pub pages: usize,
    /// What the device may do.
    pub access: Access,
    /// The device has them for itself: the CPU faults, and takes them back.
    pub exclusive: bool,
}

impl Extent {
    /// Takes `next` in if it goes on where this one ends; else hands it back.
    pub(super) fn join(&mut self, next: Extent) -> Option<Extent> {
        let pages = self.pages;
        let follows = self.addr + pages * kernel::page::PAGE_SIZE == next.addr
            && self.pfn.raw() + pages == next.pfn.raw()
            && self.index.map(|index| index + pages) == next.index
            && self.access == next.access
            && self.exclusive == next.exclusive;

        if follows {
            self.pages += next.pages;
            None
        } else {
            Some(next)
        }
    }
}

/// A page table of the device's own, which follows the library's.
///
/// Both are called with the spinlock held that the interval of the addresses has, so neither may
/// sleep or go back into the mirror. It must not own the mirror, or neither would go.
pub trait Table: Send + Sync {
    /// Pages have been entered; what was there for these addresses is replaced. They hold until
    /// they are invalidated. A fault tells of all that its window has, old and new, so what there
    /// was no room for is told again when the device faults again.
    fn map(&self, extent: &Extent);

    /// The device must not use any page of `span` any more when this returns.
    ///
    /// The caller may hold the mmap lock, rmap locks and locks of pages, and may be in memory
    /// reclaim.
    fn invalidate(&self, span: Span);
}

/// What all intervals of a mirror have in common.
pub(super) struct Shared {
    pub(super) stats: Stats,
    pub(super) table: SetOnce<Arc<dyn Table>>,
    retired: Atomic<bool>,
    suspended: Atomic<bool>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            stats: Stats::new(),
            table: SetOnce::new(),
            retired: Atomic::new(false),
            suspended: Atomic::new(false),
        }
    }

    /// No entry is made any more. Those who make them look under the lock of a interval, which the
    /// caller takes afterwards to clear it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// The same, until it is taken back.
    pub(super) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Relaxed);
    }

    /// ESRCH once no entry is made any more, EIO while none is made.
    pub(super) fn check_active(&self) -> Result {
        if self.retired.load(Relaxed) {
            Err(ESRCH)
        } else if self.suspended.load(Relaxed) {
            Err(EIO)
        } else {
            Ok(())
        }
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.as_ref().is_some()
    }

    pub(super) fn map(&self, extent: &Extent) {
        if let Some(table) = self.table.as_ref() {
            table.map(extent);
        }
    }

    pub(super) fn invalidate(&self, span: Span) {
        if let Some(table) = self.table.as_ref() {
            table.invalidate(span);
        }
    }
}

/// The device's own memory, as its page table has to know it: which frames, what kind, and where
/// their use is noted.
#[derive(Clone, Default)]
pub(super) struct DeviceMemory {
    pub(super) first: usize,
    pub(super) pages: usize,
    pub(super) private: bool,
    window_lru: Option<Arc<WindowLru>>,
}

impl PartialEq for DeviceMemory {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.window_lru, &other.window_lru) {
            (Some(window_lru), Some(others)) => Arc::ptr_eq(window_lru, others),
            (None, None) => true,
            _ => false,
        };

        same && (self.first, self.pages, self.private) == (other.first, other.pages, other.private)
    }
}

impl DeviceMemory {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            first: node.pfn(0).map_or(0, |pfn| pfn.raw()),
            pages: node.pages(),
            private: node.kind() == Kind::Private,
            window_lru: Some(node.window_lru().clone()),
        }
    }

    /// These pages, which are of no node.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn pages(first: usize, pages: usize, private: bool) -> Self {
        Self {
            first,
            pages,
            private,
            window_lru: None,
        }
    }

    /// Its frames.
    pub(super) fn frames(&self) -> core::ops::Range<usize> {
        self.first..self.first + self.pages
    }

    /// Which page of the memory `pfn` is, if it is one.
    pub(super) fn index(&self, pfn: Pfn) -> Option<usize> {
        let index = pfn.raw().wrapping_sub(self.first);

        (index < self.pages).then_some(index)
    }

    /// The device has used page `index`. Context: any.
    pub(super) fn touch(&self, index: usize) {
        if let Some(window_lru) = &self.window_lru {
            window_lru.touch(index);
        }
    }
}

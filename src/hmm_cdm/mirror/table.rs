// SPDX-License-Identifier: GPL-2.0

//! The page table that a device may have beside the library's, and what all intervals of a mirror
//! share.

use super::stats::Stats;
use crate::{
    mm::{
        folio::Pfn,
        pagemap::Kind,
        range::Access,
        Span, //
    },
    node::{
        window_lru::WindowLru,
        Node, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SetOnce, //
    },
};

/// Contiguous pages of the device's page table, all with the same rights.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Address of the first page in the process.
    pub addr: usize,
    /// Frame of the first page.
    pub pfn: Pfn,
    /// If the pages are in the device's own memory: the offset of the first one from the start of
    /// the memory, in pages.
    pub index: Option<usize>,
    /// Number of pages.
    pub pages: usize,
    /// What the device may do.
    pub access: Access,
    /// Whether the device has exclusive access: the CPU faults, and takes the pages back.
    pub exclusive: bool,
}

impl Extent {
    /// Appends `next` if it continues this extent; otherwise returns it.
    pub(super) fn join(&mut self, next: Extent) -> Option<Extent> {
        let pages = self.pages;
        let follows = self.addr + pages * PAGE_SIZE == next.addr
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
/// Both methods are called with the spinlock of the addresses' interval held: they must not sleep,
/// and must not call the mirror. The table must not own the mirror, or neither would be freed.
pub trait Table: Send + Sync {
    /// Enters pages, in place of any that the table has for these addresses. They are valid until
    /// they are invalidated. A fault passes on all valid entries of its window, old ones included,
    /// so a table that had no room for some gets them again when the device faults there.
    fn map(&self, extent: &Extent);

    /// Removes all pages of `span`. When this returns, the device must not access them any more.
    ///
    /// Context: the caller may hold the mmap lock, rmap locks and folio locks, and may be in memory
    /// reclaim.
    fn invalidate(&self, span: Span);
}

/// What all intervals of a mirror share.
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

    /// Forbids new entries. This is checked under the interval's lock before an entry is made; the
    /// caller takes that lock afterwards, to clear the interval.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Forbids new entries, or allows them again. Otherwise as [`Self::retire`].
    pub(super) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Relaxed);
    }

    /// Whether entries may be made: ESRCH once the mirror has retired, EIO while it is suspended.
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

/// The device's own memory as its page table sees it: its frames, its kind, and where use of it is
/// noted.
#[derive(Clone, Default)]
pub(super) struct DeviceMemory {
    pub(super) first: usize,
    pub(super) pages: usize,
    pub(super) private: bool,
    window_lru: Option<Arc<WindowLru>>,
}

impl PartialEq for DeviceMemory {
    fn eq(&self, other: &Self) -> bool {
        let same_lru = match (&self.window_lru, &other.window_lru) {
            (Some(lru), Some(others)) => Arc::ptr_eq(lru, others),
            (None, None) => true,
            _ => false,
        };

        same_lru
            && (self.first, self.pages, self.private) == (other.first, other.pages, other.private)
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

    /// Memory that belongs to no node.
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

    /// The offset of `pfn` from the start of the memory, in pages, if it is in there.
    pub(super) fn index(&self, pfn: Pfn) -> Option<usize> {
        let index = pfn.raw().wrapping_sub(self.first);

        (index < self.pages).then_some(index)
    }

    /// Notes that the device has used page `index`. Context: any.
    pub(super) fn touch(&self, index: usize) {
        if let Some(window_lru) = &self.window_lru {
            window_lru.touch(index);
        }
    }
}

#[kunit_tests(hmm_cdm_table)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;

    #[test]
    fn contiguous_pages_are_one_extent() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let extent = |i: usize, access| Extent {
            addr: i * PAGE_SIZE,
            // SAFETY: Only the number is used.
            pfn: unsafe { Pfn::new(page.pfn().raw() + i) },
            index: Some(5 + i),
            pages: 1,
            access,
            exclusive: false,
        };
        let mut run = extent(0, Access::Read);

        assert_eq!(run.join(extent(1, Access::Read)), None);
        assert_eq!(run.pages, 2);
        let other = extent(2, Access::Write);
        assert_eq!(run.join(other), Some(other));
        let elsewhere = Extent {
            index: None,
            ..extent(2, Access::Read)
        };
        assert_eq!(run.join(elsewhere), Some(elsewhere));
        let exclusive = Extent {
            exclusive: true,
            ..extent(2, Access::Read)
        };
        assert_eq!(run.join(exclusive), Some(exclusive));
        let behind_a_gap = extent(3, Access::Read);
        assert_eq!(run.join(behind_a_gap), Some(behind_a_gap));
        assert_eq!(run.pages, 2);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The page table that a device may have beside the library's.

use crate::mm::{
    folio::Pfn,
    range::Access,
    Span, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
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

#[kunit_tests(hmm_cdm_table)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;

    #[test]
    fn contiguous_pages_are_one_extent() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let extent = |i: usize, access| Extent {
            addr: i * PAGE_SIZE,
            // SAFETY: There need not be a `struct page`, as only the number is used.
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

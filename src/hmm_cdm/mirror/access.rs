// SPDX-License-Identifier: GPL-2.0

//! The device's accesses to memory, through its page table.

use super::{
    table::Extent,
    Mirror, //
};
use crate::mm::{
    folio::{
        mark_written,
        MappedPage, //
    },
    range::Access,
};
use kernel::page::PAGE_SIZE;

/// No entry allows the access: the device faults. See [`Mirror::fault`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Missing;

/// The page of an access, for as long as the access takes.
pub struct Hit<'a> {
    /// The page.
    pub page: MappedPage<'a>,
    /// The offset of the accessed address in the page.
    pub offset: usize,
    /// Its entry.
    pub extent: Extent,
}

/// What the device's page table allows for a page, and how often the device has used it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The device may read.
    pub(crate) read: bool,
    /// The device may write.
    pub(crate) write: bool,
    /// The device has exclusive access.
    pub(crate) exclusive: bool,
    /// Number of accesses since the entry was made.
    pub(crate) accesses: u16,
}

impl Mirror {
    /// Looks up `addr` in the device's page table and, if the access is allowed, counts it and
    /// calls `use_page` with the page.
    ///
    /// No invalidation of the page returns while `use_page` runs, so it must be short: one access
    /// to this page. It is called with a spinlock held and must not sleep.
    pub fn access<R>(
        &self,
        addr: usize,
        access: Access,
        use_page: impl FnOnce(&Hit<'_>) -> R,
    ) -> Result<R, Missing> {
        let interval = self.find_interval(addr).ok_or(Missing)?;
        let mut entries = interval.lock();
        let entry = entries
            .get_mut(addr)
            .filter(|entry| entry.allows(access))
            .ok_or(Missing)?;
        let pfn = entry.pfn().ok_or(Missing)?;
        let private = entry.is_private();

        if entry.count_access(access) {
            // SAFETY: `mark_written()` requires a page that the mirrored address space maps: that
            // of a valid entry is, as its invalidation clears the entry. It also requires the lock
            // that the invalidation takes, which `entries` holds.
            unsafe { mark_written(pfn) };
        }
        // SAFETY: As above; `entries` holds the lock until after the last use. `allows()` has
        // checked that the page may be written if that is asked for. Unless `private`, the CPU can
        // access the page: pages outside of the direct map get no entry
        // (`View::next_inaccessible()`).
        let page = unsafe { MappedPage::new(pfn, access == Access::Write, private) };
        let extent = entries.extent(addr).ok_or(Missing)?;

        if let Some(index) = extent.index {
            entries.touch(index);
        }
        Ok(use_page(&Hit {
            page,
            offset: addr % PAGE_SIZE,
            extent,
        }))
    }

    /// Returns what the device may do with the page at `addr`.
    pub(crate) fn rights(&self, addr: usize) -> Rights {
        let Some(interval) = self.find_interval(addr) else {
            return Rights::default();
        };
        let entry = interval.lock().get(addr);

        Rights {
            read: entry.allows(Access::Read),
            write: entry.allows(Access::Write),
            exclusive: entry.is_exclusive(),
            accesses: entry.accesses(),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The format of an entry of the device's page table: a page frame, what the device may do with the
//! page, and how often it did so.

use super::device_memory::DeviceMemory;
use crate::mm::{
    folio::Pfn,
    range::Access, //
};
use kernel::prelude::*;

/// An entry of the device's page table.
///
/// Bits 0 to 5 are flags, bits 8 to 23 count accesses, and the bits from 24 up are the page frame
/// number: 40 bits, enough for physical addresses of 52 bits with 4 KiB pages.
///
/// # Invariants
///
/// If `VALID` is set, the entry was made for a frame with a `struct page`, in the device page table
/// under a notifier whose walk has reported it. An invalidation clears the entry before it returns.
#[derive(Copy, Clone, PartialEq, Eq, Zeroable)]
pub(super) struct DeviceEntry(u64);

impl DeviceEntry {
    const VALID: u64 = 1 << 0;
    const WRITE: u64 = 1 << 1;
    const LOCAL: u64 = 1 << 2;
    const WRITTEN: u64 = 1 << 3;
    const EXCLUSIVE: u64 = 1 << 4;
    const PRIVATE: u64 = 1 << 5;
    const COUNT_SHIFT: u32 = 8;
    const COUNT: u64 = 0xffff << Self::COUNT_SHIFT;
    const PFN_SHIFT: u32 = 24;

    pub(super) const NONE: Self = Self(0);

    /// Makes the entry for a page that the CPU's page table maps with `access`.
    pub(super) fn new(pfn: Pfn, access: Access, memory: &DeviceMemory) -> Self {
        Template::new(access, memory).entry(pfn)
    }

    /// Makes the entry for a page to which the device has exclusive access.
    pub(super) fn new_exclusive(pfn: Pfn, memory: &DeviceMemory) -> Self {
        Self(Self::new(pfn, Access::Write, memory).0 | Self::EXCLUSIVE)
    }

    /// Returns the entry for the next page of the same huge page, all of which is in the same
    /// memory.
    pub(super) fn next_frame(self) -> Self {
        // INVARIANT: All frames of a huge page have a `struct page`, and the walk has reported
        // them.
        Self(self.0.wrapping_add(1 << Self::PFN_SHIFT))
    }

    pub(super) fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// Returns whether the page is in the device's own memory.
    pub(super) fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
    }

    /// Returns whether the page is in device memory that the CPU cannot access.
    pub(super) fn is_private(self) -> bool {
        self.0 & Self::PRIVATE != 0
    }

    /// Returns whether the device has exclusive access to the page.
    pub(super) fn is_exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// Returns whether the device may access the page in that way.
    pub(super) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.is_valid(),
            Access::Write => self.is_valid() && self.0 & Self::WRITE != 0,
        }
    }

    /// Returns the number of accesses since the entry was made; saturates at `u16::MAX`.
    pub(super) fn accesses(self) -> u16 {
        ((self.0 & Self::COUNT) >> Self::COUNT_SHIFT) as u16
    }

    /// Counts an access. Returns true for the first write.
    pub(super) fn count_access(&mut self, access: Access) -> bool {
        if self.0 & Self::COUNT != Self::COUNT {
            self.0 += 1 << Self::COUNT_SHIFT;
        }
        if access == Access::Write && self.0 & Self::WRITTEN == 0 {
            self.0 |= Self::WRITTEN;
            return true;
        }
        false
    }

    pub(super) fn pfn(self) -> Option<Pfn> {
        if !self.is_valid() {
            return None;
        }
        // SAFETY: By the type invariants a valid entry has a frame with a `struct page`.
        Some(unsafe { Pfn::new((self.0 >> Self::PFN_SHIFT) as usize) })
    }

    /// Returns whether both map the same page in the same way, however often it was accessed.
    pub(super) fn maps_alike(self, other: Self) -> bool {
        const IGNORED: u64 = DeviceEntry::COUNT | DeviceEntry::WRITTEN;

        self.0 & !IGNORED == other.0 & !IGNORED
    }
}

/// Makes entries for pages that are mapped with the same access.
pub(super) struct Template {
    // The flags of pages in the device's own memory, which is `local_pages` frames from
    // `local_start`, and of all others.
    local: u64,
    remote: u64,
    local_start: usize,
    local_pages: usize,
}

impl Template {
    #[inline(always)]
    pub(super) fn new(access: Access, memory: &DeviceMemory) -> Self {
        let remote = match access {
            Access::Read => DeviceEntry::VALID,
            Access::Write => DeviceEntry::VALID | DeviceEntry::WRITE,
        };
        let private = if memory.private {
            DeviceEntry::PRIVATE
        } else {
            0
        };

        Self {
            local: remote | DeviceEntry::LOCAL | private,
            remote,
            local_start: memory.first,
            local_pages: memory.pages,
        }
    }

    /// Returns the entry for a page that a walk has reported.
    #[inline(always)]
    pub(super) fn entry(&self, pfn: Pfn) -> DeviceEntry {
        let frame = pfn.raw();
        let is_local = frame.wrapping_sub(self.local_start) < self.local_pages;
        let flags = if is_local { self.local } else { self.remote };

        // INVARIANT: By those of `Pfn`.
        DeviceEntry((frame as u64) << DeviceEntry::PFN_SHIFT | flags)
    }
}

#[kunit_tests(hmm_cdm_device_entry)]
mod tests {
    use super::super::kunit::memory;
    use super::*;
    use crate::mm::folio::NewPage;

    #[test]
    fn an_entry_keeps_its_page_and_rights() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let read = DeviceEntry::new(page.pfn(), Access::Read, &DeviceMemory::default());
        let write = DeviceEntry::new(page.pfn(), Access::Write, &memory(Some(&page), false));

        assert_eq!(read.pfn(), Some(page.pfn()));
        assert!(read.allows(Access::Read) && !read.allows(Access::Write));
        assert!(!read.is_local());
        assert_eq!(write.pfn(), Some(page.pfn()));
        assert!(write.allows(Access::Read) && write.allows(Access::Write));
        assert!(write.is_local());
        assert_eq!((read.accesses(), write.accesses()), (0, 0));
        Ok(())
    }

    #[test]
    fn no_entry_allows_nothing() {
        assert!(!DeviceEntry::NONE.is_valid());
        assert!(!DeviceEntry::NONE.allows(Access::Read));
        assert!(!DeviceEntry::NONE.allows(Access::Write));
        assert_eq!(DeviceEntry::NONE.pfn(), None);
        // Write permission without a page allows nothing.
        assert!(!DeviceEntry(DeviceEntry::WRITE).allows(Access::Write));
    }

    #[test]
    fn accesses_are_counted_up_to_their_maximum() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entry = DeviceEntry::new(page.pfn(), Access::Write, &memory(Some(&page), false));
        let fresh = entry;

        for count in 1..=u16::MAX {
            entry.count_access(Access::Read);
            assert_eq!(entry.accesses(), count);
        }
        entry.count_access(Access::Read);
        assert_eq!(entry.accesses(), u16::MAX);
        // The count has not overflowed into the frame number.
        assert_eq!(entry.pfn(), Some(page.pfn()));
        assert!(entry.maps_alike(fresh));
        Ok(())
    }

    #[test]
    fn only_the_first_write_is_reported() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entry = DeviceEntry::new(page.pfn(), Access::Write, &DeviceMemory::default());

        assert!(!entry.count_access(Access::Read));
        assert!(entry.count_access(Access::Write));
        assert!(!entry.count_access(Access::Write));
        assert!(!entry.count_access(Access::Read));
        assert_eq!(entry.accesses(), 4);
        Ok(())
    }

    #[test]
    fn entries_differ_by_page_rights_and_memory() -> Result {
        let (page, other) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let system = DeviceMemory::default();
        let entry = DeviceEntry::new(page.pfn(), Access::Read, &system);
        let others = [
            DeviceEntry::new(other.pfn(), Access::Read, &system),
            DeviceEntry::new(page.pfn(), Access::Write, &system),
            DeviceEntry::new(page.pfn(), Access::Read, &memory(Some(&page), false)),
            DeviceEntry::NONE,
        ];

        assert!(entry.maps_alike(entry));
        for other in others {
            assert!(!entry.maps_alike(other));
        }
        Ok(())
    }
}

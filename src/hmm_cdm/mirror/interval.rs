// SPDX-License-Identifier: GPL-2.0

//! The device's page table: windows of entries, in intervals of [`WINDOWS_PER_INTERVAL`] windows
//! that share an interval notifier.
//!
//! A window is allocated when the device first faults in it, and freed by an invalidation that
//! covers all of it. An interval stays until the mirror goes. Its notifier, lock and index (1 KiB)
//! take less than 1 % of the memory that its entries take when all windows are allocated. An
//! invalidation makes the faults in its interval retry, but not those elsewhere.

use super::{
    device_entry::DeviceEntry,
    device_memory::DeviceMemory,
    shared::Shared,
    table::Extent, //
};
use crate::mm::{
    notifier::Invalidate,
    range::Access,
    Span, //
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc,
};

/// How many windows share a notifier, and the logarithm of that.
pub(super) const WINDOWS_PER_INTERVAL: usize = 1 << INTERVAL_ORDER;
pub(super) const INTERVAL_ORDER: u32 = 5;

/// The entries for the pages of a window, which need not all be valid.
pub(super) type WindowEntries = KVec<DeviceEntry>;

/// The entries of an interval.
pub(crate) struct Entries {
    span: Span,
    window_shift: u32,
    pub(super) windows: [Option<WindowEntries>; WINDOWS_PER_INTERVAL],
    // The device's memory when the last entry was made. It is that of all local entries: a device
    // loses its memory only after all pages of it are unmapped.
    pub(super) memory: DeviceMemory,
    pub(super) shared: Arc<Shared>,
}

impl Entries {
    pub(super) fn new(span: Span, window_shift: u32, shared: Arc<Shared>) -> Self {
        Self {
            span,
            window_shift,
            windows: [const { None }; WINDOWS_PER_INTERVAL],
            memory: DeviceMemory::default(),
            shared,
        }
    }

    /// Makes an empty window. ENOMEM.
    pub(super) fn new_window(pages: usize) -> Result<WindowEntries> {
        // All zeros is `DeviceEntry::NONE`.
        Ok(KVec::zeroed(pages, GFP_KERNEL)?)
    }

    /// Returns the indices of the window of `addr`, which may be behind the last one, and of the
    /// page in the window.
    pub(super) fn locate(&self, addr: usize) -> Option<(usize, usize)> {
        let offset = addr.checked_sub(self.span.start())?;
        let window = offset >> self.window_shift;
        let page = (offset - (window << self.window_shift)) >> PAGE_SHIFT;

        Some((window, page))
    }

    /// Returns the entry of the page at `addr`.
    pub(super) fn get(&self, addr: usize) -> DeviceEntry {
        self.locate(addr)
            .and_then(|(window, page)| self.windows.get(window)?.as_ref()?.get(page).copied())
            .unwrap_or(DeviceEntry::NONE)
    }

    /// Returns the entry of the page at `addr`, unless its window is missing.
    pub(super) fn get_mut(&mut self, addr: usize) -> Option<&mut DeviceEntry> {
        let (window, page) = self.locate(addr)?;

        self.windows.get_mut(window)?.as_mut()?.get_mut(page)
    }

    /// Returns whether the window of `addr` has been allocated.
    pub(super) fn has_window(&self, addr: usize) -> bool {
        self.locate(addr)
            .and_then(|(window, _)| self.windows.get(window))
            .is_some_and(|window| window.is_some())
    }

    /// Returns the entry of the page at `addr` as drivers see it.
    pub(super) fn extent(&self, addr: usize) -> Option<Extent> {
        Self::to_extent(self.get(addr), addr & !(PAGE_SIZE - 1), &self.memory)
    }

    pub(super) fn to_extent(
        entry: DeviceEntry,
        addr: usize,
        memory: &DeviceMemory,
    ) -> Option<Extent> {
        let pfn = entry.pfn()?;

        Some(Extent {
            addr,
            pfn,
            index: memory.index(pfn).filter(|_| entry.is_local()),
            pages: 1,
            access: if entry.allows(Access::Write) {
                Access::Write
            } else {
                Access::Read
            },
            exclusive: entry.is_exclusive(),
        })
    }

    /// Notes that the device has used page `index` of its own memory.
    pub(super) fn touch(&self, index: usize) {
        self.memory.touch(index);
    }

    /// Replaces the device's memory. Leaves the old value in `memory`; the caller drops it where it
    /// may sleep.
    pub(super) fn set_memory(&mut self, memory: &mut DeviceMemory) {
        if self.memory != *memory {
            core::mem::swap(&mut self.memory, memory);
        }
    }

    /// Invalidates all entries.
    pub(super) fn clear(&mut self) {
        self.invalidate(self.span);
    }
}

impl Invalidate for Entries {
    fn invalidate(&mut self, span: Span) {
        let mut cleared = 0;

        // The kernel may come page by page (try_to_migrate_one()), so only the windows of `span`
        // are looked at.
        if let Some(hit) = self.span.intersect(span) {
            let window = |addr: usize| (addr - self.span.start()) >> self.window_shift;
            let (first, last) = (window(hit.start()), window(hit.end() - 1));
            let size = 1 << self.window_shift;
            let mut start = self.span.start() + first * size;

            for slot in self.windows.get_mut(first..=last).unwrap_or_default() {
                let (from, to) = (hit.start().max(start), hit.end().min(start + size));
                let pages = (from - start) >> PAGE_SHIFT..(to - start) >> PAGE_SHIFT;
                let entries = slot.as_mut().and_then(|entries| entries.get_mut(pages));

                for entry in entries.unwrap_or_default() {
                    cleared += u64::from(entry.is_valid());
                    *entry = DeviceEntry::NONE;
                }
                if to - from == size {
                    *slot = None;
                }
                start += size;
            }
        }
        if cleared > 0 {
            self.shared.invalidate(span);
        }
        self.shared.stats.invalidations.add(1);
        self.shared.stats.invalidated_pages.add(cleared);
    }
}

#[kunit_tests(hmm_cdm_interval)]
mod tests {
    use super::super::kunit::{
        at,
        fill,
        new_entries,
        new_shared,
        span,
        Call,
        Recorder,
        END,
        PAGES,
        START,
        WINDOW, //
    };
    use super::*;
    use crate::mm::{
        folio::NewPage,
        range::View, //
    };

    #[test]
    fn addresses_outside_of_an_interval_have_no_entry() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = new_entries(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Write); PAGES];

        for start in (START..END).step_by(WINDOW) {
            assert_eq!(fill(&mut entries, start, &raw)?, Some(PAGES));
        }
        for addr in [START, END - 1] {
            assert!(entries.has_window(addr) && entries.get(addr).is_valid());
        }
        for addr in [0, START - 1, END, END + WINDOW, usize::MAX] {
            assert!(!entries.has_window(addr));
            assert!(entries.get(addr) == DeviceEntry::NONE);
            assert!(entries.get_mut(addr).is_none());
        }
        Ok(())
    }

    #[test]
    fn a_window_comes_with_its_first_entries() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = new_entries(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Read); 2];
        let last = END - WINDOW;

        assert!(!entries.has_window(last));
        assert_eq!(fill(&mut entries, last + PAGE_SIZE, &raw)?, Some(2));
        assert!(entries.has_window(last) && entries.has_window(END - 1));
        assert!(!entries.has_window(last - 1) && !entries.has_window(END));
        // Only the pages that were filled in are valid, each to its last byte.
        assert!(!entries.get(last + PAGE_SIZE - 1).is_valid());
        assert!(entries.get(last + PAGE_SIZE).is_valid());
        assert!(entries.get(last + 3 * PAGE_SIZE - 1).is_valid());
        assert!(!entries.get(last + 3 * PAGE_SIZE).is_valid());

        // Also if the first pages are not present, or none is.
        let some = [0, 0, View::raw(page.pfn(), Access::Read), 0];
        assert_eq!(fill(&mut entries, START, &some)?, Some(1));
        assert!((0..PAGES).all(|i| entries.get(at(i)).is_valid() == (i == 2)));
        assert_eq!(fill(&mut entries, START + WINDOW, &[0; PAGES])?, Some(0));
        assert!(entries.has_window(START + WINDOW));
        Ok(())
    }

    #[test]
    fn an_invalidation_clears_its_pages_and_no_others() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let shared = new_shared()?;
        let mut entries = new_entries(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Write); PAGES];

        for window in 0..3 {
            fill(&mut entries, START + window * WINDOW, &raw)?;
        }
        // From the last page of the first window to the first of the third.
        let (from, to) = (START + WINDOW - PAGE_SIZE, START + 2 * WINDOW + PAGE_SIZE);
        entries.invalidate(span(from, to)?);

        for addr in (START..START + 3 * WINDOW).step_by(PAGE_SIZE) {
            let valid = entries.get(addr).is_valid();
            assert_eq!(valid, addr < from || addr >= to);
        }
        // A window that is covered goes, one that is not stays.
        assert!(entries.has_window(START));
        assert!(!entries.has_window(START + WINDOW));
        assert!(entries.has_window(START + 2 * WINDOW));
        assert_eq!(shared.stats.invalidations.get(), 1);
        assert_eq!(shared.stats.invalidated_pages.get(), PAGES as u64 + 2);
        Ok(())
    }

    #[test]
    fn an_invalidation_of_everything_leaves_no_window() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let shared = new_shared()?;
        let mut entries = new_entries(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Read)];

        fill(&mut entries, START, &raw)?;
        fill(&mut entries, END - PAGE_SIZE, &raw)?;
        entries.invalidate(span(0, END + WINDOW)?);
        assert!(entries.windows.iter().all(Option::is_none));
        assert_eq!(shared.stats.invalidated_pages.get(), 2);

        // And once more, with nothing to clear.
        entries.invalidate(span(START, END)?);
        assert_eq!(shared.stats.invalidations.get(), 2);
        assert_eq!(shared.stats.invalidated_pages.get(), 2);
        Ok(())
    }

    #[test]
    fn a_table_sees_invalidations_of_valid_entries() -> Result {
        let (mut entries, table) = Recorder::attached()?;
        let page = NewPage::system().ok_or(ENOMEM)?;

        fill(&mut entries, START, &[View::raw(page.pfn(), Access::Read)])?;
        table.take();
        entries.invalidate(span(START + PAGE_SIZE, END)?);
        assert!(table.take().is_empty());
        let hit = span(START, START + 2 * PAGE_SIZE)?;
        entries.invalidate(hit);
        let calls = table.take();
        assert_eq!(
            (calls.len(), calls.first()),
            (1, Some(&Call::Invalidate(hit)))
        );
        entries.invalidate(hit);
        assert!(table.take().is_empty());
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Filling the device's page table from what a walk of the CPU's has found.
//!
//! [`map_pages`] passes each entry to a sink. There are two: one for a new window, which only
//! stores, and one for a window that has entries already, which keeps their counts, leaves
//! exclusive ones alone and passes all of them on to the device's own page table.

use super::{
    device_entry::DeviceEntry,
    device_memory::DeviceMemory,
    interval::{
        Entries,
        WindowEntries, //
    },
    map_pages::{
        map_pages,
        CpuPage, //
    },
    shared::Shared,
    table::Extent, //
};
use crate::mm::{
    folio::{
        mark_written,
        Pfn, //
    },
    range::{
        Access,
        View, //
    },
    Span,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Fills entries of a new window, none of which is valid. Returns how many are now.
#[inline(never)]
fn fill_new(entries: &mut [DeviceEntry], view: &View<'_>, memory: &DeviceMemory) -> usize {
    map_pages(entries, view, memory, |_, entry, found| {
        if let CpuPage::Mapped(new) = found {
            // INVARIANT: The view holds, and no invalidation returns while we are here.
            *entry = new;
        }
    })
}

/// Brings entries up to date, and calls `each` with the index, the old and the new entry of each
/// page that is not exclusive. Returns how many are new.
#[inline(always)]
fn update(
    entries: &mut [DeviceEntry],
    view: &View<'_>,
    memory: &DeviceMemory,
    mut each: impl FnMut(usize, DeviceEntry, DeviceEntry),
) -> usize {
    let mut added = 0_usize;

    map_pages(entries, view, memory, |i, entry, found| {
        let old = *entry;
        let new = match found {
            CpuPage::Absent if old.is_exclusive() => return,
            CpuPage::Mapped(new) => new,
            CpuPage::Absent | CpuPage::Inaccessible => DeviceEntry::NONE,
        };

        if !old.maps_alike(new) {
            // INVARIANT: The view holds, and no invalidation returns while we are here.
            *entry = new;
            added = added.wrapping_add(usize::from(new.is_valid()));
        }
        each(i, old, new);
    });
    added
}

/// [`update`] where the library's page table is the only one.
#[inline(never)]
fn update_alone(entries: &mut [DeviceEntry], view: &View<'_>, memory: &DeviceMemory) -> usize {
    update(entries, view, memory, |_, _, _| ())
}

/// [`update`] where the device has a page table of its own, which sees all entries, old ones
/// included: it may have had no room for them.
#[inline(never)]
fn update_table(
    entries: &mut [DeviceEntry],
    view: &View<'_>,
    memory: &DeviceMemory,
    shared: &Shared,
) -> usize {
    let mut run: Option<Extent> = None;
    let added = update(entries, view, memory, |i, old, new| {
        let addr = view.span().start() + i * PAGE_SIZE;

        match Entries::to_extent(new, addr, memory) {
            Some(extent) => {
                if new.allows(Access::Write) {
                    // SAFETY: `mark_written()` requires a page that the mirrored address space
                    // maps, and the lock that its invalidation takes. Outside of tests a view
                    // exists only in `Snapshot::commit()`, under that lock, and its pages stay
                    // mapped meanwhile.
                    unsafe { mark_written(extent.pfn) };
                }
                run = match run {
                    None => Some(extent),
                    Some(mut known) => match known.join(extent) {
                        None => Some(known),
                        Some(next) => {
                            shared.map(&known);
                            Some(next)
                        }
                    },
                };
            }
            None if old.is_valid() => {
                if let Some(page) = Span::covering(addr, 1) {
                    shared.invalidate(page);
                }
            }
            None => (),
        }
    });

    if let Some(run) = run {
        shared.map(&run);
    }
    added
}

impl Entries {
    /// Fills the entries for the pages of `view`, which are all in one window, from what the walk
    /// has found. If there is no window yet, `spare` becomes it. Returns how many entries are new;
    /// `None` if the mirror takes no entries, or the window was freed since the caller looked and
    /// there is no spare one.
    ///
    /// Pages that no device may access get no entry. Exclusive entries stay: the CPU has none
    /// there.
    ///
    /// If the device has a page table of its own, it sees all entries. It writes without the
    /// library's knowledge, so pages that it may write count as written.
    ///
    /// `memory` is to be dropped by the caller, without the interval's lock.
    pub(super) fn fill(
        &mut self,
        view: &View<'_>,
        spare: &mut Option<WindowEntries>,
        memory: &mut DeviceMemory,
    ) -> Option<usize> {
        if self.shared.check_active().is_err() {
            return None;
        }
        self.set_memory(memory);
        // In a new window there is nothing to replace, and often only a few of its pages are
        // mapped.
        let part = (!self.has_window(view.span().start())).then(|| view.trimmed());
        let view = part.as_ref().unwrap_or(view);
        let (window, first) = self.locate(view.span().start())?;
        let slot = self.windows.get_mut(window)?;

        let is_new = slot.is_none();
        if is_new {
            *slot = spare.take();
        }

        let entries = slot.as_mut()?.get_mut(first..)?;
        let added = if self.shared.has_table() {
            update_table(entries, view, &self.memory, &self.shared)
        } else if is_new {
            fill_new(entries, view, &self.memory)
        } else {
            update_alone(entries, view, &self.memory)
        };
        Some(added)
    }

    /// Makes an entry for the page at `addr`, to which the device has just got exclusive access.
    /// False if the mirror takes no entries, or there is no window and no spare one. `spare` and
    /// `memory` are as for [`Self::fill`].
    pub(super) fn fill_exclusive(
        &mut self,
        addr: usize,
        pfn: Pfn,
        spare: &mut Option<WindowEntries>,
        memory: &mut DeviceMemory,
    ) -> bool {
        if self.shared.check_active().is_err() {
            return false;
        }
        if let Some(slot) = self
            .locate(addr)
            .and_then(|(window, _)| self.windows.get_mut(window))
        {
            if slot.is_none() {
                *slot = spare.take();
            }
        }
        let Some(entry) = self.get_mut(addr) else {
            return false;
        };

        // INVARIANT: The page is mapped for the device alone, and no invalidation returns while we
        // are here.
        *entry = DeviceEntry::new_exclusive(pfn, memory);
        self.set_memory(memory);
        if let Some(extent) = self.extent(addr).filter(|_| self.shared.has_table()) {
            // SAFETY: `mark_written()` requires a page that the mirrored address space maps, and
            // the lock that its invalidation takes. `exclusive::take()` calls this under that lock,
            // with a page whose device-exclusive entry is still in the CPU's page table.
            unsafe { mark_written(pfn) };
            self.shared.map(&extent);
        }
        true
    }
}

#[kunit_tests(hmm_cdm_fill)]
mod tests {
    use super::super::kunit::{
        at,
        fill,
        memory,
        new_entries,
        new_shared,
        span,
        Call,
        Recorder,
        PAGES,
        START,
        WINDOW, //
    };
    use super::*;
    use crate::mm::{
        folio::NewPage,
        notifier::Invalidate, //
    };

    #[test]
    fn a_huge_page_has_an_entry_for_each_page() -> Result {
        let page = NewPage::system_huge_patiently().ok_or(ENOMEM)?;
        let other = NewPage::system().ok_or(ENOMEM)?;
        let huge = |i, access| View::raw_huge(page.pfn(), i, access);
        let mut entries = new_entries(&new_shared()?)?;
        let is = |entries: &Entries, i: usize, frame: usize, access| {
            let entry = entries.get(at(i));

            entry.pfn().map(Pfn::raw) == Some(frame)
                && entry.allows(Access::Write) == (access == Access::Write)
        };

        // From its start, and from somewhere in the middle.
        for first in [0, 6] {
            let raw = [0, 1, 2, 3].map(|i| huge(first + i, Access::Write));

            assert_eq!(fill(&mut entries, START, &raw)?, Some(PAGES));
            for i in 0..PAGES {
                let frame = page.pfn().raw() + first + i;
                assert!(is(&entries, i, frame, Access::Write));
            }
        }

        // The page after its last one is not part of it.
        let pages = crate::mm::window_pages();
        let raw = [
            huge(pages - 2, Access::Read),
            huge(pages - 1, Access::Read),
            View::raw(other.pfn(), Access::Write),
            0,
        ];
        assert_eq!(fill(&mut entries, START, &raw)?, Some(3));
        assert!(is(&entries, 0, page.pfn().raw() + pages - 2, Access::Read));
        assert!(is(&entries, 1, page.pfn().raw() + pages - 1, Access::Read));
        assert!(is(&entries, 2, other.pfn().raw(), Access::Write));
        assert!(!entries.get(START + 3 * PAGE_SIZE).is_valid());

        // Nor is the page before its first one, nor those after the end of the walk.
        let raw = [View::raw(other.pfn(), Access::Write), huge(0, Access::Read)];
        assert_eq!(fill(&mut entries, START, &raw)?, Some(2));
        assert!(is(&entries, 0, other.pfn().raw(), Access::Write));
        assert!(is(&entries, 1, page.pfn().raw(), Access::Read));
        assert!(is(&entries, 2, other.pfn().raw(), Access::Write));
        Ok(())
    }

    #[test]
    fn a_new_window_is_filled_whatever_the_order_of_pages() -> Result {
        let (here, there) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let raw = |page: &NewPage, access| View::raw(page.pfn(), access);
        let (read, write) = (Access::Read, Access::Write);

        for private in [false, true] {
            let mut entries = new_entries(&new_shared()?)?;
            let mut spare = Some(Entries::new_window(PAGES)?);
            let seen = [
                raw(&there, read),
                raw(&here, read),
                raw(&here, write),
                raw(&there, write),
            ];
            let view = View::of(span(at(0), at(PAGES))?, &seen);
            let mut memory = memory(Some(&here), private);

            assert_eq!(entries.fill(&view, &mut spare, &mut memory), Some(PAGES));
            for (i, (page, access)) in [
                (&there, read),
                (&here, read),
                (&here, write),
                (&there, write),
            ]
            .into_iter()
            .enumerate()
            {
                let entry = entries.get(at(i));
                let local = page.pfn() == here.pfn();

                assert_eq!(entry.pfn(), Some(page.pfn()));
                assert_eq!(entry.allows(Access::Write), access == write);
                assert_eq!(entry.is_local(), local);
                assert_eq!(entry.is_private(), local && private);
                assert_eq!(entry.accesses(), 0);
            }
        }

        // With gaps and errors in between.
        const ERROR: usize = crate::bindings::hmm_pfn_flags_HMM_PFN_ERROR;
        let mut entries = new_entries(&new_shared()?)?;
        let seen = [
            raw(&here, write),
            0,
            raw(&there, write) | ERROR,
            raw(&there, read),
        ];
        assert_eq!(fill(&mut entries, START, &seen)?, Some(2));
        assert_eq!(entries.get(at(0)).pfn(), Some(here.pfn()));
        assert!(!entries.get(at(1)).is_valid() && !entries.get(at(2)).is_valid());
        assert_eq!(entries.get(at(3)).pfn(), Some(there.pfn()));
        assert!(!entries.get(at(3)).allows(Access::Write));
        Ok(())
    }

    #[test]
    fn without_a_window_nothing_is_filled() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = new_entries(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Read)];
        let view = View::of(span(START, START + PAGE_SIZE)?, &raw);

        assert_eq!(
            entries.fill(&view, &mut None, &mut DeviceMemory::default()),
            None
        );
        assert!(!entries.has_window(START));
        // An existing window is not replaced.
        assert_eq!(fill(&mut entries, START, &raw)?, Some(1));
        let mut spare = Some(Entries::new_window(PAGES)?);
        assert_eq!(
            entries.fill(&view, &mut spare, &mut DeviceMemory::default()),
            Some(0)
        );
        assert!(spare.is_some());
        Ok(())
    }

    #[test]
    fn unchanged_entries_keep_their_counts() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = new_entries(&new_shared()?)?;
        let read = [View::raw(page.pfn(), Access::Read); PAGES];
        let mut mixed = read;

        assert_eq!(fill(&mut entries, START, &read)?, Some(PAGES));
        for addr in (START..START + WINDOW).step_by(PAGE_SIZE) {
            entries
                .get_mut(addr)
                .ok_or(EFAULT)?
                .count_access(Access::Read);
        }
        // The first page has become writable, the second is gone.
        let [first, second, ..] = &mut mixed;
        *first = View::raw(page.pfn(), Access::Write);
        *second = 0;
        assert_eq!(fill(&mut entries, START, &mixed)?, Some(1));
        assert!(entries.get(START).allows(Access::Write));
        assert_eq!(entries.get(START).accesses(), 0);
        assert!(!entries.get(START + PAGE_SIZE).is_valid());
        assert_eq!(entries.get(START + 2 * PAGE_SIZE).accesses(), 1);
        Ok(())
    }

    #[test]
    fn pages_of_the_devices_memory_are_local() -> Result {
        let (here, there) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let mut entries = new_entries(&new_shared()?)?;
        let raw = [
            View::raw(here.pfn(), Access::Read),
            View::raw(there.pfn(), Access::Read),
        ];
        let view = View::of(span(START, START + 2 * PAGE_SIZE)?, &raw);
        let mut spare = Some(Entries::new_window(PAGES)?);

        let added = entries.fill(&view, &mut spare, &mut memory(Some(&here), false));
        assert_eq!(added, Some(2));
        assert!(entries.get(START).is_local());
        assert!(!entries.get(START + PAGE_SIZE).is_local());
        Ok(())
    }

    #[test]
    fn private_memory_is_marked() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = new_entries(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Write)];
        let view = View::of(span(START, START + PAGE_SIZE)?, &raw);
        let mut spare = Some(Entries::new_window(PAGES)?);

        entries.fill(&view, &mut spare, &mut memory(Some(&page), true));
        assert!(entries.get(START).is_local() && entries.get(START).is_private());
        assert_eq!(entries.extent(START + 5).map(|e| e.index), Some(Some(0)));
        entries.fill(&view, &mut spare, &mut memory(Some(&page), false));
        assert!(entries.get(START).is_local() && !entries.get(START).is_private());
        entries.fill(&view, &mut spare, &mut memory(None, true));
        assert!(!entries.get(START).is_local() && !entries.get(START).is_private());
        assert_eq!(entries.extent(START).map(|e| e.index), Some(None));
        assert_eq!(entries.extent(START + PAGE_SIZE), None);
        Ok(())
    }

    #[test]
    fn a_table_sees_entries_in_runs() -> Result {
        let (mut entries, table) = Recorder::attached()?;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let same = View::raw(page.pfn(), Access::Read);

        // The same frame twice is not contiguous, so each is a run.
        assert_eq!(fill(&mut entries, START, &[same, same, 0])?, Some(2));
        let extent = |addr, access| Extent {
            addr,
            pfn: page.pfn(),
            index: None,
            pages: 1,
            access,
            exclusive: false,
        };
        let calls = table.take();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls.first(), Some(&Call::Map(extent(START, Access::Read))));
        assert_eq!(
            calls.get(1),
            Some(&Call::Map(extent(START + PAGE_SIZE, Access::Read)))
        );

        // All of them again, although none is new: the table may have lost some.
        assert_eq!(fill(&mut entries, START, &[same, same, 0])?, Some(0));
        assert_eq!(table.take(), calls);

        // It sees changed rights, and pages that have gone.
        let write = View::raw(page.pfn(), Access::Write);
        fill(&mut entries, START, &[write, 0])?;
        let calls = table.take();
        let gone = span(START + PAGE_SIZE, START + 2 * PAGE_SIZE)?;
        assert_eq!(calls.len(), 2);
        assert!(calls.contains(&Call::Map(extent(START, Access::Write))));
        assert!(calls.contains(&Call::Invalidate(gone)));
        Ok(())
    }

    #[test]
    fn exclusive_entries_stay_until_they_are_invalidated() -> Result {
        let (mut entries, table) = Recorder::attached()?;
        let (taken, other) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert!(!entries.fill_exclusive(
            START,
            taken.pfn(),
            &mut None,
            &mut DeviceMemory::default()
        ));
        assert!(entries.fill_exclusive(
            START,
            taken.pfn(),
            &mut spare,
            &mut DeviceMemory::default()
        ));
        let entry = entries.get(START);
        assert!(entry.is_exclusive() && entry.allows(Access::Write));
        assert!(matches!(
            table.take().first(),
            Some(Call::Map(extent)) if extent.exclusive && extent.addr == START
        ));

        // A walk reports no page where the CPU's entry faults.
        let neighbour = View::raw(other.pfn(), Access::Read);
        fill(&mut entries, START, &[0, neighbour])?;
        assert!(entries.get(START) == entry);
        // Once the CPU has the page back, it is like any other.
        entries.invalidate(span(START, START + PAGE_SIZE)?);
        assert!(!entries.get(START).is_valid());
        fill(
            &mut entries,
            START,
            &[View::raw(taken.pfn(), Access::Write)],
        )?;
        assert!(entries.get(START).is_valid() && !entries.get(START).is_exclusive());
        Ok(())
    }

    #[test]
    fn a_retired_mirror_gets_no_entries() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let shared = new_shared()?;
        let mut entries = new_entries(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Read)];
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert_eq!(fill(&mut entries, START, &raw)?, Some(1));
        shared.retire();
        entries.clear();
        assert!(!entries.get(START).is_valid());
        assert_eq!(fill(&mut entries, START, &raw)?, None);
        assert!(!entries.fill_exclusive(
            START,
            page.pfn(),
            &mut spare,
            &mut DeviceMemory::default()
        ));
        assert!(!entries.has_window(START));
        Ok(())
    }

    #[test]
    fn a_suspended_mirror_gets_entries_when_it_is_resumed() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let (mut entries, table) = Recorder::attached()?;
        let shared = entries.shared.clone();
        let raw = [View::raw(page.pfn(), Access::Write)];
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert_eq!(fill(&mut entries, START, &raw)?, Some(1));
        table.take();
        shared.suspend(true);
        entries.clear();
        assert_eq!(shared.check_active(), Err(EIO));
        assert!(!entries.get(START).is_valid());
        assert!(matches!(table.take().first(), Some(Call::Invalidate(_))));
        assert_eq!(fill(&mut entries, START, &raw)?, None);
        assert!(!entries.fill_exclusive(
            START,
            page.pfn(),
            &mut spare,
            &mut DeviceMemory::default()
        ));
        assert!(table.take().is_empty());

        shared.suspend(false);
        assert_eq!(shared.check_active(), Ok(()));
        assert_eq!(fill(&mut entries, START, &raw)?, Some(1));
        assert!(matches!(table.take().first(), Some(Call::Map(_))));
        // A retired mirror stays retired.
        shared.retire();
        shared.suspend(true);
        shared.suspend(false);
        assert_eq!(shared.check_active(), Err(ESRCH));
        Ok(())
    }
}

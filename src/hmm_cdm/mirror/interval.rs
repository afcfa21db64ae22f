// SPDX-License-Identifier: GPL-2.0

//! The device's page table: entries of eight bytes, in windows that come with the first fault and
//! go with the invalidation of the whole, in intervals of [`WINDOWS_PER_INTERVAL`] windows that share
//! one interval notifier.
//!
//! A interval's notifier, lock and index (1 KiB) cost less than 1 % of its entries when they are all
//! there; and an invalidation makes faults in its own interval retry, not those elsewhere.

use super::table::{DeviceMemory, Extent, Shared};
use crate::mm::{
    folio::{mark_written, Pfn},
    notifier::Invalidate,
    range::{Access, CpuEntry, RawEntry, View},
    Span,
};
use kernel::{
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::Arc,
};

/// How many windows share a notifier, and the logarithm of that.
pub(super) const WINDOWS_PER_INTERVAL: usize = 1 << INTERVAL_ORDER;
pub(super) const INTERVAL_ORDER: u32 = 5;

/// An entry of the device's page table.
///
/// Bits 0 to 5 are flags, 8 to 23 count accesses, 24 and up are the page frame number: 40 bits,
/// for 52 bits of physical address with 4 KiB pages.
///
/// # Invariants
///
/// If `VALID`, the frame number is one that a walk of the CPU's page table reported, and no
/// invalidation of it has returned since.
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

    /// The entry for a page of the CPU's page table; `own` is the device's own memory.
    fn new(pfn: Pfn, access: Access, own: &DeviceMemory) -> Self {
        let place = own.index(pfn).map_or(0, |_| Self::place(own));

        Self((pfn.raw() as u64) << Self::PFN_SHIFT | place | Self::rights(access))
    }

    /// The flags of a page that may be accessed like that.
    const fn rights(access: Access) -> u64 {
        match access {
            Access::Read => Self::VALID,
            Access::Write => Self::VALID | Self::WRITE,
        }
    }

    /// The flags of a page of the device's own memory.
    fn place(own: &DeviceMemory) -> u64 {
        if own.private {
            Self::LOCAL | Self::PRIVATE
        } else {
            Self::LOCAL
        }
    }

    /// The entry for the next page of the same huge one, which lies in the same memory.
    fn following(self) -> Self {
        // INVARIANT: The walk has reported that page, too.
        Self(self.0.wrapping_add(1 << Self::PFN_SHIFT))
    }

    /// The entry for a page that the device has for itself.
    fn new_exclusive(pfn: Pfn, own: &DeviceMemory) -> Self {
        Self(Self::new(pfn, Access::Write, own).0 | Self::EXCLUSIVE)
    }

    pub(super) fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    pub(super) fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
    }

    /// Whether only the device can access the page.
    pub(super) fn is_private(self) -> bool {
        self.0 & Self::PRIVATE != 0
    }

    /// Whether the device has the page for itself.
    pub(super) fn is_exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// Whether the device may access the page that way.
    pub(super) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.is_valid(),
            Access::Write => self.is_valid() && self.0 & Self::WRITE != 0,
        }
    }

    pub(super) fn accesses(self) -> u16 {
        ((self.0 & Self::COUNT) >> Self::COUNT_SHIFT) as u16
    }

    /// Counts an access. Returns true for the first one that writes.
    pub(super) fn touch(&mut self, access: Access) -> bool {
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
        // SAFETY: By the type invariants a valid entry has the frame of a page, which is mapped
        // until an invalidation has returned, and that clears the entry.
        Some(unsafe { Pfn::new((self.0 >> Self::PFN_SHIFT) as usize) })
    }

    /// The same page with the same rights.
    fn same(self, other: Self) -> bool {
        const SKIP: u64 = DeviceEntry::COUNT | DeviceEntry::WRITTEN;

        self.0 & !SKIP == other.0 & !SKIP
    }
}

/// The entries of a interval.
pub(crate) struct Entries {
    span: Span,
    window_shift: u32,
    windows: [Option<KVec<DeviceEntry>>; WINDOWS_PER_INTERVAL],
    // The device's memory when the last entry was made. No local entry is older: memory goes only
    // when none of its pages is mapped any more.
    own: DeviceMemory,
    shared: Arc<Shared>,
}

impl Entries {
    pub(super) fn new(span: Span, window_shift: u32, shared: Arc<Shared>) -> Self {
        Self {
            span,
            window_shift,
            windows: [const { None }; WINDOWS_PER_INTERVAL],
            own: DeviceMemory::default(),
            shared,
        }
    }

    fn locate(&self, addr: usize) -> Option<(usize, usize)> {
        let offset = addr.checked_sub(self.span.start())?;

        let window = offset >> self.window_shift;

        Some((
            window,
            (offset - (window << self.window_shift)) >> PAGE_SHIFT,
        ))
    }

    /// The entry of the page at `addr`.
    pub(super) fn get(&self, addr: usize) -> DeviceEntry {
        self.locate(addr)
            .and_then(|(window, page)| self.windows.get(window)?.as_ref()?.get(page).copied())
            .unwrap_or(DeviceEntry::NONE)
    }

    /// The entry of the page at `addr`, to be changed, if its window is there.
    pub(super) fn get_mut(&mut self, addr: usize) -> Option<&mut DeviceEntry> {
        let (window, page) = self.locate(addr)?;

        self.windows.get_mut(window)?.as_mut()?.get_mut(page)
    }

    /// Whether the window of `addr` is there.
    pub(super) fn has_window(&self, addr: usize) -> bool {
        self.locate(addr)
            .and_then(|(window, _)| self.windows.get(window))
            .is_some_and(|window| window.is_some())
    }

    /// The entry of the page at `addr`, as drivers see it.
    pub(super) fn extent(&self, addr: usize) -> Option<Extent> {
        Self::describe(&self.own, addr & !(PAGE_SIZE - 1), self.get(addr))
    }

    fn describe(own: &DeviceMemory, addr: usize, entry: DeviceEntry) -> Option<Extent> {
        let pfn = entry.pfn()?;

        Some(Extent {
            addr,
            pfn,
            index: own.index(pfn).filter(|_| entry.is_local()),
            pages: 1,
            access: if entry.allows(Access::Write) {
                Access::Write
            } else {
                Access::Read
            },
            exclusive: entry.is_exclusive(),
        })
    }

    /// Page `index` of the device's own memory is used.
    pub(super) fn touch(&self, index: usize) {
        self.own.touch(index);
    }

    /// Takes over what the device's memory is now. What it was is left in its place, to be dropped
    /// where one may sleep.
    fn set_own(&mut self, own: &mut DeviceMemory) {
        if self.own != *own {
            core::mem::swap(&mut self.own, own);
        }
    }

    /// Enters the page at `addr`, which the device has for itself now. False if its window is not
    /// there and there is no spare one. `own` is dropped by the caller, without the interval's lock.
    pub(super) fn load_exclusive(
        &mut self,
        addr: usize,
        pfn: Pfn,
        spare: &mut Option<KVec<DeviceEntry>>,
        own: &mut DeviceMemory,
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

        // INVARIANT: The page is mapped, exclusively, and no invalidation returns while we are
        // here.
        *entry = DeviceEntry::new_exclusive(pfn, own);
        self.set_own(own);
        if let Some(extent) = self.extent(addr).filter(|_| self.shared.has_table()) {
            // SAFETY: As above.
            unsafe { mark_written(pfn) };
            self.shared.map(&extent);
        }
        true
    }

    /// Takes all entries away from the device.
    pub(super) fn clear(&mut self) {
        self.invalidate(self.span);
    }

    /// An empty window, for [`Self::load`]. ENOMEM.
    pub(super) fn new_window(pages: usize) -> Result<KVec<DeviceEntry>> {
        // All zeros is `DeviceEntry::NONE`.
        Ok(KVec::zeroed(pages, GFP_KERNEL)?)
    }

    /// Takes over what the CPU's page table has, for the pages of `view`, all of one window; if
    /// that is not there, `spare` becomes it. Returns how many entries are new, or `None` if the
    /// window went meanwhile and there is no spare one. Pages that no device may access get no
    /// entry, and those that the device has for itself keep it, as the CPU has none to see.
    ///
    /// A device with a table of its own is told of all entries, old ones too: it may have had no
    /// room for them. It writes through its own, unseen, so what it may write counts as written.
    ///
    /// `own` is dropped by the caller, without the interval's lock.
    pub(super) fn load(
        &mut self,
        view: &View<'_>,
        spare: &mut Option<KVec<DeviceEntry>>,
        own: &mut DeviceMemory,
    ) -> Option<usize> {
        if self.shared.check_active().is_err() {
            return None;
        }
        self.set_own(own);
        let own = &self.own;
        // A new window has nothing that could be replaced. Often few pages of it are mapped.
        let part = (!self.has_window(view.span().start())).then(|| view.trimmed());
        let view = part.as_ref().unwrap_or(view);
        let (window, first) = self.locate(view.span().start())?;
        let slot = self.windows.get_mut(window)?;

        let fresh = slot.is_none();
        if fresh {
            *slot = spare.take();
        }

        let entries = slot.as_mut()?.get_mut(first..)?;
        if !self.shared.has_table() {
            if fresh {
                return Some(Self::fill(entries, view, own));
            }
            return Some(Self::enter(entries, view, own, |_, _, _| ()));
        }

        let mut run: Option<Extent> = None;
        let added = Self::enter(entries, view, own, |i, old, new| {
            if new.is_exclusive() {
                return;
            }
            let addr = view.span().start() + i * PAGE_SIZE;
            match Self::describe(own, addr, new) {
                Some(extent) => {
                    if new.allows(Access::Write) {
                        // SAFETY: The view holds, and no invalidation returns while we are here.
                        unsafe { mark_written(extent.pfn) };
                    }
                    run = match run {
                        None => Some(extent),
                        Some(mut known) => match known.join(extent) {
                            None => Some(known),
                            Some(next) => {
                                self.shared.map(&known);
                                Some(next)
                            }
                        },
                    };
                }
                None if old.is_valid() => {
                    if let Some(page) = Span::covering(addr, 1) {
                        self.shared.invalidate(page);
                    }
                }
                None => (),
            }
        });
        if let Some(run) = run {
            self.shared.map(&run);
        }
        Some(added)
    }

    /// Has `entries`, of which none is valid, say what `view` does, from its first page on. Returns how
    /// many are.
    fn fill(entries: &mut [DeviceEntry], view: &View<'_>, own: &DeviceMemory) -> usize {
        let cpu = view.raw_entries();
        let count = entries.len().min(cpu.len());
        let (mut next, mut added) = (0_usize, 0_usize);

        while next < count {
            let inaccessible = view.next_inaccessible(next).min(count);

            while let (true, Some(run), Some(cpu)) = (
                next < inaccessible,
                entries.get_mut(next..inaccessible),
                cpu.get(next..inaccessible),
            ) {
                let filled = Self::fill_alike(run, cpu, own);

                added = added.wrapping_add(filled);
                next = next.wrapping_add(filled.max(1));
            }
            next = next.wrapping_add(1);
        }
        added
    }

    /// The same for the pages at the start of `cpu` that are mapped like the first one, which is how
    /// most of a window is. Returns how many those are; none if the first one is no page.
    ///
    /// This is most of what a fault costs beside the walk, and is better compiled by itself. Every
    /// instruction here is one for each page.
    #[inline(never)]
    fn fill_alike(entries: &mut [DeviceEntry], cpu: &[RawEntry<'_>], own: &DeviceMemory) -> usize {
        let Some(head) = cpu.first() else {
            return 0;
        };
        let CpuEntry::Page {
            page,
            access,
            order,
        } = head.decode()
        else {
            return 0;
        };
        let pfn = page.pfn();
        let mut new = DeviceEntry::new(pfn, access, own);
        let mut filled = 0_usize;

        // INVARIANT: The view holds, and no invalidation returns while we are here.
        if order > 0 {
            let pages = pfn.following(order).wrapping_add(1);
            let (run, _) = entries.split_at_mut(pages.min(entries.len()));

            for entry in run.iter_mut() {
                *entry = new;
                new = new.following();
            }
            return run.len();
        }
        let (elsewhere, place) = (DeviceEntry::rights(access), DeviceEntry::place(own));
        let here = elsewhere | place;
        let flags = head.raw().wrapping_sub(pfn.raw());

        for (entry, raw) in entries.iter_mut().zip(cpu) {
            // With other flags it is no frame's number.
            let frame = raw.raw().wrapping_sub(flags);

            if !View::is_frame(frame) {
                break;
            }
            let local = frame.wrapping_sub(own.first) < own.pages;
            let flags = if local { here } else { elsewhere };

            *entry = DeviceEntry((frame as u64) << DeviceEntry::PFN_SHIFT | flags);
            filled = filled.wrapping_add(1);
        }
        filled
    }

    /// Has `entries` say what `view` does, from its first page on, and tells `each` the page, what its
    /// entry was and what it is. Returns how many are new.
    ///
    /// What one entry of the CPU's page table maps is one page of the walk's in all its entries: it
    /// comes from one look, with the same rights (`hmm_pfn_to_map_order()`).
    ///
    /// This is most of what a fault costs beside the walk, and is better compiled by itself.
    #[inline(never)]
    fn enter(
        entries: &mut [DeviceEntry],
        view: &View<'_>,
        own: &DeviceMemory,
        mut each: impl FnMut(usize, DeviceEntry, DeviceEntry),
    ) -> usize {
        let cpu = view.raw_entries();
        let count = entries.len().min(cpu.len());
        let mut added = 0_usize;
        let mut set = |i: usize, entry: &mut DeviceEntry, new: DeviceEntry| {
            let old = *entry;

            if !old.same(new) {
                // INVARIANT: The view holds, and no invalidation returns while we are here.
                *entry = new;
                added = added.wrapping_add(usize::from(new.is_valid()));
            }
            each(i, old, new);
        };
        let mut next = 0;

        while next < count {
            let inaccessible = view.next_inaccessible(next).min(count);
            let (Some(run), Some(cpu)) = (
                entries.get_mut(next..inaccessible),
                cpu.get(next..inaccessible),
            ) else {
                break;
            };
            let mut pages = run.iter_mut().zip(cpu);

            while let Some((entry, cpu)) = pages.next() {
                let i = inaccessible.wrapping_sub(1).wrapping_sub(pages.len());

                match cpu.decode() {
                    CpuEntry::Page {
                        page,
                        access,
                        order,
                    } => {
                        let pfn = page.pfn();
                        let mut new = DeviceEntry::new(pfn, access, own);

                        set(i, entry, new);
                        if order == 0 {
                            continue;
                        }
                        let mut i = i;
                        for (entry, _) in pages.by_ref().take(pfn.following(order)) {
                            i = i.wrapping_add(1);
                            new = new.following();
                            set(i, entry, new);
                        }
                    }
                    CpuEntry::None if entry.is_exclusive() => set(i, entry, *entry),
                    CpuEntry::None | CpuEntry::Error => set(i, entry, DeviceEntry::NONE),
                }
            }
            if let Some(entry) = entries
                .get_mut(..count)
                .and_then(|all| all.get_mut(inaccessible))
            {
                set(inaccessible, entry, DeviceEntry::NONE);
            }
            next = inaccessible.wrapping_add(1);
        }
        added
    }
}

impl Invalidate for Entries {
    fn invalidate(&mut self, span: Span) {
        let mut cleared = 0;

        // The kernel may come page by page (try_to_migrate_one()), so no others are looked at.
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
    use super::super::table::Table;
    use super::*;
    use crate::mm::folio::NewPage;
    use kernel::{new_mutex, sync::Mutex};

    /// Pages in a window, fewer than those of a node's.
    const PAGES: usize = 4;
    const SHIFT: u32 = PAGE_SHIFT as u32 + 2;
    const WINDOW: usize = PAGES << PAGE_SHIFT;
    const START: usize = 1 << 30;
    const END: usize = START + WINDOWS_PER_INTERVAL * WINDOW;

    fn interval(shared: &Arc<Shared>) -> Result<Entries> {
        let span = Span::new(START, END).ok_or(EINVAL)?;

        Ok(Entries::new(span, SHIFT, shared.clone()))
    }

    fn new_shared() -> Result<Arc<Shared>> {
        Ok(Arc::new(Shared::new(), GFP_KERNEL)?)
    }

    /// Memory that is this page, or none.
    fn own(page: Option<&NewPage>, private: bool) -> DeviceMemory {
        DeviceMemory::pages(
            page.map_or(0, |page| page.pfn().raw()),
            usize::from(page.is_some()),
            private,
        )
    }

    /// Loads the `raw` entries from `addr` on, with a window if there is none.
    fn load(entries: &mut Entries, addr: usize, raw: &[usize]) -> Result<Option<usize>> {
        let span = Span::new(addr, addr + raw.len() * PAGE_SIZE).ok_or(EINVAL)?;
        let mut spare = Some(Entries::new_window(PAGES)?);

        Ok(entries.load(
            &View::of(span, raw),
            &mut spare,
            &mut DeviceMemory::default(),
        ))
    }

    fn span(from: usize, to: usize) -> Result<Span> {
        Span::new(from, to).ok_or(EINVAL)
    }

    #[test]
    fn an_entry_keeps_its_page_and_rights() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let read = DeviceEntry::new(page.pfn(), Access::Read, &DeviceMemory::default());
        let write = DeviceEntry::new(page.pfn(), Access::Write, &own(Some(&page), false));

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
        // A right to write is worth nothing without a page.
        assert!(!DeviceEntry(DeviceEntry::WRITE).allows(Access::Write));
    }

    #[test]
    fn accesses_are_counted_up_to_their_maximum() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entry = DeviceEntry::new(page.pfn(), Access::Write, &own(Some(&page), false));
        let fresh = entry;

        for count in 1..=u16::MAX {
            entry.touch(Access::Read);
            assert_eq!(entry.accesses(), count);
        }
        entry.touch(Access::Read);
        assert_eq!(entry.accesses(), u16::MAX);
        // The count has not run into the page's frame.
        assert_eq!(entry.pfn(), Some(page.pfn()));
        assert!(entry.same(fresh));
        Ok(())
    }

    #[test]
    fn the_first_write_is_told_once() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entry = DeviceEntry::new(page.pfn(), Access::Write, &DeviceMemory::default());

        assert!(!entry.touch(Access::Read));
        assert!(entry.touch(Access::Write));
        assert!(!entry.touch(Access::Write));
        assert!(!entry.touch(Access::Read));
        assert_eq!(entry.accesses(), 4);
        Ok(())
    }

    #[test]
    fn entries_differ_by_page_rights_and_place() -> Result {
        let (page, other) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let entry = DeviceEntry::new(page.pfn(), Access::Read, &DeviceMemory::default());

        assert!(entry.same(entry));
        assert!(!entry.same(DeviceEntry::new(
            other.pfn(),
            Access::Read,
            &DeviceMemory::default()
        )));
        assert!(!entry.same(DeviceEntry::new(
            page.pfn(),
            Access::Write,
            &DeviceMemory::default()
        )));
        assert!(!entry.same(DeviceEntry::new(
            page.pfn(),
            Access::Read,
            &own(Some(&page), false)
        )));
        assert!(!entry.same(DeviceEntry::NONE));
        Ok(())
    }

    #[test]
    fn addresses_outside_of_a_section_have_no_entry() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = interval(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Write); PAGES];

        for start in (START..END).step_by(WINDOW) {
            assert_eq!(load(&mut entries, start, &raw)?, Some(PAGES));
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
        let mut entries = interval(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Read); 2];
        let last = END - WINDOW;

        assert!(!entries.has_window(last));
        assert_eq!(load(&mut entries, last + PAGE_SIZE, &raw)?, Some(2));
        assert!(entries.has_window(last) && entries.has_window(END - 1));
        assert!(!entries.has_window(last - 1) && !entries.has_window(END));
        // Only what was loaded is there, every byte of it.
        assert!(!entries.get(last + PAGE_SIZE - 1).is_valid());
        assert!(entries.get(last + PAGE_SIZE).is_valid());
        assert!(entries.get(last + 3 * PAGE_SIZE - 1).is_valid());
        assert!(!entries.get(last + 3 * PAGE_SIZE).is_valid());

        // So it does if they are not the first pages, and even if there is none.
        let some = [0, 0, View::raw(page.pfn(), Access::Read), 0];
        assert_eq!(load(&mut entries, START, &some)?, Some(1));
        assert!((0..PAGES).all(|i| entries.get(START + i * PAGE_SIZE).is_valid() == (i == 2)));
        assert_eq!(load(&mut entries, START + WINDOW, &[0; PAGES])?, Some(0));
        assert!(entries.has_window(START + WINDOW));
        Ok(())
    }

    #[test]
    fn a_huge_page_has_an_entry_for_each_page() -> Result {
        let page = NewPage::system_huge_patiently().ok_or(ENOMEM)?;
        let other = NewPage::system().ok_or(ENOMEM)?;
        let huge = |i, access| View::raw_huge(page.pfn(), i, access);
        let mut entries = interval(&new_shared()?)?;
        let is = |entries: &Entries, i: usize, frame: usize, access| {
            let entry = entries.get(START + i * PAGE_SIZE);

            entry.pfn().map(Pfn::raw) == Some(frame)
                && entry.allows(Access::Write) == (access == Access::Write)
        };

        // From its start, and from somewhere in the middle.
        for first in [0, 6] {
            let raw = [0, 1, 2, 3].map(|i| huge(first + i, Access::Write));

            assert_eq!(load(&mut entries, START, &raw)?, Some(PAGES));
            for i in 0..PAGES {
                let frame = page.pfn().raw() + first + i;
                assert!(is(&entries, i, frame, Access::Write));
            }
        }

        // What comes behind its end is no page of it.
        let pages = crate::mm::window_pages();
        let raw = [
            huge(pages - 2, Access::Read),
            huge(pages - 1, Access::Read),
            View::raw(other.pfn(), Access::Write),
            0,
        ];
        assert_eq!(load(&mut entries, START, &raw)?, Some(3));
        assert!(is(&entries, 0, page.pfn().raw() + pages - 2, Access::Read));
        assert!(is(&entries, 1, page.pfn().raw() + pages - 1, Access::Read));
        assert!(is(&entries, 2, other.pfn().raw(), Access::Write));
        assert!(!entries.get(START + 3 * PAGE_SIZE).is_valid());

        // Nor does it begin before its start, or in another window's entries.
        let raw = [View::raw(other.pfn(), Access::Write), huge(0, Access::Read)];
        assert_eq!(load(&mut entries, START, &raw)?, Some(2));
        assert!(is(&entries, 0, other.pfn().raw(), Access::Write));
        assert!(is(&entries, 1, page.pfn().raw(), Access::Read));
        assert!(is(&entries, 2, other.pfn().raw(), Access::Write));
        Ok(())
    }

    #[test]
    fn a_new_window_is_filled_whatever_follows_what() -> Result {
        let (here, there) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let raw = |page: &NewPage, access| View::raw(page.pfn(), access);
        let (read, write) = (Access::Read, Access::Write);
        let at = |i: usize| START + i * PAGE_SIZE;

        for private in [false, true] {
            let mut entries = interval(&new_shared()?)?;
            let mut spare = Some(Entries::new_window(PAGES)?);
            let seen = [
                raw(&there, read),
                raw(&here, read),
                raw(&here, write),
                raw(&there, write),
            ];
            let view = View::of(span(at(0), at(PAGES))?, &seen);
            let mut own = own(Some(&here), private);

            assert_eq!(entries.load(&view, &mut spare, &mut own), Some(PAGES));
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
        let mut entries = interval(&new_shared()?)?;
        let seen = [
            raw(&here, write),
            0,
            raw(&there, write) | ERROR,
            raw(&there, read),
        ];
        assert_eq!(load(&mut entries, START, &seen)?, Some(2));
        assert_eq!(entries.get(at(0)).pfn(), Some(here.pfn()));
        assert!(!entries.get(at(1)).is_valid() && !entries.get(at(2)).is_valid());
        assert_eq!(entries.get(at(3)).pfn(), Some(there.pfn()));
        assert!(!entries.get(at(3)).allows(Access::Write));
        Ok(())
    }

    #[test]
    fn without_a_window_nothing_is_loaded() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = interval(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Read)];
        let view = View::of(span(START, START + PAGE_SIZE)?, &raw);

        assert_eq!(
            entries.load(&view, &mut None, &mut DeviceMemory::default()),
            None
        );
        assert!(!entries.has_window(START));
        // A window that is there is not replaced.
        assert_eq!(load(&mut entries, START, &raw)?, Some(1));
        let mut spare = Some(Entries::new_window(PAGES)?);
        assert_eq!(
            entries.load(&view, &mut spare, &mut DeviceMemory::default()),
            Some(0)
        );
        assert!(spare.is_some());
        Ok(())
    }

    #[test]
    fn what_has_not_changed_keeps_its_count() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = interval(&new_shared()?)?;
        let read = [View::raw(page.pfn(), Access::Read); PAGES];
        let mut mixed = read;

        assert_eq!(load(&mut entries, START, &read)?, Some(PAGES));
        for addr in (START..START + WINDOW).step_by(PAGE_SIZE) {
            entries.get_mut(addr).ok_or(EFAULT)?.touch(Access::Read);
        }
        // The first page may be written now, the second is gone.
        let [first, second, ..] = &mut mixed;
        *first = View::raw(page.pfn(), Access::Write);
        *second = 0;
        assert_eq!(load(&mut entries, START, &mixed)?, Some(1));
        assert!(entries.get(START).allows(Access::Write));
        assert_eq!(entries.get(START).accesses(), 0);
        assert!(!entries.get(START + PAGE_SIZE).is_valid());
        assert_eq!(entries.get(START + 2 * PAGE_SIZE).accesses(), 1);
        Ok(())
    }

    #[test]
    fn the_place_of_a_page_is_what_the_node_says() -> Result {
        let (here, there) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let mut entries = interval(&new_shared()?)?;
        let raw = [
            View::raw(here.pfn(), Access::Read),
            View::raw(there.pfn(), Access::Read),
        ];
        let view = View::of(span(START, START + 2 * PAGE_SIZE)?, &raw);
        let mut spare = Some(Entries::new_window(PAGES)?);

        let added = entries.load(&view, &mut spare, &mut own(Some(&here), false));
        assert_eq!(added, Some(2));
        assert!(entries.get(START).is_local());
        assert!(!entries.get(START + PAGE_SIZE).is_local());
        Ok(())
    }

    #[test]
    fn an_invalidation_takes_its_pages_and_no_others() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let shared = new_shared()?;
        let mut entries = interval(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Write); PAGES];

        for window in 0..3 {
            load(&mut entries, START + window * WINDOW, &raw)?;
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
        let mut entries = interval(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Read)];

        load(&mut entries, START, &raw)?;
        load(&mut entries, END - PAGE_SIZE, &raw)?;
        entries.invalidate(span(0, END + WINDOW)?);
        assert!(entries.windows.iter().all(Option::is_none));
        assert_eq!(shared.stats.invalidated_pages.get(), 2);

        // And once more, with nothing to take.
        entries.invalidate(span(START, END)?);
        assert_eq!(shared.stats.invalidations.get(), 2);
        assert_eq!(shared.stats.invalidated_pages.get(), 2);
        Ok(())
    }

    /// What a device with a page table of its own was told.
    #[derive(Clone, PartialEq, Eq, Debug)]
    enum Told {
        Map(Extent),
        Invalidate(Span),
    }

    /// In a test nothing holds a spinlock, so a mutex does.
    #[pin_data]
    struct Device {
        #[pin]
        told: Mutex<KVec<Told>>,
    }

    impl Table for Device {
        fn map(&self, extent: &Extent) {
            let _ = self.told.lock().push(Told::Map(*extent), GFP_KERNEL);
        }

        fn invalidate(&self, span: Span) {
            let _ = self.told.lock().push(Told::Invalidate(span), GFP_KERNEL);
        }
    }

    /// A interval whose entries `Device` is told of.
    fn told() -> Result<(Entries, Arc<Device>)> {
        let device = Arc::pin_init(
            pin_init!(Device { told <- new_mutex!(KVec::new()) }),
            GFP_KERNEL,
        )?;
        let shared = new_shared()?;

        shared.table.populate(device.clone());
        Ok((interval(&shared)?, device))
    }

    impl Device {
        fn take(&self) -> KVec<Told> {
            core::mem::take(&mut *self.told.lock())
        }
    }

    #[test]
    fn a_device_is_told_of_new_entries_in_runs() -> Result {
        let (mut entries, device) = told()?;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let same = View::raw(page.pfn(), Access::Read);

        // The same frame twice is not contiguous, so each is a run.
        assert_eq!(load(&mut entries, START, &[same, same, 0])?, Some(2));
        let extent = |addr, access| Extent {
            addr,
            pfn: page.pfn(),
            index: None,
            pages: 1,
            access,
            exclusive: false,
        };
        let seen = device.take();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen.first(), Some(&Told::Map(extent(START, Access::Read))));
        assert_eq!(
            seen.get(1),
            Some(&Told::Map(extent(START + PAGE_SIZE, Access::Read)))
        );

        // Once more, though nothing is new: it may have lost them.
        assert_eq!(load(&mut entries, START, &[same, same, 0])?, Some(0));
        assert_eq!(device.take(), seen);

        // Other rights are told, and so is what has gone.
        let write = View::raw(page.pfn(), Access::Write);
        load(&mut entries, START, &[write, 0])?;
        let seen = device.take();
        let gone = span(START + PAGE_SIZE, START + 2 * PAGE_SIZE)?;
        assert_eq!(seen.len(), 2);
        assert!(seen.contains(&Told::Map(extent(START, Access::Write))));
        assert!(seen.contains(&Told::Invalidate(gone)));
        Ok(())
    }

    #[test]
    fn contiguous_pages_are_one_extent() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let extent = |i: usize, access| Extent {
            addr: START + i * PAGE_SIZE,
            // SAFETY: Nothing looks behind the number.
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

    #[test]
    fn a_device_is_told_of_invalidations_that_concern_it() -> Result {
        let (mut entries, device) = told()?;
        let page = NewPage::system().ok_or(ENOMEM)?;

        load(&mut entries, START, &[View::raw(page.pfn(), Access::Read)])?;
        device.take();
        entries.invalidate(span(START + PAGE_SIZE, END)?);
        assert!(device.take().is_empty());
        let hit = span(START, START + 2 * PAGE_SIZE)?;
        entries.invalidate(hit);
        let seen = device.take();
        assert_eq!(
            (seen.len(), seen.first()),
            (1, Some(&Told::Invalidate(hit)))
        );
        entries.invalidate(hit);
        assert!(device.take().is_empty());
        Ok(())
    }

    #[test]
    fn exclusive_entries_outlast_a_look_at_the_cpus() -> Result {
        let (mut entries, device) = told()?;
        let (taken, other) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert!(!entries.load_exclusive(
            START,
            taken.pfn(),
            &mut None,
            &mut DeviceMemory::default()
        ));
        assert!(entries.load_exclusive(
            START,
            taken.pfn(),
            &mut spare,
            &mut DeviceMemory::default()
        ));
        let entry = entries.get(START);
        assert!(entry.is_exclusive() && entry.allows(Access::Write));
        assert!(matches!(
            device.take().first(),
            Some(Told::Map(extent)) if extent.exclusive && extent.addr == START
        ));

        // The CPU has an entry that faults there.
        load(
            &mut entries,
            START,
            &[0, View::raw(other.pfn(), Access::Read)],
        )?;
        assert!(entries.get(START) == entry);
        // When the CPU has it back, it is like any other.
        entries.invalidate(span(START, START + PAGE_SIZE)?);
        assert!(!entries.get(START).is_valid());
        load(
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
        let mut entries = interval(&shared)?;
        let raw = [View::raw(page.pfn(), Access::Read)];
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert_eq!(load(&mut entries, START, &raw)?, Some(1));
        shared.retire();
        entries.clear();
        assert!(!entries.get(START).is_valid());
        assert_eq!(load(&mut entries, START, &raw)?, None);
        assert!(!entries.load_exclusive(
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
        let (mut entries, device) = told()?;
        let shared = entries.shared.clone();
        let raw = [View::raw(page.pfn(), Access::Write)];
        let mut spare = Some(Entries::new_window(PAGES)?);

        assert_eq!(load(&mut entries, START, &raw)?, Some(1));
        device.take();
        shared.suspend(true);
        entries.clear();
        assert_eq!(shared.check_active(), Err(EIO));
        assert!(!entries.get(START).is_valid());
        assert!(matches!(device.take().first(), Some(Told::Invalidate(_))));
        assert_eq!(load(&mut entries, START, &raw)?, None);
        assert!(!entries.load_exclusive(
            START,
            page.pfn(),
            &mut spare,
            &mut DeviceMemory::default()
        ));
        assert!(device.take().is_empty());

        shared.suspend(false);
        assert_eq!(shared.check_active(), Ok(()));
        assert_eq!(load(&mut entries, START, &raw)?, Some(1));
        assert!(matches!(device.take().first(), Some(Told::Map(_))));
        // A mirror that has retired stays so.
        shared.retire();
        shared.suspend(true);
        shared.suspend(false);
        assert_eq!(shared.check_active(), Err(ESRCH));
        Ok(())
    }

    #[test]
    fn private_memory_is_known_as_such() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut entries = interval(&new_shared()?)?;
        let raw = [View::raw(page.pfn(), Access::Write)];
        let view = View::of(span(START, START + PAGE_SIZE)?, &raw);
        let mut spare = Some(Entries::new_window(PAGES)?);

        entries.load(&view, &mut spare, &mut own(Some(&page), true));
        assert!(entries.get(START).is_local() && entries.get(START).is_private());
        assert_eq!(entries.extent(START + 5).map(|e| e.index), Some(Some(0)));
        entries.load(&view, &mut spare, &mut own(Some(&page), false));
        assert!(entries.get(START).is_local() && !entries.get(START).is_private());
        entries.load(&view, &mut spare, &mut own(None, true));
        assert!(!entries.get(START).is_local() && !entries.get(START).is_private());
        assert_eq!(entries.extent(START).map(|e| e.index), Some(None));
        assert_eq!(entries.extent(START + PAGE_SIZE), None);
        Ok(())
    }
}

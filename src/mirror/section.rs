// SPDX-License-Identifier: GPL-2.0

//! The device's page table: entries of eight bytes, in windows that come with the first fault and
//! go with the invalidation of the whole, in sections of [`WINDOWS_PER_SECTION`] windows that share
//! one interval notifier.
//!
//! A section's notifier, lock and index (1 KiB) cost less than 1 % of its entries when they are all
//! there; and an invalidation makes faults in its own section retry, not those elsewhere.

use super::stats::Stats;
use crate::mm::{
    folio::Pfn,
    notifier::Invalidate,
    range::{Access, Entry, View},
    Span,
};
use kernel::{page::PAGE_SHIFT, prelude::*, sync::Arc};

/// How many windows share a notifier, and the logarithm of that.
pub(super) const WINDOWS_PER_SECTION: usize = 1 << SECTION_ORDER;
pub(super) const SECTION_ORDER: u32 = 5;

/// An entry of the device's page table.
///
/// Bits 0 to 3 are flags, 8 to 23 count accesses, 24 and up are the page frame number: 40 bits,
/// for 52 bits of physical address with 4 KiB pages.
///
/// # Invariants
///
/// If `VALID`, the frame number is one that a walk of the CPU's page table reported, and no
/// invalidation of it has returned since.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) struct DeviceEntry(u64);

impl DeviceEntry {
    const VALID: u64 = 1 << 0;
    const WRITE: u64 = 1 << 1;
    const LOCAL: u64 = 1 << 2;
    const WRITTEN: u64 = 1 << 3;
    const COUNT_SHIFT: u32 = 8;
    const COUNT: u64 = 0xffff << Self::COUNT_SHIFT;
    const PFN_SHIFT: u32 = 24;

    pub(super) const NONE: Self = Self(0);

    /// The entry for a page of the CPU's page table; `local` if it is in the device's own memory.
    fn new(pfn: Pfn, access: Access, local: bool) -> Self {
        let write = if access == Access::Write {
            Self::WRITE
        } else {
            0
        };
        let local = if local { Self::LOCAL } else { 0 };

        Self((pfn.raw() as u64) << Self::PFN_SHIFT | local | write | Self::VALID)
    }

    pub(super) fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    pub(super) fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
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

/// The entries of a section.
pub(crate) struct Entries {
    span: Span,
    window_shift: u32,
    windows: [Option<KVec<DeviceEntry>>; WINDOWS_PER_SECTION],
    stats: Arc<Stats>,
}

impl Entries {
    pub(super) fn new(span: Span, window_shift: u32, stats: Arc<Stats>) -> Self {
        Self {
            span,
            window_shift,
            windows: [const { None }; WINDOWS_PER_SECTION],
            stats,
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

    /// An empty window, for [`Self::load`]. ENOMEM.
    pub(super) fn new_window(pages: usize) -> Result<KVec<DeviceEntry>> {
        Ok(KVec::from_elem(DeviceEntry::NONE, pages, GFP_KERNEL)?)
    }

    /// Takes over what the CPU's page table has, for the pages of `view`, all of one window; if
    /// that is not there, `spare` becomes it. Returns how many entries are new, or `None` if the
    /// window went meanwhile and there is no spare one. Pages that no device may access get no entry.
    pub(super) fn load(
        &mut self,
        view: &View<'_>,
        spare: &mut Option<KVec<DeviceEntry>>,
        local: impl Fn(Pfn) -> bool,
    ) -> Option<usize> {
        let (window, first) = self.locate(view.span().start())?;
        let slot = self.windows.get_mut(window)?;

        if slot.is_none() {
            *slot = spare.take();
        }

        let mut added = 0;
        let entries = slot.as_mut()?.iter_mut().skip(first);
        for (entry, cpu) in entries.zip(view.entries()) {
            let new = match cpu {
                // SAFETY: The view holds, and no invalidation returns while we are here.
                Entry::Page { pfn, access, .. } if unsafe { pfn.may_access() } => {
                    DeviceEntry::new(pfn, access, local(pfn))
                }
                _ => DeviceEntry::NONE,
            };
            if !entry.same(new) {
                // INVARIANT: The view holds, and no invalidation returns while we are here.
                *entry = new;
                added += usize::from(new.is_valid());
            }
        }
        Some(added)
    }
}

impl Invalidate for Entries {
    fn invalidate(&mut self, span: Span) {
        let mut cleared = 0;

        for (i, slot) in self.windows.iter_mut().enumerate() {
            let start = self.span.start() + (i << self.window_shift);
            let Some(window) = Span::new(start, start + (1 << self.window_shift)) else {
                continue;
            };
            let Some(hit) = window.intersect(span) else {
                continue;
            };
            let Some(entries) = slot else { continue };
            let skip = (hit.start() - start) >> PAGE_SHIFT;

            for entry in entries.iter_mut().skip(skip).take(hit.pages()) {
                cleared += u64::from(entry.is_valid());
                *entry = DeviceEntry::NONE;
            }
            if hit == window {
                *slot = None;
            }
        }
        self.stats.invalidations.add(1);
        self.stats.invalidated_pages.add(cleared);
    }
}

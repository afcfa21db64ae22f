// SPDX-License-Identifier: GPL-2.0

//! Device faults: making entries of the device's page table from the CPU's.

use super::{interval::Entries, Mirror};
use crate::{
    mm::{
        self,
        notifier::{IntervalNotifier, Stale},
        pagemap::Owner,
        range::{Access, CpuEntry, Snapshot, Walker},
        vma::Mappings,
        Span,
    },
    os::cond_resched,
};
use kernel::{mm::MmWithUser, page::PAGE_SIZE, prelude::*};

/// What [`Mirror::fault_at`] has to work with: room for one window.
pub(crate) struct FaultWalk {
    walker: Walker,
}

/// What came of a look at the CPU's page table.
enum Loaded {
    /// The access is possible now; whether to the device's own memory.
    Ready { local: bool },
    /// There is no page that allows it. From there on so many pages are there that do not.
    Absent { shared: usize },
    /// It is in the device's own private memory, where a write of the device does not make it
    /// writable: that takes the CPU.
    ReadOnly,
    /// The page is not for devices.
    Refused,
    /// The page table has changed since.
    Stale,
}

/// What a fault came upon that might better be elsewhere.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlacementReason {
    /// Nobody has touched it.
    Untouched,
    /// It is not in the device's own memory.
    Elsewhere,
    /// It has just been copied, for the device to write to it.
    Copied,
}

/// Who decides where pages go that the device faults on: a layer above.
pub(crate) trait PlacementPolicy {
    /// Puts pages of `span`, all in one window, where they had best be, and says whether that was
    /// tried: then entries may be gone that were there before, whether or not a page moved, and the
    /// fault looks again. It goes on with what is there. Sleeps; no lock is held.
    fn place(
        &mut self,
        mirror: &Mirror,
        mm: &MmWithUser,
        need: PlacementReason,
        span: Span,
    ) -> bool;

    /// The part of `span`, from its start, that is faulted in together: for which the same has been
    /// decided.
    fn bound(&mut self, mirror: &Mirror, span: Span) -> Span;

    /// Whether pages of `span` that are copied for the device should be placed.
    fn wants_copies(&mut self, mirror: &Mirror, span: Span) -> bool;
}

impl FaultWalk {
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            walker: Walker::new(mm::window_pages())?,
        })
    }
}

/// The first address from `addr` on that the process may read, if there is one.
fn next_readable(mm: &MmWithUser, addr: usize) -> Option<usize> {
    let mappings = Mappings::lock(mm);
    let mut at = addr;

    loop {
        let mapping = mappings.next(at)?;
        let span = mapping.span()?;

        if mapping.is_readable() {
            return Some(span.start().max(addr));
        }
        at = span.end();
    }
}

impl Mirror {
    /// Resolves a fault that the device took at `addr`: on return there was, for a moment, an entry
    /// that allows the access. It may have been invalidated again already; then the device faults
    /// again.
    ///
    /// Every page of the window that is present gets an entry too. Of pages that are not, those of
    /// the `len` bytes from `addr` are faulted in, as far as they are in the window: a device that
    /// knows what it will touch next saves faults. `place` is asked first, once for each [`PlacementReason`].
    ///
    /// Goes on while the range keeps changing, until `give_up` says otherwise. Sleeps; takes the
    /// mmap lock and whatever a CPU fault takes, so no lock may be held.
    ///
    /// * EFAULT: the process itself could not access `addr`, or no device may
    /// * EPERM: the process could read there, but not write
    /// * ESRCH: the address space is being torn down, or the mirror has retired
    /// * EIO: the device is being reset
    /// * ECANCELED: `give_up` returned true
    /// * ENOMEM
    pub(crate) fn fault_at(
        &self,
        faulter: &mut FaultWalk,
        place: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let _waiter = self.kthread_faults.enter()?;

        self.resolve(faulter, place, addr, len, access, give_up)
            .map_err(|e| self.ended(e))
    }

    /// The end of the mirror is why everything else ended.
    pub(super) fn ended(&self, e: Error) -> Error {
        self.check_active().err().unwrap_or(e)
    }

    fn resolve(
        &self,
        faulter: &mut FaultWalk,
        place: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let mm = self.mm()?;
        let window = Span::window(addr).ok_or(EFAULT)?;
        let page = Span::covering(addr, 1).ok_or(EFAULT)?;
        let mut want = Span::covering(addr, len.clamp(1, window.end() - addr)).unwrap_or(page);
        let interval = self.interval(&mm, addr)?;
        let watched = interval.with_user(&mm)?;
        let walker = &mut faulter.walker;

        // What was asked of `place`, and the pages that are to be copied for the device.
        let (mut tried, mut settled, mut copied) = (false, false, None);
        let mut settle =
            |place: &mut dyn PlacementPolicy, local: bool, copied: Option<Span>, want: Span| {
                if local || settled {
                    return false;
                }
                settled = true;
                match copied {
                    Some(span) => place.place(self, &mm, PlacementReason::Copied, span),
                    None => place.place(self, &mm, PlacementReason::Elsewhere, want),
                }
            };

        want = place.bound(self, want);
        if !interval.lock().has_window(addr) {
            // The device was never here: then it is likely that nobody was.
            tried = place.place(self, &mm, PlacementReason::Untouched, want);
        }

        self.shared.stats.faults.add(1);
        loop {
            if give_up() {
                return Err(ECANCELED);
            }
            self.check_active()?;
            let (_, mut owner) = self.own();

            // What is present needs no fault, and one look gives the whole window.
            match walker.look(watched, window, addr, owner) {
                Ok(snapshot) => match self.load(&interval, snapshot, owner, addr, access)? {
                    Loaded::Ready { local } => {
                        if settle(place, local, copied, want) {
                            continue;
                        }
                        return Ok(());
                    }
                    Loaded::Refused => return Err(EFAULT),
                    Loaded::Absent { shared } => {
                        let run = page.start() + shared * PAGE_SIZE;

                        copied = Span::new(page.start(), run.min(want.end())).or(copied);
                        if !tried {
                            tried = true;
                            if place.place(self, &mm, PlacementReason::Untouched, want) {
                                continue;
                            }
                        }
                        // Only what is copied: what is faulted in besides stays where it is.
                        if let Some(span) = copied.filter(|span| place.wants_copies(self, *span)) {
                            want = span;
                        }
                    }
                    // It comes home, and then it is as with any page of the system.
                    Loaded::ReadOnly => {
                        owner = Owner::NOBODY;
                        want = page;
                    }
                    Loaded::Stale => continue,
                },
                Err(EBUSY) => continue,
                Err(e) => return Err(e),
            }

            match walker.walk(watched, want, Some(access), owner) {
                Ok(snapshot) => match self.load(&interval, snapshot, owner, addr, access)? {
                    Loaded::Ready { local } => {
                        if !settle(place, local, copied, want) {
                            return Ok(());
                        }
                    }
                    Loaded::Refused => return Err(EFAULT),
                    Loaded::Absent { .. } | Loaded::ReadOnly | Loaded::Stale => (),
                },
                Err(EBUSY) => (),
                // Something behind `addr` cannot be accessed, which is no fault of this access.
                Err(EFAULT | EPERM) if want != page => want = page,
                Err(e) => return Err(e),
            }
            cond_resched();
        }
    }

    /// Resolves faults for all bytes of `len` from `addr`: on return there was a moment for each page
    /// at which an entry allowed the access. Otherwise as [`Self::fault_at`].
    pub(crate) fn fault_all(
        &self,
        faulter: &mut FaultWalk,
        place: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let end = addr.checked_add(len).ok_or(EFAULT)?;
        let mut at = addr;

        while at < end {
            self.fault_at(faulter, place, at, end - at, access, &give_up)?;
            // The one that was asked for is done, whatever has become of it since.
            at = (at & !(PAGE_SIZE - 1)) + PAGE_SIZE;
            at = self.ready_until(at, end, access);
        }
        Ok(())
    }

    /// Makes entries for all pages of `span` that the CPU has at the moment; nothing is faulted in.
    /// Errors are those of [`Self::fault_at`], but EFAULT and EPERM.
    pub(crate) fn enter(
        &self,
        faulter: &mut FaultWalk,
        span: Span,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let mm = self.mm()?;
        let mut addr = span.start();

        while addr < span.end() {
            if give_up() {
                return Err(ECANCELED);
            }
            cond_resched();
            let window = Span::window(addr).ok_or(EFAULT)?;
            let part = window.intersect(span).ok_or(EINVAL)?;

            let interval = match self.interval(&mm, addr) {
                Ok(interval) => interval,
                // Nothing that can be accessed begins here; it may behind.
                Err(EFAULT) => {
                    addr = next_readable(&mm, addr).unwrap_or(span.end());
                    continue;
                }
                Err(e) => return Err(e),
            };
            let watched = interval.with_user(&mm)?;
            addr = part.end();
            loop {
                if give_up() {
                    return Err(ECANCELED);
                }
                self.check_active()?;
                let (_, owner) = self.own();
                match faulter.walker.look(watched, part, part.start(), owner) {
                    Ok(snapshot) => {
                        match self.load(&interval, snapshot, owner, part.start(), Access::Read)? {
                            Loaded::Stale => (),
                            _ => break,
                        }
                    }
                    Err(EBUSY) => (),
                    Err(e) => return Err(e),
                }
                cond_resched();
            }
        }
        Ok(())
    }

    /// The end of the pages from `addr` on, up to `end`, that have entries which allow the access. A
    /// device with a table of its own is to be told of each window, so for that it is not behind
    /// the end of one.
    fn ready_until(&self, addr: usize, end: usize, access: Access) -> usize {
        let mut at = addr;

        while at < end {
            let Some(interval) = self.find_interval(at) else {
                break;
            };
            let Some(window) = Span::window(at) else {
                break;
            };
            let entries = interval.lock();
            while at < end.min(window.end()) && entries.get(at).allows(access) {
                at += PAGE_SIZE;
            }
            if at < window.end() || self.shared.has_table() {
                break;
            }
        }
        at.min(end)
    }

    /// Puts what was seen by a walk for `owner` into the device's page table, if it still holds.
    fn load(
        &self,
        interval: &IntervalNotifier<Entries>,
        snapshot: Snapshot<'_, Entries>,
        owner: Owner,
        addr: usize,
        access: Access,
    ) -> Result<Loaded> {
        let mut spare = None;

        if !interval.lock().has_window(addr) {
            spare = Some(Entries::new_window(mm::window_pages())?);
        }

        let (mut own, now) = self.own();
        if owner != Owner::NOBODY && owner != now {
            // The memory has gone since, and the owner may be another device's by now, of whose
            // private memory the walk has reported pages as if they were ours.
            self.shared.stats.fault_retries.add(1);
            return Ok(Loaded::Stale);
        }
        let (private, frames) = (own.private, own.frames());
        let loaded = snapshot.commit(|entries, view| {
            let added = entries.load(view, &mut spare, &mut own)?;

            let loaded = match view.at(addr) {
                _ if entries.get(addr).allows(access) => Loaded::Ready {
                    local: entries.get(addr).is_local(),
                },
                CpuEntry::Page { page, .. } if private && frames.contains(&page.pfn().raw()) => {
                    Loaded::ReadOnly
                }
                // There is a page that the process may access that way, and the device may not.
                CpuEntry::Page { access: cpu, .. } if cpu == access || cpu == Access::Write => {
                    Loaded::Refused
                }
                _ => Loaded::Absent {
                    shared: view
                        .entries()
                        .skip((addr - view.span().start()) / PAGE_SIZE)
                        .take_while(|entry| {
                            matches!(
                                entry,
                                CpuEntry::Page {
                                    access: Access::Read,
                                    ..
                                }
                            )
                        })
                        .count(),
                },
            };
            Some((added, loaded))
        });
        match loaded {
            Ok(Some((added, loaded))) => {
                self.shared.stats.fault_pages.add(added as u64);
                Ok(loaded)
            }
            Ok(None) | Err(Stale) => {
                self.shared.stats.fault_retries.add(1);
                Ok(Loaded::Stale)
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Device faults: making entries of the device's page table from the CPU's.

use super::{
    interval::Entries,
    Mirror, //
};
use crate::{
    mm::{
        self,
        notifier::{
            IntervalNotifier,
            Stale, //
        },
        pagemap::Owner,
        range::{
            Access,
            CpuEntry,
            Snapshot,
            View,
            Walker, //
        },
        vma::Mappings,
        Span,
    },
    os::cond_resched,
};
use kernel::{
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The arrays that a fault needs to walk the CPU's page table, for one window.
pub(crate) struct FaultWalk {
    walker: Walker,
}

/// Whether the device may access the faulting address after a walk of the CPU's page table.
enum FillResult {
    /// It may; `local` if the page is in the device's own memory.
    Ready { local: bool },
    /// No page permits the access; the next `shared` pages are mapped without it.
    Absent { shared: usize },
    /// The page is in the device's own private memory and read-only. A device write cannot make it
    /// writable, only the CPU's can.
    ReadOnly,
    /// The process may access the page, but no device may.
    Refused,
    /// The CPU's page table has changed since the walk.
    Stale,
}

/// Why a fault asks for pages to be placed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlacementReason {
    /// The pages have not been touched yet.
    Untouched,
    /// The page is not in the device's own memory.
    Elsewhere,
    /// The pages have just been copied, because the device writes to them.
    Copied,
}

/// Decides where the pages go that the device faults on; implemented by a layer above.
pub(crate) trait PlacementPolicy {
    /// Moves or allocates pages of `span`, all in one window, where they serve best. Returns
    /// whether it tried: then entries may have been invalidated even if no page has moved, so the
    /// fault walks again, and uses the pages where they are then. Sleeps; no lock is held.
    fn place(
        &mut self,
        mirror: &Mirror,
        mm: &MmWithUser,
        reason: PlacementReason,
        span: Span,
    ) -> bool;

    /// Returns the first part of `span` that is faulted in together, as the same decisions apply to
    /// it.
    fn bound(&mut self, mirror: &Mirror, span: Span) -> Span;

    /// Returns whether pages of `span` that are copied for the device should be placed.
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

/// Returns the first address from `addr` on that the process may read, if any.
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

/// The state of placement during one fault. The policy places pages at most once before the fault
/// allocates any, and at most once after.
struct Placement<'a> {
    mirror: &'a Mirror,
    mm: &'a MmWithUser,
    policy: &'a mut dyn PlacementPolicy,
    // The pages that are faulted in if they are absent; the faulting page is the first.
    want: Span,
    // Those of them that the fault copies: the process shares them, and the device writes.
    copied: Option<Span>,
    asked_before: bool,
    asked_after: bool,
}

impl Placement<'_> {
    /// Offers untouched pages. Returns whether the fault has to walk again.
    fn place_untouched(&mut self) -> bool {
        if self.asked_before {
            return false;
        }
        self.asked_before = true;
        self.place(PlacementReason::Untouched, self.want)
    }

    /// Offers pages that the device may access now, unless they are local. Returns whether the
    /// fault has to walk again.
    fn place_present(&mut self, local: bool) -> bool {
        if local || self.asked_after {
            return false;
        }
        self.asked_after = true;
        match self.copied {
            Some(span) => self.place(PlacementReason::Copied, span),
            None => self.place(PlacementReason::Elsewhere, self.want),
        }
    }

    fn place(&mut self, reason: PlacementReason, span: Span) -> bool {
        self.policy.place(self.mirror, self.mm, reason, span)
    }

    /// Notes that the first `shared` pages will be copied.
    fn set_copied(&mut self, shared: usize) {
        let end = self.want.start() + shared * PAGE_SIZE;

        self.copied = Span::new(self.want.start(), end.min(self.want.end())).or(self.copied);
    }

    /// If the copies are to be placed, faults in nothing else: other pages stay where they are.
    fn want_only_copied(&mut self) {
        if let Some(span) = self.copied {
            if self.policy.wants_copies(self.mirror, span) {
                self.want = span;
            }
        }
    }
}

impl Mirror {
    /// Resolves a device fault at `addr`: on return, there has been an entry that allows the
    /// access. It may have been invalidated again by then, and the device faults again.
    ///
    /// All present pages of the window get an entry. Of the absent ones, those of the `len` bytes
    /// from `addr` are faulted in, as far as they are in the window: a device that knows what it
    /// will access next saves faults. `policy` may place the pages, once for each
    /// [`PlacementReason`].
    ///
    /// Retries as long as the range keeps changing, until `give_up` returns true. Sleeps; takes the
    /// mmap lock and whatever a CPU fault takes, so no lock may be held.
    ///
    /// * EFAULT: the process itself could not access `addr`, or no device may
    /// * EPERM: the process could read there, but not write
    /// * EINTR: a fatal signal arrived, or see [`mm::notifier::IntervalNotifier::new`]
    /// * ESRCH: the address space is being torn down, or the mirror has retired
    /// * EIO: the device is being reset
    /// * ECANCELED: `give_up` returned true
    /// * ENOMEM
    pub(crate) fn fault_at(
        &self,
        walk: &mut FaultWalk,
        policy: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let _fault = self.kthread_faults.enter()?;

        self.resolve(walk, policy, addr, len, access, give_up)
            .map_err(|e| self.cause(e))
    }

    /// Replaces `e` by ESRCH or EIO if the mirror has been retired or suspended: then that is the
    /// cause.
    pub(super) fn cause(&self, e: Error) -> Error {
        self.check_active().err().unwrap_or(e)
    }

    fn resolve(
        &self,
        walk: &mut FaultWalk,
        policy: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let mm = self.mm()?;
        let window = Span::window(addr).ok_or(EFAULT)?;
        let page = Span::covering(addr, 1).ok_or(EFAULT)?;
        let want = Span::covering(addr, len.clamp(1, window.end() - addr)).unwrap_or(page);
        let interval = self.interval(&mm, addr)?;
        let watched = interval.with_user(&mm)?;
        let want = policy.bound(self, want);
        let mut placement = Placement {
            mirror: self,
            mm: &mm,
            policy,
            want,
            copied: None,
            asked_before: false,
            asked_after: false,
        };

        // Where the device has no entries yet, most likely nothing has been touched.
        if !interval.lock().has_window(addr) {
            placement.asked_before = placement.place_untouched();
        }

        self.shared.stats.faults.add(1);
        loop {
            if give_up() {
                return Err(ECANCELED);
            }
            self.check_active()?;
            let (_, mut owner) = self.device_memory();

            // One walk without faults finds all present pages of the window.
            match walk.walker.look(watched, window, addr, owner) {
                Ok(snapshot) => match self.fill(&interval, snapshot, owner, addr, access)? {
                    FillResult::Ready { local } => {
                        if placement.place_present(local) {
                            continue;
                        }
                        return Ok(());
                    }
                    FillResult::Refused => return Err(EFAULT),
                    FillResult::Absent { shared } => {
                        placement.set_copied(shared);
                        if placement.place_untouched() {
                            continue;
                        }
                        placement.want_only_copied();
                    }
                    // Back in system memory, it is like any other page.
                    FillResult::ReadOnly => {
                        owner = Owner::NOBODY;
                        placement.want = page;
                    }
                    FillResult::Stale => continue,
                },
                Err(EBUSY) => continue,
                Err(e) => return Err(e),
            }

            let want = placement.want;
            match walk.walker.walk(watched, want, Some(access), owner) {
                Ok(snapshot) => match self.fill(&interval, snapshot, owner, addr, access)? {
                    FillResult::Ready { local } => {
                        if !placement.place_present(local) {
                            return Ok(());
                        }
                    }
                    FillResult::Refused => return Err(EFAULT),
                    FillResult::Absent { .. } | FillResult::ReadOnly | FillResult::Stale => (),
                },
                Err(EBUSY) => (),
                // A page after the faulting one cannot be accessed, which does not concern this
                // access.
                Err(EFAULT | EPERM) if want != page => placement.want = page,
                Err(e) => return Err(e),
            }
            cond_resched();
        }
    }

    /// Resolves device faults for all bytes of `len` from `addr`: on return, each page has had an
    /// entry that allows the access. Otherwise as [`Self::fault_at`].
    pub(crate) fn fault_all(
        &self,
        walk: &mut FaultWalk,
        policy: &mut dyn PlacementPolicy,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let end = addr.checked_add(len).ok_or(EFAULT)?;
        let mut at = addr;

        while at < end {
            self.fault_at(walk, policy, at, end - at, access, &give_up)?;
            // The faulting page is done, even if it has been invalidated since.
            at = (at & !(PAGE_SIZE - 1)) + PAGE_SIZE;
            at = self.ready_until(at, end, access);
        }
        Ok(())
    }

    /// Makes entries for all pages of `span` that are present; nothing is faulted in. Errors are
    /// those of [`Self::fault_at`], except EFAULT and EPERM.
    pub(crate) fn enter(
        &self,
        walk: &mut FaultWalk,
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
                // This address cannot be accessed, but one after it may be.
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
                let (_, owner) = self.device_memory();
                match walk.walker.look(watched, part, part.start(), owner) {
                    Ok(snapshot) => {
                        match self.fill(&interval, snapshot, owner, part.start(), Access::Read)? {
                            FillResult::Stale => (),
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

    /// Returns the end of the pages from `addr` on whose entries allow the access, at most `end`.
    /// If the device has its own page table, also at most the end of the window: only a fault in a
    /// window passes on its entries.
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

    /// Fills the device's page table from a walk that was done for `owner`, unless the CPU's page
    /// table has changed since.
    fn fill(
        &self,
        interval: &IntervalNotifier<Entries>,
        snapshot: Snapshot<'_, Entries>,
        owner: Owner,
        addr: usize,
        access: Access,
    ) -> Result<FillResult> {
        let mut spare = None;

        if !interval.lock().has_window(addr) {
            spare = Some(Entries::new_window(mm::window_pages())?);
        }

        let (mut memory, now) = self.device_memory();
        if owner != Owner::NOBODY && owner != now {
            // The device has lost its memory since, and another device may be the owner now. If so,
            // the walk has reported that device's private pages as ours.
            self.shared.stats.fault_retries.add(1);
            return Ok(FillResult::Stale);
        }
        let private = memory.private.then(|| memory.frames());
        let filled = snapshot.commit(|entries, view| {
            let added = entries.fill(view, &mut spare, &mut memory)?;
            let entry = entries.get(addr);

            let outcome = match view.at(addr) {
                _ if entry.allows(access) => FillResult::Ready {
                    local: entry.is_local(),
                },
                CpuEntry::Page { page, .. }
                    if private
                        .as_ref()
                        .is_some_and(|own| own.contains(&page.pfn().raw())) =>
                {
                    FillResult::ReadOnly
                }
                CpuEntry::Page { access: cpu, .. } if cpu == access || cpu == Access::Write => {
                    FillResult::Refused
                }
                _ => FillResult::Absent {
                    shared: count_read_only(view, addr),
                },
            };
            Some((added, outcome))
        });
        match filled {
            Ok(Some((added, outcome))) => {
                self.shared.stats.fault_pages.add(added as u64);
                Ok(outcome)
            }
            Ok(None) | Err(Stale) => {
                self.shared.stats.fault_retries.add(1);
                Ok(FillResult::Stale)
            }
        }
    }
}

/// Returns the number of pages from `addr` on that are present and read-only, up to the first that
/// is not.
fn count_read_only(view: &View<'_>, addr: usize) -> usize {
    view.entries()
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
        .count()
}

// SPDX-License-Identifier: GPL-2.0

//! Where pages go that a device faults on: what the process has advised, applied.
//!
//! Deciding is kept apart from moving ([`crate::migrate`]) and from what is known of use
//! ([`crate::node::Node::touch`]), so that each can be fed by hardware, or replaced.
//!
//! Context: that of a device's fault: process or kernel thread, sleeps, no lock held.

use crate::{
    migrate::{self, Migration, Plan, Report, Target, Workspace},
    mirror::{self, Mirror, PlacementPolicy, PlacementReason},
    mm::{self, range::Access, vma::Mappings, Span},
};
use kernel::{mm::MmWithUser, prelude::*};

/// What a thread needs that resolves faults of devices: room for one window of each array, allocated
/// once.
pub struct FaultHandler {
    walker: mirror::FaultWalk,
    placement: AdvisedPlacement,
}

#[derive(Default)]
struct AdvisedPlacement {
    // With the first page that has to go somewhere.
    space: Option<Workspace>,
}

impl FaultHandler {
    /// Makes room for faults. ENOMEM.
    pub fn new() -> Result<Self> {
        Ok(Self {
            walker: mirror::FaultWalk::new()?,
            placement: AdvisedPlacement::default(),
        })
    }
}

impl Mirror {
    /// Resolves a fault that the device took at `addr`: on return there was, for a moment, an entry
    /// that allows the access. It may have been invalidated again already; then the device faults
    /// again.
    ///
    /// Every page of the window that is present gets an entry too. Of pages that are not, those of
    /// the `len` bytes from `addr` are faulted in, as far as they are in the window: a device that
    /// knows what it will touch next saves faults. Where there is advice (`HMM_CDM_IOC_ADVISE`),
    /// pages come to the device's memory first; that this fails is no error.
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
    pub fn fault(
        &self,
        faulter: &mut FaultHandler,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let FaultHandler { walker, placement } = faulter;

        self.fault_at(walker, placement, addr, len, access, give_up)
    }

    /// Resolves faults for all bytes of `len` from `addr`: on return there was a moment for each page
    /// at which an entry allowed the access. Otherwise as [`Self::fault`].
    pub fn fault_range(
        &self,
        faulter: &mut FaultHandler,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let FaultHandler { walker, placement } = faulter;

        self.fault_all(walker, placement, addr, len, access, give_up)
    }

    /// Makes entries for all pages of `span` that the CPU has at the moment; nothing is faulted in
    /// or moved. Errors are those of [`Self::fault`], but EFAULT and EPERM.
    pub fn enter_present(
        &self,
        faulter: &mut FaultHandler,
        span: Span,
        give_up: impl Fn() -> bool,
    ) -> Result {
        self.enter(&mut faulter.walker, span, give_up)
    }
}

impl PlacementPolicy for AdvisedPlacement {
    fn place(
        &mut self,
        mirror: &Mirror,
        mm: &MmWithUser,
        need: PlacementReason,
        span: Span,
    ) -> bool {
        let (policy, end) = mirror.advice(span.start());
        let wanted = match need {
            PlacementReason::Untouched => policy.node,
            PlacementReason::Elsewhere => policy.migrate,
            PlacementReason::Copied => policy.cow || policy.migrate,
        };
        if !wanted {
            return false;
        }
        let (Some(span), Some(node)) = (span.until(end), mirror.node()) else {
            return false;
        };
        let span = match need {
            PlacementReason::Untouched => match allocated_together(mirror, mm, span) {
                Some(span) => span,
                None => return false,
            },
            PlacementReason::Elsewhere | PlacementReason::Copied => span,
        };
        let plan = Plan {
            untouched_only: need == PlacementReason::Untouched,
            evict: policy.evict,
            patient: false,
            ..Plan::to_node()
        };
        if self.space.is_none() {
            self.space = Workspace::new(mm::window_pages(), plan).ok();
        }
        let Some(space) = &mut self.space else {
            return false;
        };

        let mut migration = Migration::new(mm, &node, plan, space);
        // What could not be placed is used where it is.
        let _ = migration.run(span, || false);
        let report = migration.report();

        account(mirror, plan.target, report);
        mirror.stats().touched.add(report.populated);
        true
    }

    fn bound(&mut self, mirror: &Mirror, span: Span) -> Span {
        span.until(mirror.advice(span.start()).1).unwrap_or(span)
    }

    fn wants_copies(&mut self, mirror: &Mirror, span: Span) -> bool {
        let (policy, _) = mirror.advice(span.start());

        policy.cow || policy.migrate
    }
}

/// What of `span`, from its start, is allocated when the device touches it first: what the process
/// can access as well. Where it wants huge pages its own first touch takes a whole window, and so
/// does this if all of it has the same advice.
fn allocated_together(mirror: &Mirror, mm: &MmWithUser, span: Span) -> Option<Span> {
    let window = Span::window(span.start())?;
    let has_one_advice = mirror.advice(window.start()).1 >= window.end();
    let mappings = Mappings::lock(mm);
    let mapping = mappings
        .next(span.start())
        .filter(|mapping| mapping.maps(span.start()) && mapping.is_readable())?;
    let is_whole = has_one_advice && mapping.wants_huge_pages() && mapping.contains(window);

    if is_whole {
        Some(window)
    } else {
        mapping.span()?.intersect(span)
    }
}

/// Counts what a migration did, on the mirror that it was for.
pub(crate) fn account(mirror: &Mirror, target: Target, report: &Report) {
    let stats = mirror.stats();

    match target {
        Target::Node => stats.migrated_in.add(report.migrated),
        Target::System => stats.migrated_out.add(report.migrated),
    }
    stats.peers.add(report.peers);
    stats.bytes_copied.add(migrate::bytes(report.migrated));
    stats.populated.add(report.populated);
    stats.huge.add(report.huge);
    stats.evicted.add(report.evicted);
    for (counter, count) in stats.skipped.iter().zip(report.skipped) {
        counter.add(count);
    }
}

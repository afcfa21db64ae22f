// SPDX-License-Identifier: GPL-2.0

//! Placement of the pages that a device faults on, as the process has advised.
//!
//! The decision is separate from the move ([`crate::migrate`]) and from the record of use
//! ([`crate::node::Node::touch`]), so that each can be replaced, or driven by hardware.
//!
//! Context: that of a device fault: process or kernel thread; sleeps. No lock is held.

use crate::{
    migrate::{
        Migration,
        Plan,
        Workspace, //
    },
    mirror::{
        self,
        Mirror,
        PlacementPolicy,
        PlacementReason, //
    },
    mm::{
        self,
        range::Access,
        vma::Mappings,
        Span, //
    },
};
use kernel::{
    mm::MmWithUser,
    prelude::*, //
};

/// The arrays that a thread needs to resolve device faults, for one window, allocated once.
pub struct FaultHandler {
    walk: mirror::FaultWalk,
    placement: AdvisedPlacement,
}

#[derive(Default)]
struct AdvisedPlacement {
    // Allocated with the first page that is placed.
    space: Option<Workspace>,
}

impl FaultHandler {
    /// Allocates the arrays. ENOMEM.
    pub fn new() -> Result<Self> {
        Ok(Self {
            walk: mirror::FaultWalk::new()?,
            placement: AdvisedPlacement::default(),
        })
    }
}

impl Mirror {
    /// Resolves a fault that the device took at `addr`. On return there was an entry that allows
    /// the access. It may have been invalidated since; then the device faults again.
    ///
    /// Present pages of the window get entries, too. Absent ones are faulted in if they are among
    /// the `len` bytes from `addr` and in the same window: a device that knows what it will access
    /// next saves faults. Where there is advice (`HMM_CDM_IOC_ADVISE`), pages move to the device's
    /// memory first; those that cannot are used where they are.
    ///
    /// Repeats while the range keeps changing, until `give_up` returns true. Sleeps; takes the mmap
    /// lock and all locks of a CPU fault, so the caller must not hold any.
    ///
    /// * EFAULT: the process could not access `addr`, or no device may
    /// * EPERM: the process could read, but not write there
    /// * ESRCH: the address space is being torn down, or the mirror has retired
    /// * EIO: the device is being reset
    /// * ECANCELED: `give_up` returned true
    /// * ENOMEM
    pub fn fault(
        &self,
        handler: &mut FaultHandler,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let FaultHandler { walk, placement } = handler;

        self.fault_at(walk, placement, addr, len, access, give_up)
    }

    /// Resolves faults for all of the `len` bytes from `addr`: for each page there was an entry
    /// that allows the access, if not at the same time. Otherwise as [`Self::fault`].
    pub fn fault_range(
        &self,
        handler: &mut FaultHandler,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let FaultHandler { walk, placement } = handler;

        self.fault_all(walk, placement, addr, len, access, give_up)
    }

    /// Makes entries for all present pages of `span`. No page is faulted in or moved. Errors are
    /// those of [`Self::fault`] except EFAULT and EPERM.
    pub fn enter_present(
        &self,
        handler: &mut FaultHandler,
        span: Span,
        give_up: impl Fn() -> bool,
    ) -> Result {
        self.enter(&mut handler.walk, span, give_up)
    }
}

impl PlacementPolicy for AdvisedPlacement {
    fn place(
        &mut self,
        mirror: &Mirror,
        mm: &MmWithUser,
        reason: PlacementReason,
        span: Span,
    ) -> bool {
        let (policy, end) = mirror.advice(span.start());
        let wanted = match reason {
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
        let span = match reason {
            PlacementReason::Untouched => match first_touch_span(mirror, mm, span) {
                Some(span) => span,
                None => return false,
            },
            PlacementReason::Elsewhere | PlacementReason::Copied => span,
        };
        let plan = Plan {
            untouched_only: reason == PlacementReason::Untouched,
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
        // Pages that could not be placed are used where they are.
        let _ = migration.run(span, || false);
        let report = migration.report();

        report.add_to(mirror.stats(), plan.target);
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

/// Returns the part of `span`, from its start, that the device's first touch allocates: what the
/// process could access, too. With MADV_HUGEPAGE the CPU's first touch takes a whole window, and so
/// does the device's if all of it has the same advice.
fn first_touch_span(mirror: &Mirror, mm: &MmWithUser, span: Span) -> Option<Span> {
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

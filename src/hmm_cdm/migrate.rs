// SPDX-License-Identifier: GPL-2.0

//! Moving ranges of an address space to a node and back, window by window.
//!
//! A page that stays is not an error: it is counted under its reason, and the CPU and the device
//! can still use it. Pages that could not be collected are located afterwards to find the reason.
//! Busy ones (an elevated reference count, another migration) are tried again, since most are
//! released soon: when a per-CPU LRU batch is drained, a page unlocked, a pass of khugepaged over.
//!
//! | module | |
//! | --- | --- |
//! | `plan` | the request and the report |
//! | `state` | the state of a page, and how each step changes it |
//! | `account` | the states of a window's pages, and the sums |
//! | `window_mover` | one attempt: collect, allocate, copy, install |
//! | `locate` | the location of pages that were not collected |
//! | `evict` | eviction for other pages, and of a whole node |
//! | `reclaim` | eviction for a cgroup above its limit |
//!
//! Context: process; sleeps. The mmap lock is taken for reading, for one window at a time. Device
//! page tables need no care: collecting a page invalidates it in every mirror.

mod account;
mod evict;
mod locate;
mod plan;
pub(crate) mod reclaim;
mod state;
mod window_mover;

pub(crate) use evict::evict_all;
pub use plan::{
    Plan,
    Report,
    Target, //
};
pub use window_mover::Workspace;

use crate::{
    mm::{
        self,
        vma::Mappings,
        Span, //
    },
    node::Node,
    os::cond_resched,
    uapi::Skip,
};
use evict::{
    evict_for,
    EvictGoal, //
};
use kernel::{
    mm::MmWithUser,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};
use locate::{
    locate,
    PageLocation, //
};
use state::{
    is_wanted,
    PageState, //
};
use window_mover::{
    can_move,
    movable,
    WindowMover, //
};

/// Delays before the attempts after the first, in milliseconds. Most references are dropped at
/// once. khugepaged isolates a whole window while it copies, and a task that was scheduled away
/// keeps its references that long.
const RETRY_DELAYS_MS: [i64; 4] = [0, 1, 4, 16];
/// Sum of these delays in one migration: a pin for I/O is not dropped soon.
const MAX_DELAY_MS: i64 = 64;
/// The most evictions for one window: other tasks may take the frames.
const MAX_EVICTIONS: u32 = 4;

/// The first mapped part of a range.
enum Part {
    /// Nothing is mapped in all of the range.
    Unmapped,
    /// Part of a mapping whose pages cannot be moved. They have been counted.
    Fixed(Span),
    /// Part of a mapping whose pages can be moved, within one window.
    Movable(Span),
}

/// A migration of ranges of one address space.
pub struct Migration<'a> {
    mover: WindowMover<'a>,
    // The least age of windows that were used since this began.
    began: u64,
    // What the window at hand asks for has no content. It does not push out windows that were used
    // since this began: pages of zeros for pages of zeros.
    only_holes: bool,
    // The rest of `MAX_DELAY_MS`.
    delay_left: i64,
}

impl<'a> Migration<'a> {
    /// Prepares to move pages of `mm`.
    pub fn new(mm: &'a MmWithUser, node: &'a Node, plan: Plan, space: &'a mut Workspace) -> Self {
        Self {
            mover: WindowMover::new(mm, node, plan, space),
            // The clock is shared by all devices' accesses: not written for nothing.
            began: if plan.evict { node.next_age() } else { 0 },
            only_holes: false,
            delay_left: if plan.patient { MAX_DELAY_MS } else { 0 },
        }
    }

    /// Returns the result of all runs so far.
    pub fn report(&self) -> &Report {
        &self.mover.account.report
    }

    /// Moves the pages of `span` that can be moved. The report is valid with any result:
    ///
    /// * ENOMEM: part of the span is not mapped, the rest was handled; or allocation failed
    /// * EINTR: `interrupted` returned true between two windows
    /// * ENODEV: the node is being removed
    pub fn run(&mut self, span: Span, interrupted: impl Fn() -> bool) -> Result {
        let mut addr = span.start();
        let mut has_gap = false;

        while let Some(rest) = Span::new(addr, span.end()) {
            if interrupted() {
                return Err(EINTR);
            }
            if self.mover.node.is_closed() {
                return Err(ENODEV);
            }
            cond_resched();

            let (part, movable) = match self.first_part(rest)? {
                Part::Unmapped => {
                    has_gap = true;
                    break;
                }
                Part::Fixed(part) => (part, false),
                Part::Movable(part) => (part, true),
            };
            has_gap |= part.start() > addr;
            addr = part.end();
            if movable {
                let result = self.move_window(part);

                // A window that was not finished counts, too.
                self.mover.account.close();
                result?;
            }
        }
        if has_gap {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }

    /// Returns the first mapped part of `rest`.
    fn first_part(&mut self, rest: Span) -> Result<Part> {
        let account = &mut self.mover.account;
        let mappings = Mappings::lock(self.mover.mm);
        let Some(mapping) = mappings.next(rest.start()) else {
            return Ok(Part::Unmapped);
        };
        let Some(mapped) = mapping.span().and_then(|span| span.intersect(rest)) else {
            return Ok(Part::Unmapped);
        };

        if !can_move(&mapping, self.mover.plan.target) {
            account.report.skip(Skip::NotAnon, mapped.pages());
            return Ok(Part::Fixed(mapped));
        }
        let window = mm::window_size();
        let end = (mapped.start() & !(window - 1)).saturating_add(window);
        let part = Span::new(mapped.start(), end.min(mapped.end())).ok_or(EINVAL)?;

        account.open(part.pages());
        Ok(Part::Movable(part))
    }

    /// Moves the pages of `part`. Tries again those that may move later, as long as the mapping
    /// exists.
    fn move_window(&mut self, part: Span) -> Result {
        let mut delays = RETRY_DELAYS_MS.into_iter();
        let evict = self.mover.plan.evict;
        let mut evictions_left = if evict { MAX_EVICTIONS } else { 0 };

        if evict {
            self.evict_ahead(part)?;
        }
        while self.mover.attempt(part)? && !self.mover.account.is_done() {
            let full = self.mover.account.count(PageState::FULL);

            if full > 0 && evictions_left > 0 {
                evictions_left -= 1;
                if self.evict(EvictGoal::Pages(full)) > 0 || self.mover.node.free_pages() > 0 {
                    self.mover.account.retry(|why| why == Skip::NoMemory);
                    continue;
                }
                evictions_left = 0;
            }
            let Some(delay) = delays.next().filter(|delay| *delay <= self.delay_left) else {
                break;
            };
            if self.mover.account.retry(|why| why != Skip::NoMemory) == 0 {
                break;
            }
            self.delay_left -= delay;
            if delay > 0 {
                fsleep(Delta::from_millis(delay));
            }
        }
        Ok(())
    }

    /// Evicts for the pages of `part` that need frames on the node, before they are collected:
    /// without frames they would be collected in vain.
    fn evict_ahead(&mut self, part: Span) -> Result {
        let WindowMover {
            mm,
            node,
            plan,
            ref mut walker,
            ..
        } = self.mover;
        let window = mm::window_pages();
        let is_whole = part.pages() == window;

        self.only_holes = plan.untouched_only;
        if node.free_pages() >= part.pages() && !(is_whole && node.free_windows() == 0) {
            return Ok(());
        }
        let takes_new_pages = {
            let mappings = Mappings::lock(mm);

            movable(&mappings, part, plan.target).is_some_and(|mapping| mapping.takes_new_pages())
        };
        let (mut holes, mut pages) = (0, 0);
        locate(walker, mm, node, part, |_, location| match location {
            PageLocation::Absent | PageLocation::Zero => holes += usize::from(takes_new_pages),
            _ => pages += usize::from(is_wanted(location, &plan)),
        })?;
        let wanted = holes + pages;

        if wanted > 0 {
            self.only_holes = pages == 0;
        }
        if wanted == window {
            self.evict(EvictGoal::Window);
        } else if wanted > 0 {
            self.evict(EvictGoal::Pages(wanted));
        }
        Ok(())
    }

    /// Evicts pages of the node. Returns their number.
    fn evict(&mut self, goal: EvictGoal) -> usize {
        let mover = &mut self.mover;
        let before = if self.only_holes {
            self.began
        } else {
            u64::MAX
        };
        let evicted = evict_for(mover.node, mover.bufs, goal, before);

        mover.account.report.evicted += evicted as u64;
        evicted
    }
}

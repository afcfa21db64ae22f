// SPDX-License-Identifier: GPL-2.0

//! Eviction: moves pages of a node, of any process, to system memory. All of them before the node
//! is removed; those of the least recently used windows where frames are needed.
//!
//! Reclaim does not recurse into this: system memory is allocated with no lock held that reclaim
//! could take, and the library has no shrinker. The charge of a page follows it
//! (`mem_cgroup_migrate()`), so a memcg at its limit does not keep pages on the node.

use crate::{
    mm::{
        self,
        copy::Direction,
        folio::NewPage,
        migrate::{
            Buffers,
            Collected,
            Outcome,
            Source, //
        }, //
    },
    node::Node,
    os::{
        cond_resched,
        fatal_signal_pending, //
    },
};
use kernel::prelude::*;

/// Number of windows tried for one goal. One is enough, unless some of its pages cannot be moved.
const MAX_WINDOWS: usize = 8;

/// Free frames that are needed on a node.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum EvictGoal {
    /// This many, anywhere; no more than a window has.
    Pages(usize),
    /// A whole window, contiguous.
    Window,
}

impl EvictGoal {
    fn is_met(self, node: &Node) -> bool {
        match self {
            EvictGoal::Pages(count) => node.free_pages() >= count,
            EvictGoal::Window => node.free_windows() > 0,
        }
    }
}

/// Moves all pages of the node to system memory, in one pass. Returns the number that moved.
/// [`Node::used_pages`] counts the others: pages that are pinned or locked, or for which no system
/// memory was free. A huge page needs a huge one: without a vma the kernel cannot split it.
///
/// Context: process; sleeps.
///
/// * EINTR: `interrupted` returned true between two windows
/// * ENOMEM: no memory for the arrays
pub(crate) fn evict_all(node: &Node, interrupted: impl Fn() -> bool) -> Result<usize> {
    let window = mm::window_pages();
    let mut bufs = Buffers::new(window)?;
    let mut moved = 0;

    for first in (0..node.pages()).step_by(window) {
        let nr = window.min(node.pages() - first);

        if interrupted() {
            return Err(EINTR);
        }
        if node.any_used(first..first + nr) {
            moved += evict_window(node, first, nr, &mut bufs, |_, _| true)?;
            cond_resched();
        }
    }
    Ok(moved)
}

/// Moves the least recently used windows to system memory until `goal` is met, and only windows
/// older than `before`. Returns the number of pages that moved.
///
/// The goal may be missed: the pages are pinned or in recent use, no system memory is free, or
/// others took the frames.
///
/// Context: process; sleeps. No lock of mm is held.
pub(super) fn evict_for(node: &Node, bufs: &mut Buffers, goal: EvictGoal, before: u64) -> usize {
    let mut evicted = 0;
    // Two evictions at a time would lock pages away from each other.
    let _evicting = node.lock_eviction();

    for _ in 0..MAX_WINDOWS {
        // A task that was killed meanwhile needs no frames.
        if goal.is_met(node) || node.is_closed() || fatal_signal_pending() {
            break;
        }
        let Some(pages) = node.coldest(before) else {
            break;
        };
        let moved = evict_window(node, pages.start, pages.len(), bufs, |_, _| true);

        evicted += moved.unwrap_or(0);
        if node.any_used(pages.clone()) {
            // Some of its pages are still in use: try other windows first from now on.
            node.touch(pages.start);
        }
        cond_resched();
    }
    node.evicted().add(evicted as u64);
    evicted
}

/// Moves pages of the `nr` from `first` to system memory. Returns the number that moved.
///
/// `choose` is called with the index of each folio's first page in the node and the number of its
/// pages, and returns whether it is to move.
pub(super) fn evict_window(
    node: &Node,
    first: usize,
    nr: usize,
    bufs: &mut Buffers,
    mut choose: impl FnMut(usize, usize) -> bool,
) -> Result<usize> {
    let frame = node.pfn(first).ok_or(EINVAL)?;
    let mut pages = Collected::frames(frame, nr, bufs)?;

    for i in 0..pages.len() {
        if pages.source(i) == Source::None {
            continue;
        }
        let is_huge = pages.is_huge(i);
        if !choose(first + i, if is_huge { mm::window_pages() } else { 1 }) {
            continue;
        }
        let destination = if is_huge {
            NewPage::system_huge_patiently()
        } else {
            NewPage::system()
        };
        let Some(page) = destination else { break };

        pages.set_destination(i, page);
    }

    let is_huge = pages.is_huge(0);
    let done = pages.install(node.mover(Direction::Out));
    let moved = (0..nr)
        .filter(|i| done.outcome(*i) == Outcome::Moved)
        .count();
    Ok(if is_huge && moved > 0 {
        mm::window_pages()
    } else {
        moved
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Moving what a node holds to system memory, whoever uses it: everything before the node goes, and
//! what was not used for the longest time where room is wanted for something else.
//!
//! Reclaim does not come back here: system memory is asked for with no lock held that reclaim could
//! want, and nothing of the library is called by it. The charge of a page follows it
//! (`mem_cgroup_migrate()`), so that a memcg at its limit does not keep pages from leaving.

use crate::{
    mm::{
        self,
        copy::Direction,
        folio::NewPage,
        migrate::{Buffers, Collected, Outcome, Source},
    },
    node::Node,
    os::{cond_resched, fatal_signal_pending},
};
use kernel::prelude::*;

/// One pass over the node. Returns how many pages moved; [`Node::used_pages`] says what is left:
/// pages that are pinned, locked by someone else, or that system memory has no room for. A huge page
/// needs a huge one: without a vma the kernel cannot split it.
///
/// Context: process; sleeps. EINTR if `interrupted` returned true between two windows, ENOMEM if
/// there is no memory for bookkeeping.
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

/// How many windows are tried before room is given up on. One is enough, unless some of its pages are
/// held.
const ATTEMPTS: usize = 8;

/// What is wanted.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum EvictGoal {
    /// So many pages, wherever they are; no more than a window has.
    Pages(usize),
    /// A whole window, contiguous.
    Window,
}

impl EvictGoal {
    fn is_there(self, node: &Node) -> bool {
        match self {
            EvictGoal::Pages(count) => node.free_pages() >= count,
            EvictGoal::Window => node.free_windows() > 0,
        }
    }
}

/// Moves the windows that were not used for the longest time to system memory until there is `room`.
/// Returns how many pages left. There may be less room all the same, because what is in the way is
/// held by someone, was used just now, or there is no system memory for it; or because someone else
/// took it.
///
/// Context: process; sleeps. No lock of mm is held.
pub(super) fn evict_for(node: &Node, bufs: &mut Buffers, room: EvictGoal) -> usize {
    let mut evicted = 0;
    // One at a time: two would only lock pages away from each other.
    let _evicting = node.lock_eviction();

    // For a window's worth at most; others may take what is free now.
    for _ in 0..ATTEMPTS {
        // Who is killed while others are at it has no use for room.
        if room.is_there(node) || node.is_closed() || fatal_signal_pending() {
            break;
        }
        let Some(pages) = node.coldest() else {
            break;
        };
        let moved = evict_window(node, pages.start, pages.len(), bufs, |_, _| true);
        let moved = moved.unwrap_or(0);

        evicted += moved;
        if node.any_used(pages.clone()) {
            // Someone holds the rest of it, and so uses it: others come first from now on.
            node.touch(pages.start);
        }
        cond_resched();
    }
    node.evicted().add(evicted as u64);
    evicted
}

/// Moves what is `chosen` of the `nr` pages from `first`; that gets the first page of each folio,
/// counted from the start of the node, and how many it has. Returns how many pages moved.
pub(super) fn evict_window(
    node: &Node,
    first: usize,
    nr: usize,
    bufs: &mut Buffers,
    mut chosen: impl FnMut(usize, usize) -> bool,
) -> Result<usize> {
    let frame = node.pfn(first).ok_or(EINVAL)?;
    let mut pages = Collected::frames(frame, nr, bufs)?;

    for i in 0..pages.len() {
        if pages.source(i) == Source::None {
            continue;
        }
        let huge = pages.is_huge(i);
        if !chosen(first + i, if huge { mm::window_pages() } else { 1 }) {
            continue;
        }
        let destination = if huge {
            NewPage::system_huge_patiently()
        } else {
            NewPage::system()
        };
        let Some(page) = destination else { break };

        pages.set_destination(i, page);
    }

    let huge = pages.is_huge(0);
    let done = pages.install(node.mover(Direction::Out));
    let moved = (0..nr)
        .filter(|i| done.outcome(*i) == Outcome::Moved)
        .count();
    Ok(if huge && moved > 0 {
        mm::window_pages()
    } else {
        moved
    })
}

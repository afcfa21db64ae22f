// SPDX-License-Identifier: GPL-2.0

//! Moving everything that a node holds to system memory, whoever uses it: before the node goes.

use crate::{
    mm::{
        self,
        copy::Direction,
        folio::NewPage,
        migrate::{Buffers, Collected, Outcome, Source},
    },
    node::Node,
    os::cond_resched,
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
            moved += evict_window(node, first, nr, &mut bufs)?;
            cond_resched();
        }
    }
    Ok(moved)
}

fn evict_window(node: &Node, first: usize, nr: usize, bufs: &mut Buffers) -> Result<usize> {
    let first = node.pfn(first).ok_or(EINVAL)?;
    let mut pages = Collected::frames(first, nr, bufs)?;

    for i in 0..pages.len() {
        let destination = match pages.source(i) {
            Source::Page { .. } if pages.is_huge(i) => NewPage::system_huge_patiently(),
            Source::Page { .. } => NewPage::system(),
            _ => continue,
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

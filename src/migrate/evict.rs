// SPDX-License-Identifier: GPL-2.0

//! Moving everything that a node holds to system memory, whoever uses it: before the node goes.

use crate::{
    mm::{
        folio::NewPage,
        migrate::{Buffers, Collected, Outcome, Source},
    },
    node::Node,
    os::cond_resched,
};
use kernel::prelude::*;

/// One pass over the node. Returns how many pages moved; [`Node::used_pages`] says what is left:
/// pages that are pinned, locked by someone else, or that system memory has no room for.
///
/// Context: process; sleeps. Nobody may take pages from the node meanwhile. ENOMEM if there is no
/// memory for bookkeeping.
pub(crate) fn evict_all(node: &Node) -> Result<usize> {
    let window = node.window_pages();
    let mut bufs = Buffers::new(window)?;
    let mut moved = 0;

    for first in (0..node.pages()).step_by(window) {
        let nr = window.min(node.pages() - first);

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
        if let Source::Page { .. } = pages.source(i) {
            match NewPage::system() {
                Some(page) => pages.set_destination(i, page),
                None => break,
            }
        }
    }

    let mut done = pages.install();
    let moved = (0..nr)
        .filter(|i| done.outcome(*i) == Outcome::Moved)
        .count();
    done.copy();
    Ok(moved)
}

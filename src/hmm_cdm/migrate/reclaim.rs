// SPDX-License-Identifier: GPL-2.0

//! Moving what cgroups have on a node to system memory, when a limit of theirs is set below what they
//! have.
//!
//! What was not used for the longest time goes first, but what is protected by a `dmem.low` only if
//! the rest is not enough.

use super::evict::evict_window;
use crate::{
    mm::{self, migrate::Buffers},
    node::{Node, Victims},
    os::{
        cond_resched,
        dmem::{Limit, Reclaim},
        fatal_signal_pending,
    },
};
use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
};

/// What frees pages of a node for cgroups.
#[pin_data]
pub(crate) struct Reclaimer {
    // Held as long as pages are moved, and the reference is given up by nobody else but
    // [`Self::end`]: a node that goes unregisters its region, which waits for us.
    #[pin]
    node: Mutex<Option<Arc<Node>>>,
}

impl Reclaimer {
    /// Has nothing to do yet. ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { node <- new_mutex!(None, "Reclaimer::node") }),
            GFP_KERNEL,
        )
    }

    /// Begins to free pages of `node`.
    pub(crate) fn begin(&self, node: Arc<Node>) {
        *self.node.lock() = Some(node);
    }

    /// Waits until nothing is freed any more. Nothing will be, and the node is not referred to.
    pub(crate) fn end(&self) {
        let node = self.node.lock().take();

        drop(node);
    }
}

impl Reclaim for Reclaimer {
    fn reclaim(&self, limit: Limit<'_>, bytes: u64) -> Result {
        let node = self.node.lock();
        let node = node.as_ref().ok_or(ENODEV)?;
        let want = usize::try_from(bytes)?.div_ceil(PAGE_SIZE);
        let mut hit_low = false;
        let victims = node.victims(limit, false, &mut hit_low)?;
        let mut moved = evict(node, &victims, want)?;

        if moved < want && hit_low {
            let victims = node.victims(limit, true, &mut hit_low)?;

            moved += evict(node, &victims, want - moved)?;
        }
        if moved > 0 {
            Ok(())
        } else {
            Err(ENOSPC)
        }
    }
}

/// Moves `want` pages, or a few more where they are huge, or as many as can be moved. Returns how
/// many.
fn evict(node: &Node, victims: &Victims<'_>, want: usize) -> Result<usize> {
    let mut bufs = Buffers::new(mm::window_pages())?;
    let mut moved = 0;
    // Two would only lock pages away from each other.
    let _evicting = node.lock_eviction();

    for pages in &node.coldest_first()? {
        if moved >= want {
            break;
        }
        if fatal_signal_pending() {
            return Err(EINTR);
        }
        if victims.any(pages.clone()) {
            let mut left = want - moved;

            moved += evict_window(node, pages.start, pages.len(), &mut bufs, |index, pages| {
                let chosen = left > 0 && victims.contains(index);

                if chosen {
                    left = left.saturating_sub(pages);
                }
                chosen
            })?;
            cond_resched();
        }
    }
    Ok(moved)
}

// SPDX-License-Identifier: GPL-2.0

//! Moving the pages of cgroups from a node to system memory, when one of their limits is set below
//! their usage.
//!
//! The least recently used windows go first. Pages protected by a `dmem.low` go only if the others
//! are not enough.

use super::evict::evict_window;
use crate::{
    mm::{
        self,
        migrate::Buffers, //
    },
    node::{
        Node,
        Victims, //
    },
    os::{
        cond_resched,
        dmem::{
            Limit,
            Reclaim, //
        },
        fatal_signal_pending, //
    },
};
use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// Reclaims pages of a node for cgroups.
#[pin_data]
pub(crate) struct Reclaimer {
    // Locked while pages are moved. Only `end()` drops the reference: dropping a node unregisters
    // its region, which waits for `reclaim()`.
    #[pin]
    node: Mutex<Option<Arc<Node>>>,
}

impl Reclaimer {
    /// Makes a reclaimer without a node. ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { node <- new_mutex!(None, "Reclaimer::node") }),
            GFP_KERNEL,
        )
    }

    /// Begins to reclaim pages of `node`.
    pub(crate) fn begin(&self, node: Arc<Node>) {
        *self.node.lock() = Some(node);
    }

    /// Waits for a running reclaim, and drops the reference to the node. Nothing is reclaimed after
    /// that.
    pub(crate) fn end(&self) {
        let node = self.node.lock().take();

        drop(node);
    }
}

impl Reclaim for Reclaimer {
    fn reclaim(&self, limit: Limit<'_>, bytes: u64) -> Result {
        let node = self.node.lock();
        let node = node.as_ref().ok_or(ENODEV)?;
        let wanted = usize::try_from(bytes)?.div_ceil(PAGE_SIZE);
        let mut hit_low = false;
        let victims = node.victims(limit, false, &mut hit_low)?;
        let mut moved = evict(node, &victims, wanted)?;

        if moved < wanted && hit_low {
            let victims = node.victims(limit, true, &mut hit_low)?;

            moved += evict(node, &victims, wanted - moved)?;
        }
        if moved > 0 {
            Ok(())
        } else {
            Err(ENOSPC)
        }
    }
}

/// Moves `wanted` pages of the victims, or a few more if they are huge. Returns the number that
/// moved, which may be smaller.
fn evict(node: &Node, victims: &Victims<'_>, wanted: usize) -> Result<usize> {
    let mut bufs = Buffers::new(mm::window_pages())?;
    let mut moved = 0;
    // Two evictions at a time would lock pages away from each other.
    let _evicting = node.lock_eviction();

    for pages in &node.coldest_first()? {
        if moved >= wanted {
            break;
        }
        if fatal_signal_pending() {
            return Err(EINTR);
        }
        if victims.any(pages.clone()) {
            let mut left = wanted - moved;

            moved += evict_window(node, pages.start, pages.len(), &mut bufs, |index, pages| {
                let is_victim = left > 0 && victims.contains(index);

                if is_victim {
                    left = left.saturating_sub(pages);
                }
                is_victim
            })?;
            cond_resched();
        }
    }
    Ok(moved)
}

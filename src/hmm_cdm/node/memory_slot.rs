// SPDX-License-Identifier: GPL-2.0

//! A device's slot for its memory: a device may exist, and mirror address spaces, before its memory
//! is plugged in and after it was removed.

use super::Node;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};

/// A device's slot for its memory.
#[pin_data]
pub struct MemorySlot {
    #[pin]
    node: SpinLock<Option<Arc<Node>>>,
}

impl MemorySlot {
    /// Makes an empty slot. ENOMEM.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { node <- new_spinlock!(None, "MemorySlot::node") }),
            GFP_KERNEL,
        )
    }

    /// Returns the node, if there is one. Removal waits until the reference is dropped, so callers
    /// keep it only for the operation at hand, and drop it in process context with no lock held.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.node.lock().clone()
    }

    /// Plugs a node in. Returns it if the slot is not empty.
    pub(crate) fn plug(&self, node: Arc<Node>) -> Result<(), Arc<Node>> {
        let mut slot = self.node.lock();

        if slot.is_some() {
            drop(slot);
            return Err(node);
        }
        *slot = Some(node);
        Ok(())
    }

    /// Removes the node from the slot.
    pub(crate) fn unplug(&self) -> Option<Arc<Node>> {
        self.node.lock().take()
    }
}

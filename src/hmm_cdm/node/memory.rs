// SPDX-License-Identifier: GPL-2.0

//! The place in a device that its memory is plugged into: a device may be there, and mirror address
//! spaces, before its memory comes and after it has gone.

use super::Node;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{Arc, SpinLock},
};

/// The memory that a device has at the moment, or none.
#[pin_data]
pub struct Memory {
    #[pin]
    node: SpinLock<Option<Arc<Node>>>,
}

impl Memory {
    /// No memory. ENOMEM.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { node <- new_spinlock!(None, "Memory::node") }),
            GFP_KERNEL,
        )
    }

    /// The node. The reference is for the work at hand: removal waits for its end. It is given up
    /// in process context, with no lock held.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.node.lock().clone()
    }

    /// Plugs a node in. EBUSY if there is one; then it is handed back.
    pub(crate) fn plug(&self, node: Arc<Node>) -> Result<(), Arc<Node>> {
        let mut slot = self.node.lock();

        if slot.is_some() {
            drop(slot);
            return Err(node);
        }
        *slot = Some(node);
        Ok(())
    }

    /// Takes the node out.
    pub(crate) fn unplug(&self) -> Option<Arc<Node>> {
        self.node.lock().take()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Memory in the device tree: the coherent memory of devices, as the firmware of POWER9 describes
//! it, and whether there is memory at an address.
//!
//! The memory of a device has a node of its own. The kernel does not use it as RAM if the size in
//! `linux,usable-memory` is zero. The node of a device points to it with `memory-region`.
//! Documentation/device-tree.rst has the requirements on both, and the messages about nodes that
//! are refused.

mod cdm_node;

use crate::os::of::DeviceNode;
use cdm_node::{
    CdmNode,
    TreeRange,
    COMPATIBLE, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::aref::ARef, //
};

const MEMORY_REGION: &CStr = c"memory-region";

/// Returns the nodes that claim to be coherent device memory;
/// [`Region::of_node`](super::region::Region::of_node) checks whether they are.
pub fn memories() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_compatible(COMPATIBLE)
}

/// Returns the nodes of PCI devices that point to memory; [`Pointer::of_node`] checks whether it is
/// coherent device memory.
pub fn pci_devices() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_with_property(MEMORY_REGION).filter(|node| {
        let bus = node.parent();

        // The types that of_bus_pci_match() in drivers/of/address.c knows and POWER9 has.
        bus.is_some_and(|bus| matches!(bus.string(c"device_type"), Some(b"pci" | b"pciex")))
    })
}

/// The pointer from a device to its memory.
pub struct Pointer {
    memory: ARef<DeviceNode>,
    target: Option<u64>,
}

/// Why a pointer is refused.
enum PointerError {
    Missing,
    Dangling,
    NotCoherent(ARef<DeviceNode>),
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointerError::Missing => write!(f, "it has no memory-region"),
            PointerError::Dangling => write!(f, "its memory-region points to nothing"),
            PointerError::NotCoherent(node) => f.write_fmt(fmt!(
                "its memory-region, {}, is no coherent device memory",
                &**node
            )),
        }
    }
}

impl Pointer {
    /// Follows the `memory-region` of a device's node. A node without one may have `ibm,npu`, which
    /// points to a node that has: on POWER9 a GPU is connected by NVLink bridges, and these PCI
    /// devices have the property.
    ///
    /// ENODEV if there is no pointer, or not to coherent device memory; the log says which.
    pub fn of_node(device: &DeviceNode) -> Result<Self> {
        Self::follow(device).map_err(|error| {
            pr_err!("{device}: {error}\n");
            ENODEV
        })
    }

    /// Does the same, without a message: for devices that need not have such memory.
    pub fn find(device: &DeviceNode) -> Option<Self> {
        Self::follow(device).ok()
    }

    fn follow(device: &DeviceNode) -> Result<Self, PointerError> {
        let bridge = match device.property(MEMORY_REGION) {
            Some(_) => None,
            None => device.points_to(c"ibm,npu"),
        };
        let from = bridge.as_deref().unwrap_or(device);

        if from.property(MEMORY_REGION).is_none() {
            return Err(PointerError::Missing);
        }
        let memory = from
            .points_to(MEMORY_REGION)
            .ok_or(PointerError::Dangling)?;
        if memory.string(c"compatible") != Some(COMPATIBLE.to_bytes()) {
            return Err(PointerError::NotCoherent(memory));
        }
        let target = from.property(c"ibm,device-tgt-addr");
        Ok(Self {
            memory,
            target: target.and_then(|value| Some(u64::from_be_bytes(value.try_into().ok()?))),
        })
    }

    /// Returns the memory's node.
    pub fn memory(&self) -> &ARef<DeviceNode> {
        &self.memory
    }

    /// Returns the address at which the device itself sees the memory: `ibm,device-tgt-addr`.
    pub fn target(&self) -> Option<u64> {
        self.target
    }
}

/// Returns the range and the NUMA node of coherent device memory. Errors, which are logged, are
/// those of [`Region::of_node`](super::region::Region::of_node).
pub(super) fn cdm_range(node: &DeviceNode) -> Result<(TreeRange, i32)> {
    let entry = CdmNode {
        compatible: node.string(c"compatible"),
        available: node.is_available(),
        reg: node.property(c"reg"),
        usable: node.property(c"linux,usable-memory"),
        cells: node.cells(),
        nid: node.nid(),
    };

    entry.check().map_err(|error| {
        pr_err!("{node}: {error}\n");
        error.errno()
    })
}

/// Returns the nodes that describe memory of any kind.
fn all_memory() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_of_type(c"memory").filter(|node| node.is_available())
}

/// Returns the ranges in a node's `reg`: none if that is missing or malformed.
fn ranges(node: &DeviceNode) -> impl Iterator<Item = TreeRange> + '_ {
    let reg = node.property(c"reg");

    reg.and_then(|reg| cdm_node::ranges(reg, node.cells()))
        .into_iter()
        .flatten()
}

/// Returns whether the tree has memory at all of the addresses.
///
/// Also true where the tree is not the authority: on architectures other than powerpc EFI may
/// describe the memory, and the tree's nodes then mean nothing.
pub(super) fn has_memory(start: u64, size: u64) -> bool {
    !cfg!(CONFIG_PPC)
        || all_memory().next().is_none()
        || cdm_node::is_covered(start, size, |at| {
            all_memory()
                .filter_map(|node| ranges(&node).filter_map(|part| part.end_after(at)).max())
                .max()
        })
}

/// Returns the NUMA node of the memory at an address, if the tree has one.
pub(super) fn nid_of(start: u64) -> Option<i32> {
    all_memory()
        .find(|node| ranges(node).any(|part| part.end_after(start).is_some()))
        .and_then(|node| node.nid())
}

// SPDX-License-Identifier: GPL-2.0

//! Memory in the device tree: that of devices, as the firmware of POWER9 describes it, and whether
//! there is any at an address.
//!
//! The memory of a device is a node of its own, and the kernel leaves it alone if its
//! `linux,usable-memory` has a size of zero. A device's node points to it with `memory-region`. What is
//! asked of both, and what is said of those that are refused, is in
//! Documentation/device-tree.rst.

mod entry;

use super::region::Region;
use crate::os::of::DeviceNode;
use entry::{CdmNode, TreeRange};
use kernel::{device::Device, fmt, prelude::*, sync::aref::ARef};

/// What the memory of a device is compatible with, before anything else.
const COMPATIBLE: &CStr = c"ibm,coherent-device-memory";
const MEMORY_REGION: &CStr = c"memory-region";

/// The nodes that call themselves coherent device memory; [`Region::of_node`] checks whether they
/// are.
pub fn memories() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_compatible(COMPATIBLE)
}

/// The PCI devices that point to memory; [`Pointer::of_node`] checks whether it is coherent device
/// memory.
pub fn pci_devices() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_with_property(MEMORY_REGION).filter(|node| {
        let bus = node.parent();

        // The types that of_bus_pci_match() in drivers/of/address.c knows and POWER9 has.
        bus.is_some_and(|bus| matches!(bus.string(c"device_type"), Some(b"pci" | b"pciex")))
    })
}

/// A device's pointer to its memory.
pub struct Pointer {
    memory: ARef<DeviceNode>,
    target: Option<u64>,
}

/// What is wrong with a pointer.
enum TreeError {
    Missing,
    Dangling,
    NotCoherent(ARef<DeviceNode>),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeError::Missing => write!(f, "it has no memory-region"),
            TreeError::Dangling => write!(f, "its memory-region points to nothing"),
            TreeError::NotCoherent(node) => f.write_fmt(fmt!(
                "its memory-region, {}, is no coherent device memory",
                &**node
            )),
        }
    }
}

impl Pointer {
    /// Follows the `memory-region` of a device's node, or else that of the link which its `ibm,npu`
    /// points to: on POWER9 a GPU hangs on NVLink bridges, which are PCI devices with nodes of
    /// their own, and these have the property.
    ///
    /// ENODEV if there is none, or it is not of coherent device memory. That is in the kernel's
    /// log.
    pub fn of_node(device: &DeviceNode) -> Result<Self> {
        Self::follow(device).map_err(|fault| {
            pr_err!("{device}: {fault}\n");
            ENODEV
        })
    }

    /// The same, without a word in the log: for devices that need not have such memory.
    pub fn find(device: &DeviceNode) -> Option<Self> {
        Self::follow(device).ok()
    }

    fn follow(device: &DeviceNode) -> Result<Self, TreeError> {
        let bridge = match device.property(MEMORY_REGION) {
            Some(_) => None,
            None => device.points_to(c"ibm,npu"),
        };
        let from = bridge.as_deref().unwrap_or(device);

        if from.property(MEMORY_REGION).is_none() {
            return Err(TreeError::Missing);
        }
        let memory = from.points_to(MEMORY_REGION).ok_or(TreeError::Dangling)?;
        if memory.string(c"compatible") != Some(COMPATIBLE.to_bytes()) {
            return Err(TreeError::NotCoherent(memory));
        }
        let target = from.property(c"ibm,device-tgt-addr");
        Ok(Self {
            memory,
            target: target.and_then(|value| Some(u64::from_be_bytes(value.try_into().ok()?))),
        })
    }

    /// The memory's node.
    pub fn memory(&self) -> &ARef<DeviceNode> {
        &self.memory
    }

    /// The address at which the device itself sees the memory: `ibm,device-tgt-addr`.
    pub fn target(&self) -> Option<u64> {
        self.target
    }
}

impl Region {
    /// The region of a node that is coherent device memory. What is wrong with it is in the
    /// kernel's log; what [`Region::check`] asks comes on top of it.
    ///
    /// * ENODEV: its first compatible string is another, or its status is not okay
    /// * EINVAL: `reg` is missing, no pair of address and size, more than one, or empty;
    ///   `linux,usable-memory` is no such pair; the cells of addresses and sizes are not 1 or 2
    /// * EBUSY: `linux,usable-memory` is missing or has a size: the kernel uses the memory as RAM
    /// * ENXIO: the kernel has no NUMA node for it
    /// * ENOMEM
    pub fn of_node(node: &DeviceNode) -> Result<Self> {
        let entry = CdmNode {
            compatible: node.string(c"compatible"),
            available: node.is_available(),
            reg: node.property(c"reg"),
            usable: node.property(c"linux,usable-memory"),
            cells: node.cells(),
            nid: node.nid(),
        };
        let (extent, nid) = entry.check().map_err(|fault| {
            pr_err!("{node}: {fault}\n");
            fault.errno()
        })?;

        Ok(Self {
            origin: Some(node.to_path()?),
            ..Self::new(extent.start, extent.size, Some(nid))
        })
    }

    /// The memory of a device, by the device's own node: what the driver of a GPU calls with its
    /// PCI device. Errors are those of [`Pointer::of_node`], which is for devices that need
    /// [`Pointer::target`], too, and of [`Region::of_node`].
    pub fn of_device(device: &Device) -> Result<Self> {
        let node = DeviceNode::of_device(device).ok_or(ENODEV)?;

        Self::of_node(Pointer::of_node(&node)?.memory())
    }
}

/// The nodes that describe memory of any kind.
fn all_memory() -> impl Iterator<Item = ARef<DeviceNode>> {
    DeviceNode::all_of_type(c"memory").filter(|node| node.is_available())
}

/// The ranges of a node's `reg`; none if it has none, or a broken one.
fn extents(node: &DeviceNode) -> impl Iterator<Item = TreeRange> + '_ {
    let reg = node.property(c"reg");

    reg.and_then(|reg| entry::extents(reg, node.cells()))
        .into_iter()
        .flatten()
}

/// Whether the tree has memory at all of the addresses. True where it is not the tree that says so:
/// on other architectures than powerpc EFI may have a say, and the tree's nodes then mean nothing.
pub(super) fn has_memory(start: u64, size: u64) -> bool {
    !cfg!(CONFIG_PPC)
        || all_memory().next().is_none()
        || entry::is_covered(start, size, |at| {
            all_memory()
                .filter_map(|node| extents(&node).filter_map(|part| part.end_after(at)).max())
                .max()
        })
}

/// The NUMA node of the memory at the address, if the tree says.
pub(super) fn nid_of(start: u64) -> Option<i32> {
    all_memory()
        .find(|node| extents(node).any(|part| part.end_after(start).is_some()))
        .and_then(|node| node.nid())
}

// SPDX-License-Identifier: GPL-2.0

//! A node of the device tree: `struct device_node`.
//!
//! Without `CONFIG_OF` there are no nodes: everything here compiles, and finds nothing.
//!
//! C files: `drivers/of/base.c`, `include/linux/of.h`.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    device::Device,
    ffi::c_int,
    fmt,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc, //
    },
    types::Opaque, //
};

/// The size of the buffer for a path that is shown. Longer paths are truncated.
const PATH_MAX: usize = 256;

/// A node of the device tree. Use it when it is found, and do not keep it: a reference keeps the
/// node but not its parent, once an overlay or the hypervisor has detached both
/// (`__of_detach_node()` in drivers/of/dynamic.c). Paths, cells and NUMA nodes are looked up
/// through the parent. Keep a [`NodePath`] instead.
///
/// # Invariants
///
/// It is a valid `struct device_node`. While there is a reference to it, its reference count is
/// above zero.
#[repr(transparent)]
pub struct DeviceNode(Opaque<bindings::device_node>);

// SAFETY: `of_node_put()` may be called by any task.
unsafe impl Send for DeviceNode {}
// SAFETY: The functions called on shared nodes take `devtree_lock` where they need it. What they
// read without the lock is constant: properties only move from one list to another.
unsafe impl Sync for DeviceNode {}

// SAFETY: `of_node_get()` keeps a node valid until the matching `of_node_put()`.
unsafe impl AlwaysRefCounted for DeviceNode {
    fn inc_ref(&self) {
        // SAFETY: By the type invariants the reference count is above zero.
        unsafe { bindings::hmm_cdm_helper_of_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the trait's safety requirements the caller gives up a reference.
        unsafe { bindings::hmm_cdm_helper_of_put(obj.as_ptr().cast()) };
    }
}

/// Writes the full path.
impl fmt::Display for DeviceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; PATH_MAX];

        fmt::Display::fmt(BStr::from_bytes(self.path(&mut buffer)), f)
    }
}

/// The full path of a node, at the time of [`DeviceNode::to_path`].
#[derive(Clone)]
pub struct NodePath(Arc<CString>);

impl NodePath {
    /// Returns the path without a trailing NUL.
    pub fn to_bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(BStr::from_bytes(self.to_bytes()), f)
    }
}

/// What [`DeviceNode::find`] looks for.
#[derive(Copy, Clone)]
enum What {
    Compatible(&'static CStr),
    Type(&'static CStr),
    Property(&'static CStr),
}

impl DeviceNode {
    /// Takes a reference to a node that C code passes; `None` if it is null.
    ///
    /// # Safety
    ///
    /// `node` is null, or the caller has a reference to it.
    pub(crate) unsafe fn from_raw(node: *mut bindings::device_node) -> Option<ARef<Self>> {
        let node = NonNull::new(node)?;

        // SAFETY: By the safety requirements the caller's reference keeps it valid. The type is a
        // transparent wrapper.
        Some(unsafe { node.cast::<Self>().as_ref() }.into())
    }

    /// Returns the nodes that have `name` among their compatible strings.
    pub fn all_compatible(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Compatible(name))
    }

    /// Returns the nodes of this `device_type`.
    pub fn all_of_type(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Type(name))
    }

    /// Returns the nodes that have a property of this name.
    pub fn all_with_property(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Property(name))
    }

    fn find(what: What) -> impl Iterator<Item = ARef<Self>> {
        let mut last: Option<ARef<Self>> = None;

        core::iter::from_fn(move || {
            // The C functions search after `from`, and drop the reference to it.
            let from = last
                .take()
                .map_or(core::ptr::null_mut(), |node| ARef::into_raw(node).as_ptr())
                .cast();
            // SAFETY: The C functions require null, or a node whose reference the caller gives up,
            // as `from` is. The names are static.
            let next = unsafe {
                match what {
                    What::Compatible(name) => {
                        bindings::hmm_cdm_helper_of_next_compatible(from, name.as_char_ptr())
                    }
                    What::Type(name) => {
                        bindings::hmm_cdm_helper_of_next_of_type(from, name.as_char_ptr())
                    }
                    What::Property(name) => {
                        bindings::hmm_cdm_helper_of_next_with_property(from, name.as_char_ptr())
                    }
                }
            };

            // SAFETY: The C functions return a node with a reference.
            last = unsafe { Self::adopt(next) };
            last.clone()
        })
    }

    /// # Safety
    ///
    /// `node` is null, or the caller gives up a reference to it.
    unsafe fn adopt(node: *mut bindings::device_node) -> Option<ARef<Self>> {
        // SAFETY: By the safety requirements the new value owns the reference.
        NonNull::new(node.cast()).map(|node| unsafe { ARef::from_raw(node) })
    }

    /// Returns the node of a device, if the device comes from the tree.
    pub fn of_device(device: &Device) -> Option<ARef<Self>> {
        let raw = core::ptr::from_ref(device).cast_mut().cast();

        // SAFETY: `Device` is a transparent wrapper of a valid `struct device`. The node comes with
        // a reference.
        unsafe { Self::adopt(bindings::hmm_cdm_helper_of_of_device(raw)) }
    }

    fn as_raw(&self) -> *mut bindings::device_node {
        self.0.get()
    }

    /// Returns the full path as a value that can be kept. ENOMEM.
    pub fn to_path(&self) -> Result<NodePath> {
        let path = CString::try_from_fmt(fmt!("{self}"))?;

        Ok(NodePath(Arc::new(path, GFP_KERNEL)?))
    }

    /// Returns the full path, truncated to one byte less than the buffer.
    fn path<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        // SAFETY: By the type invariants the node is valid. The helper writes up to `len` bytes.
        let len = unsafe {
            bindings::hmm_cdm_helper_of_path(self.as_raw(), buffer.as_mut_ptr(), buffer.len())
        };

        buffer.get(..len).unwrap_or_default()
    }

    /// Returns the value of a property, in which numbers are big endian. `None` or empty if it has
    /// no value.
    pub fn property(&self, name: &CStr) -> Option<&[u8]> {
        let mut len: c_int = 0;
        // SAFETY: By the type invariants the node is valid.
        let value = unsafe {
            bindings::hmm_cdm_helper_of_property(self.as_raw(), name.as_char_ptr(), &mut len)
        };
        let len = usize::try_from(len).ok()?;

        if value.is_null() {
            return None;
        }
        // SAFETY: `of_get_property()` has returned this length. A property that is removed or
        // replaced stays in memory as long as its node (`deadprops`), and its value is constant.
        Some(unsafe { core::slice::from_raw_parts(value.cast(), len) })
    }

    /// Returns the first string of a property.
    pub fn string(&self, name: &CStr) -> Option<&[u8]> {
        self.property(name)?.split(|byte| *byte == 0).next()
    }

    /// Returns the node that the first phandle of a property points to.
    pub fn points_to(&self, name: &CStr) -> Option<ARef<Self>> {
        // SAFETY: By the type invariants the node is valid. The result comes with a reference.
        unsafe {
            Self::adopt(bindings::hmm_cdm_helper_of_phandle(
                self.as_raw(),
                name.as_char_ptr(),
            ))
        }
    }

    /// Returns the parent; `None` for the root.
    pub fn parent(&self) -> Option<ARef<Self>> {
        // SAFETY: By the type invariants the node is valid. The result comes with a reference.
        unsafe { Self::adopt(bindings::hmm_cdm_helper_of_parent(self.as_raw())) }
    }

    /// Returns the numbers of 32-bit cells that an address and a size have in the node's `reg`.
    pub fn cells(&self) -> (usize, usize) {
        // SAFETY: By the type invariants the node is valid.
        let cells = unsafe {
            (
                bindings::hmm_cdm_helper_of_addr_cells(self.as_raw()),
                bindings::hmm_cdm_helper_of_size_cells(self.as_raw()),
            )
        };

        // Numbers that do not fit become zero, which callers refuse.
        (
            cells.0.try_into().unwrap_or(0),
            cells.1.try_into().unwrap_or(0),
        )
    }

    /// Returns the NUMA node of this device tree node; on powerpc, if it has none of its own, that
    /// of the closest ancestor with one. `None` if the kernel has none for it, as with `numa=off`.
    pub fn nid(&self) -> Option<i32> {
        // SAFETY: By the type invariants the node is valid.
        let nid = unsafe { bindings::hmm_cdm_helper_of_nid(self.as_raw()) };

        (nid >= 0).then_some(nid)
    }

    /// Returns whether the node's status is "okay", or missing.
    pub fn is_available(&self) -> bool {
        // SAFETY: By the type invariants the node is valid.
        unsafe { bindings::hmm_cdm_helper_of_available(self.as_raw()) }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A node of the device tree: `struct device_node`.
//!
//! A kernel without `CONFIG_OF` has no nodes; everything here compiles, and finds nothing.
//!
//! C files: `drivers/of/base.c`, `include/linux/of.h`.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    device::Device,
    ffi::c_int,
    fmt,
    prelude::*,
    str::{BStr, CString},
    sync::{
        aref::{ARef, AlwaysRefCounted},
        Arc,
    },
    types::Opaque,
};

/// A path that is longer is cut where it is shown.
const PATH_MAX: usize = 256;

/// A node of the device tree, to be looked at when it is found and not to be kept: a reference keeps
/// the node, but not the one above it once an overlay or the hypervisor has taken both out of the
/// tree (`__of_detach_node()` in drivers/of/dynamic.c), and paths, cells and NUMA nodes are looked
/// up through that. What is to stay is a [`NodePath`].
///
/// # Invariants
///
/// It is a valid `struct device_node`, whose reference count is above zero while there is a
/// reference to it.
#[repr(transparent)]
pub struct DeviceNode(Opaque<bindings::device_node>);

// SAFETY: Nodes belong to no task; of_node_put() may be called by any.
unsafe impl Send for DeviceNode {}
// SAFETY: The functions called on shared nodes take the locks that they need (`devtree_lock`), and
// what is read without is never changed: properties are only moved from one list to another.
unsafe impl Sync for DeviceNode {}

// SAFETY: `of_node_get()` keeps a node until the matching `of_node_put()`.
unsafe impl AlwaysRefCounted for DeviceNode {
    fn inc_ref(&self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::hmm_cdm_helper_of_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { bindings::hmm_cdm_helper_of_put(obj.as_ptr().cast()) };
    }
}

/// Its full path.
impl fmt::Display for DeviceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; PATH_MAX];

        fmt::Display::fmt(BStr::from_bytes(self.path(&mut buffer)), f)
    }
}

/// The full path of a node, as it was when it was asked for.
#[derive(Clone)]
pub struct NodePath(Arc<CString>);

impl NodePath {
    /// The path without a NUL behind it.
    pub fn to_bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(BStr::from_bytes(self.to_bytes()), f)
    }
}

/// What [`DeviceNode::find`] looks for. The strings are those of the C functions.
#[derive(Copy, Clone)]
enum What {
    Compatible(&'static CStr),
    Type(&'static CStr),
    Property(&'static CStr),
}

impl DeviceNode {
    /// Takes a reference on a node that C has; `None` if it is null.
    ///
    /// # Safety
    ///
    /// `node` is null or a node that the caller holds a reference on.
    pub(crate) unsafe fn from_raw(node: *mut bindings::device_node) -> Option<ARef<Self>> {
        let node = NonNull::new(node)?;

        // SAFETY: By the safety requirements; the type is transparent.
        Some(unsafe { node.cast::<Self>().as_ref() }.into())
    }

    /// All nodes that have `name` among their compatible strings, wherever in the list.
    pub fn all_compatible(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Compatible(name))
    }

    /// All nodes with this `device_type`.
    pub fn all_of_type(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Type(name))
    }

    /// All nodes that have a property of this name.
    pub fn all_with_property(name: &'static CStr) -> impl Iterator<Item = ARef<Self>> {
        Self::find(What::Property(name))
    }

    fn find(what: What) -> impl Iterator<Item = ARef<Self>> {
        let mut last: Option<ARef<Self>> = None;

        core::iter::from_fn(move || {
            // The C functions drop a reference on the node to start after, which is this one.
            let from = last
                .take()
                .map_or(core::ptr::null_mut(), |node| ARef::into_raw(node).as_ptr())
                .cast();
            // SAFETY: `from` is null or a node on which we give up a reference.
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

            // SAFETY: It comes with a reference.
            last = unsafe { Self::adopt(next) };
            last.clone()
        })
    }

    /// # Safety
    ///
    /// `node` is null, or a node on which the caller gives a reference away.
    unsafe fn adopt(node: *mut bindings::device_node) -> Option<ARef<Self>> {
        // SAFETY: By the safety requirements.
        NonNull::new(node.cast()).map(|node| unsafe { ARef::from_raw(node) })
    }

    /// The node of a device, if the device comes from the tree.
    pub fn of_device(device: &Device) -> Option<ARef<Self>> {
        let raw = core::ptr::from_ref(device).cast_mut().cast();

        // SAFETY: `Device` is a transparent wrapper of a valid `struct device`; the result comes
        // with a reference.
        unsafe { Self::adopt(bindings::hmm_cdm_helper_of_of_device(raw)) }
    }

    fn as_raw(&self) -> *mut bindings::device_node {
        self.0.get()
    }

    /// Its full path, to be kept. ENOMEM.
    pub fn to_path(&self) -> Result<NodePath> {
        let path = CString::try_from_fmt(fmt!("{self}"))?;

        Ok(NodePath(Arc::new(path, GFP_KERNEL)?))
    }

    /// Its full path, cut to what the buffer has room for but for one byte.
    fn path<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        // SAFETY: By the type invariants; the buffer has the length that is said.
        let len = unsafe {
            bindings::hmm_cdm_helper_of_path(self.as_raw(), buffer.as_mut_ptr(), buffer.len())
        };

        buffer.get(..len).unwrap_or_default()
    }

    /// The value of a property; numbers in it are big endian. `None` or empty for one without a value.
    pub fn property(&self, name: &CStr) -> Option<&[u8]> {
        let mut len: c_int = 0;
        // SAFETY: By the type invariants.
        let value = unsafe {
            bindings::hmm_cdm_helper_of_property(self.as_raw(), name.as_char_ptr(), &mut len)
        };
        let len = usize::try_from(len).ok()?;

        if value.is_null() {
            return None;
        }
        // SAFETY: The value has that length. A property that is removed or replaced stays in memory
        // as long as its node (`deadprops`), and nobody writes to a value.
        Some(unsafe { core::slice::from_raw_parts(value.cast(), len) })
    }

    /// The first string of a property.
    pub fn string(&self, name: &CStr) -> Option<&[u8]> {
        self.property(name)?.split(|byte| *byte == 0).next()
    }

    /// The node that the first phandle of a property points to.
    pub fn points_to(&self, name: &CStr) -> Option<ARef<Self>> {
        // SAFETY: By the type invariants; the result comes with a reference.
        unsafe {
            Self::adopt(bindings::hmm_cdm_helper_of_phandle(
                self.as_raw(),
                name.as_char_ptr(),
            ))
        }
    }

    /// The node that this one is in; `None` for the root.
    pub fn parent(&self) -> Option<ARef<Self>> {
        // SAFETY: By the type invariants; the result comes with a reference.
        unsafe { Self::adopt(bindings::hmm_cdm_helper_of_parent(self.as_raw())) }
    }

    /// How many 32-bit cells an address and a size have in the node's `reg`.
    pub fn cells(&self) -> (usize, usize) {
        // SAFETY: By the type invariants.
        let cells = unsafe {
            (
                bindings::hmm_cdm_helper_of_addr_cells(self.as_raw()),
                bindings::hmm_cdm_helper_of_size_cells(self.as_raw()),
            )
        };

        // A number beyond c_int stands for no cells, which serves nobody either.
        (
            cells.0.try_into().unwrap_or(0),
            cells.1.try_into().unwrap_or(0),
        )
    }

    /// The NUMA node that the kernel has for what the node says; on powerpc also for what one says
    /// that it is in. `None` if it has none, as with `numa=off`.
    pub fn nid(&self) -> Option<i32> {
        // SAFETY: By the type invariants.
        let nid = unsafe { bindings::hmm_cdm_helper_of_nid(self.as_raw()) };

        (nid >= 0).then_some(nid)
    }

    /// Whether its status is that of a device which can be used.
    pub fn is_available(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::hmm_cdm_helper_of_available(self.as_raw()) }
    }
}

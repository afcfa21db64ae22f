// SPDX-License-Identifier: GPL-2.0

//! A range of physical memory that a driver asks to register as a node, and the checks it must
//! pass.
//!
//! `memremap_pages()` answers most mistakes with a WARNING and some with a misleading errno. So
//! everything is checked first, and the log says what to do.

use super::device_tree;
use crate::{
    mm::pagemap::DeviceRange,
    os::{
        of::{
            DeviceNode,
            NodePath, //
        },
        resource::{
            self,
            ClaimedRange, //
        }, //
    }, //
};
use kernel::{
    device::Device,
    fmt,
    prelude::*,
    str::CString, //
};

/// A range of physical memory.
///
/// # Invariants
///
/// If [`Self::check`] and [`Self::claim`] accept the range, it is as [`Self::new`] requires.
#[derive(Clone)]
pub struct Region {
    start: u64,
    size: u64,
    nid: Option<i32>,
    origin: Option<NodePath>,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.start, self.size)?;
        if let Some(nid) = self.nid {
            write!(f, "@{nid}")?;
        }
        match &self.origin {
            Some(path) => f.write_fmt(fmt!(" of {path}")),
            None => Ok(()),
        }
    }
}

/// Why a region is refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegionError {
    Empty,
    Start(u64),
    Size(u64),
    Beyond(u64),
    NoNode(i32),
    InUse,
    #[cfg(CONFIG_X86)]
    NotReserved,
    NotInTree,
}

/// The kernel parameter that keeps the kernel off a part of RAM.
const KEEP_OFF: &str = if cfg!(CONFIG_X86) {
    "memmap=size$start"
} else {
    "mem=size, for what lies above"
};

impl RegionError {
    fn errno(self) -> Error {
        match self {
            RegionError::Empty | RegionError::Start(_) | RegionError::Size(_) => EINVAL,
            RegionError::Beyond(_) => ERANGE,
            RegionError::NoNode(_) => ENXIO,
            RegionError::InUse => EBUSY,
            #[cfg(CONFIG_X86)]
            RegionError::NotReserved => ENODEV,
            RegionError::NotInTree => ENODEV,
        }
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Empty => write!(f, "it is empty"),
            RegionError::Start(align) => write!(f, "the start has to be a multiple of {align:#x}"),
            RegionError::Size(align) => write!(f, "the size has to be a multiple of {align:#x}"),
            RegionError::Beyond(last) => {
                write!(f, "it ends beyond the last usable address, {last:#x}")
            }
            RegionError::NoNode(nid) => write!(f, "there is no NUMA node {nid}"),
            RegionError::InUse => {
                write!(f, "it is RAM in use; keep the kernel off it ({KEEP_OFF})")
            }
            #[cfg(CONFIG_X86)]
            RegionError::NotReserved => write!(
                f,
                "the firmware's map has no reserved memory there; see /proc/iomem"
            ),
            RegionError::NotInTree => write!(
                f,
                "the device tree has no memory there (device_type \"memory\")"
            ),
        }
    }
}

impl Region {
    /// Makes a region of the `size` bytes from physical address `start` on, to be registered on
    /// NUMA node `nid`; `None` asks the firmware, with node 0 as the fallback.
    ///
    /// # Safety
    ///
    /// If [`Self::check`] and [`Self::claim`] accept the range, it is memory that nothing but the
    /// caller's device uses. The kernel gives its pages to processes, and its data is lost. A
    /// driver can promise this for memory that the firmware has reserved for its device. For an
    /// address that is given to it, such as a module parameter, the administrator has to.
    ///
    /// # Examples
    ///
    /// The range is one that [`Self::check`] accepts. It refuses an ordinary PCI BAR, which the
    /// firmware's memory map does not have.
    ///
    /// ```ignore
    /// // SAFETY: The firmware has reserved the range for this device, and the driver uses none of
    /// // it itself.
    /// let region = unsafe { Region::new(reserved.start, reserved.size, None) };
    /// let registration = Registration::new(&region, driver, module)?;
    /// ```
    pub unsafe fn new(start: u64, size: u64, nid: Option<i32>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            start,
            size,
            nid,
            origin: None,
        }
    }

    /// Returns the physical address of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the device tree node that described it, if one did.
    pub fn origin(&self) -> Option<&NodePath> {
        self.origin.as_ref()
    }

    /// Makes the region of a device tree node that describes coherent device memory. The log says
    /// what is wrong with a node; [`Region::check`] checks the region itself.
    ///
    /// * ENODEV: its first compatible string is another, or its status is not okay
    /// * EINVAL: `reg` is missing or empty, or not exactly one pair of address and size;
    ///   `linux,usable-memory` is not such a pair; addresses or sizes have neither 1 nor 2 cells
    /// * EBUSY: `linux,usable-memory` is missing or not empty: the kernel uses the memory as RAM
    /// * ENXIO: the kernel has no NUMA node for it
    /// * ENOMEM
    pub fn of_node(node: &DeviceNode) -> Result<Self> {
        let (range, nid) = device_tree::cdm_range(node)?;

        // INVARIANT: The firmware describes it as coherent device memory, which the kernel does not
        // use.
        Ok(Self {
            start: range.start,
            size: range.size,
            nid: Some(nid),
            origin: Some(node.to_path()?),
        })
    }

    /// Makes the region of a device's memory from the device's own node: what the driver of a GPU
    /// calls with its PCI device. Errors are those of [`device_tree::Pointer::of_node`] and of
    /// [`Region::of_node`]; drivers that need [`device_tree::Pointer::target`] call these two
    /// themselves.
    pub fn of_device(device: &Device) -> Result<Self> {
        let node = DeviceNode::of_device(device).ok_or(ENODEV)?;

        Self::of_node(device_tree::Pointer::of_node(&node)?.memory())
    }

    /// Checks the region, as far as that is possible before it is claimed, and returns the NUMA
    /// node to use. The log says what is wrong.
    ///
    /// * EINVAL: empty, or not aligned as the kernel's memory map requires
    /// * ERANGE: outside of the physical address space, or of the linear mapping
    /// * ENXIO: no such NUMA node
    /// * EBUSY: RAM that the kernel uses
    /// * ENODEV: the firmware describes no memory there
    pub fn check(&self) -> Result<i32> {
        self.find_error().map_err(|error| {
            pr_err!("region {self}: {error}\n");
            error.errno()
        })
    }

    fn find_error(&self) -> Result<i32, RegionError> {
        let align = resource::alignment();
        let last = resource::max_address();

        if self.size == 0 {
            return Err(RegionError::Empty);
        }
        if self.start & (align - 1) != 0 {
            return Err(RegionError::Start(align));
        }
        if self.size & (align - 1) != 0 {
            return Err(RegionError::Size(align));
        }
        match self.start.checked_add(self.size - 1) {
            Some(end) if end <= last => (),
            _ => return Err(RegionError::Beyond(last)),
        }
        let nid = match self.nid {
            Some(nid) => nid,
            None => resource::nid_of(self.start)
                .or_else(|| device_tree::nid_of(self.start))
                .unwrap_or(0),
        };
        if !resource::is_possible_nid(nid) {
            return Err(RegionError::NoNode(nid));
        }
        if resource::is_system_ram(self.start, self.size) {
            return Err(RegionError::InUse);
        }
        // On x86 the firmware's memory map has the memory that exists and that the kernel does not
        // use.
        #[cfg(CONFIG_X86)]
        if !resource::is_reserved(self.start, self.size) {
            return Err(RegionError::NotReserved);
        }
        // Elsewhere the device tree may have it, even RAM that mem= keeps from the kernel. On
        // powerpc an access to an address without memory is a machine check.
        if !device_tree::has_memory(self.start, self.size) {
            return Err(RegionError::NotInTree);
        }
        Ok(nid)
    }

    /// Checks the region and claims it in `/proc/iomem`, as `name`. Returns the NUMA node to use as
    /// well. Errors are those of [`Self::check`], EBUSY if part of it is already claimed, and
    /// ENOMEM.
    pub(crate) fn claim(&self, name: CString) -> Result<(DeviceRange, i32)> {
        let nid = self.check()?;
        let claim = ClaimedRange::request(self.start, self.size, name).inspect_err(|e| {
            if *e == EBUSY {
                pr_err!("region {self}: it is taken by someone else; see /proc/iomem\n");
            }
        })?;

        // SAFETY: `DeviceRange::memory()` requires memory that nothing else uses and whose data may
        // be lost. By the type invariants what `check()` and the claim accept is such memory.
        Ok((unsafe { DeviceRange::memory(claim) }, nid))
    }
}

/// Checks the size of private memory, which has no addresses yet, and returns the NUMA node to use.
/// The log says what is wrong. EINVAL, ENXIO.
pub(super) fn check_private(size: u64, nid: Option<i32>) -> Result<i32> {
    let align = resource::alignment();
    let nid = nid.unwrap_or(0);

    let error = if size == 0 {
        RegionError::Empty
    } else if size & (align - 1) != 0 {
        RegionError::Size(align)
    } else if !resource::is_possible_nid(nid) {
        RegionError::NoNode(nid)
    } else {
        return Ok(nid);
    };
    pr_err!("private memory of {size:#x} bytes: {error}\n");
    Err(error.errno())
}

#[kunit_tests(hmm_cdm_region)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;
    use kernel::page::PAGE_SHIFT;

    /// A region that is checked, but never claimed.
    fn region(start: u64, size: u64, nid: Option<i32>) -> Region {
        // SAFETY: `Region::new()` makes requirements for ranges that are claimed. The tests claim
        // none.
        unsafe { Region::new(start, size, nid) }
    }

    fn error(start: u64, size: u64, nid: Option<i32>) -> Option<(RegionError, Error)> {
        let error = region(start, size, nid).find_error().err()?;

        Some((error, error.errno()))
    }

    /// The start of an aligned range with RAM in it that the kernel uses.
    fn ram() -> Result<u64> {
        let page = NewPage::system().ok_or(ENOMEM)?;

        Ok(((page.pfn().raw() as u64) << PAGE_SHIFT) & !(resource::alignment() - 1))
    }

    fn text(of: &dyn fmt::Display) -> Result<CString> {
        CString::try_from_fmt(fmt!("{of}"))
    }

    #[test]
    fn empty_regions() {
        let align = resource::alignment();

        assert_eq!(error(0, 0, None), Some((RegionError::Empty, EINVAL)));
        // This is reported before all other errors.
        assert_eq!(error(1, 0, Some(-1)), Some((RegionError::Empty, EINVAL)));
        assert_eq!(error(u64::MAX, 0, None), Some((RegionError::Empty, EINVAL)));
        assert!(error(align, align, None) != Some((RegionError::Empty, EINVAL)));
    }

    #[test]
    fn misaligned_regions() {
        let align = resource::alignment();
        let start = Some((RegionError::Start(align), EINVAL));
        let size = Some((RegionError::Size(align), EINVAL));

        assert_eq!(error(1, align, None), start);
        assert_eq!(error(align - 1, align, None), start);
        assert_eq!(error(align / 2, align / 2, None), start);
        assert_eq!(error(align, 1, None), size);
        assert_eq!(error(align, align - 1, None), size);
        assert_eq!(error(align, align + align / 2, None), size);
        assert_eq!(error(align, u64::MAX, None), size);
    }

    #[test]
    fn regions_beyond_the_last_address() {
        let align = resource::alignment();
        let last = resource::max_address();
        let beyond = Some((RegionError::Beyond(last), ERANGE));
        let top = u64::MAX - (align - 1);

        assert_eq!(error(last + 1, align, None), beyond);
        assert_eq!(error(last + 1 - align, 2 * align, None), beyond);
        assert_eq!(error(0, last + 1 + align, None), beyond);
        // The sum overflows, or the end is the largest number.
        assert_eq!(error(top, 2 * align, None), beyond);
        assert_eq!(error(align, top, None), beyond);
        assert_eq!(error(top, align, None), beyond);
        // The last one that fits has other errors.
        assert!(error(last + 1 - align, align, None) != beyond);
    }

    #[test]
    fn numa_nodes() -> Result {
        let align = resource::alignment();
        let ram = ram()?;

        for nid in [-1, i32::MIN, i32::MAX] {
            assert_eq!(
                error(ram, align, Some(nid)),
                Some((RegionError::NoNode(nid), ENXIO))
            );
        }
        // With a possible node, or none given, the only error left is that this is RAM in use.
        assert_eq!(
            error(ram, align, Some(0)),
            Some((RegionError::InUse, EBUSY))
        );
        assert_eq!(error(ram, align, None), Some((RegionError::InUse, EBUSY)));
        Ok(())
    }

    #[test]
    fn memory_in_use() -> Result {
        let align = resource::alignment();
        let ram = ram()?;

        // Even if only a part is in use.
        assert_eq!(
            error(ram, 2 * align, None),
            Some((RegionError::InUse, EBUSY))
        );
        assert_eq!(
            error(ram.saturating_sub(align), 2 * align, None),
            Some((RegionError::InUse, EBUSY))
        );
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_X86)]
    fn addresses_with_nothing_behind_them() {
        let align = resource::alignment();
        let end = resource::max_address() + 1 - align;

        assert_eq!(
            error(end, align, None),
            Some((RegionError::NotReserved, ENODEV))
        );
    }

    #[test]
    fn private_memory_needs_a_size_and_a_node() {
        let align = resource::alignment();

        assert_eq!(check_private(align, None), Ok(0));
        assert_eq!(check_private(align, Some(0)), Ok(0));
        assert_eq!(check_private(0, None), Err(EINVAL));
        assert_eq!(check_private(align - 1, None), Err(EINVAL));
        assert_eq!(check_private(align + align / 2, None), Err(EINVAL));
        assert_eq!(check_private(align, Some(-1)), Err(ENXIO));
        assert_eq!(check_private(align, Some(i32::MAX)), Err(ENXIO));
    }

    #[test]
    fn messages_name_what_is_wrong() -> Result {
        let placed = region(0x4000_0000, 0x20_0000, Some(1));
        let elsewhere = region(0x4000_0000, 0x20_0000, None);

        assert_eq!(text(&placed)?.to_bytes(), b"0x40000000+0x200000@1");
        assert_eq!(text(&elsewhere)?.to_bytes(), b"0x40000000+0x200000");
        assert_eq!(
            text(&RegionError::Start(0x1000))?.to_bytes(),
            b"the start has to be a multiple of 0x1000"
        );
        assert_eq!(
            text(&RegionError::NoNode(-1))?.to_bytes(),
            b"there is no NUMA node -1"
        );
        Ok(())
    }
}

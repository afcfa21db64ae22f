// SPDX-License-Identifier: GPL-2.0

//! A range of physical memory that a driver wants to make a node of, and whether that is possible.
//!
//! `memremap_pages()` answers most mistakes with a WARNING and some with the wrong errno, so
//! everything is checked before, with a message that tells what to do.

use super::tree;
use crate::os::{
    of::NodePath,
    resource::{self, ClaimedRange},
};
use kernel::{fmt, prelude::*, str::CString};

/// A range of physical memory.
#[derive(Clone)]
pub struct Region {
    /// Physical address of the first byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// The NUMA node to register it on; `None` to ask the firmware, or else take node 0.
    pub nid: Option<i32>,
    /// The node of the device tree that described it, if that is where it is from.
    pub origin: Option<NodePath>,
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

/// What is wrong with a region.
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

/// The kernel's parameter that keeps it off a part of its RAM.
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
    /// A region that someone has named.
    pub fn new(start: u64, size: u64, nid: Option<i32>) -> Self {
        Self {
            start,
            size,
            nid,
            origin: None,
        }
    }

    /// Checks everything that can be known before the range is claimed, and returns the NUMA node
    /// to use. What is wrong is in the kernel's log.
    ///
    /// * EINVAL: empty, or not aligned to what the kernel's memory map needs
    /// * ERANGE: it does not fit into the address space, or into that of the linear mapping
    /// * ENXIO: no such NUMA node
    /// * EBUSY: it is RAM that the kernel uses
    /// * ENODEV: there is no memory at that address, as far as the firmware tells
    pub fn check(&self) -> Result<i32> {
        self.find_fault().map_err(|fault| {
            pr_err!("region {self}: {fault}\n");
            fault.errno()
        })
    }

    fn find_fault(&self) -> core::result::Result<i32, RegionError> {
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
                .or_else(|| tree::nid_of(self.start))
                .unwrap_or(0),
        };
        if !resource::is_possible_nid(nid) {
            return Err(RegionError::NoNode(nid));
        }
        if resource::is_system_ram(self.start, self.size) {
            return Err(RegionError::InUse);
        }
        // The firmware's memory map on x86 says which memory exists and is nobody's.
        #[cfg(CONFIG_X86)]
        if !resource::is_reserved(self.start, self.size) {
            return Err(RegionError::NotReserved);
        }
        // Elsewhere it may be the device tree. RAM that mem= keeps from the kernel is still in it.
        // On powerpc touching what is not there is a machine check.
        if !tree::has_memory(self.start, self.size) {
            return Err(RegionError::NotInTree);
        }
        Ok(nid)
    }

    /// Makes the range ours. EBUSY if part of it is someone else's already.
    pub fn claim(&self, name: CString) -> Result<ClaimedRange> {
        ClaimedRange::request(self.start, self.size, name).inspect_err(|_| {
            pr_err!("region {self}: it is taken by someone else; see /proc/iomem\n");
        })
    }
}

/// Checks the size of memory that has no addresses yet, and returns the NUMA node to use. What is
/// wrong is in the kernel's log. EINVAL, ENXIO.
pub(super) fn check_private(size: u64, nid: Option<i32>) -> Result<i32> {
    let align = resource::alignment();
    let nid = nid.unwrap_or(0);

    let fault = if size == 0 {
        RegionError::Empty
    } else if size & (align - 1) != 0 {
        RegionError::Size(align)
    } else if !resource::is_possible_nid(nid) {
        RegionError::NoNode(nid)
    } else {
        return Ok(nid);
    };
    pr_err!("private memory of {size:#x} bytes: {fault}\n");
    Err(fault.errno())
}

#[kunit_tests(hmm_cdm_region)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;
    use kernel::page::PAGE_SHIFT;

    fn fault(start: u64, size: u64, nid: Option<i32>) -> Option<(RegionError, Error)> {
        let fault = Region::new(start, size, nid).find_fault().err()?;

        Some((fault, fault.errno()))
    }

    /// An aligned range with RAM in it that the kernel uses.
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

        assert_eq!(fault(0, 0, None), Some((RegionError::Empty, EINVAL)));
        // Said before anything else that is wrong.
        assert_eq!(fault(1, 0, Some(-1)), Some((RegionError::Empty, EINVAL)));
        assert_eq!(fault(u64::MAX, 0, None), Some((RegionError::Empty, EINVAL)));
        assert!(fault(align, align, None) != Some((RegionError::Empty, EINVAL)));
    }

    #[test]
    fn misaligned_regions() {
        let align = resource::alignment();
        let start = Some((RegionError::Start(align), EINVAL));
        let size = Some((RegionError::Size(align), EINVAL));

        assert_eq!(fault(1, align, None), start);
        assert_eq!(fault(align - 1, align, None), start);
        assert_eq!(fault(align / 2, align / 2, None), start);
        assert_eq!(fault(align, 1, None), size);
        assert_eq!(fault(align, align - 1, None), size);
        assert_eq!(fault(align, align + align / 2, None), size);
        assert_eq!(fault(align, u64::MAX, None), size);
    }

    #[test]
    fn regions_beyond_the_last_address() {
        let align = resource::alignment();
        let last = resource::max_address();
        let beyond = Some((RegionError::Beyond(last), ERANGE));
        let top = u64::MAX - (align - 1);

        assert_eq!(fault(last + 1, align, None), beyond);
        assert_eq!(fault(last + 1 - align, 2 * align, None), beyond);
        assert_eq!(fault(0, last + 1 + align, None), beyond);
        // The sum overflows, or the end is the last number there is.
        assert_eq!(fault(top, 2 * align, None), beyond);
        assert_eq!(fault(align, top, None), beyond);
        assert_eq!(fault(top, align, None), beyond);
        // The last one that fits has other faults.
        assert!(fault(last + 1 - align, align, None) != beyond);
    }

    #[test]
    fn numa_nodes() -> Result {
        let align = resource::alignment();
        let ram = ram()?;

        for nid in [-1, i32::MIN, i32::MAX] {
            assert_eq!(
                fault(ram, align, Some(nid)),
                Some((RegionError::NoNode(nid), ENXIO))
            );
        }
        // One that there is, and none at all, are no faults; what is left is that it is RAM.
        assert_eq!(
            fault(ram, align, Some(0)),
            Some((RegionError::InUse, EBUSY))
        );
        assert_eq!(fault(ram, align, None), Some((RegionError::InUse, EBUSY)));
        Ok(())
    }

    #[test]
    fn memory_in_use() -> Result {
        let align = resource::alignment();
        let ram = ram()?;

        // Also if only a part of it is.
        assert_eq!(
            fault(ram, 2 * align, None),
            Some((RegionError::InUse, EBUSY))
        );
        assert_eq!(
            fault(ram.saturating_sub(align), 2 * align, None),
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
            fault(end, align, None),
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
        let region = Region::new(0x4000_0000, 0x20_0000, Some(1));
        let elsewhere = Region::new(0x4000_0000, 0x20_0000, None);

        assert_eq!(text(&region)?.to_bytes(), b"0x40000000+0x200000@1");
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

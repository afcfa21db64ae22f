// SPDX-License-Identifier: GPL-2.0

//! Claimed ranges of physical addresses: `request_mem_region()`, and the checks to make before
//! `memremap_pages()`.
//!
//! C files: `kernel/resource.c`, `mm/memory_hotplug.c`, `mm/memremap.c`.

use crate::bindings;
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CString, //
};

/// A claimed range of physical addresses, which `/proc/iomem` lists under its name. Dropping it
/// releases the range.
///
/// It proves that no other driver has claimed the range, and that the range is not RAM in use by
/// the kernel. It does not prove that there is memory.
///
/// # Invariants
///
/// This value has requested the `claimed` bytes from `start`, which are at least `size`; or, in
/// tests, none.
pub struct ClaimedRange {
    start: u64,
    size: u64,
    claimed: u64,
    // The resource points to it.
    _name: CString,
}

impl ClaimedRange {
    /// Claims `size` bytes from `start`. EBUSY if a part of it is claimed already, ENOMEM.
    pub fn request(start: u64, size: u64, name: CString) -> Result<Self> {
        // SAFETY: `request_mem_region()` takes any range. It keeps a pointer to the name, which
        // lives as long as the value.
        let res =
            unsafe { bindings::hmm_cdm_helper_request_region(start, size, name.as_char_ptr()) };

        if res.is_null() {
            // `__request_region()` does not tell a conflict from a failed allocation.
            let claimed = bindings::IORESOURCE_MEM | bindings::IORESOURCE_BUSY;
            let place = intersects(start, size, claimed, bindings::IORES_DESC_NONE);

            return Err(if place == bindings::REGION_DISJOINT {
                ENOMEM
            } else {
                EBUSY
            });
        }
        // INVARIANT: Just requested.
        Ok(Self {
            start,
            size,
            claimed: size,
            _name: name,
        })
    }

    /// Claims `size` bytes of addresses that no resource uses, for memory that only a device can
    /// access. `size` is a multiple of [`alignment`]. ENOSPC if there is no such range, ENOMEM.
    pub fn request_free(size: u64, name: CString) -> Result<Self> {
        // SAFETY: As in `request()`.
        let res = unsafe { bindings::hmm_cdm_helper_request_free_region(size, name.as_char_ptr()) };
        let res = from_err_ptr(res).map_err(|e| if e == ENOMEM { e } else { ENOSPC })?;
        // SAFETY: `request_free_mem_region()` returns an error or a resource that it has inserted,
        // which is valid until it is released.
        let (start, end) = unsafe { ((*res).start, (*res).end) };

        // INVARIANT: Just requested. `get_free_mem_region()` rounds the size up to whole sections
        // of the kernel's memory map, and the range can only be released as a whole.
        Ok(Self {
            start,
            size,
            claimed: end - start + 1,
            _name: name,
        })
    }

    /// Returns the first address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(CONFIG_KUNIT = "y")]
impl ClaimedRange {
    /// Makes a value that claims nothing, to test ranges that cannot be claimed.
    pub(crate) fn unclaimed(start: u64, size: u64) -> Result<Self> {
        // INVARIANT: Nothing is requested. The tests do not use the range.
        Ok(Self {
            start,
            size,
            claimed: 0,
            _name: c"hmm_cdm test".try_into()?,
        })
    }
}

impl Drop for ClaimedRange {
    fn drop(&mut self) {
        // See `unclaimed()`.
        if self.claimed == 0 {
            return;
        }
        // SAFETY: By the type invariants the value has requested the range. It is released only
        // here.
        unsafe { bindings::hmm_cdm_helper_release_region(self.start, self.claimed) };
    }
}

fn intersects(start: u64, size: u64, flags: u32, desc: u32) -> u32 {
    // SAFETY: `region_intersects()` takes any range, and searches the resource tree.
    unsafe {
        bindings::region_intersects(start, size as usize, flags as usize, desc as usize) as u32
    }
}

/// Returns whether any part of the range is RAM that the kernel uses.
pub fn is_system_ram(start: u64, size: u64) -> bool {
    let flags = bindings::IORESOURCE_SYSTEM_RAM;

    intersects(start, size, flags, bindings::IORES_DESC_NONE) != bindings::REGION_DISJOINT
}

/// Returns whether the firmware's memory map has the whole range as reserved. Soft-reserved ranges
/// (EFI_MEMORY_SP) count only if `iomem_resource` has them: 7.3 puts them into
/// `soft_reserve_resource` instead (`e820__reserve_resources_late()`).
#[cfg(CONFIG_X86)]
pub fn is_reserved(start: u64, size: u64) -> bool {
    [
        bindings::IORES_DESC_RESERVED,
        bindings::IORES_DESC_SOFT_RESERVED,
    ]
    .into_iter()
    .any(|desc| {
        intersects(start, size, bindings::IORESOURCE_MEM, desc) == bindings::REGION_INTERSECTS
    })
}

/// Returns the alignment that ranges of device memory need, in bytes.
pub fn alignment() -> u64 {
    // SAFETY: The function returns a constant of the machine.
    unsafe { bindings::memremap_compat_align() as u64 }
}

/// Returns the last physical address that can get a linear mapping.
pub fn max_address() -> u64 {
    // SAFETY: `mhp_get_pluggable_range()` computes it from constants of the machine.
    unsafe { bindings::hmm_cdm_helper_max_phys() }
}

/// Returns whether memory can be registered on NUMA node `nid`.
pub fn is_possible_nid(nid: i32) -> bool {
    // SAFETY: The helper checks the bounds before it asks node_possible().
    unsafe { bindings::hmm_cdm_helper_nid_possible(nid) }
}

/// Returns the NUMA node that the firmware gives for the address, if the kernel has kept that
/// information.
#[cfg(all(CONFIG_NUMA_MEMBLKS, CONFIG_NUMA_KEEP_MEMINFO))]
pub fn nid_of(start: u64) -> Option<i32> {
    // SAFETY: `phys_to_target_node()` takes any address, and searches a table.
    let nid = unsafe { bindings::phys_to_target_node(start) };

    is_possible_nid(nid).then_some(nid)
}

/// The kernel has not kept it: `phys_to_target_node()` would return node 0 (mm/numa.c).
#[cfg(not(all(CONFIG_NUMA_MEMBLKS, CONFIG_NUMA_KEEP_MEMINFO)))]
pub fn nid_of(_start: u64) -> Option<i32> {
    None
}

#[kunit_tests(hmm_cdm_resource)]
mod tests {
    use super::*;

    fn claim(start: u64, size: u64) -> Result<ClaimedRange> {
        ClaimedRange::request(start, size, c"hmm_cdm test".try_into()?)
    }

    /// Returns the start of `size` bytes that nobody has claimed, right below some power of two.
    /// The number of physical address bits depends on the processor.
    fn unclaimed(size: u64) -> Result<u64> {
        (32..52)
            .rev()
            .map(|shift| (1 << shift) - size)
            .find(|start| claim(*start, size).is_ok())
            .ok_or(ENXIO)
    }

    #[test]
    fn the_alignment_is_a_power_of_two() {
        assert!(alignment().is_power_of_two());
        assert!(alignment() >= kernel::page::PAGE_SIZE as u64);
        assert_eq!((max_address() + 1) % alignment(), 0);
    }

    #[test]
    fn a_range_is_claimed_once_and_given_back() -> Result {
        let size = alignment();
        let before = unclaimed(2 * size)?;
        let start = before + size;

        let first = claim(start, size)?;
        assert_eq!(claim(start, size).err(), Some(EBUSY));
        assert_eq!(claim(start + size - 1, 1).err(), Some(EBUSY));
        assert_eq!(claim(before, 2 * size).err(), Some(EBUSY));
        // The range right before it is free.
        assert!(claim(before, size).is_ok());
        drop(first);
        assert!(claim(before, 2 * size).is_ok());
        Ok(())
    }

    #[test]
    fn nothing_is_neither_ram_nor_reserved() {
        // No machine has anything at the end of the linear mapping's reach.
        let size = alignment();
        let start = max_address() + 1 - size;

        assert!(!is_system_ram(start, size));
        #[cfg(CONFIG_X86)]
        assert!(!is_reserved(start, size));
    }

    #[test]
    fn any_number_may_be_asked_about() {
        assert!(is_possible_nid(0));
        assert!(!is_possible_nid(-1));
        assert!(!is_possible_nid(i32::MIN));
        assert!(!is_possible_nid(i32::MAX));
        assert!(!is_possible_nid(bindings::MAX_NUMNODES as i32));
        assert!(nid_of(0).is_none_or(is_possible_nid));
        assert!(nid_of(u64::MAX).is_none_or(is_possible_nid));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The wire types of the userspace interface, as bindgen reads them from
//! `include/uapi/linux/hmm_cdm.h`, and how structures that may grow are copied.

use crate::{bindings, os::is_user_range};
use core::mem::{offset_of, size_of};
use kernel::{
    ioctl::_IO,
    page::PAGE_SIZE,
    prelude::*,
    transmute::{AsBytes, FromBytes},
    uaccess::{UserPtr, UserSlice, UserSliceReader},
};

pub use bindings::{
    cdm_emu_op_CDM_EMU_ADD as EMU_ADD, cdm_emu_op_CDM_EMU_CAS as EMU_CAS,
    cdm_emu_op_CDM_EMU_COPY as EMU_COPY, cdm_emu_op_CDM_EMU_FETCH_ADD as EMU_FETCH_ADD,
    cdm_emu_op_CDM_EMU_FILL as EMU_FILL, cdm_emu_op_CDM_EMU_HANG as EMU_HANG,
    cdm_emu_op_CDM_EMU_HISTOGRAM as EMU_HISTOGRAM, cdm_emu_op_CDM_EMU_REDUCE as EMU_REDUCE,
    cdm_emu_op_CDM_EMU_WALK as EMU_WALK,
};
pub use bindings::{
    cdm_emu_top as EmuTop, cdm_emu_walk as EmuWalk, hmm_cdm_advise as Advise, hmm_cdm_info as Info,
    hmm_cdm_migrate as Migrate, hmm_cdm_page as PageInfo, hmm_cdm_populate as Populate,
    hmm_cdm_query as Query, hmm_cdm_stats as StatsOut, hmm_cdm_submit as Submit,
    hmm_cdm_wait as Wait,
};

/// Version of the interface.
pub const VERSION: u32 = bindings::HMM_CDM_VERSION;
/// Arguments of a job.
pub const JOB_ARGS: usize = bindings::HMM_CDM_JOB_ARGS as usize;
/// Results of a job.
pub const JOB_RESULTS: usize = bindings::HMM_CDM_JOB_RESULTS as usize;
/// Length of the arrays that are indexed by a reason to skip a page.
pub const SKIP_MAX: usize = bindings::HMM_CDM_SKIP_MAX as usize;
/// Flag of MIGRATE: evict if the node is full.
pub const MIGRATE_EVICT: u32 = bindings::HMM_CDM_MIGRATE_EVICT;
/// See `HMM_CDM_MIGRATE_LEAVE_PEERS`.
pub const MIGRATE_LEAVE_PEERS: u32 = bindings::HMM_CDM_MIGRATE_LEAVE_PEERS;
/// Flag of POPULATE: move what exists elsewhere.
pub const POPULATE_MIGRATE: u32 = bindings::HMM_CDM_POPULATE_MIGRATE;
/// Flag of POPULATE: evict if the node is full.
pub const POPULATE_EVICT: u32 = bindings::HMM_CDM_POPULATE_EVICT;
/// Advice: none.
pub const PLACE_NONE: u32 = bindings::hmm_cdm_place_HMM_CDM_PLACE_NONE;
/// Advice: the node.
pub const PLACE_NODE: u32 = bindings::hmm_cdm_place_HMM_CDM_PLACE_NODE;
/// Flag of advice: pages that exist elsewhere move.
pub const ADVISE_MIGRATE: u32 = bindings::HMM_CDM_ADVISE_MIGRATE;
/// Flag of advice: copies of shared pages go to the node.
pub const ADVISE_COW: u32 = bindings::HMM_CDM_ADVISE_COW;
/// Flag of advice: evict if the node is full.
pub const ADVISE_EVICT: u32 = bindings::HMM_CDM_ADVISE_EVICT;
/// Flag of SUBMIT: there is an eventfd.
pub const SUBMIT_EVENTFD: u32 = bindings::HMM_CDM_SUBMIT_EVENTFD;
/// Access bits.
pub const ACCESS_READ: u32 = bindings::HMM_CDM_ACCESS_READ;
/// Access bits.
pub const ACCESS_WRITE: u32 = bindings::HMM_CDM_ACCESS_WRITE;
/// Flag of a page: the shared one of zeros.
pub const PAGE_ZERO: u16 = bindings::HMM_CDM_PAGE_ZERO as u16;
/// Flag of a page: in memory that the CPU cannot access.
pub const PAGE_PRIVATE: u16 = bindings::HMM_CDM_PAGE_PRIVATE as u16;
/// Flag of a page: exclusive to the device.
pub const PAGE_EXCLUSIVE: u16 = bindings::HMM_CDM_PAGE_EXCLUSIVE as u16;
/// Flag of a page: it has elevated references.
pub const PAGE_PINNED: u16 = bindings::HMM_CDM_PAGE_PINNED as u16;
/// Where the flags of a page have the number of the device whose memory it is, plus one.
pub const PAGE_DEVICE_SHIFT: u32 = 8;
/// Migrate to the node.
pub const TARGET_NODE: u32 = bindings::hmm_cdm_target_HMM_CDM_TARGET_NODE;
/// Migrate to system memory.
pub const TARGET_SYSTEM: u32 = bindings::hmm_cdm_target_HMM_CDM_TARGET_SYSTEM;

/// The most elements that a walk ranks.
pub const EMU_WALK_TOP: u32 = bindings::CDM_EMU_WALK_TOP;
/// An offset that stands for no child.
pub const EMU_WALK_NONE: u64 = !0;

/// The commands.
pub(crate) mod ioc {
    use super::*;

    const fn nr(nr: u32) -> u32 {
        _IO(bindings::HMM_CDM_IOC, nr)
    }

    pub(crate) const INFO: u32 = nr(0);
    pub(crate) const MIGRATE: u32 = nr(1);
    pub(crate) const QUERY: u32 = nr(2);
    pub(crate) const SUBMIT: u32 = nr(3);
    pub(crate) const WAIT: u32 = nr(4);
    pub(crate) const STATS: u32 = nr(5);
    pub(crate) const POPULATE: u32 = nr(6);
    pub(crate) const ADVISE: u32 = nr(7);
}

/// Why a page stayed: `enum hmm_cdm_skip`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "described with enum hmm_cdm_skip")]
pub enum Skip {
    Pinned = bindings::hmm_cdm_skip_HMM_CDM_SKIP_PINNED as u8,
    NotAnon = bindings::hmm_cdm_skip_HMM_CDM_SKIP_NOT_ANON as u8,
    NoMemory = bindings::hmm_cdm_skip_HMM_CDM_SKIP_NO_MEMORY as u8,
    Absent = bindings::hmm_cdm_skip_HMM_CDM_SKIP_ABSENT as u8,
    Raced = bindings::hmm_cdm_skip_HMM_CDM_SKIP_RACED as u8,
    Elsewhere = bindings::hmm_cdm_skip_HMM_CDM_SKIP_ELSEWHERE as u8,
    Failed = bindings::hmm_cdm_skip_HMM_CDM_SKIP_FAILED as u8,
}

/// Where a page is: `enum hmm_cdm_where`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "described with enum hmm_cdm_where")]
pub enum Where {
    Unmapped = bindings::hmm_cdm_where_HMM_CDM_WHERE_UNMAPPED,
    Absent = bindings::hmm_cdm_where_HMM_CDM_WHERE_ABSENT,
    System = bindings::hmm_cdm_where_HMM_CDM_WHERE_SYSTEM,
    Node = bindings::hmm_cdm_where_HMM_CDM_WHERE_NODE,
    Device = bindings::hmm_cdm_where_HMM_CDM_WHERE_DEVICE,
}

/// A structure of the interface: it begins with its size and flags, and may grow.
pub(crate) trait Wire: AsBytes + FromBytes + Default {
    /// Size of the structure in the first version of the interface.
    const FIRST_SIZE: usize = size_of::<Self>();
}

// SAFETY (all): bindgen made them from the header: `repr(C)`, integers only, and each field has its
// natural alignment. That the fields follow each other without padding can be read off the numbers
// below, which are the same on every architecture.
macro_rules! wire {
    ($($type:ty = $size:literal $(, first $first:literal)? {
        $($field:ident: $offset:literal),* $(,)?
    }),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$type>() == $size);
            $(const _: () = assert!(offset_of!($type, $field) == $offset);)*
            // SAFETY: See above: there is no padding that could be uninitialised.
            unsafe impl AsBytes for $type {}
            // SAFETY: See above: integers may have any bits.
            unsafe impl FromBytes for $type {}
            impl Wire for $type {
                $(const FIRST_SIZE: usize = $first;)?
            }
        )*
    };
}

// Sizes, and the offset of every field; `first` is the size in the first version.
wire! {
    Info = 216, first 88 {
        size: 0, flags: 4, version: 8, index: 12, numa_node: 16, page_size: 20, window_size: 24,
        reserved: 28, capacity: 32, free: 40, start: 48, driver: 56, origin: 88,
    },
    Migrate = 144, first 128 {
        size: 0, flags: 4, addr: 8, length: 16, target: 24, reserved: 28, migrated: 32,
        populated: 40, present: 48, huge: 56, skipped: 64, peers: 128, evicted: 136,
    },
    Populate = 136 {
        size: 0, flags: 4, addr: 8, length: 16, populated: 24, present: 32, stayed: 40,
        migrated: 48, contiguous: 56, evicted: 64, skipped: 72,
    },
    Advise = 32 {
        size: 0, flags: 4, addr: 8, length: 16, place: 24, reserved: 28,
    },
    PageInfo = 8 {
        where_: 0, order: 1, cpu: 2, device: 3, accesses: 4, flags: 6,
    },
    Query = 96 {
        size: 0, flags: 4, addr: 8, length: 16, pages: 24, where_: 32,
    },
    Submit = 88 {
        size: 0, flags: 4, op: 8, eventfd: 12, args: 16, job: 80,
    },
    Wait = 96 {
        size: 0, flags: 4, job: 8, timeout_ns: 16, status: 24, fault_access: 28, fault_addr: 32,
        result: 40, faults: 72, bytes_local: 80, bytes_remote: 88,
    },
    StatsOut = 216, first 184 {
        size: 0, flags: 4, faults: 8, fault_pages: 16, fault_retries: 24, invalidations: 32,
        invalidated_pages: 40, migrated_in: 48, migrated_out: 56, bytes_copied: 64, populated: 72,
        huge: 80, skipped: 88, jobs: 152, node_pages: 160, node_free: 168, node_contiguous: 176,
        peers: 184, touched: 192, evicted: 200, node_evicted: 208,
    },
    EmuWalk = 72 {
        heads: 0, nr_heads: 8, next: 16, child: 24, child_next: 32, count: 40, top: 48, nr_top: 56,
        max_steps: 64,
    },
    EmuTop = 16 {
        count: 0, element: 8,
    },
}

pub(crate) fn bytes<T: Wire>(values: &[T]) -> &[u8] {
    values.as_bytes()
}

/// Makes a value of the interface from its bytes; `None` if there are too few or too many.
pub fn from_bytes<T: FromWire>(from: &[u8]) -> Option<T> {
    T::from_wire(from)
}

/// Types that drivers read from or write to the memory of processes.
pub trait FromWire: Sized {
    /// Makes a value of its bytes.
    fn from_wire(from: &[u8]) -> Option<Self>;
}

impl<T: Wire> FromWire for T {
    fn from_wire(from: &[u8]) -> Option<Self> {
        T::from_bytes_copy(from)
    }
}

/// Returns a reader of memory of the calling process. EFAULT if the addresses are not a process's.
fn reader_of(user: UserPtr, size: usize) -> Result<UserSliceReader> {
    is_user_range(user.as_const_ptr().addr(), size)
        .then(|| UserSlice::new(user, size).reader())
        .ok_or(EFAULT)
}

/// A caller's argument: of an older or newer version of the structure than ours, perhaps.
pub(crate) struct Arg<T: Wire> {
    user: UserPtr,
    size: usize,
    value: T,
}

impl<T: Wire> Arg<T> {
    /// Reads the structure at `user` as clone3(2) does: its first field is its size; of a smaller
    /// one the rest is zero, and of a larger one the rest has to be. EFAULT, EINVAL, E2BIG.
    pub(crate) fn read(user: UserPtr) -> Result<Self> {
        let size = reader_of(user, size_of::<u32>())?.read::<u32>()? as usize;
        if size < T::FIRST_SIZE {
            return Err(EINVAL);
        }
        if size > PAGE_SIZE {
            return Err(E2BIG);
        }

        let mut value = T::default();
        let known = size.min(size_of::<T>());
        let mut reader = reader_of(user, size)?;
        let to = value.as_bytes_mut().get_mut(..known).ok_or(EINVAL)?;

        reader.read_slice(to)?;
        while !reader.is_empty() {
            if reader.read::<u8>()? != 0 {
                return Err(E2BIG);
            }
        }
        Ok(Self { user, size, value })
    }

    /// Writes the structure back, as far as the caller knows it. EFAULT.
    pub(crate) fn write(&self) -> Result {
        let known = self.size.min(size_of::<T>());
        let all = self.value.as_bytes();

        UserSlice::new(self.user, known)
            .writer()
            .write_slice(all.get(..known).ok_or(EINVAL)?)
    }
}

impl<T: Wire> core::ops::Deref for Arg<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Wire> core::ops::DerefMut for Arg<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[kunit_tests(hmm_cdm_uapi)]
mod tests {
    use super::*;

    #[test]
    fn values_are_made_of_exactly_their_bytes() -> Result {
        let walk = EmuWalk {
            heads: 1,
            max_steps: u64::MAX,
            ..EmuWalk::default()
        };
        let raw = bytes(core::slice::from_ref(&walk));
        let again = from_bytes::<EmuWalk>(raw).ok_or(EINVAL)?;

        assert_eq!((again.heads, again.max_steps), (1, u64::MAX));
        assert_eq!((again.nr_heads, again.nr_top), (0, 0));
        assert!(from_bytes::<EmuWalk>(raw.get(1..).ok_or(EINVAL)?).is_none());
        assert!(from_bytes::<EmuWalk>(&[]).is_none());
        assert!(from_bytes::<EmuWalk>(&[0; size_of::<EmuWalk>() + 1]).is_none());
        Ok(())
    }

    #[test]
    fn bytes_are_those_of_all_values() {
        let mut pages = core::array::from_fn::<_, 3, _>(|_| PageInfo::default());

        assert!(bytes(&pages).iter().all(|byte| *byte == 0));
        let [_, _, last] = &mut pages;
        last.where_ = 4;
        last.accesses = u16::MAX;
        let raw = bytes(&pages);
        assert_eq!(raw.len(), 3 * size_of::<PageInfo>());
        assert_eq!(raw.iter().position(|byte| *byte != 0), Some(16));
        assert_eq!(raw.iter().filter(|byte| **byte != 0).count(), 3);
        assert!(bytes::<PageInfo>(&[]).is_empty());
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! Flags and enumerations of the calls.

use bitflags::bitflags;
use hmmcdm_sys as sys;

bitflags! {
    /// How [`Cdm::migrate`](crate::Cdm::migrate) migrates to the node.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct MigrateFlags: u32 {
        /// If the node is full, evict the pages that the device has not accessed for longest.
        const EVICT = sys::HMM_CDM_MIGRATE_EVICT;
        /// Leave pages that are in the memory of other devices where they are.
        const LEAVE_PEERS = sys::HMM_CDM_MIGRATE_LEAVE_PEERS;
    }

    /// How [`Cdm::populate`](crate::Cdm::populate) populates.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PopulateFlags: u32 {
        /// Migrate pages that exist elsewhere, too.
        const MIGRATE = sys::HMM_CDM_POPULATE_MIGRATE;
        /// As [`MigrateFlags::EVICT`].
        const EVICT = sys::HMM_CDM_POPULATE_EVICT;
    }

    /// What the device's faults do where the advice is [`Place::Node`].
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AdviseFlags: u32 {
        /// Migrate pages that exist elsewhere, not only allocate untouched ones on the node.
        const MIGRATE = sys::HMM_CDM_ADVISE_MIGRATE;
        /// Copy a page that is shared after `fork()` to the node when the device writes to it.
        const COW = sys::HMM_CDM_ADVISE_COW;
        /// As [`MigrateFlags::EVICT`].
        const EVICT = sys::HMM_CDM_ADVISE_EVICT;
    }

    /// Accesses that a page table allows, or that a fault was about.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Access: u32 {
        /// Reading.
        const READ = sys::HMM_CDM_ACCESS_READ;
        /// Writing.
        const WRITE = sys::HMM_CDM_ACCESS_WRITE;
    }

    /// Properties of a [`Page`](crate::Page).
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u16 {
        /// The shared page of zeros: untouched memory that was read.
        const ZERO = sys::HMM_CDM_PAGE_ZERO as u16;
        /// In memory that the CPU cannot access: its next access migrates the page to system
        /// memory.
        const PRIVATE = sys::HMM_CDM_PAGE_PRIVATE as u16;
        /// The device has exclusive access; the CPU's next access ends that.
        const EXCLUSIVE = sys::HMM_CDM_PAGE_EXCLUSIVE as u16;
        /// Pinned for I/O, or referenced by the kernel.
        const PINNED = sys::HMM_CDM_PAGE_PINNED as u16;
    }
}

/// Where [`Cdm::migrate`](crate::Cdm::migrate) moves pages.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Target {
    /// To the node.
    Node = sys::HMM_CDM_TARGET_NODE,
    /// From the node to system memory.
    System = sys::HMM_CDM_TARGET_SYSTEM,
}

/// Where pages should be, for [`Cdm::advise`](crate::Cdm::advise).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Place {
    /// No preference.
    None = sys::HMM_CDM_PLACE_NONE,
    /// On the node.
    Node = sys::HMM_CDM_PLACE_NODE,
}

/// Why a page did not move. None of these is an error.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Skip {
    /// Pinned for I/O, or referenced by the kernel.
    Pinned = sys::HMM_CDM_SKIP_PINNED,
    /// Not private anonymous memory.
    NotAnon = sys::HMM_CDM_SKIP_NOT_ANON,
    /// No free page at the destination.
    NoMemory = sys::HMM_CDM_SKIP_NO_MEMORY,
    /// There is no page, or another task was migrating it.
    Absent = sys::HMM_CDM_SKIP_ABSENT,
    /// Changed at the same time by another task; another attempt may succeed.
    Raced = sys::HMM_CDM_SKIP_RACED,
    /// In the memory of another device.
    Elsewhere = sys::HMM_CDM_SKIP_ELSEWHERE,
    /// The device could not copy or zero its memory.
    Failed = sys::HMM_CDM_SKIP_FAILED,
}

/// Where a page is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Where {
    /// Not mapped, or not readable.
    Unmapped = sys::HMM_CDM_WHERE_UNMAPPED,
    /// Mapped, without a page: untouched, swapped out, or under migration.
    Absent = sys::HMM_CDM_WHERE_ABSENT,
    /// In system memory.
    System = sys::HMM_CDM_WHERE_SYSTEM,
    /// On this handle's node.
    Node = sys::HMM_CDM_WHERE_NODE,
    /// In the memory of another device.
    Device = sys::HMM_CDM_WHERE_DEVICE,
}

impl Where {
    /// `None` for a value that only a newer kernel knows.
    pub(crate) fn from_raw(raw: u8) -> Option<Self> {
        [
            Self::Unmapped,
            Self::Absent,
            Self::System,
            Self::Node,
            Self::Device,
        ]
        .into_iter()
        .find(|w| *w as u32 == u32::from(raw))
    }
}

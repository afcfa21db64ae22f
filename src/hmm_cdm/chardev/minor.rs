// SPDX-License-Identifier: GPL-2.0

//! The table of devices: which N of `/dev/hmm_cdm<N>` is which device.

use crate::device::Device;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The most device files.
const MAX_DEVICES: usize = 16;

const NAMES: [&CStr; MAX_DEVICES] = [
    c"hmm_cdm0",
    c"hmm_cdm1",
    c"hmm_cdm2",
    c"hmm_cdm3",
    c"hmm_cdm4",
    c"hmm_cdm5",
    c"hmm_cdm6",
    c"hmm_cdm7",
    c"hmm_cdm8",
    c"hmm_cdm9",
    c"hmm_cdm10",
    c"hmm_cdm11",
    c"hmm_cdm12",
    c"hmm_cdm13",
    c"hmm_cdm14",
    c"hmm_cdm15",
];

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before any device can be registered.
    pub(crate) unsafe(uninit) static DEVICES: Mutex<[MinorState; MAX_DEVICES]> =
        [const { MinorState::Free }; MAX_DEVICES];
}

/// The state of one N of `/dev/hmm_cdm<N>`.
pub(crate) enum MinorState {
    /// Unused.
    Free,
    /// Reserved: its device is being created.
    Taken,
    /// In use.
    Device(Arc<Device>),
}

impl MinorState {
    fn device(&self) -> Option<Arc<Device>> {
        match self {
            MinorState::Device(device) => Some(device.clone()),
            MinorState::Free | MinorState::Taken => None,
        }
    }
}

/// A reserved entry of the table of devices.
pub(super) struct Minor(usize);

impl Minor {
    /// Reserves an entry, calls `make` for its index, and enters the device that it returns. ENOSPC
    /// if there are [`MAX_DEVICES`] already.
    pub(super) fn take(
        make: impl FnOnce(u32) -> Result<Arc<Device>>,
    ) -> Result<(Self, Arc<Device>)> {
        let minor = Self::reserve()?;
        // Not under the table's lock, which open(2) takes inside misc_mtx.
        let device = make(minor.0 as u32)?;

        minor.set(MinorState::Device(device.clone()));
        Ok((minor, device))
    }

    /// Returns the name of the device file.
    pub(super) fn name(&self) -> Result<&'static CStr> {
        NAMES.get(self.0).copied().ok_or(ENOSPC)
    }

    fn reserve() -> Result<Self> {
        let mut devices = DEVICES.lock();
        let (index, entry) = devices
            .iter_mut()
            .enumerate()
            .find(|(_, entry)| matches!(entry, MinorState::Free))
            .ok_or(ENOSPC)?;

        *entry = MinorState::Taken;
        Ok(Self(index))
    }

    fn set(&self, new: MinorState) {
        let mut devices = DEVICES.lock();
        let old = devices
            .get_mut(self.0)
            .map(|entry| core::mem::replace(entry, new));

        drop(devices);
        // Possibly the last reference, so not dropped under the lock.
        drop(old);
    }
}

impl Drop for Minor {
    fn drop(&mut self) {
        self.set(MinorState::Free);
    }
}

/// Returns the device whose file is called `name`. ENODEV.
pub(super) fn find_device(name: &CStr) -> Result<Arc<Device>> {
    let index = NAMES.iter().position(|n| n.to_bytes() == name.to_bytes());

    match index.and_then(|index| DEVICES.lock().get(index).map(MinorState::device)) {
        Some(Some(device)) => Ok(device),
        _ => Err(ENODEV),
    }
}

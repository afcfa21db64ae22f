// SPDX-License-Identifier: GPL-2.0

//! The table of devices: which N of `/dev/hmm_cdm<N>` is which device.

use crate::device::Device;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The most device files: QUERY has a byte for N, in which 255 is no device.
const MAX_DEVICES: usize = 255;

const NAME_LEN: usize = c"hmm_cdm254".count_bytes() + 1;

/// The names of the files, with a NUL at the end: a misc device needs a static one.
static NAMES: [[u8; NAME_LEN]; MAX_DEVICES] = {
    let mut names = [[0; NAME_LEN]; MAX_DEVICES];
    let mut n = 0;

    while n < MAX_DEVICES {
        names[n] = name(n);
        n += 1;
    }
    names
};

const fn name(n: usize) -> [u8; NAME_LEN] {
    let prefix = b"hmm_cdm";
    let mut name = [0; NAME_LEN];
    let mut len = 0;
    let mut unit = if n >= 100 {
        100
    } else if n >= 10 {
        10
    } else {
        1
    };

    while len < prefix.len() {
        name[len] = prefix[len];
        len += 1;
    }
    while unit > 0 {
        name[len] = b'0' + (n / unit % 10) as u8;
        len += 1;
        unit /= 10;
    }
    name
}

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
    /// if there are [`MAX_DEVICES`] already, which the log says.
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
        let name = NAMES.get(self.0).ok_or(ENOSPC)?;

        CStr::from_bytes_until_nul(name).map_err(|_| EINVAL)
    }

    fn reserve() -> Result<Self> {
        let mut devices = DEVICES.lock();
        let (index, entry) = devices
            .iter_mut()
            .enumerate()
            .find(|(_, entry)| matches!(entry, MinorState::Free))
            .ok_or(ENOSPC)
            .inspect_err(|_| pr_err!("there are {MAX_DEVICES} device files already\n"))?;

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
    let name = name.to_bytes_with_nul();
    let index = NAMES.iter().position(|known| known.starts_with(name));

    match index.and_then(|index| DEVICES.lock().get(index).map(MinorState::device)) {
        Some(Some(device)) => Ok(device),
        _ => Err(ENODEV),
    }
}

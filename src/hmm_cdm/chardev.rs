// SPDX-License-Identifier: GPL-2.0

//! `/dev/hmm_cdm<N>`: each open file has a mirror of the opener's address space.
//!
//! | module | subject |
//! | --- | --- |
//! | `minor` | the table of devices |
//! | `file` | an open file: open(2), and the checks that all ioctls share |
//! | `ioctl` | the ioctls |
//! | `jobs` | the jobs of a file |

mod file;
mod ioctl;
mod jobs;
mod minor;

pub(crate) use minor::DEVICES;

use crate::device::Device;
use file::CdmFile;
use kernel::{
    miscdevice::{MiscDeviceOptions, MiscDeviceRegistration},
    prelude::*,
    sync::Arc,
};
use minor::Minor;

/// A device in the table and in `/dev`. Dropping it removes it from both; open files stay open.
pub(crate) struct Chardev {
    // Dropped first: no open(2) looks up the device after that.
    _misc: Pin<KBox<MiscDeviceRegistration<CdmFile>>>,
    _minor: Minor,
}

impl Chardev {
    /// Reserves an index, calls `make` for it, and publishes the device that it returns. ENOSPC if
    /// there are too many already.
    pub(crate) fn new(
        make: impl FnOnce(u32) -> Result<Arc<Device>>,
    ) -> Result<(Self, Arc<Device>)> {
        let (minor, device) = Minor::take(make)?;
        let name = minor.name()?;
        // open(2) may look up the device at once. The table must not be locked: misc_register()
        // takes the lock under which misc_open() calls us.
        let misc = KBox::pin_init(
            MiscDeviceRegistration::register(MiscDeviceOptions { name }),
            GFP_KERNEL,
        )?;

        Ok((
            Self {
                _misc: misc,
                _minor: minor,
            },
            device,
        ))
    }
}

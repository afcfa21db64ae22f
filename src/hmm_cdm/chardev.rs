// SPDX-License-Identifier: GPL-2.0

//! `/dev/hmm_cdm<N>`: each open file has a mirror of the opener's address space.

mod file;
mod ioctl;
mod jobs;

use crate::{
    device::Device,
    mirror::Mirror,
    uapi::ioc, //
};
use file::CdmFile;
use jobs::Jobs;
use kernel::{
    current,
    fs::File,
    miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration},
    mm::MmWithUser,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr,
};

/// The most device files.
pub(crate) const MAX_DEVICES: usize = 16;

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

/// A device in the table and in `/dev`. Dropping it removes it from both; open files stay open.
pub(crate) struct Chardev {
    // Dropped first: no open(2) looks up the device after that.
    _misc: Pin<KBox<MiscDeviceRegistration<CdmFile>>>,
    _minor: Minor,
}

impl Chardev {
    /// Reserves an index, calls `make` for it, and publishes the device that it returns. ENOSPC if
    /// there are [`MAX_DEVICES`] already.
    pub(crate) fn new(
        make: impl FnOnce(u32) -> Result<Arc<Device>>,
    ) -> Result<(Self, Arc<Device>)> {
        let (minor, device) = Minor::take(make)?;
        let name = NAMES.get(minor.0).copied().ok_or(ENOSPC)?;
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

/// A reserved entry of the table of devices.
struct Minor(usize);

impl Minor {
    fn take(make: impl FnOnce(u32) -> Result<Arc<Device>>) -> Result<(Self, Arc<Device>)> {
        let minor = Self::reserve()?;
        // Not under the table's lock, which open(2) takes inside misc_mtx.
        let device = make(minor.0 as u32)?;

        minor.set(MinorState::Device(device.clone()));
        Ok((minor, device))
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

/// Looks up the device by the name of its file, `hmm_cdm<N>`.
fn find_device(misc: &MiscDeviceRegistration<CdmFile>) -> Result<Arc<Device>> {
    let name = misc.device().name();
    let index = NAMES.iter().position(|n| n.to_bytes() == name.to_bytes());

    match index.and_then(|index| DEVICES.lock().get(index).map(MinorState::device)) {
        Some(Some(device)) => Ok(device),
        _ => Err(ENODEV),
    }
}

#[vtable]
impl MiscDevice for CdmFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let device = find_device(misc)?;
        let module = device.hold_module()?;
        // A kernel thread has no address space to mirror.
        let current = current!();
        let mm = current.mm().ok_or(EINVAL)?;
        let mirror = Mirror::new(mm, device.memory().clone())?;
        let member = device.join(&mirror)?;
        let context = device.driver().open(mirror.clone())?;

        Ok(KBox::new(
            Self {
                context,
                jobs: Jobs::new()?,
                _member: member,
                mirror,
                device,
                _module: module,
            },
            GFP_KERNEL,
        )?)
    }

    fn ioctl(this: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let current = current!();
        // A kernel thread has no address space.
        let mm = current.mm().ok_or(EPERM)?;

        this.call(mm, cmd, UserPtr::from_addr(arg)).map(|()| 0)
    }
}

impl CdmFile {
    fn call(&self, mm: &MmWithUser, cmd: u32, arg: UserPtr) -> Result {
        if !self.mirror.is_of(mm) {
            return Err(EPERM);
        }
        self.device.check_present()?;
        match cmd {
            ioc::INFO => self.info(arg),
            ioc::MIGRATE => self.migrate(mm, arg),
            ioc::QUERY => self.query(mm, arg),
            ioc::SUBMIT => self.submit(arg),
            ioc::WAIT => self.wait(arg),
            ioc::STATS => self.stats(arg),
            ioc::POPULATE => self.populate(mm, arg),
            ioc::ADVISE => self.advise(arg),
            _ => Err(ENOTTY),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! An open file: open(2), and the checks that all ioctls share.

use super::{
    ioctl,
    jobs::Jobs,
    minor::find_device, //
};
use crate::{
    device::{
        Context,
        Device, //
    },
    mirror::{
        Member,
        Mirror, //
    },
    os::module::ModuleRef,
    uapi::ioc, //
};
use kernel::{
    current,
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    mm::MmWithUser,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

/// An open file.
///
/// Fields are dropped in order: the driver's state first, the reference on its module last.
pub(super) struct CdmFile {
    context: KBox<dyn Context>,
    jobs: Pin<KBox<Jobs>>,
    _member: Option<Member>,
    mirror: Arc<Mirror>,
    device: Arc<Device>,
    _module: ModuleRef,
}

#[vtable]
impl MiscDevice for CdmFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let device = find_device(misc.device().name())?;
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
    /// Carries out an ioctl. EPERM unless the caller has the address space of the opener, ENODEV if
    /// the device has been removed, ENOTTY if there is no such ioctl.
    fn call(&self, mm: &MmWithUser, cmd: u32, arg: UserPtr) -> Result {
        let Self {
            context,
            jobs,
            mirror,
            device,
            ..
        } = self;

        if !mirror.is_of(mm) {
            return Err(EPERM);
        }
        device.check_present()?;
        match cmd {
            ioc::INFO => ioctl::info(device, arg),
            ioc::MIGRATE => ioctl::migrate(mirror, mm, arg),
            ioc::QUERY => ioctl::query(mirror, mm, arg),
            ioc::SUBMIT => ioctl::submit(device, mirror, &**context, jobs, arg),
            ioc::WAIT => ioctl::wait(jobs, arg),
            ioc::STATS => ioctl::stats(mirror, arg),
            ioc::POPULATE => ioctl::populate(mirror, mm, arg),
            ioc::ADVISE => ioctl::advise(mirror, arg),
            _ => Err(ENOTTY),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! `struct hmm_cdm_device`: a device that a driver in C has registered.

use super::{
    declared,
    err_ptr,
    may_sleep,
    ops::Ops, //
};
use crate::{
    bindings,
    node::memory_slot::MemorySlot,
    registration::Registration, //
};
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};

/// A `hmm_cdm_device`.
#[pin_data]
pub(super) struct CDevice {
    pub(super) ops: Ops,
    data: *mut c_void,
    pub(super) memory: Arc<MemorySlot>,
    // Number of mirrors, including those of open files.
    pub(super) mirrors: Atomic<usize>,
    #[pin]
    pub(super) registration: Mutex<Option<Registration>>,
}

// SAFETY: `data` is not dereferenced, but handed back to the driver. The header lets operations run
// on any CPU ("contexts"), and by rule `ops` they use the data accordingly.
unsafe impl Send for CDevice {}
// SAFETY: As above.
unsafe impl Sync for CDevice {}

impl CDevice {
    /// # Safety
    ///
    /// `device` is from `hmm_cdm_register_device()`, and not unregistered for `'a`.
    pub(super) unsafe fn from_raw<'a>(device: *const bindings::hmm_cdm_device) -> &'a Self {
        // SAFETY: By the safety requirements it is from `Arc::into_raw()`, and the reference that
        // stands for the registration is not dropped during `'a`.
        unsafe { &*device.cast() }
    }

    /// # Safety
    ///
    /// As for [`Self::from_raw`].
    pub(super) unsafe fn reference(device: *const bindings::hmm_cdm_device) -> Arc<Self> {
        // SAFETY: `Arc::from_raw()` requires a pointer from `Arc::into_raw()`, which it is by the
        // safety requirements, and the reference that belongs to it. That is the registration's,
        // so the value is not dropped.
        let registered = unsafe { Arc::<Self>::from_raw(device.cast()) };
        let registered = core::mem::ManuallyDrop::new(registered);

        (*registered).clone()
    }

    pub(super) fn as_raw(&self) -> *mut bindings::hmm_cdm_device {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    pub(super) fn remove(&self) -> Result {
        let registration = self.registration.lock().take();

        registration.ok_or(ENODEV)?.remove()
    }

    /// Returns whether it has neither memory nor mirrors.
    fn is_idle(&self) -> bool {
        self.registration.lock().is_none() && self.mirrors.load(Acquire) == 0
    }
}

declared!(
    hmm_cdm_register_device,
    hmm_cdm_unregister_device,
    hmm_cdm_device_data,
);

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_register_device(
    ops: *const bindings::hmm_cdm_ops,
    data: *mut c_void,
) -> *mut bindings::hmm_cdm_device {
    may_sleep();
    // SAFETY: Rules `pointer` and `ops`.
    let device = unsafe { Ops::new(ops) }.and_then(|ops| {
        Arc::pin_init(
            try_pin_init!(CDevice {
                ops,
                data,
                memory: MemorySlot::new()?,
                mirrors: Atomic::new(0),
                registration <- new_mutex!(None, "CDevice::registration"),
            }? Error),
            GFP_KERNEL,
        )
    });

    match device {
        Ok(device) => Arc::into_raw(device).cast_mut().cast(),
        Err(e) => err_ptr(e),
    }
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_unregister_device(device: *mut bindings::hmm_cdm_device) -> c_int {
    may_sleep();
    // SAFETY: Rule `handle`.
    if !unsafe { CDevice::from_raw(device) }.is_idle() {
        return EBUSY.to_errno();
    }
    // SAFETY: Rule `end`: the reference that stands for the registration is dropped once.
    drop(unsafe { Arc::<CDevice>::from_raw(device.cast()) });
    0
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_device_data(device: *mut bindings::hmm_cdm_device) -> *mut c_void {
    // SAFETY: Rule `handle`.
    unsafe { CDevice::from_raw(device) }.data
}

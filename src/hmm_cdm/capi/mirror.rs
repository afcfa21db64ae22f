// SPDX-License-Identifier: GPL-2.0

//! `struct hmm_cdm_mirror`: a mirror in the hands of a driver in C, and its page table.

use super::{
    declared,
    device::CDevice,
    err_ptr,
    may_sleep,
    misuse,
    ops::Ops, //
};
use crate::{
    bindings,
    mirror::{
        Extent,
        Mirror,
        Table, //
    },
    mm::{
        range::Access,
        Span, //
    },
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::c_void,
    mm::MmWithUser,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
    },
};

/// A `hmm_cdm_mirror`.
pub(super) struct MirrorHandle {
    pub(super) mirror: Arc<Mirror>,
    pub(super) device: Arc<CDevice>,
    // The driver's pointer, by its exposed address.
    data: Atomic<usize>,
    pub(super) open_jobs: Arc<Atomic<usize>>,
}

impl MirrorHandle {
    /// Makes a handle and calls the driver's `open`.
    pub(super) fn new(
        device: &Arc<CDevice>,
        mirror: Arc<Mirror>,
        data: *mut c_void,
    ) -> Result<KBox<Self>> {
        let ops = device.ops;
        let handle = KBox::new(
            Self {
                mirror,
                device: device.clone(),
                data: Atomic::new(data.expose_provenance()),
                open_jobs: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;

        if ops.get().map.is_some() {
            let table = Arc::new(
                CTable {
                    ops,
                    handle: NonNull::from(&*handle),
                },
                GFP_KERNEL,
            )?;

            // The mirror has no entries yet, so no operation is called before `open`.
            handle.mirror.attach(table)?;
        }
        if let Some(open) = ops.get().open {
            // SAFETY: Rule `ops`.
            to_result(unsafe { open(handle.as_raw()) }).inspect_err(|_| handle.mirror.retire())?;
        }
        device.mirrors.fetch_add(1, Relaxed);
        Ok(handle)
    }

    /// Calls the driver's `close` and drops the handle.
    pub(super) fn close(this: KBox<Self>) {
        let ops = this.device.ops;

        // Ends the device's use of the mirror. From here on, no operation but `close` is called for
        // it.
        this.mirror.retire();
        if let Some(close) = ops.get().close {
            // SAFETY: Rule `ops`.
            unsafe { close(this.as_raw()) };
        }
        misuse!(
            this.open_jobs.load(Acquire) > 0,
            "a driver closed a mirror that has incomplete jobs\n"
        );
        this.device.mirrors.fetch_sub(1, Release);
    }

    pub(super) fn as_raw(&self) -> *mut bindings::hmm_cdm_mirror {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `mirror` is one that the driver got from the library, and not closed for `'a`.
    pub(super) unsafe fn from_raw<'a>(mirror: *const bindings::hmm_cdm_mirror) -> &'a Self {
        // SAFETY: By the safety requirements it points to a box that is not freed during `'a`.
        unsafe { &*mirror.cast() }
    }
}

/// The device page table of a driver in C.
struct CTable {
    ops: Ops,
    handle: NonNull<MirrorHandle>,
}

// SAFETY: The handle is not dereferenced, but passed to `map` and `invalidate`. The header lets
// operations run on any CPU ("contexts"), and by rule `ops` they do what it says.
unsafe impl Send for CTable {}
// SAFETY: As above.
unsafe impl Sync for CTable {}

impl Table for CTable {
    fn map(&self, extent: &Extent) {
        if let Some(map) = self.ops.get().map {
            // SAFETY: Rule `ops`. The handle is alive: it is freed after its mirror has retired,
            // and a retired mirror does not call its table.
            unsafe { map(self.handle.as_ptr().cast(), &to_c(extent)) };
        }
    }

    fn invalidate(&self, span: Span) {
        if let Some(invalidate) = self.ops.get().invalidate {
            let length = span.end() - span.start();

            // SAFETY: As in `map()`.
            unsafe {
                invalidate(
                    self.handle.as_ptr().cast(),
                    span.start() as u64,
                    length as u64,
                )
            };
        }
    }
}

pub(super) fn to_c(extent: &Extent) -> bindings::hmm_cdm_extent {
    let mut flags = bindings::HMM_CDM_EXTENT_READ;

    if extent.access == Access::Write {
        flags |= bindings::HMM_CDM_EXTENT_WRITE;
    }
    if extent.index.is_some() {
        flags |= bindings::HMM_CDM_EXTENT_LOCAL;
    }
    if extent.exclusive {
        flags |= bindings::HMM_CDM_EXTENT_EXCLUSIVE;
    }
    bindings::hmm_cdm_extent {
        addr: extent.addr as u64,
        pfn: extent.pfn.raw() as u64,
        offset: (extent.index.unwrap_or(0) << PAGE_SHIFT) as u64,
        pages: extent.pages as u32,
        flags,
    }
}

declared!(
    hmm_cdm_create_mirror,
    hmm_cdm_destroy_mirror,
    hmm_cdm_mirror_device,
    hmm_cdm_mirror_data,
    hmm_cdm_set_mirror_data,
    hmm_cdm_mirror_is_of,
);

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_create_mirror(
    device: *mut bindings::hmm_cdm_device,
    mm: *mut bindings::mm_struct,
    data: *mut c_void,
) -> *mut bindings::hmm_cdm_mirror {
    may_sleep();
    // SAFETY: Rule `handle`.
    let device = unsafe { CDevice::reference(device) };
    if mm.is_null() {
        return err_ptr(EINVAL);
    }
    // SAFETY: Rule `mm`.
    let mm = unsafe { MmWithUser::from_raw(mm) };

    match Mirror::new(mm, device.memory.clone())
        .and_then(|mirror| MirrorHandle::new(&device, mirror, data))
    {
        Ok(handle) => KBox::into_raw(handle).cast(),
        Err(e) => err_ptr(e),
    }
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_destroy_mirror(mirror: *mut bindings::hmm_cdm_mirror) {
    may_sleep();
    // SAFETY: Rules `handle` and `end`: it is the box that `hmm_cdm_create_mirror()` has returned,
    // and is not used afterwards.
    MirrorHandle::close(unsafe { KBox::from_raw(mirror.cast()) });
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_mirror_device(
    mirror: *mut bindings::hmm_cdm_mirror,
) -> *mut bindings::hmm_cdm_device {
    // SAFETY: Rule `handle`.
    unsafe { MirrorHandle::from_raw(mirror) }.device.as_raw()
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_mirror_data(mirror: *mut bindings::hmm_cdm_mirror) -> *mut c_void {
    // SAFETY: Rule `handle`.
    let data = unsafe { MirrorHandle::from_raw(mirror) }.data.load(Relaxed);

    core::ptr::with_exposed_provenance_mut(data)
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_set_mirror_data(
    mirror: *mut bindings::hmm_cdm_mirror,
    data: *mut c_void,
) {
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };

    handle.data.store(data.expose_provenance(), Relaxed);
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_mirror_is_of(
    mirror: *mut bindings::hmm_cdm_mirror,
    mm: *const bindings::mm_struct,
) -> bool {
    // SAFETY: Rule `handle`.
    unsafe { MirrorHandle::from_raw(mirror) }
        .mirror
        .is_of_raw(mm)
}

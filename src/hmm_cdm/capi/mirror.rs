// SPDX-License-Identifier: GPL-2.0

//! Mirrors, and what is done through them.

use super::{
    declared,
    device::{Device, Ops},
    err_ptr, interrupted, job, killed, may_sleep, misuse, to_errno,
};
use crate::{
    bindings,
    chardev::{advise_range, fill_stats, migrate_range, populate_range, span},
    device::Context,
    job::Job,
    mirror::{Extent, Mirror, Table},
    mm::{range::Access, Span},
    placement::FaultHandler,
    query::{self, QueryPart},
    uapi,
};
use core::{mem::size_of, ptr::NonNull};
use kernel::{
    error::to_result,
    ffi::{c_int, c_long, c_void},
    mm::MmWithUser,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
    },
};

/// What a `hmm_cdm_mirror` is.
pub(super) struct Handle {
    mirror: Arc<Mirror>,
    device: Arc<Device>,
    // A pointer of the driver's.
    data: Atomic<usize>,
    open_jobs: Arc<Atomic<usize>>,
}

impl Handle {
    /// Makes a handle and has the driver open it.
    fn new(device: &Arc<Device>, mirror: Arc<Mirror>, data: *mut c_void) -> Result<KBox<Self>> {
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

            // Called only for entries, of which there are none before the driver has opened it.
            handle.mirror.attach(table)?;
        }
        if let Some(open) = ops.get().open {
            // SAFETY: The operation is the driver's.
            to_result(unsafe { open(handle.as_raw()) }).inspect_err(|_| handle.mirror.retire())?;
        }
        device.mirrors.fetch_add(1, Relaxed);
        Ok(handle)
    }

    /// Has the driver close it, and ends it.
    fn close(this: KBox<Self>) {
        let ops = this.device.ops;

        // Whatever the device still does with the mirror comes to its end by that, and no operation
        // but `close` is called for it from here on.
        this.mirror.retire();
        if let Some(close) = ops.get().close {
            // SAFETY: The operation is the driver's.
            unsafe { close(this.as_raw()) };
        }
        misuse!(
            this.open_jobs.load(Acquire) > 0,
            "a driver has closed a mirror before its jobs were complete\n"
        );
        this.device.mirrors.fetch_sub(1, Release);
    }

    fn as_raw(&self) -> *mut bindings::hmm_cdm_mirror {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `mirror` is one that the driver got from the library, and not closed for `'a`.
    unsafe fn from_raw<'a>(mirror: *const bindings::hmm_cdm_mirror) -> &'a Self {
        // SAFETY: By the safety requirements.
        unsafe { &*mirror.cast() }
    }
}

/// A driver's page table in C.
struct CTable {
    ops: Ops,
    handle: NonNull<Handle>,
}

// SAFETY: The operations may be called by any task, and the handle is only handed to them.
unsafe impl Send for CTable {}
// SAFETY: As above.
unsafe impl Sync for CTable {}

impl Table for CTable {
    fn map(&self, extent: &Extent) {
        if let Some(map) = self.ops.get().map {
            // SAFETY: The operation is the driver's. The handle lives: the mirror retires, after
            // which this is not called, before it goes.
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

fn to_c(extent: &Extent) -> bindings::hmm_cdm_extent {
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

/// What the library keeps for an open file of a driver in C.
struct OpenFile {
    // Only taken when it is dropped.
    handle: Option<KBox<Handle>>,
}

/// Makes what is behind an open file.
pub(super) fn open(device: &Arc<Device>, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
    // Room for it first: once the driver has opened it nothing may fail.
    let file = KBox::new(OpenFile { handle: None }, GFP_KERNEL)?;
    let handle = Handle::new(device, mirror, core::ptr::null_mut())?;
    let mut file = file;

    file.handle = Some(handle);
    Ok(file)
}

impl Context for OpenFile {
    fn submit(&self, job: Job) -> Result {
        let handle = self.handle.as_ref().ok_or(ENODEV)?;
        let run = handle.device.ops.get().run.ok_or(EOPNOTSUPP)?;
        let job = job::Handle::into_raw(job::Handle::new(job, handle.open_jobs.clone())?);

        // SAFETY: The operation is the driver's; with success the job is, too.
        to_result(unsafe { run(handle.as_raw(), job) }).inspect_err(|_| {
            // SAFETY: By the header's rules the driver does not touch it any more.
            unsafe { job::refuse(job) }
        })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            Handle::close(handle);
        }
    }
}

fn fault(mirror: &Mirror, addr: u64, length: u64, flags: u32) -> Result {
    const WRITE: u32 = bindings::HMM_CDM_FAULT_WRITE;
    const PRESENT: u32 = bindings::HMM_CDM_FAULT_PRESENT;

    if flags & !(WRITE | PRESENT) != 0 || length == 0 {
        return Err(EINVAL);
    }
    addr.checked_add(length).ok_or(EINVAL)?;
    let (addr, length) = (addr.try_into()?, length.try_into()?);
    let access = if flags & WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    };
    let mut faulter = FaultHandler::new()?;

    if flags & PRESENT != 0 {
        let span = Span::covering(addr & !(PAGE_SIZE - 1), length + addr % PAGE_SIZE);

        mirror.enter_present(&mut faulter, span.ok_or(EINVAL)?, killed)
    } else {
        mirror.fault_range(&mut faulter, addr, length, access, killed)
    }
    .map_err(interrupted)
}

fn migrate(mirror: &Mirror, arg: &mut uapi::Migrate) -> Result {
    if arg.size as usize != size_of::<uapi::Migrate>() {
        return Err(EINVAL);
    }
    let mm = mirror.mm()?;

    migrate_range(mirror, &mm, arg, killed)?
}

fn populate(mirror: &Mirror, arg: &mut uapi::Populate) -> Result {
    if arg.size as usize != size_of::<uapi::Populate>() {
        return Err(EINVAL);
    }
    let mm = mirror.mm()?;

    populate_range(mirror, &mm, arg, killed)?
}

fn advise(mirror: &Mirror, arg: &uapi::Advise) -> Result {
    if arg.size as usize != size_of::<uapi::Advise>() {
        return Err(EINVAL);
    }
    advise_range(mirror, arg)
}

/// bindgen derives no `Clone`.
fn copy_of(info: &uapi::PageInfo) -> uapi::PageInfo {
    uapi::PageInfo {
        where_: info.where_,
        order: info.order,
        cpu: info.cpu,
        device: info.device,
        accesses: info.accesses,
        flags: info.flags,
    }
}

fn look(mirror: &Mirror, span: Span, mut pages: &mut [uapi::PageInfo]) -> Result {
    let mm = mirror.mm()?;

    query::query(mirror, &mm, span, true, killed, |run| {
        let count = match run {
            QueryPart::Unmapped(count) => count,
            QueryPart::Pages(infos) => infos.len(),
        };
        let (now, later) = core::mem::take(&mut pages)
            .split_at_mut_checked(count)
            .ok_or(EINVAL)?;

        for (i, to) in now.iter_mut().enumerate() {
            *to = match &run {
                QueryPart::Unmapped(_) => uapi::PageInfo::default(),
                QueryPart::Pages(infos) => copy_of(infos.get(i).ok_or(EINVAL)?),
            };
        }
        pages = later;
        Ok(())
    })
}

declared!(
    hmm_cdm_create_mirror,
    hmm_cdm_destroy_mirror,
    hmm_cdm_mirror_device,
    hmm_cdm_mirror_data,
    hmm_cdm_set_mirror_data,
    hmm_cdm_mirror_is_of,
    hmm_cdm_fault,
    hmm_cdm_access,
    hmm_cdm_migrate,
    hmm_cdm_populate,
    hmm_cdm_advise,
    hmm_cdm_query,
    hmm_cdm_make_exclusive,
    hmm_cdm_stats,
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
    // SAFETY: By the header's rules.
    let device = unsafe { Device::reference(device) };
    if mm.is_null() {
        return err_ptr(EINVAL);
    }
    // SAFETY: By the header's rules the caller holds a reference on its users.
    let mm = unsafe { MmWithUser::from_raw(mm) };

    match Mirror::new(mm, device.memory.clone())
        .and_then(|mirror| Handle::new(&device, mirror, data))
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
    // SAFETY: By the header's rules it is from `hmm_cdm_create_mirror()`, and this is its end.
    Handle::close(unsafe { KBox::from_raw(mirror.cast()) });
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_mirror_device(
    mirror: *mut bindings::hmm_cdm_mirror,
) -> *mut bindings::hmm_cdm_device {
    // SAFETY: By the header's rules.
    unsafe { Handle::from_raw(mirror) }.device.as_raw()
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_mirror_data(mirror: *mut bindings::hmm_cdm_mirror) -> *mut c_void {
    // SAFETY: By the header's rules.
    let data = unsafe { Handle::from_raw(mirror) }.data.load(Relaxed);

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
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };

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
    // SAFETY: By the header's rules.
    unsafe { Handle::from_raw(mirror) }.mirror.is_of_raw(mm)
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_fault(
    mirror: *mut bindings::hmm_cdm_mirror,
    addr: u64,
    length: u64,
    flags: u32,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };

    to_errno(fault(&handle.mirror, addr, length, flags))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_access(
    mirror: *mut bindings::hmm_cdm_mirror,
    addr: u64,
    write: bool,
    fn_: bindings::hmm_cdm_access_fn,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };
    let access = if write { Access::Write } else { Access::Read };
    let (Some(use_page), Ok(addr)) = (fn_, usize::try_from(addr)) else {
        return EINVAL.to_errno();
    };

    let found = handle.mirror.access(addr, access, |hit| {
        // SAFETY: The function is the driver's, for this argument.
        unsafe { use_page(&to_c(&hit.extent), arg) };
    });
    to_errno(found.map_err(|_| ENOENT))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_migrate(
    mirror: *mut bindings::hmm_cdm_mirror,
    migrate: *mut bindings::hmm_cdm_migrate,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let (handle, arg) = unsafe { (Handle::from_raw(mirror), &mut *migrate) };

    to_errno(self::migrate(&handle.mirror, arg))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_populate(
    mirror: *mut bindings::hmm_cdm_mirror,
    populate: *mut bindings::hmm_cdm_populate,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let (handle, arg) = unsafe { (Handle::from_raw(mirror), &mut *populate) };

    to_errno(self::populate(&handle.mirror, arg))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_advise(
    mirror: *mut bindings::hmm_cdm_mirror,
    advise: *const bindings::hmm_cdm_advise,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let (handle, arg) = unsafe { (Handle::from_raw(mirror), &*advise) };

    to_errno(self::advise(&handle.mirror, arg))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_query(
    mirror: *mut bindings::hmm_cdm_mirror,
    addr: u64,
    length: u64,
    pages: *mut bindings::hmm_cdm_page,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };
    let span = match span(addr, length) {
        Ok(span) => span,
        Err(e) => return e.to_errno(),
    };
    // SAFETY: By the header's rules there is room for a description of each page; they may be
    // anything, as all bytes are valid.
    let pages = unsafe { core::slice::from_raw_parts_mut(pages, span.pages()) };

    to_errno(look(&handle.mirror, span, pages))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_make_exclusive(
    mirror: *mut bindings::hmm_cdm_mirror,
    addr: u64,
    length: u64,
) -> c_long {
    may_sleep();
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };

    match span(addr, length).and_then(|span| handle.mirror.make_exclusive(span, killed)) {
        Ok(pages) => pages as c_long,
        Err(e) => interrupted(e).to_errno() as c_long,
    }
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_stats(
    mirror: *mut bindings::hmm_cdm_mirror,
    stats: *mut bindings::hmm_cdm_stats,
) {
    may_sleep();
    // SAFETY: By the header's rules.
    let handle = unsafe { Handle::from_raw(mirror) };
    let mut sums = uapi::StatsOut {
        size: size_of::<uapi::StatsOut>() as u32,
        ..uapi::StatsOut::default()
    };

    fill_stats(&handle.mirror, &mut sums);
    // SAFETY: By the header's rules.
    unsafe { stats.write(sums) };
}

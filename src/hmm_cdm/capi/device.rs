// SPDX-License-Identifier: GPL-2.0

//! Devices and their memory.

use super::{declared, err_ptr, killed, may_sleep, mirror, misuse, to_errno};
use crate::{
    bindings,
    device::{Context, Driver},
    migrate::evict_all,
    mirror::Mirror,
    mm::copy::{Copier, CopyRun, Direction},
    node::{memory::Memory, region::Region},
    os::{module::ModuleOwner, of::DeviceNode},
    registration::{Registration, Spec},
};
use core::ptr::NonNull;
use kernel::{
    ffi::{c_int, c_long, c_void},
    new_mutex,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic},
        Arc, Mutex,
    },
};

/// How many copies a driver is handed at a time.
const BATCH: usize = 32;

/// A driver's operations.
///
/// # Invariants
///
/// They are valid, and unchanged, until the device is unregistered. Name and owner are not null.
#[derive(Copy, Clone)]
pub(super) struct Ops(NonNull<bindings::hmm_cdm_ops>);

// SAFETY: The operations are only read.
unsafe impl Send for Ops {}
// SAFETY: As above.
unsafe impl Sync for Ops {}

impl Ops {
    /// # Safety
    ///
    /// `ops` is null or as in the type's invariants, but for name and owner.
    unsafe fn new(ops: *const bindings::hmm_cdm_ops) -> Result<Self> {
        let ops = NonNull::new(ops.cast_mut()).ok_or(EINVAL)?;
        // SAFETY: By the safety requirements. The version is the first field of every version.
        let version = unsafe { (*ops.as_ptr()).version };
        if version != bindings::HMM_CDM_API_VERSION {
            pr_err!(
                "a driver is for version {version} of the interface, this is {}\n",
                bindings::HMM_CDM_API_VERSION
            );
            return Err(EPROTO);
        }

        // SAFETY: It is of this version.
        let all = unsafe { ops.as_ref() };
        let halves = all.copy.is_some() != all.zero.is_some()
            || all.map.is_some() != all.invalidate.is_some();
        if all.flags != 0 || all.name.is_null() || all.owner.is_null() || halves {
            return Err(EINVAL);
        }
        // INVARIANT: Checked here.
        Ok(Self(ops))
    }

    pub(super) fn get(&self) -> &bindings::hmm_cdm_ops {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    fn name(&self) -> &CStr {
        // SAFETY: By the type invariants; the name is a string.
        unsafe { CStr::from_char_ptr(self.get().name) }
    }
}

/// What a `hmm_cdm_device` is.
#[pin_data]
pub(super) struct Device {
    pub(super) ops: Ops,
    data: *mut c_void,
    pub(super) memory: Arc<Memory>,
    // Mirrors that the driver knows, those of open files too.
    pub(super) mirrors: Atomic<usize>,
    #[pin]
    registration: Mutex<Option<Registration>>,
}

// SAFETY: The data is the driver's, and only handed back.
unsafe impl Send for Device {}
// SAFETY: As above.
unsafe impl Sync for Device {}

impl Device {
    /// # Safety
    ///
    /// `device` is from `hmm_cdm_register_device()`, and not unregistered for `'a`.
    pub(super) unsafe fn from_raw<'a>(device: *const bindings::hmm_cdm_device) -> &'a Self {
        // SAFETY: By the safety requirements it is the pointer of an `Arc`, of which one reference
        // stands for the registration.
        unsafe { &*device.cast() }
    }

    /// # Safety
    ///
    /// As for [`Self::from_raw`].
    pub(super) unsafe fn reference(device: *const bindings::hmm_cdm_device) -> Arc<Self> {
        // SAFETY: By the safety requirements.
        let registered = unsafe { Arc::<Self>::from_raw(device.cast()) };
        // The reference of the registration stays where it is.
        let registered = core::mem::ManuallyDrop::new(registered);

        (*registered).clone()
    }

    pub(super) fn as_raw(&self) -> *mut bindings::hmm_cdm_device {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    fn needs_copier(&self) -> bool {
        let ops = self.ops.get();

        ops.copy.is_some() || ops.freed.is_some()
    }

    fn add(this: &Arc<Self>, memory: &bindings::hmm_cdm_memory) -> Result {
        let bindings::hmm_cdm_memory {
            type_,
            flags,
            start,
            size,
            nid,
            reserved,
            of_node,
        } = *memory;
        let nid = match nid {
            bindings::HMM_CDM_ANY_NODE => None,
            nid => Some(nid),
        };

        if flags & !bindings::HMM_CDM_MEMORY_NO_FILE != 0 || reserved != 0 {
            return Err(EINVAL);
        }
        let region;
        let spec = match type_ {
            bindings::hmm_cdm_memory_type_HMM_CDM_MEMORY_COHERENT => {
                // SAFETY: By the header's rules it is null or a node that the caller holds.
                region = match unsafe { DeviceNode::from_raw(of_node) } {
                    None => Region::new(start, size, nid),
                    Some(_) if start != 0 || size != 0 || nid.is_some() => return Err(EINVAL),
                    Some(node) => Region::of_node(&node)?,
                };
                Spec::Coherent(&region)
            }
            bindings::hmm_cdm_memory_type_HMM_CDM_MEMORY_PRIVATE
                if start == 0 && of_node.is_null() =>
            {
                Spec::Private(size, nid)
            }
            _ => return Err(EINVAL),
        };

        let driver = Arc::new(Adapter(this.clone()), GFP_KERNEL)?;
        let mut registration = this.registration.lock();
        if registration.is_some() {
            return Err(EBUSY);
        }
        *registration = Some(if flags & bindings::HMM_CDM_MEMORY_NO_FILE != 0 {
            Registration::without_file(
                this.memory.clone(),
                &spec,
                this.ops.name(),
                driver.copier(),
            )?
        } else {
            // SAFETY: By the header's rules the driver's module stays until the device has been
            // unregistered.
            let owner = unsafe { ModuleOwner::from_raw(this.ops.get().owner) };

            Registration::with(this.memory.clone(), &spec, driver, owner)?
        });
        Ok(())
    }

    fn remove(&self) -> Result {
        let registration = self.registration.lock().take();

        registration.ok_or(ENODEV)?.remove()
    }

    /// Has no memory and no mirrors.
    fn is_idle(&self) -> bool {
        self.registration.lock().is_none() && self.mirrors.load(Acquire) == 0
    }
}

/// A driver in C, as the library knows drivers.
struct Adapter(Arc<Device>);

impl Driver for Adapter {
    fn name(&self) -> &CStr {
        self.0.ops.name()
    }

    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        mirror::open(&self.0, mirror)
    }

    fn copier(&self) -> Option<Arc<dyn Copier>> {
        if !self.0.needs_copier() {
            return None;
        }
        // Without memory for it there is no copier, and so no private memory.
        let copier = Arc::new(Adapter(self.0.clone()), GFP_KERNEL).ok()?;

        Some(copier)
    }
}

impl Copier for Adapter {
    fn copies(&self) -> bool {
        self.0.ops.get().copy.is_some()
    }

    fn copy(&self, direction: Direction, runs: &[CopyRun]) -> usize {
        let Some(copy) = self.0.ops.get().copy else {
            return 0;
        };
        let direction = match direction {
            Direction::In => bindings::hmm_cdm_direction_HMM_CDM_COPY_IN,
            Direction::Out => bindings::hmm_cdm_direction_HMM_CDM_COPY_OUT,
        };
        let mut done = 0;

        for runs in runs.chunks(BATCH) {
            let mut copies = [const {
                bindings::hmm_cdm_copy {
                    page: core::ptr::null_mut(),
                    offset: 0,
                    pages: 0,
                    direction: 0,
                }
            }; BATCH];
            for (copy, run) in copies.iter_mut().zip(runs) {
                *copy = bindings::hmm_cdm_copy {
                    page: run.system.as_raw_page(),
                    offset: (run.index << PAGE_SHIFT) as u64,
                    pages: run.pages as u32,
                    direction,
                };
            }

            // SAFETY: The array has as many copies; the operation is the driver's.
            let ret = unsafe { copy(self.0.as_raw(), copies.as_ptr(), runs.len() as u32) };
            let copied = usize::try_from(ret).unwrap_or(0);
            let too_many = misuse!(
                copied > runs.len(),
                "a driver says that it has copied more than it was asked to\n"
            );
            // Which of them are right nobody knows.
            let copied = if too_many { 0 } else { copied };

            done += copied;
            if copied < runs.len() {
                break;
            }
        }
        done
    }

    fn zero(&self, index: usize, pages: usize) -> Result {
        let zero = self.0.ops.get().zero.ok_or(EOPNOTSUPP)?;

        // SAFETY: The operation is the driver's.
        kernel::error::to_result(unsafe {
            zero(
                self.0.as_raw(),
                (index * PAGE_SIZE) as u64,
                u32::try_from(pages)?,
            )
        })
    }

    fn freed(&self, index: usize, pages: usize) {
        if let Some(freed) = self.0.ops.get().freed {
            // SAFETY: The operation is the driver's.
            unsafe { freed(self.0.as_raw(), (index * PAGE_SIZE) as u64, pages as u32) };
        }
    }
}

declared!(
    hmm_cdm_register_device,
    hmm_cdm_unregister_device,
    hmm_cdm_device_data,
    hmm_cdm_add_memory,
    hmm_cdm_remove_memory,
    hmm_cdm_evict,
    hmm_cdm_pages,
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
    // SAFETY: By the header's rules.
    let device = unsafe { Ops::new(ops) }.and_then(|ops| {
        Arc::pin_init(
            try_pin_init!(Device {
                ops,
                data,
                memory: Memory::new()?,
                mirrors: Atomic::new(0),
                registration <- new_mutex!(None, "capi::Device::registration"),
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
    // SAFETY: By the header's rules.
    if !unsafe { Device::from_raw(device) }.is_idle() {
        return EBUSY.to_errno();
    }
    // SAFETY: The reference that stands for the registration; by the header's rules this is called
    // once.
    drop(unsafe { Arc::<Device>::from_raw(device.cast()) });
    0
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_device_data(device: *mut bindings::hmm_cdm_device) -> *mut c_void {
    // SAFETY: By the header's rules.
    unsafe { Device::from_raw(device) }.data
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_add_memory(
    device: *mut bindings::hmm_cdm_device,
    memory: *const bindings::hmm_cdm_memory,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let device = unsafe { Device::reference(device) };
    // SAFETY: As above.
    let memory = unsafe { &*memory };

    to_errno(Device::add(&device, memory))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_remove_memory(device: *mut bindings::hmm_cdm_device) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    to_errno(unsafe { Device::from_raw(device) }.remove())
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_evict(device: *mut bindings::hmm_cdm_device) -> c_long {
    may_sleep();
    // SAFETY: By the header's rules.
    let node = unsafe { Device::from_raw(device) }.memory.node();

    match node.ok_or(ENODEV).and_then(|node| evict_all(&node, killed)) {
        Ok(moved) => moved as c_long,
        Err(e) => e.to_errno() as c_long,
    }
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_retire_page(
    device: *mut bindings::hmm_cdm_device,
    offset: u64,
    lost: bool,
) -> c_int {
    may_sleep();
    // SAFETY: By the header's rules.
    let node = unsafe { Device::from_raw(device) }.memory.node();
    let index = (offset >> PAGE_SHIFT) as usize;

    to_errno(node.ok_or(ENODEV).and_then(|node| {
        if lost {
            node.fail(index)
        } else {
            node.retire(index)
        }
    }))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_pages(device: *mut bindings::hmm_cdm_device, free: *mut u64) -> u64 {
    may_sleep();
    // SAFETY: By the header's rules.
    let node = unsafe { Device::from_raw(device) }.memory.node();
    let pages = |count: &dyn Fn(&crate::node::Node) -> usize| {
        node.as_deref().map_or(0, |node| count(node) as u64)
    };

    if !free.is_null() {
        // SAFETY: By the header's rules.
        unsafe { *free = pages(&|node| node.free_pages()) };
    }
    pages(&|node| node.pages())
}

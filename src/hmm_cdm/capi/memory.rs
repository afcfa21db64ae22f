// SPDX-License-Identifier: GPL-2.0

//! The memory of a device: adding, removing and evicting it, and taking pages out of use.

use super::{
    declared,
    device::CDevice,
    driver::Adapter,
    killed,
    may_sleep,
    to_errno, //
};
use crate::{
    bindings,
    device::Driver,
    migrate::evict_all,
    node::region::Region,
    os::{
        module::ModuleOwner,
        of::DeviceNode, //
    },
    registration::{
        Registration,
        Spec, //
    },
};
use kernel::{
    ffi::{
        c_int,
        c_long, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc,
};

fn add(device: &Arc<CDevice>, memory: &bindings::hmm_cdm_memory) -> Result {
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
            // SAFETY: Rule `pointer`: null, or a node that the caller has a reference to.
            region = match unsafe { DeviceNode::from_raw(of_node) } {
                // SAFETY: Rule `memory`.
                None => unsafe { Region::new(start, size, nid) },
                Some(_) if start != 0 || size != 0 || nid.is_some() => return Err(EINVAL),
                Some(node) => Region::of_node(&node)?,
            };
            Spec::Coherent(&region)
        }
        bindings::hmm_cdm_memory_type_HMM_CDM_MEMORY_PRIVATE if start == 0 && of_node.is_null() => {
            Spec::Private(size, nid)
        }
        _ => return Err(EINVAL),
    };

    let driver = Arc::new(Adapter(device.clone()), GFP_KERNEL)?;
    let mut registration = device.registration.lock();
    if registration.is_some() {
        return Err(EBUSY);
    }
    *registration = Some(if flags & bindings::HMM_CDM_MEMORY_NO_FILE != 0 {
        Registration::without_file(
            device.memory.clone(),
            &spec,
            device.ops.name(),
            driver.copier()?,
        )?
    } else {
        // SAFETY: Rule `module`; the registration ends before the device is unregistered.
        let owner = unsafe { ModuleOwner::from_raw(device.ops.get().owner) };

        Registration::with(device.memory.clone(), &spec, driver, owner)?
    });
    Ok(())
}

declared!(
    hmm_cdm_add_memory,
    hmm_cdm_remove_memory,
    hmm_cdm_evict,
    hmm_cdm_retire_page,
    hmm_cdm_pages,
);

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_add_memory(
    device: *mut bindings::hmm_cdm_device,
    memory: *const bindings::hmm_cdm_memory,
) -> c_int {
    may_sleep();
    // SAFETY: Rule `handle`.
    let device = unsafe { CDevice::reference(device) };
    // SAFETY: Rule `pointer`.
    let memory = unsafe { &*memory };

    to_errno(add(&device, memory))
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_remove_memory(device: *mut bindings::hmm_cdm_device) -> c_int {
    may_sleep();
    // SAFETY: Rule `handle`.
    to_errno(unsafe { CDevice::from_raw(device) }.remove())
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_evict(device: *mut bindings::hmm_cdm_device) -> c_long {
    may_sleep();
    // SAFETY: Rule `handle`.
    let node = unsafe { CDevice::from_raw(device) }.memory.node();

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
    // SAFETY: Rule `handle`.
    let node = unsafe { CDevice::from_raw(device) }.memory.node();
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
    // SAFETY: Rule `handle`.
    let node = unsafe { CDevice::from_raw(device) }.memory.node();
    let pages = |count: &dyn Fn(&crate::node::Node) -> usize| {
        node.as_deref().map_or(0, |node| count(node) as u64)
    };

    if !free.is_null() {
        // SAFETY: Rule `pointer`.
        unsafe { *free = pages(&|node| node.free_pages()) };
    }
    pages(&|node| node.pages())
}

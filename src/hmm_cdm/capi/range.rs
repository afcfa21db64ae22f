// SPDX-License-Identifier: GPL-2.0

//! Operations of a driver in C on ranges of a mirrored address space: device faults and accesses,
//! migration, advice, queries; and the counters.

use super::{
    declared, interrupted, killed, may_sleep,
    mirror::{
        to_c,
        MirrorHandle, //
    },
    to_errno,
};
use crate::{
    bindings,
    mirror::Mirror,
    mm::{
        range::Access,
        Span, //
    },
    placement::FaultHandler,
    query::{
        self,
        QueryPart, //
    },
    request::{
        self,
        span, //
    },
    uapi,
};
use core::mem::size_of;
use kernel::{
    ffi::{
        c_int,
        c_long,
        c_void, //
    },
    page::PAGE_SIZE,
    prelude::*,
};

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

    request::migrate(mirror, &mm, arg, killed)?
}

fn populate(mirror: &Mirror, arg: &mut uapi::Populate) -> Result {
    if arg.size as usize != size_of::<uapi::Populate>() {
        return Err(EINVAL);
    }
    let mm = mirror.mm()?;

    request::populate(mirror, &mm, arg, killed)?
}

fn advise(mirror: &Mirror, arg: &uapi::Advise) -> Result {
    if arg.size as usize != size_of::<uapi::Advise>() {
        return Err(EINVAL);
    }
    request::advise(mirror, arg)
}

/// Copies a description; bindgen derives no `Clone` for it.
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
unsafe extern "C" fn hmm_cdm_fault(
    mirror: *mut bindings::hmm_cdm_mirror,
    addr: u64,
    length: u64,
    flags: u32,
) -> c_int {
    may_sleep();
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };

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
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };
    let access = if write { Access::Write } else { Access::Read };
    let (Some(use_page), Ok(addr)) = (fn_, usize::try_from(addr)) else {
        return EINVAL.to_errno();
    };

    let found = handle.mirror.access(addr, access, |hit| {
        // SAFETY: By the header a `hmm_cdm_access_fn` makes one access to the page and does not
        // sleep, as it must not under the interval's lock. It gets the driver's own `arg`.
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
    // SAFETY: Rules `handle` and `pointer`.
    let (handle, arg) = unsafe { (MirrorHandle::from_raw(mirror), &mut *migrate) };

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
    // SAFETY: Rules `handle` and `pointer`.
    let (handle, arg) = unsafe { (MirrorHandle::from_raw(mirror), &mut *populate) };

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
    // SAFETY: Rules `handle` and `pointer`.
    let (handle, arg) = unsafe { (MirrorHandle::from_raw(mirror), &*advise) };

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
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };
    let span = match span(addr, length) {
        Ok(span) => span,
        Err(e) => return e.to_errno(),
    };
    // SAFETY: Rule `pointer`: the array has an element for each page. Every bit pattern is a valid
    // `hmm_cdm_page`, so it need not be initialised.
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
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };

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
    // SAFETY: Rule `handle`.
    let handle = unsafe { MirrorHandle::from_raw(mirror) };
    let mut sums = uapi::StatsOut {
        size: size_of::<uapi::StatsOut>() as u32,
        ..uapi::StatsOut::default()
    };

    request::stats(&handle.mirror, &mut sums);
    // SAFETY: Rule `pointer`.
    unsafe { stats.write(sums) };
}

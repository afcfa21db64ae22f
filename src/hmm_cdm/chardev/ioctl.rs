// SPDX-License-Identifier: GPL-2.0

//! The ioctls: each copies its argument in, has the layers below carry it out, and copies the
//! result back. `include/uapi/linux/hmm_cdm.h` describes them.

use super::jobs::Jobs;
use crate::{
    device::{
        Context,
        Device, //
    },
    job::{
        Job,
        Ticket,
        Timeout, //
    },
    mirror::Mirror,
    mm::{
        self,
        range::Access, //
    },
    os::{
        capable_sys_admin,
        eventfd::EventFd, //
    },
    query::{
        self,
        QueryPart, //
    },
    request::{
        self,
        check_zero, //
    },
    uapi::{
        self,
        Arg,
        PageInfo, //
    },
};
use kernel::{
    alloc::KVVec,
    current,
    mm::MmWithUser,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

fn interrupted() -> bool {
    current!().signal_pending()
}

/// Copies `text` to `field`, truncated to leave a terminating NUL, and zeroes the rest.
fn copy_text(field: &mut [u8], text: &[u8]) {
    let len = field.len().saturating_sub(1);

    field.fill(0);
    for (to, from) in field.iter_mut().take(len).zip(text) {
        *to = *from;
    }
}

pub(super) fn info(device: &Device, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::Info>::read(user)?;
    let node = device.node()?;

    check_zero(arg.flags)?;
    arg.version = uapi::VERSION;
    arg.index = device.index();
    arg.numa_node = node.nid();
    arg.page_size = PAGE_SIZE as u32;
    arg.window_size = mm::window_size() as u32;
    arg.reserved = 0;
    arg.capacity = node.size();
    arg.free = (node.free_pages() as u64) << PAGE_SHIFT;
    // The device tree path contains the address.
    let (start, origin) = if capable_sys_admin() {
        (node.start(), node.origin().map(|path| path.to_bytes()))
    } else {
        (0, None)
    };
    arg.start = start;
    copy_text(&mut arg.origin, origin.unwrap_or_default());
    copy_text(&mut arg.driver, device.driver().name().to_bytes());
    // Removal waits for this reference, and a fault of `write()` may sleep for ever.
    drop(node);
    arg.write()
}

pub(super) fn migrate(mirror: &Mirror, mm: &MmWithUser, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::Migrate>::read(user)?;
    let ret = request::migrate(mirror, mm, &mut arg, interrupted)?;

    arg.write()?;
    ret
}

pub(super) fn populate(mirror: &Mirror, mm: &MmWithUser, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::Populate>::read(user)?;
    let ret = request::populate(mirror, mm, &mut arg, interrupted)?;

    arg.write()?;
    ret
}

pub(super) fn advise(mirror: &Mirror, user: UserPtr) -> Result {
    let arg = Arg::<uapi::Advise>::read(user)?;

    request::advise(mirror, &arg)
}

pub(super) fn query(mirror: &Mirror, mm: &MmWithUser, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::Query>::read(user)?;
    let span = request::span(arg.addr, arg.length)?;
    let size = core::mem::size_of::<PageInfo>();

    check_zero(arg.flags)?;
    arg.where_.fill(0);

    // Without a buffer, `out` is empty and never written to.
    let has_buffer = arg.pages != 0;
    let len = if has_buffer { span.pages() * size } else { 0 };
    let mut out = UserSlice::new(UserPtr::from_addr(arg.pages.try_into()?), len).writer();
    let counts = &mut arg.where_;
    let unmapped = KVVec::<PageInfo>::zeroed(mm::window_pages(), GFP_KERNEL)?;

    query::query(mirror, mm, span, has_buffer, interrupted, |part| {
        match part {
            QueryPart::Unmapped(pages) => {
                if let Some(count) = counts.get_mut(uapi::Where::Unmapped as usize) {
                    *count += pages as u64;
                }
                if let Some(infos) = unmapped.get(..pages).filter(|_| has_buffer) {
                    out.write_slice(uapi::bytes(infos))?;
                }
            }
            QueryPart::Pages(infos) => {
                for info in infos {
                    if let Some(count) = counts.get_mut(usize::from(info.where_)) {
                        *count += 1;
                    }
                }
                if has_buffer {
                    out.write_slice(uapi::bytes(infos))?;
                }
            }
        }
        Ok(())
    })?;
    arg.write()
}

pub(super) fn submit(
    device: &Device,
    mirror: &Mirror,
    context: &dyn Context,
    jobs: &Jobs,
    user: UserPtr,
) -> Result {
    let mut arg = Arg::<uapi::Submit>::read(user)?;

    check_zero(arg.flags & !uapi::SUBMIT_EVENTFD)?;
    let eventfd = if arg.flags & uapi::SUBMIT_EVENTFD != 0 {
        Some(EventFd::get(arg.eventfd)?)
    } else {
        check_zero(arg.eventfd as u32)?;
        None
    };

    device.check_health()?;
    let ticket = Ticket::new(eventfd)?;
    let number = jobs.add(ticket.clone())?;
    let job = Job::new(arg.op, arg.args, ticket.clone());

    // Copied back before the job starts, so that the caller can always name it.
    arg.job = number;
    arg.write()
        .and_then(|()| context.submit(job))
        .inspect_err(|_| {
            // A thread that waits for the number already finds the job cancelled.
            let _ = jobs.remove(number);
        })?;
    ticket.accept();
    mirror.stats().jobs.add(1);
    Ok(())
}

pub(super) fn wait(jobs: &Jobs, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::Wait>::read(user)?;

    check_zero(arg.flags)?;
    let ticket = jobs.get(arg.job)?;
    let done = ticket.wait(Timeout::from_ns(arg.timeout_ns))?;
    let (addr, access) = match done.fault {
        None => (0, 0),
        Some((addr, Access::Read)) => (addr, uapi::ACCESS_READ),
        Some((addr, Access::Write)) => (addr, uapi::ACCESS_WRITE),
    };

    arg.status = done.status;
    arg.fault_access = access;
    arg.fault_addr = addr as u64;
    arg.result = done.result;
    arg.faults = done.faults;
    arg.bytes_local = done.bytes_local;
    arg.bytes_remote = done.bytes_remote;
    arg.write()?;
    jobs.remove(arg.job)
}

pub(super) fn stats(mirror: &Mirror, user: UserPtr) -> Result {
    let mut arg = Arg::<uapi::StatsOut>::read(user)?;

    check_zero(arg.flags)?;
    request::stats(mirror, &mut arg);
    arg.write()
}

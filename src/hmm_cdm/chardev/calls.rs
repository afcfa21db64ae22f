// SPDX-License-Identifier: GPL-2.0

//! The calls: each checks its argument, does its work through the layers below, and writes back.
//! What they mean is described in `include/uapi/linux/hmm_cdm.h`.

use super::CdmFile;
use crate::{
    job::{Job, Ticket, Timeout},
    migrate::{Migration, Plan, Report, Workspace},
    mirror::{Mirror, Policy},
    mm::{self, range::Access, Span},
    os::{capable_sys_admin, eventfd::EventFd},
    placement::account,
    query::{self, QueryPart},
    uapi::{self, Arg, PageInfo},
};
use kernel::{
    alloc::KVVec,
    current,
    mm::MmWithUser,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

fn zero(reserved: u32) -> Result {
    if reserved == 0 {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// The span of `length` bytes from `addr`, whole pages. EINVAL.
pub(crate) fn span(addr: u64, length: u64) -> Result<Span> {
    let end = addr.checked_add(length).ok_or(EINVAL)?;

    Span::new(addr.try_into()?, end.try_into()?).ok_or(EINVAL)
}

fn interrupted() -> bool {
    current!().signal_pending()
}

/// Fills a field with a text, cut to leave room for a NUL, and zeroes behind it.
fn copy_text(field: &mut [u8], text: &[u8]) {
    let room = field.len().saturating_sub(1);

    field.fill(0);
    for (to, from) in field.iter_mut().take(room).zip(text) {
        *to = *from;
    }
}

/// Carries out `plan` for `span` and counts on the mirror what was done. The inner result is that of a
/// migration that was made, in part at least: the report says what of it.
fn carry_out(
    mirror: &Mirror,
    mm: &MmWithUser,
    span: Span,
    plan: Plan,
    interrupted: impl Fn() -> bool,
) -> Result<(Report, Result)> {
    let node = mirror.node().ok_or(ENODEV)?;
    mirror.prepare(mm)?;
    let mut space = Workspace::new(span.pages(), plan)?;
    let mut migration = Migration::new(mm, &node, plan, &mut space);
    let ret = migration.run(span, interrupted);
    let report = *migration.report();

    account(mirror, plan.target, &report);
    Ok((report, ret))
}

/// Does what a migration's argument asks for. The inner result is that of [`carry_out`]; with it
/// the argument has its counts.
pub(crate) fn migrate_range(
    mirror: &Mirror,
    mm: &MmWithUser,
    arg: &mut uapi::Migrate,
    interrupted: impl Fn() -> bool,
) -> Result<Result> {
    let span = span(arg.addr, arg.length)?;

    zero((arg.flags & !(uapi::MIGRATE_EVICT | uapi::MIGRATE_LEAVE_PEERS)) | arg.reserved)?;
    let plan = match arg.target {
        uapi::TARGET_NODE => Plan {
            evict: arg.flags & uapi::MIGRATE_EVICT != 0,
            leave_peers: arg.flags & uapi::MIGRATE_LEAVE_PEERS != 0,
            ..Plan::to_node()
        },
        // There is no room to be made in system memory, and nothing of others comes there.
        uapi::TARGET_SYSTEM if arg.flags == 0 => Plan::to_system(),
        _ => return Err(EINVAL),
    };
    let (report, ret) = carry_out(mirror, mm, span, plan, interrupted)?;

    arg.migrated = report.migrated;
    arg.populated = report.populated;
    arg.present = report.present;
    arg.huge = report.huge;
    arg.skipped = report.skipped;
    arg.peers = report.peers;
    arg.evicted = report.evicted;
    Ok(ret)
}

/// Gives untouched memory pages of the node, as the argument asks for; results as of
/// [`migrate_range`].
pub(crate) fn populate_range(
    mirror: &Mirror,
    mm: &MmWithUser,
    arg: &mut uapi::Populate,
    interrupted: impl Fn() -> bool,
) -> Result<Result> {
    let span = span(arg.addr, arg.length)?;

    zero(arg.flags & !(uapi::POPULATE_MIGRATE | uapi::POPULATE_EVICT))?;
    let plan = Plan {
        untouched_only: arg.flags & uapi::POPULATE_MIGRATE == 0,
        evict: arg.flags & uapi::POPULATE_EVICT != 0,
        ..Plan::to_node()
    };
    let (report, ret) = carry_out(mirror, mm, span, plan, interrupted)?;

    arg.populated = report.populated;
    arg.present = report.present;
    arg.stayed = report.stayed;
    arg.migrated = report.migrated;
    arg.contiguous = report.contiguous;
    arg.evicted = report.evicted;
    arg.skipped = report.skipped;
    Ok(ret)
}

/// Notes what the argument says of a range.
pub(crate) fn advise_range(mirror: &Mirror, arg: &uapi::Advise) -> Result {
    let span = span(arg.addr, arg.length)?;
    let has = |flag| arg.flags & flag != 0;

    zero(arg.reserved)?;
    zero(arg.flags & !(uapi::ADVISE_MIGRATE | uapi::ADVISE_COW | uapi::ADVISE_EVICT))?;
    let policy = match arg.place {
        uapi::PLACE_NODE => Policy {
            node: true,
            migrate: has(uapi::ADVISE_MIGRATE),
            cow: has(uapi::ADVISE_COW),
            evict: has(uapi::ADVISE_EVICT),
        },
        uapi::PLACE_NONE if arg.flags == 0 => Policy::default(),
        _ => return Err(EINVAL),
    };
    mirror.advise(span, policy)
}

/// Fills in the counters of a mirror and of its device's memory.
pub(crate) fn fill_stats(mirror: &Mirror, arg: &mut uapi::StatsOut) {
    let stats = mirror.stats();

    arg.faults = stats.faults.get();
    arg.fault_pages = stats.fault_pages.get();
    arg.fault_retries = stats.fault_retries.get();
    arg.invalidations = stats.invalidations.get();
    arg.invalidated_pages = stats.invalidated_pages.get();
    arg.migrated_in = stats.migrated_in.get();
    arg.migrated_out = stats.migrated_out.get();
    arg.bytes_copied = stats.bytes_copied.get();
    arg.populated = stats.populated.get();
    arg.huge = stats.huge.get();
    for (to, from) in arg.skipped.iter_mut().zip(&stats.skipped) {
        *to = from.get();
    }
    arg.jobs = stats.jobs.get();
    let node = mirror.node();
    arg.node_pages = node.as_ref().map_or(0, |node| node.pages()) as u64;
    arg.node_free = node.as_ref().map_or(0, |node| node.free_pages()) as u64;
    arg.node_contiguous = node.as_ref().map_or(0, |node| node.free_windows()) as u64;
    arg.peers = stats.peers.get();
    arg.touched = stats.touched.get();
    arg.evicted = stats.evicted.get();
    arg.node_evicted = node.as_ref().map_or(0, |node| node.evicted().get());
}

impl CdmFile {
    pub(super) fn info(&self, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Info>::read(user)?;
        let node = self.device.node()?;

        zero(arg.flags)?;
        arg.version = uapi::VERSION;
        arg.index = self.device.index();
        arg.numa_node = node.nid();
        arg.page_size = PAGE_SIZE as u32;
        arg.window_size = mm::window_size() as u32;
        arg.reserved = 0;
        arg.capacity = node.size();
        arg.free = (node.free_pages() as u64) << PAGE_SHIFT;
        // A path has the address in it.
        let (start, origin) = if capable_sys_admin() {
            (node.start(), node.origin().map(|path| path.to_bytes()))
        } else {
            (0, None)
        };
        arg.start = start;
        copy_text(&mut arg.origin, origin.unwrap_or_default());
        copy_text(&mut arg.driver, self.device.driver().name().to_bytes());
        // Writing may fault, and sleep for as long as the process likes; removal waits for us.
        drop(node);
        arg.write()
    }

    pub(super) fn migrate(&self, mm: &MmWithUser, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Migrate>::read(user)?;
        let ret = migrate_range(&self.mirror, mm, &mut arg, interrupted)?;

        arg.write()?;
        ret
    }

    pub(super) fn populate(&self, mm: &MmWithUser, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Populate>::read(user)?;
        let ret = populate_range(&self.mirror, mm, &mut arg, interrupted)?;

        arg.write()?;
        ret
    }

    pub(super) fn advise(&self, user: UserPtr) -> Result {
        let arg = Arg::<uapi::Advise>::read(user)?;

        advise_range(&self.mirror, &arg)
    }

    pub(super) fn query(&self, mm: &MmWithUser, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Query>::read(user)?;
        let span = span(arg.addr, arg.length)?;
        let size = core::mem::size_of::<PageInfo>();

        zero(arg.flags)?;
        arg.where_.fill(0);

        // With no buffer, `out` is empty and never written to.
        let wanted = arg.pages != 0;
        let len = if wanted { span.pages() * size } else { 0 };
        let mut out = UserSlice::new(UserPtr::from_addr(arg.pages.try_into()?), len).writer();
        let sums = &mut arg.where_;
        let unmapped = KVVec::<PageInfo>::zeroed(mm::window_pages(), GFP_KERNEL)?;

        query::query(&self.mirror, mm, span, wanted, interrupted, |run| {
            match run {
                QueryPart::Unmapped(pages) => {
                    if let Some(sum) = sums.get_mut(uapi::Where::Unmapped as usize) {
                        *sum += pages as u64;
                    }
                    if let Some(infos) = unmapped.get(..pages).filter(|_| wanted) {
                        out.write_slice(uapi::bytes(infos))?;
                    }
                }
                QueryPart::Pages(infos) => {
                    for info in infos {
                        if let Some(sum) = sums.get_mut(usize::from(info.where_)) {
                            *sum += 1;
                        }
                    }
                    if wanted {
                        out.write_slice(uapi::bytes(infos))?;
                    }
                }
            }
            Ok(())
        })?;
        arg.write()
    }

    pub(super) fn submit(&self, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Submit>::read(user)?;

        zero(arg.flags & !uapi::SUBMIT_EVENTFD)?;
        let eventfd = if arg.flags & uapi::SUBMIT_EVENTFD != 0 {
            Some(EventFd::get(arg.eventfd)?)
        } else {
            zero(arg.eventfd as u32)?;
            None
        };

        self.device.check_health()?;
        let ticket = Ticket::new(eventfd)?;
        let number = self.jobs.add(ticket.clone())?;
        let job = Job::new(arg.op, arg.args, ticket);

        // Written first: a job that the caller cannot name is not started.
        arg.job = number;
        arg.write()
            .and_then(|()| self.context.submit(job))
            .inspect_err(|_| {
                // Nobody else knows the number yet.
                let _ = self.jobs.remove(number);
            })?;
        self.mirror.stats().jobs.add(1);
        Ok(())
    }

    pub(super) fn wait(&self, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::Wait>::read(user)?;

        zero(arg.flags)?;
        let ticket = self.jobs.get(arg.job)?;
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
        self.jobs.remove(arg.job)
    }

    pub(super) fn stats(&self, user: UserPtr) -> Result {
        let mut arg = Arg::<uapi::StatsOut>::read(user)?;

        zero(arg.flags)?;
        fill_stats(&self.mirror, &mut arg);
        arg.write()
    }
}

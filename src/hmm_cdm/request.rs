// SPDX-License-Identifier: GPL-2.0

//! Requests as the interfaces make them, carried out by the layers below.
//!
//! The ioctls of `/dev/hmm_cdm<N>` and the functions of the C interface take the same structures.
//! Their arguments are checked and become a [`Plan`] or a [`Policy`] here, and results become
//! counts in the structure again. `include/uapi/linux/hmm_cdm.h` describes what each of them means.
//!
//! Context: process; sleeps. No lock is held.

use crate::{
    migrate::{
        Migration,
        Plan,
        Report,
        Workspace, //
    },
    mirror::{
        Mirror,
        Policy, //
    },
    mm::Span,
    uapi, //
};
use kernel::{
    mm::MmWithUser,
    prelude::*, //
};

/// Returns EINVAL if a reserved field or an unknown flag is set.
pub(crate) fn check_zero(bits: u32) -> Result {
    if bits == 0 {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Returns the span of the `length` bytes from `addr`. EINVAL if it is empty or not page aligned.
pub(crate) fn span(addr: u64, length: u64) -> Result<Span> {
    let end = addr.checked_add(length).ok_or(EINVAL)?;

    Span::new(addr.try_into()?, end.try_into()?).ok_or(EINVAL)
}

fn migrate_plan(arg: &uapi::Migrate) -> Result<Plan> {
    const EVICT: u32 = uapi::MIGRATE_EVICT;
    const LEAVE_PEERS: u32 = uapi::MIGRATE_LEAVE_PEERS;

    check_zero((arg.flags & !(EVICT | LEAVE_PEERS)) | arg.reserved)?;
    match arg.target {
        uapi::TARGET_NODE => Ok(Plan {
            evict: arg.flags & EVICT != 0,
            leave_peers: arg.flags & LEAVE_PEERS != 0,
            ..Plan::to_node()
        }),
        // System memory is not evicted, and pages of other nodes do not go there.
        uapi::TARGET_SYSTEM if arg.flags == 0 => Ok(Plan::to_system()),
        _ => Err(EINVAL),
    }
}

fn populate_plan(arg: &uapi::Populate) -> Result<Plan> {
    const MIGRATE: u32 = uapi::POPULATE_MIGRATE;
    const EVICT: u32 = uapi::POPULATE_EVICT;

    check_zero(arg.flags & !(MIGRATE | EVICT))?;
    Ok(Plan {
        untouched_only: arg.flags & MIGRATE == 0,
        evict: arg.flags & EVICT != 0,
        ..Plan::to_node()
    })
}

fn policy(arg: &uapi::Advise) -> Result<Policy> {
    const MIGRATE: u32 = uapi::ADVISE_MIGRATE;
    const COW: u32 = uapi::ADVISE_COW;
    const EVICT: u32 = uapi::ADVISE_EVICT;

    check_zero((arg.flags & !(MIGRATE | COW | EVICT)) | arg.reserved)?;
    match arg.place {
        uapi::PLACE_NODE => Ok(Policy {
            node: true,
            migrate: arg.flags & MIGRATE != 0,
            cow: arg.flags & COW != 0,
            evict: arg.flags & EVICT != 0,
        }),
        uapi::PLACE_NONE if arg.flags == 0 => Ok(Policy::default()),
        _ => Err(EINVAL),
    }
}

/// Carries out `plan` for `span` and adds the result to the mirror's counters.
///
/// The outer result is an error if nothing was done. The inner one is that of
/// [`Migration::run`], with which the report is valid.
fn run(
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

    report.add_to(mirror.stats(), plan.target);
    Ok((report, ret))
}

/// Migrates the range of `arg`.
///
/// The outer result is an error if nothing was done, and then `arg` is unchanged. The inner one is
/// the result of the call; `arg` has the counts, whatever it is.
pub(crate) fn migrate(
    mirror: &Mirror,
    mm: &MmWithUser,
    arg: &mut uapi::Migrate,
    interrupted: impl Fn() -> bool,
) -> Result<Result> {
    let span = span(arg.addr, arg.length)?;
    let plan = migrate_plan(arg)?;
    let (report, ret) = run(mirror, mm, span, plan, interrupted)?;

    arg.migrated = report.migrated;
    arg.populated = report.populated;
    arg.present = report.present;
    arg.huge = report.huge;
    arg.skipped = report.skipped;
    arg.peers = report.peers;
    arg.evicted = report.evicted;
    Ok(ret)
}

/// Backs untouched memory in the range of `arg` with pages of the node. Results are those of
/// [`migrate`].
pub(crate) fn populate(
    mirror: &Mirror,
    mm: &MmWithUser,
    arg: &mut uapi::Populate,
    interrupted: impl Fn() -> bool,
) -> Result<Result> {
    let span = span(arg.addr, arg.length)?;
    let plan = populate_plan(arg)?;
    let (report, ret) = run(mirror, mm, span, plan, interrupted)?;

    arg.populated = report.populated;
    arg.present = report.present;
    arg.stayed = report.stayed;
    arg.migrated = report.migrated;
    arg.contiguous = report.contiguous;
    arg.evicted = report.evicted;
    arg.skipped = report.skipped;
    Ok(ret)
}

/// Sets the policy for the range of `arg`.
pub(crate) fn advise(mirror: &Mirror, arg: &uapi::Advise) -> Result {
    mirror.advise(span(arg.addr, arg.length)?, policy(arg)?)
}

/// Fills in the counters of a mirror and of its device's memory.
pub(crate) fn stats(mirror: &Mirror, arg: &mut uapi::StatsOut) {
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

#[kunit_tests(hmm_cdm_request)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn ranges_are_whole_pages() {
        let end = u64::MAX & !(PAGE - 1);

        assert_eq!(span(PAGE, 2 * PAGE).map(|span| span.pages()), Ok(2));
        assert!(span(0, end).is_ok());
        for (addr, length) in [
            (PAGE, 0),
            (1, PAGE),
            (PAGE, 1),
            (PAGE, PAGE + 1),
            (PAGE, end),
            (end, PAGE),
            (PAGE, u64::MAX),
        ] {
            assert_eq!(span(addr, length).err(), Some(EINVAL));
        }
    }

    #[test]
    fn migrations() {
        let plan = |target, flags, reserved| {
            migrate_plan(&uapi::Migrate {
                target,
                flags,
                reserved,
                ..uapi::Migrate::default()
            })
        };
        let evict = Plan {
            evict: true,
            ..Plan::to_node()
        };
        let leave_peers = Plan {
            leave_peers: true,
            ..Plan::to_node()
        };

        assert_eq!(plan(uapi::TARGET_NODE, 0, 0), Ok(Plan::to_node()));
        assert_eq!(plan(uapi::TARGET_NODE, uapi::MIGRATE_EVICT, 0), Ok(evict));
        assert_eq!(
            plan(uapi::TARGET_NODE, uapi::MIGRATE_LEAVE_PEERS, 0),
            Ok(leave_peers)
        );
        assert_eq!(plan(uapi::TARGET_SYSTEM, 0, 0), Ok(Plan::to_system()));
        for (target, flags, reserved) in [
            (uapi::TARGET_SYSTEM + 1, 0, 0),
            (uapi::TARGET_SYSTEM, uapi::MIGRATE_EVICT, 0),
            (uapi::TARGET_SYSTEM, uapi::MIGRATE_LEAVE_PEERS, 0),
            (uapi::TARGET_NODE, 1 << 31, 0),
            (uapi::TARGET_NODE, 0, 1),
        ] {
            assert_eq!(plan(target, flags, reserved).err(), Some(EINVAL));
        }
    }

    #[test]
    fn populating() {
        let plan = |flags| {
            populate_plan(&uapi::Populate {
                flags,
                ..uapi::Populate::default()
            })
        };
        let untouched = Plan {
            untouched_only: true,
            ..Plan::to_node()
        };
        let evict = Plan {
            evict: true,
            ..untouched
        };

        assert_eq!(plan(0), Ok(untouched));
        assert_eq!(plan(uapi::POPULATE_EVICT), Ok(evict));
        assert_eq!(plan(uapi::POPULATE_MIGRATE), Ok(Plan::to_node()));
        assert_eq!(plan(1 << 31).err(), Some(EINVAL));
    }

    #[test]
    fn advice() {
        let policy = |place, flags, reserved| {
            policy(&uapi::Advise {
                place,
                flags,
                reserved,
                ..uapi::Advise::default()
            })
        };
        let node = Policy {
            node: true,
            ..Policy::default()
        };
        let with = |flags| policy(uapi::PLACE_NODE, flags, 0);

        assert_eq!(policy(uapi::PLACE_NONE, 0, 0), Ok(Policy::default()));
        assert_eq!(with(0), Ok(node));
        assert_eq!(
            with(uapi::ADVISE_MIGRATE),
            Ok(Policy {
                migrate: true,
                ..node
            })
        );
        assert_eq!(with(uapi::ADVISE_COW), Ok(Policy { cow: true, ..node }));
        assert_eq!(
            with(uapi::ADVISE_EVICT),
            Ok(Policy {
                evict: true,
                ..node
            })
        );
        for (place, flags, reserved) in [
            (uapi::PLACE_NODE + 1, 0, 0),
            (uapi::PLACE_NONE, uapi::ADVISE_EVICT, 0),
            (uapi::PLACE_NODE, 1 << 31, 0),
            (uapi::PLACE_NODE, 0, 1),
        ] {
            assert_eq!(policy(place, flags, reserved).err(), Some(EINVAL));
        }
    }
}

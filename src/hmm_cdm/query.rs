// SPDX-License-Identifier: GPL-2.0

//! Residency of the pages of a range, and what the device may do with them. Nothing is changed.
//!
//! Context: process; sleeps. The mmap lock is taken for reading, for one window at a time.

use crate::{
    mirror::Mirror,
    mm::{
        self,
        pagemap::{
            Kind,
            Owner, //
        },
        range::{
            Access,
            CpuEntry,
            Walker, //
        },
        vma::Mappings,
        Span,
    },
    node::{
        Node,
        PageOwner, //
    },
    os::cond_resched,
    uapi::{
        PageInfo,
        Where,
        ACCESS_READ,
        ACCESS_WRITE,
        PAGE_DEVICE_SHIFT,
        PAGE_EXCLUSIVE,
        PAGE_PINNED,
        PAGE_PRIVATE,
        PAGE_ZERO, //
    },
};
use kernel::{
    alloc::KVVec,
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Number of walks of a window that keeps changing.
const MAX_WALKS: u32 = 64;

/// A part of the result.
pub(crate) enum QueryPart<'a> {
    /// This many pages that are not mapped.
    Unmapped(usize),
    /// Pages, one by one.
    Pages(&'a [PageInfo]),
}

/// Looks at `span` and calls `each` with one part of it after the other, in order of address. With
/// `detailed`, no part is longer than a window: the callback does work for each page.
///
/// * EINTR: `interrupted` returned true between two windows
/// * EBUSY: a window kept changing
/// * ENOMEM, and any error of `each`
pub(crate) fn query(
    mirror: &Mirror,
    mm: &MmWithUser,
    span: Span,
    detailed: bool,
    interrupted: impl Fn() -> bool,
    mut each: impl FnMut(QueryPart<'_>) -> Result,
) -> Result {
    let (window, pages) = (mm::window_size(), mm::window_pages());
    let longest = if detailed { window } else { usize::MAX };
    let mut walker = Walker::new(pages)?;
    let mut infos: KVVec<PageInfo> = KVVec::with_capacity(pages, GFP_KERNEL)?;
    let mut addr = span.start();

    while let Some(rest) = Span::new(addr, span.end()) {
        if interrupted() {
            return Err(EINTR);
        }
        cond_resched();

        // Gaps between mappings are not walked.
        let mapped = Mappings::lock(mm)
            .next(addr)
            .and_then(|mapping| mapping.span())
            .and_then(|mapping| mapping.intersect(rest));
        let next = mapped.map_or(rest.end(), |mapped| mapped.start());
        if let Some(gap) = Span::new(addr, next.min(addr.saturating_add(longest))) {
            each(QueryPart::Unmapped(gap.pages()))?;
            addr = gap.end();
            continue;
        }

        let end = (addr & !(window - 1)).saturating_add(window);
        let part = Span::new(addr, end.min(rest.end())).ok_or(EINVAL)?;
        query_window(mirror, mm, &mut walker, part, &mut infos)?;
        each(QueryPart::Pages(&infos))?;
        addr = part.end();
    }
    Ok(())
}

/// Fills `infos` for `part`, of one window.
fn query_window(
    mirror: &Mirror,
    mm: &MmWithUser,
    walker: &mut Walker,
    part: Span,
    infos: &mut KVVec<PageInfo>,
) -> Result {
    let node = mirror.node();
    let node = node.as_deref();
    let owner = node.map_or(Owner::NOBODY, Node::owner);

    infos.clear();
    walker
        .snapshot_of(mm, part, owner, MAX_WALKS, |view| {
            for entry in view.entries() {
                // The capacity is that of a window: nothing is allocated under the lock.
                if infos.push_within_capacity(describe(node, entry)).is_err() {
                    break;
                }
            }
        })?
        .ok_or(EBUSY)?;

    for (info, addr) in infos.iter_mut().zip((part.start()..).step_by(PAGE_SIZE)) {
        let rights = mirror.rights(addr);

        info.accesses = rights.accesses;
        if rights.read {
            info.device |= ACCESS_READ as u8;
        }
        if rights.write {
            info.device |= ACCESS_WRITE as u8;
        }
        if rights.exclusive {
            info.flags |= PAGE_EXCLUSIVE;
        }
    }
    correct_absent(mm, part, infos);
    Ok(())
}

/// Corrects pages that are reported as unmapped but are mapped and absent.
///
/// `hmm_range_fault()` returns `HMM_PFN_ERROR` for an address that may not be accessed, and for
/// huge pages in the private memory of other devices (`hmm_vma_handle_absent_pmd()`). There the CPU
/// and this device have no page, just as where such pages are not huge.
fn correct_absent(mm: &MmWithUser, part: Span, infos: &mut [PageInfo]) {
    let unmapped = Where::Unmapped as u8;

    if infos.iter().all(|info| info.where_ != unmapped) {
        return;
    }
    let mappings = Mappings::lock(mm);
    let mut addr = part.start();

    while let Some(rest) = Span::new(addr, part.end()) {
        let Some(mapping) = mappings.next(addr) else {
            break;
        };
        let Some(mapped) = mapping.span().and_then(|span| span.intersect(rest)) else {
            break;
        };
        let first = (mapped.start() - part.start()) / PAGE_SIZE;

        if mapping.is_readable() && !mapping.is_special() {
            for info in infos.iter_mut().skip(first).take(mapped.pages()) {
                if info.where_ == unmapped {
                    info.where_ = Where::Absent as u8;
                }
            }
        }
        addr = mapped.end();
    }
}

/// Describes the page as the CPU has it mapped.
fn describe(node: Option<&Node>, entry: CpuEntry<'_>) -> PageInfo {
    let mut info = PageInfo::default();

    let residency = match entry {
        CpuEntry::Error => Where::Unmapped,
        CpuEntry::None => Where::Absent,
        CpuEntry::Page {
            page,
            access,
            order,
        } => {
            let pfn = page.pfn();

            info.order = order;
            info.cpu = ACCESS_READ as u8;
            if access == Access::Write {
                info.cpu |= ACCESS_WRITE as u8;
            }
            if page.is_zero() {
                info.flags |= PAGE_ZERO;
            } else if page.has_extra_refs() {
                info.flags |= PAGE_PINNED;
            }
            if let Some(node) = node.filter(|node| node.contains(pfn)) {
                if node.kind() == Kind::Private {
                    info.flags |= PAGE_PRIVATE;
                }
                Where::Node
            } else if pfn.is_system() {
                Where::System
            } else {
                let device = PageOwner::of(page).and_then(|owner| owner.device);

                // Indexes of devices are below 255.
                info.flags |= device.map_or(0, |index| (index as u16 + 1) << PAGE_DEVICE_SHIFT);
                Where::Device
            }
        }
    };
    info.where_ = residency as u8;
    info
}

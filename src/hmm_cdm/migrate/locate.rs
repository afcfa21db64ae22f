// SPDX-License-Identifier: GPL-2.0

//! Where a page lies that could not be collected for migration, found out by looking at it
//! afterwards.
//!
//! `migrate_vma_setup()` leaves out what it does not want or cannot lock and does not say why. The
//! answer is that of a moment later, which is as good as any answer about memory in use.

use crate::{
    mm::{
        folio::PageRef,
        pagemap::{Kind, Owner},
        range::{CpuEntry, Walker},
        Span,
    },
    node::{Node, PageOwner},
    uapi::Skip,
};
use kernel::{mm::MmWithUser, prelude::*};

/// How often a range that keeps changing is looked at.
const ATTEMPTS: u32 = 8;

/// Where a page lies, and whether it could be moved from there.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum PageLocation {
    /// There is no page.
    Absent,
    /// A page that is nobody's to move: a special one, or poisoned.
    Fixed,
    /// The page of zeros that stands for untouched memory.
    Zero,
    /// System memory; why it could not be collected.
    System(Skip),
    /// System memory of a file, or that KSM has merged, which is nobody's to move either.
    NotAnon,
    /// The node; why it could not be collected, and which page of the node it is.
    Node(Skip, usize),
    /// The coherent memory of another node, with this owner.
    Peer(Owner),
    /// The memory of some other device.
    Foreign,
}

/// Looks at `part`, which is no longer than the walker's room, and tells for its pages, by their
/// number, where they location_of. If the range keeps changing nothing is told.
///
/// Sleeps; takes the mmap lock. ENOMEM, EINTR (only with a fatal signal).
pub(super) fn locate(
    walker: &mut Walker,
    mm: &MmWithUser,
    node: &Node,
    part: Span,
    mut tell: impl FnMut(usize, PageLocation),
) -> Result {
    // Without an answer nothing is told.
    walker
        .snapshot_of(mm, part, node.owner(), ATTEMPTS, |view| {
            for (i, entry) in view.entries().enumerate() {
                tell(i, location_of(node, entry));
            }
        })
        .map(|_| ())
}

fn location_of(node: &Node, entry: CpuEntry<'_>) -> PageLocation {
    let page = match entry {
        CpuEntry::None => return PageLocation::Absent,
        CpuEntry::Error => return PageLocation::Fixed,
        CpuEntry::Page { page, .. } => page,
    };
    let pfn = page.pfn();

    if let Some(index) = node.index(pfn) {
        return PageLocation::Node(why_not_collected(page), index);
    }
    if pfn.is_zero() {
        return PageLocation::Zero;
    }
    if pfn.is_system() {
        if !page.is_anon() {
            return PageLocation::NotAnon;
        }
        return PageLocation::System(why_not_collected(page));
    }
    match PageOwner::of(page) {
        Some(peer) if peer.kind == Kind::Coherent => PageLocation::Peer(peer.owner),
        _ => PageLocation::Foreign,
    }
}

fn why_not_collected(page: PageRef<'_>) -> Skip {
    if page.has_extra_refs() {
        Skip::Pinned
    } else {
        Skip::Raced
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The location of pages that could not be collected for migration.
//!
//! `migrate_vma_setup()` skips pages that it does not want or cannot lock, without a reason. A walk
//! afterwards finds it. The pages may have changed in between, as pages in use do at any time.

use crate::{
    mm::{
        folio::PageRef,
        pagemap::{
            Kind,
            Owner, //
        },
        range::{
            CpuEntry,
            Walker, //
        },
        Span,
    },
    node::{
        Node,
        PageOwner, //
    },
    uapi::Skip,
};
use kernel::{
    mm::MmWithUser,
    prelude::*, //
};

/// The most walks of a range that keeps changing.
const MAX_WALKS: u32 = 8;

/// Where a page is, and why it was not collected there.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum PageLocation {
    /// There is no page.
    Absent,
    /// A page that cannot move: a special one, or one with a memory failure.
    Fixed,
    /// The shared page of zeros, which stands for untouched memory.
    Zero,
    /// Anonymous system memory.
    System(Skip),
    /// System memory of a file, or merged by KSM. It cannot move either.
    NotAnon,
    /// The node, at this index.
    Node(Skip, usize),
    /// The coherent memory of another node, with this owner.
    Peer(Owner),
    /// The memory of a device that is not the library's, or private memory of another node.
    Foreign,
}

/// Calls `each` with the index and the location of every page of `part`, which is no longer than
/// the walker's arrays. If the range keeps changing, `each` is not called.
///
/// Sleeps; takes the mmap lock for reading. `each` is called in atomic context.
///
/// * EINTR: a fatal signal arrived
/// * ENOMEM
pub(super) fn locate(
    walker: &mut Walker,
    mm: &MmWithUser,
    node: &Node,
    part: Span,
    mut each: impl FnMut(usize, PageLocation),
) -> Result {
    walker
        .snapshot_of(mm, part, node.owner(), MAX_WALKS, |view| {
            for (i, entry) in view.entries().enumerate() {
                each(i, location_of(node, entry));
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
        return PageLocation::Node(reason(page), index);
    }
    if page.is_zero() {
        return PageLocation::Zero;
    }
    if pfn.is_system() {
        if !page.is_anon() {
            return PageLocation::NotAnon;
        }
        return PageLocation::System(reason(page));
    }
    match PageOwner::of(page) {
        Some(peer) if peer.kind == Kind::Coherent => PageLocation::Peer(peer.owner),
        _ => PageLocation::Foreign,
    }
}

/// Returns why a page that could have been collected was not.
fn reason(page: PageRef<'_>) -> Skip {
    if page.has_extra_refs() {
        Skip::Pinned
    } else {
        Skip::Raced
    }
}

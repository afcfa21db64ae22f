// SPDX-License-Identifier: GPL-2.0

//! Migration of private memory to system memory, when the CPU accesses it.
//!
//! # How much
//!
//! A huge page is migrated in one piece. Around a single page, all private pages of the window are
//! migrated: the CPU probably accesses some of them next, and a fault costs far more than the copy
//! of a page. If there is not enough memory, only some are migrated, but always the accessed page,
//! unless there is none at all.
//!
//! # Locks
//!
//! The fault holds the lock of its page, and the mmap lock for reading. `migrate_vma_setup()` only
//! tries to lock the other pages, with one exception: to split a huge page that is mapped by single
//! pages it waits for the lock (`migrate_vma_split_folio()`). Two faults would deadlock if each
//! waited for the page that the other has locked. So only one fault of a node at a time migrates
//! more than its own page: the one that holds `NodePages::window_fault`. The others do not wait for
//! it; they migrate only their own page.
//!
//! # Huge pages that are mapped by single pages
//!
//! `migrate_vma_setup()` splits such a page, and passes the lock on from its first page to the page
//! that the fault is for. But the rest of the walk still takes the first page for that of the
//! fault, and so for locked (7.3.4, `fault_folio` in `migrate_vma_collect_pmd()`). It would be
//! collected and moved without its lock, which someone else may hold. So such a fault does not
//! migrate more than its own page. If that was not the first page, it is not collected either, and
//! the CPU's next fault finds it a single page.
//!
//! # Huge pages without a huge destination
//!
//! The node's thread splits these; see `splitter.rs`.

use super::{
    mover::mover,
    pages::NodePages,
    splitter::{
        alloc_destinations,
        collect_private,
        SplitRequest, //
    }, //
};
use crate::mm::{
    copy::Direction,
    cpu_fault::{
        CpuFault,
        FaultOutcome, //
    },
    folio::NewPage,
    migrate::{
        Buffers,
        Collected,
        Outcome,
        Source, //
    },
    pagemap::Pagemap,
    Span, //
};
use kernel::page::PAGE_SHIFT;

/// Migrates the page of a fault on `memory`, which is not damaged, and pages around it.
pub(super) fn migrate(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    if fault.is_huge() {
        migrate_huge(memory, fault)
    } else {
        migrate_window(memory, fault)
    }
}

fn migrate_huge(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    let Some(span) = Span::window(fault.address()) else {
        return FaultOutcome::Lost;
    };
    let Ok(mut bufs) = Buffers::new(span.pages()) else {
        return FaultOutcome::NoMemory;
    };
    let mapping = fault.mapping();
    let request = collect_private(memory.owner(), true, Some(fault));
    let Ok(mut pages) = Collected::vma(&mapping, span, &mut bufs, request) else {
        return FaultOutcome::Lost;
    };

    // Otherwise the page has been split or moved since. Or MADV_DONTNEED has zapped it and left a
    // hole, which is also collected in one piece.
    if pages.is_huge(0) && matches!(pages.source(0), Source::Page { .. }) {
        let splitter = memory.frames().splitter();
        let splitting = splitter.is_some_and(|splitter| splitter.is_locking(fault.frame()));
        // An allocation takes long, and would keep the thread from locking the page.
        let destination = if splitting {
            None
        } else {
            NewPage::system_huge()
        };

        match (destination, splitter) {
            (Some(page), _) => {
                pages.set_destination(0, page);
                let done = pages.install(mover(memory, Direction::Out));
                if done.outcome(0) == Outcome::NotCopied {
                    return FaultOutcome::Lost;
                }
            }
            (None, Some(splitter)) if !splitting => {
                drop(pages);
                splitter.request(SplitRequest {
                    frame: fault.frame(),
                    mm: fault.mm(),
                    span,
                });
                return FaultOutcome::Later;
            }
            // The thread is splitting it. The page is collected all the same, since the
            // invalidation makes a walk of `hmm_range_fault()` drop the mmap lock.
            (None, _) => return FaultOutcome::Later,
        }
    }
    FaultOutcome::Again
}

fn migrate_window(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    let address = fault.address();
    let mapping = fault.mapping();
    let window = || {
        if fault.is_in_huge() {
            return None;
        }
        let guard = memory.frames().try_lock_window_fault()?;
        let span = Span::window(address)?.intersect(mapping.span()?)?;
        let bufs = Buffers::new(span.pages()).ok()?;

        Some((guard, span, bufs))
    };

    if let Some((_guard, span, mut bufs)) = window() {
        match migrate_span(memory, fault, span, &mut bufs) {
            // The device may have failed to copy another page of the span.
            FaultOutcome::Lost if span.pages() > 1 => (),
            outcome => return outcome,
        }
    }
    let (Some(page), Ok(mut bufs)) = (Span::covering(address, 1), Buffers::new(1)) else {
        return FaultOutcome::NoMemory;
    };
    migrate_span(memory, fault, page, &mut bufs)
}

fn migrate_span(
    memory: &Pagemap<NodePages>,
    fault: &CpuFault<'_>,
    span: Span,
    bufs: &mut Buffers,
) -> FaultOutcome {
    let mapping = fault.mapping();
    let accessed = (fault.address() - span.start()) >> PAGE_SHIFT;
    let request = collect_private(memory.owner(), false, Some(fault));
    let Ok(mut pages) = Collected::vma(&mapping, span, bufs, request) else {
        return FaultOutcome::Lost;
    };
    if !matches!(pages.source(accessed), Source::Page { .. }) {
        // The page has moved, or has elevated references for a moment: the CPU repeats the fault.
        return FaultOutcome::Again;
    }

    // The accessed page first, as the fault needs it.
    let Some(page) = NewPage::system_for_fault() else {
        return FaultOutcome::NoMemory;
    };
    pages.set_destination(accessed, page);
    alloc_destinations(&mut pages);

    let done = pages.install(mover(memory, Direction::Out));
    match done.outcome(accessed) {
        Outcome::NotCopied => FaultOutcome::Lost,
        _ => FaultOutcome::Again,
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Bringing private memory home when the CPU touches it.
//!
//! # How much
//!
//! A huge page comes in one piece. Around a single page, everything of the window comes that is in
//! the device's memory: what the CPU touches next is probably among it, and each fault costs far
//! more than a page's copy. If there is no memory for all of it, as much as there is; the page that
//! was touched always, unless memory is truly gone.
//!
//! # Locks
//!
//! The fault has its page locked, and the mmap lock for reading. `migrate_vma_setup()` only tries to
//! lock the other pages, with one exception: a huge page of which single pages are mapped is locked,
//! however long that takes, to be split (`migrate_vma_split_folio()`). Two faults that have each
//! other's page locked would wait for ever. So only one fault of a node at a time,
//! the holder of `NodePages::returning`, reaches beyond its own page; the others, which do not wait for
//! it, bring that page alone, and let go of it.
//!
//! # A page of a huge one that is mapped in single pages
//!
//! `migrate_vma_setup()` splits it, and hands the lock on from the folio's first page to the page
//! that the fault is for. But the walk that goes on after that still takes the first page for the
//! fault's, which is locked (7.3.4, `fault_folio` in `migrate_vma_collect_pmd()`): it would be
//! collected, and moved, without its lock, while someone else may have it. So such a fault does
//! not reach beyond its own page. If that was not the first, it is not collected either, and the
//! CPU's next fault finds a single page.
//!
//! # A huge page without a huge destination
//!
//! It has to be split, which `migrate_vma_setup()` cannot do for a fault on a huge mapping: its
//! reference and that of the fault are one too many (7.3.4, `migrate_vma_collect_huge_pmd()`); and
//! base pages as destinations of a page collected whole are not safe (see [`crate::mm::migrate`]). So
//! a thread of the node does it, which has no fault's reference; the CPU faults again until that is
//! done. Each of these faults has the page locked, and the thread only tries to lock it. So those that
//! find the thread at it let go soon, without looking for memory, and the thread tries often.

use super::{mover, NodePages};
use crate::{
    mm::{
        copy::{Copier, Direction, Mover},
        fault::{CpuFault, FaultOutcome},
        folio::{NewPage, Pfn},
        migrate::{self, Buffers, Collected, Outcome, Select, Source},
        pagemap::{Kind, Owner, Pagemap},
        vma::{Mapping, Mappings},
        Span,
    },
    os::{cond_resched, kthread::ThreadBody},
};
use kernel::{
    mm::{Mm, MmWithUser},
    new_condvar, new_mutex,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{aref::ARef, Arc, CondVar, Mutex},
};

/// Ends a fault on `memory`.
pub(super) fn bring(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    if fault.is_huge() {
        bring_huge(memory, fault)
    } else {
        bring_window(memory, fault)
    }
}

fn request<'a>(owner: Owner, whole: bool, fault: Option<&'a CpuFault<'a>>) -> migrate::Request<'a> {
    migrate::Request {
        from: Select::Device(Kind::Private),
        owner,
        whole,
        fault,
    }
}

fn bring_huge(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    let Some(span) = Span::window(fault.address()) else {
        return FaultOutcome::Lost;
    };
    let Ok(mut bufs) = Buffers::new(span.pages()) else {
        return FaultOutcome::NoMemory;
    };
    let mapping = fault.mapping();
    let wanted = request(memory.owner(), true, Some(fault));
    let Ok(mut pages) = Collected::vma(&mapping, span, &mut bufs, wanted) else {
        return FaultOutcome::Lost;
    };

    // Else it has been split since, or moved; or zapped by MADV_DONTNEED, and is a hole now, which
    // is collected in one piece, too.
    if pages.is_huge(0) && matches!(pages.source(0), Source::Page { .. }) {
        let splitter = memory.frames().splitter.as_ref();
        let at_it = splitter.is_some_and(|splitter| splitter.is_at(fault.frame()));
        // Looking for memory takes long, and the thread cannot lock the page meanwhile.
        let destination = if at_it { None } else { NewPage::system_huge() };

        match (destination, splitter) {
            (Some(page), _) => {
                pages.set_destination(0, page);
                let done = pages.install(mover(memory, Direction::Out));
                if done.outcome(0) == Outcome::NotCopied {
                    return FaultOutcome::Lost;
                }
            }
            (None, Some(splitter)) if !at_it => {
                drop(pages);
                splitter.ask(SplitRequest {
                    frame: fault.frame(),
                    mm: fault.mm(),
                    span,
                });
                return FaultOutcome::Later;
            }
            // The thread is at it. That the page was collected matters all the same: the
            // invalidation makes a walk of `hmm_range_fault()` let go of the mmap lock.
            (None, _) => return FaultOutcome::Later,
        }
    }
    FaultOutcome::Again
}

fn bring_window(memory: &Pagemap<NodePages>, fault: &CpuFault<'_>) -> FaultOutcome {
    let at = fault.address();
    let mapping = fault.mapping();
    let around = || {
        if fault.is_in_huge() {
            return None;
        }
        let guard = memory.frames().returning.try_lock()?;
        let span = Span::window(at)?.intersect(mapping.span()?)?;
        let bufs = Buffers::new(span.pages()).ok()?;

        Some((guard, span, bufs))
    };

    if let Some((_returning, span, mut bufs)) = around() {
        match bring_span(memory, fault, span, &mut bufs) {
            // It may be its neighbours that the device cannot give.
            FaultOutcome::Lost if span.pages() > 1 => (),
            home => return home,
        }
    }
    let (Some(page), Ok(mut bufs)) = (Span::covering(at, 1), Buffers::new(1)) else {
        return FaultOutcome::NoMemory;
    };
    bring_span(memory, fault, page, &mut bufs)
}

fn bring_span(
    memory: &Pagemap<NodePages>,
    fault: &CpuFault<'_>,
    span: Span,
    bufs: &mut Buffers,
) -> FaultOutcome {
    let mapping = fault.mapping();
    let touched = (fault.address() - span.start()) >> PAGE_SHIFT;
    let wanted = request(memory.owner(), false, Some(fault));
    let Ok(mut pages) = Collected::vma(&mapping, span, bufs, wanted) else {
        return FaultOutcome::Lost;
    };
    if !matches!(pages.source(touched), Source::Page { .. }) {
        // Someone else is looking at it, or has moved it: the CPU tries again.
        return FaultOutcome::Again;
    }

    // The one that cannot be done without comes first.
    let Some(page) = NewPage::system_for_fault() else {
        return FaultOutcome::NoMemory;
    };
    pages.set_destination(touched, page);
    fill(&mut pages);

    let done = pages.install(mover(memory, Direction::Out));
    match done.outcome(touched) {
        Outcome::NotCopied => FaultOutcome::Lost,
        _ => FaultOutcome::Again,
    }
}

/// Gives every page that was collected a destination in system memory, as long as there is any.
fn fill(pages: &mut Collected<'_>) {
    for i in 0..pages.len() {
        if !matches!(pages.source(i), Source::Page { .. }) || pages.has_destination(i) {
            continue;
        }
        let Some(page) = NewPage::system() else { break };
        pages.set_destination(i, page);
    }
}

/// How often the thread tries to lock a page that others fault on. Each of them has it for the larger
/// part of a fault, and not for all of it; if all attempts fail, the next fault asks again.
const ATTEMPTS: u32 = 200;

/// A huge page that is to be split.
struct SplitRequest {
    frame: Pfn,
    // Where it is mapped.
    mm: ARef<Mm>,
    span: Span,
}

struct Work {
    next: Option<SplitRequest>,
    // The page that the thread is trying to lock.
    current: Option<Pfn>,
    stop: bool,
}

/// Brings huge pages home as base pages, for faults that cannot.
#[pin_data]
pub(super) struct Splitter {
    owner: Owner,
    first: Pfn,
    copier: Arc<dyn Copier>,
    #[pin]
    work: Mutex<Work>,
    #[pin]
    changed: CondVar,
}

impl Splitter {
    pub(super) fn new(memory: &Pagemap<NodePages>, copier: Arc<dyn Copier>) -> Result<Arc<Self>> {
        let first = memory.pfn(0).ok_or(EINVAL)?;
        let owner = memory.owner();
        let work = Work {
            next: None,
            current: None,
            stop: false,
        };

        Arc::pin_init(
            pin_init!(Self {
                owner,
                first,
                copier,
                work <- new_mutex!(work, "Splitter::work"),
                changed <- new_condvar!("Splitter::changed"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has a huge page brought home as base pages, soon. If someone else's is waiting, nothing is
    /// done: who faults again asks again.
    fn ask(&self, request: SplitRequest) {
        let mut work = self.work.lock();

        if work.next.is_none() {
            work.next = Some(request);
            self.changed.notify_one();
        }
    }

    /// Whether the thread is trying to lock the huge page with that first frame.
    fn is_at(&self, frame: Pfn) -> bool {
        self.work.lock().current == Some(frame)
    }

    fn set_current(&self, frame: Option<Pfn>) {
        self.work.lock().current = frame;
    }

    fn wait(&self) -> Option<SplitRequest> {
        let mut work = self.work.lock();

        loop {
            if work.stop {
                return None;
            }
            if let Some(next) = work.next.take() {
                return Some(next);
            }
            // Interruptible, so that an idle thread does not count as load.
            let _ = self.changed.wait_interruptible(&mut work);
        }
    }

    fn is_stopped(&self) -> bool {
        self.work.lock().stop
    }

    fn split(&self, mm: &MmWithUser, frame: Pfn, span: Span) {
        let Ok(mut bufs) = Buffers::new(span.pages()) else {
            return;
        };
        let mappings = Mappings::lock(mm);
        let Some(mapping) = mappings
            .next(span.start())
            .filter(|mapping| mapping.contains(span))
        else {
            return;
        };

        // Faults rely on the attempts as long as this is set, so not while the mmap lock is waited
        // for: who faults may be what keeps a writer from it that is before us.
        self.set_current(Some(frame));
        for _ in 0..ATTEMPTS {
            if self.try_split(&mapping, span, &mut bufs) || self.is_stopped() {
                break;
            }
            cond_resched();
        }
        self.set_current(None);
    }

    /// False if nothing could be locked: then it is worth another attempt.
    fn try_split(&self, mapping: &Mapping<'_>, span: Span, bufs: &mut Buffers) -> bool {
        let wanted = request(self.owner, false, None);
        let Ok(mut pages) = Collected::vma(mapping, span, bufs, wanted) else {
            return true;
        };
        if (0..pages.len()).all(|i| pages.source(i) == Source::None) {
            return false;
        }

        // With no memory, the page has been split all the same, and faults can bring its parts.
        fill(&mut pages);
        drop(pages.install(Mover::Device {
            copier: &*self.copier,
            first: self.first,
            direction: Direction::Out,
        }));
        true
    }
}

impl ThreadBody for Splitter {
    fn run(&self) {
        while let Some(SplitRequest { frame, mm, span }) = self.wait() {
            if let Some(mm) = mm.mmget_not_zero() {
                self.split(&mm, frame, span);
            }
            cond_resched();
        }
    }

    fn stop(&self) {
        self.work.lock().stop = true;
        self.changed.notify_all();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The thread of a node that migrates huge private pages to system memory as base pages.
//!
//! A huge page without a huge destination has to be split. `migrate_vma_setup()` cannot do that for
//! a CPU fault on a huge mapping: its reference and that of the fault are one too many (7.3.4,
//! `migrate_vma_collect_huge_pmd()`); and base pages as destinations of a page that was collected
//! whole are not safe (see [`crate::mm::migrate`]). So this thread splits it, without the reference
//! of a fault, and the CPU repeats the fault until that is done.
//!
//! Each of these faults locks the page, and the thread only tries to lock it. So faults that find
//! the thread working on their page end early, without allocating, and the thread tries often.

use crate::{
    mm::{
        copy::{
            Copier,
            Direction,
            Mover, //
        },
        cpu_fault::CpuFault,
        folio::{
            NewPage,
            Pfn, //
        },
        migrate::{
            Buffers,
            Collected,
            Request,
            Select,
            Source, //
        },
        pagemap::{
            Kind,
            Owner, //
        },
        vma::{
            Mapping,
            Mappings, //
        },
        Span, //
    },
    os::{
        cond_resched,
        kthread::ThreadBody, //
    }, //
};
use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        CondVar,
        Mutex, //
    }, //
};

/// How often the thread tries to lock a page on which others fault. Each fault has it locked for
/// most of its time, but not for all; if all attempts fail, the next fault asks again.
const ATTEMPTS: u32 = 200;

/// A huge page to be split.
pub(super) struct SplitRequest {
    /// Its first frame.
    pub(super) frame: Pfn,
    /// The address space that maps it.
    pub(super) mm: ARef<Mm>,
    /// The addresses at which it is mapped.
    pub(super) span: Span,
}

struct SplitWork {
    next: Option<SplitRequest>,
    // The page that the thread is trying to lock.
    current: Option<Pfn>,
    stop: bool,
}

/// Splits huge pages for faults that cannot.
#[pin_data]
pub(super) struct Splitter {
    owner: Owner,
    // The frames of the node.
    first: Pfn,
    pages: usize,
    copier: Arc<dyn Copier>,
    #[pin]
    work: Mutex<SplitWork>,
    #[pin]
    changed: CondVar,
}

impl Splitter {
    /// Makes the splitter for the memory of `owner`, which is the `pages` frames from `first`.
    /// ENOMEM.
    pub(super) fn new(
        owner: Owner,
        first: Pfn,
        pages: usize,
        copier: Arc<dyn Copier>,
    ) -> Result<Arc<Self>> {
        let work = SplitWork {
            next: None,
            current: None,
            stop: false,
        };

        Arc::pin_init(
            pin_init!(Self {
                owner,
                first,
                pages,
                copier,
                work <- new_mutex!(work, "Splitter::work"),
                changed <- new_condvar!("Splitter::changed"),
            }),
            GFP_KERNEL,
        )
    }

    /// Requests that a huge page be migrated as base pages. Ignored if another request is pending:
    /// the repeated fault asks again.
    pub(super) fn request(&self, request: SplitRequest) {
        let mut work = self.work.lock();

        if work.next.is_none() {
            work.next = Some(request);
            self.changed.notify_one();
        }
    }

    /// Returns whether the thread is trying to lock the huge page whose first frame is `frame`.
    pub(super) fn is_locking(&self, frame: Pfn) -> bool {
        self.work.lock().current == Some(frame)
    }

    fn set_current(&self, frame: Option<Pfn>) {
        self.work.lock().current = frame;
    }

    /// Waits for a request. Returns `None` to stop.
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

        // Set only with the mmap lock held: while it is set, faults on the page are repeated
        // without end, and could so block a writer that is queued before us.
        self.set_current(Some(frame));
        for _ in 0..ATTEMPTS {
            if self.try_split(&mapping, span, &mut bufs) || self.is_stopped() {
                break;
            }
            cond_resched();
        }
        self.set_current(None);
    }

    /// Returns false if no page could be locked, and another attempt is worthwhile.
    fn try_split(&self, mapping: &Mapping<'_>, span: Span, bufs: &mut Buffers) -> bool {
        let request = collect_private(self.owner, false, None);
        let Ok(mut pages) = Collected::vma(mapping, span, bufs, request) else {
            return true;
        };
        if (0..pages.len()).all(|i| pages.source(i) == Source::None) {
            return false;
        }

        // The page is split even if there is no memory now. Faults can then migrate its parts.
        alloc_destinations(&mut pages);
        drop(pages.install(Mover::Device {
            copier: &*self.copier,
            first: self.first,
            pages: self.pages,
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

/// Returns the request to collect private pages of `owner`: a huge page in one piece if `whole`.
pub(super) fn collect_private<'a>(
    owner: Owner,
    whole: bool,
    fault: Option<&'a CpuFault<'a>>,
) -> Request<'a> {
    Request {
        from: Select::Device(Kind::Private),
        owner,
        whole,
        fault,
    }
}

/// Allocates a destination in system memory for every collected page without one, as long as there
/// is memory.
pub(super) fn alloc_destinations(pages: &mut Collected<'_>) {
    for i in 0..pages.len() {
        if !matches!(pages.source(i), Source::Page { .. }) || pages.has_destination(i) {
            continue;
        }
        let Some(page) = NewPage::system() else { break };
        pages.set_destination(i, page);
    }
}

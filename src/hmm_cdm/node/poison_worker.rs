// SPDX-License-Identifier: GPL-2.0

//! The thread of a node that retries to poison damaged pages which were busy.
//!
//! A pinned page cannot be moved to a poison page, so the thread tries again: often at first, and
//! less often once a page has been busy for long, which it logs once.

use super::poison::{
    poison_page,
    PoisonResult, //
};
use crate::{
    mm::folio::Pfn,
    os::kthread::ThreadBody, //
};
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    }, //
};

/// The time between two attempts, in milliseconds, until a page is reported.
const RETRY_MS: u32 = 20;
/// How long a page may be busy before it is reported, in milliseconds.
const PATIENCE_MS: i64 = 20_000;
/// The time between two attempts, in milliseconds, after that.
const SLOW_RETRY_MS: u32 = 1000;

/// A damaged page that was busy.
struct BusyPage {
    pfn: Pfn,
    since: Instant<Monotonic>,
    // When to try next, in milliseconds after `since`.
    due: i64,
    // The log says that it is still in use.
    reported: bool,
}

impl BusyPage {
    /// Returns the time until the next attempt, in milliseconds.
    fn wait(&self) -> i64 {
        self.due - self.since.elapsed().as_millis()
    }
}

struct PoisonWork {
    pages: KVec<BusyPage>,
    // The page that the thread is working on, which is not in `pages`.
    current: Option<Pfn>,
    stop: bool,
}

/// Retries to poison the busy pages of a node.
#[pin_data]
pub(super) struct PoisonWorker {
    // The first frame of the node.
    first: Pfn,
    #[pin]
    work: Mutex<PoisonWork>,
    #[pin]
    changed: CondVar,
}

impl PoisonWorker {
    /// Makes the worker for the node that begins with frame `first`. ENOMEM.
    pub(super) fn new(first: Pfn) -> Result<Arc<Self>> {
        let work = PoisonWork {
            pages: KVec::new(),
            current: None,
            stop: false,
        };

        Arc::pin_init(
            pin_init!(Self {
                first,
                work <- new_mutex!(work, "PoisonWorker::work"),
                changed <- new_condvar!("PoisonWorker::changed"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a damaged page that was busy, unless it is already known. ENOMEM. Sleeps.
    pub(super) fn add(&self, pfn: Pfn) -> Result {
        let mut work = self.work.lock();
        let is_known = |page: &BusyPage| page.pfn == pfn;

        if work.current != Some(pfn) && !work.pages.iter().any(is_known) {
            let page = BusyPage {
                pfn,
                since: Instant::now(),
                due: 0,
                reported: false,
            };

            work.pages.push(page, GFP_KERNEL)?;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits until a page is due, and removes it from the list. Returns `None` to stop.
    fn next(&self) -> Option<BusyPage> {
        let mut work = self.work.lock();

        loop {
            if work.stop {
                return None;
            }
            work.current = None;
            let pages = work.pages.iter().enumerate();
            let first = pages.map(|(i, page)| (page.wait(), i)).min();

            // Interruptible, so that an idle thread does not count as load.
            match first {
                None => {
                    let _ = self.changed.wait_interruptible(&mut work);
                }
                Some((wait, _)) if wait > 0 => {
                    let wait = msecs_to_jiffies(wait.unsigned_abs() as u32);
                    let _ = self.changed.wait_interruptible_timeout(&mut work, wait);
                }
                Some((_, i)) => {
                    let page = work.pages.remove(i).ok()?;

                    work.current = Some(page.pfn);
                    return Some(page);
                }
            }
        }
    }

    fn index(&self, pfn: Pfn) -> usize {
        pfn.raw().wrapping_sub(self.first.raw())
    }

    fn report(&self, pfn: Pfn) {
        let (references, mappings) = pfn.counts();

        pr_err!(
            "page {} of a node is damaged and still in use: frame {:#x} with {references} \
             references, {mappings} of them mappings\n",
            self.index(pfn),
            pfn.raw()
        );
    }

    /// Puts a page back on the list, due `after` milliseconds from now.
    fn put_back(&self, mut page: BusyPage, after: u32) {
        let pfn = page.pfn;

        page.due = page.since.elapsed().as_millis() + i64::from(after);
        // `next()` left a slot free. If another page has taken it, and there is no memory for
        // more, this page is not retried.
        if self.work.lock().pages.push(page, GFP_KERNEL).is_err() {
            self.report(pfn);
        }
    }
}

impl ThreadBody for PoisonWorker {
    fn run(&self) {
        while let Some(mut page) = self.next() {
            let late = page.since.elapsed().as_millis() >= PATIENCE_MS;

            match poison_page(page.pfn) {
                Ok(PoisonResult::Poisoned) => pr_info!(
                    "page {} of a node, which is damaged, has no users any more\n",
                    self.index(page.pfn)
                ),
                Ok(PoisonResult::Unused) if late => (),
                _ => {
                    if late && !page.reported {
                        self.report(page.pfn);
                        page.reported = true;
                    }
                    self.put_back(page, if late { SLOW_RETRY_MS } else { RETRY_MS });
                }
            }
        }
    }

    fn stop(&self) {
        self.work.lock().stop = true;
        self.changed.notify_all();
    }
}

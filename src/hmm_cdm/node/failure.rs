// SPDX-License-Identifier: GPL-2.0

//! Memory failure: what becomes of a damaged page.
//!
//! Its frame is retired, and never handed out again. If nobody uses it, that is all. Else those who
//! have it mapped must not get to see what is there now, and the next access of each of them has to
//! end with SIGBUS, and of nobody else. The kernel does that for its own memory
//! (`hwpoison_user_mappings()`), and for no device's (`mf_generic_kill_procs()`); nothing of it is
//! exported.
//!
//! # PoisonPages
//!
//! So the page is moved, without its content, to a page of private memory with nothing behind it: a
//! *poison_page*. The CPU cannot map private memory: where the page was, page tables have entries that are
//! not present, and a touch asks the owner of the memory, which answers `VM_FAULT_HWPOISON`. The move
//! is that of any migration: all who map the page get the entries, while it is locked, and in between
//! have migration entries, which are waited for. So nobody can read anything instead of what is lost,
//! at no time. fork() and mremap() treat the entries as pages, and the last one to go, by munmap, exit
//! or a page that is put in its place, frees the poison_page. The device's entries are invalidated, and
//! `hmm_range_fault()` answers EFAULT from then on.
//!
//! The other way, hwpoison entries in the page tables (`PG_hwpoison` and `try_to_migrate()`, or a
//! page of system memory handed to `memory_failure()`), is worse: the former outlive the memory's
//! `struct page`, and the latter is mapped, and can be read, before it is poisoned.
//!
//! PoisonPages are the library's: they outlive the node whose pages were lost. They come with the first
//! page that is, and go when a node comes or goes and none of them is in use.
//!
//! # Pages that are held
//!
//! A page that someone has pinned cannot be moved. It is tried again, at once for a moment, and then
//! by a thread of the node; then the log says that it stays, and the thread looks now and then. The
//! device has no access to it, and it is never copied to where its content would look sound.

use super::{region, Node, NodePages};
use crate::{
    mm::{
        copy::{Direction, Mover},
        folio::{NewPage, Pfn},
        migrate::{Buffers, Collected, Outcome},
        pagemap::{Kind, Pagemap},
        window_pages,
    },
    os::{
        kthread::ThreadBody,
        module::{ModuleOwner, ModuleRef},
        resource::{self, ClaimedRange},
    },
};
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
    time::{delay::fsleep, msecs_to_jiffies, Delta, Instant, Monotonic},
};

/// How much memory the poison_pages have, at least; what it costs is its `struct page`s. Huge pages are
/// poisoned in one piece.
const POISON_BYTES: u64 = 16 << 20;

/// How long a page that someone holds is given before the report returns, in milliseconds.
const WAITS_MS: [i64; 5] = [0, 1, 4, 16, 64];
/// How often the thread tries after that, until the log says that the page stays, and from then on.
const RETRY_MS: u32 = 20;
const PATIENCE_MS: i64 = 20_000;
const SLOW_RETRY_MS: u32 = 1000;

pub(crate) struct PoisonPages {
    node: Arc<Node>,
    _library: ModuleRef,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before there are nodes.
    pub(crate) unsafe(uninit) static POISON_PAGES: Mutex<Option<PoisonPages>> = None;
}

impl PoisonPages {
    fn new() -> Result<Self> {
        let library = ModuleRef::get(ModuleOwner::of(crate::this_module()))?;
        let size = POISON_BYTES.max(resource::alignment());
        let nid = region::check_private(size, None)?;
        let claim = ClaimedRange::request_free(size, c"hmm_cdm lost pages".try_into()?)?;

        Ok(Self {
            node: Node::register(Kind::Private, claim, nid, None, None)?,
            _library: library,
        })
    }

    fn alloc_poison_page(&self, huge: bool) -> Option<NewPage> {
        let mut poison_page = None;

        if huge {
            return self.node.alloc_huge();
        }
        self.node.alloc(1, |page| poison_page = Some(page));
        poison_page
    }
}

fn alloc_poison_page(huge: bool) -> Result<NewPage> {
    let mut poison_pages = POISON_PAGES.lock();

    if poison_pages.is_none() {
        *poison_pages = Some(PoisonPages::new()?);
    }
    poison_pages
        .as_ref()
        .and_then(|poison_pages| poison_pages.alloc_poison_page(huge))
        .ok_or(ENOMEM)
}

/// Gives the poison_pages' memory back if none is in use.
pub(crate) fn release_poison_pages() {
    let mut poison_pages = POISON_PAGES.lock();
    let unused = |poison_pages: &mut PoisonPages| poison_pages.node.used_pages() == 0;

    drop(poison_pages.take_if(unused));
}

/// Takes page `index` out of use, for ever, and away from those who use it.
///
/// EBUSY if someone still does: the page is held, or there was no memory for a poison_page.
pub(super) fn handle(memory: &Pagemap<NodePages>, index: usize) -> Result {
    let pfn = memory.pfn(index).ok_or(EINVAL)?;
    let store = memory.frames();
    let is_used = || store.free.lock().buddy.is_used(index);

    if store.free.lock().buddy.retire(index) {
        pr_err!("page {index} of a node is damaged and taken out of use\n");
    }
    for wait in WAITS_MS {
        fsleep(Delta::from_millis(wait));
        // A page that is about to be handed out has no user yet.
        if !is_used() || poison_page(pfn) == Ok(PoisonResult::Done) {
            return Ok(());
        }
    }
    if let Some(poison_worker) = store.poison_worker.as_ref() {
        poison_worker.ask(pfn)?;
    }
    Err(EBUSY)
}

impl Node {
    /// Takes page `index` out of use for ever, as the device says that it is going to break, but is
    /// still good: its content is moved to system memory, under whoever uses it. The driver's
    /// [`copier`](crate::mm::copy::Copier) is called for that, if it has one. Sleeps; the caller
    /// holds no lock of mm.
    ///
    /// EBUSY if someone holds the page: it is not handed out again, and may be tried again; ENOMEM,
    /// EIO if it could not be copied, EINVAL if there is no such page.
    pub fn retire(&self, index: usize) -> Result {
        if index >= self.pages() {
            return Err(EINVAL);
        }
        if self.store().free.lock().buddy.retire(index) {
            pr_warn!("page {index} of a node is taken out of use\n");
        }
        let mut result = Ok(());
        for wait in WAITS_MS {
            fsleep(Delta::from_millis(wait));
            if !self.any_used(index..index + 1) {
                return Ok(());
            }
            result = self.rescue(index);
        }
        match result {
            Ok(()) if self.any_used(index..index + 1) => Err(EBUSY),
            result => result,
        }
    }

    /// Takes page `index` out of use for ever, as the device says that its content is lost. What the
    /// kernel finds out by itself comes here through `memory_failure()`.
    ///
    /// Everyone who has it mapped gets SIGBUS for the next access. EBUSY if someone still uses it,
    /// EINVAL if there is no such page. Sleeps; the caller holds no lock of mm.
    pub fn fail(&self, index: usize) -> Result {
        handle(&self.pagemap, index)
    }

    /// Moves a page to system memory; a huge page in one piece.
    fn rescue(&self, index: usize) -> Result {
        let (first, pages) = match self.kind() {
            Kind::Coherent => (index, 1),
            Kind::Private => {
                let window = window_pages();
                let into = self.pfn(index).ok_or(EINVAL)?.raw() % window;

                // What is not part of a whole window is no huge page.
                match index.checked_sub(into) {
                    Some(first) if first + window <= self.pages() => (first, window),
                    _ => (index, 1),
                }
            }
        };
        let mut bufs = Buffers::new(pages)?;
        let first_pfn = self.pfn(first).ok_or(EINVAL)?;
        let mut collected = Collected::frames(first_pfn, pages, &mut bufs)?;
        let (place, destination) = if collected.is_huge(0) {
            (0, NewPage::system_huge_patiently())
        } else {
            (index - first, NewPage::system())
        };

        collected.set_destination(place, destination.ok_or(ENOMEM)?);
        let done = collected.install(self.mover(Direction::Out));
        match done.outcome(place) {
            Outcome::NotCopied => Err(EIO),
            Outcome::Moved => Ok(()),
            _ => Err(EBUSY),
        }
    }
}

#[derive(PartialEq, Eq)]
enum PoisonResult {
    Done,
    /// Nobody uses the page, as far as can be seen.
    Nobody,
    /// Someone holds it.
    Busy,
}

/// Moves the page at `pfn`, or the huge one that it is part of, into a poison_page. ENOMEM.
fn poison_page(pfn: Pfn) -> Result<PoisonResult> {
    let Some((first, order)) = pfn.set_damaged() else {
        return Ok(PoisonResult::Nobody);
    };
    let pages = if order > 0 { window_pages() } else { 1 };
    // Before the page is locked: making poison_pages takes long.
    let poison_page = alloc_poison_page(order > 0)?;
    let mut bufs = Buffers::new(pages)?;
    let mut collected = Collected::frames(first, pages, &mut bufs)?;

    // If it has been split since, the poison_page does not fit, and is given back.
    collected.set_destination(0, poison_page);
    let done = collected.install(Mover::Nothing);

    Ok(match done.outcome(0) {
        Outcome::Moved => PoisonResult::Done,
        _ => PoisonResult::Busy,
    })
}

struct PoisonRetry {
    pfn: Pfn,
    since: Instant<Monotonic>,
    // When to try next, in milliseconds after that.
    due: i64,
    // It has been said that it stays.
    reported: bool,
}

impl PoisonRetry {
    /// How many milliseconds that is from now.
    fn wait(&self) -> i64 {
        self.due - self.since.elapsed().as_millis()
    }
}

struct Work {
    held: KVec<PoisonRetry>,
    // The one that is tried at the moment.
    current: Option<Pfn>,
    stop: bool,
}

/// Tries to poison_page what was held when its damage was reported.
#[pin_data]
pub(super) struct PoisonWorker {
    first: Pfn,
    #[pin]
    work: Mutex<Work>,
    #[pin]
    changed: CondVar,
}

impl PoisonWorker {
    pub(super) fn new(memory: &Pagemap<NodePages>) -> Result<Arc<Self>> {
        let first = memory.pfn(0).ok_or(EINVAL)?;
        let work = Work {
            held: KVec::new(),
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

    fn ask(&self, pfn: Pfn) -> Result {
        let mut work = self.work.lock();
        let is_known = |held: &PoisonRetry| held.pfn == pfn;

        if work.current != Some(pfn) && !work.held.iter().any(is_known) {
            let held = PoisonRetry {
                pfn,
                since: Instant::now(),
                due: 0,
                reported: false,
            };

            work.held.push(held, GFP_KERNEL)?;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for something that is due, and takes it. `None` to stop.
    fn next(&self) -> Option<PoisonRetry> {
        let mut work = self.work.lock();

        loop {
            if work.stop {
                return None;
            }
            work.current = None;
            let first = work.held.iter().enumerate();
            let first = first.map(|(i, held)| (held.wait(), i)).min();

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
                    let held = work.held.remove(i).ok()?;

                    work.current = Some(held.pfn);
                    return Some(held);
                }
            }
        }
    }

    fn report(&self, pfn: Pfn) {
        let (references, mappings) = pfn.counts();
        let index = pfn.raw().wrapping_sub(self.first.raw());

        pr_err!(
            "page {index} of a node is damaged and still in use: frame {:#x} with {references} \
             references, {mappings} of them mappings\n",
            pfn.raw()
        );
    }

    fn again(&self, mut held: PoisonRetry, after: u32) {
        // There is room: it has just been taken out. If someone else's has taken that, and there is
        // no more, it is given up early.
        let pfn = held.pfn;

        held.due = held.since.elapsed().as_millis() + i64::from(after);
        if self.work.lock().held.push(held, GFP_KERNEL).is_err() {
            self.report(pfn);
        }
    }
}

impl ThreadBody for PoisonWorker {
    fn run(&self) {
        while let Some(mut held) = self.next() {
            let late = held.since.elapsed().as_millis() >= PATIENCE_MS;

            match poison_page(held.pfn) {
                Ok(PoisonResult::Done) => pr_info!(
                    "page {} of a node, which is damaged, has no users any more\n",
                    held.pfn.raw().wrapping_sub(self.first.raw())
                ),
                Ok(PoisonResult::Nobody) if late => (),
                _ => {
                    if late && !held.reported {
                        self.report(held.pfn);
                        held.reported = true;
                    }
                    self.again(held, if late { SLOW_RETRY_MS } else { RETRY_MS });
                }
            }
        }
    }

    fn stop(&self) {
        self.work.lock().stop = true;
        self.changed.notify_all();
    }
}

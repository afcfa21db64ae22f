// SPDX-License-Identifier: GPL-2.0

//! A memory node: a range of device memory, registered with the kernel, and the allocator of its
//! pages.
//!
//! Pages leave through [`Node::alloc`] and its like, into the hands of a process, and come back when
//! their last user has gone, by exit, munmap, COW or migration; nobody frees them explicitly. Pages
//! come back in any context, interrupts included, which is why the allocator is under a spinlock
//! that disables them.

pub(crate) mod ages;
mod buddy;
mod charge;
pub(crate) mod failure;
mod home;
pub mod memory;
pub mod region;
pub mod tree;

use crate::counter::Counter;
use crate::mm::{
    self,
    copy::{Copier, Direction, Mover},
    fault::{CpuFault, Home},
    folio::{NewPage, Pfn},
    pagemap::{Frames, Kind, Owner, Pagemap},
};
use crate::os::{
    dmem::{self, Limit, Reclaim},
    kthread::Thread,
    of::NodePath,
    resource::ClaimedRange,
};
use ages::Ages;
use buddy::Buddy;
pub(crate) use charge::Victims;
use charge::{Grant, Ledger};
use core::ops::Range;
use failure::Undertaker;
use home::Splitter;
use kernel::{
    fmt, new_mutex, new_spinlock_irq,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{Arc, Completion, Mutex, MutexGuard, SetOnce, SpinLockIrq},
};
use region::Region;

/// How many pages are taken from the allocator under one hold of its lock.
const BATCH: usize = 32;

/// The frames of a node that can be handed out.
struct Stock {
    buddy: Buddy,
    // Nothing is handed out any more.
    closed: bool,
}

/// The allocator of a node's pages, where the kernel gives them back to.
#[pin_data]
pub struct Store {
    kind: Kind,
    copier: Option<Arc<dyn Copier>>,
    #[pin]
    stock: SpinLockIrq<Stock>,
    #[pin]
    ledger: Ledger,
    // Held by the fault that brings home more than its own page; see `home`.
    #[pin]
    returning: Mutex<()>,
    splitter: SetOnce<Arc<Splitter>>,
    undertaker: SetOnce<Arc<Undertaker>>,
    ages: Arc<Ages>,
    // The N of the `/dev/hmm_cdm<N>` that the memory is behind.
    device: SetOnce<u32>,
}

impl Frames for Store {
    fn freed(&self, index: usize, order: u32) {
        self.ages.freed(index, 1 << order);
        // Before someone else can get them.
        if let Some(copier) = &self.copier {
            copier.freed(index, 1 << order);
        }
        self.ledger.freed(index, order);
        let freed = self.stock.lock().buddy.free(index, order);

        if freed.is_err() {
            // Then `struct page` and the allocator disagree about who owns the page. Nothing is
            // handed out twice: the allocator did not change.
            pr_err!("page {index} of a node was freed, but is not in use\n");
        }
    }

    fn touched(memory: &Pagemap<Self>, fault: &CpuFault<'_>) -> Home {
        // Private memory that nobody copies is where lost pages are.
        if fault.is_damaged() || memory.frames().copier.is_none() {
            return Home::Damaged;
        }
        home::bring(memory, fault)
    }

    fn failed(memory: &Pagemap<Self>, index: usize) -> Result {
        failure::handle(memory, index)
    }
}

/// Tells whoever waits that a node is no more.
struct Epitaph(Arc<Completion>);

impl Drop for Epitaph {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

/// Whose a page of device memory is.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct Belonging {
    /// What the kernel knows the memory by.
    pub(crate) owner: Owner,
    pub(crate) kind: Kind,
    /// The N of its `/dev/hmm_cdm<N>`, if it has one.
    pub(crate) device: Option<u32>,
}

impl Belonging {
    /// Whose `pfn` is, if it is a page of one of the library's nodes.
    ///
    /// # Safety
    ///
    /// The page is in use, and stays so meanwhile.
    pub(crate) unsafe fn of(pfn: Pfn) -> Option<Self> {
        // SAFETY: By the safety requirements.
        unsafe {
            Pagemap::<Store>::with_page(pfn, |memory| Self {
                owner: memory.owner(),
                kind: memory.frames().kind,
                device: memory.frames().device.as_ref().copied(),
            })
        }
    }
}

/// A memory node.
#[pin_data]
pub struct Node {
    // Stopped before the pages go.
    splitter: SetOnce<Thread<Splitter>>,
    undertaker: SetOnce<Thread<Undertaker>>,
    // Before `_claim`: the pages go before the range is given back.
    #[pin]
    pagemap: Pagemap<Store>,
    _claim: ClaimedRange,
    nid: i32,
    origin: Option<NodePath>,
    // Held by who makes room. Outermost: nobody who takes it holds the mmap lock or a page lock.
    #[pin]
    evicting: Mutex<()>,
    evicted: Counter,
    // Last.
    epitaph: Epitaph,
}

impl Node {
    /// Makes a node of coherent memory, of a region that is yet to be checked. The name is that in
    /// `/proc/iomem`. Sleeps.
    ///
    /// The memory is registered, and what it contained is lost. Errors are those of
    /// [`Region::check`], and ENODEV if the memory does not hold what is written to it.
    pub fn new(
        region: &Region,
        name: kernel::str::CString,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Arc<Self>> {
        let nid = region.check()?;
        let claim = region.claim(name)?;
        let node = Self::register(Kind::Coherent, claim, nid, region.origin.clone(), copier)?;

        node.start_undertaker()?;
        if !node.pagemap.holds_data() {
            pr_err!("region {region}: there is no memory, what is written is lost\n");
            return Err(ENODEV);
        }
        Ok(node)
    }

    /// Makes a node of `size` bytes of memory that only the device can access, and that `copier`
    /// copies and zeroes. Sleeps.
    ///
    /// EINVAL if the size is zero or not aligned to what the kernel's memory map needs, ENXIO if
    /// there is no such NUMA node, ENOSPC if there are no addresses for it, ENOMEM.
    pub fn new_private(
        size: u64,
        nid: Option<i32>,
        name: kernel::str::CString,
        copier: Arc<dyn Copier>,
    ) -> Result<Arc<Self>> {
        let nid = region::check_private(size, nid)?;
        let claim = ClaimedRange::request_free(size, name)?;
        let node = Self::register(Kind::Private, claim, nid, None, Some(copier.clone()))?;

        let splitter = Splitter::new(&node.pagemap, copier)?;
        let thread = Thread::spawn(c"hmm_cdm_split", nid.unsigned_abs(), splitter.clone())?;
        node.pagemap.frames().splitter.populate(splitter);
        node.splitter.populate(thread);
        node.start_undertaker()?;
        Ok(node)
    }

    fn start_undertaker(&self) -> Result {
        let undertaker = Undertaker::new(&self.pagemap)?;
        let thread = Thread::spawn(
            c"hmm_cdm_failed",
            self.nid.unsigned_abs(),
            undertaker.clone(),
        )?;

        self.store().undertaker.populate(undertaker);
        self.undertaker.populate(thread);
        Ok(())
    }

    fn register(
        kind: Kind,
        claim: ClaimedRange,
        nid: i32,
        origin: Option<NodePath>,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Arc<Self>> {
        let (start, size) = (claim.start(), claim.size());
        let nr = (size >> PAGE_SHIFT) as usize;
        let first = (start >> PAGE_SHIFT) as usize;
        let buddy = Buddy::new(first, nr, mm::pmd_order())?;
        let ages = Ages::new(first, nr, mm::pmd_order())?;
        let stock = Stock {
            buddy,
            closed: false,
        };
        let gone = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

        Arc::pin_init(
            try_pin_init!(Self {
                splitter: SetOnce::new(),
                undertaker: SetOnce::new(),
                pagemap <- Pagemap::register(kind, start, size, nid, pin_init!(Store {
                    kind,
                    copier,
                    stock <- new_spinlock_irq!(stock, "Store::stock"),
                    ledger <- Ledger::new(),
                    returning <- new_mutex!((), "Store::returning"),
                    splitter: SetOnce::new(),
                    undertaker: SetOnce::new(),
                    ages,
                    device: SetOnce::new(),
                })),
                _claim: claim,
                nid,
                origin,
                evicting <- new_mutex!((), "Node::evicting"),
                evicted: Counter::new(),
                epitaph: Epitaph(gone),
            }),
            GFP_KERNEL,
        )
    }

    /// Charges its pages to the cgroups of the processes that get them, from now on: called before
    /// anybody gets one. Cgroups know the memory as `hmm_cdm/<name>`, and ask `reclaim` to free some.
    /// ENOMEM.
    pub(crate) fn charge(&self, name: &CStr, reclaim: Arc<dyn Reclaim>) -> Result {
        match dmem::Region::register(name, self.size(), reclaim)? {
            Some(region) => self.store().ledger.open(region, self.pages()),
            None => Ok(()),
        }
    }

    /// What kind of memory it is.
    pub fn kind(&self) -> Kind {
        self.store().kind
    }

    /// Hands nothing out any more, for ever.
    pub(crate) fn close(&self) {
        self.store().stock.lock().closed = true;
    }

    /// Whether nothing is handed out any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.store().stock.lock().closed
    }

    /// Gives a reference up, and waits until everyone else has given theirs up, and the memory is
    /// unregistered. For a node that is closed, and of which no page is in use: then nobody holds
    /// it for long.
    pub(crate) fn bury(this: Arc<Self>) {
        let gone = this.epitaph.0.clone();

        drop(this);
        gone.wait_for_completion();
    }

    /// Who copies from and to its memory.
    pub(crate) fn mover(&self, direction: Direction) -> Mover<'_> {
        mover(&self.pagemap, direction)
    }

    /// Whether a driver has to be asked for what its pages contain.
    pub(crate) fn needs_driver(&self) -> bool {
        self.store().copier.is_some()
    }

    /// Physical address of the first byte.
    pub fn start(&self) -> u64 {
        self.pagemap.start()
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.pagemap.size()
    }

    /// The NUMA node that the pages are on.
    pub fn nid(&self) -> i32 {
        self.nid
    }

    /// The node of the device tree that described the memory, if that is where it is from.
    pub fn origin(&self) -> Option<&NodePath> {
        self.origin.as_ref()
    }

    /// Pages.
    pub fn pages(&self) -> usize {
        self.pagemap.nr()
    }

    /// Pages that no process uses. Damaged ones do not count.
    pub fn free_pages(&self) -> usize {
        self.store().stock.lock().buddy.free_frames()
    }

    /// Pages in use.
    pub fn used_pages(&self) -> usize {
        self.store().stock.lock().buddy.used_frames()
    }

    /// Notes that the device has used page `index`. [`crate::mirror::Mirror::access`] does it by
    /// itself; hardware that counts accesses says so here. Context: any.
    pub fn touch(&self, index: usize) {
        self.store().ages.touch(index);
    }

    /// When its windows were used.
    pub(crate) fn ages(&self) -> &Arc<Ages> {
        &self.store().ages
    }

    /// Notes which `/dev/hmm_cdm<N>` it is behind.
    pub(crate) fn set_device(&self, index: u32) {
        self.store().device.populate(index);
    }

    /// Nobody else makes room meanwhile. Sleeps; the caller holds no lock of mm.
    pub(crate) fn make_room(&self) -> MutexGuard<'_, ()> {
        self.evicting.lock()
    }

    /// Pages that left to make room for others.
    pub(crate) fn evicted(&self) -> &Counter {
        &self.evicted
    }

    /// The pages of the window that was not used for the longest time, except those in use right
    /// now. `None` if there are no others.
    pub(crate) fn coldest(&self) -> Option<Range<usize>> {
        let ages = self.ages();

        ages.coldest()
            .map(|window| ages.pages_of(window, self.pages()))
    }

    /// The pages of all windows in use, in the same order. ENOMEM.
    pub(crate) fn coldest_first(&self) -> Result<KVVec<Range<usize>>> {
        self.ages().coldest_first(self.pages())
    }

    /// Windows that are free as a whole.
    pub fn free_windows(&self) -> usize {
        self.store().stock.lock().buddy.free_blocks(mm::pmd_order())
    }

    /// Whether `pfn` is memory of this node.
    pub fn contains(&self, pfn: Pfn) -> bool {
        self.index(pfn).is_some()
    }

    /// Which page of this node `pfn` is, if it is one.
    pub fn index(&self, pfn: Pfn) -> Option<usize> {
        self.pagemap.index(pfn)
    }

    /// The frame of page `index` of the node.
    pub fn pfn(&self, index: usize) -> Option<Pfn> {
        self.pagemap.pfn(index)
    }

    /// Whether any page of `range`, counted from the start of the node, is in use.
    pub fn any_used(&self, range: Range<usize>) -> bool {
        let stock = self.store().stock.lock();

        range.into_iter().any(|index| stock.buddy.is_used(index))
    }

    /// The pages that had better go if something has to, for the sake of a cgroup's limit; see
    /// [`Ledger::victims`].
    pub(crate) fn victims(
        &self,
        limit: Limit<'_>,
        ignore_low: bool,
        hit_low: &mut bool,
    ) -> Result<Victims<'_>> {
        self.store().ledger.victims(limit, ignore_low, hit_low)
    }

    /// The first page in use, with its counts, for a message about what holds a node.
    pub(crate) fn describe_used(&self) -> Held {
        let window = mm::window_pages();
        // The lock is dropped for every window: interrupts are off under it.
        let index = (0..self.pages()).step_by(window).find_map(|first| {
            let stock = self.store().stock.lock();

            (first..first + window).find(|index| stock.buddy.is_used(*index))
        });

        Held(index.and_then(|index| self.pfn(index)))
    }

    /// Takes up to `count` single pages, contiguous ones as far as there are any, and hands them
    /// to `each`. Returns how many there were: fewer than `count` means that the node is full, or
    /// that the current task's cgroup may not have more.
    ///
    /// Their content is what the last user left.
    pub fn alloc(&self, count: usize, mut each: impl FnMut(NewPage)) -> usize {
        let mut given = 0;

        while given < count {
            let mut batch = [0; BATCH];
            let mut filled = 0;
            let mut grant = self.store().ledger.grant(BATCH.min(count - given));
            let want = grant.pages();

            self.take(|buddy| {
                buddy.alloc_singles(want, |index| {
                    if let Some(slot) = batch.get_mut(filled) {
                        *slot = index;
                        filled += 1;
                    }
                })
            });
            grant.assign(batch.iter().copied().take(filled));
            for index in batch.iter().take(filled) {
                if let Some(page) = self.hand_out(*index, 0) {
                    each(page);
                }
            }
            given += filled;
            if filled < want || want == 0 {
                break;
            }
        }
        given
    }

    /// Takes a whole window of physically contiguous, naturally aligned pages and hands them to
    /// `each`, in order. False if there is none, or the current task's cgroup may not have it.
    pub fn alloc_window(&self, mut each: impl FnMut(NewPage)) -> bool {
        let Some(first) = self.take_window(|ledger, pages| Some(ledger.grant(pages))) else {
            return false;
        };

        self.ages().taken(first, mm::window_pages());
        for index in first..first + mm::window_pages() {
            // SAFETY: As in `hand_out()`.
            if let Some(page) = unsafe { self.pagemap.hand_out(index, 0) } {
                each(page);
            }
        }
        true
    }

    /// Takes a window as one huge page; `None` as with [`Self::alloc_window`]. For private memory: the
    /// kernel cannot split huge pages of coherent memory.
    pub fn alloc_huge(&self) -> Option<NewPage> {
        if self.kind() != Kind::Private {
            return None;
        }
        let first = self.take_window(Ledger::grant_huge)?;

        self.hand_out(first, mm::pmd_order())
    }

    /// What the kernel knows the node's pages by.
    pub(crate) fn owner(&self) -> Owner {
        self.pagemap.owner()
    }

    fn store(&self) -> &Store {
        self.pagemap.frames()
    }

    /// Takes something from the allocator, unless the node is closed.
    fn take<R>(&self, take: impl FnOnce(&mut Buddy) -> R) -> Option<R> {
        let mut stock = self.store().stock.lock();

        if stock.closed {
            None
        } else {
            Some(take(&mut stock.buddy))
        }
    }

    /// Takes a window that is charged as `grant` does it.
    fn take_window<'a>(
        &'a self,
        grant: impl FnOnce(&'a Ledger, usize) -> Option<Grant<'a>>,
    ) -> Option<usize> {
        // Charging a window for nothing takes longer than to see that there is none.
        let ledger = &self.store().ledger;
        if ledger.is_open() && self.free_windows() == 0 {
            return None;
        }
        let pages = mm::window_pages();
        let mut grant = grant(ledger, pages).filter(|grant| grant.pages() == pages)?;
        let first = self.take(|buddy| buddy.alloc(mm::pmd_order())).flatten()?;

        grant.assign(first..first + pages);
        Some(first)
    }

    fn hand_out(&self, index: usize, order: u32) -> Option<NewPage> {
        self.ages().taken(index, 1 << order);
        // SAFETY: Called for what the allocator has just given, once for each block. Windows are
        // naturally aligned.
        unsafe { self.pagemap.hand_out(index, order) }
    }
}

/// Who copies from and to the memory of a pagemap.
fn mover(memory: &Pagemap<Store>, direction: Direction) -> Mover<'_> {
    match (&memory.frames().copier, memory.pfn(0)) {
        (Some(copier), Some(first)) if copier.copies() => Mover::Device {
            copier: &**copier,
            first,
            direction,
        },
        _ => Mover::Cpu,
    }
}

/// A page that keeps its node from going.
pub(crate) struct Held(Option<Pfn>);

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pfn) => {
                let (references, mappings) = pfn.counts();
                write!(
                    f,
                    "frame {:#x} with {references} references, {mappings} of them mappings",
                    pfn.raw()
                )
            }
            None => write!(f, "none any more"),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A memory node: a range of device memory, registered with the kernel, and the allocator of its
//! pages.
//!
//! Pages leave through [`Node::alloc`] and its like, into the hands of a process, and come back when
//! their last user has gone, by exit, munmap, COW or migration; nobody frees them explicitly. Pages
//! come back in any context, interrupts included, which is why the allocator is under a spinlock
//! that disables them.

mod bitmap;
mod buddy;
mod charge;
pub(crate) mod failure;
pub mod memory;
mod migrate_to_ram;
pub mod region;
pub mod tree;
pub(crate) mod window_lru;

use crate::counter::Counter;
use crate::mm::{
    self,
    copy::{Copier, Direction, Mover},
    fault::{CpuFault, FaultOutcome},
    folio::{NewPage, PageRef, Pfn},
    pagemap::{Frames, Kind, Owner, Pagemap},
};
use crate::os::{
    dmem::{self, Limit, Reclaim},
    kthread::Thread,
    of::NodePath,
    resource::ClaimedRange,
};
use buddy::Buddy;
pub(crate) use charge::Victims;
use charge::{DmemCharges, Reservation};
use core::ops::Range;
use failure::PoisonWorker;
use kernel::{
    fmt, new_mutex, new_spinlock_irq,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{Arc, Completion, Mutex, MutexGuard, SetOnce, SpinLockIrq},
};
use migrate_to_ram::Splitter;
use region::Region;
use window_lru::WindowLru;

/// How many pages are taken from the allocator under one hold of its lock.
const BATCH: usize = 32;

/// The frames of a node that can be handed out.
struct FreeFrames {
    buddy: Buddy,
    // Nothing is handed out any more.
    closed: bool,
}

/// The allocator of a node's pages, where the kernel gives them back to.
#[pin_data]
pub struct NodePages {
    kind: Kind,
    copier: Option<Arc<dyn Copier>>,
    #[pin]
    free: SpinLockIrq<FreeFrames>,
    #[pin]
    charges: DmemCharges,
    // BusyPage by the fault that brings home more than its own page; see `home`.
    #[pin]
    returning: Mutex<()>,
    splitter: SetOnce<Arc<Splitter>>,
    poison_worker: SetOnce<Arc<PoisonWorker>>,
    window_lru: Arc<WindowLru>,
    // The N of the `/dev/hmm_cdm<N>` that the memory is behind.
    device: SetOnce<u32>,
}

impl Frames for NodePages {
    fn folio_free(&self, index: usize, order: u32) {
        self.window_lru.freed(index, 1 << order);
        // Before someone else can get them.
        if let Some(copier) = &self.copier {
            copier.freed(index, 1 << order);
        }
        self.charges.freed(index, order);
        let freed = self.free.lock().buddy.free(index, order);

        if freed.is_err() {
            // Then `struct page` and the allocator disagree about who owns the page. Nothing is
            // handed out twice: the allocator did not change.
            pr_err!("page {index} of a node was freed, but is not in use\n");
        }
    }

    fn migrate_to_ram(memory: &Pagemap<Self>, fault: &CpuFault<'_>) -> FaultOutcome {
        // Private memory that nobody copies is where lost pages are.
        if fault.is_damaged() || memory.frames().copier.is_none() {
            return FaultOutcome::Damaged;
        }
        migrate_to_ram::bring(memory, fault)
    }

    fn memory_failure(memory: &Pagemap<Self>, index: usize) -> Result {
        failure::handle(memory, index)
    }
}

/// Tells whoever waits that a node is no more.
struct ReleaseCompletion(Arc<Completion>);

impl Drop for ReleaseCompletion {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

/// Whose a page of device memory is.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct PageOwner {
    /// What the kernel knows the memory by.
    pub(crate) owner: Owner,
    pub(crate) kind: Kind,
    /// The N of its `/dev/hmm_cdm<N>`, if it has one.
    pub(crate) device: Option<u32>,
}

impl PageOwner {
    /// The owner of a page, if it is one of the library's nodes.
    pub(crate) fn of(page: PageRef<'_>) -> Option<Self> {
        Pagemap::<NodePages>::with_page(page, |memory| Self {
            owner: memory.owner(),
            kind: memory.frames().kind,
            device: memory.frames().device.as_ref().copied(),
        })
    }
}

/// A memory node.
#[pin_data]
pub struct Node {
    // Stopped before the pages go.
    splitter: SetOnce<Thread<Splitter>>,
    poison_worker: SetOnce<Thread<PoisonWorker>>,
    // Before `_claim`: the pages go before the range is given back.
    #[pin]
    pagemap: Pagemap<NodePages>,
    _claim: ClaimedRange,
    nid: i32,
    origin: Option<NodePath>,
    // BusyPage by who makes room. Outermost: nobody who takes it holds the mmap lock or a page lock.
    #[pin]
    evicting: Mutex<()>,
    evicted: Counter,
    // Last.
    release: ReleaseCompletion,
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

        node.start_poison_worker()?;
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
        node.start_poison_worker()?;
        Ok(node)
    }

    fn start_poison_worker(&self) -> Result {
        let poison_worker = PoisonWorker::new(&self.pagemap)?;
        let thread = Thread::spawn(
            c"hmm_cdm_failed",
            self.nid.unsigned_abs(),
            poison_worker.clone(),
        )?;

        self.store().poison_worker.populate(poison_worker);
        self.poison_worker.populate(thread);
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
        let window_lru = WindowLru::new(first, nr, mm::pmd_order())?;
        let free = FreeFrames {
            buddy,
            closed: false,
        };
        let gone = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

        Arc::pin_init(
            try_pin_init!(Self {
                splitter: SetOnce::new(),
                poison_worker: SetOnce::new(),
                pagemap <- Pagemap::register(kind, start, size, nid, pin_init!(NodePages {
                    kind,
                    copier,
                    free <- new_spinlock_irq!(free, "NodePages::free"),
                    charges <- DmemCharges::new(),
                    returning <- new_mutex!((), "NodePages::returning"),
                    splitter: SetOnce::new(),
                    poison_worker: SetOnce::new(),
                    window_lru,
                    device: SetOnce::new(),
                })),
                _claim: claim,
                nid,
                origin,
                evicting <- new_mutex!((), "Node::evicting"),
                evicted: Counter::new(),
                release: ReleaseCompletion(gone),
            }),
            GFP_KERNEL,
        )
    }

    /// Charges its pages to the cgroups of the processes that get them, from now on: called before
    /// anybody gets one. Cgroups know the memory as `hmm_cdm/<name>`, and ask `reclaim` to free some.
    /// ENOMEM.
    pub(crate) fn charge(&self, name: &CStr, reclaim: Arc<dyn Reclaim>) -> Result {
        match dmem::DmemRegion::register(name, self.size(), reclaim)? {
            Some(region) => self.store().charges.open(region, self.pages()),
            None => Ok(()),
        }
    }

    /// What kind of memory it is.
    pub fn kind(&self) -> Kind {
        self.store().kind
    }

    /// Hands nothing out any more, for ever.
    pub(crate) fn close(&self) {
        self.store().free.lock().closed = true;
    }

    /// Whether nothing is handed out any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.store().free.lock().closed
    }

    /// Gives a reference up, and waits until everyone else has given theirs up, and the memory is
    /// unregistered. For a node that is closed, and of which no page is in use: then nobody holds
    /// it for long.
    pub(crate) fn wait_unregistered(this: Arc<Self>) {
        let gone = this.release.0.clone();

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
        self.store().free.lock().buddy.free_frames()
    }

    /// Pages in use.
    pub fn used_pages(&self) -> usize {
        self.store().free.lock().buddy.used_frames()
    }

    /// Notes that the device has used page `index`. [`crate::mirror::Mirror::access`] does it by
    /// itself; hardware that counts accesses says so here. Context: any.
    pub fn touch(&self, index: usize) {
        self.store().window_lru.touch(index);
    }

    /// When its windows were used.
    pub(crate) fn window_lru(&self) -> &Arc<WindowLru> {
        &self.store().window_lru
    }

    /// Notes which `/dev/hmm_cdm<N>` it is behind.
    pub(crate) fn set_device(&self, index: u32) {
        self.store().device.populate(index);
    }

    /// Nobody else makes room meanwhile. Sleeps; the caller holds no lock of mm.
    pub(crate) fn lock_eviction(&self) -> MutexGuard<'_, ()> {
        self.evicting.lock()
    }

    /// Pages that left to make room for others.
    pub(crate) fn evicted(&self) -> &Counter {
        &self.evicted
    }

    /// The pages of the window that was not used for the longest time, except those in use right
    /// now. `None` if there are no others.
    pub(crate) fn coldest(&self) -> Option<Range<usize>> {
        let window_lru = self.window_lru();

        window_lru
            .coldest()
            .map(|window| window_lru.pages_of(window, self.pages()))
    }

    /// The pages of all windows in use, in the same order. ENOMEM.
    pub(crate) fn coldest_first(&self) -> Result<KVVec<Range<usize>>> {
        self.window_lru().coldest_first(self.pages())
    }

    /// Windows that are free as a whole.
    pub fn free_windows(&self) -> usize {
        self.store().free.lock().buddy.free_blocks(mm::pmd_order())
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
        let free = self.store().free.lock();

        range.into_iter().any(|index| free.buddy.is_used(index))
    }

    /// The pages that had better go if something has to, for the sake of a cgroup's limit; see
    /// [`DmemCharges::victims`].
    pub(crate) fn victims(
        &self,
        limit: Limit<'_>,
        ignore_low: bool,
        hit_low: &mut bool,
    ) -> Result<Victims<'_>> {
        self.store().charges.victims(limit, ignore_low, hit_low)
    }

    /// The first page in use, with its counts, for a message about what holds a node.
    pub(crate) fn describe_used(&self) -> BusyPage {
        let window = mm::window_pages();
        // The lock is dropped for every window: interrupts are off under it.
        let index = (0..self.pages()).step_by(window).find_map(|first| {
            let free = self.store().free.lock();

            (first..first + window).find(|index| free.buddy.is_used(*index))
        });

        BusyPage(index.and_then(|index| self.pfn(index)))
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
            let mut reserve = self.store().charges.reserve(BATCH.min(count - given));
            let want = reserve.pages();

            self.take(|buddy| {
                buddy.alloc_singles(want, |index| {
                    if let Some(slot) = batch.get_mut(filled) {
                        *slot = index;
                        filled += 1;
                    }
                })
            });
            reserve.assign(batch.iter().copied().take(filled));
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
        let Some(first) = self.take_window(|charges, pages| Some(charges.reserve(pages))) else {
            return false;
        };

        self.window_lru().taken(first, mm::window_pages());
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
        let first = self.take_window(DmemCharges::reserve_huge)?;

        self.hand_out(first, mm::pmd_order())
    }

    /// What the kernel knows the node's pages by.
    pub(crate) fn owner(&self) -> Owner {
        self.pagemap.owner()
    }

    fn store(&self) -> &NodePages {
        self.pagemap.frames()
    }

    /// Takes something from the allocator, unless the node is closed.
    fn take<R>(&self, take: impl FnOnce(&mut Buddy) -> R) -> Option<R> {
        let mut free = self.store().free.lock();

        if free.closed {
            None
        } else {
            Some(take(&mut free.buddy))
        }
    }

    /// Takes a window that is charged as `reserve` does it.
    fn take_window<'a>(
        &'a self,
        reserve: impl FnOnce(&'a DmemCharges, usize) -> Option<Reservation<'a>>,
    ) -> Option<usize> {
        // Charging a window for nothing takes longer than to see that there is none.
        let charges = &self.store().charges;
        if charges.is_open() && self.free_windows() == 0 {
            return None;
        }
        let pages = mm::window_pages();
        let mut reserve = reserve(charges, pages).filter(|reserve| reserve.pages() == pages)?;
        let first = self.take(|buddy| buddy.alloc(mm::pmd_order())).flatten()?;

        reserve.assign(first..first + pages);
        Some(first)
    }

    fn hand_out(&self, index: usize, order: u32) -> Option<NewPage> {
        self.window_lru().taken(index, 1 << order);
        // SAFETY: Called for what the allocator has just given, once for each block. Windows are
        // naturally aligned.
        unsafe { self.pagemap.hand_out(index, order) }
    }
}

/// Who copies from and to the memory of a pagemap.
fn mover(memory: &Pagemap<NodePages>, direction: Direction) -> Mover<'_> {
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
pub(crate) struct BusyPage(Option<Pfn>);

impl fmt::Display for BusyPage {
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

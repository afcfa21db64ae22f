// SPDX-License-Identifier: GPL-2.0

//! A memory node: a range of device memory that is registered with the kernel, from its creation to
//! its removal.
//!
//! | module | subject |
//! | --- | --- |
//! | [`region`], [`device_tree`] | memory that may become a node: the checks, and the device tree |
//! | [`memory_slot`] | a device's slot for a node, which may be empty |
//! | `pages`, `buddy`, `bitmap` | the page frames and their allocator |
//! | `charge` | charges to cgroups |
//! | [`window_lru`] | the order in which windows were used |
//! | `alloc` | allocation of pages |
//! | `mover` | what copies the pages |
//! | `owner` | the owner of a page that a page table names |
//! | `pagemap_ops` | the operations of the pagemap |
//! | `migrate_to_ram`, `splitter` | the CPU's accesses to private memory |
//! | `memory_failure`, [`poison`], `poison_worker` | damaged pages |

mod alloc;
mod bitmap;
mod buddy;
mod charge;
pub mod device_tree;
mod memory_failure;
pub mod memory_slot;
mod migrate_to_ram;
mod mover;
mod owner;
mod pagemap_ops;
mod pages;
pub(crate) mod poison;
mod poison_worker;
pub mod region;
mod splitter;
pub(crate) mod window_lru;

pub(crate) use charge::Victims;
pub(crate) use owner::PageOwner;

use crate::{
    counter::Counter,
    mm::{
        copy::{
            Copier,
            Direction,
            Mover, //
        },
        folio::Pfn,
        pagemap::{
            DeviceRange,
            Kind,
            Owner,
            Pagemap, //
        },
        window_pages, //
    },
    os::{
        dmem::{
            DmemRegion,
            Limit,
            Reclaim, //
        },
        kthread::Thread,
        of::NodePath, //
    }, //
};
use core::ops::Range;
use kernel::{
    fmt,
    new_mutex,
    page::PAGE_SHIFT,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Completion,
        Mutex,
        MutexGuard,
        SetOnce, //
    }, //
};
use pages::NodePages;
use poison_worker::PoisonWorker;
use region::Region;
use splitter::Splitter;
use window_lru::WindowLru;

/// Completes when it is dropped, at the end of a node.
struct ReleaseCompletion(Arc<Completion>);

impl Drop for ReleaseCompletion {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

/// A memory node.
#[pin_data]
pub struct Node {
    // Stopped before the pages are unregistered.
    split_thread: SetOnce<Thread<Splitter>>,
    poison_thread: SetOnce<Thread<PoisonWorker>>,
    #[pin]
    pagemap: Pagemap<NodePages>,
    nid: i32,
    origin: Option<NodePath>,
    // Serialises eviction. Outermost: never taken with the mmap lock or a page lock held.
    #[pin]
    evicting: Mutex<()>,
    evicted: Counter,
    // Dropped last.
    release: ReleaseCompletion,
}

impl Node {
    /// Makes a node of coherent memory from a region that has not been checked yet. `name` is for
    /// `/proc/iomem`. The data in the memory is lost. Sleeps.
    ///
    /// Errors are those of [`Region::claim`], ENODEV if the memory does not keep what is written to
    /// it, and ENOMEM.
    pub fn new(
        region: &Region,
        name: CString,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Arc<Self>> {
        let (range, nid) = region.claim(name)?;
        let node = Self::register(range, nid, region.origin().cloned(), copier);

        let node = node.inspect_err(|e| {
            if *e == ENODEV {
                pr_err!("region {region}: there is no memory, what is written is lost\n");
            }
        })?;
        node.start_poison_thread()?;
        Ok(node)
    }

    /// Makes a node of `size` bytes of memory that only the device can access; `copier` copies and
    /// zeroes it. `name` is for `/proc/iomem`. Sleeps.
    ///
    /// EINVAL if the size is zero or not aligned as the kernel's memory map requires, ENXIO if
    /// there is no such NUMA node, ENOSPC if no addresses are left for it, ENOMEM.
    pub fn new_private(
        size: u64,
        nid: Option<i32>,
        name: CString,
        copier: Arc<dyn Copier>,
    ) -> Result<Arc<Self>> {
        let nid = region::check_private(size, nid)?;
        let range = DeviceRange::addresses(size, name)?;
        let node = Self::register(range, nid, None, Some(copier.clone()))?;

        let splitter = Splitter::new(node.owner(), node.first_pfn()?, node.pages(), copier)?;
        let thread = Thread::spawn(c"hmm_cdm_split", nid.unsigned_abs(), splitter.clone())?;
        node.node_pages().set_splitter(splitter);
        node.split_thread.populate(thread);
        node.start_poison_thread()?;
        Ok(node)
    }

    fn start_poison_thread(&self) -> Result {
        let worker = PoisonWorker::new(self.first_pfn()?)?;
        let thread = Thread::spawn(c"hmm_cdm_failed", self.nid.unsigned_abs(), worker.clone())?;

        self.node_pages().set_poison_worker(worker);
        self.poison_thread.populate(thread);
        Ok(())
    }

    fn register(
        range: DeviceRange,
        nid: i32,
        origin: Option<NodePath>,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Arc<Self>> {
        let (start, size, kind) = (range.start(), range.size(), range.kind());
        let nr = (size >> PAGE_SHIFT) as usize;
        let first = (start >> PAGE_SHIFT) as usize;
        let pages = NodePages::new(kind, copier, first, nr)?;
        let released = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

        Arc::pin_init(
            try_pin_init!(Self {
                split_thread: SetOnce::new(),
                poison_thread: SetOnce::new(),
                pagemap <- Pagemap::register(range, nid, pages),
                nid,
                origin,
                evicting <- new_mutex!((), "Node::evicting"),
                evicted: Counter::new(),
                release: ReleaseCompletion(released),
            }),
            GFP_KERNEL,
        )
    }

    /// Starts to charge pages to the cgroups of the processes that allocate them. Called before any
    /// is allocated. The dmem controller knows the memory as `hmm_cdm/<name>`, and calls `reclaim`
    /// when a limit is lowered. ENOMEM.
    pub(crate) fn charge(&self, name: &CStr, reclaim: Arc<dyn Reclaim>) -> Result {
        match DmemRegion::register(name, self.size(), reclaim)? {
            Some(region) => self.node_pages().charges().open(region, self.pages()),
            None => Ok(()),
        }
    }

    /// Ends allocation, for good.
    pub(crate) fn close(&self) {
        self.node_pages().close();
    }

    /// Returns whether allocation has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.node_pages().is_closed()
    }

    /// Drops a reference and waits until all others are dropped and the memory is unregistered. For
    /// a node that is closed and has no page in use: then nobody keeps a reference for long.
    pub(crate) fn wait_unregistered(this: Arc<Self>) {
        let released = this.release.0.clone();

        drop(this);
        released.wait_for_completion();
    }

    /// Returns the kind of memory.
    pub fn kind(&self) -> Kind {
        self.node_pages().kind()
    }

    /// Returns what copies between system memory and the node.
    pub(crate) fn mover(&self, direction: Direction) -> Mover<'_> {
        mover::mover(&self.pagemap, direction)
    }

    /// Returns whether a driver copies the pages' data or is told of freed pages.
    pub(crate) fn needs_driver(&self) -> bool {
        self.node_pages().copier().is_some()
    }

    /// Returns the physical address of the first byte.
    pub fn start(&self) -> u64 {
        self.pagemap.start()
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.pagemap.size()
    }

    /// Returns the NUMA node of the pages.
    pub fn nid(&self) -> i32 {
        self.nid
    }

    /// Returns the device tree node that described the memory, if one did.
    pub fn origin(&self) -> Option<&NodePath> {
        self.origin.as_ref()
    }

    /// Returns the owner by which the kernel tells the node's pages from those of other devices.
    pub(crate) fn owner(&self) -> Owner {
        self.pagemap.owner()
    }

    /// Sets the N of the node's `/dev/hmm_cdm<N>`.
    pub(crate) fn set_device(&self, index: u32) {
        self.node_pages().set_device(index);
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.pagemap.nr()
    }

    /// Returns the number of pages that can be allocated. Retired pages do not count.
    pub fn free_pages(&self) -> usize {
        self.node_pages().free_frames()
    }

    /// Returns the number of pages in use.
    pub fn used_pages(&self) -> usize {
        self.node_pages().used_frames()
    }

    /// Returns the number of windows that are free as a whole.
    pub fn free_windows(&self) -> usize {
        self.node_pages().free_windows()
    }

    /// Returns whether `pfn` is memory of this node.
    pub fn contains(&self, pfn: Pfn) -> bool {
        self.index(pfn).is_some()
    }

    /// Returns the index of page `pfn`, if it is one of this node.
    pub fn index(&self, pfn: Pfn) -> Option<usize> {
        self.pagemap.index(pfn)
    }

    /// Returns the frame of page `index`.
    pub fn pfn(&self, index: usize) -> Option<Pfn> {
        self.pagemap.pfn(index)
    }

    /// Returns whether any page of `range` is in use. Interrupts are off meanwhile, so a range has
    /// at most a window's pages.
    pub fn any_used(&self, range: Range<usize>) -> bool {
        self.node_pages().first_used(range).is_some()
    }

    /// Returns the first page in use, for a message about what delays removal.
    pub(crate) fn describe_used(&self) -> UsedPage {
        // The lock is released after each window, as interrupts are off under it.
        let index = (0..self.pages())
            .step_by(window_pages())
            .find_map(|first| self.node_pages().first_used(first..first + window_pages()));

        UsedPage(index.and_then(|index| self.pfn(index)))
    }

    /// Records that the device used page `index`. [`crate::mirror::Mirror::access`] does so itself;
    /// hardware that counts accesses reports them here. Context: any.
    pub fn touch(&self, index: usize) {
        self.window_lru().touch(index);
    }

    /// Returns the order in which windows were last used.
    pub(crate) fn window_lru(&self) -> &Arc<WindowLru> {
        self.node_pages().window_lru()
    }

    /// Serialises eviction. Sleeps; the caller holds neither the mmap lock nor a page lock.
    pub(crate) fn lock_eviction(&self) -> MutexGuard<'_, ()> {
        self.evicting.lock()
    }

    /// Returns the number of pages that were evicted for other pages.
    pub(crate) fn evicted(&self) -> &Counter {
        &self.evicted
    }

    /// Returns the least age of windows that are used from now on.
    pub(crate) fn next_age(&self) -> u64 {
        self.window_lru().next_age()
    }

    /// Returns the pages of the least recently used window that is not exempt from eviction, and
    /// that is older than `before`.
    pub(crate) fn coldest(&self, before: u64) -> Option<Range<usize>> {
        let window_lru = self.window_lru();

        window_lru
            .coldest(before)
            .map(|window| window_lru.pages_of(window, self.pages()))
    }

    /// Returns the pages of all windows with pages in use, least recently used first. ENOMEM.
    pub(crate) fn coldest_first(&self) -> Result<KVVec<Range<usize>>> {
        self.window_lru().coldest_first(self.pages())
    }

    /// Returns the pages to evict for the limit of a cgroup. Sets `hit_low` if, with `ignore_low`
    /// false, some are protected by `dmem.low`. ENOMEM.
    pub(crate) fn victims(
        &self,
        limit: Limit<'_>,
        ignore_low: bool,
        hit_low: &mut bool,
    ) -> Result<Victims<'_>> {
        self.node_pages()
            .charges()
            .victims(limit, ignore_low, hit_low)
    }

    fn node_pages(&self) -> &NodePages {
        self.pagemap.frames()
    }

    fn first_pfn(&self) -> Result<Pfn> {
        self.pfn(0).ok_or(EINVAL)
    }
}

/// A page in use that delays the removal of its node.
pub(crate) struct UsedPage(Option<Pfn>);

impl fmt::Display for UsedPage {
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

// SPDX-License-Identifier: GPL-2.0

//! A memory node: a range of coherent device memory, registered with the kernel, and the allocator
//! of its pages.
//!
//! Pages leave through [`Node::alloc`] and [`Node::alloc_window`], into the hands of a process, and
//! come back when their last user has gone, by exit, munmap, COW or migration; nobody frees them
//! explicitly. Pages come back in any context, interrupts included, which is why the allocator is
//! under a spinlock that disables them.

mod buddy;
pub mod region;
pub mod tree;

use crate::mm::{
    folio::{NewPage, Pfn},
    pagemap::{Frames, Pagemap},
    pmd_order,
};
use crate::os::{of::NodePath, resource::ClaimedRange};
use buddy::Buddy;
use core::ops::Range;
use kernel::{
    fmt, new_spinlock_irq,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{Arc, SpinLockIrq},
};
use region::Region;

/// How many pages are taken from the allocator under one hold of its lock.
const BATCH: usize = 32;

/// The allocator of a node's pages, where the kernel gives them back to.
#[pin_data]
pub struct Store {
    #[pin]
    buddy: SpinLockIrq<Buddy>,
}

impl Frames for Store {
    fn freed(&self, index: usize) {
        let freed = self.buddy.lock().free(index, 0);

        if freed.is_err() {
            // Then `struct page` and the allocator disagree about who owns the page. Nothing is
            // handed out twice: the allocator did not change.
            pr_err!("page {index} of a node was freed, but is not in use\n");
        }
    }

    fn failed(&self, range: Range<usize>) {
        for index in range {
            if self.buddy.lock().retire(index) {
                pr_err!("page {index} of a node is damaged and taken out of use\n");
            }
        }
    }
}

/// A memory node.
#[pin_data]
pub struct Node {
    // Before `_claim`: the pages go before the range is given back.
    #[pin]
    pagemap: Pagemap<Store>,
    _claim: ClaimedRange,
    nid: i32,
    origin: Option<NodePath>,
    window_order: u32,
}

impl Node {
    /// Makes a node of a checked region. The name is that in `/proc/iomem`. Sleeps.
    ///
    /// The memory is registered, and what it contained is lost. Errors are those of
    /// [`Region::check`], and ENODEV if the memory does not hold what is written to it.
    pub fn new(region: &Region, name: kernel::str::CString) -> Result<Arc<Self>> {
        let nid = region.check()?;
        let claim = region.claim(name)?;
        let nr = (region.size >> PAGE_SHIFT) as usize;
        let first = (region.start >> PAGE_SHIFT) as usize;
        let window_order = pmd_order();
        let buddy = Buddy::new(first, nr, window_order)?;

        let node = Arc::pin_init(
            try_pin_init!(Self {
                pagemap <- Pagemap::register(region.start, region.size, nid, pin_init!(Store {
                    buddy <- new_spinlock_irq!(buddy, "Store::buddy"),
                })),
                _claim: claim,
                nid,
                origin: region.origin.clone(),
                window_order,
            }),
            GFP_KERNEL,
        )?;
        if !node.pagemap.holds_data() {
            pr_err!("region {region}: there is no memory, what is written is lost\n");
            return Err(ENODEV);
        }
        Ok(node)
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
        self.store().lock().free_frames()
    }

    /// Pages in use.
    pub fn used_pages(&self) -> usize {
        self.store().lock().used_frames()
    }

    /// Windows that are free as a whole.
    pub fn free_windows(&self) -> usize {
        self.store().lock().free_blocks(self.window_order)
    }

    /// The pages that are handled at a time: as many as the largest huge page has that can move.
    pub fn window_pages(&self) -> usize {
        1 << self.window_order
    }

    /// The logarithm of a window's size in bytes.
    pub fn window_shift(&self) -> u32 {
        self.window_order + PAGE_SHIFT as u32
    }

    /// The size of a window in bytes.
    pub fn window_size(&self) -> usize {
        self.window_pages() << PAGE_SHIFT
    }

    /// Whether `pfn` is memory of this node.
    pub fn contains(&self, pfn: Pfn) -> bool {
        self.pagemap.index(pfn).is_some()
    }

    /// The frame of page `index` of the node.
    pub fn pfn(&self, index: usize) -> Option<Pfn> {
        self.pagemap.pfn(index)
    }

    /// Whether any page of `range`, counted from the start of the node, is in use.
    pub fn any_used(&self, range: Range<usize>) -> bool {
        let buddy = self.store().lock();

        range.into_iter().any(|index| buddy.is_used(index))
    }

    /// The first page in use, with its counts, for a message about what holds a node.
    pub(crate) fn describe_used(&self) -> Held {
        let window = self.window_pages();
        // The lock is dropped for every window: interrupts are off under it.
        let index = (0..self.pages()).step_by(window).find_map(|first| {
            let buddy = self.store().lock();

            (first..first + window).find(|index| buddy.is_used(*index))
        });

        Held(index.and_then(|index| self.pfn(index)))
    }

    /// Takes up to `count` single pages, contiguous ones as far as there are any, and hands them
    /// to `each`. Returns how many there were: fewer than `count` means that the node is full.
    ///
    /// Their content is what the last user left; see [`NewPage::zero`].
    pub fn alloc(&self, count: usize, mut each: impl FnMut(NewPage)) -> usize {
        let mut given = 0;

        while given < count {
            let mut batch = [0; BATCH];
            let mut filled = 0;
            let want = BATCH.min(count - given);

            self.store().lock().alloc_singles(want, |index| {
                if let Some(slot) = batch.get_mut(filled) {
                    *slot = index;
                    filled += 1;
                }
            });
            for index in batch.iter().take(filled) {
                if let Some(page) = self.hand_out(*index) {
                    each(page);
                }
            }
            given += filled;
            if filled < want {
                break;
            }
        }
        given
    }

    /// Takes a whole window of physically contiguous, naturally aligned pages and hands them to
    /// `each`, in order. False if there is none.
    pub fn alloc_window(&self, mut each: impl FnMut(NewPage)) -> bool {
        let Some(first) = self.store().lock().alloc(self.window_order) else {
            return false;
        };

        for index in first..first + self.window_pages() {
            if let Some(page) = self.hand_out(index) {
                each(page);
            }
        }
        true
    }

    /// What `migrate_vma` knows the node's pages by.
    pub(crate) fn owner(&self) -> *mut kernel::ffi::c_void {
        self.pagemap.owner()
    }

    fn store(&self) -> &SpinLockIrq<Buddy> {
        &self.pagemap.frames().buddy
    }

    fn hand_out(&self, index: usize) -> Option<NewPage> {
        // SAFETY: Called for what the allocator has just given, once for each page.
        unsafe { self.pagemap.hand_out(index) }
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

// SPDX-License-Identifier: GPL-2.0

//! The buddy allocator of a node's page frames.
//!
//! The kernel's page allocator does not manage coherent device memory, so a node allocates its
//! frames itself: single frames quickly, since every coherent folio has order 0, and whole
//! *windows* (blocks of the largest order, as a rule the size of a PMD) for as long as there are
//! any, since a device maps contiguous frames with large page-table entries.
//!
//! Frames are named by their *index*, 0 for the first frame of the node. Blocks are naturally
//! aligned by page frame number, not by index, so that windows match the CPU's page tables.
//!
//! # Contexts
//!
//! Pure logic without a lock: a node keeps its [`Buddy`] under a spinlock that disables interrupts,
//! as frames are freed in atomic context. Only [`Buddy::new`] allocates and may sleep. Everything
//! else takes bounded time and neither allocates, sleeps, panics nor recurses.
//!
//! # Representation and cost
//!
//! Nothing is stored in the frames or in `struct page`. One bitmap per order has the free blocks of
//! that order, and two more have the frames that are in use and those that are retired. That is 4
//! bits per frame (64 KiB for 512 MiB in 4 KiB pages), where linked lists would take 8 bytes.
//!
//! The bitmaps of free blocks are hierarchical ([`HierarchicalBitmap`]), so finding the lowest free
//! block reads one word per level, and coalescing tests one bit per order. With `o` the largest
//! order and `l` the number of levels, [`Buddy::alloc`], [`Buddy::free`] and [`Buddy::retire`] cost
//! O(o * l), plus one word for each 64 frames of the block to mark them used or free.
//!
//! # Fragmentation
//!
//! A block is split only if no smaller block suffices, so that windows already broken are used up
//! before a whole one is split. Of equal blocks the lowest is taken, which gives the others time to
//! coalesce. Freed blocks coalesce before the next allocation, so the free blocks are then the
//! largest that the free frames can form. Most frames are freed one by one, and to coalesce each of
//! them would cost more than the rest of freeing it; those that share a word of the bitmaps are
//! gathered and coalesce together.
//!
//! # Why not `kernel::gpu::buddy`
//!
//! The kernel has a buddy allocator for GPU memory (`drivers/gpu/buddy.c`) with a Rust abstraction
//! (`rust/kernel/gpu/buddy.rs`). It suits buffer objects, which are allocated and freed as a whole
//! by their driver. It does not suit pages that the kernel frees one by one:
//!
//! - `folio_free` runs in atomic context. The abstraction takes a mutex for every call, and each
//!   split allocates a `struct gpu_buddy_block` with `GFP_KERNEL`.
//! - A page is freed by its page frame number, and a window in parts. The abstraction frees an
//!   allocation as a whole, when its `AllocatedBlocks` is dropped, and finds no block by address.
//! - `memory_failure` asks whether a frame is in use and retires a single frame, free or in use,
//!   for good. There is no state per frame, and no way to retire part of a block.
//! - A frame that is allocated singly takes a block of 88 bytes; the bitmaps take 4 bits.
//! - `CONFIG_GPU_BUDDY` has no prompt and comes with DRM only. Debian's cloud kernel has no DRM,
//!   and so has no `kernel::gpu::buddy`.

use super::bitmap::{
    Bitmap,
    HierarchicalBitmap,
    WORD, //
};
use kernel::prelude::*;

/// The largest order that a window can have: 1 GiB of 4 KiB pages. It bounds the time of one call.
const ORDER_LIMIT: u32 = 18;

/// The most frames that one call of [`Buddy::alloc_singles`] allocates.
pub(crate) const MAX_SINGLES: usize = 512;

/// Why [`Buddy::free`] refused a block, and changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreeError {
    /// The block reaches beyond the node's frames, or its order is larger than that of a window.
    OutOfRange,
    /// The page frame number is not a multiple of the block's size.
    Misaligned,
    /// Not every frame of the block is in use: some were freed before, or never allocated.
    NotUsed,
}

/// The frames of a node, each free, in use or retired.
///
/// # Invariants
///
/// - Each frame is free, used, retired, or both used and retired.
/// - A free frame lies in exactly one block of `blocks`, or is gathered; any other frame in none.
/// - No two buddies below `max_order` are both free blocks.
/// - Bit `n` of `orders` is set if and only if `blocks[n]` is not empty.
pub(crate) struct Buddy {
    /// Free blocks, by order.
    blocks: KVVec<HierarchicalBitmap>,
    /// A mask of the orders that have free blocks.
    orders: u32,
    /// Free frames that are in no block yet: the index of a word of the bitmaps, and bits of it.
    gathered: (usize, u64),
    /// Frames in use.
    used: Bitmap,
    /// Frames that must not be allocated again.
    retired: Bitmap,
    /// The offset of the node's first frame in its window. Internally the *position* of a frame,
    /// `lead` + index, identifies it: alignment can be read off it.
    lead: usize,
    /// The number of frames.
    total: usize,
    /// The order of a window.
    max_order: u32,
    nr_free: usize,
    nr_used: usize,
    nr_retired: usize,
}

impl Buddy {
    /// Makes the allocator for the `nr` page frames that start with `first_pfn`, all of them free.
    ///
    /// `max_order` is the order of a window. Neither `first_pfn` nor `nr` has to be a multiple of
    /// its size; frames outside of whole windows are allocated in smaller blocks. May sleep.
    ///
    /// Fails with `EINVAL` for no frames, more than `u32::MAX` of them, a range beyond the last
    /// page frame number or an order over 18, and with `ENOMEM`.
    pub(crate) fn new(first_pfn: usize, nr: usize, max_order: u32) -> Result<Self> {
        let in_range = first_pfn.checked_add(nr).is_some();
        if nr == 0 || u32::try_from(nr).is_err() || !in_range || max_order > ORDER_LIMIT {
            return Err(EINVAL);
        }

        // At most `first_pfn + nr`, so that no sum of positions overflows.
        let lead = first_pfn % (1 << max_order);
        let end = lead + nr;

        let mut blocks = KVVec::with_capacity(max_order as usize + 1, GFP_KERNEL)?;
        for order in 0..=max_order {
            blocks.push(HierarchicalBitmap::new(end >> order)?, GFP_KERNEL)?;
        }

        let mut buddy = Self {
            blocks,
            orders: 0,
            gathered: (0, 0),
            used: Bitmap::new(end)?,
            retired: Bitmap::new(end)?,
            lead,
            total: nr,
            max_order,
            nr_free: 0,
            nr_used: 0,
            nr_retired: 0,
        };
        buddy.release(lead, end);
        Ok(buddy)
    }

    /// Allocates a block of `2^order` frames and returns the index of the first.
    ///
    /// Returns `None` if no free block is large enough; no block is larger than a window. The block
    /// may be freed in parts.
    pub(crate) fn alloc(&mut self, order: u32) -> Option<usize> {
        self.settle();
        let from = self.smallest_order(order)?;
        let pos = self.take(from, order)?;
        Some(pos - self.lead)
    }

    /// Allocates up to `count` single frames, but at most [`MAX_SINGLES`], and calls `each` with
    /// the index of each. Returns how many were allocated: fewer only if the node is full.
    ///
    /// The frames come in runs, as long as the windows already broken allow; a whole window is
    /// broken only when those are used up. `each` is called under the caller's lock.
    pub(crate) fn alloc_singles(&mut self, count: usize, mut each: impl FnMut(usize)) -> usize {
        let count = count.min(MAX_SINGLES);
        let mut done = 0;

        self.settle();
        while done < count {
            let want = (count - done).ilog2().min(self.max_order);
            let Some(from) = self.order_for_run(want) else {
                break;
            };
            let order = want.min(from);
            let Some(pos) = self.take(from, order) else {
                break;
            };
            let index = pos - self.lead;
            (index..index + (1 << order)).for_each(&mut each);
            done += 1 << order;
        }
        done
    }

    /// Frees the `2^order` frames from `index` on, which coalesce with their neighbours.
    ///
    /// All of them must be in use; the orders in which they were allocated do not matter. Retired
    /// frames do not become free.
    pub(crate) fn free(&mut self, index: usize, order: u32) -> Result<(), FreeError> {
        if order > self.max_order {
            return Err(FreeError::OutOfRange);
        }
        let len = 1 << order;
        let pos = self.position(index, len).ok_or(FreeError::OutOfRange)?;
        if pos % len != 0 {
            return Err(FreeError::Misaligned);
        }
        if !self.used.all(pos, pos + len) {
            return Err(FreeError::NotUsed);
        }

        self.used.clear(pos, pos + len);
        self.nr_used -= len;
        if len == 1 && !self.retired.test(pos) {
            self.gather(pos);
        } else {
            self.release(pos, pos + len);
        }
        Ok(())
    }

    /// Adds a free frame that is in no block.
    fn gather(&mut self, pos: usize) {
        if self.gathered.0 != pos / WORD {
            self.settle();
        }
        let (word, bits) = &mut self.gathered;

        *word = pos / WORD;
        *bits |= 1 << (pos % WORD);
    }

    /// Coalesces the frames that were gathered into blocks.
    fn settle(&mut self) {
        let (word, mut bits) = self.gathered;

        self.gathered.1 = 0;
        while bits != 0 {
            let first = bits.trailing_zeros();
            let run = (bits >> first).trailing_ones();
            let start = word * WORD + first as usize;

            self.release(start, start + run as usize);
            bits &= u64::MAX.checked_shl(first + run).unwrap_or(0);
        }
    }

    /// Retires a frame, which is never allocated again: for pages that are damaged. A frame in use
    /// becomes unavailable when it is freed.
    ///
    /// Returns false, and does nothing, if the frame is already retired or not one of the node's.
    pub(crate) fn retire(&mut self, index: usize) -> bool {
        let Some(pos) = self.position(index, 1) else {
            return false;
        };
        if self.retired.test(pos) {
            return false;
        }

        self.settle();
        self.retired.set(pos, pos + 1);
        self.nr_retired += 1;
        self.carve_out(pos);
        true
    }

    /// Returns whether a frame is in use.
    pub(crate) fn is_used(&self, index: usize) -> bool {
        self.position(index, 1)
            .is_some_and(|pos| self.used.test(pos))
    }

    /// Returns whether a frame can be allocated.
    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    pub(crate) fn is_free(&self, index: usize) -> bool {
        self.position(index, 1)
            .is_some_and(|pos| !self.used.test(pos) && !self.retired.test(pos))
    }

    /// Returns the number of frames, whatever their state.
    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    pub(crate) fn total_frames(&self) -> usize {
        self.total
    }

    /// Returns the number of frames that can be allocated.
    pub(crate) fn free_frames(&self) -> usize {
        self.nr_free + self.gathered.1.count_ones() as usize
    }

    /// Returns the number of frames in use, including those that are retired.
    pub(crate) fn used_frames(&self) -> usize {
        self.nr_used
    }

    /// Returns the number of retired frames, including those that are still in use.
    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    pub(crate) fn retired_frames(&self) -> usize {
        self.nr_retired
    }

    /// Returns the number of free blocks of exactly this order.
    pub(crate) fn free_blocks(&mut self, order: u32) -> usize {
        self.settle();
        self.blocks
            .get(order as usize)
            .map_or(0, |blocks| blocks.count())
    }

    /// Returns the order of the largest free block, `None` if the node is full.
    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    pub(crate) fn largest_free_order(&mut self) -> Option<u32> {
        self.settle();
        self.orders.checked_ilog2()
    }

    /// Returns the position of frame `index`, if it and the `len - 1` after it are the node's.
    fn position(&self, index: usize, len: usize) -> Option<usize> {
        let end = index.checked_add(len)?;
        (end <= self.total).then_some(self.lead + index)
    }

    /// Returns the smallest order, from `order` on, that has a free block.
    fn smallest_order(&self, order: u32) -> Option<u32> {
        let enough = self.orders & u32::MAX.checked_shl(order)?;
        (enough != 0).then(|| enough.trailing_zeros())
    }

    /// Returns the order of the block from which to take a run of at most `2^want` frames: the
    /// smallest sufficient order, else the largest smaller one. A window is the last resort.
    fn order_for_run(&self, want: u32) -> Option<u32> {
        let window = 1 << self.max_order;
        let broken = self.orders & !window;
        let enough = broken & (u32::MAX << want);

        if enough != 0 {
            Some(enough.trailing_zeros())
        } else if broken != 0 {
            broken.checked_ilog2()
        } else {
            self.orders.checked_ilog2()
        }
    }

    /// Allocates the first `2^order` frames of the lowest free block of order `from`, which is at
    /// least `order`; the rest stays free. Returns their position.
    fn take(&mut self, from: u32, order: u32) -> Option<usize> {
        let pos = self.blocks.get(from as usize)?.first()? << from;

        self.remove(pos, from);
        for half in order..from {
            self.insert(pos + (1 << half), half);
        }
        self.used.set(pos, pos + (1 << order));
        self.nr_used += 1 << order;
        Some(pos)
    }

    /// Makes the positions `start..end` free, except retired ones. None of them is in a free block.
    fn release(&mut self, mut start: usize, end: usize) {
        while start < end {
            let stop = self.retired.find(start, end).unwrap_or(end);
            while start < stop {
                let fits = (stop - start).ilog2().min(self.max_order);
                let order = start.trailing_zeros().min(fits);
                self.coalesce(start, order);
                start += 1 << order;
            }
            start = stop + 1;
        }
    }

    /// Makes a block free, after merging it with its buddy for as long as that is free, too.
    fn coalesce(&mut self, mut pos: usize, mut order: u32) {
        while order < self.max_order && self.remove(pos ^ (1 << order), order) {
            pos &= !(1 << order);
            order += 1;
        }
        self.insert(pos, order);
    }

    /// Removes a single frame from the free block around it, if any; the rest stays free.
    fn carve_out(&mut self, pos: usize) {
        let holds = |order: u32| pos & (usize::MAX << order);
        let Some(from) = (0..=self.max_order).find(|&order| self.remove(holds(order), order))
        else {
            return;
        };

        for half in 0..from {
            self.insert(holds(half) ^ (1 << half), half);
        }
    }

    /// Adds a free block.
    fn insert(&mut self, pos: usize, order: u32) {
        let Some(blocks) = self.blocks.get_mut(order as usize) else {
            return;
        };
        if blocks.insert(pos >> order) {
            self.orders |= 1 << order;
            self.nr_free += 1 << order;
        }
    }

    /// Removes a free block. Returns false if there is none, or it is outside of the node.
    fn remove(&mut self, pos: usize, order: u32) -> bool {
        let Some(blocks) = self.blocks.get_mut(order as usize) else {
            return false;
        };
        if !blocks.remove(pos >> order) {
            return false;
        }
        if blocks.count() == 0 {
            self.orders &= !(1 << order);
        }
        self.nr_free -= 1 << order;
        true
    }
}

// These run on the host, too: tests/unit/buddy.rs, which adds tests that take long or need `std`.
#[kunit_tests(hmm_cdm_buddy)]
mod tests {
    use super::*;

    /// 2 MiB of 4 KiB pages.
    const PMD: u32 = 9;

    /// Returns whether the numbers of free blocks of each order are as expected.
    fn has_blocks(buddy: &mut Buddy, expected: &[usize]) -> bool {
        (0..)
            .zip(expected)
            .all(|(n, count)| buddy.free_blocks(n) == *count)
    }

    #[test]
    fn new_node_is_whole_windows() -> Result {
        let mut buddy = Buddy::new(0x10000, 4 * 512, PMD)?;

        assert!(has_blocks(&mut buddy, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 4]));
        assert_eq!(buddy.largest_free_order(), Some(PMD));
        assert_eq!(buddy.free_frames(), 2048);
        assert_eq!(buddy.total_frames(), 2048);
        assert_eq!(buddy.used_frames(), 0);
        assert_eq!(buddy.retired_frames(), 0);
        assert!((0..2048).all(|index| buddy.is_free(index)));
        assert!(!buddy.is_free(2048));
        assert!(!buddy.is_free(usize::MAX));
        Ok(())
    }

    #[test]
    fn invalid_geometry_is_refused() {
        let error = |pfn, nr, order| Buddy::new(pfn, nr, order).err();

        assert_eq!(error(0, 0, PMD), Some(EINVAL));
        assert_eq!(error(0, u32::MAX as usize + 1, PMD), Some(EINVAL));
        assert_eq!(error(usize::MAX - 10, 11, PMD), Some(EINVAL));
        assert_eq!(error(0, 1, 19), Some(EINVAL));
        assert_eq!(error(0, 1, u32::MAX), Some(EINVAL));
        assert_eq!(error(usize::MAX - 10, 10, PMD), None);
        assert_eq!(error(0, 1, 18), None);
    }

    #[test]
    fn node_smaller_than_a_window() -> Result {
        let mut buddy = Buddy::new(5, 2, PMD)?;

        assert_eq!(buddy.largest_free_order(), Some(0));
        assert_eq!(buddy.alloc(1), None);
        assert_eq!(buddy.alloc(0), Some(0));
        assert_eq!(buddy.alloc(0), Some(1));
        assert_eq!(buddy.alloc(0), None);
        assert_eq!(buddy.largest_free_order(), None);

        let mut buddy = Buddy::new(usize::MAX - 1, 1, 18)?;
        assert_eq!(buddy.alloc(0), Some(0));
        assert_eq!(buddy.free(0, 0), Ok(()));
        Ok(())
    }

    #[test]
    fn alloc_splits_and_free_coalesces() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        assert_eq!(buddy.alloc(0), Some(0));
        assert!(has_blocks(&mut buddy, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]));
        assert_eq!(buddy.largest_free_order(), Some(8));
        assert_eq!(buddy.alloc(0), Some(1));
        assert_eq!(buddy.free_blocks(0), 0);
        assert_eq!(buddy.free(0, 0), Ok(()));
        assert!(has_blocks(&mut buddy, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]));
        assert_eq!(buddy.free(1, 0), Ok(()));
        assert!(has_blocks(&mut buddy, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        Ok(())
    }

    #[test]
    fn orders_over_a_window_are_refused() -> Result {
        let mut buddy = Buddy::new(0, 1024, PMD)?;

        for order in [10, 18, 31, 32, 63, 64, u32::MAX] {
            assert_eq!(buddy.alloc(order), None);
            assert_eq!(buddy.free(0, order), Err(FreeError::OutOfRange));
            assert_eq!(buddy.free_blocks(order), 0);
        }
        assert_eq!(buddy.free_frames(), 1024);
        Ok(())
    }

    #[test]
    fn double_free_is_refused_and_changes_nothing() -> Result {
        let mut buddy = Buddy::new(0, 1024, PMD)?;

        assert_eq!(buddy.alloc(3), Some(0));
        assert_eq!(buddy.alloc(3), Some(8));
        assert_eq!(buddy.free(0, 3), Ok(()));
        assert_eq!(buddy.free(0, 3), Err(FreeError::NotUsed));
        assert_eq!(buddy.free(0, 0), Err(FreeError::NotUsed));
        // Half of it is in use.
        assert_eq!(buddy.free(0, 4), Err(FreeError::NotUsed));
        // Never allocated.
        assert_eq!(buddy.free(512, PMD), Err(FreeError::NotUsed));
        assert!(has_blocks(&mut buddy, &[0, 0, 0, 1, 1, 1, 1, 1, 1, 1]));
        assert_eq!(buddy.used_frames(), 8);
        assert_eq!(buddy.free_frames(), 1016);
        assert_eq!(buddy.free(8, 3), Ok(()));
        Ok(())
    }

    #[test]
    fn bad_ranges_are_refused() -> Result {
        let mut buddy = Buddy::new(0x201, 1023, PMD)?;
        while buddy.alloc(0).is_some() {}

        let out = Err(FreeError::OutOfRange);
        assert_eq!(buddy.free(1023, 0), out);
        assert_eq!(buddy.free(1023 - 512, PMD), Ok(()));
        assert_eq!(buddy.free(1022, 1), out);
        assert_eq!(buddy.free(usize::MAX, 0), out);
        assert_eq!(buddy.free(usize::MAX - 1, 1), out);
        assert_eq!(buddy.free(usize::MAX, u32::MAX), out);
        // Index 0 has an odd page frame number, index 1 an even one.
        assert_eq!(buddy.free(0, 1), Err(FreeError::Misaligned));
        assert_eq!(buddy.free(1, 1), Ok(()));
        Ok(())
    }

    #[test]
    fn frames_freed_one_by_one_are_retired_and_allocated() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        buddy.alloc_singles(512, |_| ());
        for index in [70, 71, 64, 127] {
            assert_eq!(buddy.free(index, 0), Ok(()));
        }
        assert_eq!(buddy.free(71, 0), Err(FreeError::NotUsed));
        assert_eq!((buddy.free_frames(), buddy.used_frames()), (4, 508));
        assert!(buddy.retire(71));
        assert_eq!((buddy.free_frames(), buddy.is_free(71)), (3, false));
        // Freeing a frame of another word makes them coalesce.
        assert_eq!(buddy.free(0, 0), Ok(()));
        assert_eq!(buddy.free_frames(), 4);
        let mut sum = 0;
        assert_eq!(buddy.alloc_singles(8, |index| sum += index), 4);
        assert_eq!(sum, 70 + 64 + 127);
        Ok(())
    }

    #[test]
    fn free_frame_is_retired_at_once() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        assert!(buddy.retire(77));
        assert!(!buddy.is_free(77) && !buddy.is_used(77));
        assert!(buddy.is_free(76) && buddy.is_free(78));
        assert!(has_blocks(&mut buddy, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]));
        // A second time, and beyond the end, nothing happens.
        assert!(!buddy.retire(77));
        assert!(!buddy.retire(512));
        assert!(!buddy.retire(usize::MAX));
        assert_eq!((buddy.free_frames(), buddy.retired_frames()), (511, 1));

        let mut found = false;
        let got = buddy.alloc_singles(512, |index| found |= index == 77);
        assert_eq!((got, found), (511, false));
        assert_eq!(buddy.free(77, 0), Err(FreeError::NotUsed));
        Ok(())
    }

    #[test]
    fn used_frame_is_retired_when_freed() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        assert_eq!(buddy.alloc(PMD), Some(0));
        assert!(buddy.retire(0) && buddy.retire(300) && buddy.retire(511));
        assert!(!buddy.retire(300));
        assert_eq!((buddy.used_frames(), buddy.retired_frames()), (512, 3));
        assert_eq!(buddy.free(0, PMD), Ok(()));
        assert_eq!((buddy.used_frames(), buddy.free_frames()), (0, 509));
        assert_eq!(buddy.largest_free_order(), Some(7));
        assert!([0, 300, 511].iter().all(|&index| !buddy.is_free(index)));
        assert_eq!(buddy.free(0, PMD), Err(FreeError::NotUsed));
        assert_eq!(buddy.free(300, 0), Err(FreeError::NotUsed));

        assert_eq!(buddy.alloc_singles(512, |_| ()), 509);
        assert!(buddy.retire(1));
        assert_eq!(buddy.free(1, 0), Ok(()));
        assert!(!buddy.is_free(1));
        assert!(!buddy.is_used(usize::MAX));
        assert_eq!(buddy.alloc(0), None);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The buddy allocator of a node's page frames.
//!
//! Coherent device memory is not in the kernel's page allocator, so a node hands out its frames
//! itself: single frames fast, since every folio on the node is of order 0, and whole *windows*
//! (the largest order, as a rule the size of a PMD) as long as there are any, since a device maps
//! contiguous frames with large page-table entries.
//!
//! Frames are named by their *index*, 0 for the node's first one. Blocks are naturally aligned by
//! page frame number, not by index, and windows lie as they do for the CPU's page tables.
//!
//! # Contexts
//!
//! Pure logic without a lock: the node keeps its [`Buddy`] under a spinlock, taken with interrupts
//! off where frames are freed in atomic context. Only [`Buddy::new`] allocates and may sleep.
//! Everything else takes bounded time and neither allocates, sleeps, panics nor recurses.
//!
//! # Representation and cost
//!
//! Nothing is stored in the frames or in `struct page`: one bitmap for each order tells which of
//! its blocks are free, two more which frames are in use and which are retired. That is 4 bits a
//! frame (64 KiB for 512 MiB in 4 KiB pages), where linked lists would take 8 bytes.
//!
//! Over each free bitmap lie summaries, each with a bit for every word below that is not empty. So
//! finding the lowest free block reads one word per level (three for 262,144 blocks, six at most)
//! and coalescing tests one bit per order. With `o` the largest order and `l` the number of levels,
//! [`Buddy::alloc`], [`Buddy::free`] and [`Buddy::retire`] cost O(o * l), plus a word for each 64
//! frames of the block to mark them used or not.
//!
//! # Fragmentation
//!
//! A block is split only if there is none of a smaller sufficient order, so that windows already
//! broken are used up before a whole one is; of equal blocks the lowest is taken, so that the
//! others have time to grow together. Freed blocks coalesce before anything is handed out: the free
//! blocks are then the largest into which the free frames can be put together. Single frames come
//! back one after the other, as a rule, and coalescing each of them costs more than all the rest of
//! freeing it; so those of one word of the bitmaps are gathered, and coalesce together.

use kernel::prelude::*;

/// Bits in a word of a bitmap.
const WORD: usize = u64::BITS as usize;

/// The largest order of a window: 1 GiB of 4 KiB pages. It bounds the time of one call.
const ORDER_LIMIT: u32 = 18;

/// Most frames that one call of [`Buddy::alloc_singles`] hands out.
pub(crate) const BATCH: usize = 512;

/// Why [`Buddy::free`] refused a block. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreeError {
    /// The block reaches beyond the node's frames, or its order beyond a window's.
    OutOfRange,
    /// The page frame number is not a multiple of the block's size.
    Misaligned,
    /// Not every frame of the block is in use: it was freed before, or never handed out.
    NotUsed,
}

/// The frames of a node: which are free, in use, or retired.
///
/// # Invariants
///
/// - Each frame is free, used, retired, or both used and retired.
/// - A free frame lies in exactly one block of `blocks`, or is gathered; any other frame in none.
/// - No two buddies below `max_order` are both free blocks.
/// - Bit `n` of `orders` is set if and only if `blocks[n]` is not empty.
pub(crate) struct Buddy {
    /// Free blocks, by order.
    blocks: KVVec<FreeMap>,
    /// The orders of which there are free blocks, as a mask.
    orders: u32,
    /// Free frames that are in no block yet, as bits of a word of the bitmaps, and which word that is.
    gathered: (usize, u64),
    /// Frames handed out.
    used: Bitmap,
    /// Frames that are not to be handed out again.
    retired: Bitmap,
    /// Where the node's first frame lies in its window. Internally a frame is known by its
    /// *position*, `lead` + index, so that alignment can be read off it.
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
    /// it; what sticks out is handed out in smaller blocks. May sleep.
    ///
    /// Fails with `EINVAL` for no frames, more than `u32::MAX` of them, a range beyond the last
    /// page frame number or an order over 18, and with `ENOMEM`.
    pub(crate) fn new(first_pfn: usize, nr: usize, max_order: u32) -> Result<Self> {
        let in_range = first_pfn.checked_add(nr).is_some();
        if nr == 0 || u32::try_from(nr).is_err() || !in_range || max_order > ORDER_LIMIT {
            return Err(EINVAL);
        }

        // Not more than `first_pfn + nr`, so no sum of positions overflows.
        let lead = first_pfn % (1 << max_order);
        let end = lead + nr;

        let mut blocks = KVVec::with_capacity(max_order as usize + 1, GFP_KERNEL)?;
        for order in 0..=max_order {
            blocks.push(FreeMap::new(end >> order)?, GFP_KERNEL)?;
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

    /// Hands out a block of `2^order` frames and returns the index of its first one.
    ///
    /// `None` if no free block is large enough, which an order over that of a window never is. The
    /// block may be freed in parts.
    pub(crate) fn alloc(&mut self, order: u32) -> Option<usize> {
        self.settle();
        let from = self.smallest_order(order)?;
        let pos = self.take(from, order)?;
        Some(pos - self.lead)
    }

    /// Hands out up to `count` single frames, calls `each` with the index of each, and returns how
    /// many there were: `count` or [`BATCH`] if that is less, fewer only if the node is full.
    ///
    /// The frames come in runs as long as can be had from windows already broken; a whole window is
    /// broken only once those are used up. A caller who wants a window whole asks
    /// [`alloc`](Self::alloc) for it first. `each` is called under the caller's lock.
    pub(crate) fn alloc_singles(&mut self, count: usize, mut each: impl FnMut(usize)) -> usize {
        let count = count.min(BATCH);
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

    /// Takes back the `2^order` frames from `index` on, which coalesce with their neighbours.
    ///
    /// All of them have to be in use, in blocks of whatever orders they were handed out. Those that
    /// are retired stay out of use.
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

    /// Notes a frame that is free, and in no block.
    fn gather(&mut self, pos: usize) {
        if self.gathered.0 != pos / WORD {
            self.settle();
        }
        let (word, bits) = &mut self.gathered;

        *word = pos / WORD;
        *bits |= 1 << (pos % WORD);
    }

    /// Makes blocks of the frames that were gathered.
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

    /// Takes a frame out of use for ever, as for a poisoned page: at once if it is free, else when
    /// it is freed.
    ///
    /// Returns whether this changed anything: not if it was retired before, or is none of the
    /// node's.
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

    /// Whether a frame is handed out.
    pub(crate) fn is_used(&self, index: usize) -> bool {
        self.position(index, 1)
            .is_some_and(|pos| self.used.test(pos))
    }

    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    /// Whether a frame can be handed out.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        self.position(index, 1)
            .is_some_and(|pos| !self.used.test(pos) && !self.retired.test(pos))
    }

    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    /// The number of frames, of whatever state.
    pub(crate) fn total_frames(&self) -> usize {
        self.total
    }

    /// The number of frames that can be handed out.
    pub(crate) fn free_frames(&self) -> usize {
        self.nr_free + self.gathered.1.count_ones() as usize
    }

    /// The number of frames that are handed out, with those among them that are retired.
    pub(crate) fn used_frames(&self) -> usize {
        self.nr_used
    }

    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    /// The number of frames that are retired, with those among them that are still in use.
    pub(crate) fn retired_frames(&self) -> usize {
        self.nr_retired
    }

    /// The number of free blocks of exactly this order.
    pub(crate) fn free_blocks(&mut self, order: u32) -> usize {
        self.settle();
        self.blocks
            .get(order as usize)
            .map_or(0, |blocks| blocks.count)
    }

    #[cfg(any(test, CONFIG_KUNIT = "y"))]
    /// The order of the largest free block, `None` if the node is full.
    pub(crate) fn largest_free_order(&mut self) -> Option<u32> {
        self.settle();
        self.orders.checked_ilog2()
    }

    /// The position of the frame `index`, if it and the `len` - 1 after it are the node's.
    fn position(&self, index: usize, len: usize) -> Option<usize> {
        let end = index.checked_add(len)?;
        (end <= self.total).then_some(self.lead + index)
    }

    /// The smallest order, from `order` on, of which there is a free block.
    fn smallest_order(&self, order: u32) -> Option<u32> {
        let enough = self.orders & u32::MAX.checked_shl(order)?;
        (enough != 0).then(|| enough.trailing_zeros())
    }

    /// The order of the block from which to take a run of at most `2^want` frames: the smallest
    /// sufficient one, else the largest smaller one, and a window only if there is nothing else.
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

    /// Hands out the first `2^order` frames of the lowest free block of order `from`, which is not
    /// less than `order`; the rest stays free. Returns their position.
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

    /// Makes the positions `start..end`, which are in no free block, free, apart from retired ones.
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

    /// Makes a block free, grown together with its buddy, and with the buddy of both, and so on.
    fn coalesce(&mut self, mut pos: usize, mut order: u32) {
        while order < self.max_order && self.remove(pos ^ (1 << order), order) {
            pos &= !(1 << order);
            order += 1;
        }
        self.insert(pos, order);
    }

    /// Takes a single frame out of the free block it lies in, if any; the rest of the block stays
    /// free.
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

    /// Adds a free block, which is inside the node.
    fn insert(&mut self, pos: usize, order: u32) {
        let Some(blocks) = self.blocks.get_mut(order as usize) else {
            return;
        };
        if blocks.insert(pos >> order) {
            self.orders |= 1 << order;
            self.nr_free += 1 << order;
        }
    }

    /// Removes a free block. Returns false if there is no such block, inside the node or outside.
    fn remove(&mut self, pos: usize, order: u32) -> bool {
        let Some(blocks) = self.blocks.get_mut(order as usize) else {
            return false;
        };
        if !blocks.remove(pos >> order) {
            return false;
        }
        if blocks.count == 0 {
            self.orders &= !(1 << order);
        }
        self.nr_free -= 1 << order;
        true
    }
}

/// The levels of a [`FreeMap`] that are enough for `u32::MAX` frames and a window.
const LEVELS: usize = 6;

/// The free blocks of one order: a bitmap under a tree of summaries.
///
/// # Invariants
///
/// A bit of level `n + 1` is set if and only if the word of level `n` that it stands for is not 0.
/// The topmost level is a single word.
struct FreeMap {
    /// The words of all levels, one level after the other.
    words: KVVec<u64>,
    /// The first word of each level.
    starts: [usize; LEVELS],
    /// The number of levels.
    levels: usize,
    /// The number of bits in level 0.
    len: usize,
    /// The number of bits set in level 0.
    count: usize,
}

impl FreeMap {
    /// An empty map for `len` blocks. May sleep.
    fn new(len: usize) -> Result<Self> {
        let mut starts = [0; LEVELS];
        let mut levels = 0;
        let mut total = 0;
        let mut words = len;

        for start in &mut starts {
            words = words.div_ceil(WORD).max(1);
            *start = total;
            total += words;
            levels += 1;
            if words == 1 {
                break;
            }
        }

        Ok(Self {
            words: KVVec::zeroed(total, GFP_KERNEL)?,
            starts,
            levels,
            len,
            count: 0,
        })
    }

    /// The lowest bit that is set.
    fn first(&self) -> Option<usize> {
        let mut bit = 0;
        for &start in self.starts.iter().take(self.levels).rev() {
            let word = self.words.get(start + bit).filter(|&&word| word != 0)?;
            bit = bit * WORD + word.trailing_zeros() as usize;
        }
        Some(bit)
    }

    /// Sets a bit. Returns whether it was clear.
    fn insert(&mut self, mut bit: usize) -> bool {
        if bit >= self.len || self.test(bit) {
            return false;
        }
        self.count += 1;

        for &start in self.starts.iter().take(self.levels) {
            let Some(word) = self.words.get_mut(start + bit / WORD) else {
                break;
            };
            let before = *word;
            *word |= 1 << (bit % WORD);
            if before != 0 {
                break;
            }
            bit /= WORD;
        }
        true
    }

    /// Clears a bit. Returns whether it was set; one beyond the end never is.
    fn remove(&mut self, mut bit: usize) -> bool {
        if bit >= self.len || !self.test(bit) {
            return false;
        }
        self.count -= 1;

        for &start in self.starts.iter().take(self.levels) {
            let Some(word) = self.words.get_mut(start + bit / WORD) else {
                break;
            };
            *word &= !(1 << (bit % WORD));
            if *word != 0 {
                break;
            }
            bit /= WORD;
        }
        true
    }

    fn test(&self, bit: usize) -> bool {
        let word = self.words.get(bit / WORD);
        word.is_some_and(|word| word & (1 << (bit % WORD)) != 0)
    }
}

/// A plain bitmap, set and searched by ranges.
struct Bitmap {
    words: KVVec<u64>,
}

impl Bitmap {
    /// A bitmap of `len` clear bits. May sleep.
    fn new(len: usize) -> Result<Self> {
        let words = KVVec::zeroed(len.div_ceil(WORD), GFP_KERNEL)?;
        Ok(Self { words })
    }

    fn test(&self, bit: usize) -> bool {
        self.all(bit, bit + 1)
    }

    fn set(&mut self, start: usize, end: usize) {
        for (at, mask) in masks(start, end) {
            if let Some(word) = self.words.get_mut(at) {
                *word |= mask;
            }
        }
    }

    fn clear(&mut self, start: usize, end: usize) {
        for (at, mask) in masks(start, end) {
            if let Some(word) = self.words.get_mut(at) {
                *word &= !mask;
            }
        }
    }

    /// Whether all of the bits `start..end` are set.
    fn all(&self, start: usize, end: usize) -> bool {
        masks(start, end).all(|(at, mask)| self.words.get(at).is_some_and(|w| w & mask == mask))
    }

    /// The lowest of the bits `start..end` that is set.
    fn find(&self, start: usize, end: usize) -> Option<usize> {
        masks(start, end).find_map(|(at, mask)| {
            let found = self.words.get(at)? & mask;
            (found != 0).then(|| at * WORD + found.trailing_zeros() as usize)
        })
    }
}

/// The words in which the bits `start..end` lie, each with a mask of those bits.
fn masks(start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
    let words = start / WORD..end.div_ceil(WORD);
    words.map(move |at| {
        let from = start.saturating_sub(at * WORD);
        let after = ((at + 1) * WORD).saturating_sub(end);
        (at, (u64::MAX << from) & (u64::MAX >> after))
    })
}

// On the host, too: tests/unit/buddy.rs, which has what takes long and what needs a host.
#[kunit_tests(hmm_cdm_buddy)]
mod tests {
    use super::*;

    /// 2 MiB of 4 KiB pages.
    const PMD: u32 = 9;

    /// Whether there are exactly so many free blocks of each order.
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
    fn orders_over_a_window_are_never_had() -> Result {
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
        // Never handed out.
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
    fn frames_that_came_back_one_by_one_are_retired_and_found() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        buddy.alloc_singles(512, |_| ());
        for index in [70, 71, 64, 127] {
            assert_eq!(buddy.free(index, 0), Ok(()));
        }
        assert_eq!(buddy.free(71, 0), Err(FreeError::NotUsed));
        assert_eq!((buddy.free_frames(), buddy.used_frames()), (4, 508));
        assert!(buddy.retire(71));
        assert_eq!((buddy.free_frames(), buddy.is_free(71)), (3, false));
        // One that is somewhere else has them coalesce.
        assert_eq!(buddy.free(0, 0), Ok(()));
        assert_eq!(buddy.free_frames(), 4);
        let mut handed_out = 0;
        assert_eq!(buddy.alloc_singles(8, |index| handed_out += index), 4);
        assert_eq!(handed_out, 70 + 64 + 127);
        Ok(())
    }

    #[test]
    fn free_frame_is_retired_at_once() -> Result {
        let mut buddy = Buddy::new(0, 512, PMD)?;

        assert!(buddy.retire(77));
        assert!(!buddy.is_free(77) && !buddy.is_used(77));
        assert!(buddy.is_free(76) && buddy.is_free(78));
        assert!(has_blocks(&mut buddy, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]));
        // Again, and beyond the end: nothing.
        assert!(!buddy.retire(77));
        assert!(!buddy.retire(512));
        assert!(!buddy.retire(usize::MAX));
        assert_eq!((buddy.free_frames(), buddy.retired_frames()), (511, 1));

        let mut handed_out = false;
        let got = buddy.alloc_singles(512, |index| handed_out |= index == 77);
        assert_eq!((got, handed_out), (511, false));
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

// SPDX-License-Identifier: GPL-2.0

//! Bitmaps for the page frame allocator: one that is set and searched by ranges, and one that finds
//! its lowest bit by a few words, however large it is.
//!
//! `kernel::bitmap` sets and clears single bits; the allocator marks blocks of up to a whole
//! window.
//!
//! Context: only the constructors allocate and may sleep. Nothing else allocates, sleeps, panics or
//! recurses; bits beyond the end read as clear, and writes to them are ignored.

use kernel::prelude::*;

/// Bits in a word of a bitmap.
pub(super) const WORD: usize = u64::BITS as usize;

/// The levels of a [`HierarchicalBitmap`] that are enough for `u32::MAX` frames and a window.
const LEVELS: usize = 6;

/// A bitmap under a tree of summaries, which have one bit for each non-zero word of the level
/// below.
///
/// Finding the lowest set bit reads one word per level: three for 262,144 bits, six at most.
/// Setting or clearing a bit writes one word per level at most.
///
/// # Invariants
///
/// A bit of level `n + 1` is set if and only if the word of level `n` that it stands for is not 0.
/// The topmost level is a single word.
pub(super) struct HierarchicalBitmap {
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

impl HierarchicalBitmap {
    /// Makes a bitmap of `len` clear bits. May sleep. ENOMEM.
    pub(super) fn new(len: usize) -> Result<Self> {
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

        // INVARIANT: All words of all levels are 0, and the loop ended at a level of one word.
        Ok(Self {
            words: KVVec::zeroed(total, GFP_KERNEL)?,
            starts,
            levels,
            len,
            count: 0,
        })
    }

    /// Returns the number of bits that are set.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the lowest bit that is set.
    pub(super) fn first(&self) -> Option<usize> {
        let mut bit = 0;
        for &start in self.starts.iter().take(self.levels).rev() {
            let word = self.words.get(start + bit).filter(|&&word| word != 0)?;
            bit = bit * WORD + word.trailing_zeros() as usize;
        }
        Some(bit)
    }

    /// Sets a bit. Returns whether it was clear.
    pub(super) fn insert(&mut self, mut bit: usize) -> bool {
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

    /// Clears a bit. Returns whether it was set.
    pub(super) fn remove(&mut self, mut bit: usize) -> bool {
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
pub(super) struct Bitmap {
    words: KVVec<u64>,
}

impl Bitmap {
    /// Makes a bitmap of `len` clear bits. May sleep. ENOMEM.
    pub(super) fn new(len: usize) -> Result<Self> {
        let words = KVVec::zeroed(len.div_ceil(WORD), GFP_KERNEL)?;
        Ok(Self { words })
    }

    /// Returns whether a bit is set.
    pub(super) fn test(&self, bit: usize) -> bool {
        self.all(bit, bit + 1)
    }

    /// Sets the bits `start..end`.
    pub(super) fn set(&mut self, start: usize, end: usize) {
        for (at, mask) in masks(start, end) {
            if let Some(word) = self.words.get_mut(at) {
                *word |= mask;
            }
        }
    }

    /// Clears the bits `start..end`.
    pub(super) fn clear(&mut self, start: usize, end: usize) {
        for (at, mask) in masks(start, end) {
            if let Some(word) = self.words.get_mut(at) {
                *word &= !mask;
            }
        }
    }

    /// Returns whether all of the bits `start..end` are set.
    pub(super) fn all(&self, start: usize, end: usize) -> bool {
        masks(start, end).all(|(at, mask)| self.words.get(at).is_some_and(|w| w & mask == mask))
    }

    /// Returns the lowest of the bits `start..end` that is set.
    pub(super) fn find(&self, start: usize, end: usize) -> Option<usize> {
        masks(start, end).find_map(|(at, mask)| {
            let found = self.words.get(at)? & mask;
            (found != 0).then(|| at * WORD + found.trailing_zeros() as usize)
        })
    }
}

/// Returns the indices of the words that contain the bits `start..end`, each with a mask of those
/// bits.
fn masks(start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
    let words = start / WORD..end.div_ceil(WORD);
    words.map(move |at| {
        let from = start.saturating_sub(at * WORD);
        let after = ((at + 1) * WORD).saturating_sub(end);
        (at, (u64::MAX << from) & (u64::MAX >> after))
    })
}

// These run on the host, too: tests/unit/bitmap.rs, which adds a random test against a model.
#[kunit_tests(hmm_cdm_bitmap)]
mod tests {
    use super::*;

    #[test]
    fn first_bit_is_found_through_all_levels() -> Result {
        // Four levels.
        let len = 64 * 64 * 64 + 1;
        let mut bitmap = HierarchicalBitmap::new(len)?;

        assert_eq!(bitmap.first(), None);
        for bit in [len - 1, 64 * 64, 4095, 64, 63, 0] {
            assert!(bitmap.insert(bit));
            assert!(!bitmap.insert(bit));
            assert_eq!(bitmap.first(), Some(bit));
        }
        assert_eq!(bitmap.count(), 6);
        for (bit, next) in [(0, 63), (63, 64), (64, 4095), (4095, 4096), (4096, len - 1)] {
            assert!(bitmap.remove(bit));
            assert!(!bitmap.remove(bit));
            assert_eq!(bitmap.first(), Some(next));
        }
        assert!(bitmap.remove(len - 1));
        assert_eq!((bitmap.first(), bitmap.count()), (None, 0));
        Ok(())
    }

    #[test]
    fn bits_beyond_the_end_are_never_set() -> Result {
        let mut bitmap = HierarchicalBitmap::new(70)?;

        for bit in [70, 71, 127, 128, usize::MAX] {
            assert!(!bitmap.insert(bit));
            assert!(!bitmap.remove(bit));
        }
        assert_eq!((bitmap.first(), bitmap.count()), (None, 0));

        let mut empty = HierarchicalBitmap::new(0)?;
        assert!(!empty.insert(0));
        assert_eq!(empty.first(), None);
        Ok(())
    }

    #[test]
    fn ranges_end_where_they_should() -> Result {
        for (start, end) in [
            (0, 1),
            (63, 64),
            (64, 65),
            (0, 64),
            (5, 60),
            (60, 200),
            (64, 192),
        ] {
            let mut bitmap = Bitmap::new(256)?;

            bitmap.set(start, end);
            assert!(bitmap.all(start, end));
            assert!(!bitmap.test(end) && !bitmap.all(start, end + 1));
            assert!(start == 0 || !bitmap.test(start - 1));
            assert_eq!(bitmap.find(0, 256), Some(start));
            assert_eq!(bitmap.find(end, 256), None);
            assert_eq!(bitmap.find(end - 1, 256), Some(end - 1));

            bitmap.set(0, 256);
            bitmap.clear(start, end);
            assert_eq!(bitmap.find(start, end), None);
            assert!(bitmap.all(0, start) && bitmap.all(end, 256));
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The order in which the windows of a node were last used, for eviction.
//!
//! A window is the memory that a device can map with one large page-table entry. `Window::age` is
//! the reading, at the last use, of a logical clock that ticks whenever another window than the
//! last one is used. So it orders windows exactly.
//!
//! A use is an access by the device, or an allocation. The CPU's accesses to coherent memory are
//! not known: they never fault, and the kernel does not age device pages. Two events stand for
//! them: a request to migrate a page to the node that is already there, and an eviction that finds
//! a page with elevated references.
//!
//! Context: any. Nothing here takes a lock; only [`WindowLru::new`] and
//! [`WindowLru::coldest_first`] allocate. Hardware that counts accesses reports them through
//! [`super::Node::touch`].

use crate::os::jiffies;
use core::ops::Range;
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::msecs_to_jiffies, //
};

/// Number of most recently used windows exempt from eviction: those that running steps of the
/// device work on. An operation has a handful of operands; if one of them had to be evicted for
/// another, it would be better used in system memory.
const EXEMPT: usize = 4;
/// How long a window is exempt after its last use, in milliseconds: a running step uses it again
/// before that.
const EXEMPT_MS: u32 = 2000;

struct WindowUse {
    // The clock at the last use.
    age: Atomic<u64>,
    // The time of the last use, in jiffies.
    last: Atomic<usize>,
    // The number of pages in use.
    used: Atomic<u32>,
}

/// The order of last use of a node's windows.
pub(crate) struct WindowLru {
    // The age of the most recently used window.
    clock: Atomic<u64>,
    windows: KVVec<WindowUse>,
    // The offset of the first page in its window.
    lead: usize,
    // The binary logarithm of the number of pages in a window.
    shift: u32,
}

impl WindowLru {
    /// Makes windows of `1 << shift` pages for the `nr` pages from frame `first` on. ENOMEM.
    pub(super) fn new(first: usize, nr: usize, shift: u32) -> Result<Arc<Self>> {
        let lead = first & ((1 << shift) - 1);
        let count = (lead + nr).div_ceil(1 << shift);
        let mut windows = KVVec::with_capacity(count, GFP_KERNEL)?;

        for _ in 0..count {
            let window = WindowUse {
                age: Atomic::new(0),
                last: Atomic::new(0),
                used: Atomic::new(0),
            };
            windows.push(window, GFP_KERNEL)?;
        }
        Ok(Arc::new(
            Self {
                // Later than the age of windows that were never used.
                clock: Atomic::new(1),
                windows,
                lead,
                shift,
            },
            GFP_KERNEL,
        )?)
    }

    fn window(&self, index: usize) -> Option<&WindowUse> {
        self.windows.get((self.lead + index) >> self.shift)
    }

    /// Records a use of page `index`.
    pub(crate) fn touch(&self, index: usize) {
        let Some(window) = self.window(index) else {
            return;
        };
        let now = jiffies();

        if window.last.load(Relaxed) != now {
            window.last.store(now, Relaxed);
        }
        // Nothing is written while the same window is used again and again.
        if window.age.load(Relaxed) != self.clock.load(Relaxed) {
            window
                .age
                .store(self.clock.fetch_add(1, Relaxed) + 1, Relaxed);
        }
    }

    /// Returns the least age of windows that are used from now on.
    pub(super) fn next_age(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed) + 2
    }

    /// Records the allocation of `pages` pages from `index` on, all in one window.
    pub(super) fn allocated(&self, index: usize, pages: usize) {
        if let Some(window) = self.window(index) {
            window.used.fetch_add(pages as u32, Relaxed);
        }
        self.touch(index);
    }

    /// Records that `pages` pages from `index` on, all in one window, were freed.
    pub(super) fn freed(&self, index: usize, pages: usize) {
        if let Some(window) = self.window(index) {
            window.used.fetch_sub(pages as u32, Relaxed);
        }
    }

    /// Returns the number of the least recently used window that has pages in use, unless its age
    /// is at least `before`, or it is one of the [`EXEMPT`] most recently used ones and was used
    /// within [`EXEMPT_MS`].
    pub(super) fn coldest(&self, before: u64) -> Option<usize> {
        self.coldest_at(jiffies(), before)
    }

    fn coldest_at(&self, now: usize, before: u64) -> Option<usize> {
        let in_use = |window: &&WindowUse| window.used.load(Relaxed) > 0;
        let (i, window) = self
            .windows
            .iter()
            .enumerate()
            .filter(|(_, window)| in_use(window))
            .min_by_key(|(_, window)| window.age.load(Relaxed))
            .filter(|(_, window)| window.age.load(Relaxed) < before)?;
        // Negative if the window was used after `now` was read.
        let idle = now.wrapping_sub(window.last.load(Relaxed)) as isize;
        // All others were used later, so it is among the most recently used if they are few.
        let is_recent = self.windows.iter().filter(in_use).count() <= EXEMPT;

        (!is_recent || idle > msecs_to_jiffies(EXEMPT_MS) as isize).then_some(i)
    }

    /// Returns the pages of all windows with pages in use, least recently used first, cut to the
    /// node's `nr` pages. No window is exempt. ENOMEM.
    pub(super) fn coldest_first(&self, nr: usize) -> Result<KVVec<Range<usize>>> {
        // Sorted by a tree, as objtool rejects the sort of slices (Rust 1.85).
        let mut order = RBTree::new();
        let mut pages = KVVec::with_capacity(self.windows.len(), GFP_KERNEL)?;

        for (i, window) in self.windows.iter().enumerate() {
            if window.used.load(Relaxed) > 0 {
                order.try_create_and_insert((window.age.load(Relaxed), i), (), GFP_KERNEL)?;
            }
        }
        for (_, i) in order.keys() {
            pages.push(self.pages_of(*i, nr), GFP_KERNEL)?;
        }
        Ok(pages)
    }

    /// Returns the pages of window `number`, cut to the node's `nr` pages.
    pub(super) fn pages_of(&self, number: usize, nr: usize) -> Range<usize> {
        let first = number << self.shift;
        let end = first + (1 << self.shift);

        first.saturating_sub(self.lead)..end.saturating_sub(self.lead).min(nr)
    }
}

#[kunit_tests(hmm_cdm_window_lru)]
mod tests {
    use super::*;

    const SHIFT: u32 = 2;

    /// Makes windows of four pages; the first has three.
    fn window_lru(windows: usize) -> Result<Arc<WindowLru>> {
        WindowLru::new(1001, windows * 4 - 1, SHIFT)
    }

    #[test]
    fn windows_are_aligned_by_frame_number() -> Result {
        let window_lru = window_lru(3)?;

        assert_eq!(window_lru.windows.len(), 3);
        assert_eq!(window_lru.pages_of(0, 11), 0..3);
        assert_eq!(window_lru.pages_of(1, 11), 3..7);
        assert_eq!(window_lru.pages_of(2, 11), 7..11);
        assert_eq!(window_lru.pages_of(2, 9), 7..9);
        Ok(())
    }

    #[test]
    fn windows_without_used_pages_are_not_cold() -> Result {
        let window_lru = window_lru(40)?;

        assert_eq!(window_lru.coldest(u64::MAX), None);
        for window in 0..40 {
            window_lru.allocated(window * 4 + 3, 1);
        }
        // Pages from 3 on: the first window has none in use.
        assert_eq!(window_lru.coldest(u64::MAX), Some(1));
        window_lru.freed(3, 1);
        assert_eq!(window_lru.coldest(u64::MAX), Some(2));
        Ok(())
    }

    #[test]
    fn the_least_recently_used_is_the_coldest() -> Result {
        let window_lru = window_lru(40)?;

        for window in 0..39 {
            window_lru.allocated(window * 4 + 3, 4);
        }
        assert_eq!(window_lru.coldest(u64::MAX), Some(1));
        window_lru.touch(3);
        assert_eq!(window_lru.coldest(u64::MAX), Some(2));
        window_lru.touch(7);
        window_lru.touch(3);
        window_lru.touch(7);
        assert_eq!(window_lru.coldest(u64::MAX), Some(3));
        // Repeated use counts once.
        for _ in 0..100 {
            window_lru.touch(7);
        }
        assert_eq!(window_lru.coldest(u64::MAX), Some(3));
        Ok(())
    }

    #[test]
    fn windows_used_from_now_on_can_be_told_apart() -> Result {
        let window_lru = window_lru(8)?;

        for window in 0..6 {
            window_lru.allocated(window * 4 + 2, 1);
        }
        // The last window used before is used on: that counts as well.
        let now = window_lru.next_age();
        for window in [5, 0, 1] {
            window_lru.touch(window * 4 + 2);
        }
        for expected in 2..5 {
            assert_eq!(window_lru.coldest(now), Some(expected));
            window_lru.touch(expected * 4 + 2);
        }
        assert_eq!(window_lru.coldest(now), None);
        assert_eq!(window_lru.coldest(u64::MAX), Some(5));
        assert_eq!(window_lru.coldest(window_lru.next_age()), Some(5));
        Ok(())
    }

    #[test]
    fn windows_are_in_order_of_use() -> Result {
        let window_lru = window_lru(8)?;

        for window in [5, 1, 6] {
            window_lru.allocated(window * 4 + 2, 1);
        }
        window_lru.allocated(0, 3);
        window_lru.touch(5 * 4 + 2);
        // All with pages in use, even those that were used just now.
        assert_eq!(
            window_lru.coldest_first(26)?.as_slice(),
            &[3..7, 23..26, 0..3, 19..23]
        );
        Ok(())
    }

    #[test]
    fn recently_used_windows_are_exempt() -> Result {
        let window_lru = window_lru(9)?;

        for window in 0..8 {
            window_lru.allocated(window * 4 + 3, 4);
        }
        for expected in 1..=4 {
            assert_eq!(window_lru.coldest(u64::MAX), Some(expected));
            window_lru.freed(expected * 4 - 1, 4);
        }
        assert_eq!(window_lru.coldest(u64::MAX), None);
        // However often they alternate.
        for _ in 0..100 {
            window_lru.touch(27);
            window_lru.touch(23);
        }
        assert_eq!(window_lru.coldest(u64::MAX), None);
        // Even if one is used after the time was read.
        let earlier = jiffies().wrapping_sub(1);
        assert_eq!(window_lru.coldest_at(earlier, u64::MAX), None);
        // After the time of exemption.
        let later = jiffies().wrapping_add(msecs_to_jiffies(EXEMPT_MS) + 1);
        assert_eq!(window_lru.coldest_at(later, u64::MAX), Some(5));
        Ok(())
    }
}

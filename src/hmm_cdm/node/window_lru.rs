// SPDX-License-Identifier: GPL-2.0

//! How long ago each part of a node was used, so that what was not used for the longest time can
//! leave first.
//!
//! The unit is a window of the node's memory: what a device maps with one large entry, and what is
//! wanted in one piece. WindowLru are ticks of a clock that advances with every use of another window than
//! the last one, so they give the exact order in which windows were last used, whatever the time
//! between. A use is an access of the device, and an allocation. Of the CPU's accesses nothing is
//! known here: its accesses to coherent memory fault never, and pages of devices are not aged by the
//! kernel. What shows of them counts: a page that was asked for again, or that someone held when it
//! was to leave.
//!
//! Context: any; nothing here takes a lock or allocates, but [`WindowLru::new`]. Hardware that counts
//! accesses itself feeds it through [`super::Node::touch`].

use crate::os::jiffies;
use core::ops::Range;
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::msecs_to_jiffies,
};

/// How many windows are spared that were used last: those that the steps which run now work on. An
/// operation of a device has a handful of operands; and what would have to leave for it while it
/// runs is better used where it lies.
const SPARED: usize = 4;
/// For how long after their last use, in milliseconds: a step that runs is back before.
const SPARED_MS: u32 = 2000;

struct Window {
    // Its place in the order of uses.
    age: Atomic<u64>,
    // When that was, in jiffies.
    last: Atomic<usize>,
    // Pages of it in use.
    used: Atomic<u32>,
}

/// The window_lru of a node's windows.
pub(crate) struct WindowLru {
    // The age of the window that was used last.
    clock: Atomic<u64>,
    windows: KVVec<Window>,
    // Where the first page lies in its window, and the logarithm of a window's pages.
    lead: usize,
    shift: u32,
}

impl WindowLru {
    /// For `nr` pages from frame `first` on, in windows of `1 << shift`. ENOMEM.
    pub(super) fn new(first: usize, nr: usize, shift: u32) -> Result<Arc<Self>> {
        let lead = first & ((1 << shift) - 1);
        let count = (lead + nr).div_ceil(1 << shift);
        let mut windows = KVVec::with_capacity(count, GFP_KERNEL)?;

        for _ in 0..count {
            let window = Window {
                age: Atomic::new(0),
                last: Atomic::new(0),
                used: Atomic::new(0),
            };
            windows.push(window, GFP_KERNEL)?;
        }
        Ok(Arc::new(
            Self {
                // Ahead of what was never used.
                clock: Atomic::new(1),
                windows,
                lead,
                shift,
            },
            GFP_KERNEL,
        )?)
    }

    fn window(&self, index: usize) -> Option<&Window> {
        self.windows.get((self.lead + index) >> self.shift)
    }

    /// Page `index` is used.
    pub(crate) fn touch(&self, index: usize) {
        let Some(window) = self.window(index) else {
            return;
        };
        let now = jiffies();

        if window.last.load(Relaxed) != now {
            window.last.store(now, Relaxed);
        }
        // Nothing is written as long as one window is used again and again.
        if window.age.load(Relaxed) != self.clock.load(Relaxed) {
            window
                .age
                .store(self.clock.fetch_add(1, Relaxed) + 1, Relaxed);
        }
    }

    /// `pages` pages from `index` on, all of one window, have been handed out.
    pub(super) fn taken(&self, index: usize, pages: usize) {
        if let Some(window) = self.window(index) {
            window.used.fetch_add(pages as u32, Relaxed);
        }
        self.touch(index);
    }

    /// `pages` pages from `index` on, all of one window, have come back.
    pub(super) fn freed(&self, index: usize, pages: usize) {
        if let Some(window) = self.window(index) {
            window.used.fetch_sub(pages as u32, Relaxed);
        }
    }

    /// The window in use that was not used for the longest time: its number. Not one of the
    /// [`SPARED`] that were used last, within [`SPARED_MS`].
    pub(super) fn coldest(&self) -> Option<usize> {
        self.coldest_at(jiffies())
    }

    fn coldest_at(&self, now: usize) -> Option<usize> {
        let in_use = |window: &&Window| window.used.load(Relaxed) > 0;
        let (i, window) = self
            .windows
            .iter()
            .enumerate()
            .filter(|(_, window)| in_use(window))
            .min_by_key(|(_, window)| window.age.load(Relaxed))?;
        // It may have been used since `now`, which is no time at all.
        let idle = now.wrapping_sub(window.last.load(Relaxed)) as isize;
        // All others were used later.
        let is_one_of_the_last = self.windows.iter().filter(in_use).count() <= SPARED;

        (!is_one_of_the_last || idle > msecs_to_jiffies(SPARED_MS) as isize).then_some(i)
    }

    /// The pages of the windows in use, as far as they are the node's `nr`: first those that were not
    /// used for the longest time. None is spared. ENOMEM.
    pub(super) fn coldest_first(&self, nr: usize) -> Result<KVVec<Range<usize>>> {
        // A tree sorts them; the sort of slices does not get past objtool (Rust 1.85).
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

    /// The pages of window `number`, as far as they are the node's `nr`.
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

    /// Windows of four pages, the first of which has only three.
    fn window_lru(windows: usize) -> Result<Arc<WindowLru>> {
        WindowLru::new(1001, windows * 4 - 1, SHIFT)
    }

    #[test]
    fn windows_lie_as_frames_do() -> Result {
        let window_lru = window_lru(3)?;

        assert_eq!(window_lru.windows.len(), 3);
        assert_eq!(window_lru.pages_of(0, 11), 0..3);
        assert_eq!(window_lru.pages_of(1, 11), 3..7);
        assert_eq!(window_lru.pages_of(2, 11), 7..11);
        assert_eq!(window_lru.pages_of(2, 9), 7..9);
        Ok(())
    }

    #[test]
    fn what_is_not_in_use_is_not_cold() -> Result {
        let window_lru = window_lru(40)?;

        assert_eq!(window_lru.coldest(), None);
        for window in 0..40 {
            window_lru.taken(window * 4 + 3, 1);
        }
        // Pages 3 and up: the first window has none in use.
        assert_eq!(window_lru.coldest(), Some(1));
        window_lru.freed(3, 1);
        assert_eq!(window_lru.coldest(), Some(2));
        Ok(())
    }

    #[test]
    fn the_least_recently_used_is_the_coldest() -> Result {
        let window_lru = window_lru(40)?;

        for window in 0..39 {
            window_lru.taken(window * 4 + 3, 4);
        }
        assert_eq!(window_lru.coldest(), Some(1));
        window_lru.touch(3);
        assert_eq!(window_lru.coldest(), Some(2));
        window_lru.touch(7);
        window_lru.touch(3);
        window_lru.touch(7);
        assert_eq!(window_lru.coldest(), Some(3));
        // Again and again is once.
        for _ in 0..100 {
            window_lru.touch(7);
        }
        assert_eq!(window_lru.coldest(), Some(3));
        Ok(())
    }

    #[test]
    fn the_order_is_that_of_use() -> Result {
        let window_lru = window_lru(8)?;

        for window in [5, 1, 6] {
            window_lru.taken(window * 4 + 2, 1);
        }
        window_lru.taken(0, 3);
        window_lru.touch(5 * 4 + 2);
        // All of those in use, also what was used just now.
        assert_eq!(
            window_lru.coldest_first(26)?.as_slice(),
            &[3..7, 23..26, 0..3, 19..23]
        );
        Ok(())
    }

    #[test]
    fn what_was_just_used_is_spared() -> Result {
        let window_lru = window_lru(9)?;

        for window in 0..8 {
            window_lru.taken(window * 4 + 3, 4);
        }
        for expected in 1..=4 {
            assert_eq!(window_lru.coldest(), Some(expected));
            window_lru.freed(expected * 4 - 1, 4);
        }
        assert_eq!(window_lru.coldest(), None);
        // However often they take turns.
        for _ in 0..100 {
            window_lru.touch(27);
            window_lru.touch(23);
        }
        assert_eq!(window_lru.coldest(), None);
        // Also if one is used after someone has looked at the time.
        let earlier = jiffies().wrapping_sub(1);
        assert_eq!(window_lru.coldest_at(earlier), None);
        // Time goes by.
        let later = jiffies().wrapping_add(msecs_to_jiffies(SPARED_MS) + 1);
        assert_eq!(window_lru.coldest_at(later), Some(5));
        Ok(())
    }
}

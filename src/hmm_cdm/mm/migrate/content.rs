// SPDX-License-Identifier: GPL-2.0

//! The content of destinations: copied or zeroed before they replace their sources, so that a page
//! whose copy fails stays where it is.

use super::{
    arrays::Arrays,
    ELEVATED_REFS,
    HUGE,
    MIGRATE,
    NOT_COPIED,
    SHIFT,
    VALID, //
};
use crate::{
    bindings,
    mm::{
        copy::{
            CopyTask,
            Mover, //
        },
        folio::Pfn,
        window_pages, //
    },
};
use kernel::prelude::*;

impl Arrays<'_> {
    /// Fills the destinations with their content, and takes back those for which that fails.
    pub(super) fn copy(&mut self, mover: Mover<'_>) {
        if matches!(mover, Mover::Nothing) {
            return;
        }
        if self.from_device {
            self.refuse_damaged();
            self.refuse_elevated_refs();
        }

        // The tasks borrow the arrays, so failures are recorded and handled afterwards.
        let failed = {
            let tasks = self.tasks();
            let mut failed = Failed::default();

            // SAFETY: As `Mover::run()` requires, nothing uses the destinations or changes the
            // sources: sources are holes, or locked and mapped by migration entries alone;
            // destinations are locked, and nothing maps them.
            unsafe { mover.run(tasks, |place, pages| failed.add(place, pages)) };
            failed
        };

        for (first, pages) in failed.ranges() {
            for i in first..(first + pages).min(self.nr) {
                self.take_back(i, NOT_COPIED);
            }
        }
        if self.from_device {
            // Damage may have been found during the copy.
            self.refuse_damaged();
        }
    }

    /// Returns the pages and holes with destinations, and their places.
    fn tasks(&self) -> impl Iterator<Item = CopyTask> + '_ {
        let entries = self.bufs.src.iter().zip(&self.bufs.dst).take(self.nr);

        entries
            .enumerate()
            .filter_map(|(place, (src, dst))| Self::task(place, *src, *dst))
    }

    fn task(place: usize, src: usize, dst: usize) -> Option<CopyTask> {
        if src & MIGRATE == 0 {
            return None;
        }

        // SAFETY: The migration holds references on the pages in the arrays, so their frames have a
        // `struct page`.
        let page = |mpfn: usize| (mpfn & VALID != 0).then(|| unsafe { Pfn::new(mpfn >> SHIFT) });

        Some(CopyTask {
            place,
            from: page(src),
            to: page(dst)?,
            pages: if dst & HUGE != 0 { window_pages() } else { 1 },
        })
    }

    /// Takes back the destinations of pages whose content is lost.
    fn refuse_damaged(&mut self) {
        // SAFETY: The function requires an array of `nr` entries, which `refuse()` passes, and
        // references on the pages in it, which the migration holds.
        self.refuse(NOT_COPIED, |src, i, nr| unsafe {
            bindings::cdm_damage_next(src, i, nr)
        });
    }

    /// Takes back the destinations of pages with elevated references: the holder of a pin may
    /// change the page during the copy. Pinned pages of system memory are not collected
    /// (`migrate_vma_check_page()`).
    fn refuse_elevated_refs(&mut self) {
        // SAFETY: As in `refuse_damaged()`. The pages are locked, too, which this function
        // requires.
        self.refuse(ELEVATED_REFS, |src, i, nr| unsafe {
            bindings::cdm_refs_next_extra(src, i, nr)
        });
    }

    /// Takes back the destinations of the sources that `next` finds, and leaves `instead` in their
    /// entries.
    fn refuse(&mut self, instead: usize, next: impl Fn(*const usize, usize, usize) -> usize) {
        let mut i = 0;

        loop {
            i = next(self.bufs.src.as_ptr(), i, self.nr);
            if i >= self.nr {
                return;
            }
            self.take_back(i, instead);
            i += 1;
        }
    }
}

/// Pages whose copy failed. A fixed array: a range that does not fit extends the last one,
/// including the pages in between.
#[derive(Default)]
struct Failed {
    ranges: [(usize, usize); Self::ROOM],
    len: usize,
}

impl Failed {
    const ROOM: usize = 16;

    fn add(&mut self, place: usize, pages: usize) {
        match self.ranges.get_mut(self.len) {
            Some(slot) => {
                *slot = (place, pages);
                self.len += 1;
            }
            None => {
                if let Some((first, known)) = self.ranges.last_mut() {
                    let end = (*first + *known).max(place + pages);

                    *first = (*first).min(place);
                    *known = end - *first;
                }
            }
        }
    }

    fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.ranges.iter().take(self.len).copied()
    }
}

#[kunit_tests(hmm_cdm_content)]
mod tests {
    use super::{
        super::{
            chain::tests::collect,
            Outcome,
            Source, //
        },
        *, //
    };
    use crate::mm::{
        copy::{
            Copier,
            CopyRun,
            Direction, //
        },
        folio::NewPage,
        kunit::UserMemory, //
    };

    /// A device that fails after `good` runs, and at each zeroing.
    struct Failing {
        good: usize,
    }

    impl Copier for Failing {
        fn copy(&self, _: Direction, runs: &[CopyRun]) -> usize {
            // These tests do not need it to copy anything.
            self.good.min(runs.len())
        }

        fn zero(&self, _: usize, _: usize) -> Result {
            Err(EIO)
        }
    }

    #[test]
    fn what_is_not_copied_stays() -> Result {
        let memory = UserMemory::map(4)?;

        // Page 2 is a hole; 1 has no destination, so that 0 and 3 are runs of their own.
        for page in [0, 1, 3] {
            memory.write(page, 7 + page as u64)?;
        }
        let before = collect(memory.span(), |pages| [0, 3].map(|i| pages.source(i)))?;
        let mut destinations = KVec::new();
        for _ in 0..3 {
            let page = NewPage::system().ok_or(ENOMEM)?;
            destinations.push(page, GFP_KERNEL)?;
        }
        let frames = destinations.iter().map(NewPage::pfn);
        let first = frames.min_by_key(|pfn| pfn.raw()).ok_or(ENOMEM)?;
        collect(memory.span(), |mut pages| {
            for (i, page) in [0, 2, 3].into_iter().zip(destinations) {
                pages.set_destination(i, page);
            }
            let done = pages.install(Mover::Device {
                copier: &Failing { good: 0 },
                first,
                pages: usize::MAX,
                direction: Direction::In,
            });
            assert_eq!(done.outcome(0), Outcome::NotCopied);
            assert_eq!(done.outcome(1), Outcome::NoDestination);
            assert_eq!(done.outcome(2), Outcome::NotCopied);
            assert_eq!(done.outcome(3), Outcome::NotCopied);
        })?;
        for page in [0, 1, 3] {
            assert_eq!(memory.read(page)?, 7 + page as u64);
        }
        let after = collect(memory.span(), |pages| [0, 3].map(|i| pages.source(i)))?;
        assert_eq!(before, after);
        Ok(())
    }

    #[test]
    fn a_copy_that_fails_halfway_moves_the_first_half() -> Result {
        let memory = UserMemory::map(3)?;

        for page in 0..3 {
            memory.write(page, 7)?;
        }
        let (first, last) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let pfn = first.pfn();
        let outcomes = collect(memory.span(), |mut pages| {
            pages.set_destination(0, first);
            pages.set_destination(2, last);
            let done = pages.install(Mover::Device {
                copier: &Failing { good: 1 },
                first: pfn,
                pages: usize::MAX,
                direction: Direction::In,
            });
            [0, 1, 2].map(|i| done.outcome(i))
        })?;
        assert_eq!(
            outcomes,
            [Outcome::Moved, Outcome::NoDestination, Outcome::NotCopied]
        );
        assert_eq!(memory.read(2)?, 7);
        Ok(())
    }

    #[test]
    fn failures_that_are_too_many_are_taken_together() {
        let mut failed = Failed::default();

        for i in 0..Failed::ROOM + 3 {
            failed.add(10 * i, 2);
        }
        assert_eq!(failed.ranges().count(), Failed::ROOM);
        for i in 0..Failed::ROOM + 3 {
            assert!(failed
                .ranges()
                .any(|(first, pages)| first <= 10 * i && 10 * i + 2 <= first + pages));
        }
        // None is before the first failed place, or behind the last.
        assert!(failed
            .ranges()
            .all(|(first, pages)| first + pages <= 10 * (Failed::ROOM + 2) + 2));
    }

    #[test]
    fn holes_are_filled_with_zeros() -> Result {
        let memory = UserMemory::map(2)?;

        let mut destination = NewPage::system().ok_or(ENOMEM)?;
        destination.fill(0xff);
        collect(memory.span(), |mut pages| {
            pages.set_destination(1, destination);
            let done = pages.install(Mover::Cpu);
            assert_eq!(done.outcome(0), Outcome::NoDestination);
            assert_eq!(done.outcome(1), Outcome::Filled);
        })?;
        let now = collect(memory.span(), |pages| [0, 1].map(|i| pages.source(i)))?;
        assert!(matches!(now, [Source::Hole, Source::Page { .. }]));
        assert_eq!(memory.read(1)?, 0);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Copying pages that migrate and zeroing new ones, by the CPU or by the device.
//!
//! During this both pages are locked, and page tables have only migration entries for them: nothing
//! changes the source or sees the destination. The copy precedes the replacement of the source by
//! the destination, so that a page whose copy fails stays where it is.

use super::folio::Pfn;
use crate::bindings;
use kernel::prelude::*;

/// Contiguous pages to copy between system memory and device memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CopyRun {
    /// The first page of system memory.
    pub system: Pfn,
    /// The index of the first page of device memory.
    pub index: usize,
    /// The number of base pages, contiguous on both sides.
    pub pages: usize,
}

/// The direction of a copy.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From system memory to device memory.
    In,
    /// From device memory to system memory.
    Out,
}

/// A driver whose device copies and zeroes its memory itself.
///
/// Context of [`Self::copy`] and [`Self::zero`]: process. They may sleep, but the mmap lock and
/// page locks may be held, so they must not access user memory, or wait for a task that does.
///
/// # Examples
///
/// ```ignore
/// impl Copier for Dma {
///     fn copy(&self, direction: Direction, runs: &[CopyRun]) -> usize {
///         let copied = |run: &&CopyRun| self.transfer(direction, run).is_ok();
///
///         runs.iter().take_while(copied).count()
///     }
///
///     fn zero(&self, index: usize, pages: usize) -> Result {
///         self.fill(index, pages, 0)
///     }
/// }
/// ```
pub trait Copier: Send + Sync {
    /// Returns whether the device copies and zeroes. A driver that needs only [`Self::freed`]
    /// returns false and leaves both to the CPU, which is not possible for private memory.
    fn copies(&self) -> bool {
        true
    }

    /// Copies the runs in order, and returns the number of complete ones. The pages of the others
    /// stay where they are.
    fn copy(&self, direction: Direction, runs: &[CopyRun]) -> usize;

    /// Zeroes `pages` pages of the device's memory from page `index` on. On an error they are not
    /// used.
    fn zero(&self, index: usize, pages: usize) -> Result;

    /// The last reference to the pages has gone.
    ///
    /// Context: any, interrupts included; must not sleep.
    fn freed(&self, _index: usize, _pages: usize) {}
}

/// The agent that copies in a migration.
#[derive(Copy, Clone)]
pub enum Mover<'a> {
    /// No copy, as the content is lost: for destinations that cannot be read.
    Nothing,
    /// The CPU. Both sides are in the direct map.
    Cpu,
    /// The device.
    Device {
        /// Its driver.
        copier: &'a dyn Copier,
        /// The first frame of its memory.
        first: Pfn,
        /// The number of its frames.
        pages: usize,
        /// To the device, or from it.
        direction: Direction,
    },
}

/// The largest number of runs that a device is given at a time.
const MAX_RUNS: usize = 32;

/// Joins pages into runs, and passes them to a device.
struct CopyBatch<'a, 'b> {
    copier: &'a dyn Copier,
    direction: Direction,
    runs: [CopyRun; MAX_RUNS],
    len: usize,
    // The places of the runs' first pages in the migration.
    places: [usize; MAX_RUNS],
    failed: &'b mut dyn FnMut(usize, usize),
}

impl CopyBatch<'_, '_> {
    fn add(&mut self, place: usize, run: CopyRun) {
        if let Some(last) = self.len.checked_sub(1) {
            let first = self.places.get(last).copied().unwrap_or(0);
            if let Some(known) = self.runs.get_mut(last) {
                // Contiguous on both sides and in the migration.
                if first + known.pages == place
                    && known.system.raw() + known.pages == run.system.raw()
                    && known.index + known.pages == run.index
                {
                    known.pages += run.pages;
                    return;
                }
            }
        }
        if self.len == MAX_RUNS {
            self.flush();
        }
        if let (Some(slot), Some(at)) = (self.runs.get_mut(self.len), self.places.get_mut(self.len))
        {
            *slot = run;
            *at = place;
            self.len += 1;
        }
    }

    fn flush(&mut self) {
        let runs = self.runs.get(..self.len).unwrap_or_default();
        if runs.is_empty() {
            return;
        }

        let done = self.copier.copy(self.direction, runs);
        for (run, place) in runs.iter().zip(&self.places).skip(done) {
            (self.failed)(*place, run.pages);
        }
        self.len = 0;
    }
}

/// The destination at one place of a migration, and its source.
#[derive(Copy, Clone)]
pub(super) struct CopyTask {
    /// The place.
    pub(super) place: usize,
    /// The source; `None` for a hole.
    pub(super) from: Option<Pfn>,
    /// The destination.
    pub(super) to: Pfn,
    /// Base pages.
    pub(super) pages: usize,
}

impl Mover<'_> {
    /// Fills the destinations of the tasks, which are in the order of their places. Calls `failed`
    /// with the place and the number of base pages of each that fails.
    ///
    /// # Safety
    ///
    /// Nothing else uses the destinations or changes the sources.
    pub(super) unsafe fn run(
        self,
        tasks: impl Iterator<Item = CopyTask>,
        mut failed: impl FnMut(usize, usize),
    ) {
        let (copier, first, pages, direction) = match self {
            Mover::Device {
                copier,
                first,
                pages,
                direction,
            } => (copier, first, pages, direction),
            Mover::Cpu => {
                for task in tasks {
                    // SAFETY: `with_cpu()` requires that nothing else uses the destination or
                    // changes the source, and that both are in the direct map. So does `run()`.
                    unsafe { Self::with_cpu(task, &mut failed) };
                }
                return;
            }
            Mover::Nothing => return,
        };

        // The index of a task's device pages, which have to be in the device's memory.
        let index = |pfn: Pfn, task: &CopyTask| {
            pfn.raw()
                .checked_sub(first.raw())
                .filter(|index| index.saturating_add(task.pages) <= pages)
        };
        // Contiguous holes are zeroed together.
        let mut holes: Option<(usize, CopyTask)> = None;
        let mut batch = CopyBatch {
            copier,
            direction,
            runs: [CopyRun {
                system: first,
                index: 0,
                pages: 0,
            }; MAX_RUNS],
            len: 0,
            places: [0; MAX_RUNS],
            failed: &mut failed,
        };

        for task in tasks {
            let (system, device) = match (task.from, direction) {
                (None, _) => (None, task.to),
                (Some(from), Direction::In) => (Some(from), task.to),
                (Some(from), Direction::Out) => (Some(task.to), from),
            };
            let Some(index) = index(device, &task) else {
                (batch.failed)(task.place, task.pages);
                continue;
            };
            let Some(system) = system else {
                match &mut holes {
                    Some((_, run))
                        if run.place + run.pages == task.place
                            && run.to.raw() + run.pages == task.to.raw() =>
                    {
                        run.pages += task.pages;
                    }
                    _ => {
                        if let Some((first, run)) = holes.replace((index, task)) {
                            zero(copier, first, run, batch.failed);
                        }
                    }
                }
                continue;
            };

            batch.add(
                task.place,
                CopyRun {
                    system,
                    index,
                    pages: task.pages,
                },
            );
        }
        batch.flush();
        if let Some((first, run)) = holes {
            zero(copier, first, run, &mut failed);
        }
    }

    /// # Safety
    ///
    /// As for [`Self::run`], for one task.
    unsafe fn with_cpu(task: CopyTask, failed: &mut dyn FnMut(usize, usize)) {
        for i in 0..task.pages {
            // The pages of a folio are contiguous.
            let to = task.to.raw() + i;

            let filled = match task.from {
                // SAFETY: By the safety requirements nothing else uses the page. The helper refuses
                // pages that are not in the direct map.
                None => unsafe { bindings::hmm_cdm_helper_clear_page(to) },
                // SAFETY: As above. Nothing changes the source.
                Some(from) => unsafe { bindings::hmm_cdm_helper_copy_page(to, from.raw() + i) },
            };

            if !filled {
                return failed(task.place, task.pages);
            }
        }
    }
}

fn zero(copier: &dyn Copier, index: usize, run: CopyTask, failed: &mut dyn FnMut(usize, usize)) {
    if copier.zero(index, run.pages).is_err() {
        failed(run.place, run.pages);
    }
}

#[kunit_tests(hmm_cdm_copy)]
mod tests {
    use super::*;
    use crate::mm::folio::{
        MappedPage,
        NewPage, //
    };
    use kernel::{
        alloc::KVVec,
        new_mutex,
        page::PAGE_SIZE,
        sync::{
            Arc,
            Mutex, //
        }, //
    };

    /// The first frame of the device's memory; only the number is used.
    const FIRST: usize = 0x1000;
    const PAGES: usize = 100;

    #[derive(Default)]
    struct Log {
        copies: KVec<(Direction, CopyRun)>,
        zeroed: KVec<(usize, usize)>,
        calls: usize,
        // The number of runs, or calls of `zero()`, that will succeed.
        good: usize,
    }

    #[pin_data]
    struct Device {
        #[pin]
        log: Mutex<Log>,
    }

    impl Device {
        fn new(good: usize) -> Result<Arc<Self>> {
            let log = Log {
                good,
                ..Log::default()
            };

            Arc::pin_init(pin_init!(Self { log <- new_mutex!(log) }), GFP_KERNEL)
        }
    }

    impl Copier for Device {
        fn copy(&self, direction: Direction, runs: &[CopyRun]) -> usize {
            let mut log = self.log.lock();
            let done = log.good.min(runs.len());

            log.calls += 1;
            log.good -= done;
            for run in runs {
                let _ = log.copies.push((direction, *run), GFP_KERNEL);
            }
            done
        }

        fn zero(&self, index: usize, pages: usize) -> Result {
            let mut log = self.log.lock();
            let _ = log.zeroed.push((index, pages), GFP_KERNEL);

            if log.good == 0 {
                return Err(EIO);
            }
            log.good -= 1;
            Ok(())
        }
    }

    fn pfn(raw: usize) -> Pfn {
        // SAFETY: There need not be a `struct page`, as only the number is used.
        unsafe { Pfn::new(raw) }
    }

    /// Makes the task to copy system page `system` into device page `device`; of a hole without
    /// `system`.
    fn task(place: usize, system: Option<usize>, device: usize) -> CopyTask {
        CopyTask {
            place,
            from: system.map(pfn),
            to: pfn(FIRST + device),
            pages: 1,
        }
    }

    /// Runs the tasks with a device, and returns the places that failed.
    fn run(device: &Device, tasks: &[CopyTask]) -> Result<KVec<(usize, usize)>> {
        let mut failed = KVec::new();
        let mover = Mover::Device {
            copier: device,
            first: pfn(FIRST),
            pages: PAGES,
            direction: Direction::In,
        };

        // SAFETY: The device accesses no memory, so nothing is required of the frames.
        unsafe {
            mover.run(tasks.iter().copied(), |place, pages| {
                let _ = failed.push((place, pages), GFP_KERNEL);
            })
        };
        Ok(failed)
    }

    #[test]
    fn neighbours_are_copied_together() -> Result {
        let device = Device::new(usize::MAX)?;
        let failed = run(
            &device,
            &[
                task(0, Some(100), 7),
                task(1, Some(101), 8),
                // Contiguous in system memory only, and in device memory only.
                task(2, Some(102), 30),
                task(3, Some(200), 31),
                // Contiguous in both, but with a page between that stays.
                task(5, Some(201), 32),
            ],
        )?;
        let log = device.log.lock();
        let runs = [(100, 7, 2), (102, 30, 1), (200, 31, 1), (201, 32, 1)];

        assert!(failed.is_empty());
        assert_eq!(log.calls, 1);
        assert_eq!(log.copies.len(), runs.len());
        for ((direction, run), (system, index, pages)) in log.copies.iter().zip(runs) {
            assert_eq!(*direction, Direction::In);
            assert_eq!(
                (run.system.raw(), run.index, run.pages),
                (system, index, pages)
            );
        }
        Ok(())
    }

    #[test]
    fn a_copy_that_fails_halfway_names_the_rest() -> Result {
        let device = Device::new(1)?;
        let failed = run(
            &device,
            &[
                task(0, Some(100), 7),
                task(1, Some(101), 8),
                task(4, Some(300), 20),
                task(5, Some(301), 21),
                task(9, Some(400), 40),
            ],
        )?;

        assert_eq!(failed.len(), 2);
        assert_eq!(failed.first(), Some(&(4, 2)));
        assert_eq!(failed.get(1), Some(&(9, 1)));
        Ok(())
    }

    #[test]
    fn more_than_a_batch_is_handed_over_in_parts() -> Result {
        let device = Device::new(usize::MAX)?;
        let mut tasks = KVec::new();

        for place in 0..2 * MAX_RUNS + 1 {
            tasks.push(task(place, Some(100 + 2 * place), place), GFP_KERNEL)?;
        }
        assert!(run(&device, &tasks)?.is_empty());
        let log = device.log.lock();
        assert_eq!((log.calls, log.copies.len()), (3, 2 * MAX_RUNS + 1));
        Ok(())
    }

    #[test]
    fn holes_are_zeroed_and_not_copied() -> Result {
        let device = Device::new(1)?;
        let failed = run(
            &device,
            &[
                task(0, None, 3),
                task(1, None, 4),
                task(2, None, 9),
                task(3, None, 10),
            ],
        )?;
        let log = device.log.lock();

        assert!(log.copies.is_empty());
        assert_eq!(log.zeroed.len(), 2);
        assert_eq!(log.zeroed.first(), Some(&(3, 2)));
        assert_eq!(log.zeroed.get(1), Some(&(9, 2)));
        // The second call failed.
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first(), Some(&(2, 2)));
        Ok(())
    }

    #[test]
    fn other_memory_than_the_devices_is_refused() -> Result {
        let device = Device::new(usize::MAX)?;
        let before = CopyTask {
            to: pfn(FIRST - 1),
            ..task(0, Some(100), 0)
        };
        let failed = run(
            &device,
            &[
                before,
                task(1, Some(101), PAGES - 1),
                task(2, Some(102), PAGES),
                task(3, None, PAGES),
            ],
        )?;
        let log = device.log.lock();

        assert_eq!((log.copies.len(), log.zeroed.len()), (1, 0));
        assert_eq!(failed.len(), 3);
        for (failed, place) in failed.iter().zip([0, 2, 3]) {
            assert_eq!(*failed, (place, 1));
        }
        Ok(())
    }

    #[test]
    fn the_way_out_has_the_sides_the_other_way_round() -> Result {
        let device = Device::new(usize::MAX)?;
        let mover = Mover::Device {
            copier: &*device,
            first: pfn(FIRST),
            pages: PAGES,
            direction: Direction::Out,
        };
        let task = CopyTask {
            place: 0,
            from: Some(pfn(FIRST + 5)),
            to: pfn(77),
            pages: 3,
        };

        // SAFETY: The device accesses no memory, so nothing is required of the frames.
        unsafe { mover.run([task].into_iter(), |_, _| ()) };
        let log = device.log.lock();
        let Some((Direction::Out, run)) = log.copies.first() else {
            return Err(EINVAL);
        };
        assert_eq!((run.system.raw(), run.index, run.pages), (77, 5, 3));
        Ok(())
    }

    #[test]
    fn the_cpu_copies_and_zeroes_whole_pages() -> Result {
        let mut from = NewPage::system().ok_or(ENOMEM)?;
        let mut pages = KVVec::new();
        let mut failed = 0;

        from.fill(7);
        for _ in 0..2 {
            let mut page = NewPage::system().ok_or(ENOMEM)?;
            page.fill(0xff);
            pages.push(page, GFP_KERNEL)?;
        }
        let tasks = pages.iter().enumerate().map(|(place, page)| CopyTask {
            place,
            from: (place == 0).then_some(from.pfn()),
            to: page.pfn(),
            pages: 1,
        });
        // SAFETY: Only the test uses the pages. They are system memory, so in the direct map.
        unsafe { Mover::Cpu.run(tasks, |_, _| failed += 1) };
        assert_eq!(failed, 0);
        for (page, word) in pages.iter().zip([0x0707_0707_0707_0707, 0]) {
            // SAFETY: Nothing maps the page, so no invalidation can concern it, and the CPU can
            // access it.
            let page = unsafe { MappedPage::new(page.pfn(), false, false) };

            assert!((0..PAGE_SIZE)
                .step_by(8)
                .all(|offset| page.read_u64(offset) == Some(word)));
        }
        Ok(())
    }
}

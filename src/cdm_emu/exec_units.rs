// SPDX-License-Identifier: GPL-2.0

//! The execution units of an engine: how many tasks of a device run at the same time, and whether
//! they make progress.
//!
//! [`crate::step`] bounds the work of a step, for which a thread has a unit. A unit counts as hung
//! if its thread has begun no access to memory for `timeout_ms`, a parameter of the module.
//!
//! `ExecUnits::slots`, a mutex, protects the bookkeeping only. It is never held while a unit works.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        Mutex, //
    },
    time::{
        Instant,
        Jiffies,
        Monotonic, //
    }, //
};

/// A thread that runs on units, one at a time.
#[pin_data(PinnedDrop)]
pub(crate) struct Worker {
    units: Arc<ExecUnits>,
    // Incremented by each access. Only the worker changes it.
    beats: Atomic<u64>,
    // Both are changed under `ExecUnits::slots`.
    lost: Atomic<bool>,
    has_unit: Atomic<bool>,
    // The worker has a unit now. Nobody else waits for it, so a thread that is woken for another
    // reason, as by kthread_stop(), cannot take a wake-up from the one that it was for.
    #[pin]
    turn: CondVar,
}

impl Worker {
    /// Creates a worker that is on no unit. ENOMEM.
    pub(crate) fn new(units: &Arc<ExecUnits>) -> Result<Arc<Self>> {
        units.add_worker()?;
        let worker = Arc::pin_init(
            pin_init!(Self {
                units: units.clone(),
                beats: Atomic::new(0),
                lost: Atomic::new(false),
                has_unit: Atomic::new(false),
                turn <- new_condvar!("Worker::turn"),
            }),
            GFP_KERNEL,
        );

        // Otherwise dropping the worker does so.
        worker.inspect_err(|_| units.remove_worker())
    }

    /// Reports progress.
    pub(crate) fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed) + 1, Relaxed);
    }

    /// Returns whether the worker's unit was reset. The worker has to call [`ExecUnits::recover`]
    /// then.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }
}

#[pinned_drop]
impl PinnedDrop for Worker {
    fn drop(self: Pin<&mut Self>) {
        self.units.remove_worker();
    }
}

/// A unit in use.
struct Slot {
    worker: Arc<Worker>,
    // The worker's last known beat, and when it was first seen.
    beats: u64,
    since: Instant<Monotonic>,
}

impl Slot {
    /// Returns whether the worker has made no progress for `timeout_ms`.
    fn is_hung(&mut self, timeout_ms: u32) -> bool {
        let beats = self.worker.beats.load(Relaxed);

        if self.beats != beats {
            self.beats = beats;
            self.since = Instant::now();
        }
        self.since.elapsed().as_millis() >= i64::from(timeout_ms)
    }
}

struct SlotState {
    // Has capacity for all units.
    busy: KVec<Slot>,
    // Number of units that no worker has.
    free: u32,
    // The workers that wait for a unit, in the order of their requests. Has capacity for all.
    waiting: KVec<Arc<Worker>>,
    // Number of workers.
    workers: usize,
    // Number of workers that are lost and have not recovered yet.
    lost: usize,
    // The watchdog checks the units periodically. It does not while all are idle.
    watched: bool,
    // The watchdog has to end, or has ended.
    watchdog_stopped: bool,
}

/// Execution units, acquired in the order of the requests for one bounded step at a time.
///
/// A thread that faults releases its unit meanwhile. A fault can wait for the process; nothing else
/// in a step waits for anybody. So a step without progress has hung.
#[pin_data]
pub(crate) struct ExecUnits {
    #[pin]
    slots: Mutex<SlotState>,
    // A unit is in use and the watchdog sleeps, or the watchdog has to end.
    #[pin]
    watch: CondVar,
    // A worker was lost or has recovered.
    #[pin]
    lost: CondVar,
}

impl ExecUnits {
    /// Creates `nr` idle units. ENOMEM.
    pub(crate) fn new(nr: u32) -> Result<Arc<Self>> {
        let busy = KVec::with_capacity(nr as usize, GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                slots <- new_mutex!(
                    SlotState {
                        busy,
                        free: nr,
                        waiting: KVec::new(),
                        workers: 0,
                        lost: 0,
                        watched: false,
                        watchdog_stopped: false,
                    },
                    "ExecUnits::slots"
                ),
                watch <- new_condvar!("ExecUnits::watch"),
                lost <- new_condvar!("ExecUnits::lost"),
            }),
            GFP_KERNEL,
        )
    }

    /// Runs `work` on a unit. Sleeps until one is free: at most for the steps of earlier requests.
    pub(crate) fn run<R>(&self, worker: &Arc<Worker>, work: impl FnOnce() -> R) -> R {
        self.acquire(worker);
        let result = work();
        self.release(worker);
        result
    }

    /// Runs `wait` with the caller's unit released, and acquires one again. A worker whose unit was
    /// reset gets none: the reset waits for it, and only the next one may free a unit.
    pub(crate) fn run_released<R>(&self, worker: &Arc<Worker>, wait: impl FnOnce() -> R) -> R {
        self.release(worker);
        let result = wait();
        if !worker.is_lost() {
            self.acquire(worker);
        }
        result
    }

    fn add_worker(&self) -> Result {
        let mut slots = self.slots.lock();
        let workers = slots.workers + 1;
        let more = workers - slots.waiting.len();

        slots.waiting.reserve(more, GFP_KERNEL)?;
        slots.workers = workers;
        Ok(())
    }

    fn remove_worker(&self) {
        self.slots.lock().workers -= 1;
    }

    fn acquire(&self, worker: &Arc<Worker>) {
        let mut slots = self.slots.lock();

        if slots.free > 0 {
            slots.free -= 1;
        } else {
            // Cannot fail: see `add_worker()`.
            let _ = slots.waiting.push_within_capacity(worker.clone());
            while !worker.has_unit.load(Relaxed) {
                worker.turn.wait(&mut slots);
            }
        }
        worker.has_unit.store(true, Relaxed);
        let slot = Slot {
            worker: worker.clone(),
            beats: worker.beats.load(Relaxed),
            since: Instant::now(),
        };
        // Cannot fail: each worker here has a unit of its own.
        let _ = slots.busy.push_within_capacity(slot);
        if !slots.watched {
            slots.watched = true;
            self.watch.notify_one();
        }
    }

    fn release(&self, worker: &Arc<Worker>) {
        let mut slots = self.slots.lock();
        let own = slots
            .busy
            .iter()
            .position(|slot| Arc::ptr_eq(&slot.worker, worker));

        if !worker.has_unit.load(Relaxed) {
            // See `run_released()`.
            return;
        }
        if let Some(own) = own {
            let _ = slots.busy.remove(own);
        }
        worker.has_unit.store(false, Relaxed);
        // The unit goes to the one whose turn it is, whoever runs first.
        match slots.waiting.remove(0) {
            Ok(next) => {
                next.has_unit.store(true, Relaxed);
                next.turn.notify_one();
            }
            Err(_) => slots.free += 1,
        }
    }

    /// Hangs on the caller's unit until that is reset. Nothing else ends it, as with hardware.
    pub(crate) fn hang(&self, worker: &Worker) {
        let mut slots = self.slots.lock();

        while !worker.is_lost() {
            self.lost.wait(&mut slots);
        }
    }

    /// Marks the worker recovered; it has left its unit.
    pub(crate) fn recover(&self, worker: &Worker) {
        let mut slots = self.slots.lock();

        worker.lost.store(false, Relaxed);
        slots.lost -= 1;
        self.lost.notify_all();
    }

    /// For the watchdog: sleeps for `period`, and for as long as all units are idle. Returns false
    /// when the watchdog has to end.
    pub(crate) fn watch(&self, period: Jiffies) -> bool {
        let mut slots = self.slots.lock();

        if slots.busy.is_empty() {
            slots.watched = false;
        }
        while !slots.watched && !slots.watchdog_stopped {
            // Interruptible, so that an idle thread does not count as load.
            let _ = self.watch.wait_interruptible(&mut slots);
        }
        if !slots.watchdog_stopped {
            let _ = self.watch.wait_interruptible_timeout(&mut slots, period);
        }
        !slots.watchdog_stopped
    }

    /// Makes [`Self::watch`] return false, now and from now on.
    pub(crate) fn stop_watchdog(&self) {
        self.slots.lock().watchdog_stopped = true;
        self.watch.notify_all();
    }

    /// Returns the number of units that have made no progress for `timeout_ms`.
    pub(crate) fn count_hung(&self, timeout_ms: u32) -> usize {
        let mut slots = self.slots.lock();

        slots
            .busy
            .iter_mut()
            .filter_map(|slot| slot.is_hung(timeout_ms).then_some(()))
            .count()
    }

    /// Resets the units that have hung, and waits until their workers have recovered. Returns the
    /// number of units reset.
    pub(crate) fn reset(&self, timeout_ms: u32) -> usize {
        let mut slots = self.slots.lock();
        let mut reset = 0;

        for slot in slots.busy.iter_mut() {
            if slot.is_hung(timeout_ms) {
                slot.worker.lost.store(true, Relaxed);
                reset += 1;
            }
        }
        slots.lost += reset;
        self.lost.notify_all();
        while slots.lost > 0 {
            self.lost.wait(&mut slots);
        }
        reset
    }
}

#[kunit_tests(cdm_emu_exec_units)]
mod tests {
    use super::*;

    const TIMEOUT_MS: u32 = 10;

    /// Repeats `count` until it took less than the timeout: on a busy machine it may take longer.
    fn in_time(mut count: impl FnMut() -> usize) -> usize {
        loop {
            let start = Instant::<Monotonic>::now();
            let hung = count();

            if start.elapsed().as_millis() < i64::from(TIMEOUT_MS) {
                return hung;
            }
        }
    }

    #[test]
    fn a_worker_that_makes_progress_is_not_hung() -> Result {
        let units = ExecUnits::new(2)?;
        let (slow, busy) = (Worker::new(&units)?, Worker::new(&units)?);

        assert_eq!(units.count_hung(0), 0);
        units.run(&slow, || {
            units.run(&busy, || {
                // The timeout has not passed yet.
                assert_eq!(units.count_hung(60_000), 0);
                assert_eq!(units.count_hung(0), 2);
                // A sleep may be short, as jiffies lag behind on a starved machine.
                let start = Instant::<Monotonic>::now();
                while start.elapsed().as_millis() < 2 * i64::from(TIMEOUT_MS) {
                    kernel::time::delay::fsleep(kernel::time::Delta::from_millis(20));
                }
                let hung = in_time(|| {
                    busy.beat();
                    units.count_hung(TIMEOUT_MS)
                });
                assert_eq!(hung, 1);
            });
            // While it waits, it is on no unit.
            assert_eq!(units.run_released(&slow, || units.count_hung(0)), 0);
            // The time starts anew with each acquisition.
            let hung = in_time(|| {
                units.run_released(&slow, || ());
                units.count_hung(TIMEOUT_MS)
            });
            assert_eq!(hung, 0);
        });
        assert_eq!(units.count_hung(0), 0);
        Ok(())
    }

    #[test]
    fn only_hung_units_are_reset() -> Result {
        let units = ExecUnits::new(1)?;
        let worker = Worker::new(&units)?;

        assert_eq!(units.run(&worker, || units.reset(60_000)), 0);
        assert!(!worker.is_lost());
        Ok(())
    }
}

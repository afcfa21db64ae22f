// SPDX-License-Identifier: GPL-2.0

//! The engine's execution units: how many tasks of a device go forward at the same time, and whether
//! they do.
//!
//! `ExecUnits::turns`, a mutex, is held to look and to change, never while a unit works.

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, CondVar, Mutex,
    },
    time::{Instant, Jiffies, Monotonic},
};

/// Someone who runs on units, one at a time, as far as others have to know.
pub(crate) struct Worker {
    // Goes up with each access; only the worker changes it.
    beats: Atomic<u64>,
    // Changed under `ExecUnits::turns`.
    lost: Atomic<bool>,
}

impl Worker {
    /// ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                beats: Atomic::new(0),
                lost: Atomic::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// The work goes on.
    pub(crate) fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed) + 1, Relaxed);
    }

    /// Whether the unit was reset under the worker, who has to call [`ExecUnits::recover`].
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }
}

/// A unit that someone is on.
struct Slot {
    worker: Arc<Worker>,
    // When the watchdog, or whoever took the seat, last saw that the work went on, and where it was.
    beats: u64,
    since: Instant<Monotonic>,
}

impl Slot {
    /// Whether the work has not gone on for so long.
    fn hangs(&mut self, timeout_ms: u32) -> bool {
        let beats = self.worker.beats.load(Relaxed);

        if self.beats != beats {
            self.beats = beats;
            self.since = Instant::now();
        }
        self.since.elapsed().as_millis() >= i64::from(timeout_ms)
    }
}

struct SlotState {
    given: u64,
    ended: u64,
    // There is room for one of each unit.
    seats: KVec<Slot>,
    // Workers that are lost and have not recovered yet.
    lost: usize,
    // The watchdog looks from time to time.
    watched: bool,
    // There is no watchdog any more.
    unwatched: bool,
}

/// Execution units that are taken in the order of asking, one bounded step at a time.
///
/// A thread that faults gives its unit up meanwhile: a fault can wait for the process, and nobody
/// else's work does. So a step that does not go on is one that hangs.
#[pin_data]
pub(crate) struct ExecUnits {
    nr: u64,
    #[pin]
    turns: Mutex<SlotState>,
    #[pin]
    ended: CondVar,
    // A unit is taken and nobody watches, or the watchdog is to stop.
    #[pin]
    watch: CondVar,
    // A worker was lost or has recovered.
    #[pin]
    lost: CondVar,
}

impl ExecUnits {
    pub(crate) fn new(nr: u32) -> Result<Arc<Self>> {
        let seats = KVec::with_capacity(nr as usize, GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                nr: nr.into(),
                turns <- new_mutex!(
                    SlotState {
                        given: 0,
                        ended: 0,
                        seats,
                        lost: 0,
                        watched: false,
                        unwatched: false,
                    },
                    "ExecUnits::turns"
                ),
                ended <- new_condvar!("ExecUnits::ended"),
                watch <- new_condvar!("ExecUnits::watch"),
                lost <- new_condvar!("ExecUnits::lost"),
            }),
            GFP_KERNEL,
        )
    }

    /// Runs `work` on a unit. Sleeps until it is our turn, which is as long as the steps of those
    /// before take.
    pub(crate) fn run<R>(&self, worker: &Arc<Worker>, work: impl FnOnce() -> R) -> R {
        self.enter(worker);
        let result = work();
        self.leave(worker);
        result
    }

    /// Runs `wait` without the unit that the caller is on.
    pub(crate) fn step_aside<R>(&self, worker: &Arc<Worker>, wait: impl FnOnce() -> R) -> R {
        self.leave(worker);
        let result = wait();
        self.enter(worker);
        result
    }

    fn enter(&self, worker: &Arc<Worker>) {
        let mut turns = self.turns.lock();
        let mine = turns.given;

        turns.given += 1;
        // Those who wait are woken in the order in which they came, which is that of their turns:
        // the wait queue is joined under the lock.
        while mine >= turns.ended + self.nr {
            self.ended.wait(&mut turns);
        }
        let seat = Slot {
            worker: worker.clone(),
            beats: worker.beats.load(Relaxed),
            since: Instant::now(),
        };
        // There is room: as many turns are under way as there are units, at the most.
        let _ = turns.seats.push_within_capacity(seat);
        if !turns.watched {
            turns.watched = true;
            self.watch.notify_one();
        }
    }

    fn leave(&self, worker: &Arc<Worker>) {
        let mut turns = self.turns.lock();
        let own = turns
            .seats
            .iter()
            .position(|seat| Arc::ptr_eq(&seat.worker, worker));

        turns.ended += 1;
        if let Some(own) = own {
            let _ = turns.seats.remove(own);
        }
        drop(turns);
        // One turn has ended, so one may begin: that of the first in the queue.
        self.ended.notify_one();
    }

    /// Hangs, on the unit that the caller is on, until that is reset. Nothing else ends it, as nothing
    /// else helps with hardware.
    pub(crate) fn hang(&self, worker: &Worker) {
        let mut turns = self.turns.lock();

        while !worker.is_lost() {
            self.lost.wait(&mut turns);
        }
    }

    /// The worker is none of those that hang any more, and has left its unit.
    pub(crate) fn recover(&self, worker: &Worker) {
        let mut turns = self.turns.lock();

        worker.lost.store(false, Relaxed);
        turns.lost -= 1;
        self.lost.notify_all();
    }

    /// For the watchdog: sleeps for `period`, or as long as all units are idle. False when it is to
    /// end.
    pub(crate) fn watch(&self, period: Jiffies) -> bool {
        let mut turns = self.turns.lock();

        if turns.seats.is_empty() {
            turns.watched = false;
        }
        while !turns.watched && !turns.unwatched {
            // Interruptible, so that an idle thread does not count as load.
            let _ = self.watch.wait_interruptible(&mut turns);
        }
        if !turns.unwatched {
            let _ = self.watch.wait_interruptible_timeout(&mut turns, period);
        }
        !turns.unwatched
    }

    /// Has [`Self::watch`] return false.
    pub(crate) fn unwatch(&self) {
        self.turns.lock().unwatched = true;
        self.watch.notify_all();
    }

    /// How many units hang, that is have done nothing for so long.
    pub(crate) fn hanging(&self, timeout_ms: u32) -> usize {
        let mut turns = self.turns.lock();

        turns
            .seats
            .iter_mut()
            .filter_map(|seat| seat.hangs(timeout_ms).then_some(()))
            .count()
    }

    /// Resets the units that hang, and waits until those who were on them have recovered. Returns
    /// how many there were.
    pub(crate) fn reset(&self, timeout_ms: u32) -> usize {
        let mut turns = self.turns.lock();
        let mut reset = 0;

        for seat in turns.seats.iter_mut() {
            if seat.hangs(timeout_ms) {
                seat.worker.lost.store(true, Relaxed);
                reset += 1;
            }
        }
        turns.lost += reset;
        self.lost.notify_all();
        while turns.lost > 0 {
            self.lost.wait(&mut turns);
        }
        reset
    }
}

#[kunit_tests(cdm_emu_units)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_does_not_hang() -> Result {
        let units = ExecUnits::new(2)?;
        let (slow, busy) = (Worker::new()?, Worker::new()?);

        assert_eq!(units.hanging(0), 0);
        units.run(&slow, || {
            units.run(&busy, || {
                // Nobody has had the time.
                assert_eq!(units.hanging(60_000), 0);
                assert_eq!(units.hanging(0), 2);
                kernel::time::delay::fsleep(kernel::time::Delta::from_millis(20));
                busy.beat();
                assert_eq!(units.hanging(10), 1);
            });
            // Who waits aside is on no unit.
            assert_eq!(units.step_aside(&slow, || units.hanging(0)), 0);
            // And begins anew.
            assert_eq!(units.hanging(10), 0);
        });
        assert_eq!(units.hanging(0), 0);
        Ok(())
    }

    #[test]
    fn nothing_is_reset_that_does_not_hang() -> Result {
        let units = ExecUnits::new(1)?;
        let worker = Worker::new()?;

        assert_eq!(units.run(&worker, || units.reset(60_000)), 0);
        assert!(!worker.is_lost());
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The engine's execution units: how many tasks of a device go forward at the same time.

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
};

struct Turns {
    given: u64,
    ended: u64,
}

/// Execution units that are taken in the order of asking, one bounded step at a time.
///
/// A thread that faults gives its unit up meanwhile: a fault can wait for the process, and nobody
/// else's work does.
#[pin_data]
pub(crate) struct Units {
    nr: u64,
    #[pin]
    turns: Mutex<Turns>,
    #[pin]
    ended: CondVar,
}

impl Units {
    pub(crate) fn new(nr: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                nr: nr.into(),
                turns <- new_mutex!(Turns { given: 0, ended: 0 }, "Units::turns"),
                ended <- new_condvar!("Units::ended"),
            }),
            GFP_KERNEL,
        )
    }

    /// Runs `work` on a unit. Sleeps until it is our turn, which is as long as the steps of those
    /// before take.
    pub(crate) fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        self.enter();
        let result = work();
        self.leave();
        result
    }

    /// Runs `wait` without the unit that the caller is on.
    pub(crate) fn step_aside<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.leave();
        let result = wait();
        self.enter();
        result
    }

    fn enter(&self) {
        let mut turns = self.turns.lock();
        let mine = turns.given;

        turns.given += 1;
        // Those who wait are woken in the order in which they came, which is that of their turns:
        // the wait queue is joined under the lock.
        while mine >= turns.ended + self.nr {
            self.ended.wait(&mut turns);
        }
    }

    fn leave(&self) {
        self.turns.lock().ended += 1;
        // One turn has ended, so one may begin: that of the first in the queue.
        self.ended.notify_one();
    }
}

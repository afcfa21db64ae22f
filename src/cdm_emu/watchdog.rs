// SPDX-License-Identifier: GPL-2.0

//! The watchdog of one device: a thread that notices when an execution unit hangs, and resets the
//! device.
//!
//! It looks four times in the time after which a unit is taken to hang, while any is in use, so the
//! reset comes after one to one and a half times that.

use crate::exec_units::ExecUnits;
use hmm_cdm::{mirror::Health, os::kthread::ThreadBody};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::msecs_to_jiffies,
};

/// What the thread looks after.
pub(crate) struct Watchdog {
    units: Arc<ExecUnits>,
    health: Arc<Health>,
    timeout_ms: u32,
    // What messages call the device: the address of its memory.
    start: u64,
    resets: Atomic<u64>,
}

impl Watchdog {
    /// ENOMEM.
    pub(crate) fn new(
        units: Arc<ExecUnits>,
        health: Arc<Health>,
        timeout_ms: u32,
        start: u64,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                units,
                health,
                timeout_ms,
                start,
                resets: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// In this order: no unit can reach memory any more, whatever it still does; then those that hang
    /// are stopped; and once their jobs are out of the way the device can be used again.
    fn reset(&self) {
        let reset = self.health.begin_reset();
        let units = self.units.reset(self.timeout_ms);

        // The work may have gone on at the last moment.
        if units > 0 {
            pr_warn!(
                "device at {:#x}: {units} units did nothing for {} ms; reset {}\n",
                self.start,
                self.timeout_ms,
                self.resets.fetch_add(1, Relaxed) + 1
            );
        }
        drop(reset);
    }
}

impl ThreadBody for Watchdog {
    fn run(&self) {
        let period = msecs_to_jiffies(self.timeout_ms.div_ceil(4)).max(1);

        while self.units.watch(period) {
            if self.units.hanging(self.timeout_ms) > 0 {
                self.reset();
            }
        }
    }

    fn stop(&self) {
        self.units.unwatch();
    }
}

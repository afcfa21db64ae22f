// SPDX-License-Identifier: GPL-2.0

//! The watchdog of one device: a thread that notices when an execution unit hangs, and resets the
//! device.
//!
//! While a unit is in use it checks them four times per timeout, so a reset comes after 1 to 1.5
//! timeouts.

use crate::exec_units::ExecUnits;
use hmm_cdm::{
    mirror::Health,
    os::kthread::ThreadBody, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::msecs_to_jiffies, //
};

/// The body of the watchdog thread.
pub(crate) struct Watchdog {
    units: Arc<ExecUnits>,
    health: Arc<Health>,
    timeout_ms: u32,
    // Identifies the device in messages.
    number: u32,
    resets: Atomic<u64>,
}

impl Watchdog {
    /// Creates the body of a watchdog thread. ENOMEM.
    pub(crate) fn new(
        units: Arc<ExecUnits>,
        health: Arc<Health>,
        timeout_ms: u32,
        number: u32,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                units,
                health,
                timeout_ms,
                number,
                resets: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Resets the device: cuts all units off from memory, stops the hung ones, waits until their
    /// jobs have failed, and lets the device be used again.
    fn reset(&self) {
        let reset = self.health.begin_reset();
        let units = self.units.reset(self.timeout_ms);

        // A unit may have made progress at the last moment.
        if units > 0 {
            pr_warn!(
                "engine {}: {units} units did nothing for {} ms; reset {}\n",
                self.number,
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
            if self.units.count_hung(self.timeout_ms) > 0 {
                self.reset();
            }
        }
    }

    fn stop(&self) {
        self.units.stop_watchdog();
    }
}

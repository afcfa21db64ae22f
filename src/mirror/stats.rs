// SPDX-License-Identifier: GPL-2.0

//! What happened on a mirror, in numbers that only grow.

use kernel::sync::atomic::{Atomic, Relaxed};

/// A number that events are counted in. Nothing is ordered by it.
pub struct Counter(Atomic<u64>);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts `n` events. Context: any.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// How many events there were.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// The counters of a mirror. Their meaning is in the description of `struct hmm_cdm_stats`; all
/// count pages or events, but `bytes_copied`.
#[derive(Default)]
#[expect(missing_docs, reason = "described with struct hmm_cdm_stats")]
pub struct Stats {
    pub faults: Counter,
    pub fault_pages: Counter,
    pub fault_retries: Counter,
    pub invalidations: Counter,
    pub invalidated_pages: Counter,
    pub migrated_in: Counter,
    pub migrated_out: Counter,
    pub bytes_copied: Counter,
    pub populated: Counter,
    pub huge: Counter,
    pub skipped: [Counter; crate::uapi::SKIP_MAX],
    pub jobs: Counter,
}

impl Stats {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }
}

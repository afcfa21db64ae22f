// SPDX-License-Identifier: GPL-2.0

//! What happened on a mirror, in numbers that only grow.

use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

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

#[kunit_tests(hmm_cdm_stats)]
mod tests {
    use super::*;

    #[test]
    fn counters_begin_at_zero_and_add_up() {
        let counter = Counter::new();

        assert_eq!(counter.get(), 0);
        counter.add(0);
        assert_eq!(counter.get(), 0);
        counter.add(3);
        counter.add(1 << 40);
        assert_eq!(counter.get(), (1 << 40) + 3);
    }

    #[test]
    fn a_counter_that_is_full_wraps_around() {
        let counter = Counter::new();

        counter.add(u64::MAX);
        counter.add(2);
        assert_eq!(counter.get(), 1);
    }

    #[test]
    fn each_counts_for_itself() {
        let stats = Stats::new();

        stats.faults.add(1);
        stats.fault_pages.add(2);
        if let Some(last) = stats.skipped.last() {
            last.add(3);
        }
        assert_eq!((stats.faults.get(), stats.fault_pages.get()), (1, 2));
        assert_eq!(stats.fault_retries.get(), 0);
        assert_eq!(stats.skipped.iter().map(Counter::get).sum::<u64>(), 3);
    }
}

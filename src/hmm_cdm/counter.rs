// SPDX-License-Identifier: GPL-2.0

//! Counters of events, for statistics.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A counter of events. It orders nothing.
pub struct Counter(Atomic<u64>);

impl Counter {
    /// Makes a counter at zero.
    pub const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts `n` events. Context: any.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Returns the number of events.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

#[kunit_tests(hmm_cdm_counter)]
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
}

// SPDX-License-Identifier: GPL-2.0

//! The counters of a mirror, which only grow.

pub use crate::counter::Counter;
use kernel::prelude::*;

/// The counters of a mirror, as described with `struct hmm_cdm_stats`. All but `bytes_copied` count
/// pages or events.
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
    pub peers: Counter,
    pub touched: Counter,
    pub evicted: Counter,
}

impl Stats {
    /// Makes counters that are all zero.
    pub fn new() -> Self {
        Self::default()
    }
}

#[kunit_tests(hmm_cdm_stats)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_independent() {
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

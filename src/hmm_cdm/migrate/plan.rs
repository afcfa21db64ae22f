// SPDX-License-Identifier: GPL-2.0

//! What a migration is asked to do, and what it reports.

use crate::{
    mirror::Stats,
    uapi::{
        Skip,
        SKIP_MAX, //
    },
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*, //
};

/// Where pages are moved.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the node, from system memory and from the coherent memory of other nodes.
    Node,
    /// From the node to system memory.
    System,
}

/// Which pages of a range move, and where.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The destination.
    pub target: Target,
    /// Only untouched memory gets pages of the node; existing pages stay where they are.
    pub untouched_only: bool,
    /// If the node is full, its least recently used windows are evicted.
    pub evict: bool,
    /// Pages in the memory of other nodes stay there.
    pub leave_peers: bool,
    /// Pages with elevated references are waited for, some milliseconds in all.
    pub patient: bool,
}

impl Plan {
    /// Moves everything to the node, as far as it has free pages.
    pub fn to_node() -> Self {
        Self {
            target: Target::Node,
            untouched_only: false,
            evict: false,
            leave_peers: false,
            patient: true,
        }
    }

    /// Moves everything from the node to system memory.
    pub fn to_system() -> Self {
        Self {
            target: Target::System,
            ..Self::to_node()
        }
    }
}

/// Result of a migration, in pages: see `struct hmm_cdm_migrate` and `struct hmm_cdm_populate`.
#[derive(Copy, Clone, Default)]
#[expect(missing_docs, reason = "described with struct hmm_cdm_migrate")]
pub struct Report {
    pub migrated: u64,
    pub peers: u64,
    pub populated: u64,
    pub present: u64,
    pub stayed: u64,
    pub huge: u64,
    pub contiguous: u64,
    pub evicted: u64,
    pub skipped: [u64; SKIP_MAX],
}

impl Report {
    /// Counts `pages` that stay.
    pub(super) fn skip(&mut self, why: Skip, pages: usize) {
        if let Some(count) = self.skipped.get_mut(why as usize) {
            *count += pages as u64;
        }
    }

    /// Adds the result of a migration to `target` to the counters of its mirror.
    pub(crate) fn add_to(&self, stats: &Stats, target: Target) {
        match target {
            Target::Node => stats.migrated_in.add(self.migrated),
            Target::System => stats.migrated_out.add(self.migrated),
        }
        stats.peers.add(self.peers);
        stats.bytes_copied.add(bytes(self.migrated));
        stats.populated.add(self.populated);
        stats.huge.add(self.huge);
        stats.evicted.add(self.evicted);
        for (counter, count) in stats.skipped.iter().zip(self.skipped) {
            counter.add(count);
        }
    }
}

fn bytes(pages: u64) -> u64 {
    pages << PAGE_SHIFT
}

#[kunit_tests(hmm_cdm_report)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

    #[test]
    fn copied_bytes_are_those_of_pages() {
        assert_eq!(bytes(0), 0);
        assert_eq!(bytes(3), 3 * PAGE_SIZE as u64);
    }

    #[test]
    fn directions_are_counted_apart() {
        let stats = Stats::new();
        let mut report = Report {
            migrated: 3,
            ..Report::default()
        };

        report.skip(Skip::Raced, 2);
        report.add_to(&stats, Target::Node);
        report.migrated = 5;
        report.add_to(&stats, Target::System);
        assert_eq!((stats.migrated_in.get(), stats.migrated_out.get()), (3, 5));
        assert_eq!(stats.bytes_copied.get(), 8 * PAGE_SIZE as u64);
        let raced = stats.skipped.get(Skip::Raced as usize);
        assert_eq!(raced.map(|counter| counter.get()), Some(4));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The state of a page while its window is worked on.
//!
//! Each step of a migration has a finding for each page: what was collected, where the page is,
//! whether it moved. [`PageState::after`] is the transition table for all of them.

use super::{
    locate::PageLocation,
    plan::{
        Plan,
        Target, //
    },
};
use crate::{
    mm::migrate::{
        Found,
        Outcome, //
    },
    uapi::Skip,
};
use kernel::prelude::*;

/// The counter of the report that a page adds to.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum PageResult {
    /// Its content was copied to the target.
    Migrated,
    /// The same, from the memory of another node.
    FromPeer,
    /// It did not exist, and is a zeroed page of the target now.
    Populated,
    /// It was at the target already.
    Present,
    /// It exists elsewhere, and only untouched memory was asked for.
    Stayed,
    /// It stayed where it was.
    Skipped(Skip),
}

/// The state of a page between two steps.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum PageState {
    /// To be collected with the others, or collected and to be installed.
    Open,
    /// Not collected, for a reason that is not known yet.
    Unlocated,
    /// The shared page of zeros, to be replaced by a page of the node.
    Zero,
    /// In the memory of another node, by its index in the account.
    Peer(u8),
    /// Stays for this reason unless another attempt moves it.
    Retry(Skip),
    /// Final.
    Done(PageResult),
}

/// What a step of a migration finds out about a page.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// `migrate_vma_setup()` refuses the mapping.
    Refused,
    /// What was collected. `anon` matters for a page only.
    Collected { found: Found, anon: bool },
    /// The location of a page that was not collected. For [`PageLocation::Peer`], `peer` is the
    /// index of its node, if one was free.
    Located {
        location: PageLocation,
        peer: Option<u8>,
    },
    /// What became of the destination, and whether the page came from another node.
    Installed { outcome: Outcome, from_peer: bool },
}

impl PageState {
    /// No page was free at the target.
    pub(super) const FULL: Self = Self::Retry(Skip::NoMemory);

    pub(super) const fn skipped(why: Skip) -> Self {
        Self::Done(PageResult::Skipped(why))
    }

    /// Returns the state after `finding`.
    #[inline(always)]
    pub(super) fn after(self, finding: Finding, plan: &Plan) -> Self {
        match (self, finding) {
            (Self::Done(_), _) => self,
            (_, Finding::Refused) => Self::skipped(Skip::NotAnon),
            (_, Finding::Collected { found, anon }) => self.collected(found, anon, plan.target),
            (Self::Unlocated, Finding::Located { location, peer }) => {
                Self::located(location, peer, plan)
            }
            (_, Finding::Located { .. }) => self,
            (_, Finding::Installed { outcome, from_peer }) => Self::installed(outcome, from_peer),
        }
    }

    #[inline(always)]
    fn collected(self, found: Found, anon: bool, target: Target) -> Self {
        match (found, self, target) {
            (Found::None, Self::Open, _) => Self::Unlocated,
            // The page has changed since it was located.
            (Found::None, _, _)
            | (Found::Hole, Self::Peer(_), _)
            | (Found::Page, Self::Zero, _) => Self::Retry(Skip::Raced),
            (Found::KeptHole, _, _) | (Found::Hole, _, Target::System) => {
                Self::skipped(Skip::Absent)
            }
            (Found::Page, Self::Open, Target::Node) if !anon => Self::skipped(Skip::NotAnon),
            (Found::Hole, _, Target::Node) | (Found::Page, _, _) => Self::Open,
        }
    }

    fn located(location: PageLocation, peer: Option<u8>, plan: &Plan) -> Self {
        use PageLocation as At;

        match (location, plan.target) {
            (At::Node(..), Target::Node)
            | (At::System(_) | At::NotAnon | At::Zero, Target::System) => {
                Self::Done(PageResult::Present)
            }
            (At::Node(why, _), Target::System) => Self::Retry(why),
            (At::Zero, Target::Node) => Self::Zero,
            (At::System(_) | At::NotAnon | At::Peer(_) | At::Foreign, Target::Node)
                if plan.untouched_only =>
            {
                Self::Done(PageResult::Stayed)
            }
            (At::System(why), Target::Node) => Self::Retry(why),
            // If no index was free: the next attempt starts with all of them.
            (At::Peer(_), Target::Node) if !plan.leave_peers => {
                peer.map_or(Self::Retry(Skip::Raced), Self::Peer)
            }
            (At::Peer(_) | At::Foreign, _) => Self::skipped(Skip::Elsewhere),
            // Swapped out, or under migration by someone else: hmm_range_fault() reports both
            // alike. Neither is untouched.
            (At::Absent, _) if plan.untouched_only => Self::skipped(Skip::Absent),
            (At::Absent, _) => Self::Retry(Skip::Absent),
            (At::Fixed | At::NotAnon, _) => Self::skipped(Skip::NotAnon),
        }
    }

    #[inline(always)]
    fn installed(outcome: Outcome, from_peer: bool) -> Self {
        match outcome {
            Outcome::Moved if from_peer => Self::Done(PageResult::FromPeer),
            Outcome::Moved => Self::Done(PageResult::Migrated),
            Outcome::Filled => Self::Done(PageResult::Populated),
            Outcome::NotCopied => Self::skipped(Skip::Failed),
            Outcome::RefusedPage => Self::Retry(Skip::Pinned),
            Outcome::RefusedHole => Self::Retry(Skip::Raced),
            Outcome::NoDestination => Self::FULL,
        }
    }

    /// Returns the result of a page that is left in this state.
    pub(super) fn result(self) -> PageResult {
        match self {
            Self::Done(result) => result,
            Self::Retry(why) => PageResult::Skipped(why),
            Self::Open | Self::Unlocated | Self::Zero | Self::Peer(_) => {
                PageResult::Skipped(Skip::Raced)
            }
        }
    }
}

/// Returns whether `plan` moves a page that is at `location`, or may do so once it can be
/// collected.
pub(super) fn is_wanted(location: PageLocation, plan: &Plan) -> bool {
    let peer = None;
    let state = PageState::Unlocated.after(Finding::Located { location, peer }, plan);

    !matches!(state, PageState::Done(_))
}

#[kunit_tests(hmm_cdm_page_state)]
mod tests {
    use super::*;
    use crate::mm::pagemap::Owner;

    fn plans() -> [Plan; 4] {
        [
            Plan::to_node(),
            Plan {
                untouched_only: true,
                ..Plan::to_node()
            },
            Plan {
                leave_peers: true,
                ..Plan::to_node()
            },
            Plan::to_system(),
        ]
    }

    const STATES: [PageState; 6] = [
        PageState::Open,
        PageState::Unlocated,
        PageState::Zero,
        PageState::Peer(1),
        PageState::Retry(Skip::Pinned),
        PageState::FULL,
    ];
    const FOUND: [Found; 4] = [Found::None, Found::Hole, Found::KeptHole, Found::Page];
    const OUTCOMES: [Outcome; 6] = [
        Outcome::Moved,
        Outcome::Filled,
        Outcome::RefusedPage,
        Outcome::RefusedHole,
        Outcome::NoDestination,
        Outcome::NotCopied,
    ];
    const LOCATIONS: [PageLocation; 8] = [
        PageLocation::Absent,
        PageLocation::Fixed,
        PageLocation::Zero,
        PageLocation::System(Skip::Pinned),
        PageLocation::NotAnon,
        PageLocation::Node(Skip::Raced, 0),
        PageLocation::Peer(Owner::NOBODY),
        PageLocation::Foreign,
    ];

    /// All that a step can find out.
    fn findings() -> impl Iterator<Item = Finding> {
        let collected = FOUND.into_iter().flat_map(|found| {
            [true, false]
                .into_iter()
                .map(move |anon| Finding::Collected { found, anon })
        });
        let located = LOCATIONS.into_iter().flat_map(|location| {
            [None, Some(2)]
                .into_iter()
                .map(move |peer| Finding::Located { location, peer })
        });
        let installed = OUTCOMES.into_iter().flat_map(|outcome| {
            [true, false]
                .into_iter()
                .map(move |from_peer| Finding::Installed { outcome, from_peer })
        });

        // By path: everything is an `Init`, which also has a `chain()`.
        let looked = Iterator::chain(collected, located);
        let others = Iterator::chain(installed, [Finding::Refused]);

        Iterator::chain(looked, others)
    }

    #[test]
    fn what_is_done_stays_done() {
        let results = [
            PageResult::Migrated,
            PageResult::FromPeer,
            PageResult::Populated,
            PageResult::Present,
            PageResult::Stayed,
            PageResult::Skipped(Skip::Absent),
        ];

        for plan in plans() {
            for finding in findings() {
                for result in results {
                    let state = PageState::Done(result);

                    assert!(state.after(finding, &plan) == state);
                }
            }
        }
    }

    #[test]
    fn no_page_goes_where_the_plan_does_not_send_it() {
        for plan in plans() {
            for (finding, state) in findings().flat_map(|f| STATES.map(|state| (f, state))) {
                let after = state.after(finding, &plan);
                let new = after != state;

                if plan.target == Target::System {
                    let elsewhere = matches!(after, PageState::Zero | PageState::Peer(_));

                    assert!(!new || !elsewhere);
                    assert!(after != PageState::Done(PageResult::Stayed));
                }
                if plan.leave_peers || plan.untouched_only {
                    assert!(!new || !matches!(after, PageState::Peer(_)));
                }
                // Only a step that moves pages ends with pages that have moved.
                if !matches!(finding, Finding::Installed { .. }) {
                    assert!(!matches!(
                        after,
                        PageState::Done(
                            PageResult::Migrated | PageResult::FromPeer | PageResult::Populated
                        )
                    ));
                }
            }
        }
    }

    #[test]
    fn collecting() {
        const RACED: PageState = PageState::Retry(Skip::Raced);
        const ABSENT: PageState = PageState::skipped(Skip::Absent);
        const NOT_ANON: PageState = PageState::skipped(Skip::NotAnon);
        const OPEN: PageState = PageState::Open;
        const UNLOCATED: PageState = PageState::Unlocated;
        // Found, anonymous: what becomes of an open page, a page of zeros, one of another node.
        let to_node = [
            (Found::None, true, [UNLOCATED, RACED, RACED]),
            (Found::Hole, true, [OPEN, OPEN, RACED]),
            (Found::KeptHole, true, [ABSENT, ABSENT, ABSENT]),
            (Found::Page, true, [OPEN, RACED, OPEN]),
            (Found::Page, false, [NOT_ANON, RACED, OPEN]),
        ];
        let to_system = [
            (Found::None, UNLOCATED),
            (Found::Hole, ABSENT),
            (Found::KeptHole, ABSENT),
            (Found::Page, OPEN),
        ];

        for (found, anon, expected) in to_node {
            let states = [PageState::Open, PageState::Zero, PageState::Peer(0)];

            for (state, expected) in states.into_iter().zip(expected) {
                let finding = Finding::Collected { found, anon };

                assert!(state.after(finding, &Plan::to_node()) == expected);
            }
        }
        for (found, expected) in to_system {
            for anon in [true, false] {
                let finding = Finding::Collected { found, anon };

                assert!(PageState::Open.after(finding, &Plan::to_system()) == expected);
            }
        }
        for state in STATES {
            assert!(state.after(Finding::Refused, &Plan::to_node()) == NOT_ANON);
        }
    }

    #[test]
    fn locating() {
        const PRESENT: PageState = PageState::Done(PageResult::Present);
        const STAYED: PageState = PageState::Done(PageResult::Stayed);
        const NOT_ANON: PageState = PageState::skipped(Skip::NotAnon);
        const ELSEWHERE: PageState = PageState::skipped(Skip::Elsewhere);
        const PINNED: PageState = PageState::Retry(Skip::Pinned);
        const RACED: PageState = PageState::Retry(Skip::Raced);
        const LATER: PageState = PageState::Retry(Skip::Absent);
        const ABSENT: PageState = PageState::skipped(Skip::Absent);
        const ZERO: PageState = PageState::Zero;
        const PEER: PageState = PageState::Peer(2);
        // By location: to the node, untouched memory alone, without peers, to system memory.
        let table = [
            [LATER, ABSENT, LATER, LATER],
            [NOT_ANON, NOT_ANON, NOT_ANON, NOT_ANON],
            [ZERO, ZERO, ZERO, PRESENT],
            [PINNED, STAYED, PINNED, PRESENT],
            [NOT_ANON, STAYED, NOT_ANON, PRESENT],
            [PRESENT, PRESENT, PRESENT, RACED],
            [PEER, STAYED, ELSEWHERE, ELSEWHERE],
            [ELSEWHERE, STAYED, ELSEWHERE, ELSEWHERE],
        ];

        for (location, row) in LOCATIONS.into_iter().zip(table) {
            let peer = Some(2);
            let finding = Finding::Located { location, peer };

            for (plan, expected) in plans().into_iter().zip(row) {
                let unfinished = !matches!(expected, PageState::Done(_));

                assert!(PageState::Unlocated.after(finding, &plan) == expected);
                assert_eq!(is_wanted(location, &plan), unfinished);
                // Other pages are not affected.
                for state in STATES.into_iter().filter(|s| *s != PageState::Unlocated) {
                    assert!(state.after(finding, &plan) == state);
                }
            }
        }
        let (location, peer) = (PageLocation::Peer(Owner::NOBODY), None);
        let finding = Finding::Located { location, peer };
        assert!(PageState::Unlocated.after(finding, &Plan::to_node()) == RACED);
    }

    #[test]
    fn installing() {
        let table = [
            PageState::Done(PageResult::Migrated),
            PageState::Done(PageResult::Populated),
            PageState::Retry(Skip::Pinned),
            PageState::Retry(Skip::Raced),
            PageState::FULL,
            PageState::skipped(Skip::Failed),
        ];

        for plan in plans() {
            for (outcome, expected) in OUTCOMES.into_iter().zip(table) {
                let after = |from_peer| {
                    PageState::Open.after(Finding::Installed { outcome, from_peer }, &plan)
                };
                let from_peer = match expected {
                    PageState::Done(PageResult::Migrated) => PageState::Done(PageResult::FromPeer),
                    expected => expected,
                };

                assert!(after(false) == expected);
                assert!(after(true) == from_peer);
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The account of a migration: the state of each page of the current window, and the sums.

use super::{
    locate::PageLocation,
    plan::{
        Plan,
        Report, //
    },
    state::{
        Finding,
        PageResult,
        PageState, //
    },
};
use crate::{
    mm::pagemap::Owner,
    uapi::Skip, //
};
use core::{
    mem,
    ops::Range, //
};
use kernel::prelude::*;

/// Number of other nodes that pages are moved from in one attempt.
const MAX_PEERS: usize = 4;

/// How many pages one step has left in a state.
#[derive(Default)]
pub(super) struct Updated {
    /// Open: these need destinations.
    pub(super) open: usize,
    /// Migrated, from wherever.
    pub(super) migrated: usize,
    /// Populated.
    pub(super) populated: usize,
}

impl Updated {
    fn add(&mut self, state: PageState, pages: usize) {
        match state {
            PageState::Open => self.open += pages,
            PageState::Done(PageResult::Migrated | PageResult::FromPeer) => self.migrated += pages,
            PageState::Done(PageResult::Populated) => self.populated += pages,
            _ => (),
        }
    }
}

/// The states of the current window's pages, and the sums of all windows before.
pub(super) struct WindowAccount<'a> {
    // As many as a window has pages; the first `len` are in use.
    states: &'a mut [PageState],
    len: usize,
    // How many of them are not `Done`. Those that are have been added to the report.
    unfinished: usize,
    peers: [Option<Owner>; MAX_PEERS],
    plan: Plan,
    pub(super) report: Report,
}

impl<'a> WindowAccount<'a> {
    pub(super) fn new(states: &'a mut [PageState], plan: Plan) -> Self {
        Self {
            states,
            len: 0,
            unfinished: 0,
            peers: [None; MAX_PEERS],
            plan,
            report: Report::default(),
        }
    }

    /// Begins a window, or part of one, of `pages` pages.
    pub(super) fn open(&mut self, pages: usize) {
        self.len = pages.min(self.states.len());
        self.unfinished = self.len;
        if let Some(states) = self.states.get_mut(..self.len) {
            states.fill(PageState::Open);
        }
    }

    /// Ends the window. Pages without a result are reported by their last state.
    pub(super) fn close(&mut self) {
        if self.unfinished > 0 {
            for state in self.states.get(..self.len).unwrap_or_default() {
                if !matches!(state, PageState::Done(_)) {
                    count(&mut self.report, state.result(), 1);
                }
            }
        }
        self.len = 0;
        self.unfinished = 0;
    }

    /// Returns whether every page has its result.
    pub(super) fn is_done(&self) -> bool {
        self.unfinished == 0
    }

    pub(super) fn states(&self) -> &[PageState] {
        self.states.get(..self.len).unwrap_or_default()
    }

    pub(super) fn is(&self, i: usize, state: PageState) -> bool {
        self.states().get(i) == Some(&state)
    }

    /// Returns the number of pages in `state`.
    pub(super) fn count(&self, state: PageState) -> usize {
        self.states()
            .iter()
            .filter(|known| **known == state)
            .count()
    }

    /// Applies the finding `find(i)` to each page of `pages` that is in `state`; `i` counts from
    /// the start of `pages`. Pages in a row with the same finding are one transition.
    #[inline(always)]
    pub(super) fn update(
        &mut self,
        pages: Range<usize>,
        state: PageState,
        find: impl Fn(usize) -> Finding,
    ) -> Updated {
        let mut updated = Updated::default();
        let used = pages.start..pages.end.min(self.len);
        let mut states = self.states.get_mut(used).unwrap_or_default();
        let mut i = 0;

        // In runs, as most windows are one.
        while let Some((first, rest)) = mem::take(&mut states).split_first_mut() {
            let mut run = 1;

            if *first == state {
                let finding = find(i);
                let next = state.after(finding, &self.plan);

                *first = next;
                for known in rest.iter_mut() {
                    if *known != state || find(i + run) != finding {
                        break;
                    }
                    *known = next;
                    run += 1;
                }
                updated.add(next, run);
                if let PageState::Done(result) = next {
                    self.unfinished -= run;
                    count(&mut self.report, result, run);
                }
            }
            // A page in another state is skipped.
            states = rest.get_mut(run - 1..).unwrap_or_default();
            i += run;
        }
        updated
    }

    /// Records the location of page `i`, if it is in [`PageState::Unlocated`].
    pub(super) fn located(&mut self, i: usize, location: PageLocation) {
        let peer = match location {
            PageLocation::Peer(owner) => self.peer_index(owner),
            _ => None,
        };

        self.update(i..i + 1, PageState::Unlocated, |_| Finding::Located {
            location,
            peer,
        });
    }

    /// Frees the indices of other nodes. No page may be in [`PageState::Peer`].
    pub(super) fn clear_peers(&mut self) {
        self.peers = [None; MAX_PEERS];
    }

    /// Returns the owner of the node that [`PageState::Peer`] has as `index`.
    pub(super) fn peer(&self, index: u8) -> Owner {
        let peer = self.peers.get(usize::from(index)).copied();

        peer.flatten().unwrap_or(Owner::NOBODY)
    }

    fn peer_index(&mut self, owner: Owner) -> Option<u8> {
        let known = |peer: &Option<Owner>| peer.is_none_or(|known| known == owner);
        let index = self.peers.iter().position(known)?;

        *self.peers.get_mut(index)? = Some(owner);
        u8::try_from(index).ok()
    }

    /// Opens the pages that stayed for a reason that `again` accepts. Returns their number.
    pub(super) fn retry(&mut self, again: impl Fn(Skip) -> bool) -> usize {
        let mut count = 0;

        for state in self.states.iter_mut().take(self.len) {
            if matches!(*state, PageState::Retry(why) if again(why)) {
                *state = PageState::Open;
                count += 1;
            }
        }
        count
    }
}

/// Adds `pages` with this result to `report`.
fn count(report: &mut Report, result: PageResult, pages: usize) {
    match result {
        PageResult::Migrated => report.migrated += pages as u64,
        PageResult::FromPeer => {
            report.migrated += pages as u64;
            report.peers += pages as u64;
        }
        PageResult::Populated => report.populated += pages as u64,
        PageResult::Present => report.present += pages as u64,
        PageResult::Stayed => report.stayed += pages as u64,
        PageResult::Skipped(why) => report.skip(why, pages),
    }
}

#[kunit_tests(hmm_cdm_account)]
mod tests {
    use super::*;
    use crate::mm::migrate::{
        Found,
        Outcome, //
    };

    const PAGES: usize = 4;

    fn account(states: &mut [PageState; PAGES]) -> WindowAccount<'_> {
        let mut account = WindowAccount::new(states, Plan::to_node());

        account.open(PAGES);
        account
    }

    /// An account whose pages could not be collected.
    fn unlocated(states: &mut [PageState; PAGES], plan: Plan) -> WindowAccount<'_> {
        let mut account = WindowAccount::new(states, plan);

        account.open(PAGES);
        account.states.fill(PageState::Unlocated);
        account
    }

    /// How often a reason was counted, and how many pages were skipped in all.
    fn skipped(account: &WindowAccount<'_>, why: Skip) -> (u64, u64) {
        let skipped = &account.report.skipped;

        (
            skipped.get(why as usize).copied().unwrap_or(0),
            skipped.iter().sum(),
        )
    }

    #[test]
    fn an_update_is_of_its_pages_and_state() {
        let mut states = [PageState::Open; PAGES];
        let mut account = account(&mut states);
        let moved = |i| Finding::Installed {
            outcome: if i == 0 {
                Outcome::Moved
            } else {
                Outcome::Filled
            },
            from_peer: false,
        };

        account.open(3);
        let updated = account.update(0..PAGES, PageState::Zero, moved);
        assert_eq!((updated.migrated, updated.populated), (0, 0));
        // The first of the range has index 0, and there is no fourth page.
        let updated = account.update(1..PAGES, PageState::Open, moved);
        assert_eq!((updated.migrated, updated.populated), (1, 1));
        assert!(account.is(0, PageState::Open) && !account.is_done());
        let updated = account.update(0..1, PageState::Open, |_| Finding::Collected {
            found: Found::Page,
            anon: true,
        });
        assert_eq!((updated.open, updated.migrated), (1, 0));
        account.update(0..1, PageState::Open, |_| Finding::Refused);
        assert!(account.is_done());
        account.close();
        assert_eq!((account.report.migrated, account.report.populated), (1, 1));
        assert_eq!(skipped(&account, Skip::NotAnon), (1, 1));
    }

    #[test]
    fn a_page_is_counted_once() {
        let mut states = [PageState::Open; PAGES];
        let mut account = unlocated(&mut states, Plan::to_node());

        account.located(0, PageLocation::Fixed);
        account.located(0, PageLocation::Absent);
        account.located(0, PageLocation::Node(Skip::Raced, 0));
        account.located(1, PageLocation::Node(Skip::Raced, 0));
        account.located(1, PageLocation::Fixed);
        assert!(account.is(0, PageState::skipped(Skip::NotAnon)));
        assert!(account.is(1, PageState::Done(PageResult::Present)));
        // There is no such page.
        account.located(PAGES, PageLocation::Fixed);
        account.close();
        // Two pages have never been located.
        assert_eq!(skipped(&account, Skip::NotAnon), (1, 3));
        assert_eq!(account.report.present, 1);
        account.open(2);
        account.states.fill(PageState::Unlocated);
        account.located(0, PageLocation::Fixed);
        account.located(1, PageLocation::Node(Skip::Raced, 0));
        account.located(2, PageLocation::Fixed);
        account.close();
        assert_eq!(skipped(&account, Skip::NotAnon), (2, 4));
        assert_eq!(account.report.present, 2);
    }

    #[test]
    fn pages_that_may_be_released_are_tried_again() {
        let mut states = [PageState::Open; PAGES];
        let mut account = unlocated(&mut states, Plan::to_node());
        let any = |_| true;

        account.located(0, PageLocation::System(Skip::Pinned));
        account.located(1, PageLocation::System(Skip::Raced));
        account.located(2, PageLocation::Foreign);
        // It may be under migration.
        account.located(3, PageLocation::Absent);
        assert!(account.is(2, PageState::skipped(Skip::Elsewhere)));
        assert_eq!(account.retry(any), 3);
        assert!(account.is(0, PageState::Open) && account.is(1, PageState::Open));
        assert!(account.is(2, PageState::skipped(Skip::Elsewhere)));
        assert!(account.is(3, PageState::Open));
        assert_eq!(account.retry(any), 0);
        for state in account.states.iter_mut().skip(3) {
            *state = PageState::Unlocated;
        }
        account.located(3, PageLocation::Absent);
        account.close();
        assert_eq!(skipped(&account, Skip::Elsewhere), (1, 4));
        assert_eq!(skipped(&account, Skip::Absent), (1, 4));
        assert_eq!(skipped(&account, Skip::Raced), (2, 4));
    }

    #[test]
    fn every_page_of_a_window_is_accounted_for() {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.open(3);
        assert_eq!((account.states().len(), account.unfinished), (3, 3));
        assert!(account.is(2, PageState::Open) && !account.is(3, PageState::Open));
        for state in account.states.iter_mut().take(2) {
            *state = PageState::Unlocated;
        }
        account.located(0, PageLocation::System(Skip::Pinned));
        // One pinned, one never located, one left open.
        account.close();
        assert_eq!(skipped(&account, Skip::Pinned), (1, 3));
        assert_eq!(skipped(&account, Skip::Raced), (2, 3));
        // Closed is closed.
        assert!(account.is_done());
        account.close();
        assert_eq!(skipped(&account, Skip::Raced), (2, 3));
    }

    #[test]
    fn what_exists_stays_if_only_the_untouched_is_wanted() {
        let mut states = [PageState::Open; PAGES];
        let plan = Plan {
            untouched_only: true,
            ..Plan::to_node()
        };
        let mut account = unlocated(&mut states, plan);

        account.located(0, PageLocation::System(Skip::Pinned));
        account.located(1, PageLocation::Foreign);
        account.located(2, PageLocation::Peer(Owner::NOBODY));
        account.located(3, PageLocation::Zero);
        assert!(account.is(3, PageState::Zero));
        account.close();
        assert_eq!(account.report.stayed, 3);
        assert_eq!(skipped(&account, Skip::Elsewhere), (0, 1));
    }

    #[test]
    fn other_nodes_are_taken_from_but_not_emptied() {
        let mut states = [PageState::Open; PAGES];
        let mut account = unlocated(&mut states, Plan::to_node());

        account.located(0, PageLocation::Peer(Owner::NOBODY));
        account.located(1, PageLocation::Peer(Owner::NOBODY));
        assert!(account.is(0, PageState::Peer(0)) && account.is(1, PageState::Peer(0)));
        account.peers = [Some(Owner::NOBODY); MAX_PEERS];
        account.clear_peers();
        assert!(account.peers == [None; MAX_PEERS]);

        let mut states = [PageState::Open; PAGES];
        let mut account = unlocated(&mut states, Plan::to_system());
        account.located(1, PageLocation::Peer(Owner::NOBODY));
        account.located(2, PageLocation::Zero);
        account.located(3, PageLocation::System(Skip::Raced));
        account.close();
        assert_eq!(skipped(&account, Skip::Elsewhere), (1, 2));
        assert_eq!(account.report.present, 2);
    }

    #[test]
    fn a_full_node_is_reported_if_nothing_helps() {
        let mut states = [PageState::Open; PAGES];
        let mut account = account(&mut states);

        account.states.fill(PageState::FULL);
        assert_eq!(account.count(PageState::FULL), PAGES);
        assert_eq!(account.retry(|why| why != Skip::NoMemory), 0);
        assert_eq!(account.retry(|why| why == Skip::NoMemory), PAGES);
        account.states.fill(PageState::FULL);
        account.close();
        assert_eq!(
            skipped(&account, Skip::NoMemory),
            (PAGES as u64, PAGES as u64)
        );
    }
}

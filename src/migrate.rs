// SPDX-License-Identifier: GPL-2.0

//! Moving ranges of an address space to a node and back, window by window.
//!
//! A page that does not move is no error: it is counted by its reason, and stays usable by both
//! sides. What could not even be collected is looked at again afterwards, to say why; and what
//! someone else held at that moment is tried again, since most holders let go soon (a CPU's batch
//! of pages on their way to the LRU list, a page lock, a look by another migration).
//!
//! Context: process; sleeps. The mmap lock is taken for reading, for one window at a time. Device
//! page tables need no care here: collecting a page invalidates it in every mirror.

mod evict;
pub(crate) mod explain;

pub(crate) use evict::evict_all;

use crate::{
    mm::{
        self,
        copy::Direction,
        folio::NewPage,
        migrate::{Buffers, Collected, From, Installed, Outcome, Request, Source},
        pagemap::Kind,
        vma::{Mapping, Mappings},
        Span,
    },
    node::Node,
    os::cond_resched,
    uapi::{Skip, SKIP_MAX},
};
use explain::Explainer;
use kernel::{
    alloc::KVVec,
    mm::MmWithUser,
    page::PAGE_SHIFT,
    prelude::*,
    time::{delay::fsleep, Delta},
};

/// Where pages are moved.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the node.
    Node,
    /// From the node to system memory.
    System,
}

/// What a migration did, in pages: see `struct hmm_cdm_migrate`.
#[derive(Default)]
#[expect(missing_docs, reason = "described with struct hmm_cdm_migrate")]
pub struct Report {
    pub migrated: u64,
    pub populated: u64,
    pub present: u64,
    pub huge: u64,
    pub skipped: [u64; SKIP_MAX],
}

impl Report {
    fn skip(&mut self, why: Skip, pages: usize) {
        if let Some(count) = self.skipped.get_mut(why as usize) {
            *count += pages as u64;
        }
    }
}

/// How long a page that someone holds is given between two attempts, in milliseconds. Most holders
/// let go at once; khugepaged has a whole window isolated while it copies it, and whoever was
/// scheduled away takes as long as that lasts.
const WAITS_MS: [i64; 4] = [0, 1, 4, 16];
/// How long a migration waits for such pages in all: what is pinned is not let go soon.
const PATIENCE_MS: i64 = 64;

/// What is known of each page of a window while it is worked on.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Fate {
    /// To be moved.
    Open,
    /// Counted.
    Counted,
    /// It could not be collected; [`Explainer`] finds out why.
    Unexplained,
    /// It stayed for a reason that may pass.
    Held(Skip),
}

/// The account of a migration: the fates of the window at hand, and the sums.
struct Tally {
    fates: KVVec<Fate>,
    report: Report,
}

impl Tally {
    fn is(&self, i: usize, fate: Fate) -> bool {
        self.fates.get(i) == Some(&fate)
    }

    /// Notes why page `i` could not be collected; `None` if it is at the target already.
    fn explained(&mut self, i: usize, why: Option<Skip>) {
        let Some(fate) = self.fates.get_mut(i) else {
            return;
        };
        if *fate != Fate::Unexplained {
            return;
        }
        *fate = match why {
            Some(why @ (Skip::Pinned | Skip::Raced)) => Fate::Held(why),
            Some(why) => {
                self.report.skip(why, 1);
                Fate::Counted
            }
            None => {
                self.report.present += 1;
                Fate::Counted
            }
        };
    }

    /// Opens the pages that are held for another attempt, and says whether there are any.
    fn reopen(&mut self) -> bool {
        let mut any = false;

        for fate in self.fates.iter_mut() {
            if let Fate::Held(_) = fate {
                *fate = Fate::Open;
                any = true;
            }
        }
        any
    }

    /// Ends the account of a window: what nothing is known of has changed too fast.
    fn close(&mut self) {
        for fate in self.fates.iter_mut() {
            match fate {
                Fate::Counted => (),
                Fate::Held(why) => self.report.skip(*why, 1),
                Fate::Open | Fate::Unexplained => self.report.skip(Skip::Raced, 1),
            }
            *fate = Fate::Counted;
        }
    }

    /// Begins to account for a window, or part of one, of `pages` pages.
    fn open(&mut self, pages: usize) {
        for (i, fate) in self.fates.iter_mut().enumerate() {
            *fate = if i < pages { Fate::Open } else { Fate::Counted };
        }
    }

    /// Counts `pages` pages of the window at once, all for the same reason.
    fn skip_all(&mut self, why: Skip, pages: usize) {
        self.fates.fill(Fate::Counted);
        self.report.skip(why, pages);
    }

    /// Notes what was collected, page by page, and returns how many destinations are wanted.
    fn sort(&mut self, pages: &Collected<'_>, target: Target) -> usize {
        let mut wanted = 0;

        for (i, fate) in self.fates.iter_mut().enumerate().take(pages.len()) {
            if *fate != Fate::Open {
                continue;
            }
            let skip = match (pages.source(i), target) {
                (Source::None, _) => {
                    *fate = Fate::Unexplained;
                    continue;
                }
                (Source::Page { anon: false, .. }, _) => Skip::NotAnon,
                (Source::Hole, Target::System) => Skip::Absent,
                (Source::Hole | Source::Page { .. }, _) => {
                    wanted += 1;
                    continue;
                }
            };
            self.report.skip(skip, 1);
            *fate = Fate::Counted;
        }
        wanted
    }

    /// Counts what became of the pages that had destinations, and maps everything. Returns how many
    /// moved.
    fn settle(&mut self, done: Installed<'_>) -> usize {
        let mut moved = 0;

        for (i, fate) in self.fates.iter_mut().enumerate() {
            if *fate != Fate::Open {
                continue;
            }
            *fate = Fate::Counted;
            match done.outcome(i) {
                Outcome::Moved => moved += 1,
                Outcome::Filled => self.report.populated += 1,
                Outcome::RefusedHole => *fate = Fate::Held(Skip::Raced),
                Outcome::RefusedPage => *fate = Fate::Held(Skip::Pinned),
                Outcome::Untouched => self.report.skip(Skip::NoMemory, 1),
                Outcome::NotCopied => self.report.skip(Skip::Failed, 1),
            }
        }
        self.report.migrated += moved as u64;
        moved
    }

    /// The same for a window whose pages were one huge page or hole, and had one destination.
    fn settle_huge(&mut self, done: Installed<'_>, pages: usize) {
        let outcome = done.outcome(0);
        let fate = match outcome {
            Outcome::RefusedHole => Fate::Held(Skip::Raced),
            Outcome::RefusedPage => Fate::Held(Skip::Pinned),
            _ => Fate::Counted,
        };

        for known in self.fates.iter_mut() {
            if *known == Fate::Open {
                *known = fate;
            }
        }
        match outcome {
            Outcome::Moved => {
                self.report.migrated += pages as u64;
                self.report.huge += 1;
            }
            Outcome::Filled => self.report.populated += pages as u64,
            Outcome::NotCopied => self.report.skip(Skip::Failed, pages),
            Outcome::Untouched => self.report.skip(Skip::NoMemory, pages),
            Outcome::RefusedHole | Outcome::RefusedPage => (),
        }
    }
}

/// The first part of a range that is mapped.
enum Part {
    /// Nothing is.
    None,
    /// Up to the end of a mapping of which nothing can be moved; it has been counted.
    Fixed(Span),
    /// Up to the end of a window or of a mapping.
    Movable(Span),
}

/// A migration of a range of one address space.
pub struct Migration<'a> {
    mm: &'a MmWithUser,
    node: &'a Node,
    target: Target,
    bufs: Buffers,
    tally: Tally,
    explainer: Explainer<'a>,
    // What is left of `PATIENCE_MS`.
    patience: i64,
}

impl<'a> Migration<'a> {
    /// Prepares to move pages of `mm`. All memory that bookkeeping needs is allocated here: ENOMEM.
    pub fn new(mm: &'a MmWithUser, node: &'a Node, target: Target) -> Result<Self> {
        let pages = mm::window_pages();

        Ok(Self {
            mm,
            node,
            target,
            bufs: Buffers::new(pages)?,
            tally: Tally {
                fates: KVVec::from_elem(Fate::Open, pages, GFP_KERNEL)?,
                report: Report::default(),
            },
            explainer: Explainer::new(mm, node)?,
            patience: PATIENCE_MS,
        })
    }

    /// What was done so far.
    pub fn report(&self) -> &Report {
        &self.tally.report
    }

    /// Moves what can be moved of `span`. What was done is in the report, whatever is returned:
    ///
    /// * ENOMEM: part of the span is not mapped, the rest was handled; or no memory
    /// * EINTR: `interrupted` returned true between two windows
    /// * ENODEV: the node is going
    pub fn run(&mut self, span: Span, interrupted: impl Fn() -> bool) -> Result {
        let mut addr = span.start();
        let mut gap = false;

        while let Some(rest) = Span::new(addr, span.end()) {
            if interrupted() {
                return Err(EINTR);
            }
            if self.node.is_closed() {
                return Err(ENODEV);
            }
            cond_resched();

            let (part, movable) = match self.first_part(rest)? {
                Part::None => {
                    gap = true;
                    break;
                }
                Part::Fixed(part) => (part, false),
                Part::Movable(part) => (part, true),
            };
            gap |= part.start() > addr;
            addr = part.end();
            if movable {
                self.window(part)?;
            }
        }
        if gap {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }

    /// The first part of `rest` that is mapped.
    fn first_part(&mut self, rest: Span) -> Result<Part> {
        let mappings = Mappings::lock(self.mm);
        let Some(mapping) = mappings.next(rest.start()) else {
            return Ok(Part::None);
        };
        let Some(mapped) = mapping.span().and_then(|span| span.intersect(rest)) else {
            return Ok(Part::None);
        };

        if !mapping.is_movable() {
            self.tally.skip_all(Skip::NotAnon, mapped.pages());
            return Ok(Part::Fixed(mapped));
        }
        let window = mm::window_size();
        let end = (mapped.start() & !(window - 1)).saturating_add(window);
        let part = Span::new(mapped.start(), end.min(mapped.end())).ok_or(EINVAL)?;

        self.tally.open(part.pages());
        Ok(Part::Movable(part))
    }

    /// Moves the pages of `part` that are open, if it still is what it was, and tries again with
    /// those that someone held.
    fn window(&mut self, part: Span) -> Result {
        let mut waits = WAITS_MS.into_iter();

        loop {
            {
                let mappings = Mappings::lock(self.mm);
                let mapping = mappings
                    .next(part.start())
                    .filter(|mapping| mapping.contains(part) && mapping.is_movable());

                match (mapping, self.target) {
                    // It was unmapped or split meanwhile.
                    (None, _) => break,
                    (Some(mapping), Target::System) => self.move_out(&mapping, part),
                    (Some(mapping), Target::Node) => self.move_in(&mapping, part),
                }
            }
            self.explain(part)?;
            let Some(wait) = waits.next().filter(|wait| *wait <= self.patience) else {
                break;
            };
            if !self.tally.reopen() {
                break;
            }
            self.patience -= wait;
            if wait > 0 {
                fsleep(Delta::from_millis(wait));
            }
        }
        self.tally.close();
        Ok(())
    }

    /// How pages are asked for.
    fn request(&self, whole: bool) -> Request<'static> {
        Request {
            from: match self.target {
                Target::Node => From::System,
                Target::System => From::Device(self.node.kind()),
            },
            owner: self.node.owner(),
            whole,
            fault: None,
        }
    }

    /// Whether `part` may be a huge page of private memory, or become one. Those move in one piece.
    fn may_be_huge(&self, part: Span) -> bool {
        self.node.kind() == Kind::Private
            && mm::huge_pages_move()
            && Span::window(part.start()) == Some(part)
            && self.tally.fates.iter().all(|fate| *fate == Fate::Open)
    }

    /// Moves `part` in one piece. False if it is none, or there is no destination for one: then it
    /// is where it was, and moves in parts.
    fn move_huge(&mut self, mapping: &Mapping<'_>, part: Span) -> bool {
        let request = self.request(true);
        let Ok(mut pages) = Collected::vma(mapping, part, &mut self.bufs, request) else {
            return false;
        };
        let (destination, direction) = match (self.target, pages.source(0)) {
            _ if !pages.is_huge(0) => return false,
            (Target::Node, Source::Hole) if !mapping.takes_huge_pages() => return false,
            (Target::Node, Source::Page { anon: true, .. } | Source::Hole) => {
                (self.node.alloc_huge(), Direction::In)
            }
            (Target::System, Source::Page { .. }) => (NewPage::system_huge(), Direction::Out),
            _ => return false,
        };
        let Some(page) = destination else {
            return false;
        };

        pages.set_destination(0, page);
        self.tally
            .settle_huge(pages.install(self.node.mover(direction)), part.pages());
        true
    }

    /// Moves `part` to the node.
    fn move_in(&mut self, mapping: &Mapping<'_>, part: Span) {
        if self.may_be_huge(part) && self.move_huge(mapping, part) {
            return;
        }

        let request = self.request(false);
        let (node, tally) = (self.node, &mut self.tally);
        let Ok(mut pages) = Collected::vma(mapping, part, &mut self.bufs, request) else {
            // The kernel takes no page of such a mapping (DAX).
            return tally.skip_all(Skip::NotAnon, part.pages());
        };

        let wanted = tally.sort(&pages, Target::Node);
        let whole = wanted == mm::window_pages();
        let huge = whole && was_huge(&pages);
        let mut next = 0;
        let contiguous = whole
            && node.alloc_window(|page| {
                pages.set_destination(next, page);
                next += 1;
            });
        if !contiguous {
            // In order of address, so that what is contiguous in the node is so here too.
            let mut open = (0..part.pages()).filter(|i| tally.is(*i, Fate::Open));

            node.alloc(wanted, |page| {
                if let Some(i) = open.next() {
                    pages.set_destination(i, page);
                }
            });
        }

        let moved = tally.settle(pages.install(node.mover(Direction::In)));
        if huge && contiguous && moved == part.pages() {
            tally.report.huge += 1;
        }
    }

    /// Moves the node's pages in `part` to system memory.
    fn move_out(&mut self, mapping: &Mapping<'_>, part: Span) {
        if self.may_be_huge(part) && self.move_huge(mapping, part) {
            return;
        }

        let request = self.request(false);
        let (node, tally) = (self.node, &mut self.tally);
        let Ok(mut pages) = Collected::vma(mapping, part, &mut self.bufs, request) else {
            return tally.skip_all(Skip::NotAnon, part.pages());
        };

        tally.sort(&pages, Target::System);
        for i in 0..pages.len() {
            if !tally.is(i, Fate::Open) {
                continue;
            }
            let Some(page) = NewPage::system() else { break };
            pages.set_destination(i, page);
        }
        tally.settle(pages.install(node.mover(Direction::Out)));
    }

    /// Finds out about the pages of `part` that could not be collected.
    fn explain(&mut self, part: Span) -> Result {
        let tally = &mut self.tally;
        if !tally.fates.contains(&Fate::Unexplained) {
            return Ok(());
        }

        self.explainer
            .explain(part, self.target, |i, why| tally.explained(i, why))
    }
}

/// Whether the pages of a window were one huge page, which has been split to collect them: their
/// frames are contiguous, and aligned as those of a huge page are.
fn was_huge(pages: &Collected<'_>) -> bool {
    let Source::Page { pfn: first, .. } = pages.source(0) else {
        return false;
    };

    first.raw() % pages.len().next_power_of_two() == 0
        && (1..pages.len()).all(|i| match pages.source(i) {
            Source::Page { pfn, .. } => pfn.raw() == first.raw() + i,
            _ => false,
        })
}

/// How many bytes moving `pages` pages copies.
pub(crate) fn bytes(pages: u64) -> u64 {
    pages << PAGE_SHIFT
}

#[kunit_tests(hmm_cdm_tally)]
mod tests {
    use super::*;

    const PAGES: usize = 4;

    fn tally() -> Result<Tally> {
        Ok(Tally {
            fates: KVVec::from_elem(Fate::Unexplained, PAGES, GFP_KERNEL)?,
            report: Report::default(),
        })
    }

    /// How often each reason was counted, and how many pages in all.
    fn skipped(tally: &Tally, why: Skip) -> (u64, u64) {
        let skipped = &tally.report.skipped;

        (
            skipped.get(why as usize).copied().unwrap_or(0),
            skipped.iter().sum(),
        )
    }

    #[test]
    fn a_page_is_counted_once() -> Result {
        let mut tally = tally()?;

        tally.explained(0, Some(Skip::NotAnon));
        tally.explained(0, Some(Skip::Absent));
        tally.explained(0, None);
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        assert_eq!(tally.report.present, 0);
        tally.explained(1, None);
        tally.explained(1, Some(Skip::NotAnon));
        assert_eq!(tally.report.present, 1);
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        // There is no such page.
        tally.explained(PAGES, Some(Skip::NotAnon));
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        Ok(())
    }

    #[test]
    fn pages_that_are_held_are_tried_again() -> Result {
        let mut tally = tally()?;

        tally.explained(0, Some(Skip::Pinned));
        tally.explained(1, Some(Skip::Raced));
        tally.explained(2, Some(Skip::Elsewhere));
        assert_eq!(skipped(&tally, Skip::Elsewhere), (1, 1));
        assert!(tally.reopen());
        assert!(tally.is(0, Fate::Open) && tally.is(1, Fate::Open));
        assert!(tally.is(2, Fate::Counted) && tally.is(3, Fate::Unexplained));
        // Nothing is held any more.
        assert!(!tally.reopen());
        Ok(())
    }

    #[test]
    fn every_page_of_a_window_is_accounted_for() -> Result {
        let mut tally = tally()?;

        tally.open(3);
        assert!(tally.is(2, Fate::Open) && tally.is(3, Fate::Counted));
        assert!(!tally.is(PAGES, Fate::Open));
        for fate in tally.fates.iter_mut().take(2) {
            *fate = Fate::Unexplained;
        }
        tally.explained(0, Some(Skip::Pinned));
        // One held, one never explained, one left open.
        tally.close();
        assert_eq!(skipped(&tally, Skip::Pinned), (1, 3));
        assert_eq!(skipped(&tally, Skip::Raced), (2, 3));
        // Closed is closed.
        tally.close();
        assert_eq!(skipped(&tally, Skip::Raced), (2, 3));
        Ok(())
    }

    #[test]
    fn a_window_may_be_counted_at_once() -> Result {
        let mut tally = tally()?;

        tally.skip_all(Skip::NotAnon, 1000);
        assert_eq!(skipped(&tally, Skip::NotAnon), (1000, 1000));
        assert!((0..PAGES).all(|i| tally.is(i, Fate::Counted)));
        tally.close();
        assert_eq!(skipped(&tally, Skip::NotAnon), (1000, 1000));
        Ok(())
    }

    #[test]
    fn copied_bytes_are_those_of_pages() {
        assert_eq!(bytes(0), 0);
        assert_eq!(bytes(3), 3 * kernel::page::PAGE_SIZE as u64);
    }
}

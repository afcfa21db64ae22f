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
pub(crate) mod locate;
pub(crate) mod reclaim;

pub(crate) use evict::evict_all;

use crate::{
    mm::{
        self,
        copy::{Direction, Mover},
        folio::NewPage,
        migrate::{Buffers, Collected, Found, Installed, Outcome, Request, Select, Source},
        pagemap::{Kind, Owner},
        range::Walker,
        vma::{Mapping, Mappings},
        Span,
    },
    node::Node,
    os::cond_resched,
    uapi::{Skip, SKIP_MAX},
};
use evict::{evict_for, EvictGoal};
use kernel::{
    alloc::KVVec,
    mm::MmWithUser,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    time::{delay::fsleep, Delta},
};
use locate::{locate, PageLocation};

/// Where pages are moved.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the node, from system memory and from the coherent memory of other nodes.
    Node,
    /// From the node to system memory.
    System,
}

/// What is to be done with the pages of a range.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where they go.
    pub target: Target,
    /// Only what nobody has touched gets memory of the node; what exists stays where it is.
    pub untouched_only: bool,
    /// EvictGoal is made on a full node.
    pub evict: bool,
    /// What is in the memory of other nodes is left there.
    pub leave_peers: bool,
    /// Pages that someone holds are waited for, for some milliseconds.
    pub patient: bool,
}

impl Plan {
    /// Everything to the node, as far as it has room.
    pub fn to_node() -> Self {
        Self {
            target: Target::Node,
            untouched_only: false,
            evict: false,
            leave_peers: false,
            patient: true,
        }
    }

    /// Everything from the node to system memory.
    pub fn to_system() -> Self {
        Self {
            target: Target::System,
            ..Self::to_node()
        }
    }
}

/// What a migration did, in pages: see `struct hmm_cdm_migrate` and `struct hmm_cdm_populate`.
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
/// How often room is made for one window: what was made may have gone to others.
const ROOM_ATTEMPTS: u32 = 4;

/// Of how many other nodes pages are moved in one attempt.
const PEERS: usize = 4;

/// What is known of each page of a window while it is worked on.
#[derive(Copy, Clone, PartialEq, Eq)]
enum PageState {
    /// To be moved.
    Open,
    /// Counted.
    Counted,
    /// It could not be collected; [`locate`] finds out why.
    Unlocated,
    /// It stayed for a reason that may pass.
    Held(Skip),
    /// There was no room for it.
    Full,
    /// It is the page of zeros, and is to become one of the node's.
    Zero,
    /// It is in the memory of another node: its number in [`WindowAccount::peers`].
    Peer(u8),
}

/// The account of a migration: the states of the window at hand, and the sums.
struct WindowAccount<'a> {
    // EvictGoal for a window; the first `len` are in use.
    states: &'a mut [PageState],
    len: usize,
    // How many are not `Counted` yet.
    left: usize,
    peers: [Option<Owner>; PEERS],
    report: Report,
    plan: Plan,
}

impl WindowAccount<'_> {
    fn states(&self) -> &[PageState] {
        self.states.get(..self.len).unwrap_or_default()
    }

    /// The pages from `first` on.
    fn states_mut(&mut self, first: usize) -> impl Iterator<Item = &mut PageState> {
        let used = self.states.get_mut(first..self.len);

        used.unwrap_or_default().iter_mut()
    }

    fn is(&self, i: usize, state: PageState) -> bool {
        self.states().get(i) == Some(&state)
    }

    fn any(&self, is: impl Fn(&PageState) -> bool) -> bool {
        self.left > 0 && self.states().iter().any(is)
    }

    /// Notes where page `i` stands that could not be collected.
    fn located(&mut self, i: usize, standing: PageLocation) {
        let Some(state) = self.states.get_mut(i).filter(|_| i < self.len) else {
            return;
        };
        if *state != PageState::Unlocated {
            return;
        }
        let report = &mut self.report;
        let stays = self.plan.untouched_only;

        *state = match (standing, self.plan.target) {
            (PageLocation::Node(..), Target::Node)
            | (
                PageLocation::System(_) | PageLocation::NotAnon | PageLocation::Zero,
                Target::System,
            ) => {
                report.present += 1;
                PageState::Counted
            }
            (PageLocation::Zero, Target::Node) => PageState::Zero,
            (
                PageLocation::System(_)
                | PageLocation::NotAnon
                | PageLocation::Peer(_)
                | PageLocation::Foreign,
                Target::Node,
            ) if stays => {
                report.stayed += 1;
                PageState::Counted
            }
            (PageLocation::Peer(owner), Target::Node) if !self.plan.leave_peers => {
                let known = |peer: &Option<Owner>| peer.is_none_or(|known| known == owner);

                match self.peers.iter().position(known) {
                    Some(number) => {
                        if let Some(peer) = self.peers.get_mut(number) {
                            *peer = Some(owner);
                        }
                        PageState::Peer(number as u8)
                    }
                    // The next attempt has room again.
                    None => PageState::Held(Skip::Raced),
                }
            }
            (PageLocation::System(why), Target::Node)
            | (PageLocation::Node(why, _), Target::System) => PageState::Held(why),
            // hmm_range_fault() tells no difference between what is swapped out and what another
            // migration has at the moment. Neither is untouched.
            (PageLocation::Absent, _) if !stays => PageState::Held(Skip::Absent),
            (PageLocation::Absent, _) => {
                report.skip(Skip::Absent, 1);
                PageState::Counted
            }
            (PageLocation::Fixed | PageLocation::NotAnon, _) => {
                report.skip(Skip::NotAnon, 1);
                PageState::Counted
            }
            (PageLocation::Peer(_) | PageLocation::Foreign, _) => {
                report.skip(Skip::Elsewhere, 1);
                PageState::Counted
            }
        };
        self.left -= usize::from(*state == PageState::Counted);
    }

    /// Opens the pages that `again` says it of for another attempt, and says how many there are.
    fn reopen(&mut self, again: impl Fn(&PageState) -> bool) -> usize {
        let mut count = 0;

        for state in self.states_mut(0) {
            if again(state) {
                *state = PageState::Open;
                count += 1;
            }
        }
        count
    }

    /// Ends the account of a window: what nothing is known of has changed too fast.
    fn close(&mut self) {
        if self.left == 0 {
            return;
        }
        let report = &mut self.report;

        for state in self.states.iter_mut().take(self.len) {
            match state {
                PageState::Counted => (),
                PageState::Held(why) => report.skip(*why, 1),
                PageState::Full => report.skip(Skip::NoMemory, 1),
                PageState::Open | PageState::Unlocated | PageState::Zero | PageState::Peer(_) => {
                    report.skip(Skip::Raced, 1);
                }
            }
            *state = PageState::Counted;
        }
        self.left = 0;
    }

    /// Begins to account for a window, or part of one, of `pages` pages.
    fn open(&mut self, pages: usize) {
        self.len = pages.min(self.states.len());
        self.left = self.len;
        for state in self.states_mut(0) {
            *state = PageState::Open;
        }
    }

    /// Counts all that is `wanted` as nothing that moves.
    fn refuse(&mut self, wanted: PageState) {
        let mut refused = 0;

        for state in self.states_mut(0).filter(|state| **state == wanted) {
            *state = PageState::Counted;
            refused += 1;
        }
        self.left -= refused;
        self.report.skip(Skip::NotAnon, refused);
    }

    /// Notes what was collected from page `first` on, page by page, for those that are `wanted`.
    /// Returns how many destinations that takes.
    fn sort(&mut self, pages: &Collected<'_>, first: usize, wanted: PageState) -> usize {
        let target = self.plan.target;
        let (mut count, mut not_anon, mut absent) = (0, 0, 0);

        for (i, state) in self.states_mut(first).enumerate().take(pages.len()) {
            if *state != wanted {
                continue;
            }
            *state = match (pages.found(i), wanted) {
                (Found::None, PageState::Open) => PageState::Unlocated,
                // What it was known to be has changed since.
                (Found::None, _)
                | (Found::Hole, PageState::Peer(_))
                | (Found::Page, PageState::Zero) => PageState::Held(Skip::Raced),
                (Found::KeptHole, _) => {
                    absent += 1;
                    PageState::Counted
                }
                (Found::Hole, _) if target == Target::System => {
                    absent += 1;
                    PageState::Counted
                }
                // In device memory there is nothing else.
                (Found::Page, PageState::Open) if target == Target::Node && !pages.is_anon(i) => {
                    not_anon += 1;
                    PageState::Counted
                }
                (Found::Hole | Found::Page, _) => {
                    count += 1;
                    PageState::Open
                }
            };
        }
        self.left -= absent + not_anon;
        self.report.skip(Skip::Absent, absent);
        self.report.skip(Skip::NotAnon, not_anon);
        count
    }

    /// Counts what became of the `len` pages from `first` on that had destinations, and maps
    /// everything. Returns how many moved.
    fn settle(&mut self, done: Installed<'_>, first: usize, len: usize, from: Select) -> usize {
        let mixed = from == Select::SystemAndPeer;
        let (mut moved, mut filled, mut failed, mut peers) = (0, 0, 0, 0);

        for (i, state) in self.states_mut(first).enumerate().take(len) {
            if *state != PageState::Open {
                continue;
            }
            *state = match done.outcome(i) {
                Outcome::Moved => {
                    moved += 1;
                    peers += u64::from(mixed && !done.was_system(i));
                    PageState::Counted
                }
                Outcome::Filled => {
                    filled += 1;
                    PageState::Counted
                }
                Outcome::NotCopied => {
                    failed += 1;
                    PageState::Counted
                }
                Outcome::RefusedHole => PageState::Held(Skip::Raced),
                Outcome::RefusedPage => PageState::Held(Skip::Pinned),
                Outcome::Untouched => PageState::Full,
            };
        }
        self.left -= moved + filled + failed;
        self.report.migrated += moved as u64;
        self.report.peers += peers;
        self.report.populated += filled as u64;
        self.report.skip(Skip::Failed, failed);
        moved
    }

    /// The same for a window whose pages were one huge page or hole, and had one destination.
    fn settle_huge(&mut self, done: Installed<'_>, pages: usize) {
        let outcome = done.outcome(0);
        let state = match outcome {
            Outcome::RefusedHole => PageState::Held(Skip::Raced),
            Outcome::RefusedPage => PageState::Held(Skip::Pinned),
            Outcome::Untouched => PageState::Full,
            _ => PageState::Counted,
        };

        let mut counted = 0;
        for known in self
            .states_mut(0)
            .filter(|known| **known == PageState::Open)
        {
            *known = state;
            counted += usize::from(state == PageState::Counted);
        }
        self.left -= counted;
        match outcome {
            Outcome::Moved => {
                self.report.migrated += pages as u64;
                self.report.huge += 1;
            }
            Outcome::Filled => self.report.populated += pages as u64,
            Outcome::NotCopied => self.report.skip(Skip::Failed, pages),
            Outcome::Untouched | Outcome::RefusedHole | Outcome::RefusedPage => return,
        }
        if self.plan.target == Target::Node && outcome != Outcome::NotCopied {
            self.report.contiguous += 1;
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

/// The arrays of a migration, for one window, allocated once and used for many.
pub struct Workspace {
    bufs: Buffers,
    states: KVVec<PageState>,
    walker: Walker,
}

impl Workspace {
    /// For spans of up to `pages` pages, treated like that. ENOMEM.
    pub fn new(pages: usize, plan: Plan) -> Result<Self> {
        let window = mm::window_pages();
        // What leaves to make room leaves by windows.
        let pages = if plan.evict {
            window
        } else {
            pages.min(window)
        };

        Ok(Self {
            bufs: Buffers::new(pages)?,
            states: KVVec::from_elem(PageState::Counted, pages, GFP_KERNEL)?,
            walker: Walker::new(pages)?,
        })
    }
}

/// A migration of ranges of one address space.
pub struct Migration<'a> {
    mm: &'a MmWithUser,
    node: &'a Node,
    plan: Plan,
    bufs: &'a mut Buffers,
    walker: &'a mut Walker,
    account: WindowAccount<'a>,
    // The other node that pages came from last.
    peer: Option<Owner>,
    // What is left of `PATIENCE_MS`.
    patience: i64,
}

impl<'a> Migration<'a> {
    /// Prepares to move pages of `mm`.
    pub fn new(mm: &'a MmWithUser, node: &'a Node, plan: Plan, space: &'a mut Workspace) -> Self {
        Self {
            mm,
            node,
            plan,
            bufs: &mut space.bufs,
            walker: &mut space.walker,
            account: WindowAccount {
                states: &mut space.states,
                len: 0,
                left: 0,
                peers: [None; PEERS],
                report: Report::default(),
                plan,
            },
            peer: None,
            patience: if plan.patient { PATIENCE_MS } else { 0 },
        }
    }

    /// What was done so far.
    pub fn report(&self) -> &Report {
        &self.account.report
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
                let done = self.window(part);

                // What it was interrupted at counts, too.
                self.account.close();
                done?;
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
            self.account.report.skip(Skip::NotAnon, mapped.pages());
            return Ok(Part::Fixed(mapped));
        }
        let window = mm::window_size();
        let end = (mapped.start() & !(window - 1)).saturating_add(window);
        let part = Span::new(mapped.start(), end.min(mapped.end())).ok_or(EINVAL)?;

        self.account.open(part.pages());
        Ok(Part::Movable(part))
    }

    /// Moves the pages of `part` that are open, if it still is what it was, and tries again with
    /// those that someone held, and those that room could be made for.
    fn window(&mut self, part: Span) -> Result {
        let mut waits = WAITS_MS.into_iter();
        let mut rooms = if self.plan.evict { ROOM_ATTEMPTS } else { 0 };

        if rooms > 0 {
            // Collecting pages for which there is no room is work for nothing.
            self.make_space(part)?;
        }
        loop {
            if !self.attempt(part)? {
                break;
            }
            if self.account.left == 0 {
                return Ok(());
            }
            let full = self
                .account
                .states()
                .iter()
                .filter(|state| **state == PageState::Full);
            let full = full.count();
            if full > 0 && rooms > 0 {
                rooms -= 1;
                if self.evict(EvictGoal::Pages(full)) > 0 || self.node.free_pages() > 0 {
                    self.account.reopen(|state| *state == PageState::Full);
                    continue;
                }
                rooms = 0;
            }
            let Some(wait) = waits.next().filter(|wait| *wait <= self.patience) else {
                break;
            };
            if self
                .account
                .reopen(|state| matches!(state, PageState::Held(_)))
                == 0
            {
                break;
            }
            self.patience -= wait;
            if wait > 0 {
                fsleep(Delta::from_millis(wait));
            }
        }
        Ok(())
    }

    /// Moves the pages of `part` that are open, once. False if the mapping has gone.
    fn attempt(&mut self, part: Span) -> Result<bool> {
        {
            let mappings = Mappings::lock(self.mm);
            // It may have been unmapped or split meanwhile.
            let Some(mapping) = movable(&mappings, part) else {
                return Ok(false);
            };
            match self.plan.target {
                Target::System => self.move_out(&mapping, part),
                Target::Node => self.move_in(&mapping, part),
            }
        }
        if !self.account.any(|state| *state == PageState::Unlocated) {
            return Ok(true);
        }

        let (node, target, account) = (self.node, self.plan.target, &mut self.account);
        account.peers = [None; PEERS];
        locate(self.walker, self.mm, node, part, |i, standing| {
            if let (PageLocation::Node(_, index), Target::Node) = (standing, target) {
                // Who asks for what is there already is going to use it.
                node.touch(index);
            }
            account.located(i, standing);
        })?;
        // Each kind of them has to be asked for by itself.
        while let Some(state) = self.special() {
            let mappings = Mappings::lock(self.mm);
            let Some(mapping) = movable(&mappings, part) else {
                return Ok(false);
            };
            match state {
                PageState::Zero => self.fill_zero_pages(&mapping, part),
                _ => self.take_from(&mapping, part, state),
            }
        }
        Ok(true)
    }

    /// The first kind of page that [`Select::System`] or [`Select::Nowhere`] does not collect.
    fn special(&self) -> Option<PageState> {
        let special = |state: &&PageState| matches!(state, PageState::Zero | PageState::Peer(_));

        self.account.states().iter().find(special).copied()
    }

    /// Makes room for what `part` has that is not on the node.
    fn make_space(&mut self, part: Span) -> Result {
        let window = mm::window_pages();
        let is_whole = part.pages() == window;

        if self.node.free_pages() >= part.pages() && !(is_whole && self.node.free_windows() == 0) {
            return Ok(());
        }
        let (only_holes, leave_peers) = (self.plan.untouched_only, self.plan.leave_peers);
        let takes_new_pages = {
            let mappings = Mappings::lock(self.mm);

            movable(&mappings, part).is_some_and(|mapping| mapping.takes_new_pages())
        };
        let mut wanted = 0;
        locate(self.walker, self.mm, self.node, part, |_, standing| {
            wanted += usize::from(match standing {
                PageLocation::Absent | PageLocation::Zero => takes_new_pages,
                PageLocation::System(_) => !only_holes,
                PageLocation::Peer(_) => !only_holes && !leave_peers,
                PageLocation::Node(..)
                | PageLocation::Fixed
                | PageLocation::NotAnon
                | PageLocation::Foreign => false,
            });
        })?;
        if wanted == window {
            self.evict(EvictGoal::Window);
        } else if wanted > 0 {
            self.evict(EvictGoal::Pages(wanted));
        }
        Ok(())
    }

    /// Has something leave the node. Returns how many pages did.
    fn evict(&mut self, room: EvictGoal) -> usize {
        let evicted = evict_for(self.node, self.bufs, room);

        self.account.report.evicted += evicted as u64;
        evicted
    }

    /// How pages are asked for.
    fn request(&self, whole: bool) -> Request<'static> {
        let own = self.node.owner();
        let (from, owner) = match (self.plan.target, self.peer) {
            (Target::Node, _) if self.plan.untouched_only => (Select::Nowhere, own),
            // Where there was one there may be more, and this finds them at once.
            (Target::Node, Some(peer)) => (Select::SystemAndPeer, peer),
            (Target::Node, None) => (Select::System, own),
            (Target::System, _) => (Select::Device(self.node.kind()), own),
        };

        Request {
            from,
            owner,
            whole,
            fault: None,
        }
    }

    /// Whether `part` may be a huge page of private memory, or become one. Those move in one piece.
    fn may_be_huge(&self, part: Span) -> bool {
        self.node.kind() == Kind::Private
            && mm::huge_pages_move()
            && Span::window(part.start()) == Some(part)
            && self
                .account
                .states()
                .iter()
                .all(|state| *state == PageState::Open)
    }

    /// Moves `part` in one piece. False if it is none, or there is no destination for one: then it
    /// is where it was, and moves in parts.
    fn move_huge(&mut self, mapping: &Mapping<'_>, part: Span) -> bool {
        let request = self.request(true);
        let Ok(mut pages) = Collected::vma(mapping, part, self.bufs, request) else {
            return false;
        };
        let (destination, direction) = match (self.plan.target, pages.source(0)) {
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
        self.account
            .settle_huge(pages.install(self.node.mover(direction)), part.pages());
        true
    }

    /// Moves `part` to the node.
    fn move_in(&mut self, mapping: &Mapping<'_>, part: Span) {
        if self.may_be_huge(part) && self.move_huge(mapping, part) {
            return;
        }
        let request = self.request(false);

        self.bring(mapping, part, 0, request, PageState::Open);
    }

    /// Gives pages of the node to what is the page of zeros in `part`.
    fn fill_zero_pages(&mut self, mapping: &Mapping<'_>, part: Span) {
        let mut i = 0;

        // In runs, since what lies between them would be collected for nothing.
        while i < part.pages() {
            let zeros = self.account.states().iter().skip(i);
            let run = zeros.take_while(|state| **state == PageState::Zero).count();
            let start = part.start() + i * PAGE_SIZE;

            if let Some(span) = Span::new(start, start + run * PAGE_SIZE) {
                let request = Request {
                    from: Select::System,
                    ..self.request(false)
                };

                self.bring(mapping, span, i, request, PageState::Zero);
            }
            i += run.max(1);
        }
    }

    /// Moves the pages of `part` that are in another node's memory.
    fn take_from(&mut self, mapping: &Mapping<'_>, part: Span, state: PageState) {
        let PageState::Peer(number) = state else {
            return;
        };
        let owner = self.account.peers.get(usize::from(number)).copied();
        let Some(owner) = owner.flatten() else {
            return;
        };
        let request = Request {
            from: Select::Device(Kind::Coherent),
            owner,
            whole: false,
            fault: None,
        };
        let moved = self.bring(mapping, part, 0, request, state);

        self.account.report.peers += moved as u64;
        // Private memory takes from system memory what its own device copies.
        if matches!(self.node.mover(Direction::In), Mover::Cpu) {
            self.peer = Some(owner);
        }
    }

    /// Moves those pages of `span`, the `first` of the window and up, to the node that are `wanted`.
    /// Returns how many had a content that was copied.
    fn bring(
        &mut self,
        mapping: &Mapping<'_>,
        span: Span,
        first: usize,
        request: Request<'_>,
        wanted: PageState,
    ) -> usize {
        let from = request.from;
        let from_peer = matches!(wanted, PageState::Peer(_));
        let (node, account) = (self.node, &mut self.account);
        let Ok(mut pages) = Collected::vma(mapping, span, self.bufs, request) else {
            // The kernel takes no page of such a mapping (DAX).
            account.refuse(wanted);
            return 0;
        };

        let count = account.sort(&pages, first, wanted);
        let whole = count == mm::window_pages();
        let huge = whole && was_huge(&pages);
        let mut next = 0;
        let contiguous = whole
            && node.alloc_window(|page| {
                pages.set_destination(next, page);
                next += 1;
            });
        if !contiguous {
            // In order of address, so that what is contiguous in the node is so here too.
            let mut open = (0..span.pages()).filter(|i| account.is(first + i, PageState::Open));

            node.alloc(count, |page| {
                if let Some(i) = open.next() {
                    pages.set_destination(i, page);
                }
            });
        }

        // Coherent memory of both is what the CPU can copy; a device knows its own alone.
        let mover = if from_peer && node.kind() == Kind::Coherent {
            Mover::Cpu
        } else {
            node.mover(Direction::In)
        };
        let before = account.report.populated;
        let moved = account.settle(pages.install(mover), first, span.pages(), from);
        if contiguous && moved + (account.report.populated - before) as usize == span.pages() {
            account.report.contiguous += 1;
            if huge && moved == span.pages() {
                account.report.huge += 1;
            }
        }
        moved
    }

    /// Moves the node's pages in `part` to system memory.
    fn move_out(&mut self, mapping: &Mapping<'_>, part: Span) {
        if self.may_be_huge(part) && self.move_huge(mapping, part) {
            return;
        }

        let request = self.request(false);
        let from = request.from;
        let (node, account) = (self.node, &mut self.account);
        let Ok(mut pages) = Collected::vma(mapping, part, self.bufs, request) else {
            account.refuse(PageState::Open);
            return;
        };

        account.sort(&pages, 0, PageState::Open);
        for i in 0..pages.len() {
            if !account.is(i, PageState::Open) {
                continue;
            }
            let Some(page) = NewPage::system() else { break };
            pages.set_destination(i, page);
        }
        account.settle(
            pages.install(node.mover(Direction::Out)),
            0,
            part.pages(),
            from,
        );
    }
}

/// The mapping of `part`, if there is one for all of it, and it can be moved.
fn movable<'a>(mappings: &'a Mappings<'_>, part: Span) -> Option<Mapping<'a>> {
    mappings
        .next(part.start())
        .filter(|mapping| mapping.contains(part) && mapping.is_movable())
}

/// Whether the pages of a window were one huge page, which has been split to collect them: their
/// frames are contiguous, and aligned as those of a huge page are.
fn was_huge(pages: &Collected<'_>) -> bool {
    let Some(first) = pages.pfn(0) else {
        return false;
    };
    let follows = |i: usize| pages.pfn(i).is_some_and(|pfn| pfn.raw() == first.raw() + i);

    first.raw() % pages.len().next_power_of_two() == 0 && (1..pages.len()).all(follows)
}

/// How many bytes moving `pages` pages copies.
pub(crate) fn bytes(pages: u64) -> u64 {
    pages << PAGE_SHIFT
}

#[kunit_tests(hmm_cdm_window_account)]
mod tests {
    use super::*;

    const PAGES: usize = 4;

    fn account(states: &mut [PageState; PAGES]) -> WindowAccount<'_> {
        WindowAccount {
            states,
            len: PAGES,
            left: PAGES,
            peers: [None; PEERS],
            report: Report::default(),
            plan: Plan::to_node(),
        }
    }

    /// How often each reason was counted, and how many pages in all.
    fn skipped(account: &WindowAccount<'_>, why: Skip) -> (u64, u64) {
        let skipped = &account.report.skipped;

        (
            skipped.get(why as usize).copied().unwrap_or(0),
            skipped.iter().sum(),
        )
    }

    #[test]
    fn a_page_is_counted_once() -> Result {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.located(0, PageLocation::Fixed);
        account.located(0, PageLocation::Absent);
        account.located(0, PageLocation::Node(Skip::Raced, 0));
        assert_eq!(skipped(&account, Skip::NotAnon), (1, 1));
        assert_eq!(account.report.present, 0);
        account.located(1, PageLocation::Node(Skip::Raced, 0));
        account.located(1, PageLocation::Fixed);
        assert_eq!(account.report.present, 1);
        assert_eq!(skipped(&account, Skip::NotAnon), (1, 1));
        // There is no such page.
        account.located(PAGES, PageLocation::Fixed);
        assert_eq!(skipped(&account, Skip::NotAnon), (1, 1));
        Ok(())
    }

    #[test]
    fn pages_that_are_held_are_tried_again() -> Result {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.located(0, PageLocation::System(Skip::Pinned));
        account.located(1, PageLocation::System(Skip::Raced));
        account.located(2, PageLocation::Foreign);
        // Perhaps someone is moving it.
        account.located(3, PageLocation::Absent);
        assert_eq!(skipped(&account, Skip::Elsewhere), (1, 1));
        assert_eq!(
            account.reopen(|state| matches!(state, PageState::Held(_))),
            3
        );
        assert!(account.is(0, PageState::Open) && account.is(1, PageState::Open));
        assert!(account.is(2, PageState::Counted) && account.is(3, PageState::Open));
        // Nothing is held any more.
        assert_eq!(
            account.reopen(|state| matches!(state, PageState::Held(_))),
            0
        );
        for state in account.states.iter_mut().skip(3) {
            *state = PageState::Unlocated;
        }
        account.located(3, PageLocation::Absent);
        account.close();
        assert_eq!(skipped(&account, Skip::Absent), (1, 4));
        Ok(())
    }

    #[test]
    fn every_page_of_a_window_is_accounted_for() -> Result {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.open(3);
        assert_eq!((account.len, account.left), (3, 3));
        assert!(account.is(2, PageState::Open) && !account.is(3, PageState::Open));
        for state in account.states.iter_mut().take(2) {
            *state = PageState::Unlocated;
        }
        account.located(0, PageLocation::System(Skip::Pinned));
        // One held, one never located, one left open.
        account.close();
        assert_eq!(skipped(&account, Skip::Pinned), (1, 3));
        assert_eq!(skipped(&account, Skip::Raced), (2, 3));
        // Closed is closed.
        account.close();
        assert_eq!(skipped(&account, Skip::Raced), (2, 3));
        Ok(())
    }

    #[test]
    fn what_exists_stays_if_only_the_untouched_is_wanted() {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.plan.untouched_only = true;
        account.located(0, PageLocation::System(Skip::Pinned));
        account.located(1, PageLocation::Foreign);
        account.located(2, PageLocation::Peer(Owner::NOBODY));
        account.located(3, PageLocation::Zero);
        assert_eq!(account.report.stayed, 3);
        assert!(account.is(3, PageState::Zero));
        assert_eq!(skipped(&account, Skip::Elsewhere), (0, 0));
    }

    #[test]
    fn other_nodes_are_taken_from_but_not_emptied() {
        let mut states = [PageState::Unlocated; PAGES];
        let mut account = account(&mut states);

        account.located(0, PageLocation::Peer(Owner::NOBODY));
        assert!(account.is(0, PageState::Peer(0)));
        account.plan.target = Target::System;
        account.located(1, PageLocation::Peer(Owner::NOBODY));
        assert_eq!(skipped(&account, Skip::Elsewhere), (1, 1));
        account.located(2, PageLocation::Zero);
        account.located(3, PageLocation::System(Skip::Raced));
        assert_eq!(account.report.present, 2);
    }

    #[test]
    fn a_full_node_is_told_of_when_nothing_helps() {
        let mut states = [PageState::Full; PAGES];
        let mut account = account(&mut states);

        assert_eq!(account.reopen(|state| *state == PageState::Full), PAGES);
        account.states.fill(PageState::Full);
        account.close();
        assert_eq!(
            skipped(&account, Skip::NoMemory),
            (PAGES as u64, PAGES as u64)
        );
    }

    #[test]
    fn copied_bytes_are_those_of_pages() {
        assert_eq!(bytes(0), 0);
        assert_eq!(bytes(3), 3 * kernel::page::PAGE_SIZE as u64);
    }
}

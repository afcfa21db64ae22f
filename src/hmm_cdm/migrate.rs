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
pub(crate) mod reclaim;

pub(crate) use evict::evict_all;

use crate::{
    mm::{
        self,
        copy::{Direction, Mover},
        folio::NewPage,
        migrate::{Buffers, Collected, Found, From, Installed, Outcome, Request, Source},
        pagemap::{Kind, Owner},
        range::Walker,
        vma::{Mapping, Mappings},
        Span,
    },
    node::Node,
    os::cond_resched,
    uapi::{Skip, SKIP_MAX},
};
use evict::{make_room, Room};
use explain::{explain, Standing};
use kernel::{
    alloc::KVVec,
    mm::MmWithUser,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    time::{delay::fsleep, Delta},
};

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
    /// Room is made on a full node.
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
enum Fate {
    /// To be moved.
    Open,
    /// Counted.
    Counted,
    /// It could not be collected; [`explain`] finds out why.
    Unexplained,
    /// It stayed for a reason that may pass.
    Held(Skip),
    /// There was no room for it.
    Full,
    /// It is the page of zeros, and is to become one of the node's.
    Zero,
    /// It is in the memory of another node: its number in [`Tally::peers`].
    Peer(u8),
}

/// The account of a migration: the fates of the window at hand, and the sums.
struct Tally<'a> {
    // Room for a window; the first `len` are in use.
    fates: &'a mut [Fate],
    len: usize,
    // How many are not `Counted` yet.
    left: usize,
    peers: [Option<Owner>; PEERS],
    report: Report,
    plan: Plan,
}

impl Tally<'_> {
    fn fates(&self) -> &[Fate] {
        self.fates.get(..self.len).unwrap_or_default()
    }

    /// The pages from `first` on.
    fn fates_mut(&mut self, first: usize) -> impl Iterator<Item = &mut Fate> {
        let used = self.fates.get_mut(first..self.len);

        used.unwrap_or_default().iter_mut()
    }

    fn is(&self, i: usize, fate: Fate) -> bool {
        self.fates().get(i) == Some(&fate)
    }

    fn any(&self, is: impl Fn(&Fate) -> bool) -> bool {
        self.left > 0 && self.fates().iter().any(is)
    }

    /// Notes where page `i` stands that could not be collected.
    fn explained(&mut self, i: usize, standing: Standing) {
        let Some(fate) = self.fates.get_mut(i).filter(|_| i < self.len) else {
            return;
        };
        if *fate != Fate::Unexplained {
            return;
        }
        let report = &mut self.report;
        let stays = self.plan.untouched_only;

        *fate = match (standing, self.plan.target) {
            (Standing::Node(..), Target::Node)
            | (Standing::System(_) | Standing::NotAnon | Standing::Zero, Target::System) => {
                report.present += 1;
                Fate::Counted
            }
            (Standing::Zero, Target::Node) => Fate::Zero,
            (
                Standing::System(_) | Standing::NotAnon | Standing::Peer(_) | Standing::Foreign,
                Target::Node,
            ) if stays => {
                report.stayed += 1;
                Fate::Counted
            }
            (Standing::Peer(owner), Target::Node) if !self.plan.leave_peers => {
                let known = |peer: &Option<Owner>| peer.is_none_or(|known| known == owner);

                match self.peers.iter().position(known) {
                    Some(number) => {
                        if let Some(peer) = self.peers.get_mut(number) {
                            *peer = Some(owner);
                        }
                        Fate::Peer(number as u8)
                    }
                    // The next attempt has room again.
                    None => Fate::Held(Skip::Raced),
                }
            }
            (Standing::System(why), Target::Node) | (Standing::Node(why, _), Target::System) => {
                Fate::Held(why)
            }
            // hmm_range_fault() tells no difference between what is swapped out and what another
            // migration has at the moment. Neither is untouched.
            (Standing::Absent, _) if !stays => Fate::Held(Skip::Absent),
            (Standing::Absent, _) => {
                report.skip(Skip::Absent, 1);
                Fate::Counted
            }
            (Standing::Fixed | Standing::NotAnon, _) => {
                report.skip(Skip::NotAnon, 1);
                Fate::Counted
            }
            (Standing::Peer(_) | Standing::Foreign, _) => {
                report.skip(Skip::Elsewhere, 1);
                Fate::Counted
            }
        };
        self.left -= usize::from(*fate == Fate::Counted);
    }

    /// Opens the pages that `again` says it of for another attempt, and says how many there are.
    fn reopen(&mut self, again: impl Fn(&Fate) -> bool) -> usize {
        let mut count = 0;

        for fate in self.fates_mut(0) {
            if again(fate) {
                *fate = Fate::Open;
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

        for fate in self.fates.iter_mut().take(self.len) {
            match fate {
                Fate::Counted => (),
                Fate::Held(why) => report.skip(*why, 1),
                Fate::Full => report.skip(Skip::NoMemory, 1),
                Fate::Open | Fate::Unexplained | Fate::Zero | Fate::Peer(_) => {
                    report.skip(Skip::Raced, 1);
                }
            }
            *fate = Fate::Counted;
        }
        self.left = 0;
    }

    /// Begins to account for a window, or part of one, of `pages` pages.
    fn open(&mut self, pages: usize) {
        self.len = pages.min(self.fates.len());
        self.left = self.len;
        for fate in self.fates_mut(0) {
            *fate = Fate::Open;
        }
    }

    /// Counts all that is `wanted` as nothing that moves.
    fn refuse(&mut self, wanted: Fate) {
        let mut refused = 0;

        for fate in self.fates_mut(0).filter(|fate| **fate == wanted) {
            *fate = Fate::Counted;
            refused += 1;
        }
        self.left -= refused;
        self.report.skip(Skip::NotAnon, refused);
    }

    /// Notes what was collected from page `first` on, page by page, for those that are `wanted`.
    /// Returns how many destinations that takes.
    fn sort(&mut self, pages: &Collected<'_>, first: usize, wanted: Fate) -> usize {
        let target = self.plan.target;
        let (mut count, mut not_anon, mut absent) = (0, 0, 0);

        for (i, fate) in self.fates_mut(first).enumerate().take(pages.len()) {
            if *fate != wanted {
                continue;
            }
            *fate = match (pages.found(i), wanted) {
                (Found::None, Fate::Open) => Fate::Unexplained,
                // What it was known to be has changed since.
                (Found::None, _) | (Found::Hole, Fate::Peer(_)) | (Found::Page, Fate::Zero) => {
                    Fate::Held(Skip::Raced)
                }
                (Found::KeptHole, _) => {
                    absent += 1;
                    Fate::Counted
                }
                (Found::Hole, _) if target == Target::System => {
                    absent += 1;
                    Fate::Counted
                }
                // In device memory there is nothing else.
                (Found::Page, Fate::Open) if target == Target::Node && !pages.is_anon(i) => {
                    not_anon += 1;
                    Fate::Counted
                }
                (Found::Hole | Found::Page, _) => {
                    count += 1;
                    Fate::Open
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
    fn settle(&mut self, done: Installed<'_>, first: usize, len: usize, from: From) -> usize {
        let mixed = from == From::SystemAndPeer;
        let (mut moved, mut filled, mut failed, mut peers) = (0, 0, 0, 0);

        for (i, fate) in self.fates_mut(first).enumerate().take(len) {
            if *fate != Fate::Open {
                continue;
            }
            *fate = match done.outcome(i) {
                Outcome::Moved => {
                    moved += 1;
                    peers += u64::from(mixed && !done.was_system(i));
                    Fate::Counted
                }
                Outcome::Filled => {
                    filled += 1;
                    Fate::Counted
                }
                Outcome::NotCopied => {
                    failed += 1;
                    Fate::Counted
                }
                Outcome::RefusedHole => Fate::Held(Skip::Raced),
                Outcome::RefusedPage => Fate::Held(Skip::Pinned),
                Outcome::Untouched => Fate::Full,
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
        let fate = match outcome {
            Outcome::RefusedHole => Fate::Held(Skip::Raced),
            Outcome::RefusedPage => Fate::Held(Skip::Pinned),
            Outcome::Untouched => Fate::Full,
            _ => Fate::Counted,
        };

        let mut counted = 0;
        for known in self.fates_mut(0).filter(|known| **known == Fate::Open) {
            *known = fate;
            counted += usize::from(fate == Fate::Counted);
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
    fates: KVVec<Fate>,
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
            fates: KVVec::from_elem(Fate::Counted, pages, GFP_KERNEL)?,
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
    tally: Tally<'a>,
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
            tally: Tally {
                fates: &mut space.fates,
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
                let done = self.window(part);

                // What it was interrupted at counts, too.
                self.tally.close();
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
            self.tally.report.skip(Skip::NotAnon, mapped.pages());
            return Ok(Part::Fixed(mapped));
        }
        let window = mm::window_size();
        let end = (mapped.start() & !(window - 1)).saturating_add(window);
        let part = Span::new(mapped.start(), end.min(mapped.end())).ok_or(EINVAL)?;

        self.tally.open(part.pages());
        Ok(Part::Movable(part))
    }

    /// Moves the pages of `part` that are open, if it still is what it was, and tries again with
    /// those that someone held, and those that room could be made for.
    fn window(&mut self, part: Span) -> Result {
        let mut waits = WAITS_MS.into_iter();
        let mut rooms = if self.plan.evict { ROOM_ATTEMPTS } else { 0 };

        if rooms > 0 {
            // Collecting pages for which there is no room is work for nothing.
            self.room_for(part)?;
        }
        loop {
            if !self.attempt(part)? {
                break;
            }
            if self.tally.left == 0 {
                return Ok(());
            }
            let full = self
                .tally
                .fates()
                .iter()
                .filter(|fate| **fate == Fate::Full);
            let full = full.count();
            if full > 0 && rooms > 0 {
                rooms -= 1;
                if self.evict(Room::Pages(full)) > 0 || self.node.free_pages() > 0 {
                    self.tally.reopen(|fate| *fate == Fate::Full);
                    continue;
                }
                rooms = 0;
            }
            let Some(wait) = waits.next().filter(|wait| *wait <= self.patience) else {
                break;
            };
            if self.tally.reopen(|fate| matches!(fate, Fate::Held(_))) == 0 {
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
        if !self.tally.any(|fate| *fate == Fate::Unexplained) {
            return Ok(true);
        }

        let (node, target, tally) = (self.node, self.plan.target, &mut self.tally);
        tally.peers = [None; PEERS];
        explain(self.walker, self.mm, node, part, |i, standing| {
            if let (Standing::Node(_, index), Target::Node) = (standing, target) {
                // Who asks for what is there already is going to use it.
                node.touch(index);
            }
            tally.explained(i, standing);
        })?;
        // Each kind of them has to be asked for by itself.
        while let Some(fate) = self.special() {
            let mappings = Mappings::lock(self.mm);
            let Some(mapping) = movable(&mappings, part) else {
                return Ok(false);
            };
            match fate {
                Fate::Zero => self.fill_zero_pages(&mapping, part),
                _ => self.take_from(&mapping, part, fate),
            }
        }
        Ok(true)
    }

    /// The first kind of page that [`From::System`] or [`From::Nowhere`] does not collect.
    fn special(&self) -> Option<Fate> {
        let special = |fate: &&Fate| matches!(fate, Fate::Zero | Fate::Peer(_));

        self.tally.fates().iter().find(special).copied()
    }

    /// Makes room for what `part` has that is not on the node.
    fn room_for(&mut self, part: Span) -> Result {
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
        explain(self.walker, self.mm, self.node, part, |_, standing| {
            wanted += usize::from(match standing {
                Standing::Absent | Standing::Zero => takes_new_pages,
                Standing::System(_) => !only_holes,
                Standing::Peer(_) => !only_holes && !leave_peers,
                Standing::Node(..) | Standing::Fixed | Standing::NotAnon | Standing::Foreign => {
                    false
                }
            });
        })?;
        if wanted == window {
            self.evict(Room::Window);
        } else if wanted > 0 {
            self.evict(Room::Pages(wanted));
        }
        Ok(())
    }

    /// Has something leave the node. Returns how many pages did.
    fn evict(&mut self, room: Room) -> usize {
        let evicted = make_room(self.node, self.bufs, room);

        self.tally.report.evicted += evicted as u64;
        evicted
    }

    /// How pages are asked for.
    fn request(&self, whole: bool) -> Request<'static> {
        let own = self.node.owner();
        let (from, owner) = match (self.plan.target, self.peer) {
            (Target::Node, _) if self.plan.untouched_only => (From::Nowhere, own),
            // Where there was one there may be more, and this finds them at once.
            (Target::Node, Some(peer)) => (From::SystemAndPeer, peer),
            (Target::Node, None) => (From::System, own),
            (Target::System, _) => (From::Device(self.node.kind()), own),
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
            && self.tally.fates().iter().all(|fate| *fate == Fate::Open)
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

        self.bring(mapping, part, 0, request, Fate::Open);
    }

    /// Gives pages of the node to what is the page of zeros in `part`.
    fn fill_zero_pages(&mut self, mapping: &Mapping<'_>, part: Span) {
        let mut i = 0;

        // In runs, since what lies between them would be collected for nothing.
        while i < part.pages() {
            let zeros = self.tally.fates().iter().skip(i);
            let run = zeros.take_while(|fate| **fate == Fate::Zero).count();
            let start = part.start() + i * PAGE_SIZE;

            if let Some(span) = Span::new(start, start + run * PAGE_SIZE) {
                let request = Request {
                    from: From::System,
                    ..self.request(false)
                };

                self.bring(mapping, span, i, request, Fate::Zero);
            }
            i += run.max(1);
        }
    }

    /// Moves the pages of `part` that are in another node's memory.
    fn take_from(&mut self, mapping: &Mapping<'_>, part: Span, fate: Fate) {
        let Fate::Peer(number) = fate else {
            return;
        };
        let owner = self.tally.peers.get(usize::from(number)).copied();
        let Some(owner) = owner.flatten() else {
            return;
        };
        let request = Request {
            from: From::Device(Kind::Coherent),
            owner,
            whole: false,
            fault: None,
        };
        let moved = self.bring(mapping, part, 0, request, fate);

        self.tally.report.peers += moved as u64;
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
        wanted: Fate,
    ) -> usize {
        let from = request.from;
        let from_peer = matches!(wanted, Fate::Peer(_));
        let (node, tally) = (self.node, &mut self.tally);
        let Ok(mut pages) = Collected::vma(mapping, span, self.bufs, request) else {
            // The kernel takes no page of such a mapping (DAX).
            tally.refuse(wanted);
            return 0;
        };

        let count = tally.sort(&pages, first, wanted);
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
            let mut open = (0..span.pages()).filter(|i| tally.is(first + i, Fate::Open));

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
        let before = tally.report.populated;
        let moved = tally.settle(pages.install(mover), first, span.pages(), from);
        if contiguous && moved + (tally.report.populated - before) as usize == span.pages() {
            tally.report.contiguous += 1;
            if huge && moved == span.pages() {
                tally.report.huge += 1;
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
        let (node, tally) = (self.node, &mut self.tally);
        let Ok(mut pages) = Collected::vma(mapping, part, self.bufs, request) else {
            tally.refuse(Fate::Open);
            return;
        };

        tally.sort(&pages, 0, Fate::Open);
        for i in 0..pages.len() {
            if !tally.is(i, Fate::Open) {
                continue;
            }
            let Some(page) = NewPage::system() else { break };
            pages.set_destination(i, page);
        }
        tally.settle(
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

#[kunit_tests(hmm_cdm_tally)]
mod tests {
    use super::*;

    const PAGES: usize = 4;

    fn tally(fates: &mut [Fate; PAGES]) -> Tally<'_> {
        Tally {
            fates,
            len: PAGES,
            left: PAGES,
            peers: [None; PEERS],
            report: Report::default(),
            plan: Plan::to_node(),
        }
    }

    /// How often each reason was counted, and how many pages in all.
    fn skipped(tally: &Tally<'_>, why: Skip) -> (u64, u64) {
        let skipped = &tally.report.skipped;

        (
            skipped.get(why as usize).copied().unwrap_or(0),
            skipped.iter().sum(),
        )
    }

    #[test]
    fn a_page_is_counted_once() -> Result {
        let mut fates = [Fate::Unexplained; PAGES];
        let mut tally = tally(&mut fates);

        tally.explained(0, Standing::Fixed);
        tally.explained(0, Standing::Absent);
        tally.explained(0, Standing::Node(Skip::Raced, 0));
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        assert_eq!(tally.report.present, 0);
        tally.explained(1, Standing::Node(Skip::Raced, 0));
        tally.explained(1, Standing::Fixed);
        assert_eq!(tally.report.present, 1);
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        // There is no such page.
        tally.explained(PAGES, Standing::Fixed);
        assert_eq!(skipped(&tally, Skip::NotAnon), (1, 1));
        Ok(())
    }

    #[test]
    fn pages_that_are_held_are_tried_again() -> Result {
        let mut fates = [Fate::Unexplained; PAGES];
        let mut tally = tally(&mut fates);

        tally.explained(0, Standing::System(Skip::Pinned));
        tally.explained(1, Standing::System(Skip::Raced));
        tally.explained(2, Standing::Foreign);
        // Perhaps someone is moving it.
        tally.explained(3, Standing::Absent);
        assert_eq!(skipped(&tally, Skip::Elsewhere), (1, 1));
        assert_eq!(tally.reopen(|fate| matches!(fate, Fate::Held(_))), 3);
        assert!(tally.is(0, Fate::Open) && tally.is(1, Fate::Open));
        assert!(tally.is(2, Fate::Counted) && tally.is(3, Fate::Open));
        // Nothing is held any more.
        assert_eq!(tally.reopen(|fate| matches!(fate, Fate::Held(_))), 0);
        for fate in tally.fates.iter_mut().skip(3) {
            *fate = Fate::Unexplained;
        }
        tally.explained(3, Standing::Absent);
        tally.close();
        assert_eq!(skipped(&tally, Skip::Absent), (1, 4));
        Ok(())
    }

    #[test]
    fn every_page_of_a_window_is_accounted_for() -> Result {
        let mut fates = [Fate::Unexplained; PAGES];
        let mut tally = tally(&mut fates);

        tally.open(3);
        assert_eq!((tally.len, tally.left), (3, 3));
        assert!(tally.is(2, Fate::Open) && !tally.is(3, Fate::Open));
        for fate in tally.fates.iter_mut().take(2) {
            *fate = Fate::Unexplained;
        }
        tally.explained(0, Standing::System(Skip::Pinned));
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
    fn what_exists_stays_if_only_the_untouched_is_wanted() {
        let mut fates = [Fate::Unexplained; PAGES];
        let mut tally = tally(&mut fates);

        tally.plan.untouched_only = true;
        tally.explained(0, Standing::System(Skip::Pinned));
        tally.explained(1, Standing::Foreign);
        tally.explained(2, Standing::Peer(Owner::NOBODY));
        tally.explained(3, Standing::Zero);
        assert_eq!(tally.report.stayed, 3);
        assert!(tally.is(3, Fate::Zero));
        assert_eq!(skipped(&tally, Skip::Elsewhere), (0, 0));
    }

    #[test]
    fn other_nodes_are_taken_from_but_not_emptied() {
        let mut fates = [Fate::Unexplained; PAGES];
        let mut tally = tally(&mut fates);

        tally.explained(0, Standing::Peer(Owner::NOBODY));
        assert!(tally.is(0, Fate::Peer(0)));
        tally.plan.target = Target::System;
        tally.explained(1, Standing::Peer(Owner::NOBODY));
        assert_eq!(skipped(&tally, Skip::Elsewhere), (1, 1));
        tally.explained(2, Standing::Zero);
        tally.explained(3, Standing::System(Skip::Raced));
        assert_eq!(tally.report.present, 2);
    }

    #[test]
    fn a_full_node_is_told_of_when_nothing_helps() {
        let mut fates = [Fate::Full; PAGES];
        let mut tally = tally(&mut fates);

        assert_eq!(tally.reopen(|fate| *fate == Fate::Full), PAGES);
        tally.fates.fill(Fate::Full);
        tally.close();
        assert_eq!(
            skipped(&tally, Skip::NoMemory),
            (PAGES as u64, PAGES as u64)
        );
    }

    #[test]
    fn copied_bytes_are_those_of_pages() {
        assert_eq!(bytes(0), 0);
        assert_eq!(bytes(3), 3 * kernel::page::PAGE_SIZE as u64);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! One attempt to move the pages of a window.
//!
//! Pages of one kind are collected together. The first request is for system memory and holes.
//! Pages that it leaves out are located, and collected by a request for each other kind: zero
//! pages, and pages of each other node.

use super::{
    account::WindowAccount,
    locate::{
        locate,
        PageLocation, //
    },
    plan::{
        Plan,
        Target, //
    },
    state::{
        Finding,
        PageState, //
    },
};
use crate::{
    mm::{
        self,
        copy::{
            Direction,
            Mover, //
        },
        folio::NewPage,
        migrate::{
            Buffers,
            Collected,
            Installed,
            Request,
            Select,
            Source, //
        },
        pagemap::{
            Kind,
            Owner, //
        },
        range::Walker,
        vma::{
            Mapping,
            Mappings, //
        },
        Span,
    },
    node::Node,
};
use core::ops::Range;
use kernel::{
    alloc::KVVec,
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The arrays of a migration, for one window, allocated once and used for many.
pub struct Workspace {
    bufs: Buffers,
    states: KVVec<PageState>,
    walker: Walker,
}

impl Workspace {
    /// Allocates arrays for migrations of up to `pages` pages with `plan`. ENOMEM.
    pub fn new(pages: usize, plan: Plan) -> Result<Self> {
        let window = mm::window_pages();
        // Eviction is by whole windows.
        let pages = if plan.evict {
            window
        } else {
            pages.min(window)
        };

        Ok(Self {
            bufs: Buffers::new(pages)?,
            states: KVVec::from_elem(PageState::Open, pages, GFP_KERNEL)?,
            walker: Walker::new(pages)?,
        })
    }
}

/// Pages of a window that are collected together.
struct Batch {
    span: Span,
    /// The index of the first page in the window.
    first: usize,
    /// The state of those that are to move.
    state: PageState,
    from: Select,
    owner: Owner,
}

impl Batch {
    /// Returns its pages, counted from the first of the window.
    fn range(&self) -> Range<usize> {
        self.first..self.first + self.span.pages()
    }

    fn request(&self, whole: bool) -> Request<'static> {
        Request {
            from: self.from,
            owner: self.owner,
            whole,
            fault: None,
        }
    }
}

/// Moves pages of one window at a time.
pub(super) struct WindowMover<'a> {
    pub(super) mm: &'a MmWithUser,
    pub(super) node: &'a Node,
    pub(super) plan: Plan,
    pub(super) bufs: &'a mut Buffers,
    pub(super) walker: &'a mut Walker,
    pub(super) account: WindowAccount<'a>,
    // The other node that pages came from last.
    last_peer: Option<Owner>,
}

impl<'a> WindowMover<'a> {
    pub(super) fn new(
        mm: &'a MmWithUser,
        node: &'a Node,
        plan: Plan,
        space: &'a mut Workspace,
    ) -> Self {
        Self {
            mm,
            node,
            plan,
            bufs: &mut space.bufs,
            walker: &mut space.walker,
            account: WindowAccount::new(&mut space.states, plan),
            last_peer: None,
        }
    }

    /// Moves the open pages of `part`, the span of the account's window, once. False if the mapping
    /// has gone.
    ///
    /// Sleeps; takes the mmap lock for reading. Errors are those of [`locate`].
    pub(super) fn attempt(&mut self, part: Span) -> Result<bool> {
        {
            let mappings = Mappings::lock(self.mm);
            // It may have been unmapped or split since the window began.
            let Some(mapping) = movable(&mappings, part, self.plan.target) else {
                return Ok(false);
            };

            self.move_open(&mapping, part);
        }
        if self.account.is_done() || self.account.count(PageState::Unlocated) == 0 {
            return Ok(true);
        }

        self.locate(part)?;
        while let Some(state) = self.next_located() {
            let mappings = Mappings::lock(self.mm);
            let Some(mapping) = movable(&mappings, part, self.plan.target) else {
                return Ok(false);
            };

            match state {
                PageState::Peer(index) => self.move_from_peer(&mapping, part, index),
                _ => self.fill_zero_pages(&mapping, part),
            }
        }
        Ok(true)
    }

    /// Returns the state of the first page that needs a request of its own.
    fn next_located(&self) -> Option<PageState> {
        let special = |state: &&PageState| matches!(state, PageState::Zero | PageState::Peer(_));

        self.account.states().iter().find(special).copied()
    }

    fn locate(&mut self, part: Span) -> Result {
        let (node, target, account) = (self.node, self.plan.target, &mut self.account);

        account.clear_peers();
        locate(self.walker, self.mm, node, part, |i, location| {
            if let (PageLocation::Node(_, index), Target::Node) = (location, target) {
                // A request for a page that is already on the node counts as a use.
                node.touch(index);
            }
            account.located(i, location);
        })
    }

    /// Moves the open pages of `part`.
    fn move_open(&mut self, mapping: &Mapping<'_>, part: Span) {
        let own = self.node.owner();
        let (from, owner) = match (self.plan.target, self.last_peer) {
            (Target::Node, _) if self.plan.untouched_only => (Select::Nowhere, own),
            // An earlier window had pages of this peer: collect its pages in the same request.
            (Target::Node, Some(peer)) => (Select::SystemAndPeer, peer),
            (Target::Node, None) => (Select::System, own),
            (Target::System, _) => (Select::Device(self.node.kind()), own),
        };
        let batch = Batch {
            span: part,
            first: 0,
            state: PageState::Open,
            from,
            owner,
        };

        if !self.may_be_huge(part) || !self.move_huge(mapping, &batch) {
            self.move_pages(mapping, &batch);
        }
    }

    /// Replaces zero pages in `part` by pages of the node.
    fn fill_zero_pages(&mut self, mapping: &Mapping<'_>, part: Span) {
        let mut first = 0;

        // In runs, so that the pages between them are not collected in vain.
        while first < part.pages() {
            let states = self.account.states().iter().skip(first);
            let run = states
                .take_while(|state| **state == PageState::Zero)
                .count();
            let start = part.start() + first * PAGE_SIZE;

            if let Some(span) = Span::new(start, start + run * PAGE_SIZE) {
                let batch = Batch {
                    span,
                    first,
                    state: PageState::Zero,
                    from: Select::System,
                    owner: self.node.owner(),
                };

                self.move_pages(mapping, &batch);
            }
            first += run.max(1);
        }
    }

    /// Moves pages of `part` that are in the memory of another node.
    fn move_from_peer(&mut self, mapping: &Mapping<'_>, part: Span, index: u8) {
        let owner = self.account.peer(index);
        let batch = Batch {
            span: part,
            first: 0,
            state: PageState::Peer(index),
            from: Select::Device(Kind::Coherent),
            owner,
        };

        self.move_pages(mapping, &batch);
        // One request collects system memory and a peer's only if the CPU copies: a device cannot
        // read a peer's memory.
        if matches!(self.node.mover(Direction::In), Mover::Cpu) {
            self.last_peer = Some(owner);
        }
    }

    /// Returns whether `part` may be a huge page of private memory, or become one. Those move in
    /// one piece.
    fn may_be_huge(&self, part: Span) -> bool {
        self.node.kind() == Kind::Private
            && mm::huge_pages_move()
            && Span::window(part.start()) == Some(part)
            && self.account.count(PageState::Open) == part.pages()
    }

    /// Moves a window in one piece. False if it is not one huge page or hole, or has no destination
    /// of that size: then nothing has changed, and it moves in parts.
    fn move_huge(&mut self, mapping: &Mapping<'_>, batch: &Batch) -> bool {
        let request = batch.request(true);
        let Ok(mut pages) = Collected::vma(mapping, batch.span, self.bufs, request) else {
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
        let layout = Layout::Huge {
            on_node: self.plan.target == Target::Node,
        };

        pages.set_destination(0, page);
        let done = pages.install(self.node.mover(direction));
        settle(&mut self.account, done, batch, layout);
        true
    }

    /// Moves the pages of `batch`, page by page.
    fn move_pages(&mut self, mapping: &Mapping<'_>, batch: &Batch) {
        let (node, target, account) = (self.node, self.plan.target, &mut self.account);
        let (first, state) = (batch.first, batch.state);
        let request = batch.request(false);
        let Ok(mut pages) = Collected::vma(mapping, batch.span, self.bufs, request) else {
            account.update(batch.range(), state, |_| Finding::Refused);
            return;
        };

        // Device memory only takes anonymous pages.
        let check_anon = target == Target::Node && state == PageState::Open;
        let collected = account.update(batch.range(), state, |i| Finding::Collected {
            found: pages.found(i),
            anon: !check_anon || pages.is_anon(i),
        });
        let open = (0..pages.len()).filter(|i| account.is(first + i, PageState::Open));
        let (layout, mover) = match target {
            Target::Node => (
                alloc_on_node(node, &mut pages, collected.open, open),
                // The CPU can copy between the coherent memory of two nodes; a device reaches only
                // its own.
                match state {
                    PageState::Peer(_) if node.kind() == Kind::Coherent => Mover::Cpu,
                    _ => node.mover(Direction::In),
                },
            ),
            Target::System => {
                alloc_in_system(&mut pages, open);
                (Layout::Scattered, node.mover(Direction::Out))
            }
        };

        let done = pages.install(mover);
        settle(account, done, batch, layout);
    }
}

/// Gives the `open` pages, `count` of them, destinations on the node while it has free pages.
fn alloc_on_node(
    node: &Node,
    pages: &mut Collected<'_>,
    count: usize,
    mut open: impl Iterator<Item = usize>,
) -> Layout {
    if count == mm::window_pages() {
        let mut all = 0..count;
        let allocated = node.alloc_window(|page| {
            if let Some(i) = all.next() {
                pages.set_destination(i, page);
            }
        });

        if allocated {
            return Layout::Contiguous {
                was_huge: was_huge(pages),
            };
        }
    }
    // In order of address, so that runs of frames are mapped as runs.
    node.alloc(count, |page| {
        if let Some(i) = open.next() {
            pages.set_destination(i, page);
        }
    });
    Layout::Scattered
}

/// Gives the `open` pages destinations in system memory while it has free pages.
fn alloc_in_system(pages: &mut Collected<'_>, open: impl Iterator<Item = usize>) {
    for i in open {
        let Some(page) = NewPage::system() else { break };

        pages.set_destination(i, page);
    }
}

/// The destinations of a batch.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Layout {
    /// One huge page, for one huge page or hole.
    Huge { on_node: bool },
    /// A window of contiguous frames, and whether the sources were a huge page that has been split.
    Contiguous { was_huge: bool },
    /// Single frames.
    Scattered,
}

/// Counts the result of `batch`, and maps its pages again.
fn settle(account: &mut WindowAccount<'_>, done: Installed<'_>, batch: &Batch, layout: Layout) {
    let is_huge = matches!(layout, Layout::Huge { .. });
    let is_peer = matches!(batch.state, PageState::Peer(_));
    let updated = account.update(batch.range(), PageState::Open, |i| {
        // A huge page has one result for all of its pages.
        let i = if is_huge { 0 } else { i };

        Finding::Installed {
            outcome: done.outcome(i),
            from_peer: match batch.from {
                Select::SystemAndPeer => !done.was_system(i),
                _ => is_peer,
            },
        }
    });
    let pages = batch.span.pages();
    let (contiguous, was_huge) = match layout {
        Layout::Huge { on_node } => (on_node, true),
        Layout::Contiguous { was_huge } => (true, was_huge),
        Layout::Scattered => return,
    };

    if updated.migrated + updated.populated == pages {
        account.report.contiguous += u64::from(contiguous);
    }
    if updated.migrated == pages {
        account.report.huge += u64::from(was_huge);
    }
}

/// Returns the mapping of `part`, if it covers all of `part` and can be moved to `target`.
pub(super) fn movable<'a>(
    mappings: &'a Mappings<'_>,
    part: Span,
    target: Target,
) -> Option<Mapping<'a>> {
    mappings
        .next(part.start())
        .filter(|mapping| mapping.contains(part) && can_move(mapping, target))
}

/// Returns whether pages of `mapping` can be moved to `target`. Text stays in system memory.
pub(super) fn can_move(mapping: &Mapping<'_>, target: Target) -> bool {
    mapping.is_movable() && (target == Target::System || !mapping.may_have_probes())
}

/// Returns whether the pages of a window were one huge page, which was split to collect them: their
/// frames are contiguous, and aligned as those of a huge page are.
fn was_huge(pages: &Collected<'_>) -> bool {
    let Some(first) = pages.pfn(0) else {
        return false;
    };
    let follows = |i: usize| pages.pfn(i).is_some_and(|pfn| pfn.raw() == first.raw() + i);

    first.raw() % pages.len().next_power_of_two() == 0 && (1..pages.len()).all(follows)
}

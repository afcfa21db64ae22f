// SPDX-License-Identifier: GPL-2.0

//! The steps of a migration, each of which is a type.
//!
//! C file: `mm/migrate_device.c`.

use super::{
    arrays::Arrays,
    Buffers,
    Request,
    ELEVATED_REFS,
    HUGE,
    MIGRATE,
    NOT_COPIED,
    OURS,
    SHIFT,
    VALID, //
};
use crate::mm::{
    copy::Mover,
    folio::{
        NewPage,
        PageRef,
        Pfn, //
    },
    vma::Mapping,
    Span, //
};
use kernel::prelude::*;

/// The kind of a source, which is known without a look at the page.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing was collected.
    None,
    /// A hole.
    Hole,
    /// A hole that must stay one.
    KeptHole,
    /// A page.
    Page,
}

/// A source of a migration: what was collected for a page of the span, with its frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was collected: there is no such page, or it cannot be moved now.
    None,
    /// A hole, which a destination would fill.
    Hole,
    /// A page, locked and unmapped.
    Page {
        /// Its frame.
        pfn: Pfn,
        /// It is anonymous memory that KSM has not merged. Only such pages may move to device
        /// memory.
        anon: bool,
    },
}

/// What became of a page of the span.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page moved: its content was copied to the destination.
    Moved,
    /// A hole got its first page.
    Filled,
    /// The page has elevated references, so the kernel refused its destination, or would have.
    RefusedPage,
    /// The kernel refused the destination of a hole: something else has filled it, or userfaultfd
    /// is to fill it.
    RefusedHole,
    /// It had no destination, or was not collected.
    NoDestination,
    /// The content could not be copied to its destination.
    NotCopied,
}

/// Pages that are locked and unmapped, and can be given destinations. Those without one stay.
///
/// # Examples
///
/// ```ignore
/// let mut pages = Collected::vma(&mapping, span, &mut bufs, request)?;
///
/// for i in 0..pages.len() {
///     if pages.source(i) != Source::None {
///         pages.set_destination(i, NewPage::system().ok_or(ENOMEM)?);
///     }
/// }
/// let moved = pages.install(Mover::Cpu).outcome(0) == Outcome::Moved;
/// ```
pub struct Collected<'a>(Arrays<'a>);

impl<'a> Collected<'a> {
    /// Collects pages of `span`, which is within the mapping. Sleeps.
    ///
    /// EINVAL if the mapping cannot be migrated at all, `span` is not within it, or the buffers are
    /// too small.
    pub(crate) fn vma(
        mapping: &'a Mapping<'_>,
        span: Span,
        bufs: &'a mut Buffers,
        request: Request<'a>,
    ) -> Result<Self> {
        Arrays::vma(mapping, span, bufs, request).map(Self)
    }

    /// Collects those of the `nr` pages of device memory from `first` on that are in use, whatever
    /// maps them, and huge pages in one piece. Sleeps. EINVAL if the buffers are too small, or the
    /// pages are not in one window.
    pub(crate) fn frames(first: Pfn, nr: usize, bufs: &'a mut Buffers) -> Result<Self> {
        Arrays::frames(first, nr, bufs).map(Self)
    }

    /// Returns the number of pages of the span.
    pub fn len(&self) -> usize {
        self.0.nr
    }

    /// Returns whether the span is empty, which the span of a mapping never is.
    pub fn is_empty(&self) -> bool {
        self.0.nr == 0
    }

    /// Returns the kind of source `i`.
    pub(crate) fn found(&self, i: usize) -> Found {
        let src = self.0.src(i);

        match (src & MIGRATE != 0, src & VALID != 0) {
            (false, _) => Found::None,
            (true, false) if self.0.keeps_holes => Found::KeptHole,
            (true, false) => Found::Hole,
            (true, true) => Found::Page,
        }
    }

    /// Returns page `i`, if one was collected.
    fn page(&self, i: usize) -> Option<PageRef<'_>> {
        (self.found(i) == Found::Page).then(|| {
            // SAFETY: By the type invariants of `Arrays` the migration has locked the page and
            // holds a reference on it for as long as it is borrowed.
            unsafe { PageRef::new(Pfn::new(self.0.src(i) >> SHIFT)) }
        })
    }

    /// Returns the frame of page `i`, if one was collected.
    pub(crate) fn pfn(&self, i: usize) -> Option<Pfn> {
        self.page(i).map(|page| page.pfn())
    }

    /// Returns whether a page of anonymous memory was collected for page `i`.
    pub(crate) fn is_anon(&self, i: usize) -> bool {
        self.page(i).is_some_and(|page| page.is_anon())
    }

    /// Returns source `i`.
    pub fn source(&self, i: usize) -> Source {
        match (self.found(i), self.pfn(i)) {
            (Found::Page, Some(pfn)) => Source::Page {
                pfn,
                anon: self.is_anon(i),
            },
            (Found::Hole, _) => Source::Hole,
            _ => Source::None,
        }
    }

    /// Returns whether page `i` is a huge page or hole that was collected in one piece. Nothing is
    /// collected for its other pages.
    pub fn is_huge(&self, i: usize) -> bool {
        self.0.src(i) & (MIGRATE | HUGE) == MIGRATE | HUGE
    }

    /// Returns whether page `i` has been given a destination.
    pub fn has_destination(&self, i: usize) -> bool {
        self.0.dst(i) & VALID != 0
    }

    /// Gives page `i` a destination of its size. The destination is freed if the page was not
    /// collected, has another size or already has a destination, or if the page is a hole that must
    /// stay one.
    pub fn set_destination(&mut self, i: usize, page: NewPage) {
        let found = self.found(i);
        let arrays = &mut self.0;

        if matches!(found, Found::None | Found::KeptHole)
            || (arrays.src(i) & HUGE != 0) != (page.pages() > 1)
        {
            return;
        }
        match arrays.bufs.dst.get_mut(i) {
            Some(dst) if i < arrays.nr && *dst == 0 => *dst = page.into_mpfn(),
            _ => (),
        }
    }

    /// Has `mover` fill the destinations with their content, and replaces the sources by them.
    ///
    /// `mover` is that of the device memory, on whichever side it is. For coherent memory
    /// [`Mover::Cpu`] will do. Pages that it cannot reach stay: [`Outcome::NotCopied`].
    pub fn install(mut self, mover: Mover<'_>) -> Installed<'a> {
        self.0.copy(mover);
        self.0.pages();
        Installed(self.0)
    }
}

/// Pages that have been replaced by their destinations, which are still locked and, unless they
/// filled a hole, not yet mapped. Dropping this maps them.
pub struct Installed<'a>(Arrays<'a>);

impl Installed<'_> {
    /// Returns whether page `i` was in system memory.
    pub(crate) fn was_system(&self, i: usize) -> bool {
        let src = self.0.src(i);

        // SAFETY: As in `Collected::page()`, the migration holds a reference on the page.
        src & VALID != 0 && unsafe { Pfn::new(src >> SHIFT) }.is_system()
    }

    /// Returns what became of page `i`.
    pub fn outcome(&self, i: usize) -> Outcome {
        let (src, dst) = (self.0.src(i), self.0.dst(i));

        if dst & VALID == 0 {
            return match dst & OURS {
                NOT_COPIED => Outcome::NotCopied,
                ELEVATED_REFS => Outcome::RefusedPage,
                _ => Outcome::NoDestination,
            };
        }
        match (src & MIGRATE != 0, src & VALID != 0) {
            (true, true) => Outcome::Moved,
            (true, false) => Outcome::Filled,
            (false, true) => Outcome::RefusedPage,
            (false, false) => Outcome::RefusedHole,
        }
    }
}

#[kunit_tests(hmm_cdm_migrate)]
pub(super) mod tests {
    use super::{
        super::Select,
        *, //
    };
    use crate::mm::{
        kunit::UserMemory,
        pagemap::Owner,
        vma::Mappings, //
    };
    use kernel::current;

    /// Collects the pages of `span`, which is within one mapping, and passes them to `with`.
    pub(in super::super) fn collect<R>(
        span: Span,
        with: impl FnOnce(Collected<'_>) -> R,
    ) -> Result<R> {
        let current = current!();
        let mappings = Mappings::lock(current.mm().ok_or(ESRCH)?);
        let mapping = mappings.next(span.start()).ok_or(EFAULT)?;
        let mut bufs = Buffers::new(span.pages())?;
        let pages = Collected::vma(&mapping, span, &mut bufs, from_system())?;
        Ok(with(pages))
    }

    fn from_system() -> Request<'static> {
        Request {
            from: Select::System,
            owner: Owner::NOBODY,
            whole: false,
            fault: None,
        }
    }

    #[test]
    fn buffers_that_are_too_small_are_refused() -> Result {
        let memory = UserMemory::map(4)?;
        let current = current!();
        let mappings = Mappings::lock(current.mm().ok_or(ESRCH)?);
        let mapping = mappings.next(memory.span().start()).ok_or(EFAULT)?;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut bufs = Buffers::new(3)?;

        let pages = Collected::vma(&mapping, memory.span(), &mut bufs, from_system());
        assert_eq!(pages.err(), Some(EINVAL));
        let frames = Collected::frames(page.pfn(), 4, &mut bufs);
        assert_eq!(frames.err(), Some(EINVAL));
        let fits = Collected::vma(&mapping, memory.pages(0, 3)?, &mut bufs, from_system());
        assert_eq!(fits.map(|pages| pages.len()), Ok(3));
        Ok(())
    }

    #[test]
    fn spans_outside_of_the_mapping_are_refused() -> Result {
        let memory = UserMemory::map(4)?;

        memory.unmap(memory.pages(2, 4)?)?;
        assert_eq!(collect(memory.pages(0, 2)?, |_| ()), Ok(()));
        assert_eq!(collect(memory.pages(1, 3)?, |_| ()), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn no_frames_are_no_migration() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let mut bufs = Buffers::new(1)?;
        let pages = Collected::frames(page.pfn(), 0, &mut bufs)?;

        assert!(pages.is_empty());
        assert_eq!(pages.source(0), Source::None);
        let done = pages.install(Mover::Cpu);
        assert_eq!(done.outcome(0), Outcome::NoDestination);
        Ok(())
    }

    #[test]
    fn holes_and_pages_are_told_apart() -> Result {
        let memory = UserMemory::map(3)?;

        memory.write(1, 7)?;
        let seen = collect(memory.span(), |pages| {
            assert_eq!(pages.len(), 3);
            // Nothing was collected beyond the end.
            assert_eq!(pages.source(3), Source::None);
            [0, 1, 2].map(|i| pages.source(i))
        })?;
        let [hole, page, other] = seen;
        assert_eq!((hole, other), (Source::Hole, Source::Hole));
        assert!(matches!(page, Source::Page { anon: true, .. }));
        Ok(())
    }

    #[test]
    fn what_is_dropped_stays() -> Result {
        let memory = UserMemory::map(2)?;

        memory.write(0, 7)?;
        let destination = NewPage::system().ok_or(ENOMEM)?;
        let pfn = destination.pfn();
        collect(memory.span(), |mut pages| {
            pages.set_destination(0, destination);
        })?;
        assert_eq!(memory.read(0)?, 7);
        // The destination was freed: the page is not there.
        let now = collect(memory.span(), |pages| [0, 1].map(|i| pages.source(i)))?;
        let [page, hole] = now;
        assert!(matches!(page, Source::Page { pfn: at, .. } if at != pfn));
        assert_eq!(hole, Source::Hole);
        Ok(())
    }

    #[test]
    fn pages_move_with_their_content() -> Result {
        let memory = UserMemory::map(3)?;

        for page in 0..3 {
            memory.write(page, 7 + page as u64)?;
        }
        let first = NewPage::system().ok_or(ENOMEM)?;
        let last = NewPage::system().ok_or(ENOMEM)?;
        let (to_first, to_last) = (first.pfn(), last.pfn());
        collect(memory.span(), |mut pages| {
            pages.set_destination(0, first);
            pages.set_destination(2, last);
            let done = pages.install(Mover::Cpu);
            assert_eq!(done.outcome(0), Outcome::Moved);
            assert_eq!(done.outcome(1), Outcome::NoDestination);
            assert_eq!(done.outcome(2), Outcome::Moved);
            assert_eq!(done.outcome(3), Outcome::NoDestination);
        })?;
        for page in 0..3 {
            assert_eq!(memory.read(page)?, 7 + page as u64);
        }
        let [a, b, c] = collect(memory.span(), |pages| [0, 1, 2].map(|i| pages.source(i)))?;
        assert!(matches!(a, Source::Page { pfn, .. } if pfn == to_first));
        assert!(matches!(b, Source::Page { pfn, .. } if pfn != to_first && pfn != to_last));
        assert!(matches!(c, Source::Page { pfn, .. } if pfn == to_last));
        Ok(())
    }

    #[test]
    fn a_page_has_one_destination() -> Result {
        let memory = UserMemory::map(1)?;

        memory.write(0, 7)?;
        let (first, second) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let beyond = NewPage::system().ok_or(ENOMEM)?;
        let pfn = first.pfn();
        collect(memory.span(), |mut pages| {
            pages.set_destination(0, first);
            pages.set_destination(0, second);
            // There is no such page.
            pages.set_destination(1, beyond);
            assert_eq!(pages.install(Mover::Cpu).outcome(0), Outcome::Moved);
        })?;
        let [page] = collect(memory.span(), |pages| [pages.source(0)])?;
        assert!(matches!(page, Source::Page { pfn: at, .. } if at == pfn));
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Moving pages between system and device memory, as a chain of types: [`Collected`] pages are
//! locked and unmapped; [`Collected::install`] gives the destinations their content and puts them in
//! the place of the sources; the [`Installed`] ones are mapped when they are dropped. Leaving the
//! chain at any point undoes what has no destination and completes what has one; no page is lost,
//! and none is seen before its content is there.
//!
//! # Huge pages
//!
//! One that is to become base pages is split before it is collected, which `migrate_vma_setup()` does
//! under the folio's lock and for all who map it. With [`Request::whole`] it is collected in one
//! piece (`MIGRATE_VMA_SELECT_COMPOUND`), and gets a huge destination or none: giving it base pages
//! is not safe in 7.3.4, as
//! `migrate_vma_split_unmapped_folio()` splits the folio, but then counts on finding its huge
//! migration entry, and only that one, in the caller's page table:
//!
//! * Another process that maps the page has a huge migration entry too. It is not split, and
//!   `remove_migration_pmd()` makes it a huge mapping of a base page, which corrupts what is behind
//!   that `struct page` (seen as an Oops in `rmap_walk()`).
//! * MADV_DONTNEED, the OOM reaper and page faults run beside a migration. If the entry has been
//!   zapped, the reference that `split_huge_pmd_address()` was to drop stays, and 2 MiB are lost for
//!   ever (seen); if a new huge page has come in its place, that one is frozen.
//!
//! # Write protection
//!
//! userfaultfd's is a bit of the page table entry. It follows a page that moves. But a page of zeros
//! is collected as a hole, and what fills a hole is writable (`migrate_vma_insert_page()`): whoever
//! protects the page would not hear of a write. So holes of such mappings have no destination. Those
//! where nothing is at all neither: it may be a page of zeros when they are filled.
//!
//! C file: `mm/migrate_device.c`.

use super::{
    copy::{Mover, Task},
    fault::CpuFault,
    folio::{NewPage, Pfn},
    pagemap::{Kind, Owner},
    pmd_order,
    vma::Mapping,
    Span,
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{alloc::KVVec, error::to_result, prelude::*};

const VALID: usize = bindings::MIGRATE_PFN_VALID as usize;
const MIGRATE: usize = bindings::MIGRATE_PFN_MIGRATE as usize;
const HUGE: usize = bindings::MIGRATE_PFN_COMPOUND as usize;
const SHIFT: u32 = bindings::MIGRATE_PFN_SHIFT;

/// Ours, in the destination array: there was a destination that could not be given its content. The
/// kernel looks at nothing of an entry without `VALID` (`migrate_pfn_to_page()`).
const NOT_COPIED: usize = 1 << 2;
/// As [`NOT_COPIED`]: someone who holds the page could have changed it during the copy.
const HELD: usize = 1 << 5;
const OURS: usize = NOT_COPIED | HELD;
const _: () = assert!(OURS & (VALID | MIGRATE | HUGE) == 0 && OURS < 1 << SHIFT);
const _: () = assert!(OURS & bindings::MIGRATE_PFN_WRITE as usize == 0);

/// The source and destination arrays of migrations, allocated once and used for many.
///
/// # Invariants
///
/// Both have room for twice `pages`. When no [`Chain`] borrows them, they own no pages.
pub struct Buffers {
    src: KVVec<usize>,
    dst: KVVec<usize>,
    pages: usize,
}

impl Buffers {
    /// Makes room for migrations of up to `pages` pages at a time. ENOMEM.
    ///
    /// `migrate_vma_collect_pmd()` (7.3.4) lets go of the page table to split a large folio, and then
    /// begins again. If the table has gone meanwhile (MADV_DONTNEED, which frees empty ones under the
    /// mmap lock for reading), `migrate_vma_collect_huge_pmd()` collects the whole range, behind the
    /// entries that it has already. It does so once, and does not look at the arrays' end: so they
    /// have room for a range twice.
    pub fn new(pages: usize) -> Result<Self> {
        let room = pages.checked_mul(2).ok_or(EINVAL)?;

        // INVARIANT: As just computed; zero is no page.
        Ok(Self {
            src: KVVec::zeroed(room, GFP_KERNEL)?,
            dst: KVVec::zeroed(room, GFP_KERNEL)?,
            pages,
        })
    }
}

/// Which pages are collected.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Pages of system memory, and holes where there is no page yet; the shared page of zeros is
    /// one.
    System,
    /// Holes alone; here the page of zeros is a page, and stays.
    Nowhere,
    /// As [`Select::System`], and pages of the coherent memory of the request's owner.
    SystemAndPeer,
    /// Pages of the device's own memory, of its kind. Holes are collected too (the C function makes
    /// no difference), and are best left without a destination.
    Device(Kind),
}

/// What [`Collected::vma`] is asked for.
pub(crate) struct Request<'a> {
    /// Which pages.
    pub(crate) from: Select,
    /// For the memory of this owner.
    pub(crate) owner: Owner,
    /// A huge page that fills the span is collected in one piece, as is a hole.
    pub(crate) whole: bool,
    /// The fault that waits for one of the pages, and has it locked.
    pub(crate) fault: Option<&'a CpuFault<'a>>,
}

/// Whether something was collected for one page of the span.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No.
    None,
    /// There is no page.
    Hole,
    /// The same, and it is to stay so.
    KeptHole,
    /// A page.
    Page,
}

/// What was collected for one page of the span.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing: there is no such page, or it cannot be moved now.
    None,
    /// There is no page; a destination would be the first.
    Hole,
    /// A page, locked and unmapped.
    Page {
        /// Its frame.
        pfn: Pfn,
        /// It is anonymous memory, and not merged by KSM; nothing else is given to device memory.
        anon: bool,
    },
}

/// What became of one page of the span.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page moved: its content is copied to the destination.
    Moved,
    /// A hole got its first page.
    Filled,
    /// Someone else holds the page, so the kernel refused its destination or would have.
    RefusedPage,
    /// The kernel refused the destination of a hole: someone else filled it, or is about to
    /// (userfaultfd).
    RefusedHole,
    /// It had no destination, or was never collected.
    Untouched,
    /// Its destination could not be given its content.
    NotCopied,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Collected,
    Installed,
}

/// A migration under way.
///
/// # Invariants
///
/// `migrate_vma_setup()` or `migrate_device_range()` has filled the first `nr` entries of
/// `bufs.src`, and `stage` says what has been called since. In `bufs.dst` there are zeros and
/// pages that came from [`NewPage::into_mpfn`]. With `vma`, the mmap lock is held for `'a`.
struct Chain<'a> {
    vma: Option<bindings::migrate_vma>,
    // Whether what was collected can be in device memory. Otherwise it is system memory.
    from_device: bool,
    // Whether holes have no destination.
    keeps_holes: bool,
    bufs: &'a mut Buffers,
    nr: usize,
    stage: Stage,
    _mapping: PhantomData<&'a ()>,
}

impl Chain<'_> {
    fn src(&self, i: usize) -> usize {
        Self::entry(&self.bufs.src, i, self.nr)
    }

    fn dst(&self, i: usize) -> usize {
        Self::entry(&self.bufs.dst, i, self.nr)
    }

    /// Entry `i` of the `nr` that are in use; zero, which stands for nothing, behind them.
    fn entry(array: &[usize], i: usize, nr: usize) -> usize {
        array
            .get(..nr)
            .and_then(|used| used.get(i))
            .copied()
            .unwrap_or(0)
    }

    /// Calls `migrate_vma_pages()` or its twin for pages without a vma.
    fn pages(&mut self) {
        let (src, dst) = (self.bufs.src.as_mut_ptr(), self.bufs.dst.as_mut_ptr());

        match &mut self.vma {
            // SAFETY: By the type invariants; called once, by `install()` or `drop()`.
            Some(args) => unsafe { bindings::migrate_vma_pages(args) },
            // SAFETY: As above.
            None => unsafe { bindings::migrate_device_pages(src, dst, self.nr) },
        }
        self.stage = Stage::Installed;
    }

    /// What is to be done: pages and holes with their destinations, by their places.
    fn tasks(&self) -> impl Iterator<Item = Task> + '_ {
        let entries = self.bufs.src.iter().zip(&self.bufs.dst).take(self.nr);

        entries
            .enumerate()
            .filter_map(|(place, (src, dst))| Self::task(place, *src, *dst))
    }

    fn task(place: usize, src: usize, dst: usize) -> Option<Task> {
        if src & MIGRATE == 0 || dst & VALID == 0 {
            return None;
        }

        // SAFETY: Frames in these arrays have pages.
        let (from, to) = unsafe { (Pfn::new(src >> SHIFT), Pfn::new(dst >> SHIFT)) };
        Some(Task {
            place,
            from: (src & VALID != 0).then_some(from),
            to,
            pages: if dst & HUGE != 0 { 1 << pmd_order() } else { 1 },
        })
    }

    /// Gives the destinations their content, and takes back those for which that fails.
    fn copy(&mut self, mover: Mover<'_>) {
        if matches!(mover, Mover::Nothing) {
            return;
        }
        if self.from_device {
            self.refuse_damaged();
            self.take_back_held();
        }

        // The tasks are read from the arrays meanwhile, so failures are only noted.
        let failed = {
            let tasks = self.tasks();
            let mut failed = Failed::default();

            // SAFETY: The sources are locked and mapped by migration entries alone, or are holes;
            // the destinations are locked and mapped by nobody. The caller of `install()` names the
            // mover that the pages' memory is for.
            unsafe { mover.run(tasks, |place, pages| failed.add(place, pages)) };
            failed
        };

        for (first, pages) in failed.ranges() {
            for i in first..(first + pages).min(self.nr) {
                self.take_back(i, NOT_COPIED);
            }
        }
        if self.from_device {
            // What broke during the copy.
            self.refuse_damaged();
        }
    }

    /// Takes back the destinations of pages whose content is lost.
    fn refuse_damaged(&mut self) {
        // SAFETY: The caller passes entries of the source array, whose pages are referenced by the
        // migration.
        self.refuse(NOT_COPIED, |src, i, nr| unsafe {
            bindings::cdm_damage_next(src, i, nr)
        });
    }

    /// Takes the destinations back of pages that someone holds who could change them during the
    /// copy. Of system memory migrate_vma_check_page() has left such pages out.
    fn take_back_held(&mut self) {
        // SAFETY: As above; the pages are locked, too.
        self.refuse(HELD, |src, i, nr| unsafe {
            bindings::cdm_refs_next_extra(src, i, nr)
        });
    }

    /// Takes the destinations back of the sources that `next` finds, and leaves `instead`.
    fn refuse(&mut self, instead: usize, next: impl Fn(*const usize, usize, usize) -> usize) {
        let mut i = 0;

        loop {
            i = next(self.bufs.src.as_ptr(), i, self.nr);
            if i >= self.nr {
                return;
            }
            self.take_back(i, instead);
            i += 1;
        }
    }

    /// Takes the destination of place `i` back, and leaves `instead`.
    fn take_back(&mut self, i: usize, instead: usize) {
        let Some(dst) = self.bufs.dst.get_mut(i) else {
            return;
        };
        let mpfn = *dst;

        if mpfn & VALID != 0 {
            *dst = instead;
            // SAFETY: By the type invariants it came from `NewPage::into_mpfn()`, and the array
            // does not have it any more.
            drop(unsafe { NewPage::from_mpfn(mpfn) });
        }
    }

    /// Takes all destinations back, so that nothing moves.
    fn abandon(&mut self) {
        for i in 0..self.nr {
            self.take_back(i, 0);
        }
        // Clears MIGRATE of every source without a destination, which is all of them.
        self.pages();
    }
}

/// Which places could not be copied. Nothing is allocated for them: what does not fit is taken
/// together with what lies between.
#[derive(Default)]
struct Failed {
    ranges: [(usize, usize); Self::ROOM],
    len: usize,
}

impl Failed {
    const ROOM: usize = 16;

    fn add(&mut self, place: usize, pages: usize) {
        match self.ranges.get_mut(self.len) {
            Some(slot) => {
                *slot = (place, pages);
                self.len += 1;
            }
            None => {
                if let Some((first, known)) = self.ranges.last_mut() {
                    let end = (*first + *known).max(place + pages);

                    *first = (*first).min(place);
                    *known = end - *first;
                }
            }
        }
    }

    fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.ranges.iter().take(self.len).copied()
    }
}

impl Drop for Chain<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Collected {
            self.abandon();
        }

        let (src, dst) = (self.bufs.src.as_mut_ptr(), self.bufs.dst.as_mut_ptr());
        match &mut self.vma {
            // SAFETY: By the type invariants `migrate_vma_pages()` was called, and the content of
            // what moved was in place before. This ends the migration: lock and references of all pages in
            // the arrays are given up, as is the borrow of the arrays.
            Some(args) => unsafe { bindings::migrate_vma_finalize(args) },
            // SAFETY: As above.
            None => unsafe { bindings::migrate_device_finalize(src, dst, self.nr) },
        }
    }
}

/// Pages that are locked, unmapped and wait for their destinations. Without one they stay.
pub struct Collected<'a>(Chain<'a>);

impl<'a> Collected<'a> {
    /// Collects the pages of `span`, which is inside of the mapping, as requested. Sleeps.
    ///
    /// EINVAL if the mapping cannot be migrated at all, or the buffers are too small.
    pub(crate) fn vma(
        mapping: &'a Mapping<'_>,
        span: Span,
        bufs: &'a mut Buffers,
        request: Request<'_>,
    ) -> Result<Self> {
        let nr = span.pages();
        if bufs.pages < nr {
            return Err(EINVAL);
        }
        let from = match request.from {
            Select::System => bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_SYSTEM,
            Select::SystemAndPeer => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_SYSTEM
                    | bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_COHERENT
            }
            // `migrate_vma_collect_pmd()` takes what `pte_none()` is without asking for a flag.
            Select::Nowhere => 0,
            Select::Device(Kind::Coherent) => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_COHERENT
            }
            Select::Device(Kind::Private) => {
                bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_DEVICE_PRIVATE
            }
        };
        let whole = if request.whole {
            bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_COMPOUND
        } else {
            0
        };
        let mut args = bindings::migrate_vma {
            vma: mapping.as_ptr(),
            dst: bufs.dst.as_mut_ptr(),
            src: bufs.src.as_mut_ptr(),
            cpages: 0,
            npages: 0,
            start: span.start(),
            end: span.end(),
            pgmap_owner: request.owner.as_ptr(),
            flags: (from | whole) as usize,
            fault_page: request
                .fault
                .map_or(core::ptr::null_mut(), |fault| fault.page()),
        };

        // The collecting walk sets every entry that it reaches; it may stop early.
        if let Some(dst) = bufs.dst.get_mut(..nr) {
            dst.fill(0);
        }
        // SAFETY: The mapping is valid and the mmap lock held for 'a; both arrays have room for the
        // span, were given exclusively for 'a, and do not move (the vectors are never resized). A
        // fault's page is locked and referenced for longer, by its invariants.
        to_result(unsafe { bindings::migrate_vma_setup(&mut args) })?;
        // INVARIANT: The setup has filled the arrays.
        Ok(Self(Chain {
            nr: args.npages.min(nr),
            vma: Some(args),
            from_device: matches!(request.from, Select::Device(_) | Select::SystemAndPeer),
            // Of what is only reserved the CPU could not have touched anything either.
            keeps_holes: mapping.is_protected() || !mapping.is_accessible(),
            bufs,
            stage: Stage::Collected,
            _mapping: PhantomData,
        }))
    }

    /// Collects the `nr` pages of device memory from `first` that are in use, whoever maps them; huge
    /// ones in one piece. Sleeps. EINVAL if the buffers are too small.
    pub(crate) fn frames(first: Pfn, nr: usize, bufs: &'a mut Buffers) -> Result<Self> {
        if bufs.pages < nr {
            return Err(EINVAL);
        }
        for array in [&mut bufs.src, &mut bufs.dst] {
            if let Some(used) = array.get_mut(..nr) {
                used.fill(0);
            }
        }
        // SAFETY: The array has room for `nr` entries. The frames have pages; which of them are in
        // use the function finds out by itself.
        to_result(unsafe {
            bindings::migrate_device_range(bufs.src.as_mut_ptr(), first.raw(), nr)
        })?;
        // INVARIANT: The call has filled the source array, and we the destination array.
        Ok(Self(Chain {
            vma: None,
            from_device: true,
            keeps_holes: false,
            bufs,
            nr,
            stage: Stage::Collected,
            _mapping: PhantomData,
        }))
    }

    /// How many pages the span has.
    pub fn len(&self) -> usize {
        self.0.nr
    }

    /// Whether the span is empty, which it never is.
    pub fn is_empty(&self) -> bool {
        self.0.nr == 0
    }

    /// Whether something was collected for page `i`.
    pub(crate) fn found(&self, i: usize) -> Found {
        let src = self.0.src(i);

        match (src & MIGRATE != 0, src & VALID != 0) {
            (false, _) => Found::None,
            (true, false) if self.0.keeps_holes => Found::KeptHole,
            (true, false) => Found::Hole,
            (true, true) => Found::Page,
        }
    }

    /// The frame of page `i`, if one was collected.
    pub(crate) fn pfn(&self, i: usize) -> Option<Pfn> {
        // SAFETY: Frames in the array have pages.
        (self.found(i) == Found::Page).then(|| unsafe { Pfn::new(self.0.src(i) >> SHIFT) })
    }

    /// Whether what was collected for page `i` is a page of anonymous memory.
    pub(crate) fn is_anon(&self, i: usize) -> bool {
        self.pfn(i).is_some_and(|pfn| {
            // SAFETY: The page is locked by the migration, so what it is cannot change.
            unsafe { bindings::hmm_cdm_helper_page_is_anon(pfn.page().as_ptr()) }
        })
    }

    /// What was collected for page `i`.
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

    /// Whether what was collected for page `i` is a huge page or hole, in one piece. Nothing is
    /// collected for the others of it.
    pub fn is_huge(&self, i: usize) -> bool {
        self.0.src(i) & (MIGRATE | HUGE) == MIGRATE | HUGE
    }

    /// Whether page `i` has been given a destination.
    pub fn has_destination(&self, i: usize) -> bool {
        self.0.dst(i) & VALID != 0
    }

    /// Gives page `i` a destination of its size. Destinations for pages that were not collected, of
    /// another size, or for holes that stay, are given back.
    pub fn set_destination(&mut self, i: usize, page: NewPage) {
        let found = self.found(i);
        let chain = &mut self.0;

        if matches!(found, Found::None | Found::KeptHole)
            || (chain.src(i) & HUGE != 0) != (page.pages() > 1)
        {
            return;
        }
        match chain.bufs.dst.get_mut(i) {
            Some(dst) if i < chain.nr && *dst == 0 => *dst = page.into_mpfn(),
            _ => (),
        }
    }

    /// Has `mover` give the destinations their content, and puts them in the place of their
    /// sources.
    ///
    /// The mover is that of the device's memory at one side; [`Mover::Cpu`] does if that is
    /// coherent.
    pub fn install(mut self, mover: Mover<'_>) -> Installed<'a> {
        self.0.copy(mover);
        self.0.pages();
        Installed(self.0)
    }
}

/// Pages that are in their new place, still locked, and not yet mapped unless they filled a hole.
/// Dropping this maps everything.
pub struct Installed<'a>(Chain<'a>);

impl Installed<'_> {
    /// Whether page `i` was in system memory.
    pub(crate) fn was_system(&self, i: usize) -> bool {
        let src = self.0.src(i);

        // SAFETY: Frames in the array have pages.
        src & VALID != 0 && unsafe { Pfn::new(src >> SHIFT) }.is_system()
    }

    /// What became of page `i`.
    pub fn outcome(&self, i: usize) -> Outcome {
        let (src, dst) = (self.0.src(i), self.0.dst(i));

        if dst & VALID == 0 {
            return match dst & OURS {
                NOT_COPIED => Outcome::NotCopied,
                HELD => Outcome::RefusedPage,
                _ => Outcome::Untouched,
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
mod tests {
    use super::*;
    use crate::mm::{
        copy::{Copier, CopyRun, Direction},
        kunit::UserMemory,
        vma::Mappings,
    };
    use kernel::current;

    /// Collects the pages of `span`, all in one mapping, and hands them to `with`.
    fn collect<R>(span: Span, with: impl FnOnce(Collected<'_>) -> R) -> Result<R> {
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
        assert_eq!(done.outcome(0), Outcome::Untouched);
        Ok(())
    }

    #[test]
    fn holes_and_pages_are_told_apart() -> Result {
        let memory = UserMemory::map(3)?;

        memory.write(1, 7)?;
        let seen = collect(memory.span(), |pages| {
            assert_eq!(pages.len(), 3);
            // Behind the end nothing was collected.
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
        // The destination was given back: it is not where the page is.
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
            assert_eq!(done.outcome(1), Outcome::Untouched);
            assert_eq!(done.outcome(2), Outcome::Moved);
            assert_eq!(done.outcome(3), Outcome::Untouched);
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

    /// A device that fails from some run or zeroing on.
    struct Failing {
        good: usize,
    }

    impl Copier for Failing {
        fn copy(&self, _: Direction, runs: &[CopyRun]) -> usize {
            // What it does not do for these tests is copy.
            self.good.min(runs.len())
        }

        fn zero(&self, _: usize, _: usize) -> Result {
            Err(EIO)
        }
    }

    #[test]
    fn what_is_not_copied_stays() -> Result {
        let memory = UserMemory::map(4)?;

        // Page 2 is a hole; 1 has no destination, so that 0 and 3 are runs of their own.
        for page in [0, 1, 3] {
            memory.write(page, 7 + page as u64)?;
        }
        let before = collect(memory.span(), |pages| [0, 3].map(|i| pages.source(i)))?;
        let mut destinations = KVec::new();
        for _ in 0..3 {
            let page = NewPage::system().ok_or(ENOMEM)?;
            destinations.push(page, GFP_KERNEL)?;
        }
        let first = destinations.first().ok_or(ENOMEM)?.pfn();
        collect(memory.span(), |mut pages| {
            for (i, page) in [0, 2, 3].into_iter().zip(destinations) {
                pages.set_destination(i, page);
            }
            let done = pages.install(Mover::Device {
                copier: &Failing { good: 0 },
                first,
                direction: Direction::In,
            });
            assert_eq!(done.outcome(0), Outcome::NotCopied);
            assert_eq!(done.outcome(1), Outcome::Untouched);
            assert_eq!(done.outcome(2), Outcome::NotCopied);
            assert_eq!(done.outcome(3), Outcome::NotCopied);
        })?;
        for page in [0, 1, 3] {
            assert_eq!(memory.read(page)?, 7 + page as u64);
        }
        let after = collect(memory.span(), |pages| [0, 3].map(|i| pages.source(i)))?;
        assert_eq!(before, after);
        Ok(())
    }

    #[test]
    fn a_copy_that_fails_halfway_moves_the_first_half() -> Result {
        let memory = UserMemory::map(3)?;

        for page in 0..3 {
            memory.write(page, 7)?;
        }
        let (first, last) = (
            NewPage::system().ok_or(ENOMEM)?,
            NewPage::system().ok_or(ENOMEM)?,
        );
        let pfn = first.pfn();
        let outcomes = collect(memory.span(), |mut pages| {
            pages.set_destination(0, first);
            pages.set_destination(2, last);
            let done = pages.install(Mover::Device {
                copier: &Failing { good: 1 },
                first: pfn,
                direction: Direction::In,
            });
            [0, 1, 2].map(|i| done.outcome(i))
        })?;
        assert_eq!(
            outcomes,
            [Outcome::Moved, Outcome::Untouched, Outcome::NotCopied]
        );
        assert_eq!(memory.read(2)?, 7);
        Ok(())
    }

    #[test]
    fn failures_that_are_too_many_are_taken_together() {
        let mut failed = Failed::default();

        for i in 0..Failed::ROOM + 3 {
            failed.add(10 * i, 2);
        }
        assert_eq!(failed.ranges().count(), Failed::ROOM);
        for i in 0..Failed::ROOM + 3 {
            assert!(failed
                .ranges()
                .any(|(first, pages)| first <= 10 * i && 10 * i + 2 <= first + pages));
        }
        // None is before the first one that failed, or behind the last.
        assert!(failed
            .ranges()
            .all(|(first, pages)| first + pages <= 10 * (Failed::ROOM + 2) + 2));
    }

    #[test]
    fn holes_are_filled_with_zeros() -> Result {
        let memory = UserMemory::map(2)?;

        let mut destination = NewPage::system().ok_or(ENOMEM)?;
        destination.fill(0xff);
        collect(memory.span(), |mut pages| {
            pages.set_destination(1, destination);
            let done = pages.install(Mover::Cpu);
            assert_eq!(done.outcome(0), Outcome::Untouched);
            assert_eq!(done.outcome(1), Outcome::Filled);
        })?;
        let now = collect(memory.span(), |pages| [0, 1].map(|i| pages.source(i)))?;
        assert!(matches!(now, [Source::Hole, Source::Page { .. }]));
        assert_eq!(memory.read(1)?, 0);
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

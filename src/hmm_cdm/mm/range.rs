// SPDX-License-Identifier: GPL-2.0

//! Reading the CPU's page table for a device, faulting pages in where asked: `struct hmm_range`.
//!
//! C file: `mm/hmm.c`.

use super::{
    folio::{
        PageRef,
        Pfn, //
    },
    notifier::{
        IntervalNotifier,
        Invalidate,
        Nothing,
        NotifierWithUser,
        Sequence,
        Stale, //
    },
    pagemap::Owner,
    vma::Mappings,
    Span, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    alloc::KVVec,
    error::to_result,
    mm::MmWithUser,
    page::PAGE_SHIFT,
    prelude::*, //
};

/// How an address is accessed, or what a page table entry allows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// How long a walk is repeated while the range keeps changing, in milliseconds. Then the caller
/// decides whether to go on (`HMM_RANGE_DEFAULT_TIMEOUT` in include/linux/hmm.h).
const TIMEOUT_MS: u32 = 1000;

/// One page as the CPU's page table has it; the page is lent by the view.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CpuEntry<'v> {
    /// No page, and the address may not be accessed at all: unmapped, `PROT_NONE`, special.
    Error,
    /// No page at the moment.
    None,
    /// A page.
    Page {
        /// The page.
        page: PageRef<'v>,
        /// What the CPU's page table entry allows.
        access: Access,
        /// It is mapped as part of a page of `1 << order` base pages.
        order: u8,
    },
}

/// An entry in the form of `hmm_range_fault()`.
///
/// # Invariants
///
/// It is what `hmm_range_fault()` has reported for a page, and holds for `'v`.
#[derive(Copy, Clone)]
#[repr(transparent)]
pub(crate) struct RawEntry<'v> {
    raw: usize,
    _view: PhantomData<&'v ()>,
}

impl<'v> RawEntry<'v> {
    const VALID: usize = bindings::hmm_pfn_flags_HMM_PFN_VALID;
    const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
    const WRITE: usize = bindings::hmm_pfn_flags_HMM_PFN_WRITE;
    const FLAGS: usize = bindings::hmm_pfn_flags_HMM_PFN_FLAGS;
    const ORDER_SHIFT: u32 = bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT as u32;

    /// The number: the page's frame in the lower bits, flags in the upper ones.
    #[inline(always)]
    pub(crate) fn raw(self) -> usize {
        self.raw
    }

    fn is_page(self) -> bool {
        self.raw & (Self::VALID | Self::ERROR) == Self::VALID
    }

    /// What it means.
    #[inline(always)]
    pub(crate) fn decode(self) -> CpuEntry<'v> {
        if self.raw & Self::ERROR != 0 {
            CpuEntry::Error
        } else if self.raw & Self::VALID == 0 {
            CpuEntry::None
        } else {
            CpuEntry::Page {
                // SAFETY: By the type invariants. `hmm_range_fault()` reports frames of pages only:
                // what has none is HMM_PFN_ERROR (`hmm_vma_handle_pte()`). As the entry holds, the
                // page is mapped.
                page: unsafe { PageRef::new(Pfn::new(self.raw & !Self::FLAGS)) },
                access: if self.raw & Self::WRITE != 0 {
                    Access::Write
                } else {
                    Access::Read
                },
                order: ((self.raw >> Self::ORDER_SHIFT) & 0x1f) as u8,
            }
        }
    }
}

/// Room for the result of a walk, allocated once and used for many.
pub struct Walker {
    pfns: KVVec<usize>,
}

impl Walker {
    /// Makes room for walks of up to `pages` pages. ENOMEM.
    pub fn new(pages: usize) -> Result<Self> {
        let pfns = KVVec::zeroed(pages, GFP_KERNEL)?;

        Ok(Self { pfns })
    }

    /// Looks at what is mapped of `span`, which is inside of the notifier's and no longer than
    /// [`Self::new`] made room for: at its part from the first page that the process may read to the
    /// last one, and at the page of `addr` in any case. Nothing is faulted in.
    ///
    /// Sleeps; takes the mmap lock for reading, so the caller must not hold it. `owner` is as with
    /// [`Self::walk`].
    ///
    /// * EBUSY: the range has changed meanwhile
    /// * EFAULT: the address space is being reaped
    /// * EINTR: a fatal signal arrived
    /// * EINVAL: no room, or the notifier or `addr` is elsewhere
    pub fn look<'a, T: Invalidate>(
        &'a mut self,
        watched: NotifierWithUser<'a, T>,
        span: Span,
        addr: usize,
        owner: Owner,
    ) -> Result<Snapshot<'a, T>> {
        let page = Span::covering(addr, 1).ok_or(EINVAL)?;

        if page.intersect(span) != Some(page) {
            return Err(EINVAL);
        }
        let notifier = watched.notifier();
        let seq = notifier.begin();
        let mappings = Mappings::lock_killable(watched.mm())?;
        if mappings.is_unstable() {
            return Err(EFAULT);
        }
        let (span, plain) = readable_part(&mappings, span, page);
        let (mut range, pfns) = self.range(notifier, span, owner)?;
        range.notifier_seq = seq.mmu;
        // SAFETY: `range` describes memory that is valid during the call and large enough. The
        // function walks the page tables of the notifier's address space, whose mmap lock is held:
        // it is that of `watched`, by the invariants of `NotifierWithUser`.
        to_result(unsafe { bindings::hmm_range_fault(&mut range) })?;
        drop(mappings);
        Ok(Snapshot::new(notifier, seq, span, pfns, plain))
    }

    /// What [`Self::walk`] and [`Self::look`] ask `mm/hmm.c` for, but the requests and the sequence.
    fn range<'a, T: Invalidate>(
        &'a mut self,
        notifier: &IntervalNotifier<T>,
        span: Span,
        owner: Owner,
    ) -> Result<(bindings::hmm_range, &'a mut [usize])> {
        if span.intersect(notifier.span()) != Some(span) {
            return Err(EINVAL);
        }
        let pfns = self.pfns.get_mut(..span.pages()).ok_or(EINVAL)?;

        // The sticky flags are copied from input to output.
        pfns.fill(0);
        let range = bindings::hmm_range {
            notifier: notifier.as_raw(),
            notifier_seq: 0,
            start: span.start(),
            end: span.end(),
            hmm_pfns: pfns.as_mut_ptr(),
            default_flags: 0,
            // What an earlier walk left in the array is no request.
            pfn_flags_mask: 0,
            dev_private_owner: owner.as_ptr(),
        };
        Ok((range, pfns))
    }

    /// Looks at `span`, which is inside of the notifier's and no longer than [`Self::new`] made
    /// room for. With `fault`, pages that do not allow that access are first faulted in, as the
    /// CPU's access would; without, nothing changes.
    ///
    /// Sleeps; takes the mmap lock for reading, so the caller must not hold it.
    ///
    /// `owner` is that of the device's memory: of private memory, its pages are looked at where
    /// they are, while those of others are faulted in. One that may not be written is not faulted
    /// in for that either (`hmm_vma_handle_pte()`): for this, nobody has to be the owner.
    ///
    /// * EFAULT: an address in the span cannot be accessed
    /// * EPERM: it can be read, but not be written
    /// * EBUSY: the range kept changing for a second
    /// * EINTR: a fatal signal arrived
    /// * ENOMEM, EINVAL
    pub fn walk<'a, T: Invalidate>(
        &'a mut self,
        watched: NotifierWithUser<'a, T>,
        span: Span,
        fault: Option<Access>,
        owner: Owner,
    ) -> Result<Snapshot<'a, T>> {
        let notifier = watched.notifier();
        let mut seq = notifier.sequence();
        let (mut range, pfns) = self.range(notifier, span, owner)?;
        range.default_flags = match fault {
            None => 0,
            Some(Access::Read) => bindings::hmm_pfn_flags_HMM_PFN_REQ_FAULT,
            Some(Access::Write) => {
                bindings::hmm_pfn_flags_HMM_PFN_REQ_FAULT
                    | bindings::hmm_pfn_flags_HMM_PFN_REQ_WRITE
            }
        };
        // SAFETY: `range` describes memory that is valid during the call and large enough. The
        // function takes the mmap lock of the notifier's address space, which `watched` keeps from
        // being torn down.
        to_result(unsafe {
            bindings::hmm_range_fault_unlocked_timeout(
                &mut range,
                kernel::time::msecs_to_jiffies(TIMEOUT_MS),
            )
        })?;
        seq.mmu = range.notifier_seq;
        Ok(Snapshot::new(notifier, seq, span, pfns, false))
    }

    /// Looks at `span` of `mm`, which need not be watched, without faulting anything in, and runs
    /// `with` on its entries while they hold: the loop of Documentation/mm/hmm.rst. `None` if the
    /// span has changed during each of `attempts` walks; then `with` was not called.
    ///
    /// Otherwise as [`Self::walk`]: EINTR, ENOMEM, EINVAL.
    pub(crate) fn snapshot_of<R>(
        &mut self,
        mm: &MmWithUser,
        span: Span,
        owner: Owner,
        attempts: u32,
        with: impl FnOnce(&View<'_>) -> R,
    ) -> Result<Option<R>> {
        // For this span alone, so that changes elsewhere do not make the walk stale.
        let notifier = KBox::pin_init(IntervalNotifier::new(mm, span, Nothing), GFP_KERNEL)?;
        let watched = notifier.with_user(mm)?;
        let mut with = Some(with);

        for _ in 0..attempts {
            let snapshot = match self.walk(watched, span, None, owner) {
                Ok(snapshot) => snapshot,
                Err(EBUSY) => continue,
                Err(e) => return Err(e),
            };
            if let Ok(seen) = snapshot.commit(|_, view| with.take().map(|with| with(view))) {
                return Ok(seen);
            }
        }
        Ok(None)
    }
}

/// The part of `span` from the first page that the process may read to the last one, with `page`
/// inside; and whether all that it has mapped there is anonymous. Outside of it
/// `hmm_vma_walk_test()` and `hmm_vma_walk_hole()` would find errors alone, one page after the other.
fn readable_part(mappings: &Mappings<'_>, span: Span, page: Span) -> (Span, bool) {
    let (mut part, mut plain) = (page, true);
    let mut at = span.start();

    while at < span.end() {
        let Some(mapping) = mappings.next(at) else {
            break;
        };
        let Some(mapped) = mapping.span().and_then(|mapped| mapped.intersect(span)) else {
            break;
        };

        if mapping.is_readable() {
            let start = part.start().min(mapped.start());
            let end = part.end().max(mapped.end());

            part = Span::new(start, end).unwrap_or(part);
            plain &= mapping.is_anonymous();
        }
        at = mapped.end();
    }
    (part, plain)
}

/// Of a huge page of private memory `hmm_vma_handle_absent_pmd()` reports the first frames, wherever
/// in it the walk begins (7.3.4). What one entry of that size maps is naturally aligned on both
/// sides, so the address says which frame it is.
fn place_huge(span: Span, pfns: &mut [usize]) {
    let pages = super::window_pages();
    let lead = (span.start() >> PAGE_SHIFT) % pages;

    if lead == 0 {
        return;
    }
    for (i, raw) in (lead..pages).zip(pfns) {
        let order = (*raw >> RawEntry::ORDER_SHIFT) & 0x1f;
        let is_page = *raw & (RawEntry::VALID | RawEntry::ERROR) == RawEntry::VALID;

        if is_page && order == super::pmd_order() as usize {
            *raw = *raw & !(pages - 1) | i;
        }
    }
}

/// The result of a walk, which is worth nothing outside of [`Snapshot::commit`]: the page table
/// may have changed since.
pub struct Snapshot<'a, T: Invalidate> {
    notifier: &'a IntervalNotifier<T>,
    seq: Sequence,
    span: Span,
    pfns: &'a [usize],
    plain: bool,
}

impl<'a, T: Invalidate> Snapshot<'a, T> {
    fn new(
        notifier: &'a IntervalNotifier<T>,
        seq: Sequence,
        span: Span,
        pfns: &'a mut [usize],
        plain: bool,
    ) -> Self {
        place_huge(span, pfns);
        Self {
            notifier,
            seq,
            span,
            pfns,
            plain,
        }
    }
}

impl<T: Invalidate + Unpin> Snapshot<'_, T> {
    /// Runs `enter` with the entries and what the notifier guards, if the entries still hold.
    /// While it runs, no invalidation of the span returns.
    pub fn commit<R>(self, enter: impl FnOnce(&mut T, &View<'_>) -> R) -> Result<R, Stale> {
        self.notifier.commit(self.seq, |data| {
            // SAFETY: The array was filled by `hmm_range_fault()`. Nothing has changed since, and
            // while the notifier's lock is held, which is as long as the view lives, no invalidation
            // of the span returns.
            let view = unsafe { View::new(self.span, self.pfns, self.plain) };

            enter(data, &view)
        })
    }
}

/// The entries of a walk, valid inside of [`Snapshot::commit`].
pub struct View<'a> {
    span: Span,
    entries: &'a [RawEntry<'a>],
    // All pages were seen in anonymous mappings.
    plain: bool,
}

#[cfg(CONFIG_KUNIT = "y")]
impl<'a> View<'a> {
    /// What a walk of `span` would have given: entries made by [`Self::raw`], or zero for no page.
    pub(crate) fn of(span: Span, pfns: &'a [usize]) -> Self {
        // SAFETY: By the invariants of `Pfn`, entries that [`Self::raw`] has made are of pages; the
        // tests keep them.
        unsafe { Self::new(span, pfns, false) }
    }

    /// The entry of a page in the form of `hmm_range_fault()`.
    pub(crate) fn raw(pfn: Pfn, access: Access) -> usize {
        let write = match access {
            Access::Read => 0,
            Access::Write => bindings::hmm_pfn_flags_HMM_PFN_WRITE,
        };

        pfn.raw() | write | bindings::hmm_pfn_flags_HMM_PFN_VALID
    }

    /// The same for page `i` of a huge one that begins with `first`.
    pub(crate) fn raw_huge(first: Pfn, i: usize, access: Access) -> usize {
        let order = super::pmd_order() as usize;

        Self::raw(first, access) + i | order << bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT
    }
}

impl<'a> View<'a> {
    /// # Safety
    ///
    /// `hmm_range_fault()` has filled `pfns` for the pages of `span`, and that holds for `'a`.
    #[inline(always)]
    unsafe fn new(span: Span, pfns: &'a [usize], plain: bool) -> Self {
        // SAFETY: The type of the entries is transparent.
        // INVARIANT: By the safety requirements.
        let entries = unsafe { core::slice::from_raw_parts(pfns.as_ptr().cast(), pfns.len()) };

        Self {
            span,
            entries,
            plain,
        }
    }
}

impl View<'_> {
    /// The span that was walked.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The entry of the page at `addr`; [`CpuEntry::Error`] outside of the span.
    pub fn at(&self, addr: usize) -> CpuEntry<'_> {
        addr.checked_sub(self.span.start())
            .and_then(|offset| self.entries.get(offset >> PAGE_SHIFT))
            .map_or(CpuEntry::Error, |raw| raw.decode())
    }

    /// All entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = CpuEntry<'_>> + '_ {
        self.entries.iter().map(|raw| raw.decode())
    }

    /// The same from the first page that there is to the last one, or one entry without a page.
    pub(crate) fn trimmed(&self) -> View<'_> {
        let is_page = |raw: &RawEntry<'_>| raw.is_page();
        let before = self.entries.iter().position(is_page).unwrap_or(0);
        let behind = self.entries.iter().rev().position(is_page);
        let end = self.entries.len() - behind.unwrap_or(self.entries.len().saturating_sub(1));
        let at = |i: usize| self.span.start() + (i << PAGE_SHIFT);

        match (
            Span::new(at(before), at(end)),
            self.entries.get(before..end),
        ) {
            (Some(span), Some(entries)) => View {
                span,
                entries,
                ..*self
            },
            _ => View { ..*self },
        }
    }

    /// The place of the first page, from place `i` on, that no device may access; `access.c` says
    /// which ones those are. `usize::MAX` if there is none.
    pub(crate) fn next_inaccessible(&self, i: usize) -> usize {
        let nr = self.entries.len();

        // SAFETY: It reads a variable.
        if self.plain && !unsafe { bindings::cdm_damage_any() } {
            return usize::MAX;
        }
        // SAFETY: The array has that many entries, of a type that is a transparent wrapper. By their
        // invariants they hold, so the pages are mapped.
        let inaccessible = unsafe {
            bindings::cdm_access_next_inaccessible(self.entries.as_ptr().cast(), i, nr)
        };

        if inaccessible < nr {
            inaccessible
        } else {
            usize::MAX
        }
    }

    /// All entries in the form of `hmm_range_fault()`, in order.
    pub(crate) fn raw_entries(&self) -> &[RawEntry<'_>] {
        self.entries
    }

    /// Whether a number is that of a frame and nothing else.
    #[inline(always)]
    pub(crate) fn is_frame(raw: usize) -> bool {
        raw & RawEntry::FLAGS == 0
    }
}

#[kunit_tests(hmm_cdm_range)]
mod tests {
    use super::*;
    use crate::mm::{folio::NewPage, kunit::UserMemory};
    use kernel::{current, page::PAGE_SIZE};

    fn watch(mm: &MmWithUser, span: Span) -> Result<Pin<KBox<IntervalNotifier<Nothing>>>> {
        KBox::pin_init(IntervalNotifier::new(mm, span, Nothing), GFP_KERNEL)
    }

    /// What a page of a view is, as far as it does not depend on the frame.
    fn kind(view: &View<'_>, page: usize) -> Option<Option<Access>> {
        match view.at(view.span().start() + page * PAGE_SIZE) {
            CpuEntry::Error => None,
            CpuEntry::None => Some(None),
            CpuEntry::Page { access, .. } => Some(Some(access)),
        }
    }

    #[test]
    fn entries_are_decoded() -> Result {
        const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
        const ORDER: usize = 9 << bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let raw = [
            0,
            View::raw(page.pfn(), Access::Read),
            View::raw(page.pfn(), Access::Write) | ORDER,
            // What is an error has no page, whatever else is set.
            View::raw(page.pfn(), Access::Write) | ERROR,
        ];
        let span = Span::new(0x10 * PAGE_SIZE, 0x14 * PAGE_SIZE).ok_or(EINVAL)?;
        let view = View::of(span, &raw);

        assert_eq!(kind(&view, 0), Some(None));
        assert_eq!(kind(&view, 1), Some(Some(Access::Read)));
        assert_eq!(kind(&view, 2), Some(Some(Access::Write)));
        assert_eq!(kind(&view, 3), None);
        let CpuEntry::Page {
            page: seen, order, ..
        } = view.at(0x12 * PAGE_SIZE)
        else {
            return Err(EINVAL);
        };
        assert_eq!(seen.pfn(), page.pfn());
        assert_eq!(order, 9);
        assert_eq!(view.entries().count(), 4);
        Ok(())
    }

    #[test]
    fn a_walk_may_begin_inside_of_a_huge_page() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let pages = super::super::window_pages();
        let first = page.pfn().raw() & !(pages - 1);
        // SAFETY: Nothing looks behind the number.
        let huge = |i| View::raw_huge(unsafe { Pfn::new(first) }, i, Access::Write);
        let single = View::raw(page.pfn(), Access::Read);
        let at = |from: usize, to: usize| Span::new(from * PAGE_SIZE, to * PAGE_SIZE);
        let part = at(3 * pages - 2, 3 * pages + 2).ok_or(EINVAL)?;
        let whole = at(3 * pages, 3 * pages + 2).ok_or(EINVAL)?;

        // As the kernel has it for private memory, for other memory, and for what is not huge.
        let mut raw = [huge(0), huge(1), huge(0), huge(1)];
        place_huge(part, &mut raw);
        assert_eq!(raw, [huge(pages - 2), huge(pages - 1), huge(0), huge(1)]);
        place_huge(part, &mut raw);
        assert_eq!(raw, [huge(pages - 2), huge(pages - 1), huge(0), huge(1)]);
        let mut raw = [single, 0, single, 0];
        place_huge(part, &mut raw);
        assert_eq!(raw, [single, 0, single, 0]);
        let mut raw = [huge(0), huge(1)];
        place_huge(whole, &mut raw);
        assert_eq!(raw, [huge(0), huge(1)]);
        Ok(())
    }

    #[test]
    fn a_trimmed_view_begins_and_ends_with_a_page() -> Result {
        const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let one = View::raw(page.pfn(), Access::Read);
        let is = |raw: &[usize], first: usize, end: usize| -> Result {
            let at = |i: usize| (0x10 + i) * PAGE_SIZE;
            let view = View::of(Span::new(at(0), at(raw.len())).ok_or(EINVAL)?, raw);
            let part = view.trimmed();

            assert_eq!(Some(part.span()), Span::new(at(first), at(end)));
            let left = part.raw_entries().iter().map(|entry| entry.raw());
            assert!(left.eq(raw.get(first..end).unwrap_or_default().iter().copied()));
            Ok(())
        };

        is(&[one, one], 0, 2)?;
        is(&[0, ERROR, one, 0, one, ERROR, 0], 2, 5)?;
        is(&[0, 0, 0, one], 3, 4)?;
        // There is no view of nothing.
        is(&[0, ERROR, 0], 0, 1)
    }

    #[test]
    fn outside_of_a_view_is_nothing() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let raw = [View::raw(page.pfn(), Access::Read)];
        let span = Span::new(0x10 * PAGE_SIZE, 0x11 * PAGE_SIZE).ok_or(EINVAL)?;
        let view = View::of(span, &raw);

        assert!(matches!(view.at(0x10 * PAGE_SIZE), CpuEntry::Page { .. }));
        assert!(matches!(
            view.at(0x11 * PAGE_SIZE - 1),
            CpuEntry::Page { .. }
        ));
        assert!(matches!(view.at(0x10 * PAGE_SIZE - 1), CpuEntry::Error));
        assert!(matches!(view.at(0x11 * PAGE_SIZE), CpuEntry::Error));
        assert!(matches!(view.at(0), CpuEntry::Error));
        assert!(matches!(view.at(usize::MAX), CpuEntry::Error));
        Ok(())
    }

    #[test]
    fn spans_without_notifier_or_room_are_refused() -> Result {
        let memory = UserMemory::map(8)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.pages(2, 6)?)?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(2)?;
        let mut walk = |first, end| -> Result {
            walker.walk(watched, memory.pages(first, end)?, None, Owner::NOBODY)?;
            Ok(())
        };

        assert_eq!(walk(2, 4), Ok(()));
        assert_eq!(walk(4, 6), Ok(()));
        assert_eq!(walk(1, 3), Err(EINVAL));
        assert_eq!(walk(5, 7), Err(EINVAL));
        assert_eq!(walk(6, 8), Err(EINVAL));
        assert_eq!(walk(2, 5), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn looking_finds_what_is_there_and_makes_nothing() -> Result {
        let memory = UserMemory::map(4)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(4)?;

        // Page 0 is untouched, 1 the zero page, 2 written to, 3 unmapped.
        assert_eq!(memory.read(1)?, 0);
        memory.write(2, 7)?;
        memory.unmap(memory.pages(3, 4)?)?;
        for _ in 0..2 {
            let seen = walker.walk(watched, memory.span(), None, Owner::NOBODY)?;
            let seen = seen.commit(|_, view| [0, 1, 2, 3].map(|page| kind(view, page)));

            assert_eq!(
                seen,
                Ok([
                    Some(None),
                    Some(Some(Access::Read)),
                    Some(Some(Access::Write)),
                    None
                ])
            );
        }
        Ok(())
    }

    #[test]
    fn a_look_is_at_what_may_be_read() -> Result {
        let memory = UserMemory::map(8)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(8)?;
        let at = |page: usize| memory.span().start() + page * PAGE_SIZE;
        let mut look =
            |span: Span, page: usize| -> Result<(Span, bool, [Option<Option<Access>>; 2])> {
                let seen = walker.look(watched, span, at(page), Owner::NOBODY)?;
                let seen =
                    seen.commit(|_, view| (view.span(), view.plain, [0, 1].map(|i| kind(view, i))));

                seen.map_err(|Stale| EBUSY)
            };

        memory.write(2, 7)?;
        assert_eq!(
            look(memory.span(), 3)?,
            (memory.span(), true, [Some(None), Some(None)])
        );
        memory.unmap(memory.pages(0, 2)?)?;
        memory.unmap(memory.pages(6, 8)?)?;
        assert_eq!(
            look(memory.span(), 3)?,
            (
                memory.pages(2, 6)?,
                true,
                [Some(Some(Access::Write)), Some(None)]
            )
        );
        // A hole in between is looked at, and so is the page that was asked for.
        memory.unmap(memory.pages(4, 5)?)?;
        assert_eq!(look(memory.span(), 5)?.0, memory.pages(2, 6)?);
        assert_eq!(
            look(memory.span(), 0)?,
            (memory.pages(0, 6)?, true, [None, None])
        );
        assert_eq!(look(memory.pages(6, 8)?, 7)?.0, memory.pages(7, 8)?);
        // No further than the span.
        assert_eq!(look(memory.pages(2, 3)?, 2)?.0, memory.pages(2, 3)?);
        assert_eq!(look(memory.pages(2, 3)?, 3).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn faulting_gives_pages_with_the_rights_asked_for() -> Result {
        let memory = UserMemory::map(2)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(2)?;

        for access in [Access::Read, Access::Write] {
            let seen = walker.walk(watched, memory.span(), Some(access), Owner::NOBODY)?;
            let seen = seen.commit(|_, view| [kind(view, 0), kind(view, 1)]);

            assert_eq!(seen, Ok([Some(Some(access)); 2]));
        }
        Ok(())
    }

    #[test]
    fn faulting_where_nothing_is_mapped_fails() -> Result {
        let memory = UserMemory::map(4)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(4)?;

        memory.unmap(memory.pages(2, 3)?)?;
        let hole = walker.walk(watched, memory.span(), Some(Access::Read), Owner::NOBODY);
        assert_eq!(hole.err(), Some(EFAULT));
        let beside = walker.walk(
            watched,
            memory.pages(0, 2)?,
            Some(Access::Read),
            Owner::NOBODY,
        );
        assert!(beside.is_ok());
        Ok(())
    }

    #[test]
    fn a_snapshot_is_stale_after_a_change() -> Result {
        let memory = UserMemory::map(2)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let mut walker = Walker::new(2)?;

        memory.write(0, 7)?;
        let seen = walker.walk(watched, memory.span(), None, Owner::NOBODY)?;
        memory.unmap(memory.pages(0, 1)?)?;
        assert_eq!(seen.commit(|_, view| kind(view, 0)), Err(Stale));
        let again = walker.walk(watched, memory.span(), None, Owner::NOBODY)?;
        assert_eq!(again.commit(|_, view| kind(view, 0)), Ok(None));
        Ok(())
    }
}

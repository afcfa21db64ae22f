// SPDX-License-Identifier: GPL-2.0

//! Walking the CPU's page table, and faulting pages in where asked.
//!
//! C file: `mm/hmm.c`.

use super::{
    cpu_entry::{
        place_in_huge_page,
        Access, //
    },
    view::{
        Snapshot,
        View, //
    }, //
};
use crate::{
    bindings,
    mm::{
        notifier::{
            IntervalNotifier,
            Invalidate,
            Nothing, //
            NotifierWithUser,
        },
        pagemap::Owner,
        vma::Mappings,
        window_pages,
        Span, //
    },
};
use kernel::{
    alloc::KVVec,
    error::to_result,
    mm::MmWithUser,
    page::PAGE_SHIFT,
    prelude::*,
    time::msecs_to_jiffies, //
};

/// How long a walk is repeated while the range keeps changing, in milliseconds, before the caller
/// decides whether to continue (`HMM_RANGE_DEFAULT_TIMEOUT` in include/linux/hmm.h).
const TIMEOUT_MS: u32 = 1000;

/// Buffers for walks of the CPU's page table, allocated once for many walks.
///
/// # Examples
///
/// ```ignore
/// let mut walker = Walker::new(window_pages())?;
/// let snapshot = walker.look(notifier.with_user(mm)?, window, addr, node.owner())?;
/// let found = snapshot.commit(|entries, view| entries.fill(view));
/// ```
pub struct Walker {
    pfns: KVVec<usize>,
}

impl Walker {
    /// Makes the buffers for walks of up to `pages` pages. ENOMEM.
    pub fn new(pages: usize) -> Result<Self> {
        let pfns = KVVec::zeroed(pages, GFP_KERNEL)?;

        Ok(Self { pfns })
    }

    /// Walks the mapped pages of `span`, without faulting any in. Walks only the part from the
    /// first to the last page that the process may read, and always the page of `addr`.
    ///
    /// Sleeps; takes the mmap lock for reading, so the caller must not hold it. `owner` is as for
    /// [`Self::walk`].
    ///
    /// * EBUSY: the range changed during the walk
    /// * EFAULT: the OOM killer is tearing down the address space
    /// * EINTR: a fatal signal arrived
    /// * EINVAL: the span is longer than the buffers or not within the notifier's, or `addr` is not
    ///   in it
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
        let (span, is_anonymous) = readable_part(&mappings, span, page);
        let (mut range, pfns) = self.range(notifier, span, owner)?;
        range.notifier_seq = seq.mmu;
        // SAFETY: `hmm_range_fault()` requires an array with an entry for each page and an inserted
        // notifier, as `range` has, and the mmap lock of the notifier's address space. `mappings`
        // holds the lock of `watched`'s address space, which is the same by the invariants of
        // `NotifierWithUser`.
        to_result(unsafe { bindings::hmm_range_fault(&mut range) })?;
        drop(mappings);
        place_huge(span, pfns);
        // SAFETY: The call has filled `pfns`, after `begin()`.
        Ok(unsafe { Snapshot::new(notifier, seq, span, pfns, is_anonymous) })
    }

    /// Walks all pages of `span`. With `fault`, pages that do not allow that access are faulted in
    /// first, as by an access of the CPU.
    ///
    /// Sleeps; takes the mmap lock for reading, so the caller must not hold it.
    ///
    /// `owner` is the owner of the device's memory. Its private pages are reported in place; those
    /// of other owners are faulted in. A read-only page of `owner` is reported unchanged even if
    /// `fault` is a write (`hmm_vma_handle_pte()`): pass [`Owner::NOBODY`] to have it faulted in.
    ///
    /// * EFAULT: an address in the span cannot be accessed
    /// * EPERM: it can be read, but not written
    /// * EBUSY: the range kept changing for a second
    /// * EINTR: a fatal signal arrived
    /// * EINVAL: the span is longer than the buffers or not within the notifier's
    /// * ENOMEM
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
        // SAFETY: `hmm_range_fault_unlocked_timeout()` requires an array with an entry for each
        // page and an inserted notifier, as `range` has. It takes the mmap lock of the notifier's
        // address space, which `watched` keeps from being torn down.
        to_result(unsafe {
            bindings::hmm_range_fault_unlocked_timeout(&mut range, msecs_to_jiffies(TIMEOUT_MS))
        })?;
        seq.mmu = range.notifier_seq;
        place_huge(span, pfns);
        // SAFETY: The call has filled `pfns`, after it took the sequence that it reports.
        Ok(unsafe { Snapshot::new(notifier, seq, span, pfns, false) })
    }

    /// Makes the argument of `hmm_range_fault()`, without request flags and sequence.
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

        // HMM_PFN_INOUT_FLAGS are copied from input to output.
        pfns.fill(0);
        let range = bindings::hmm_range {
            notifier: notifier.as_raw(),
            notifier_seq: 0,
            start: span.start(),
            end: span.end(),
            hmm_pfns: pfns.as_mut_ptr(),
            default_flags: 0,
            pfn_flags_mask: 0,
            dev_private_owner: owner.as_ptr(),
        };
        Ok((range, pfns))
    }

    /// Walks `span` of `mm`, which need not have a notifier, and runs `with` on the result: the
    /// loop of Documentation/mm/hmm.rst, for a caller that keeps none of the pages. Nothing is
    /// faulted in. `None` if the span changed during each of `attempts` walks, in which case `with`
    /// was not called.
    ///
    /// Context: as [`Self::walk`]; `with` runs under a spinlock. EINTR, ENOMEM, EINVAL.
    pub(crate) fn snapshot_of<R>(
        &mut self,
        mm: &MmWithUser,
        span: Span,
        owner: Owner,
        attempts: u32,
        with: impl FnOnce(&View<'_>) -> R,
    ) -> Result<Option<R>> {
        // For this span alone: changes elsewhere must not make the walk stale.
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

/// Returns the part of `span` from the first to the last page that the process may read, extended
/// to include `page`, and whether all its readable mappings are anonymous. Outside this part
/// `hmm_vma_walk_test()` and `hmm_vma_walk_hole()` would report an error for each page.
fn readable_part(mappings: &Mappings<'_>, span: Span, page: Span) -> (Span, bool) {
    let (mut part, mut is_anonymous) = (page, true);
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
            is_anonymous &= mapping.is_anonymous();
        }
        at = mapped.end();
    }
    (part, is_anonymous)
}

/// Corrects the entries of a huge page of private memory inside which the walk begins:
/// `hmm_vma_handle_absent_pmd()` reports the first frames of the huge page, wherever the walk
/// begins (7.3.4). Huge pages are naturally aligned, and so are the addresses at which they are
/// mapped.
fn place_huge(span: Span, pfns: &mut [usize]) {
    let pages = window_pages();
    let lead = (span.start() >> PAGE_SHIFT) % pages;

    if lead > 0 {
        for (i, raw) in (lead..pages).zip(pfns) {
            place_in_huge_page(raw, i);
        }
    }
}

#[kunit_tests(hmm_cdm_range)]
mod tests {
    use super::*;
    use crate::mm::{
        folio::{
            NewPage,
            Pfn, //
        },
        kunit::UserMemory,
        notifier::Stale,
        range::CpuEntry, //
    };
    use kernel::{
        current,
        page::PAGE_SIZE, //
    };

    fn watch(mm: &MmWithUser, span: Span) -> Result<Pin<KBox<IntervalNotifier<Nothing>>>> {
        KBox::pin_init(IntervalNotifier::new(mm, span, Nothing), GFP_KERNEL)
    }

    /// Returns the kind of an entry: `None` for an error, `Some(None)` without a page.
    fn kind(view: &View<'_>, page: usize) -> Option<Option<Access>> {
        match view.at(view.span().start() + page * PAGE_SIZE) {
            CpuEntry::Error => None,
            CpuEntry::None => Some(None),
            CpuEntry::Page { access, .. } => Some(Some(access)),
        }
    }

    #[test]
    fn a_walk_may_begin_inside_of_a_huge_page() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let pages = window_pages();
        let first = page.pfn().raw() & !(pages - 1);
        // SAFETY: Only the number is used, not the page.
        let huge = |i| View::raw_huge(unsafe { Pfn::new(first) }, i, Access::Write);
        let single = View::raw(page.pfn(), Access::Read);
        let at = |from: usize, to: usize| Span::new(from * PAGE_SIZE, to * PAGE_SIZE);
        let part = at(3 * pages - 2, 3 * pages + 2).ok_or(EINVAL)?;
        let whole = at(3 * pages, 3 * pages + 2).ok_or(EINVAL)?;

        // As the kernel reports private memory, other memory, and base pages.
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
                let seen = seen.commit(|_, view| {
                    let kinds = [0, 1].map(|i| kind(view, i));

                    (view.span(), view.is_anonymous(), kinds)
                });

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
        // A hole in between is walked, and so is the page of `addr`.
        memory.unmap(memory.pages(4, 5)?)?;
        assert_eq!(look(memory.span(), 5)?.0, memory.pages(2, 6)?);
        assert_eq!(
            look(memory.span(), 0)?,
            (memory.pages(0, 6)?, true, [None, None])
        );
        assert_eq!(look(memory.pages(6, 8)?, 7)?.0, memory.pages(7, 8)?);
        // The walk stays within the span.
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

    #[test]
    fn a_span_that_is_not_watched_can_be_looked_at() -> Result {
        let memory = UserMemory::map(2)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let mut walker = Walker::new(2)?;
        let (span, nobody) = (memory.span(), Owner::NOBODY);

        memory.write(1, 7)?;
        let seen = walker.snapshot_of(mm, span, nobody, 8, |view| [0, 1].map(|i| kind(view, i)))?;
        assert_eq!(seen, Some([Some(None), Some(Some(Access::Write))]));
        // Without an attempt there is no result.
        let mut called = false;
        let seen = walker.snapshot_of(mm, span, nobody, 0, |_| called = true)?;
        assert!(seen.is_none() && !called);
        Ok(())
    }
}

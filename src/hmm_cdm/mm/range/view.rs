// SPDX-License-Identifier: GPL-2.0

//! The result of a walk, and the critical section in which it may be used.

use super::cpu_entry::{
    CpuEntry,
    RawEntry, //
};
#[cfg(CONFIG_KUNIT = "y")]
use super::Access;
#[cfg(CONFIG_KUNIT = "y")]
use crate::mm::folio::Pfn;
use crate::{
    bindings,
    mm::{
        notifier::{
            IntervalNotifier,
            Invalidate,
            Sequence,
            Stale, //
        },
        Span, //
    },
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The result of a walk. It may be out of date already, so it can only be used through
/// [`Self::commit`].
pub struct Snapshot<'a, T: Invalidate> {
    notifier: &'a IntervalNotifier<T>,
    seq: Sequence,
    span: Span,
    pfns: &'a [usize],
    is_anonymous: bool,
}

impl<'a, T: Invalidate> Snapshot<'a, T> {
    /// # Safety
    ///
    /// `hmm_range_fault()` has filled `pfns` for the pages of `span`, which is inside of the
    /// notifier's, after `seq` was taken.
    pub(super) unsafe fn new(
        notifier: &'a IntervalNotifier<T>,
        seq: Sequence,
        span: Span,
        pfns: &'a [usize],
        is_anonymous: bool,
    ) -> Self {
        Self {
            notifier,
            seq,
            span,
            pfns,
            is_anonymous,
        }
    }
}

impl<T: Invalidate> Snapshot<'_, T> {
    /// Runs `enter` on the notifier's data and on the entries, if nothing in the span has changed
    /// since the walk began. While `enter` runs, no invalidation of the span returns.
    ///
    /// Holds the notifier's spinlock: `enter` must not sleep.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// loop {
    ///     let snapshot = walker.walk(notifier.with_user(mm)?, span, Some(Access::Write), owner)?;
    ///
    ///     if snapshot.commit(|entries, view| entries.fill(view)).is_ok() {
    ///         break;
    ///     }
    /// }
    /// ```
    pub fn commit<R>(self, enter: impl FnOnce(&mut T, &View<'_>) -> R) -> Result<R, Stale> {
        self.notifier.commit(self.seq, |data| {
            // SAFETY: By the requirements of `new()`, `hmm_range_fault()` has filled `pfns`.
            // Nothing has changed since, and no invalidation returns while the notifier's lock is
            // held, which is longer than the view can live.
            let view = unsafe { View::new(self.span, self.pfns, self.is_anonymous) };

            enter(data, &view)
        })
    }
}

/// The entries that a walk has found, inside of [`Snapshot::commit`].
pub struct View<'a> {
    span: Span,
    entries: &'a [RawEntry<'a>],
    // The walk has seen only anonymous mappings.
    is_anonymous: bool,
}

#[cfg(CONFIG_KUNIT = "y")]
impl<'a> View<'a> {
    /// Makes the view of a walk of `span` that has found `pfns`: numbers made by [`Self::raw`], or
    /// zero for no page.
    pub(crate) fn of(span: Span, pfns: &'a [usize]) -> Self {
        // SAFETY: The tests keep the pages of the entries, and nothing invalidates them.
        unsafe { Self::new(span, pfns, false) }
    }

    /// Makes an entry in the form of `hmm_range_fault()`.
    pub(crate) fn raw(pfn: Pfn, access: Access) -> usize {
        RawEntry::new_raw(pfn, access)
    }

    /// Does the same for page `i` of a huge page that begins at `first`.
    pub(crate) fn raw_huge(first: Pfn, i: usize, access: Access) -> usize {
        RawEntry::new_raw_huge(first, i, access)
    }
}

impl<'a> View<'a> {
    /// # Safety
    ///
    /// `hmm_range_fault()` has filled `pfns` for the pages of `span`. For `'a` no invalidation of
    /// them returns.
    #[inline(always)]
    unsafe fn new(span: Span, pfns: &'a [usize], is_anonymous: bool) -> Self {
        // SAFETY: `RawEntry` is a transparent wrapper of `usize`, so the slices have one layout.
        // INVARIANT: By the safety requirements.
        let entries = unsafe { core::slice::from_raw_parts(pfns.as_ptr().cast(), pfns.len()) };

        Self {
            span,
            entries,
            is_anonymous,
        }
    }
}

impl View<'_> {
    /// Returns the span that was walked.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Returns the entry of the page at `addr`; [`CpuEntry::Error`] outside of the span.
    pub fn at(&self, addr: usize) -> CpuEntry<'_> {
        addr.checked_sub(self.span.start())
            .and_then(|offset| self.entries.get(offset >> PAGE_SHIFT))
            .map_or(CpuEntry::Error, |raw| raw.decode())
    }

    /// Returns all entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = CpuEntry<'_>> + '_ {
        self.entries.iter().map(|raw| raw.decode())
    }

    /// Returns the part from the first to the last entry with a page; a single entry if none has
    /// one.
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

    /// Returns the index of the first page, from index `i` on, that no device may access;
    /// `usize::MAX` if there is none. may_access() in page_rights.c decides.
    pub(crate) fn next_inaccessible(&self, i: usize) -> usize {
        let nr = self.entries.len();

        // Anonymous pages are inaccessible only if damaged.
        // SAFETY: The function takes no argument. It reads a flag by READ_ONCE(), which may race
        // with `cdm_damage_set()`.
        if self.is_anonymous && !unsafe { bindings::cdm_damage_any() } {
            return usize::MAX;
        }
        // SAFETY: The array has `nr` entries, of a transparent wrapper. By their invariants the
        // pages are mapped and no invalidation returns, so `struct page` and folio stay what they
        // are. That there is a `struct page` is as in `RawEntry::decode()`.
        let inaccessible =
            unsafe { bindings::cdm_rights_next_inaccessible(self.entries.as_ptr().cast(), i, nr) };

        if inaccessible < nr {
            inaccessible
        } else {
            usize::MAX
        }
    }

    /// Returns all entries in the form of `hmm_range_fault()`, in order.
    pub(crate) fn raw_entries(&self) -> &[RawEntry<'_>] {
        self.entries
    }

    /// Returns whether all mappings that the walk has seen are anonymous.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }
}

#[kunit_tests(hmm_cdm_view)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;
    use kernel::page::PAGE_SIZE;

    /// Returns the kind of an entry: `None` for an error, `Some(None)` without a page.
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
            // An error has no page, whatever other flags are set.
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
    fn a_trimmed_view_begins_and_ends_with_a_page() -> Result {
        const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
        let page = NewPage::system().ok_or(ENOMEM)?;
        let one = View::raw(page.pfn(), Access::Read);
        let is = |raw: &[usize], first: usize, end: usize| -> Result {
            let at = |i: usize| (0x10 + i) * PAGE_SIZE;
            let view = View::of(Span::new(at(0), at(raw.len())).ok_or(EINVAL)?, raw);
            let part = view.trimmed();

            assert_eq!(Some(part.span()), Span::new(at(first), at(end)));
            let left = part.raw_entries().iter().map(|entry| entry.raw);
            assert!(left.eq(raw.get(first..end).unwrap_or_default().iter().copied()));
            Ok(())
        };

        is(&[one, one], 0, 2)?;
        is(&[0, ERROR, one, 0, one, ERROR, 0], 2, 5)?;
        is(&[0, 0, 0, one], 3, 4)?;
        // A view is never empty.
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
}

// SPDX-License-Identifier: GPL-2.0

//! Notification of changes to a span of an address space: `struct mmu_interval_notifier`.
//!
//! The types enforce the protocol of `Documentation/mm/hmm.rst`. The notifier owns the data that
//! depends on the span, such as a device's page table entries, under a lock that the invalidation
//! takes. Results of a walk of the CPU's page table get there only through `commit()`, which takes
//! that lock and rechecks the sequence.
//!
//! C files: `mm/mmu_notifier.c`, `include/linux/mmu_notifier.h`.

use super::Span;
use crate::bindings;
use kernel::{
    error::to_result,
    mm::MmWithUser,
    new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        lock::{
            spinlock::SpinLockBackend,
            Guard, //
        },
        SpinLock, //
    },
    types::Opaque, //
};

/// Data about a span of an address space, which becomes invalid when the CPU's page table changes.
///
/// `'static`, because the kernel calls [`Self::invalidate`] until the notifier is dropped, and a
/// leaked one ([`core::mem::forget`]) is never dropped. `Unpin`, because it gets a mutable
/// reference to data that the notifier's lock pins.
pub trait Invalidate: Send + Unpin + 'static {
    /// Drops all data about `span`. When this returns, the device must no longer use those pages.
    ///
    /// Context: under the notifier's spinlock; must not sleep, and must be short. The caller may
    /// hold the mmap lock, rmap locks and page locks, and may be in memory reclaim.
    fn invalidate(&mut self, span: Span);
}

/// The data of a notifier that only detects changes of a span.
pub(crate) struct Nothing;

impl Invalidate for Nothing {
    fn invalidate(&mut self, _: Span) {}
}

/// Prepares an address space for notifiers, so that inserting one later does not fail with EINTR
/// without a fatal signal: see [`IntervalNotifier::new`].
///
/// Sleeps; takes the mmap lock for writing. EINTR, ENOMEM.
pub(crate) fn prepare(mm: &MmWithUser) -> Result {
    let page = Span::new(0, PAGE_SIZE).ok_or(EINVAL)?;

    KBox::pin_init(IntervalNotifier::new(mm, page, Nothing), GFP_KERNEL).map(drop)
}

/// The range has changed since it was read, or is changing now; the caller has to read it again.
#[derive(Debug, PartialEq, Eq)]
pub struct Stale;

/// The state of a span at one point in time: `mmu_interval_read_begin()`.
#[derive(Copy, Clone)]
pub struct Sequence {
    /// `notifier_seq` of `struct hmm_range`.
    pub(super) mmu: usize,
    // [`IntervalNotifier::exclusives`].
    exclusives: usize,
}

/// A span with a notifier, and the data that depends on it.
///
/// # Examples
///
/// ```ignore
/// let notifier = Arc::pin_init(IntervalNotifier::new(mm, span, Entries::new()), GFP_KERNEL)?;
///
/// // Under the lock that the invalidation takes: what is found stays mapped.
/// let entry = notifier.lock().get(addr);
/// ```
///
/// # Invariants
///
/// `inner` is inserted for `span` with [`Self::OPS`] and is the field of a pinned
/// `IntervalNotifier<T>`.
#[pin_data(PinnedDrop)]
pub struct IntervalNotifier<T: Invalidate> {
    #[pin]
    inner: Opaque<bindings::mmu_interval_notifier>,
    span: Span,
    // The number of pages made exclusive through this notifier. These do not change the C sequence,
    // as `invalidate()` ignores their invalidations.
    exclusives: Atomic<usize>,
    #[pin]
    data: SpinLock<T>,
}

// SAFETY: `mmu_interval_notifier_remove()` may be called by any task, and `T` is `Send`.
unsafe impl<T: Invalidate> Send for IntervalNotifier<T> {}
// SAFETY: The C functions synchronise themselves, `data` is a lock and `T` is `Send`, and the rest
// is constant or atomic.
unsafe impl<T: Invalidate> Sync for IntervalNotifier<T> {}

impl<T: Invalidate> IntervalNotifier<T> {
    const OPS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        invalidate_start: None,
        invalidate_finish: None,
    };

    /// Inserts a notifier for `span` of `mm`.
    ///
    /// Sleeps. The first notifier of an address space takes the mmap lock for writing, so the
    /// caller must not hold it.
    ///
    /// * EINTR: a fatal signal arrived. For the first notifier of an address space, also if the
    ///   task has to return to user space for a reason other than a signal (`mm_take_all_locks()`):
    ///   it is being stopped or frozen, or has task work.
    /// * ENOMEM
    pub fn new<'a>(mm: &'a MmWithUser, span: Span, data: T) -> impl PinInit<Self, Error> + 'a
    where
        T: 'a,
    {
        try_pin_init!(Self {
            data <- new_spinlock!(data, "IntervalNotifier::data"),
            span,
            exclusives: Atomic::new(0),
            // Last: once the notifier is inserted, `invalidate()` may be called, which uses the
            // other fields.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::mmu_interval_notifier| {
                // SAFETY: `mmu_interval_notifier_insert()` requires a notifier that stays valid
                // until it is removed: `slot` is pinned and `T` is `'static`, and `drop()` removes
                // it. It requires `mm_users` above zero, which `MmWithUser` ensures, and takes a
                // reference on `mm_count` itself.
                to_result(unsafe {
                    bindings::hmm_cdm_helper_interval_insert(
                        slot,
                        mm.as_raw(),
                        span.start(),
                        span.end() - span.start(),
                        &Self::OPS,
                    )
                })
            }),
        }? Error)
    }

    /// Returns the span.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Pairs the notifier with a reference to its address space, for a walk of the page table.
    /// EINVAL if `mm` is another address space.
    pub fn with_user<'a>(&'a self, mm: &'a MmWithUser) -> Result<NotifierWithUser<'a, T>> {
        // SAFETY: By the type invariants the notifier is inserted, which has set the field. It is
        // constant from then on.
        if unsafe { (*self.as_raw()).mm } != mm.as_raw() {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        Ok(NotifierWithUser { notifier: self, mm })
    }

    /// Locks the data. As long as the guard lives, no invalidation of the span returns.
    pub fn lock(&self) -> Guard<'_, T, SpinLockBackend> {
        self.data.lock()
    }

    /// Runs `enter` on the data, if nothing in the span has changed since `seq` was taken. Only
    /// there may data be used that was read in between.
    pub(super) fn commit<R>(
        &self,
        seq: Sequence,
        enter: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Stale> {
        self.commit_if(
            seq,
            || self.exclusives.load(Relaxed) == seq.exclusives,
            enter,
        )
    }

    /// As [`Self::commit`], for a page made exclusive since `seq` was taken. Makes older snapshots
    /// of the span stale: they may have the page's ordinary entry.
    pub(super) fn commit_exclusive<R>(
        &self,
        seq: Sequence,
        enter: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Stale> {
        self.commit_if(
            seq,
            || true,
            |data| {
                // Pairs with `sequence()`: a walk that reads this number sees the exclusive entry,
                // too. The lock serialises writers.
                let count = self.exclusives.load(Relaxed);
                self.exclusives.store(count.wrapping_add(1), Release);
                enter(data)
            },
        )
    }

    fn commit_if<R>(
        &self,
        seq: Sequence,
        still: impl FnOnce() -> bool,
        enter: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Stale> {
        let mut data = self.data.lock();

        // SAFETY: `mmu_interval_read_retry()` requires an inserted notifier, which it is by the
        // type invariants, and the lock that `invalidate()` takes, which is held.
        let retry =
            unsafe { bindings::hmm_cdm_helper_interval_read_retry(self.inner.get(), seq.mmu) };
        if retry || !still() {
            return Err(Stale);
        }
        Ok(enter(&mut data))
    }

    /// Begins a read of the span: waits until no invalidation is running. Sleeps, so the caller
    /// does not hold the lock of the data; takes no lock.
    pub(super) fn begin(&self) -> Sequence {
        let mut seq = self.sequence();

        // SAFETY: `mmu_interval_read_begin()` requires an inserted notifier, which it is by the
        // type invariants. It waits for a running invalidation, so it must not be called from one
        // nor under a lock that one takes: callers may sleep, so they do not hold `data`.
        seq.mmu = unsafe { bindings::mmu_interval_read_begin(self.as_raw()) };
        seq
    }

    /// Returns a sequence without `mmu`, for a function that calls `mmu_interval_read_begin()`
    /// itself.
    pub(super) fn sequence(&self) -> Sequence {
        Sequence {
            mmu: 0,
            exclusives: self.exclusives.load(Acquire),
        }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::mmu_interval_notifier {
        self.inner.get()
    }

    /// # Safety
    ///
    /// Called by `mm/mmu_notifier.c` for an inserted notifier with these ops.
    unsafe extern "C" fn invalidate(
        inner: *mut bindings::mmu_interval_notifier,
        range: *const bindings::mmu_notifier_range,
        seq: usize,
    ) -> bool {
        let field: *mut Opaque<bindings::mmu_interval_notifier> = inner.cast();
        // SAFETY: By the type invariants `inner` is the field of an `IntervalNotifier<T>`, which is
        // not freed before `mmu_interval_notifier_remove()` has waited for this callback.
        let this = unsafe { &*kernel::container_of!(field, Self, inner) };
        // SAFETY: `mmu_interval_notifier_ops.invalidate()` gets a range that is valid during the
        // callback.
        let (start, end, event, owner) =
            unsafe { ((*range).start, (*range).end, (*range).event, (*range).owner) };

        // A page is being made exclusive through this notifier, and the device keeps its entry. The
        // sequence must not change, or `commit_exclusive()` would always fail.
        if event == bindings::mmu_notifier_event_MMU_NOTIFY_EXCLUSIVE && owner == inner.cast() {
            return true;
        }

        // A spinlock, as the caller may not be allowed to sleep.
        let mut data = this.data.lock();
        // SAFETY: `mmu_interval_set_seq()` must be called from the callback, under the lock that
        // `commit_if()` takes, which is held.
        unsafe { bindings::hmm_cdm_helper_interval_set_seq(inner, seq) };

        // The end is page aligned, or ULONG_MAX on exit.
        let end = end.checked_next_multiple_of(kernel::page::PAGE_SIZE);
        let span = Span::new(start, end.unwrap_or(this.span.end))
            .map_or(Some(this.span), |span| span.intersect(this.span));
        if let Some(span) = span {
            data.as_mut().get_mut().invalidate(span);
        }
        true
    }
}

/// A notifier and a reference that keeps its address space from being torn down, as a walk of the
/// page table requires. See [`IntervalNotifier::with_user`].
///
/// # Invariants
///
/// `mm` is the address space that `notifier` is inserted in.
pub struct NotifierWithUser<'a, T: Invalidate> {
    notifier: &'a IntervalNotifier<T>,
    mm: &'a MmWithUser,
}

impl<T: Invalidate> Copy for NotifierWithUser<'_, T> {}

impl<T: Invalidate> Clone for NotifierWithUser<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: Invalidate> NotifierWithUser<'a, T> {
    /// Returns the notifier.
    pub fn notifier(&self) -> &'a IntervalNotifier<T> {
        self.notifier
    }

    /// Returns its address space.
    pub fn mm(&self) -> &'a MmWithUser {
        self.mm
    }
}

#[pinned_drop]
impl<T: Invalidate> PinnedDrop for IntervalNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants the notifier is inserted, and it is removed only here.
        // Removal waits for running callbacks, so their lock must not be held, and it is not: a
        // guard would borrow this value.
        unsafe { bindings::mmu_interval_notifier_remove(self.inner.get()) };
    }
}

#[kunit_tests(hmm_cdm_notifier)]
mod tests {
    use super::*;
    use crate::mm::kunit::{
        other_mm,
        UserMemory, //
    };
    use kernel::current;

    #[derive(Default)]
    struct Seen {
        last: Option<Span>,
        count: u32,
    }

    impl Invalidate for Seen {
        fn invalidate(&mut self, span: Span) {
            self.last = Some(span);
            self.count += 1;
        }
    }

    fn watch(mm: &MmWithUser, span: Span) -> Result<Pin<KBox<IntervalNotifier<Seen>>>> {
        KBox::pin_init(IntervalNotifier::new(mm, span, Seen::default()), GFP_KERNEL)
    }

    #[test]
    fn what_is_told_lies_inside_of_the_span() -> Result {
        let memory = UserMemory::map(8)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.pages(2, 6)?)?;

        memory.unmap(memory.pages(3, 4)?)?;
        assert_eq!(notifier.lock().last, Some(memory.pages(3, 4)?));
        memory.unmap(memory.pages(0, 3)?)?;
        assert_eq!(notifier.lock().last, Some(memory.pages(2, 3)?));
        memory.unmap(memory.pages(5, 8)?)?;
        assert_eq!(notifier.lock().last, Some(memory.pages(5, 6)?));
        assert_eq!(notifier.lock().count, 3);
        Ok(())
    }

    #[test]
    fn changes_beside_the_span_are_not_told() -> Result {
        let memory = UserMemory::map(8)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.pages(2, 6)?)?;
        let seq = notifier.begin();

        memory.unmap(memory.pages(0, 2)?)?;
        memory.unmap(memory.pages(6, 8)?)?;
        assert_eq!(notifier.lock().count, 0);
        assert_eq!(notifier.commit(seq, |seen| seen.count), Ok(0));
        Ok(())
    }

    #[test]
    fn what_was_read_before_a_change_is_stale() -> Result {
        let memory = UserMemory::map(4)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;

        let before = notifier.begin();
        assert_eq!(notifier.commit(before, |seen| seen.count), Ok(0));
        memory.unmap(memory.pages(1, 2)?)?;
        let mut entered = false;
        assert_eq!(notifier.commit(before, |_| entered = true), Err(Stale));
        assert!(!entered);

        let after = notifier.begin();
        assert_eq!(notifier.commit(after, |seen| seen.count), Ok(1));
        Ok(())
    }

    #[test]
    fn each_notifier_has_a_sequence_of_its_own() -> Result {
        let memory = UserMemory::map(4)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let (low, high) = (
            watch(mm, memory.pages(0, 2)?)?,
            watch(mm, memory.pages(2, 4)?)?,
        );
        let (at_low, at_high) = (low.begin(), high.begin());

        memory.unmap(memory.pages(3, 4)?)?;
        assert_eq!(low.commit(at_low, |seen| seen.count), Ok(0));
        assert_eq!(high.commit(at_high, |seen| seen.count), Err(Stale));
        Ok(())
    }

    #[test]
    fn a_notifier_is_paired_with_its_own_address_space() -> Result {
        let memory = UserMemory::map(1)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let other = other_mm()?;
        let (own, others) = (watch(mm, memory.span())?, watch(&other, memory.span())?);

        assert!(own
            .with_user(mm)
            .is_ok_and(|watched| watched.mm().as_raw() == mm.as_raw()));
        assert!(others.with_user(&other).is_ok());
        assert_eq!(own.with_user(&other).err(), Some(EINVAL));
        assert_eq!(others.with_user(mm).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn an_exclusive_page_makes_older_looks_stale() -> Result {
        let memory = UserMemory::map(1)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let (look, first, second) = (notifier.begin(), notifier.begin(), notifier.begin());

        assert_eq!(notifier.commit(look, |seen| seen.count), Ok(0));
        assert_eq!(notifier.commit_exclusive(first, |seen| seen.count), Ok(0));
        assert_eq!(notifier.commit(look, |seen| seen.count), Err(Stale));
        // Two pages can be taken at the same time.
        assert_eq!(notifier.commit_exclusive(second, |seen| seen.count), Ok(0));
        let look = notifier.begin();
        assert_eq!(notifier.commit(look, |seen| seen.count), Ok(0));
        Ok(())
    }
}

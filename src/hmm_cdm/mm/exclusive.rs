// SPDX-License-Identifier: GPL-2.0

//! Exclusive access to a page, for a device whose atomic operations are not atomic with respect to
//! the CPU's: `make_device_exclusive()`.
//!
//! The page stays where it is, but the CPU's page table gets an entry that faults. A fault
//! invalidates the device's entry and restores the CPU's (`remove_device_exclusive_entry()` in
//! `mm/memory.c`).
//!
//! C file: `mm/rmap.c`.

use super::{
    folio::{
        PageRef,
        Pfn, //
    },
    notifier::{
        Invalidate,
        NotifierWithUser,
        Stale, //
    },
    Span, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// A page that has just been made exclusive. No fault can take it back yet.
///
/// # Invariants
///
/// The value owns the lock of the folio and a reference to it. `pfn` is in the folio.
struct Taken {
    folio: NonNull<bindings::folio>,
    pfn: Pfn,
}

impl Taken {
    /// Lends the page.
    fn page(&self) -> PageRef<'_> {
        // SAFETY: By the type invariants the value owns a reference.
        unsafe { PageRef::new(self.pfn) }
    }

    /// Makes the page at `addr` exclusive, after it has been faulted in for writing. All notifiers
    /// but this one see an invalidation. Sleeps; takes the mmap lock for reading.
    fn new<T: Invalidate>(watched: NotifierWithUser<'_, T>, addr: usize) -> Result<Self> {
        let mm = watched.mm();
        let _lock = mm.mmap_read_lock();
        let mut folio = core::ptr::null_mut();
        let owner = watched.notifier().as_raw().cast();

        // SAFETY: `make_device_exclusive()` requires the mmap lock, which is held, and an address
        // space that is not being torn down, which `MmWithUser` ensures. The owner is only
        // compared.
        from_err_ptr(unsafe {
            bindings::make_device_exclusive(mm.as_raw(), addr, owner, &mut folio)
        })
        .and_then(|page| {
            let folio = NonNull::new(folio).ok_or(EFAULT)?;

            // INVARIANT: `make_device_exclusive()` returns the folio locked and with a reference.
            Ok(Self {
                folio,
                // SAFETY: The page is in use, so its frame has a `struct page`.
                pfn: unsafe { Pfn::new(bindings::hmm_cdm_helper_page_to_pfn(page)) },
            })
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the value owns the lock and the reference.
        unsafe { bindings::hmm_cdm_helper_folio_unlock_put(self.folio.as_ptr()) };
    }
}

/// Makes the page at `addr`, which is within the notifier's span, exclusive. If the page is still
/// mapped there afterwards, runs `enter` on the notifier's data and on the page; while `enter`
/// runs, no invalidation of the page returns. This makes earlier snapshots stale.
///
/// The folio lock keeps faults from taking the page back before that, but does not exclude
/// munmap(2) or madvise(2): hence [`Stale`].
///
/// Sleeps; takes the mmap lock for reading.
///
/// * EFAULT: the process could not write there
/// * EOPNOTSUPP: the page is not private anonymous memory
/// * EINTR: a fatal signal arrived
/// * ENOMEM, EINVAL
pub fn take<T: Invalidate, R>(
    watched: NotifierWithUser<'_, T>,
    addr: usize,
    enter: impl FnOnce(&mut T, PageRef<'_>) -> R,
) -> Result<core::result::Result<R, Stale>> {
    let notifier = watched.notifier();
    let page = Span::covering(addr, 1).ok_or(EINVAL)?;
    if page.intersect(notifier.span()) != Some(page) {
        return Err(EINVAL);
    }

    let seq = notifier.begin();
    let taken = Taken::new(watched, page.start())?;

    Ok(notifier.commit_exclusive(seq, |data| enter(data, taken.page())))
}

#[kunit_tests(hmm_cdm_exclusive)]
mod tests {
    use super::*;
    use crate::mm::{
        kunit::UserMemory,
        notifier::IntervalNotifier,
        pagemap::Owner,
        range::{
            CpuEntry,
            Walker, //
        }, //
    };
    use kernel::{
        current,
        mm::MmWithUser, //
    };

    #[derive(Default)]
    struct Seen(u32);

    impl Invalidate for Seen {
        fn invalidate(&mut self, _: Span) {
            self.0 += 1;
        }
    }

    fn watch(mm: &MmWithUser, span: Span) -> Result<Pin<KBox<IntervalNotifier<Seen>>>> {
        KBox::pin_init(IntervalNotifier::new(mm, span, Seen::default()), GFP_KERNEL)
    }

    #[test]
    fn a_page_is_taken_and_given_back_to_who_touches_it() -> Result {
        let memory = UserMemory::map(2)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let (ours, others) = (watch(mm, memory.span())?, watch(mm, memory.span())?);

        memory.write(0, 7)?;
        let before = ours.lock().0;
        let at = memory.span().start();
        assert!(matches!(
            take(ours.with_user(mm)?, at, |seen, _| seen.0),
            Ok(Ok(count)) if count == before
        ));
        // Other notifiers saw an invalidation. Ours sees one when the CPU accesses the page.
        assert!(others.lock().0 > before);
        assert_eq!(ours.lock().0, before);
        assert_eq!(memory.read(0)?, 7);
        assert!(ours.lock().0 > before);
        Ok(())
    }

    #[test]
    fn untouched_memory_is_faulted_in() -> Result {
        let memory = UserMemory::map(1)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let at = memory.span().start();

        // The fault changes the page table, so it may take a second attempt.
        let frame = (0..3).find_map(|_| take(watched, at, |_, page| page.pfn()).ok()?.ok());
        assert!(frame.is_some_and(|pfn| pfn.is_system()));
        assert_eq!(memory.read(0)?, 0);
        Ok(())
    }

    #[test]
    fn what_cannot_be_written_is_not_taken() -> Result {
        let memory = UserMemory::map(3)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.pages(0, 2)?)?;
        let watched = notifier.with_user(mm)?;
        let span = memory.span();

        memory.unmap(memory.pages(1, 2)?)?;
        let hole = take(watched, memory.pages(1, 2)?.start(), |_, _| ());
        assert_eq!(hole.err(), Some(EFAULT));
        // Outside the notifier's span.
        let outside = take(watched, memory.pages(2, 3)?.start(), |_, _| ());
        assert_eq!(outside.err(), Some(EINVAL));
        // Nothing stays locked.
        assert!(matches!(
            take(watched, span.start(), |_, _| ()),
            Ok(Ok(()) | Err(Stale))
        ));
        Ok(())
    }

    #[test]
    fn a_look_from_before_does_not_see_the_page_any_more() -> Result {
        let memory = UserMemory::map(1)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let notifier = watch(mm, memory.span())?;
        let watched = notifier.with_user(mm)?;
        let at = memory.span().start();
        let mut walker = Walker::new(1)?;

        memory.write(0, 7)?;
        let before = walker.look(watched, memory.span(), at, Owner::NOBODY)?;
        assert!(matches!(take(watched, at, |_, _| ()), Ok(Ok(()))));
        assert_eq!(before.commit(|_, _| ()), Err(Stale));

        // A new walk finds no page, as the CPU's entry is device-exclusive.
        let after = walker.look(watched, memory.span(), at, Owner::NOBODY)?;
        let entry = after.commit(|_, view| view.at(at) == CpuEntry::None);
        assert_eq!(entry, Ok(true));
        assert_eq!(memory.read(0)?, 7);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Exclusive access of the device to pages, for its atomic operations.

use super::{
    interval::Entries,
    Mirror, //
};
use crate::{
    mm::{
        self, exclusive,
        pagemap::Owner,
        range::{
            Access,
            Walker, //
        },
        Span,
    },
    os::cond_resched,
};
use kernel::{
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*, //
};

impl Mirror {
    /// Gives the device exclusive access to the pages of `span`. Each is faulted in for writing,
    /// and gets an entry that is writable and [`super::Extent::exclusive`]. The CPU's first access
    /// to a page takes it back.
    ///
    /// Returns the number of leading pages to which the device got exclusive access; it may have
    /// lost it again since. If there is none, returns the error of the first page:
    ///
    /// * EFAULT: the process could not write there
    /// * EOPNOTSUPP: it is not private anonymous memory
    /// * EINTR: a fatal signal arrived, or see [`mm::notifier::IntervalNotifier::new`]
    /// * ECANCELED: `give_up` returned true
    /// * ESRCH: the address space is being torn down, or the mirror has retired
    /// * EIO: the device is being reset
    /// * ENOMEM
    ///
    /// Sleeps; takes the mmap lock and whatever a CPU fault takes.
    pub fn make_exclusive(&self, span: Span, give_up: impl Fn() -> bool) -> Result<usize> {
        let _fault = self.kthread_faults.enter()?;
        let mm = self.mm()?;
        let mut walker = Walker::new(1)?;
        let mut done = 0;

        for addr in (span.start()..span.end()).step_by(PAGE_SIZE) {
            match self.make_page_exclusive(&mm, &mut walker, addr, &give_up) {
                Ok(()) => done += 1,
                Err(e) if done == 0 => return Err(self.cause(e)),
                Err(_) => break,
            }
            cond_resched();
        }
        Ok(done)
    }

    fn make_page_exclusive(
        &self,
        mm: &MmWithUser,
        walker: &mut Walker,
        addr: usize,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let interval = self.interval(mm, addr)?;
        let watched = interval.with_user(mm)?;
        let page = Span::covering(addr, 1).ok_or(EINVAL)?;

        loop {
            if give_up() {
                return Err(ECANCELED);
            }
            self.check_active()?;
            if interval.lock().get(addr).is_exclusive() {
                return Ok(());
            }
            let mut spare = None;
            if !interval.lock().has_window(addr) {
                spare = Some(Entries::new_window(mm::window_pages())?);
            }
            let (mut memory, _) = self.device_memory();

            let filled = exclusive::take(watched, addr, |entries, page| {
                entries.fill_exclusive(addr, page.pfn(), &mut spare, &mut memory)
            })?;
            if filled == Ok(true) {
                return Ok(());
            }
            // The CPU's page table has changed since, if only by the fault that was taken above.
            // Its entry is exclusive now. If the next attempt had to take that back, which is
            // another change, this could repeat for ever. So take it back now, by a walk. If the
            // walk fails, so will the next attempt.
            let _ = walker.walk(watched, page, Some(Access::Write), Owner::NOBODY);
            self.shared.stats.fault_retries.add(1);
            cond_resched();
        }
    }
}

#[kunit_tests(hmm_cdm_atomics)]
mod tests {
    use super::super::device_memory::DeviceMemory;
    use super::super::kunit::{
        new_shared,
        PAGES,
        SHIFT, //
    };
    use super::*;
    use crate::mm::{
        kunit::UserMemory,
        notifier::{
            IntervalNotifier,
            Stale, //
        },
        range::CpuEntry, //
    };
    use kernel::current;

    #[test]
    fn an_older_walk_does_not_end_exclusive_access() -> Result {
        let memory = UserMemory::map(PAGES)?;
        let current = current!();
        let mm = current.mm().ok_or(ESRCH)?;
        let (span, at) = (memory.span(), memory.span().start());
        let new_entries = Entries::new(span, SHIFT, new_shared()?);
        let interval = KBox::pin_init(IntervalNotifier::new(mm, span, new_entries), GFP_KERNEL)?;
        let watched = interval.with_user(mm)?;
        let mut spare = Some(Entries::new_window(PAGES)?);
        let mut walker = Walker::new(PAGES)?;

        for page in 0..2 {
            memory.write(page, 7)?;
        }
        let before = walker.look(watched, span, at, Owner::NOBODY)?;
        let taken = exclusive::take(watched, at, |entries, page| {
            entries.fill_exclusive(at, page.pfn(), &mut spare, &mut DeviceMemory::default())
        });
        assert!(matches!(taken, Ok(Ok(true))));
        let filled = before
            .commit(|entries, view| entries.fill(view, &mut None, &mut DeviceMemory::default()));
        assert_eq!(filled, Err(Stale));
        assert!(interval.lock().get(at).is_exclusive());

        // A later walk finds no page there, but finds the other one.
        let during = walker.look(watched, span, at, Owner::NOBODY)?;
        let filled = during.commit(|entries, view| {
            let is_none = matches!(view.at(at), CpuEntry::None);
            let added = entries.fill(view, &mut None, &mut DeviceMemory::default());

            (is_none, added)
        });
        assert_eq!(filled, Ok((true, Some(1))));
        assert!(interval.lock().get(at).is_exclusive());

        // The CPU's access takes the page back, and then it is like any other.
        assert_eq!(memory.read(0)?, 7);
        assert!(!interval.lock().get(at).is_valid());
        let after = walker.look(watched, span, at, Owner::NOBODY)?;
        let added = after
            .commit(|entries, view| entries.fill(view, &mut None, &mut DeviceMemory::default()));
        assert_eq!(added, Ok(Some(1)));
        assert!(!interval.lock().get(at).is_exclusive());
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Pages that the device has for itself, for its atomic operations.

use super::{interval::Entries, Mirror};
use crate::{
    mm::{
        self, exclusive,
        pagemap::Owner,
        range::{Access, Walker},
        Span,
    },
    os::cond_resched,
};
use kernel::{mm::MmWithUser, page::PAGE_SIZE, prelude::*};

impl Mirror {
    /// Takes the pages of `span` away from the CPU, each faulted in for writing, and gives the
    /// device entries for them: writable, and [`super::Extent::exclusive`]. The first access of a
    /// CPU takes a page back.
    ///
    /// Returns how many pages, from the first, are exclusive, or were for a moment; the reason why
    /// the next one is not, if that is none:
    ///
    /// * EFAULT: the process could not write there
    /// * EOPNOTSUPP: it is not private anonymous memory
    /// * EINTR: a fatal signal arrived
    /// * ECANCELED: `give_up` returned true
    /// * ESRCH: the address space is being torn down
    /// * EIO: the device is being reset
    /// * ENOMEM
    ///
    /// Sleeps; takes the mmap lock and whatever a CPU fault takes.
    pub fn make_exclusive(&self, span: Span, give_up: impl Fn() -> bool) -> Result<usize> {
        let _waiter = self.kthread_faults.enter()?;
        let mm = self.mm()?;
        let mut walker = Walker::new(1)?;
        let mut done = 0;

        for addr in (span.start()..span.end()).step_by(PAGE_SIZE) {
            match self.take_page(&mm, &mut walker, addr, &give_up) {
                Ok(()) => done += 1,
                Err(e) if done == 0 => return Err(self.ended(e)),
                Err(_) => break,
            }
            cond_resched();
        }
        Ok(done)
    }

    fn take_page(
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
            let (mut own, _) = self.own();

            let entered = exclusive::take(watched, addr, |entries, page| {
                entries.load_exclusive(addr, page.pfn(), &mut spare, &mut own)
            })?;
            if entered == Ok(true) {
                return Ok(());
            }
            // The page table has changed, if only by our own fault. The CPU's entry is exclusive
            // all the same, and the next attempt would take the page back to begin with, see a
            // change by that, and so on for ever. So it is taken back now. What goes wrong with
            // that goes wrong with the next attempt, too.
            let _ = walker.walk(watched, page, Some(Access::Write), Owner::NOBODY);
            self.shared.stats.fault_retries.add(1);
            cond_resched();
        }
    }
}

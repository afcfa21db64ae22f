// SPDX-License-Identifier: GPL-2.0

//! Pages that the device has for itself, for its atomic operations.

use super::{section::Entries, Mirror};
use crate::{
    mm::{self, exclusive, Span},
    os::cond_resched,
};
use kernel::{page::PAGE_SIZE, prelude::*};

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
    /// * ENOMEM
    ///
    /// Sleeps; takes the mmap lock and whatever a CPU fault takes.
    pub fn make_exclusive(&self, span: Span, give_up: impl Fn() -> bool) -> Result<usize> {
        let _waiter = self.waiters.enter()?;
        let mm = self.mm()?;
        let mut done = 0;

        for addr in (span.start()..span.end()).step_by(PAGE_SIZE) {
            match self.take_page(&mm, addr, &give_up) {
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
        mm: &kernel::mm::MmWithUser,
        addr: usize,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let section = self.section(mm, addr)?;

        loop {
            if give_up() {
                return Err(ECANCELED);
            }
            self.check_active()?;
            let mut spare = None;
            if !section.lock().has_window(addr) {
                spare = Some(Entries::new_window(mm::window_pages())?);
            }
            let (own, _) = self.own();

            let entered = exclusive::take(mm, &section, addr, |entries, pfn| {
                entries.load_exclusive(addr, pfn, &mut spare, own)
            })?;
            // Else the page table has changed, if only by our own fault.
            if entered == Ok(true) {
                return Ok(());
            }
            self.shared.stats.fault_retries.add(1);
        }
    }
}

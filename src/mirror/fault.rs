// SPDX-License-Identifier: GPL-2.0

//! Device faults: making entries of the device's page table from the CPU's.

use super::{section::Entries, Mirror};
use crate::{
    mm::{
        notifier::{IntervalNotifier, Stale},
        range::{Access, Entry, Snapshot, Walker},
        Span,
    },
    os::cond_resched,
};
use kernel::{page::PAGE_SIZE, prelude::*};

/// What [`Mirror::fault`] has to work with: room for one window, allocated once for each thread
/// that faults.
pub struct Faulter {
    walker: Walker,
}

/// What came of a look at the CPU's page table.
enum Loaded {
    /// The access is possible now.
    Ready,
    /// There is no page that allows it.
    Absent,
    /// The page is not for devices.
    Refused,
    /// The page table has changed since.
    Stale,
}

impl Mirror {
    /// Makes room for faults on this node's mirrors. ENOMEM.
    pub fn new_faulter(node: &crate::node::Node) -> Result<Faulter> {
        Ok(Faulter {
            walker: Walker::new(node.window_pages())?,
        })
    }

    /// Resolves a fault that the device took at `addr`: on return there was, for a moment, an entry
    /// that allows the access. It may have been invalidated again already; then the device faults
    /// again.
    ///
    /// Every page of the window that is present gets an entry too. Of pages that are not, those of
    /// the `len` bytes from `addr` are faulted in, as far as they are in the window: a device that
    /// knows what it will touch next saves faults.
    ///
    /// Goes on while the range keeps changing, until `give_up` says otherwise. Sleeps; takes the
    /// mmap lock and whatever a CPU fault takes, so no lock may be held.
    ///
    /// * EFAULT: the process itself could not access `addr` that way
    /// * ESRCH: the address space is being torn down
    /// * ECANCELED: `give_up` returned true
    /// * ENOMEM
    pub fn fault(
        &self,
        faulter: &mut Faulter,
        addr: usize,
        len: usize,
        access: Access,
        give_up: impl Fn() -> bool,
    ) -> Result {
        let mm = self.mm()?;
        let window = self.window(addr).ok_or(EFAULT)?;
        let page = Span::covering(addr, 1).ok_or(EFAULT)?;
        let mut want = Span::covering(addr, len.clamp(1, window.end() - addr)).unwrap_or(page);
        let section = self.section(&mm, addr)?;
        let walker = &mut faulter.walker;

        self.stats.faults.add(1);
        loop {
            if give_up() {
                return Err(ECANCELED);
            }

            // What is present needs no fault, and one look gives the whole window.
            match walker.walk(&mm, &section, window, None) {
                Ok(snapshot) => match self.load(&section, snapshot, addr, access)? {
                    Loaded::Ready => return Ok(()),
                    Loaded::Refused => return Err(EFAULT),
                    Loaded::Absent => (),
                    Loaded::Stale => continue,
                },
                Err(EBUSY) => continue,
                Err(e) => return Err(e),
            }

            match walker.walk(&mm, &section, want, Some(access)) {
                Ok(snapshot) => match self.load(&section, snapshot, addr, access)? {
                    Loaded::Ready => return Ok(()),
                    Loaded::Refused => return Err(EFAULT),
                    Loaded::Absent | Loaded::Stale => (),
                },
                Err(EBUSY) => (),
                // Something behind `addr` cannot be accessed, which is no fault of this access.
                Err(EFAULT) if want != page => want = page,
                Err(e) => return Err(e),
            }
            cond_resched();
        }
    }

    /// Puts what was seen into the device's page table, if it still holds.
    fn load(
        &self,
        section: &IntervalNotifier<Entries>,
        snapshot: Snapshot<'_, Entries>,
        addr: usize,
        access: Access,
    ) -> Result<Loaded> {
        let mut spare = None;

        if !section.lock().has_window(addr) {
            spare = Some(Entries::new_window(self.node.window_size() / PAGE_SIZE)?);
        }

        let loaded = snapshot.commit(|entries, view| {
            let added = entries.load(view, &mut spare, |pfn| self.node.contains(pfn))?;

            let loaded = match view.at(addr) {
                _ if entries.get(addr).allows(access) => Loaded::Ready,
                // There is a page that the process may access that way, and the device may not.
                Entry::Page { access: cpu, .. } if cpu == access || cpu == Access::Write => {
                    Loaded::Refused
                }
                _ => Loaded::Absent,
            };
            Some((added, loaded))
        });
        match loaded {
            Ok(Some((added, loaded))) => {
                self.stats.fault_pages.add(added as u64);
                Ok(loaded)
            }
            Ok(None) | Err(Stale) => {
                self.stats.fault_retries.add(1);
                Ok(Loaded::Stale)
            }
        }
    }
}

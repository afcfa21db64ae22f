// SPDX-License-Identifier: GPL-2.0

//! A mirror: one process's address space on one device. The device's page table, its faults, and
//! the invalidations that keep it a copy of the CPU's.
//!
//! # Locks, outermost first
//!
//! 1. `mmap_lock` of the mirrored process: taken inside of [`crate::mm`] by walks and migrations,
//!    by nothing here directly. Never held when a section is made (inserting a notifier may take
//!    it for writing).
//! 2. folio locks and rmap locks: held by migrations, and by the kernel around invalidations.
//! 3. `Mirror::sections` (the XArray's spinlock): held to look up or add a section.
//! 4. `IntervalNotifier::data` (spinlock): a section's entries. Taken by invalidations, so under
//!    all of the above but 3, and for each access of the device. Nothing sleeps under it. It is held
//!    for the access to one page, to take over the entries of one window, or to clear those of one
//!    section.
//! 5. `Store::buddy` (spinlock, interrupts off): the node's allocator. Taken from any context.
//!
//! 3 and 4 are never held together; 4 and 5 neither.
//!
//! # Lifetime
//!
//! A mirror pins the `mm_struct`, not the address space: the process may exit while the mirror
//! exists. Then nothing is mapped any more (the notifiers have seen to that), and faults end with
//! ESRCH.

mod access;
mod fault;
mod section;
mod stats;

pub use access::Missing;
pub use fault::Faulter;
pub use stats::{Counter, Stats};

use crate::{
    mm::{notifier::IntervalNotifier, vma::Mappings, Span},
    node::Node,
};
use kernel::{
    mm::{Mm, MmWithUser},
    prelude::*,
    sync::{aref::ARef, Arc},
    xarray::{AllocKind, XArray},
};
use section::{Entries, SECTION_ORDER};

/// One process's address space on one device.
#[pin_data]
pub struct Mirror {
    mm: ARef<Mm>,
    node: Arc<Node>,
    stats: Arc<Stats>,
    // By address / section size.
    #[pin]
    sections: XArray<Arc<IntervalNotifier<Entries>>>,
}

impl Mirror {
    /// Makes an empty mirror of `mm` on the device that `node` belongs to. ENOMEM.
    pub fn new(mm: &MmWithUser, node: Arc<Node>) -> Result<Arc<Self>> {
        let stats = Arc::new(Stats::new(), GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                mm: ARef::from(&**mm),
                node,
                stats,
                sections <- XArray::new(AllocKind::Alloc),
            }),
            GFP_KERNEL,
        )
    }

    /// The node whose device mirrors the process.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What happened on this mirror.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether it is `mm` that is mirrored.
    pub fn is_of(&self, mm: &MmWithUser) -> bool {
        self.mm.as_raw() == mm.as_raw()
    }

    /// Keeps the address space from being torn down while it is worked on; ESRCH if that has
    /// begun. The reference must not be kept, or a killed process would not go.
    pub(crate) fn mm(&self) -> Result<ARef<MmWithUser>> {
        self.mm.mmget_not_zero().ok_or(ESRCH)
    }

    /// The window that `addr` is in; `None` at the very end of the address space.
    fn window(&self, addr: usize) -> Option<Span> {
        let size = self.node.window_size();
        let start = addr & !(size - 1);

        Span::new(start, start.checked_add(size)?)
    }

    /// The logarithm of a section's size in bytes.
    fn section_shift(&self) -> u32 {
        self.node.window_shift() + SECTION_ORDER
    }

    /// The section that `addr` is in, if the device ever had an entry there.
    fn find_section(&self, addr: usize) -> Option<Arc<IntervalNotifier<Entries>>> {
        let sections = self.sections.lock();

        sections
            .get(addr >> self.section_shift())
            .map(|section| section.into())
    }

    /// The section that `addr` is in; it is made if there is none. Sleeps, and takes the mmap lock.
    fn section(&self, mm: &MmWithUser, addr: usize) -> Result<Arc<IntervalNotifier<Entries>>> {
        if let Some(section) = self.find_section(addr) {
            return Ok(section);
        }

        // Sections stay until the mirror goes, so none is made for an address that cannot be
        // accessed.
        let accessible = Mappings::lock(mm)
            .next(addr)
            .is_some_and(|mapping| mapping.maps(addr) && mapping.is_readable());
        if !accessible {
            return Err(EFAULT);
        }

        let shift = self.section_shift();
        let index = addr >> shift;
        let start = index << shift;
        let span = start
            .checked_add(1 << shift)
            .and_then(|end| Span::new(start, end))
            .ok_or(EFAULT)?;
        let entries = Entries::new(span, self.node.window_shift(), self.stats.clone());
        let new = Arc::pin_init(IntervalNotifier::new(mm, span, entries), GFP_KERNEL)?;

        let mut sections = self.sections.lock();
        if let Some(section) = sections.get(index) {
            // Another thread was faster. Its section is used, and ours goes: after the lock,
            // since removing a notifier sleeps.
            let section = section.into();
            drop(sections);
            drop(new);
            return Ok(section);
        }
        match sections.store(index, new.clone(), GFP_KERNEL) {
            Ok(replaced) => {
                // `store()` may drop the lock to allocate, so even now one may have come between.
                // Whoever has just put entries into that one faults again, and finds ours.
                drop(sections);
                drop(replaced);
                Ok(new)
            }
            Err(e) => {
                drop(sections);
                Err(e.error)
            }
        }
    }
}

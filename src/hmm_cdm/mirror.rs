// SPDX-License-Identifier: GPL-2.0

//! A mirror: one process's address space on one device. The device's page table, its faults, and
//! the invalidations that keep it a copy of the CPU's.
//!
//! # Locks, outermost first
//!
//! 1. `mmap_lock` of the mirrored process: taken inside of [`crate::mm`] by walks and migrations,
//!    by nothing here directly. Never held when a interval is made (inserting a notifier may take
//!    it for writing).
//! 2. folio locks and rmap locks: held by migrations, and by the kernel around invalidations.
//! 3. `Mirror::indexes` (mutex): held to add a interval, and while a mirror retires; never with 1
//!    or 2.
//! 4. `Mirror::intervals` (the XArray's spinlock): held to look up or add a interval.
//! 5. `IntervalNotifier::data` (spinlock): a interval's entries. Taken by invalidations, so under
//!    1 and 2, and for each access of the device. Nothing sleeps under it. It is held for the access
//!    to one page, to take over the entries of one window, or to clear those of one interval; a
//!    driver's [`Table`] is called under it.
//! 6. `NodePages::free` (spinlock, interrupts off): the node's allocator. Taken from any context.
//!
//! 4 and 5 are never held together; 5 and 6 neither. `Node::evicting` (mutex) is outside of all of
//! them, and so is `Health::state` (mutex), of 3 to 5; `Advice::ranges` (mutex) is held for a lookup,
//! with none of them.
//!
//! # Lifetime
//!
//! A mirror pins the `mm_struct`, not the address space: the process may exit while the mirror
//! exists. Then nothing is mapped any more (the notifiers have seen to that), and faults end with
//! ESRCH.

mod access;
mod advice;
mod exclusive;
mod fault;
mod health;
mod interval;
mod kthread_faults;
mod stats;
mod table;

pub use access::{Hit, Missing};
pub use advice::Policy;
pub(crate) use fault::{FaultWalk, PlacementPolicy, PlacementReason};
pub(crate) use health::Member;
pub use health::{Health, Reset};
pub use stats::{Counter, Stats};
pub use table::{Extent, Table};

use crate::{
    mm::{
        self,
        notifier::{self, IntervalNotifier},
        pagemap::Owner,
        vma::Mappings,
        Span,
    },
    node::{memory::Memory, Node},
};
use advice::Advice;
use interval::{Entries, INTERVAL_ORDER};
use kernel::{
    mm::{Mm, MmWithUser},
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
    xarray::{AllocKind, XArray},
};
use kthread_faults::KthreadFaults;
use table::{DeviceMemory, Shared};

/// One process's address space on one device.
#[pin_data]
pub struct Mirror {
    mm: ARef<Mm>,
    memory: Arc<Memory>,
    shared: Arc<Shared>,
    // By address / interval size.
    #[pin]
    intervals: XArray<Arc<IntervalNotifier<Entries>>>,
    // Where there is one, to find them all.
    #[pin]
    indexes: Mutex<KVec<usize>>,
    #[pin]
    kthread_faults: KthreadFaults,
    #[pin]
    advice: Advice,
    // See `Mirror::prepare`.
    prepared: Atomic<bool>,
}

impl Mirror {
    /// Makes an empty mirror of `mm` on the device that has `memory`. ENOMEM.
    pub fn new(mm: &MmWithUser, memory: Arc<Memory>) -> Result<Arc<Self>> {
        let shared = Arc::new(Shared::new(), GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                mm: ARef::from(&**mm),
                memory,
                shared,
                intervals <- XArray::new(AllocKind::Alloc),
                indexes <- new_mutex!(KVec::new(), "Mirror::indexes"),
                kthread_faults <- KthreadFaults::new(),
                advice <- Advice::new(),
                prepared: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Makes the address space ready for a call that looks at pages, so that no signal interrupts it
    /// within a window. Sleeps; takes the mmap lock, so no lock may be held.
    ///
    /// ENOMEM; EINTR if a signal is pending, as long as no call was ready.
    pub(crate) fn prepare(&self, mm: &MmWithUser) -> Result {
        if !self.prepared.load(Relaxed) {
            notifier::prepare(mm)?;
            self.prepared.store(true, Relaxed);
        }
        Ok(())
    }

    /// Has a page table of the device's own follow the library's. Before the first fault, or what
    /// was entered until then is missing in it. What it still has when the mirror goes is not
    /// invalidated, unless the mirror retires first. EBUSY if there is one.
    pub fn attach(&self, table: Arc<dyn Table>) -> Result {
        self.shared.table.populate(table).then_some(()).ok_or(EBUSY)
    }

    /// Takes all entries away from the device, for ever: faults end with ESRCH, those of kernel
    /// threads that sleep too, and the table that was attached is not called any more when this
    /// returns. Sleeps.
    pub fn retire(&self) {
        self.shared.retire();
        self.kthread_faults.interrupt();
        self.clear();
    }

    /// Takes all entries away from the device, as [`Self::retire`] does, but until
    /// [`Self::resume`]: faults end with EIO, unless they sleep. Sleeps.
    fn suspend(&self) {
        self.shared.suspend(true);
        self.clear();
    }

    /// The device may have entries again, and begins with none.
    fn resume(&self) {
        self.shared.suspend(false);
    }

    /// Clears all intervals, of a mirror that takes no entries any more.
    fn clear(&self) {
        // A interval that is made meanwhile has no entries, and gets none.
        for index in self.indexes.lock().iter() {
            if let Some(interval) = self.find_interval(index << Self::section_shift()) {
                interval.lock().clear();
            }
        }
    }

    /// Notes what is to be done with the pages of `span` when the device faults on them. ENOSPC if
    /// there is too much different advice, ENOMEM. Sleeps.
    pub fn advise(&self, span: Span, policy: Policy) -> Result {
        self.advice.set(span, policy)
    }

    /// What was said of `addr`, and up to which address it holds. Sleeps.
    pub(crate) fn advice(&self, addr: usize) -> (Policy, usize) {
        self.advice.at(addr)
    }

    /// ESRCH once the mirror has retired, EIO while the device is being reset.
    fn check_active(&self) -> Result {
        self.shared.check_active()
    }

    /// The memory that the device has at the moment.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.memory.node()
    }

    /// What the page table has to know of it, and what the kernel knows it by. Not a reference:
    /// faults wait for who knows how long.
    fn own(&self) -> (DeviceMemory, Owner) {
        self.memory
            .node()
            .map_or((DeviceMemory::default(), Owner::NOBODY), |node| {
                (DeviceMemory::of(&node), node.owner())
            })
    }

    /// What happened on this mirror.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Whether it is `mm` that is mirrored.
    pub fn is_of(&self, mm: &MmWithUser) -> bool {
        self.mm.as_raw() == mm.as_raw()
    }

    /// Whether it is the address space `mm` that is mirrored.
    pub(crate) fn is_of_raw(&self, mm: *const crate::bindings::mm_struct) -> bool {
        self.mm.as_raw().cast_const() == mm
    }

    /// Keeps the address space from being torn down while it is worked on; ESRCH if that has
    /// begun. The reference must not be kept, or a killed process would not go.
    pub(crate) fn mm(&self) -> Result<ARef<MmWithUser>> {
        self.mm.mmget_not_zero().ok_or(ESRCH)
    }

    /// The logarithm of a interval's size in bytes.
    fn section_shift() -> u32 {
        mm::window_shift() + INTERVAL_ORDER
    }

    /// The interval that `addr` is in, if the device ever had an entry there.
    fn find_interval(&self, addr: usize) -> Option<Arc<IntervalNotifier<Entries>>> {
        let intervals = self.intervals.lock();

        intervals
            .get(addr >> Self::section_shift())
            .map(|interval| interval.into())
    }

    /// The interval that `addr` is in; it is made if there is none. Sleeps, and takes the mmap lock.
    fn interval(&self, mm: &MmWithUser, addr: usize) -> Result<Arc<IntervalNotifier<Entries>>> {
        if let Some(interval) = self.find_interval(addr) {
            return Ok(interval);
        }

        // Sections stay until the mirror goes, so none is made for an address that cannot be
        // accessed.
        let accessible = Mappings::lock(mm)
            .next(addr)
            .is_some_and(|mapping| mapping.maps(addr) && mapping.is_readable());
        if !accessible {
            return Err(EFAULT);
        }

        let shift = Self::section_shift();
        let index = addr >> shift;
        let start = index << shift;
        let span = start
            .checked_add(1 << shift)
            .and_then(|end| Span::new(start, end))
            .ok_or(EFAULT)?;
        let entries = Entries::new(span, mm::window_shift(), self.shared.clone());
        let new = Arc::pin_init(IntervalNotifier::new(mm, span, entries), GFP_KERNEL)?;

        // `store()` drops the array's lock to allocate. Were another thread's interval replaced
        // meanwhile, nobody would tell the device's own page table when the entries of that go.
        let mut indexes = self.indexes.lock();
        if let Some(interval) = self.find_interval(addr) {
            // Another thread was faster. Its interval is used; ours goes after the lock, since
            // removing a notifier sleeps.
            drop(indexes);
            return Ok(interval);
        }
        // First: whatever is in the array is found.
        indexes.push(index, GFP_KERNEL)?;
        let mut intervals = self.intervals.lock();
        let stored = intervals.store(index, new.clone(), GFP_KERNEL);
        drop(intervals);
        drop(indexes);
        match stored {
            Ok(_) => Ok(new),
            Err(e) => Err(e.error),
        }
    }
}

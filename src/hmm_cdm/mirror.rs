// SPDX-License-Identifier: GPL-2.0

//! A mirror: the address space of one process on one device. It keeps the device's page table a
//! copy of the CPU's: device faults fill it, and interval notifiers invalidate it.
//!
//! | module | subject |
//! | --- | --- |
//! | `interval`, `device_entry` | the device's page table: windows of entries, under notifiers |
//! | `fault`, `fill`, `map_pages` | device faults: from the CPU's page table to the device's |
//! | `access` | the device's accesses, through its page table |
//! | `exclusive` | exclusive access to pages, for atomic operations |
//! | `table` | the page table that a device may have beside the library's |
//! | `device_memory` | the device's own memory as its page table sees it |
//! | `shared`, `stats` | what all intervals share; the counters |
//! | `advice` | what the process has advised for its addresses |
//! | `kthread_faults` | ending the faults of kernel threads |
//! | `reset` | resets of the device |
//!
//! # Locking
//!
//! Locks are taken in this order, outermost first. Documentation/locking.rst has the same list, and
//! the locks and callbacks of the other parts.
//!
//! 1. `Node::evicting`, a mutex: serialises eviction. Taken with no other lock held but
//!    `Reclaimer::node`.
//! 2. `mmap_lock` of the mirrored process. Walks, migrations and lookups of mappings take it for
//!    reading, all of them in [`crate::mm`]. It is never held when an interval is made: the first
//!    notifier of an address space takes it for writing.
//! 3. Folio locks and rmap locks: held by migrations, and by the kernel around invalidations.
//! 4. `Mirror::indexes`, a mutex: held to add an interval, and to clear all of them. Never taken
//!    with 2 or 3 held.
//! 5. `Mirror::intervals`, the spinlock of the XArray: held to look up or store an interval.
//! 6. `IntervalNotifier::data`, a spinlock: protects the entries of an interval. Taken by
//!    invalidations, so with 2 and 3 held, and by each access of the device. Held for an access to
//!    one page, to fill one window, or to clear at most an interval. A driver's [`Table`] is called
//!    under it.
//! 7. `NodePages::free`, a spinlock with interrupts off: protects the node's allocator. Taken in
//!    any context.
//! 8. `DmemCharges::table`, a spinlock with interrupts off: which cgroup a page is charged to.
//!    Taken in any context.
//!
//! No two of 5 to 8 are held together, and nothing sleeps under them.
//!
//! Four mutexes are taken with none of these held: `Reclaimer::node`, under which 1 is taken,
//! `Health::state`, under which a reset takes 4 to 6, and `Advice::ranges` and
//! `KthreadFaults::threads`, under which no other lock is taken.
//!
//! # Lifetime
//!
//! A mirror holds a reference on the `mm_struct`, not on the address space, so the process may exit
//! while its mirror exists. The notifiers have invalidated all entries by then, and faults return
//! ESRCH.

mod access;
mod advice;
mod device_entry;
mod device_memory;
mod exclusive;
mod fault;
mod fill;
mod interval;
mod kthread_faults;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
mod map_pages;
mod reset;
mod shared;
mod stats;
mod table;

pub use access::{
    Hit,
    Missing, //
};
pub use advice::Policy;
pub(crate) use fault::{
    FaultWalk,
    PlacementPolicy,
    PlacementReason, //
};
pub(crate) use reset::Member;
pub use reset::{
    Health,
    Reset, //
};
pub use stats::{
    Counter,
    Stats, //
};
pub use table::{
    Extent,
    Table, //
};

use crate::{
    mm::{
        self,
        notifier::{
            self,
            IntervalNotifier, //
        },
        pagemap::Owner,
        vma::Mappings,
        Span,
    },
    node::{
        memory_slot::MemorySlot,
        Node, //
    },
};
use advice::Advice;
use device_memory::DeviceMemory;
use interval::{
    Entries,
    INTERVAL_ORDER, //
};
use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    xarray::{
        AllocKind,
        XArray, //
    },
};
use kthread_faults::KthreadFaults;
use shared::Shared;

/// The address space of one process on one device.
#[pin_data]
pub struct Mirror {
    mm: ARef<Mm>,
    memory: Arc<MemorySlot>,
    shared: Arc<Shared>,
    // By address divided by the size of an interval.
    #[pin]
    intervals: XArray<Arc<IntervalNotifier<Entries>>>,
    // The indices in `intervals` that are in use, to find them all.
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
    pub fn new(mm: &MmWithUser, memory: Arc<MemorySlot>) -> Result<Arc<Self>> {
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

    /// Prepares the address space for a call that looks at pages window by window, so that no
    /// signal makes it fail within a window. Sleeps; takes the mmap lock, so no lock may be held.
    ///
    /// ENOMEM, EINTR: see [`notifier::prepare`].
    pub(crate) fn prepare(&self, mm: &MmWithUser) -> Result {
        if !self.prepared.load(Relaxed) {
            notifier::prepare(mm)?;
            self.prepared.store(true, Relaxed);
        }
        Ok(())
    }

    /// Attaches the device's own page table, which follows the library's from here on. It gets no
    /// entries that were made before, so it is attached before the first fault. The entries that it
    /// has when the mirror is dropped are not invalidated, unless the mirror is retired first.
    /// EBUSY if a table is attached already.
    pub fn attach(&self, table: Arc<dyn Table>) -> Result {
        self.shared.table.populate(table).then_some(()).ok_or(EBUSY)
    }

    /// Takes all entries away from the device, for ever: faults end with ESRCH, even if they sleep
    /// in a kernel thread. When this returns, the attached table is not called any more. Sleeps.
    pub fn retire(&self) {
        self.shared.retire();
        self.kthread_faults.interrupt();
        self.clear();
    }

    /// Takes all entries away from the device, as [`Self::retire`] does, until [`Self::resume`].
    /// Faults end with EIO, unless they sleep. Sleeps.
    fn suspend(&self) {
        self.shared.suspend(true);
        self.clear();
    }

    /// Lets the device have entries again; it starts with none.
    fn resume(&self) {
        self.shared.suspend(false);
    }

    /// Clears all intervals, after the mirror has stopped taking entries.
    fn clear(&self) {
        // An interval that is added meanwhile has no entries, and gets none.
        for index in self.indexes.lock().iter() {
            if let Some(interval) = self.find_interval(index << Self::interval_shift()) {
                interval.lock().clear();
            }
        }
    }

    /// Sets the policy for device faults on the pages of `span`. ENOSPC if that makes too many
    /// ranges of different advice, ENOMEM. Sleeps.
    pub fn advise(&self, span: Span, policy: Policy) -> Result {
        self.advice.set(span, policy)
    }

    /// Returns the advice for `addr`, and the end of the range that it applies to. Sleeps.
    pub(crate) fn advice(&self, addr: usize) -> (Policy, usize) {
        self.advice.at(addr)
    }

    /// Returns ESRCH once the mirror has retired, EIO while the device is being reset.
    fn check_active(&self) -> Result {
        self.shared.check_active()
    }

    /// Returns the device's current memory.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.memory.node()
    }

    /// Returns the device's current memory as its page table sees it, and as the kernel knows its
    /// owner.
    ///
    /// There is no reference to the node, as faults may sleep for an unlimited time.
    fn device_memory(&self) -> (DeviceMemory, Owner) {
        self.memory
            .node()
            .map_or((DeviceMemory::default(), Owner::NOBODY), |node| {
                (DeviceMemory::of(&node), node.owner())
            })
    }

    /// Returns the counters of this mirror.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Returns whether this is a mirror of `mm`.
    pub fn is_of(&self, mm: &MmWithUser) -> bool {
        self.mm.as_raw() == mm.as_raw()
    }

    /// Returns whether this is a mirror of `mm`, which need not be valid.
    pub(crate) fn is_of_raw(&self, mm: *const kernel::bindings::mm_struct) -> bool {
        self.mm.as_raw().cast_const() == mm
    }

    /// Gets a reference that keeps the address space from being torn down; ESRCH if that has begun.
    /// It must be dropped soon, or a killed process would not release its memory.
    pub(crate) fn mm(&self) -> Result<ARef<MmWithUser>> {
        self.mm.mmget_not_zero().ok_or(ESRCH)
    }

    /// Returns the logarithm of the size of an interval in bytes.
    fn interval_shift() -> u32 {
        mm::window_shift() + INTERVAL_ORDER
    }

    /// Returns the interval of `addr`, if the device has ever faulted there.
    fn find_interval(&self, addr: usize) -> Option<Arc<IntervalNotifier<Entries>>> {
        let intervals = self.intervals.lock();

        intervals
            .get(addr >> Self::interval_shift())
            .map(|interval| interval.into())
    }

    /// Returns the interval of `addr`, which is added if it is missing. Sleeps, and takes the mmap
    /// lock.
    ///
    /// EFAULT if the process cannot access `addr`, ENOMEM, EINTR: see [`IntervalNotifier::new`].
    fn interval(&self, mm: &MmWithUser, addr: usize) -> Result<Arc<IntervalNotifier<Entries>>> {
        if let Some(interval) = self.find_interval(addr) {
            return Ok(interval);
        }

        // Intervals stay until the mirror goes, so none is added for an address that cannot be
        // accessed.
        let accessible = Mappings::lock(mm)
            .next(addr)
            .is_some_and(|mapping| mapping.maps(addr) && mapping.is_readable());
        if !accessible {
            return Err(EFAULT);
        }

        let shift = Self::interval_shift();
        let index = addr >> shift;
        let start = index << shift;
        let span = start
            .checked_add(1 << shift)
            .and_then(|end| Span::new(start, end))
            .ok_or(EFAULT)?;
        let entries = Entries::new(span, mm::window_shift(), self.shared.clone());
        let new = Arc::pin_init(IntervalNotifier::new(mm, span, entries), GFP_KERNEL)?;

        // `store()` drops the array's lock to allocate, so that lock does not keep two threads from
        // adding the same interval. One would replace the other's, and drop its entries without an
        // invalidation of the device's own page table.
        let mut indexes = self.indexes.lock();
        if let Some(interval) = self.find_interval(addr) {
            // Another thread was faster. Our interval is dropped without the lock, since removing a
            // notifier sleeps.
            drop(indexes);
            return Ok(interval);
        }
        // First, so that `clear()` finds whatever is in the array.
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

// SPDX-License-Identifier: GPL-2.0

//! The page frames of a node: which are free, which cgroup each is charged to, and how recently
//! each window was used.
//!
//! Frames are freed in any context, interrupts included, so the allocator is under a spinlock that
//! disables interrupts.

use super::{
    buddy::Buddy,
    charge::DmemCharges,
    poison_worker::PoisonWorker,
    splitter::Splitter,
    window_lru::WindowLru, //
};
use crate::mm::{
    self,
    copy::Copier,
    pagemap::Kind, //
};
use core::ops::Range;
use kernel::{
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard,
        SetOnce,
        SpinLockIrq, //
    }, //
};

/// The allocator of a node, and whether it may be used.
struct FreeFrames {
    buddy: Buddy,
    // Nothing is allocated any more.
    closed: bool,
}

/// The page frames of a node, and what its operations (`pagemap_ops.rs`) need.
#[pin_data]
pub(super) struct NodePages {
    kind: Kind,
    copier: Option<Arc<dyn Copier>>,
    #[pin]
    free: SpinLockIrq<FreeFrames>,
    #[pin]
    charges: DmemCharges,
    // Held by the CPU fault that migrates more than its own page; see `migrate_to_ram.rs`.
    #[pin]
    window_fault: Mutex<()>,
    splitter: SetOnce<Arc<Splitter>>,
    poison_worker: SetOnce<Arc<PoisonWorker>>,
    window_lru: Arc<WindowLru>,
    // The N of `/dev/hmm_cdm<N>`.
    device: SetOnce<u32>,
}

impl NodePages {
    /// Makes `nr` free frames from frame `first` on. EINVAL, ENOMEM.
    pub(super) fn new(
        kind: Kind,
        copier: Option<Arc<dyn Copier>>,
        first: usize,
        nr: usize,
    ) -> Result<impl PinInit<Self>> {
        let free = FreeFrames {
            buddy: Buddy::new(first, nr, mm::pmd_order())?,
            closed: false,
        };
        let window_lru = WindowLru::new(first, nr, mm::pmd_order())?;

        Ok(pin_init!(Self {
            kind,
            copier,
            free <- new_spinlock_irq!(free, "NodePages::free"),
            charges <- DmemCharges::new(),
            window_fault <- new_mutex!((), "NodePages::window_fault"),
            splitter: SetOnce::new(),
            poison_worker: SetOnce::new(),
            window_lru,
            device: SetOnce::new(),
        }))
    }

    /// Returns the kind of memory.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the driver that is asked to copy pages or told of freed ones, if there is one.
    pub(super) fn copier(&self) -> Option<&Arc<dyn Copier>> {
        self.copier.as_ref()
    }

    /// Returns the charges to cgroups.
    pub(super) fn charges(&self) -> &DmemCharges {
        &self.charges
    }

    /// Returns how recently each window was used.
    pub(super) fn window_lru(&self) -> &Arc<WindowLru> {
        &self.window_lru
    }

    /// Returns the N of `/dev/hmm_cdm<N>`, if the node has such a file.
    pub(super) fn device(&self) -> Option<u32> {
        self.device.as_ref().copied()
    }

    /// Sets the N of `/dev/hmm_cdm<N>`.
    pub(super) fn set_device(&self, index: u32) {
        self.device.populate(index);
    }

    /// Returns the splitter of huge pages, which private memory has.
    pub(super) fn splitter(&self) -> Option<&Splitter> {
        self.splitter.as_ref().map(|splitter| &**splitter)
    }

    /// Sets the splitter of huge pages.
    pub(super) fn set_splitter(&self, splitter: Arc<Splitter>) {
        self.splitter.populate(splitter);
    }

    /// Returns the worker that retries to poison busy pages.
    pub(super) fn poison_worker(&self) -> Option<&PoisonWorker> {
        self.poison_worker.as_ref().map(|worker| &**worker)
    }

    /// Sets the worker that retries to poison busy pages.
    pub(super) fn set_poison_worker(&self, worker: Arc<PoisonWorker>) {
        self.poison_worker.populate(worker);
    }

    /// Lets a CPU fault migrate more than its own page, unless another one does.
    pub(super) fn try_lock_window_fault(&self) -> Option<MutexGuard<'_, ()>> {
        self.window_fault.try_lock()
    }

    /// Ends allocation, for good.
    pub(super) fn close(&self) {
        self.free.lock().closed = true;
    }

    /// Returns whether allocation has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.free.lock().closed
    }

    /// Calls `alloc` with the allocator, unless allocation has ended.
    pub(super) fn alloc_with<R>(&self, alloc: impl FnOnce(&mut Buddy) -> R) -> Option<R> {
        let mut free = self.free.lock();

        if free.closed {
            None
        } else {
            Some(alloc(&mut free.buddy))
        }
    }

    /// Frees `1 << order` frames from `index` on. Context: any.
    pub(super) fn free(&self, index: usize, order: u32) {
        self.window_lru.freed(index, 1 << order);
        // Before the frames can be allocated again.
        if let Some(copier) = &self.copier {
            copier.freed(index, 1 << order);
        }
        self.charges.freed(index, order);
        let freed = self.free.lock().buddy.free(index, order);

        if freed.is_err() {
            // `struct page` and the allocator disagree. The allocator has not changed, so no frame
            // is allocated twice.
            pr_err!("page {index} of a node was freed, but is not in use\n");
        }
    }

    /// Retires frame `index`, which is never allocated again. False if it was already retired.
    pub(super) fn retire(&self, index: usize) -> bool {
        self.free.lock().buddy.retire(index)
    }

    /// Returns the number of frames that can be allocated.
    pub(super) fn free_frames(&self) -> usize {
        self.free.lock().buddy.free_frames()
    }

    /// Returns the number of frames in use.
    pub(super) fn used_frames(&self) -> usize {
        self.free.lock().buddy.used_frames()
    }

    /// Returns the number of windows that are free as a whole.
    pub(super) fn free_windows(&self) -> usize {
        self.free.lock().buddy.free_blocks(mm::pmd_order())
    }

    /// Returns whether frame `index` is in use.
    pub(super) fn is_used(&self, index: usize) -> bool {
        self.free.lock().buddy.is_used(index)
    }

    /// Returns the first frame of `range` that is in use. Interrupts are off meanwhile, so a range
    /// has at most a window's frames.
    pub(super) fn first_used(&self, range: Range<usize>) -> Option<usize> {
        let free = self.free.lock();

        range.into_iter().find(|index| free.buddy.is_used(*index))
    }
}

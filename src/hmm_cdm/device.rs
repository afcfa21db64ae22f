// SPDX-License-Identifier: GPL-2.0

//! The traits that a driver implements, and the device behind `/dev/hmm_cdm<N>`.

use crate::{
    job::Job,
    mirror::{Health, Member, Mirror},
    mm::copy::Copier,
    node::{memory_slot::MemorySlot, Node},
    os::module::{ModuleOwner, ModuleRef},
};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    sync::Arc,
};

/// A driver of a device with memory.
pub trait Driver: Send + Sync {
    /// Returns the name for display. Userspace gets the first 31 bytes.
    fn name(&self) -> &CStr;

    /// Called when a process opens the device; returns the driver's state for it. A device with its
    /// own page table attaches it here ([`Mirror::attach`]).
    ///
    /// Context: the mirrored process; may sleep. The caller holds `misc_mtx` (`misc_open()`), which
    /// creating and removing a device file takes, too. So this must neither create nor drop a
    /// [`Registration`](crate::registration::Registration), nor wait for a task that does.
    ///
    /// An error fails open(2).
    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>>;

    /// Returns the device's copy engine. `None`, the default, means that the CPU copies; private
    /// memory needs one. ENOMEM.
    fn copier(&self) -> Result<Option<Arc<dyn Copier>>> {
        Ok(None)
    }

    /// Returns the state by which the driver announces resets. `None`, the default, stands for a
    /// device that never needs one.
    fn health(&self) -> Option<Arc<Health>> {
        None
    }
}

/// A driver's state for one open file.
///
/// Dropping it ends its jobs: when `drop` returns, the device no longer uses the mirror. It is
/// dropped when the last descriptor is closed, also in exit after a SIGKILL, so `drop` must take
/// bounded time.
pub trait Context: Send + Sync {
    /// Starts a job and returns without waiting for it.
    ///
    /// Context: the mirrored process; may sleep.
    ///
    /// * EINVAL: unknown operation, or an argument that is never valid
    /// * EOPNOTSUPP: no engine; the default
    /// * ENOMEM
    fn submit(&self, _job: Job) -> Result {
        Err(EOPNOTSUPP)
    }
}

/// The device behind one `/dev/hmm_cdm<N>`: a node and its driver.
pub struct Device {
    memory: Arc<MemorySlot>,
    index: u32,
    health: Option<Arc<Health>>,
    driver: Arc<dyn Driver>,
    module: ModuleOwner,
    gone: Atomic<bool>,
}

impl Device {
    pub(crate) fn new(
        memory: Arc<MemorySlot>,
        index: u32,
        driver: Arc<dyn Driver>,
        module: ModuleOwner,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                memory,
                index,
                health: driver.health(),
                driver,
                module,
                gone: Atomic::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the slot that its memory is plugged into.
    pub fn memory(&self) -> &Arc<MemorySlot> {
        &self.memory
    }

    /// Returns its node. ENODEV if that has been removed.
    pub fn node(&self) -> Result<Arc<Node>> {
        self.memory.node().ok_or(ENODEV)
    }

    /// Returns the N of `/dev/hmm_cdm<N>`.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns its driver.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// Pins the driver's module, for an open file. ENODEV if it is being unloaded.
    pub(crate) fn hold_module(&self) -> Result<ModuleRef> {
        ModuleRef::get(self.module)
    }

    /// Makes a mirror take part in resets of the device, until the returned value is dropped.
    /// ENOMEM.
    pub(crate) fn join(&self, mirror: &Arc<Mirror>) -> Result<Option<Member>> {
        self.health
            .as_ref()
            .map(|health| Member::new(health.clone(), mirror.clone()))
            .transpose()
    }

    /// Returns EIO while the device is being reset. Sleeps.
    pub(crate) fn check_health(&self) -> Result {
        self.health.as_ref().map_or(Ok(()), |health| health.check())
    }

    /// Marks the device removed: calls on files that are still open fail with ENODEV.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    /// Returns ENODEV if the device has been removed.
    pub(crate) fn check_present(&self) -> Result {
        if self.gone.load(Relaxed) {
            Err(ENODEV)
        } else {
            Ok(())
        }
    }
}

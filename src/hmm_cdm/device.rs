// SPDX-License-Identifier: GPL-2.0

//! What a driver implements, and the device that it makes of its memory node.

use crate::{
    job::Job,
    mirror::{Health, Member, Mirror},
    mm::copy::Copier,
    node::{memory::Memory, Node},
    os::module::{ModuleOwner, ModuleRef},
};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    sync::Arc,
};

/// A driver of devices with memory.
pub trait Driver: Send + Sync {
    /// Its name, for people to read; 31 bytes of it are seen.
    fn name(&self) -> &CStr;

    /// A process has opened the device: makes what the driver keeps for it. A device with a page
    /// table of its own attaches it here ([`Mirror::attach`]).
    ///
    /// Context: process, which is the one that `mirror` is of; may sleep. An error is that of
    /// open(2).
    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>>;

    /// Who copies from and to the device's memory. `None`, the default, is the CPU; that does not
    /// do for private memory.
    fn copier(&self) -> Option<Arc<dyn Copier>> {
        None
    }

    /// Where the driver says that the device is being reset. `None`, the default, is a device that
    /// always works.
    fn health(&self) -> Option<Arc<Health>> {
        None
    }
}

/// What a driver keeps for one process that has its device open.
///
/// Dropping it ends all its jobs: when `drop` returns, nothing of the device uses the mirror any
/// more. That happens when the last file descriptor is closed, also in exit after a SIGKILL, so it
/// must take bounded time.
pub trait Context: Send + Sync {
    /// Starts a job, and returns without waiting for it.
    ///
    /// Context: process, which is the one that is mirrored; may sleep.
    ///
    /// * EINVAL: no such operation, or an argument that can never be right
    /// * EOPNOTSUPP: there is no engine, which is the default
    /// * ENOMEM
    fn submit(&self, _job: Job) -> Result {
        Err(EOPNOTSUPP)
    }
}

/// A memory node with its driver: what is behind one `/dev/hmm_cdm<N>`.
pub struct Device {
    memory: Arc<Memory>,
    index: u32,
    health: Option<Arc<Health>>,
    driver: Arc<dyn Driver>,
    module: ModuleOwner,
    gone: Atomic<bool>,
}

impl Device {
    pub(crate) fn new(
        memory: Arc<Memory>,
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

    /// Where its memory is plugged in.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Its memory. ENODEV if that has gone.
    pub fn node(&self) -> Result<Arc<Node>> {
        self.memory.node().ok_or(ENODEV)
    }

    /// The N of `/dev/hmm_cdm<N>`.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its driver.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// Keeps the driver's code loaded while one of its files is open. ENODEV if it is going.
    pub(crate) fn hold_module(&self) -> Result<ModuleRef> {
        ModuleRef::get(self.module)
    }

    /// Has a mirror of the device take part in its resets, until what is returned is dropped.
    /// ENOMEM.
    pub(crate) fn join(&self, mirror: &Arc<Mirror>) -> Result<Option<Member>> {
        self.health
            .as_ref()
            .map(|health| Member::new(health.clone(), mirror.clone()))
            .transpose()
    }

    /// EIO while the device is being reset. Sleeps.
    pub(crate) fn check_health(&self) -> Result {
        self.health.as_ref().map_or(Ok(()), |health| health.check())
    }

    /// The driver has taken the device away: calls on files that are still open end with ENODEV.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    /// ENODEV if the device has been taken away.
    pub(crate) fn check_present(&self) -> Result {
        if self.gone.load(Relaxed) {
            Err(ENODEV)
        } else {
            Ok(())
        }
    }
}

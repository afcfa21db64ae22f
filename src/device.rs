// SPDX-License-Identifier: GPL-2.0

//! What a driver implements, and the device that it makes of its memory node.

use crate::{job::Job, mirror::Mirror, node::Node, os::module::ModuleRef};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    sync::Arc,
};

/// A driver of devices with coherent memory.
pub trait Driver: Send + Sync {
    /// Its name, for people to read; 31 bytes of it are seen.
    fn name(&self) -> &'static CStr;

    /// A process has opened the device: makes what the driver keeps for it.
    ///
    /// Context: process, which is the one that `mirror` is of; may sleep. An error is that of
    /// open(2).
    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>>;
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
    /// * EOPNOTSUPP: there is no engine
    /// * ENOMEM
    fn submit(&self, job: Job) -> Result;
}

/// A memory node with its driver: what is behind one `/dev/hmm_cdm<N>`.
pub struct Device {
    node: Arc<Node>,
    index: u32,
    driver: Arc<dyn Driver>,
    module: &'static ThisModule,
    gone: Atomic<bool>,
}

impl Device {
    pub(crate) fn new(
        node: Arc<Node>,
        index: u32,
        driver: Arc<dyn Driver>,
        module: &'static ThisModule,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                node,
                index,
                driver,
                module,
                gone: Atomic::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// Its memory.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
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

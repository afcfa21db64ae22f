// SPDX-License-Identifier: GPL-2.0

//! Registration of a driver's memory, and its removal.
//!
//! Removal does not wait for processes: what they have in the memory is moved to system memory
//! under them. A page that cannot be moved, because someone has pinned it, is reported with its
//! holders' marks, and waited for, but not for ever: after [`PATIENCE_MS`] the node is left as an
//! orphan of the library, which stays loaded for it, and removal returns. Orphans are tried again
//! whenever a node comes or goes.

use crate::{
    chardev::Chardev,
    device::{Device, Driver},
    migrate::evict_all,
    node::{region::Region, Node},
    os::module::ModuleRef,
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// How long removal waits for pages that are held.
const PATIENCE_MS: i64 = 20_000;
/// How often they are tried again meanwhile.
const RETRY_MS: i64 = 50;
/// How often the wait is reported; the first time after one second.
const REPORT_MS: i64 = 5_000;

struct Orphan {
    node: Arc<Node>,
    _library: ModuleRef,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before any device can be registered.
    unsafe(uninit) static ORPHANS: Mutex<KVec<Orphan>> = KVec::new();
}

/// Prepares the list of orphans.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe { ORPHANS.init() };
}

/// A driver's memory in use: a node, and its file in `/dev`. Dropping it removes both.
pub struct Registration {
    chardev: Option<Chardev>,
    device: Arc<Device>,
}

impl Registration {
    /// Makes a node of `region` and lets processes use it through the driver. `module` is that of
    /// the driver's code; it stays loaded while files are open. Sleeps.
    ///
    /// What is wrong with a region is in the kernel's log; errors are those of [`Region::check`]
    /// and [`Node::new`], ENOSPC if there are too many devices, and ENOMEM.
    pub fn new(
        region: &Region,
        driver: Arc<dyn Driver>,
        module: &'static ThisModule,
    ) -> Result<Self> {
        retry_orphans();

        let (chardev, device) = Chardev::new(|index| {
            let name = CString::try_from_fmt(fmt!("hmm_cdm{index}"))?;

            Device::new(Node::new(region, name)?, index, driver, module)
        })?;
        let node = device.node();

        let (index, mib) = (device.index(), node.size() >> 20);
        let (start, nid) = (node.start(), node.nid());

        match node.origin() {
            Some(origin) => {
                pr_info!("hmm_cdm{index}: {mib} MiB at {start:#x}, NUMA node {nid}, {origin}\n");
            }
            None => pr_info!("hmm_cdm{index}: {mib} MiB at {start:#x}, NUMA node {nid}\n"),
        }
        Ok(Self {
            chardev: Some(chardev),
            device,
        })
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let node = self.device.node().clone();

        self.device.set_gone();
        drop(self.chardev.take());
        if !evacuate(&node, self.device.index()) {
            adopt(node);
        }
        retry_orphans();
    }
}

/// Moves everything off the node, and says whether that succeeded in time.
fn evacuate(node: &Node, index: u32) -> bool {
    let start = Instant::<Monotonic>::now();
    let mut next_report = 1_000;

    loop {
        if evict_all(node).is_ok() && node.used_pages() == 0 {
            return true;
        }
        let waited = start.elapsed().as_millis();
        if waited >= PATIENCE_MS {
            return false;
        }
        if waited >= next_report {
            report(node, index);
            next_report = waited + REPORT_MS;
        }
        fsleep(Delta::from_millis(RETRY_MS));
    }
}

fn report(node: &Node, index: u32) {
    pr_warn!(
        "hmm_cdm{index}: removal waits for {} pages that are held, such as {}\n",
        node.used_pages(),
        node.describe_used()
    );
}

fn adopt(node: Arc<Node>) {
    pr_err!(
        "node at {:#x}: {} pages are still held, such as {}; it stays registered until they are \
         given back\n",
        node.start(),
        node.used_pages(),
        node.describe_used()
    );
    let orphan = ModuleRef::get(crate::this_module()).and_then(|library| {
        let orphan = Orphan {
            node: node.clone(),
            _library: library,
        };
        ORPHANS.lock().push(orphan, GFP_KERNEL).map_err(Error::from)
    });
    if orphan.is_err() {
        // There is nothing left but to keep it for ever: dropping it would wait for the pages.
        core::mem::forget(node);
    }
}

/// Tries to get rid of the nodes that could not be removed.
fn retry_orphans() {
    let mut orphans = ORPHANS.lock();

    orphans.retain(|orphan| {
        let left = evict_all(&orphan.node).is_err() || orphan.node.used_pages() > 0;

        if !left {
            pr_info!("node at {:#x} is removed at last\n", orphan.node.start());
        }
        left
    });
    if orphans.is_empty() {
        // Statics are not dropped with the module, so it must not own memory then.
        *orphans = KVec::new();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Registers a driver's memory, and removes it.
//!
//! Removal moves the pages of processes to system memory; it does not wait for the processes. A
//! page with elevated references is logged and waited for, up to [`PATIENCE_MS`]. Then the node
//! becomes an *orphan* of the library, which stays loaded for it, and removal returns. Orphans are
//! retried whenever a node is registered or removed.
//!
//! If only the driver can copy from the memory, or must be told of freed pages, removal waits
//! without a limit, since the driver may be unloaded afterwards. Private pages cannot be pinned.

pub(crate) mod instance;

use crate::{
    chardev::Chardev,
    device::{Device, Driver},
    migrate::{evict_all, reclaim::Reclaimer},
    mm::copy::Copier,
    node::{memory_slot::MemorySlot, poison, region::Region, Node},
    os::module::{ModuleOwner, ModuleRef},
};
use instance::Instance;
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// How long removal waits for pages with elevated references.
const PATIENCE_MS: i64 = 20_000;
/// The interval between two attempts to move them.
const RETRY_MS: i64 = 50;
/// The interval between two reports in the log. The first comes after one second.
const REPORT_MS: i64 = 5_000;

pub(crate) struct Orphan {
    node: Arc<Node>,
    _library: Option<ModuleRef>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before any device can be registered.
    pub(crate) unsafe(uninit) static ORPHANS: Mutex<KVec<Orphan>> = KVec::new();
}

/// The memory to register.
pub enum Spec<'a> {
    /// Coherent memory, not yet checked.
    Coherent(&'a Region),
    /// Private memory: bytes, NUMA node.
    Private(u64, Option<i32>),
}

impl Spec<'_> {
    fn make(&self, name: CString, copier: Option<Arc<dyn Copier>>) -> Result<Arc<Node>> {
        match self {
            Spec::Coherent(region) => Node::new(region, name, copier),
            Spec::Private(size, nid) => {
                let copier = copier.filter(|copier| copier.copies());
                let copier = copier.ok_or(EINVAL).inspect_err(|_| {
                    pr_err!("private memory needs a driver that copies and zeroes it\n");
                })?;

                Node::new_private(*size, *nid, name, copier)
            }
        }
    }
}

/// Memory plugged into a device. Dropping it removes the memory.
struct Plugged {
    memory: Arc<MemorySlot>,
    reclaimer: Arc<Reclaimer>,
    name: CString,
    gone: bool,
}

impl Plugged {
    /// EBUSY if the device already has memory.
    fn new(memory: Arc<MemorySlot>, node: Arc<Node>, name: CString) -> Result<Self> {
        let (mib, start, nid) = (node.size() >> 20, node.start(), node.nid());
        let origin = node.origin().cloned();
        let reclaimer = Reclaimer::new()?;

        node.charge(&name, reclaimer.clone())?;
        memory.plug(node.clone()).map_err(|_| EBUSY)?;
        reclaimer.begin(node);
        match origin {
            Some(origin) => {
                pr_info!(
                    "{}: {mib} MiB at {start:#x}, NUMA node {nid}, {origin}\n",
                    &*name
                );
            }
            None => pr_info!("{}: {mib} MiB at {start:#x}, NUMA node {nid}\n", &*name),
        }
        Ok(Self {
            memory,
            reclaimer,
            name,
            gone: false,
        })
    }

    /// EBUSY if the node became an orphan.
    fn remove(&mut self) -> Result {
        if self.gone {
            return Ok(());
        }
        self.gone = true;

        let node = self.memory.unplug().ok_or(ENODEV)?;
        node.close();
        self.reclaimer.end();
        let result = if evacuate(&node, &self.name) {
            Node::wait_unregistered(node);
            Ok(())
        } else {
            adopt(node);
            Err(EBUSY)
        };
        retry_orphans();
        result
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        // The log has what could not be removed.
        let _ = self.remove();
    }
}

/// A registered node and its file in `/dev`, if it has one. Dropping it removes both.
pub struct Registration {
    // Dropped first.
    file: Option<(Chardev, Arc<Device>)>,
    plugged: Plugged,
    // Numbers memory that has no device file. Dropped last: the number is reused only after the
    // memory is gone.
    _instance: Option<Instance>,
}

impl Registration {
    /// Registers `region` as a node and creates its device file. `module` has the driver's code;
    /// open files pin it. Sleeps.
    ///
    /// The log has the reason of a failure. Errors are those of [`Region::check`] and
    /// [`Node::new`], ENOSPC if there are too many devices, and ENOMEM.
    pub fn new(
        region: &Region,
        driver: Arc<dyn Driver>,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let module = ModuleOwner::of(module);

        Self::with(MemorySlot::new()?, &Spec::Coherent(region), driver, module)
    }

    /// The same for `size` bytes of memory that only the device can access. EINVAL if the driver
    /// has no [`Driver::copier`]; otherwise the errors of [`Node::new_private`].
    pub fn new_private(
        size: u64,
        driver: Arc<dyn Driver>,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let module = ModuleOwner::of(module);

        Self::with(
            MemorySlot::new()?,
            &Spec::Private(size, None),
            driver,
            module,
        )
    }

    /// The same for a device that may already have mirrors: plugs the node into `memory`. EBUSY if
    /// a node is plugged in already.
    pub fn with(
        memory: Arc<MemorySlot>,
        spec: &Spec<'_>,
        driver: Arc<dyn Driver>,
        module: ModuleOwner,
    ) -> Result<Self> {
        let mut plugged = None;

        retry_orphans();
        let file = Chardev::new(|index| {
            let name = || CString::try_from_fmt(fmt!("hmm_cdm{index}"));
            let node = spec.make(name()?, driver.copier()?)?;

            node.set_device(index);
            // Other tasks may use it from here on, so a failure has to remove it.
            plugged = Some(Plugged::new(memory.clone(), node, name()?)?);
            Device::new(memory, index, driver, module)
        })?;
        Ok(Self {
            file: Some(file),
            plugged: plugged.ok_or(EINVAL)?,
            _instance: None,
        })
    }

    /// The same without a file: the driver has its own. The memory is called `<driver>.<N>`, N from
    /// zero, in `/proc/iomem`, in messages and by the dmem controller.
    pub fn without_file(
        memory: Arc<MemorySlot>,
        spec: &Spec<'_>,
        driver: &CStr,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Self> {
        retry_orphans();
        let instance = Instance::new()?;
        let node = spec.make(instance.name(driver)?, copier)?;
        let plugged = Plugged::new(memory, node, instance.name(driver)?)?;

        Ok(Self {
            file: None,
            plugged,
            _instance: Some(instance),
        })
    }

    /// Removes the memory. EBUSY if the node became an orphan.
    pub fn remove(mut self) -> Result {
        self.close_file();
        self.plugged.remove()
    }

    /// Removes the device file. Calls on files that are open fail with ENODEV.
    fn close_file(&mut self) {
        if let Some((chardev, device)) = self.file.take() {
            device.set_gone();
            drop(chardev);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.close_file();
    }
}

/// Moves all pages off the node. False if that did not succeed in time.
fn evacuate(node: &Node, name: &CStr) -> bool {
    let start = Instant::<Monotonic>::now();
    let mut next_report = 1_000;

    loop {
        if evict_all(node, || false).is_ok() && node.used_pages() == 0 {
            return true;
        }
        let waited = start.elapsed().as_millis();
        if waited >= PATIENCE_MS && !node.needs_driver() {
            return false;
        }
        if waited >= next_report {
            report(node, name);
            next_report = waited + REPORT_MS;
        }
        fsleep(Delta::from_millis(RETRY_MS));
    }
}

fn report(node: &Node, name: &CStr) {
    pr_warn!(
        "{name}: removal waits for {} pages with elevated references, such as {}\n",
        node.used_pages(),
        node.describe_used()
    );
}

fn adopt(node: Arc<Node>) {
    pr_err!(
        "node at {:#x}: {} pages are still referenced, such as {}; the node stays registered until \
         they are freed\n",
        node.start(),
        node.used_pages(),
        node.describe_used()
    );
    let orphan = Orphan {
        node,
        // A module that is being unloaded has no node: its drivers have removed theirs.
        _library: ModuleRef::library().ok(),
    };
    let mut orphans = ORPHANS.lock();

    match orphans.reserve(1, GFP_KERNEL) {
        Ok(()) => {
            let _ = orphans.push_within_capacity(orphan);
        }
        // Leaked with its reference on the library, which has the node's callbacks: dropping it
        // would wait for its pages.
        Err(_) => core::mem::forget(orphan),
    }
}

/// Retries the removal of the orphans.
fn retry_orphans() {
    poison::release_unused();
    let mut orphans = ORPHANS.lock();

    orphans.retain(|orphan| {
        let left = evict_all(&orphan.node, || false).is_err() || orphan.node.used_pages() > 0;

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

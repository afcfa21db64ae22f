// SPDX-License-Identifier: GPL-2.0

//! An emulated accelerator with coherent memory: a driver on top of the library, in the place of a
//! vendor's GPU driver.
//!
//! It uses only the interface that the library offers to every driver. The device's memory is the
//! coherent device memory of the device tree, or what the parameter `region` names. Its engine is a
//! set of threads that access memory through the device page table, and fault where that has no
//! entry.

#![crate_name = "cdm_emu"]

mod device_mmu;
mod engine;
mod exec_units;
mod ops;
mod region_param;
mod step;
mod walk;
mod watchdog;

use engine::{
    Config,
    Engine, //
};
use hmm_cdm::{
    node::{
        device_tree,
        region::Region, //
    },
    registration::Registration, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

module! {
    type: CdmEmu,
    name: "cdm_emu",
    authors: ["The hmm-cdm developers"],
    description: "Emulated accelerator with coherent device memory",
    license: "GPL",
    params: {
        engines: u32 {
            default: 2,
            description: "Execution units of each device's engine (1 to 16)",
        },
        timeout_ms: u32 {
            default: 2000,
            description: "Milliseconds without progress after which a unit is reset (10 to 60000)",
        },
    },
}

const ENGINES_MAX: u32 = 16;
/// The maximum is half of the default `kernel.hung_task_timeout_secs`.
const TIMEOUTS_MS: core::ops::RangeInclusive<u32> = 10..=60_000;

extern "C" {
    fn cdm_emu_region() -> *const kernel::ffi::c_char;
}

struct CdmEmu {
    _devices: Devices,
}

impl kernel::Module for CdmEmu {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let engines = module_parameters::engines.value();
        if !(1..=ENGINES_MAX).contains(&engines) {
            pr_err!("engines={engines}: has to be 1 to {ENGINES_MAX}\n");
            return Err(EINVAL);
        }
        let timeout_ms = module_parameters::timeout_ms.value();
        if !TIMEOUTS_MS.contains(&timeout_ms) {
            pr_err!(
                "timeout_ms={timeout_ms}: has to be {} to {}\n",
                TIMEOUTS_MS.start(),
                TIMEOUTS_MS.end()
            );
            return Err(EINVAL);
        }
        let config = Config {
            engines,
            timeout_ms,
        };

        // SAFETY: `CStr::from_char_ptr()` requires a string that stays valid and unchanged. The C
        // function returns NULL or the parameter, which lives as long as the module and cannot be
        // changed after loading (mode 0400).
        let param = unsafe {
            let ptr = cdm_emu_region();

            if ptr.is_null() {
                None
            } else {
                Some(CStr::from_char_ptr(ptr))
            }
        };
        // Regions that are named replace those of the device tree.
        let devices = match param {
            Some(param) => add_named(param.to_bytes(), config, module)?,
            None => add_described(config, module)?,
        };

        Ok(Self { _devices: devices })
    }
}

/// The registered devices. A device that cannot be registered does not affect the others.
struct Devices {
    devices: KVec<Registration>,
    first_error: Option<Error>,
}

impl Devices {
    /// Reserves capacity for `count` devices: nothing may fail once a device is registered, as it
    /// may be open already. ENOMEM.
    fn new(count: usize) -> Result<Self> {
        Ok(Self {
            devices: KVec::with_capacity(count, GFP_KERNEL)?,
            first_error: None,
        })
    }

    fn add(
        &mut self,
        region: Result<Region>,
        config: Config,
        module: &'static ThisModule,
    ) -> Result {
        let room = self.devices.len() < self.devices.capacity();
        let added = region
            .and_then(|region| room.then_some(region).ok_or(ENOSPC))
            .and_then(|region| {
                let number = self.devices.len() as u32;
                let driver = Arc::new(Engine::new(config, number)?, GFP_KERNEL)?;

                Registration::new(&region, driver, module)
            })
            .and_then(|device| Ok(self.devices.push_within_capacity(device)?));

        if let Err(e) = added {
            self.first_error = self.first_error.or(Some(e));
        }
        added
    }

    /// Fails with the first error, or ENODEV, if there is no device.
    fn unless_none(self) -> Result<Self> {
        if self.devices.is_empty() {
            Err(self.first_error.unwrap_or(ENODEV))
        } else {
            Ok(self)
        }
    }
}

/// Adds a device for each region of the parameter.
fn add_named(param: &[u8], config: Config, module: &'static ThisModule) -> Result<Devices> {
    let mut devices = Devices::new(region_param::split(param).count())?;

    for text in region_param::split(param) {
        let shown = kernel::str::BStr::from_bytes(text);
        let named = region_param::parse(text).inspect_err(|_| {
            pr_err!("region {shown}: is not of the form <start>+<size>[@<node>]\n");
        });
        // SAFETY: `Region::new()` requires memory that nothing else uses, if the checks accept it.
        // The administrator, who names it in the parameter, has to promise that, as with `memmap=`.
        let region = named.map(|named| unsafe { Region::new(named.start, named.size, named.nid) });

        let _ = devices.add(region, config, module).inspect_err(|e| {
            pr_err!("region {shown}: not used (error {})\n", e.to_errno());
        });
    }
    devices.unless_none()
}

/// Adds a device for each node of coherent device memory in the device tree.
fn add_described(config: Config, module: &'static ThisModule) -> Result<Devices> {
    let count = device_tree::memories().count();
    let mut devices = Devices::new(count)?;

    if count == 0 {
        pr_err!(
            "no device: the device tree has no coherent device memory; name the memory with \
             region=<start>+<size>[@<node>]\n"
        );
        return Err(ENODEV);
    }
    show_owners();
    // Nodes that were added since they were counted exceed the capacity, and are refused.
    for node in device_tree::memories() {
        let region = Region::of_node(&node);

        let _ = devices.add(region, config, module).inspect_err(|e| {
            pr_err!("{}: not used (error {})\n", &*node, e.to_errno());
        });
    }
    devices.unless_none()
}

/// Prints which PCI device each memory belongs to. The emulated device does not need its PCI
/// device; the driver of a real one starts from there (see [`Region::of_device`]). PCI devices that
/// point to another kind of memory are skipped.
fn show_owners() {
    for device in device_tree::pci_devices() {
        let Some(pointer) = device_tree::Pointer::find(&device) else {
            continue;
        };
        let memory = pointer.memory();

        match pointer.target() {
            Some(target) => pr_info!(
                "{}: memory of {}, there at {target:#x}\n",
                &**memory,
                &*device
            ),
            None => pr_info!("{}: memory of {}\n", &**memory, &*device),
        }
    }
}

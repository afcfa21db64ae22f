// SPDX-License-Identifier: GPL-2.0

//! An emulated accelerator with coherent memory: a driver on top of the library, standing where a
//! vendor's GPU driver would location_of.
//!
//! It uses nothing of the library but what is public to any driver. The device's memory is
//! whatever the device tree has as coherent device memory, or what the parameter `region` names; its
//! engine is threads that work only on what the device's page table maps, and fault where it maps
//! nothing.

#![crate_name = "cdm_emu"]

mod device_mmu;
mod engine;
mod exec_units;
mod ops;
mod region;
mod walk;
mod watchdog;

use engine::{Config, Engine};
use hmm_cdm::{
    node::{region::Region, tree},
    registration::Registration,
};
use kernel::{prelude::*, str::CStr, sync::Arc};

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
/// The kernel's own detector of tasks that hang waits for twice as long.
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

        // SAFETY: Returns NULL or the value of a parameter, a string that lives as long as the
        // module; it cannot be changed after loading.
        let param = unsafe {
            let ptr = cdm_emu_region();

            if ptr.is_null() {
                None
            } else {
                Some(CStr::from_char_ptr(ptr))
            }
        };
        // Who names regions wants these and no others.
        let devices = match param {
            Some(param) => add_named(param.to_bytes(), config, module)?,
            None => add_described(config, module)?,
        };

        Ok(Self { _devices: devices })
    }
}

/// The devices, as far as there are any. One that cannot be made does not keep the others from
/// being used.
struct Devices {
    devices: KVec<Registration>,
    first_error: Option<Error>,
}

impl Devices {
    /// Has room for `count`: nothing may fail once a device is registered, as it may be open
    /// already.
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
                let driver = Arc::new(Engine::new(config, region.start)?, GFP_KERNEL)?;

                Registration::new(&region, driver, module)
            })
            .and_then(|device| Ok(self.devices.push_within_capacity(device)?));

        if let Err(e) = added {
            self.first_error = self.first_error.or(Some(e));
        }
        added
    }

    /// ENODEV, or the first error, if there is no device.
    fn unless_none(self) -> Result<Self> {
        if self.devices.is_empty() {
            Err(self.first_error.unwrap_or(ENODEV))
        } else {
            Ok(self)
        }
    }
}

/// A device for each region of the parameter.
fn add_named(param: &[u8], config: Config, module: &'static ThisModule) -> Result<Devices> {
    let mut devices = Devices::new(region::split(param).count())?;

    for text in region::split(param) {
        let shown = kernel::str::BStr::from_bytes(text);
        let region = region::parse(text).inspect_err(|_| {
            pr_err!("region {shown}: is not of the form <start>+<size>[@<node>]\n");
        });

        let _ = devices.add(region, config, module).inspect_err(|e| {
            pr_err!("region {shown}: not used (error {})\n", e.to_errno());
        });
    }
    devices.unless_none()
}

/// A device for each node of the device tree that is coherent device memory.
fn add_described(config: Config, module: &'static ThisModule) -> Result<Devices> {
    let count = tree::memories().count();
    let mut devices = Devices::new(count)?;

    if count == 0 {
        pr_err!(
            "no device: the device tree has no coherent device memory; name the memory with \
             region=<start>+<size>[@<node>]\n"
        );
        return Err(ENODEV);
    }
    show_owners();
    // Nodes that have come since they were counted find no room, and are refused.
    for node in tree::memories() {
        let region = Region::of_node(&node);

        let _ = devices.add(region, config, module).inspect_err(|e| {
            pr_err!("{}: not used (error {})\n", &*node, e.to_errno());
        });
    }
    devices.unless_none()
}

/// Says which PCI device each memory belongs to. The emulated device needs none of them; a driver
/// of the real one begins with it (see [`Region::of_device`]). Other kinds of memory that devices
/// point to are nobody's mistake.
fn show_owners() {
    for device in tree::pci_devices() {
        let Some(pointer) = tree::Pointer::find(&device) else {
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

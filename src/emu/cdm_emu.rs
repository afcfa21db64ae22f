// SPDX-License-Identifier: GPL-2.0

//! An emulated accelerator with coherent memory: a driver on top of the library, standing where a
//! vendor's GPU driver would stand.
//!
//! It uses nothing of the library but what is public to any driver. The device's memory is a
//! reserved range of RAM (parameter `region`), its engine is threads that work only on what the
//! device's page table maps, and fault where it maps nothing.

mod engine;
mod ops;
mod port;
mod region;
mod units;
mod walk;

use engine::Engine;
use hmm_cdm::registration::Registration;
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
    },
}

const ENGINES_MAX: u32 = 16;

extern "C" {
    fn cdm_emu_region() -> *const kernel::ffi::c_char;
}

struct CdmEmu {
    _devices: KVec<Registration>,
}

impl kernel::Module for CdmEmu {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let engines = module_parameters::engines.value();
        if !(1..=ENGINES_MAX).contains(&engines) {
            pr_err!("engines={engines}: has to be 1 to {ENGINES_MAX}\n");
            return Err(EINVAL);
        }

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
        let Some(param) = param else {
            pr_err!("no device: say where its memory is with region=<start>+<size>[@<node>]\n");
            return Err(ENODEV);
        };

        // Nothing may fail once a device is registered: it may be open already.
        let count = region::split(param.to_bytes()).count();
        let mut devices = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut first_error = None;
        for text in region::split(param.to_bytes()) {
            let added = add(text, engines, module)
                .and_then(|device| Ok(devices.push_within_capacity(device)?));

            if let Err(e) = added {
                first_error = first_error.or(Some(e));
            }
        }
        // One bad region does not keep a good one from being used.
        match first_error {
            Some(e) if devices.is_empty() => Err(e),
            _ => Ok(Self { _devices: devices }),
        }
    }
}

fn add(text: &[u8], engines: u32, module: &'static ThisModule) -> Result<Registration> {
    let shown = kernel::str::BStr::from_bytes(text);
    let region = region::parse(text).inspect_err(|_| {
        pr_err!("region {shown}: is not of the form <start>+<size>[@<node>]\n");
    })?;
    let driver = Engine::new(engines)?;

    Registration::new(&region, Arc::new(driver, GFP_KERNEL)?, module).inspect_err(|e| {
        pr_err!("region {shown}: not used (error {})\n", e.to_errno());
    })
}

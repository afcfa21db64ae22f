// SPDX-License-Identifier: GPL-2.0

//! HMM-CDM: cache-coherent device memory for GPU and accelerator drivers.
//!
//! The library registers a device's memory as a node of `ZONE_DEVICE` pages, mirrors the address
//! spaces of processes on the device, and moves pages between system memory and the node. The CPU
//! accesses the memory coherently, or not at all.
//!
//! A driver implements [`device::Driver`] and [`device::Context`] and creates a
//! [`registration::Registration`] of its memory, as `src/cdm_emu/` does. Drivers in C use
//! `include/linux/hmm_cdm.h`, which `capi` implements. The layers, each using only those to its
//! left:
//!
//! [`mm`], [`os`] <- [`node`] <- [`mirror`] <- [`migrate`], [`query`] <- [`placement`] <- [`job`],
//! [`device`] <- `request` <- `chardev` <- [`registration`] <- `capi`
//!
//! [`uapi`] is used from [`mirror`] on, [`counter`] by [`node`] and [`mirror`], and `bindings` by
//! [`mm`], [`os`], [`uapi`] and `capi`.

#![crate_name = "hmm_cdm"]

use kernel::prelude::*;

mod bindings;
mod capi;
mod chardev;
pub mod counter;
pub mod device;
pub mod job;
pub mod migrate;
pub mod mirror;
pub mod mm;
pub mod node;
pub mod os;
pub mod placement;
mod query;
pub mod registration;
mod request;
pub mod uapi;

module! {
    type: HmmCdm,
    name: "hmm_cdm",
    authors: ["The hmm-cdm developers"],
    description: "Coherent device memory: library and driver core",
    license: "GPL",
}

struct HmmCdm;

impl kernel::Module for HmmCdm {
    fn init(module: &'static ThisModule) -> Result<Self> {
        os::module::set_library(module);
        // SAFETY: Each once, and before a driver can link to this module and use them.
        unsafe {
            chardev::DEVICES.init();
            node::poison::POISON_PAGES.init();
            registration::ORPHANS.init();
            registration::instance::IN_USE.init();
        }
        Ok(Self)
    }
}

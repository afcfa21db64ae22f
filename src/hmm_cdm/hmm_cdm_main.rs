// SPDX-License-Identifier: GPL-2.0

//! HMM-CDM: cache-coherent device memory, for GPU drivers and the like.
//!
//! The library turns a range of memory that a device has, and the CPU accesses coherently or not at
//! all, into a memory node of `ZONE_DEVICE` pages, mirrors the address spaces of processes on the device, and moves
//! pages between system memory and the node.
//!
//! A driver implements [`device::Driver`] and [`device::Context`] and makes a
//! [`registration::Registration`] of its memory; `src/emu/` is one. Drivers in C do the same through
//! `include/linux/hmm_cdm.h`, which `capi` implements. What the layers are, each knowing only those
//! to its left:
//!
//! [`mm`], [`os`] <- [`node`] <- [`mirror`] <- [`migrate`], [`query`] <- [`placement`] <- [`job`],
//! [`device`] <- `chardev` <- [`registration`] <- `capi`

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
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Once, and before a driver can link to us.
        unsafe {
            chardev::init();
            registration::init();
            node::failure::init();
        }
        Ok(Self)
    }
}

/// The library's own module.
fn this_module() -> &'static ThisModule {
    kernel::module::this_module::<HmmCdm>()
}

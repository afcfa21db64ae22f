// SPDX-License-Identifier: GPL-2.0

//! The operations of a node's pagemap, `struct dev_pagemap_ops`.

use super::{
    memory_failure,
    migrate_to_ram,
    pages::NodePages, //
};
use crate::mm::{
    cpu_fault::{
        CpuFault,
        FaultOutcome, //
    },
    pagemap::{
        Frames,
        Pagemap, //
    }, //
};
use kernel::prelude::*;

impl Frames for NodePages {
    fn folio_free(&self, index: usize, order: u32) {
        self.free(index, order);
    }

    fn migrate_to_ram(memory: &Pagemap<Self>, fault: &CpuFault<'_>) -> FaultOutcome {
        if fault.is_damaged() {
            FaultOutcome::Damaged
        } else {
            migrate_to_ram::migrate(memory, fault)
        }
    }

    fn memory_failure(memory: &Pagemap<Self>, index: usize) -> Result {
        memory_failure::handle(memory, index)
    }
}

// SPDX-License-Identifier: GPL-2.0
// error: E0478

//! The kernel calls the operations of a leaked pagemap, so they must not borrow anything.

use hmm_cdm::mm::{
    cpu_fault::{
        CpuFault,
        FaultOutcome, //
    },
    pagemap::{
        Frames,
        Pagemap, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

#[cfg(not(misuse))]
struct Count(Arc<Atomic<u64>>);
#[cfg(misuse)]
struct Count<'a>(&'a Atomic<u64>);

macro_rules! operations {
    () => {
        fn folio_free(&self, _: usize, order: u32) {
            self.0.fetch_add(1 << order, Relaxed);
        }

        fn migrate_to_ram(_: &Pagemap<Self>, _: &CpuFault<'_>) -> FaultOutcome {
            FaultOutcome::Lost
        }

        fn memory_failure(_: &Pagemap<Self>, _: usize) -> Result {
            Ok(())
        }
    };
}

#[cfg(not(misuse))]
impl Frames for Count {
    operations!();
}

#[cfg(misuse)]
impl Frames for Count<'_> {
    operations!();
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of cache-coherent devices on Linux.
//!
//! A driver based on `hmm_cdm` makes the memory of its device a *node*, behind `/dev/hmm_cdm<N>`. A
//! [`Cdm`] is a process's handle on a node. With it the process allocates memory on the node,
//! migrates pages there and back, asks where pages are, and runs jobs on the device, which accesses
//! the process's memory by its virtual addresses.
//!
//! ```no_run
//! use hmmcdm::{Cdm, MigrateFlags, Target};
//!
//! # fn main() -> std::io::Result<()> {
//! let cdm = Cdm::open(0)?;
//! let mut buffer = cdm.alloc(4 << 20)?;
//!
//! buffer.fill(1);
//! let report = cdm.migrate(&buffer, Target::System, MigrateFlags::empty())?;
//! println!("{} pages moved, {} stayed", report.migrated, report.skipped.total());
//! # Ok(())
//! # }
//! ```
//!
//! # Ranges
//!
//! The range of a call is a slice that the caller has borrowed, so no call can name foreign memory.
//! Migration changes neither content nor address, so a shared borrow is enough. Ranges have to
//! begin and end at page boundaries; those of a [`Buffer`] do.
//!
//! A page that does not move is not an error: the device uses it where it is. Reports count such
//! pages by [`Skip`].
//!
//! # Errors
//!
//! Errors are those of the ioctls in `<linux/hmm_cdm.h>`. Of them,
//! [`Interrupted`](std::io::ErrorKind::Interrupted) means that a signal arrived: what was done
//! until then stays done, and the call can be repeated. [`Cdm::wait`] repeats it by itself.
//!
//! A handle works only in the process that opened it. After `fork()` the child opens its own.

mod buffer;
mod call;
mod cdm;
mod flags;
mod job;
mod report;

pub use crate::buffer::Buffer;
pub use crate::cdm::Cdm;
pub use crate::flags::{
    Access, AdviseFlags, MigrateFlags, PageFlags, Place, PopulateFlags, Skip, Target, Where,
};
pub use crate::job::{DeviceFault, Job, JobArgs, JobError, JobReport};
pub use crate::report::{
    Info, MigrateReport, Page, Places, PopulateReport, Residency, Skipped, Stats,
};

/// The raw bindings, for the operations of jobs such as `CDM_EMU_REDUCE`.
pub use hmmcdm_sys as sys;

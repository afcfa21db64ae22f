// SPDX-License-Identifier: GPL-2.0

//! A driver to copy from, on top of the crate `hmm_cdm`: an accelerator with memory that the CPU
//! accesses coherently.
//!
//! The memory is a range of physical addresses, the parameters `start` and `size`. [`engine`]
//! stands for the hardware.

mod engine;

use engine::Engine;
use hmm_cdm::{
    device::{
        Context,
        Driver, //
    },
    job::Job,
    mirror::Mirror,
    node::region::Region,
    os::kthread::Thread,
    registration::Registration, //
};
use kernel::{
    current,
    prelude::*,
    sync::Arc, //
};

module! {
    type: AccelModule,
    name: "cdm_rust",
    authors: ["The hmm-cdm developers"],
    description: "Sample of an accelerator with coherent device memory, in Rust",
    license: "GPL",
    params: {
        start: u64 {
            default: 0,
            description: "Physical address of the device memory",
        },
        size: u64 {
            default: 0x400_0000,
            description: "Bytes of device memory",
        },
        nid: i32 {
            default: -1,
            description: "NUMA node of that memory (default: ask the firmware)",
        },
    },
}

/// The device. A real driver keeps its handles of the hardware here.
struct Accel;

impl Driver for Accel {
    fn name(&self) -> &CStr {
        c"cdm_rust"
    }

    /// A process has opened the device.
    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        let engine = Engine::new(mirror)?;
        let pid = current!().tgid() as u32;
        let thread = Thread::spawn_for_process(c"cdm_rust", pid, engine.clone())?;

        Ok(KBox::new(
            Client {
                _thread: thread,
                engine,
            },
            GFP_KERNEL,
        )?)
    }
}

/// A process that has the device open.
///
/// It is dropped when the process closes the device. That stops the thread: a running job ends at
/// its next access, and a wait in a fault is interrupted. The remaining jobs are dropped with the
/// engine, which cancels them.
struct Client {
    _thread: Thread<Engine>,
    engine: Arc<Engine>,
}

impl Context for Client {
    fn submit(&self, job: Job) -> Result {
        self.engine.queue(job)
    }
}

/// The module. Dropping the registration migrates pages of processes to system memory, and removes
/// the device.
struct AccelModule {
    _registration: Registration,
}

impl kernel::Module for AccelModule {
    /// The driver of a bus does this in `probe()`.
    fn init(module: &'static ThisModule) -> Result<Self> {
        let nid = module_parameters::nid.value();
        // SAFETY: The administrator, who names the memory, has set it aside for this driver. The
        // memory of a real device is known from firmware.
        let region = unsafe {
            Region::new(
                module_parameters::start.value(),
                module_parameters::size.value(),
                (nid >= 0).then_some(nid),
            )
        };

        Ok(Self {
            _registration: Registration::new(&region, Arc::new(Accel, GFP_KERNEL)?, module)?,
        })
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A driver to copy from, on top of the crate `hmm_cdm`: an accelerator with memory that the CPU
//! accesses coherently.
//!
//! The memory is a range of physical addresses, the parameters `start` and `size`. What stands for
//! the hardware is [`engine`].

mod engine;

use engine::Engine;
use hmm_cdm::{
    device::{Context, Driver},
    job::Job,
    mirror::Mirror,
    node::region::Region,
    os::kthread::Thread,
    registration::Registration,
};
use kernel::{current, prelude::*, sync::Arc};

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
            description: "NUMA node of it (default: ask the firmware)",
        },
    },
}

/// The device. A real driver keeps here what it needs to reach the hardware.
struct Accel;

impl Driver for Accel {
    fn name(&self) -> &CStr {
        c"cdm_rust"
    }

    /// A process opens the device.
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
/// When it closes the device, dropping this stops the thread and waits for its end: the job that is
/// under way ends at its next access, and a fault that it waits in is interrupted. Then the engine
/// goes with the jobs that are left, which cancels them.
struct Client {
    _thread: Thread<Engine>,
    engine: Arc<Engine>,
}

impl Context for Client {
    fn submit(&self, job: Job) -> Result {
        self.engine.queue(job)
    }
}

/// The module: dropping the registration moves what processes have in the memory to system memory,
/// and takes the device away.
struct AccelModule {
    _registration: Registration,
}

impl kernel::Module for AccelModule {
    /// What `probe()` is in a driver of a bus.
    fn init(module: &'static ThisModule) -> Result<Self> {
        let nid = module_parameters::nid.value();
        let region = Region::new(
            module_parameters::start.value(),
            module_parameters::size.value(),
            (nid >= 0).then_some(nid),
        );

        Ok(Self {
            _registration: Registration::new(&region, Arc::new(Accel, GFP_KERNEL)?, module)?,
        })
    }
}

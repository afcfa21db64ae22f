// SPDX-License-Identifier: GPL-2.0

//! The engine of one device, and the jobs of the processes that have it open.
//!
//! Each open file has a queue of tasks and, from its first job on, a thread that executes them. The
//! thread runs one bounded step of a task on one of the device's execution units, and then puts the
//! task at the end of the queue. So a job that is long, never ends or waits in a fault delays no
//! other, and closing the file waits for one thread.
//!
//! A step that hangs ends by a reset of the device ([`crate::watchdog`]). All jobs that were
//! submitted to its file before the reset fail with EIO, as they may depend on it. Jobs of other
//! files only lose their entries in the device page table; they fault, and continue where they
//! were.
//!
//! Locks, both mutexes: `Session::thread`, then `Client::queue`. The latter protects the queue
//! only. It is never held while memory is accessed, a fault is handled or a job is completed.

use crate::{
    device_mmu::{
        DeviceMmu,
        JobCounts,
        Stop, //
    },
    exec_units::{
        ExecUnits,
        Worker, //
    },
    ops::{
        Operation,
        Registers, //
    },
    step::Progress,
    watchdog::Watchdog, //
};
use hmm_cdm::{
    device::{
        Context,
        Driver, //
    },
    job::Job,
    mirror::{
        Health,
        Mirror, //
    },
    os::{
        capable_sys_admin,
        cond_resched,
        kthread::{
            Thread,
            ThreadBody, //
        }, //
    },
    placement::FaultHandler,
    uapi, //
};
use kernel::{
    alloc::kvec::PushError,
    current,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        Mutex, //
    }, //
};

/// A job in progress.
struct Task {
    job: Job,
    operation: Operation,
    counts: JobCounts,
}

impl Task {
    fn complete(self, status: Result<(), Stop>) {
        let mut completion = self.counts.completion(status);

        completion.result = self.operation.result;
        self.job.complete(completion);
    }
}

struct Queue {
    // First in, first out. Has capacity for the task that the thread is executing, too.
    tasks: KVec<KBox<Task>>,
    stop: bool,
}

/// One open file: its queue, and the body of its thread.
#[pin_data]
struct Client {
    mirror: Arc<Mirror>,
    units: Arc<ExecUnits>,
    worker: Arc<Worker>,
    health: Arc<Health>,
    cancelled: Atomic<bool>,
    #[pin]
    queue: Mutex<Queue>,
    // A task was added, or the thread has to stop.
    #[pin]
    work: CondVar,
}

/// What the thread needs to execute tasks.
struct Resources {
    fault_handler: FaultHandler,
    regs: Registers,
}

impl Resources {
    fn new() -> Result<Self> {
        Ok(Self {
            fault_handler: FaultHandler::new()?,
            regs: Registers::new()?,
        })
    }
}

impl Client {
    fn new(mirror: Arc<Mirror>, units: Arc<ExecUnits>, health: Arc<Health>) -> Result<Arc<Self>> {
        let worker = Worker::new(&units)?;

        Arc::pin_init(
            pin_init!(Self {
                mirror,
                units,
                worker,
                health,
                cancelled: Atomic::new(false),
                queue <- new_mutex!(Queue { tasks: KVec::new(), stop: false }, "Client::queue"),
                work <- new_condvar!("Client::work"),
            }),
            GFP_KERNEL,
        )
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    fn add(&self, task: KBox<Task>) -> Result {
        let mut queue = self.queue.lock();

        queue.tasks.reserve(2, GFP_KERNEL)?;
        queue.tasks.push(task, GFP_KERNEL)?;
        self.work.notify_one();
        Ok(())
    }

    /// Waits for the next task. `None` when the thread has to stop.
    fn next(&self) -> Option<KBox<Task>> {
        let mut queue = self.queue.lock();

        loop {
            if queue.stop {
                return None;
            }
            if let Ok(task) = queue.tasks.remove(0) {
                return Some(task);
            }
            // Interruptible, so that an idle thread does not count as load.
            let _ = self.work.wait_interruptible(&mut queue);
        }
    }

    /// Puts an unfinished task at the end of the queue.
    fn put_back(&self, task: KBox<Task>) {
        let pushed = self.queue.lock().tasks.push_within_capacity(task);

        if let Err(PushError(task)) = pushed {
            // Cannot happen: `add()` reserves capacity for it. Dropping it cancels the job.
            drop(task);
        }
    }

    fn step(&self, task: &mut Task, resources: &mut Option<Resources>) -> Result<Progress, Stop> {
        let resources = match resources {
            Some(resources) => resources,
            None => resources.insert(Resources::new().map_err(Stop::Error)?),
        };
        let mut mmu = DeviceMmu {
            mirror: &self.mirror,
            units: &self.units,
            worker: &self.worker,
            health: &self.health,
            fault_handler: &mut resources.fault_handler,
            counts: &mut task.counts,
            cancelled: &|| self.is_cancelled(),
        };

        self.units.run(&self.worker, || {
            task.operation.step(&mut mmu, &mut resources.regs)
        })
    }

    /// Fails `task`, during which the device was reset, and all tasks in the queue. The reset waits
    /// until they have left it.
    fn fail(&self, task: KBox<Task>) {
        let queued = core::mem::take(&mut self.queue.lock().tasks);
        let failed = |task: KBox<Task>| KBox::into_inner(task).complete(Err(Stop::Error(EIO)));

        self.units.recover(&self.worker);
        // A process that sees its job fail must find a working device.
        self.health.wait();
        failed(task);
        queued.into_iter().for_each(failed);
    }
}

impl ThreadBody for Client {
    fn run(&self) {
        let mut resources = None;

        while let Some(mut task) = self.next() {
            let done = self.step(&mut task, &mut resources);

            if self.worker.is_lost() {
                self.fail(task);
                continue;
            }
            match done {
                Ok(Progress::More) => self.put_back(task),
                Ok(Progress::Done) => KBox::into_inner(task).complete(Ok(())),
                Err(stop) => KBox::into_inner(task).complete(Err(stop)),
            }
            cond_resched();
        }
    }

    fn stop(&self) {
        self.cancelled.store(true, Relaxed);
        self.queue.lock().stop = true;
        self.work.notify_all();
    }
}

/// Module parameters, which are the same for all devices.
#[derive(Copy, Clone)]
pub(crate) struct Config {
    /// Number of execution units.
    pub(crate) engines: u32,
    /// Time without progress after which a unit is reset.
    pub(crate) timeout_ms: u32,
}

/// The driver of one device.
pub(crate) struct Engine {
    units: Arc<ExecUnits>,
    health: Arc<Health>,
    _watchdog: Thread<Watchdog>,
}

impl Engine {
    /// Creates an engine, which messages and its watchdog's thread call by `number`. ENOMEM, EINTR.
    pub(crate) fn new(config: Config, number: u32) -> Result<Self> {
        let units = ExecUnits::new(config.engines)?;
        let health = Health::new()?;
        let watchdog = Watchdog::new(units.clone(), health.clone(), config.timeout_ms, number)?;

        Ok(Self {
            units,
            health,
            _watchdog: Thread::spawn(c"cdm_emu_watch", number, watchdog)?,
        })
    }
}

impl Driver for Engine {
    fn name(&self) -> &CStr {
        c"cdm_emu"
    }

    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        let client = Client::new(mirror, self.units.clone(), self.health.clone())?;
        let session = KBox::new(
            Session {
                client,
                thread: KBox::pin_init(new_mutex!(None, "Session::thread"), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }

    fn health(&self) -> Option<Arc<Health>> {
        Some(self.health.clone())
    }
}

/// An open file with its thread.
///
/// Dropping it stops the thread. A running step ends at its next access, a wait in a fault is
/// interrupted, and a step that hangs ends when the watchdog resets its unit. The remaining tasks
/// are dropped with the queue, which cancels their jobs.
struct Session {
    thread: Pin<KBox<Mutex<Option<Thread<Client>>>>>,
    client: Arc<Client>,
}

impl Context for Session {
    fn submit(&self, job: Job) -> Result {
        // The reset costs all users of the device time.
        if job.op() == uapi::EMU_HANG && !capable_sys_admin() {
            return Err(EPERM);
        }
        let operation = Operation::new(job.op(), job.args())?;
        let task = KBox::new(
            Task {
                job,
                operation,
                counts: JobCounts::default(),
            },
            GFP_KERNEL,
        )?;

        let mut thread = self.thread.lock();
        if thread.is_none() {
            // Named after the process that it works for.
            let pid = current!().tgid() as u32;

            *thread = Some(Thread::spawn_for_process(
                c"cdm_emu",
                pid,
                self.client.clone(),
            )?);
        }
        drop(thread);
        self.client.add(task)
    }
}

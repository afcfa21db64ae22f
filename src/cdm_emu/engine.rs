// SPDX-License-Identifier: GPL-2.0

//! The engine of one device, and the jobs of the processes that have it open.
//!
//! Each open file has a queue of tasks and, once it has submitted a job, a thread that works on
//! them: one bounded step at a time, on one of the device's execution units, and then the task goes
//! to the end of the queue. So a job that is long, never ends or waits in a fault keeps nobody
//! else's from running, and closing the file has one thread to wait for.
//!
//! A step that hangs ends by a reset of the device ([`crate::watchdog`]). The jobs of its file that
//! were submitted until then end with EIO, since they may build on what it was to do. Those of other
//! files lose nothing but their entries in the device's page table, fault, and go on where they were.
//!
//! Locks, both mutexes: `Session::thread`, then `Client::queue`. The latter is held to look at the
//! queue only, never while memory is accessed, a fault is taken or a job is completed.

use crate::{
    device_mmu::{Account, DeviceMmu, Stop},
    exec_units::{ExecUnits, Worker},
    ops::{Operation, Progress, Registers},
    watchdog::Watchdog,
};
use hmm_cdm::{
    device::{Context, Driver},
    job::Job,
    mirror::{Health, Mirror},
    os::{
        capable_sys_admin, cond_resched,
        kthread::{Thread, ThreadBody},
    },
    placement::FaultHandler,
    uapi,
};
use kernel::{
    alloc::kvec::PushError,
    current, new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, CondVar, Mutex,
    },
};

/// A job and how far it is.
struct Task {
    job: Job,
    operation: Operation,
    account: Account,
}

impl Task {
    fn complete(self, status: Result<(), Stop>) {
        let mut completion = self.account.completion(status);

        completion.result = self.operation.result;
        self.job.complete(completion);
    }
}

struct Queue {
    // First come, first served. There is room for the one that is being worked on, too.
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
    // A task came, or the thread is to stop.
    #[pin]
    work: CondVar,
}

/// What the thread works with.
struct Tools {
    faulter: FaultHandler,
    regs: Registers,
}

impl Client {
    fn new(mirror: Arc<Mirror>, units: Arc<ExecUnits>, health: Arc<Health>) -> Result<Arc<Self>> {
        let worker = Worker::new()?;

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

    /// The next task, when there is one; `None` when the thread is to stop.
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

    /// Puts a task that is not finished at the end of the queue.
    fn put_back(&self, task: KBox<Task>) {
        let pushed = self.queue.lock().tasks.push_within_capacity(task);

        if let Err(PushError(task)) = pushed {
            // Never: `add()` reserves room for it. Dropping it cancels the job.
            drop(task);
        }
    }

    fn step(&self, task: &mut Task, tools: &mut Option<Tools>) -> Result<Progress, Stop> {
        let tools = match tools {
            Some(tools) => tools,
            None => tools.insert(self.new_tools().map_err(Stop::Error)?),
        };
        let mut port = DeviceMmu {
            mirror: &self.mirror,
            units: &self.units,
            worker: &self.worker,
            health: &self.health,
            faulter: &mut tools.faulter,
            account: &mut task.account,
            cancelled: &|| self.is_cancelled(),
        };

        self.units.run(&self.worker, || {
            task.operation.step(&mut port, &mut tools.regs)
        })
    }

    /// The device was reset under this task. It ends, with all that were submitted before the reset,
    /// which does not end before they are out of the queue.
    fn fail(&self, task: KBox<Task>) {
        let queued = core::mem::take(&mut self.queue.lock().tasks);
        let failed = |task: KBox<Task>| KBox::into_inner(task).complete(Err(Stop::Error(EIO)));

        self.units.recover(&self.worker);
        // Who is told that the job has failed is to find a device that works.
        self.health.wait();
        failed(task);
        queued.into_iter().for_each(failed);
    }

    fn new_tools(&self) -> Result<Tools> {
        Ok(Tools {
            faulter: FaultHandler::new()?,
            regs: Registers::new()?,
        })
    }
}

impl ThreadBody for Client {
    fn run(&self) {
        let mut tools = None;

        while let Some(mut task) = self.next() {
            let done = self.step(&mut task, &mut tools);

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

/// What the module's parameters say of all devices.
#[derive(Copy, Clone)]
pub(crate) struct Config {
    /// Execution units.
    pub(crate) engines: u32,
    /// How long a unit may do nothing.
    pub(crate) timeout_ms: u32,
}

/// The driver of one device.
pub(crate) struct Engine {
    units: Arc<ExecUnits>,
    health: Arc<Health>,
    _watchdog: Thread<Watchdog>,
}

impl Engine {
    /// An engine for the memory at `start`. ENOMEM, EINTR.
    pub(crate) fn new(config: Config, start: u64) -> Result<Self> {
        let units = ExecUnits::new(config.engines)?;
        let health = Health::new()?;
        let watchdog = Watchdog::new(units.clone(), health.clone(), config.timeout_ms, start)?;

        Ok(Self {
            units,
            health,
            // Its memory is on a boundary of 2 MiB at least.
            _watchdog: Thread::spawn(c"cdm_emu_watch", (start >> 20) as u32, watchdog)?,
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

/// A process's jobs on the device.
///
/// Dropping it stops the thread: the step that is under way ends at its next access, and a fault
/// that it waits in is interrupted. A step that hangs ends when the watchdog has noticed. Then the
/// tasks that are left are dropped with the queue, which cancels their jobs.
struct Session {
    thread: Pin<KBox<Mutex<Option<Thread<Client>>>>>,
    client: Arc<Client>,
}

impl Context for Session {
    fn submit(&self, job: Job) -> Result {
        // It takes time from everybody.
        if job.op() == uapi::EMU_HANG && !capable_sys_admin() {
            return Err(EPERM);
        }
        let operation = Operation::new(job.op(), job.args())?;
        let task = KBox::new(
            Task {
                job,
                operation,
                account: Account::default(),
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

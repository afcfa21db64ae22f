// SPDX-License-Identifier: GPL-2.0

//! The engine of one device, and the jobs of the processes that have it open.
//!
//! Each open file has a queue of tasks and, once it has submitted a job, a thread that works on
//! them: one bounded step at a time, on one of the device's execution units, and then the task goes
//! to the end of the queue. So a job that is long, never ends or waits in a fault keeps nobody
//! else's from running, and closing the file has one thread to wait for.
//!
//! Locks, both mutexes: `Session::thread`, then `Client::queue`. The latter is held to look at the
//! queue only, never while memory is accessed, a fault is taken or a job is completed.

use crate::{
    ops::{Operation, Progress, Registers},
    port::{Account, Port, Stop},
    units::Units,
};
use hmm_cdm::{
    device::{Context, Driver},
    job::Job,
    mirror::Mirror,
    os::{
        cond_resched,
        kthread::{Run, Thread},
    },
    place::Faulter,
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
    units: Arc<Units>,
    cancelled: Atomic<bool>,
    #[pin]
    queue: Mutex<Queue>,
    // A task came, or the thread is to stop.
    #[pin]
    work: CondVar,
}

/// What the thread works with.
struct Tools {
    faulter: Faulter,
    regs: Registers,
}

impl Client {
    fn new(mirror: Arc<Mirror>, units: Arc<Units>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                mirror,
                units,
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
        let mut port = Port {
            mirror: &self.mirror,
            units: &self.units,
            faulter: &mut tools.faulter,
            account: &mut task.account,
            cancelled: &|| self.is_cancelled(),
        };

        self.units
            .run(|| task.operation.step(&mut port, &mut tools.regs))
    }

    fn new_tools(&self) -> Result<Tools> {
        Ok(Tools {
            faulter: Faulter::new()?,
            regs: Registers::new()?,
        })
    }
}

impl Run for Client {
    fn run(&self) {
        let mut tools = None;

        while let Some(mut task) = self.next() {
            match self.step(&mut task, &mut tools) {
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

/// The driver of one device.
pub(crate) struct Engine {
    units: Arc<Units>,
}

impl Engine {
    /// An engine with so many execution units. ENOMEM.
    pub(crate) fn new(units: u32) -> Result<Self> {
        Ok(Self {
            units: Units::new(units)?,
        })
    }
}

impl Driver for Engine {
    fn name(&self) -> &CStr {
        c"cdm_emu"
    }

    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        let client = Client::new(mirror, self.units.clone())?;
        let session = KBox::new(
            Session {
                client,
                thread: KBox::pin_init(new_mutex!(None, "Session::thread"), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }
}

/// A process's jobs on the device.
///
/// Dropping it stops the thread: the step that is under way ends at its next access, and a fault
/// that it waits in is interrupted. Then the tasks that are left are dropped with the queue, which
/// cancels their jobs.
struct Session {
    thread: Pin<KBox<Mutex<Option<Thread<Client>>>>>,
    client: Arc<Client>,
}

impl Context for Session {
    fn submit(&self, job: Job) -> Result {
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

// SPDX-License-Identifier: GPL-2.0

//! The engine of one device: a queue of tasks and the threads that work on them.
//!
//! A task goes forward by one bounded step at a time and then back to the end of the queue, so
//! that a long job, or one that never ends, does not keep others from running.
//!
//! Locks: `Queue::inner` (mutex) is held to look at the queue only, never while memory is accessed,
//! a fault is taken or a job is completed.

use crate::{
    ops::{Operation, Progress, Registers},
    port::{Account, Port, Stop},
};
use hmm_cdm::{
    device::{Context, Driver},
    job::Job,
    mirror::{Faulter, Mirror},
    os::{
        cond_resched,
        kthread::{self, Run, Thread},
    },
};
use kernel::{
    alloc::kvec::PushError,
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, CondVar, Mutex,
    },
    time::{delay::fsleep, Delta},
};

/// How often a thread that does not notice is told again that its job is cancelled.
const NUDGE_MS: i64 = 1;

/// One process that has the device open.
struct Client {
    mirror: Arc<Mirror>,
    cancelled: Atomic<bool>,
}

impl Client {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

/// A job and how far it is.
struct Task {
    client: Arc<Client>,
    job: Job,
    operation: Operation,
    account: Account,
}

impl Task {
    fn step(&mut self, tools: &mut Tools) -> Result<Progress, Stop> {
        let client = &self.client;
        let mut port = Port {
            mirror: &client.mirror,
            faulter: &mut tools.faulter,
            account: &mut self.account,
            cancelled: &|| client.is_cancelled(),
        };

        self.operation.step(&mut port, &mut tools.regs)
    }

    fn complete(self, status: Result<(), Stop>) {
        let mut completion = self.account.completion(status);

        completion.result = self.operation.result;
        self.job.complete(completion);
    }
}

struct Inner {
    // First come, first served. There is room for those that are being worked on, too.
    waiting: KVec<KBox<Task>>,
    // What each thread works on.
    running: KVec<Option<Arc<Client>>>,
    stop: bool,
}

/// The tasks of a device.
#[pin_data]
struct Queue {
    #[pin]
    inner: Mutex<Inner>,
    // A task came, or the threads are to stop.
    #[pin]
    work: CondVar,
}

impl Queue {
    fn new(threads: usize) -> Result<Arc<Self>> {
        let mut running = KVec::with_capacity(threads, GFP_KERNEL)?;
        for _ in 0..threads {
            running.push(None, GFP_KERNEL)?;
        }

        Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(
                    Inner { waiting: KVec::new(), running, stop: false },
                    "Queue::inner"
                ),
                work <- new_condvar!("Queue::work"),
            }),
            GFP_KERNEL,
        )
    }

    fn add(&self, task: KBox<Task>) -> Result {
        let mut inner = self.inner.lock();
        let reserve = inner.running.len() + 1;

        inner.waiting.reserve(reserve, GFP_KERNEL)?;
        inner.waiting.push(task, GFP_KERNEL)?;
        self.work.notify_one();
        Ok(())
    }

    /// The next task for thread `nr`, when there is one; `None` when it is to stop.
    fn next(&self, nr: usize) -> Option<KBox<Task>> {
        let mut inner = self.inner.lock();

        loop {
            if inner.stop {
                return None;
            }
            if let Ok(task) = inner.waiting.remove(0) {
                if let Some(slot) = inner.running.get_mut(nr) {
                    *slot = Some(task.client.clone());
                }
                return Some(task);
            }
            // Interruptible, so that an idle thread does not count as load.
            if self.work.wait_interruptible(&mut inner) {
                kthread::clear_interrupt();
            }
        }
    }

    /// Thread `nr` has done a step. A task that is not finished goes to the end of the queue.
    fn put_down(&self, nr: usize, task: Option<KBox<Task>>) {
        let mut left = task;
        let mut inner = self.inner.lock();
        let client = inner.running.get_mut(nr).and_then(Option::take);

        if let Some(task) = left.take() {
            if task.client.is_cancelled() {
                left = Some(task);
            } else if let Err(PushError(task)) = inner.waiting.push_within_capacity(task) {
                // Never: `add()` reserves room for every running task.
                left = Some(task);
            }
        }
        drop(inner);
        // Dropping a task completes its job as cancelled; the client may be the last reference to
        // a mirror, whose end sleeps.
        drop(left);
        drop(client);
    }

    fn stop(&self) {
        self.inner.lock().stop = true;
        self.work.notify_all();
    }
}

/// A thread of the engine.
struct Worker {
    queue: Arc<Queue>,
    nr: usize,
}

/// What a thread works with.
struct Tools {
    faulter: Faulter,
    regs: Registers,
}

impl Tools {
    fn new(mirror: &Mirror) -> Result<Self> {
        Ok(Self {
            faulter: Mirror::new_faulter(mirror.node())?,
            regs: Registers::new()?,
        })
    }
}

impl Run for Worker {
    fn run(&self) {
        // Made for the first job, since only now it is known how large the node's windows are.
        let mut tools: Option<Tools> = None;

        while let Some(mut task) = self.queue.next(self.nr) {
            let progress = match tools.as_mut() {
                Some(tools) => task.step(tools),
                None => match Tools::new(&task.client.mirror) {
                    Ok(new) => task.step(tools.insert(new)),
                    Err(e) => Err(Stop::Error(e)),
                },
            };
            let left = match progress {
                Ok(Progress::More) => Some(task),
                Ok(Progress::Done) => {
                    KBox::into_inner(task).complete(Ok(()));
                    None
                }
                Err(stop) => {
                    KBox::into_inner(task).complete(Err(stop));
                    None
                }
            };
            self.queue.put_down(self.nr, left);
            cond_resched();
        }
    }

    fn stop(&self) {
        self.queue.stop();
    }
}

/// The driver of one device.
pub(crate) struct Engine {
    queue: Arc<Queue>,
    threads: Arc<KVec<Thread<Worker>>>,
}

impl Engine {
    /// Starts `threads` threads. ENOMEM.
    pub(crate) fn new(threads: u32) -> Result<Self> {
        let queue = Queue::new(threads as usize)?;
        let mut started = KVec::with_capacity(threads as usize, GFP_KERNEL)?;

        for nr in 0..threads {
            let worker = Arc::new(
                Worker {
                    queue: queue.clone(),
                    nr: nr as usize,
                },
                GFP_KERNEL,
            )?;

            started.push(Thread::spawn(c"cdm_emu", nr, worker)?, GFP_KERNEL)?;
        }
        Ok(Self {
            queue,
            threads: Arc::new(started, GFP_KERNEL)?,
        })
    }
}

impl Driver for Engine {
    fn name(&self) -> &'static CStr {
        c"cdm_emu"
    }

    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        let client = Client {
            mirror,
            cancelled: Atomic::new(false),
        };
        let session = KBox::new(
            Session {
                client: Arc::new(client, GFP_KERNEL)?,
                queue: self.queue.clone(),
                threads: self.threads.clone(),
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }
}

/// A process's jobs on the device.
struct Session {
    client: Arc<Client>,
    queue: Arc<Queue>,
    threads: Arc<KVec<Thread<Worker>>>,
}

impl Context for Session {
    fn submit(&self, job: Job) -> Result {
        let operation = Operation::new(job.op(), job.args())?;
        let task = KBox::new(
            Task {
                client: self.client.clone(),
                job,
                operation,
                account: Account::default(),
            },
            GFP_KERNEL,
        )?;

        self.queue.add(task)
    }
}

impl Session {
    /// One of our tasks that waits, if there is one.
    fn take_waiting(&self) -> Option<KBox<Task>> {
        let mut inner = self.queue.inner.lock();
        let pos = inner
            .waiting
            .iter()
            .position(|task| Arc::ptr_eq(&task.client, &self.client))?;

        inner.waiting.remove(pos).ok()
    }

    /// Tells the threads that work for us to look up. False if there is none.
    fn interrupt_running(&self) -> bool {
        let inner = self.queue.inner.lock();
        let mut busy = false;

        for (running, thread) in inner.running.iter().zip(self.threads.iter()) {
            let client = running.as_ref();

            if client.is_some_and(|client| Arc::ptr_eq(client, &self.client)) {
                thread.interrupt();
                busy = true;
            }
        }
        busy
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.client.cancelled.store(true, Relaxed);
        // From here on no task of ours goes back into the queue.
        while let Some(task) = self.take_waiting() {
            drop(task);
        }

        // A thread that is in a page fault may wait for something that this very process would
        // have to do, such as answering a userfaultfd. So it is interrupted, until it notices.
        while self.interrupt_running() {
            fsleep(Delta::from_millis(NUDGE_MS));
        }
    }
}

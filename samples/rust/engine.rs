// SPDX-License-Identifier: GPL-2.0

//! The emulated hardware: an engine in software for each process that has the device open.
//!
//! Its jobs use addresses of the process. It looks them up in the device page table, and faults
//! where that has no entry. Its operations are two of the emulated accelerator's, so that programs
//! for `cdm_emu` run here, too. Each driver defines its own operations and arguments.

use hmm_cdm::{
    job::{
        Completion,
        Job, //
    },
    mirror::Mirror,
    mm::range::Access,
    os::{
        cond_resched,
        kthread::ThreadBody, //
    },
    placement::FaultHandler,
    uapi::{
        EMU_ADD,
        EMU_REDUCE, //
    }, //
};
use kernel::{
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

/// Size of an element in bytes.
const ELEMENT: usize = 8;

/// The operation of a job.
#[derive(Copy, Clone)]
enum Operation {
    /// Sums the elements at `from`.
    Sum { from: usize },
    /// Sets each element at `to` to the sum of those at `left` and `right`.
    Add {
        to: usize,
        left: usize,
        right: usize,
    },
}

/// A job whose arguments are valid.
struct Task {
    job: Job,
    operation: Operation,
    elements: usize,
}

impl Task {
    /// EINVAL if the operation is unknown, or an array is misaligned or overflows the address
    /// space.
    fn new(job: Job) -> Result<Self> {
        let [a0, a1, a2, a3, ..] = job.args().map(|arg| arg as usize);
        let (operation, elements, arrays) = match job.op() {
            EMU_REDUCE => (Operation::Sum { from: a0 }, a1, [a0; 3]),
            EMU_ADD => {
                let (to, left, right) = (a0, a1, a2);

                (Operation::Add { to, left, right }, a3, [to, left, right])
            }
            _ => return Err(EINVAL),
        };
        let bytes = elements.checked_mul(ELEMENT).ok_or(EINVAL)?;

        for array in arrays {
            if array % ELEMENT != 0 || array.checked_add(bytes).is_none() {
                return Err(EINVAL);
            }
        }
        Ok(Self {
            job,
            operation,
            elements,
        })
    }
}

struct Queue {
    tasks: KVec<Task>,
    stop: bool,
}

/// The engine of one process, and the body of its thread.
#[pin_data]
pub(crate) struct Engine {
    mirror: Arc<Mirror>,
    stopping: Atomic<bool>,
    #[pin]
    queue: Mutex<Queue>,
    // A task was added, or the thread has to stop.
    #[pin]
    work: CondVar,
}

impl Engine {
    pub(crate) fn new(mirror: Arc<Mirror>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                mirror,
                stopping: Atomic::new(false),
                queue <- new_mutex!(Queue { tasks: KVec::new(), stop: false }, "Engine::queue"),
                work <- new_condvar!("Engine::work"),
            }),
            GFP_KERNEL,
        )
    }

    /// Queues a job. On error the job is cancelled, and its submission fails with the error.
    pub(crate) fn queue(&self, job: Job) -> Result {
        let task = Task::new(job)?;

        self.queue.lock().tasks.push(task, GFP_KERNEL)?;
        self.work.notify_one();
        Ok(())
    }

    /// Waits for the next task. `None` when the thread has to stop.
    fn next(&self) -> Option<Task> {
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
}

impl ThreadBody for Engine {
    fn run(&self) {
        while let Some(task) = self.next() {
            let mut done = Completion::default();

            done.status = match self.perform(&task, &mut done) {
                Ok(()) => 0,
                Err(e) => e.to_errno(),
            };
            task.job.complete(done);
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.queue.lock().stop = true;
        self.work.notify_all();
    }
}

impl Engine {
    fn perform(&self, task: &Task, done: &mut Completion) -> Result {
        // The buffers of a fault. One set for each job is cheap.
        let mut memory = Memory {
            engine: self,
            fault_handler: FaultHandler::new()?,
            done,
        };

        for at in (0..task.elements).map(|i| i * ELEMENT) {
            match task.operation {
                Operation::Sum { from } => {
                    let element = memory.read(from + at)?;

                    memory.done.result[0] = memory.done.result[0].wrapping_add(element);
                }
                Operation::Add { to, left, right } => {
                    let sum = memory
                        .read(left + at)?
                        .wrapping_add(memory.read(right + at)?);

                    memory.write(to + at, sum)?;
                }
            }
            cond_resched();
        }
        Ok(())
    }
}

/// Gives a job access to the memory of its process.
struct Memory<'a> {
    engine: &'a Engine,
    fault_handler: FaultHandler,
    done: &'a mut Completion,
}

impl Memory<'_> {
    fn read(&mut self, addr: usize) -> Result<u64> {
        self.access(addr, Access::Read, 0)
    }

    fn write(&mut self, addr: usize, value: u64) -> Result {
        self.access(addr, Access::Write, value).map(|_| ())
    }

    /// Reads or writes one element. The closure must not sleep: it runs under the spinlock that
    /// keeps the page in place.
    fn access(&mut self, addr: usize, access: Access, value: u64) -> Result<u64> {
        let engine = self.engine;

        loop {
            if engine.stopping.load(Relaxed) {
                return Err(ECANCELED);
            }
            let used = engine.mirror.access(addr, access, |hit| {
                let element = match access {
                    Access::Read => hit.page.read_u64(hit.offset),
                    Access::Write => hit.page.write_u64(hit.offset, value).map(|()| value),
                };
                (element, hit.extent.index.is_some())
            });
            if let Ok((element, local)) = used {
                if local {
                    self.done.bytes_local += ELEMENT as u64;
                } else {
                    self.done.bytes_remote += ELEMENT as u64;
                }
                // Cannot fail: elements are aligned, so none crosses a page boundary.
                return element.ok_or(EINVAL);
            }
            // The new entry may be invalidated before the next attempt.
            self.fault(addr, access)?;
        }
    }

    /// Faults memory in, as an access by the process would.
    fn fault(&mut self, addr: usize, access: Access) -> Result {
        let Memory {
            engine,
            fault_handler,
            done,
        } = self;
        let cancelled = || engine.stopping.load(Relaxed);

        done.faults += 1;
        match engine
            .mirror
            .fault(fault_handler, addr, ELEMENT, access, cancelled)
        {
            // The device is being closed and the wait was interrupted, or the process is exiting.
            Err(EINTR | ESRCH) => Err(ECANCELED),
            Err(EFAULT | EPERM) => {
                done.fault = Some((addr, access));
                Err(EFAULT)
            }
            other => other,
        }
    }
}

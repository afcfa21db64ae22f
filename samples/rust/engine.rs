// SPDX-License-Identifier: GPL-2.0

//! What stands for the hardware: an engine in software for each process that has the device open.
//!
//! It knows addresses of the process and nothing else, looks them up in the device's page table,
//! and faults where that has no entry. Its jobs are two of those of the emulated accelerator, so that
//! programs for that one run here, too. Numbers and arguments of jobs are a driver's own.

use hmm_cdm::{
    job::{Completion, Job},
    mirror::Mirror,
    mm::range::Access,
    os::{cond_resched, kthread::Run},
    placement::FaultHandler,
    uapi::{EMU_ADD, EMU_REDUCE},
};
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, CondVar, Mutex,
    },
};

/// Bytes of an element.
const ELEMENT: usize = 8;

/// What a job does.
#[derive(Copy, Clone)]
enum Operation {
    /// The sum of the elements at `from`.
    Sum { from: usize },
    /// Each element at `to` becomes the sum of those at `left` and `right`.
    Add {
        to: usize,
        left: usize,
        right: usize,
    },
}

/// A job that has been looked at.
struct Task {
    job: Job,
    operation: Operation,
    elements: usize,
}

impl Task {
    /// EINVAL for an operation that there is not, or elements that no address space can hold.
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
    // A task came, or the thread is to stop.
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

    /// After an error the job is cancelled, and the call that brought it returns the error.
    pub(crate) fn queue(&self, job: Job) -> Result {
        let task = Task::new(job)?;

        self.queue.lock().tasks.push(task, GFP_KERNEL)?;
        self.work.notify_one();
        Ok(())
    }

    /// The next task, when there is one; `None` when the thread is to stop.
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

impl Run for Engine {
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
        // Room for what a fault works with: one for each job is little.
        let mut port = Port {
            engine: self,
            faulter: FaultHandler::new()?,
            done,
        };

        for at in (0..task.elements).map(|i| i * ELEMENT) {
            match task.operation {
                Operation::Sum { from } => {
                    let element = port.read(from + at)?;

                    port.done.result[0] = port.done.result[0].wrapping_add(element);
                }
                Operation::Add { to, left, right } => {
                    let sum = port.read(left + at)?.wrapping_add(port.read(right + at)?);

                    port.write(to + at, sum)?;
                }
            }
            cond_resched();
        }
        Ok(())
    }
}

/// The way to the process's memory, wherever the pages lie.
struct Port<'a> {
    engine: &'a Engine,
    faulter: FaultHandler,
    done: &'a mut Completion,
}

impl Port<'_> {
    fn read(&mut self, addr: usize) -> Result<u64> {
        self.access(addr, Access::Read, 0)
    }

    fn write(&mut self, addr: usize, value: u64) -> Result {
        self.access(addr, Access::Write, value).map(|_| ())
    }

    /// Reads or writes one element. The closure runs while the page cannot go away, and under the
    /// spinlock that sees to that: it must not sleep.
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
                // Elements are aligned, so that none goes beyond its page.
                return element.ok_or(EINVAL);
            }
            // The entry that this makes may be gone again before the next look: so a loop.
            self.fault(addr, access)?;
        }
    }

    /// Lets the process's memory be there, as for an access of the process itself.
    fn fault(&mut self, addr: usize, access: Access) -> Result {
        let Port {
            engine,
            faulter,
            done,
        } = self;
        let give_up = || engine.stopping.load(Relaxed);

        done.faults += 1;
        match engine.mirror.fault(faulter, addr, ELEMENT, access, give_up) {
            // Interrupted since the device is being closed, or the process is exiting.
            Err(EINTR | ESRCH) => Err(ECANCELED),
            Err(EFAULT | EPERM) => {
                done.fault = Some((addr, access));
                Err(EFAULT)
            }
            other => other,
        }
    }
}

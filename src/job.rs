// SPDX-License-Identifier: GPL-2.0

//! Jobs: work that a process asks the device for, and waits for.
//!
//! A [`Job`] belongs to the driver until it is completed; dropping one cancels it, so none is ever
//! waited for in vain.

use crate::{
    mm::range::Access,
    os::eventfd::EventFd,
    uapi::{JOB_ARGS, JOB_RESULTS},
};
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, CondVarTimeoutResult, Mutex},
    time::{msecs_to_jiffies, Jiffies},
};

/// How a job ended.
#[derive(Clone, Default)]
pub struct Completion {
    /// Zero, or a negative errno.
    pub status: i32,
    /// With EFAULT: the address that could not be accessed, and how.
    pub fault: Option<(usize, Access)>,
    /// Results, by operation.
    pub result: [u64; JOB_RESULTS],
    /// Device faults taken.
    pub faults: u64,
    /// Bytes accessed in the device's own memory.
    pub bytes_local: u64,
    /// Bytes accessed elsewhere.
    pub bytes_remote: u64,
}

impl Completion {
    /// The end of a job that never got to its work.
    pub fn failed(error: Error) -> Self {
        Self {
            status: error.to_errno(),
            ..Self::default()
        }
    }
}

/// The side of a job that is waited on.
#[pin_data]
pub(crate) struct Ticket {
    #[pin]
    completion: Mutex<Option<Completion>>,
    #[pin]
    ended: CondVar,
    eventfd: Option<EventFd>,
}

/// How long to wait.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    Forever,
    Jiffies(Jiffies),
}

impl Timeout {
    /// From nanoseconds; negative is for ever. Rounded up, so that no wait is too short.
    pub(crate) fn from_ns(ns: i64) -> Self {
        const NS_PER_MS: u64 = 1_000_000;

        match u64::try_from(ns) {
            Err(_) => Timeout::Forever,
            Ok(ns) => {
                let ms = ns.div_ceil(NS_PER_MS);
                // More than 49 days is cut to that.
                Timeout::Jiffies(msecs_to_jiffies(u32::try_from(ms).unwrap_or(u32::MAX)))
            }
        }
    }
}

impl Ticket {
    pub(crate) fn new(eventfd: Option<EventFd>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                completion <- new_mutex!(None, "Ticket::completion"),
                ended <- new_condvar!("Ticket::ended"),
                eventfd,
            }),
            GFP_KERNEL,
        )
    }

    fn end(&self, completion: Completion) {
        *self.completion.lock() = Some(completion);
        self.ended.notify_all();
        if let Some(eventfd) = &self.eventfd {
            eventfd.signal();
        }
    }

    /// Waits for the end of the job. ETIMEDOUT, EINTR; the job goes on then.
    pub(crate) fn wait(&self, timeout: Timeout) -> Result<Completion> {
        let mut completion = self.completion.lock();
        let mut left = timeout;

        loop {
            if let Some(done) = &*completion {
                return Ok(done.clone());
            }
            left = match left {
                Timeout::Forever => {
                    if self.ended.wait_interruptible(&mut completion) {
                        return Err(EINTR);
                    }
                    left
                }
                Timeout::Jiffies(0) => return Err(ETIMEDOUT),
                Timeout::Jiffies(jiffies) => {
                    match self
                        .ended
                        .wait_interruptible_timeout(&mut completion, jiffies)
                    {
                        CondVarTimeoutResult::Woken { jiffies } => Timeout::Jiffies(jiffies),
                        CondVarTimeoutResult::Timeout => Timeout::Jiffies(0),
                        CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
                    }
                }
            };
        }
    }
}

/// A job, in the hands of the driver.
pub struct Job {
    op: u32,
    args: [u64; JOB_ARGS],
    ticket: Option<Arc<Ticket>>,
}

impl Job {
    pub(crate) fn new(op: u32, args: [u64; JOB_ARGS], ticket: Arc<Ticket>) -> Self {
        Self {
            op,
            args,
            ticket: Some(ticket),
        }
    }

    /// The operation, a number of the driver's own.
    pub fn op(&self) -> u32 {
        self.op
    }

    /// Its arguments; addresses are those of the process.
    pub fn args(&self) -> &[u64; JOB_ARGS] {
        &self.args
    }

    /// Ends the job and wakes those who wait for it. Context: process; may sleep.
    pub fn complete(mut self, completion: Completion) {
        if let Some(ticket) = self.ticket.take() {
            ticket.end(completion);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.end(Completion::failed(ECANCELED));
        }
    }
}

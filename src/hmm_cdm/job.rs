// SPDX-License-Identifier: GPL-2.0

//! Jobs: work that a process submits to the device and waits for.
//!
//! A [`Job`] belongs to the driver until it is completed. Dropping one cancels it, so every wait
//! ends.

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

/// The result of a job.
#[derive(Clone, Default)]
pub struct Completion {
    /// Zero, or a negative errno.
    pub status: i32,
    /// With EFAULT: the address that could not be accessed, and the kind of access.
    pub fault: Option<(usize, Access)>,
    /// Results of the operation.
    pub result: [u64; JOB_RESULTS],
    /// Device faults taken.
    pub faults: u64,
    /// Bytes accessed in the device's own memory.
    pub bytes_local: u64,
    /// Bytes accessed elsewhere.
    pub bytes_remote: u64,
}

impl Completion {
    /// Makes the result of a job that failed before it did any work.
    pub fn failed(error: Error) -> Self {
        Self {
            status: error.to_errno(),
            ..Self::default()
        }
    }
}

#[derive(Default)]
struct TicketState {
    completion: Option<Completion>,
    // SUBMIT has succeeded. A job that is refused has no event.
    accepted: bool,
}

/// The waiter's side of a job.
#[pin_data]
pub(crate) struct Ticket {
    #[pin]
    state: Mutex<TicketState>,
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
    /// Converts from nanoseconds; negative means forever. Rounds up, so that no wait is too short.
    pub(crate) fn from_ns(ns: i64) -> Self {
        const NS_PER_MS: u64 = 1_000_000;

        match u64::try_from(ns) {
            Err(_) => Timeout::Forever,
            Ok(ns) => {
                let ms = ns.div_ceil(NS_PER_MS);
                // Limited to 24 days: `msecs_to_jiffies()` takes more for negative.
                let ms = i32::try_from(ms).unwrap_or(i32::MAX);

                Timeout::Jiffies(msecs_to_jiffies(ms.unsigned_abs()))
            }
        }
    }
}

impl Ticket {
    pub(crate) fn new(eventfd: Option<EventFd>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(TicketState::default(), "Ticket::state"),
                ended <- new_condvar!("Ticket::ended"),
                eventfd,
            }),
            GFP_KERNEL,
        )
    }

    fn end(&self, completion: Completion) {
        let accepted = {
            let mut state = self.state.lock();

            state.completion = Some(completion);
            state.accepted
        };

        self.ended.notify_all();
        if accepted {
            self.signal();
        }
    }

    /// Called when SUBMIT succeeds: the event is signalled when the job ends, or now if it has.
    pub(crate) fn accept(&self) {
        let ended = {
            let mut state = self.state.lock();

            state.accepted = true;
            state.completion.is_some()
        };

        if ended {
            self.signal();
        }
    }

    fn signal(&self) {
        if let Some(eventfd) = &self.eventfd {
            eventfd.signal();
        }
    }

    /// Waits until the job is complete. After ETIMEDOUT and EINTR the job continues.
    pub(crate) fn wait(&self, timeout: Timeout) -> Result<Completion> {
        let mut state = self.state.lock();
        let mut left = timeout;

        loop {
            if let Some(done) = &state.completion {
                return Ok(done.clone());
            }
            left = match left {
                Timeout::Forever => {
                    if self.ended.wait_interruptible(&mut state) {
                        return Err(EINTR);
                    }
                    left
                }
                Timeout::Jiffies(0) => return Err(ETIMEDOUT),
                Timeout::Jiffies(jiffies) => {
                    match self.ended.wait_interruptible_timeout(&mut state, jiffies) {
                        CondVarTimeoutResult::Woken { jiffies } => Timeout::Jiffies(jiffies),
                        CondVarTimeoutResult::Timeout => Timeout::Jiffies(0),
                        CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
                    }
                }
            };
        }
    }
}

/// The driver's side of a job.
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

    /// Returns the operation, as the driver numbers them.
    pub fn op(&self) -> u32 {
        self.op
    }

    /// Returns its arguments. Addresses are those of the process.
    pub fn args(&self) -> &[u64; JOB_ARGS] {
        &self.args
    }

    /// Completes the job and wakes its waiters. Context: process; may sleep.
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

#[kunit_tests(hmm_cdm_job)]
mod tests {
    use super::*;

    const NOW: Timeout = Timeout::Jiffies(0);

    fn job(ticket: &Arc<Ticket>) -> Job {
        Job::new(7, [1; JOB_ARGS], ticket.clone())
    }

    #[test]
    fn negative_timeouts_are_for_ever() {
        assert_eq!(Timeout::from_ns(-1), Timeout::Forever);
        assert_eq!(Timeout::from_ns(i64::MIN), Timeout::Forever);
    }

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(Timeout::from_ns(0), NOW);
        // A timeout that is not zero stays so, whatever HZ is.
        for ns in [1, 999_999, 1_000_000] {
            assert_eq!(Timeout::from_ns(ns), Timeout::Jiffies(msecs_to_jiffies(1)));
            assert!(Timeout::from_ns(ns) != NOW);
        }
        assert_eq!(
            Timeout::from_ns(1_000_001),
            Timeout::Jiffies(msecs_to_jiffies(2))
        );
        assert_eq!(
            Timeout::from_ns(5_000_000_000),
            Timeout::Jiffies(msecs_to_jiffies(5000))
        );
    }

    #[test]
    fn long_timeouts_are_cut_and_not_wrapped() {
        const MOST_NS: i64 = i32::MAX as i64 * 1_000_000;
        let most = Timeout::Jiffies(msecs_to_jiffies(i32::MAX as u32));

        assert_eq!(Timeout::from_ns(MOST_NS), most);
        assert_eq!(Timeout::from_ns(MOST_NS + 1), most);
        assert_eq!(Timeout::from_ns(i64::MAX), most);
    }

    #[test]
    fn a_job_that_has_not_ended_is_not_waited_for_at_once() -> Result {
        let ticket = Ticket::new(None)?;
        let job = job(&ticket);

        assert_eq!(ticket.wait(NOW).err(), Some(ETIMEDOUT));
        assert_eq!(ticket.wait(Timeout::Jiffies(1)).err(), Some(ETIMEDOUT));
        assert_eq!((job.op(), *job.args()), (7, [1; JOB_ARGS]));
        Ok(())
    }

    #[test]
    fn completion_is_what_the_driver_says() -> Result {
        let ticket = Ticket::new(None)?;
        let job = job(&ticket);

        job.complete(Completion {
            status: 0,
            fault: Some((0x1000, Access::Write)),
            result: [3; JOB_RESULTS],
            faults: 4,
            bytes_local: 5,
            bytes_remote: 6,
        });
        // As often as it is asked.
        for timeout in [NOW, Timeout::Forever] {
            let done = ticket.wait(timeout)?;

            assert_eq!((done.status, done.result), (0, [3; JOB_RESULTS]));
            assert_eq!(done.fault, Some((0x1000, Access::Write)));
            assert_eq!(
                (done.faults, done.bytes_local, done.bytes_remote),
                (4, 5, 6)
            );
        }
        Ok(())
    }

    #[test]
    fn a_job_that_is_dropped_is_cancelled() -> Result {
        let ticket = Ticket::new(None)?;

        drop(job(&ticket));
        let done = ticket.wait(NOW)?;
        assert_eq!(done.status, ECANCELED.to_errno());
        assert_eq!((done.fault, done.result), (None, [0; JOB_RESULTS]));
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! `struct hmm_cdm_job`: a job that a driver in C owns.

use super::{declared, may_sleep};
use crate::{
    bindings,
    job::{Completion, Job},
    mm::range::Access,
    uapi,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed, Release},
        Arc,
    },
};

/// A `hmm_cdm_job`.
pub(super) struct JobHandle {
    job: Job,
    // Number of the mirror's incomplete jobs.
    open: Arc<Atomic<usize>>,
}

impl JobHandle {
    pub(super) fn new(job: Job, open: Arc<Atomic<usize>>) -> Result<KBox<Self>> {
        let handle = KBox::new(Self { job, open }, GFP_KERNEL)?;

        handle.open.fetch_add(1, Relaxed);
        Ok(handle)
    }

    pub(super) fn into_raw(this: KBox<Self>) -> *mut bindings::hmm_cdm_job {
        KBox::into_raw(this).cast()
    }

    /// # Safety
    ///
    /// `job` is from [`Self::into_raw`] and not used afterwards.
    pub(super) unsafe fn take(job: *mut bindings::hmm_cdm_job) -> KBox<Self> {
        // SAFETY: `KBox::from_raw()` requires a pointer from `KBox::into_raw()` that is used once.
        // By the safety requirements it is from there, and not used afterwards.
        unsafe { KBox::from_raw(job.cast()) }
    }

    /// # Safety
    ///
    /// `job` is from [`Self::into_raw`] and not taken during `'a`.
    unsafe fn from_raw<'a>(job: *const bindings::hmm_cdm_job) -> &'a Self {
        // SAFETY: By the safety requirements it points to a box that is not freed during `'a`.
        unsafe { &*job.cast() }
    }
}

/// Drops a handle whose job the driver has refused.
fn close(handle: KBox<JobHandle>) -> Job {
    let JobHandle { job, open } = KBox::into_inner(handle);

    open.fetch_sub(1, Release);
    job
}

/// Cancels a job that the driver has refused.
///
/// # Safety
///
/// As for [`JobHandle::take`].
pub(super) unsafe fn refuse(job: *mut bindings::hmm_cdm_job) {
    // SAFETY: The requirements of `JobHandle::take()` are this function's.
    drop(close(unsafe { JobHandle::take(job) }));
}

fn completion(result: &bindings::hmm_cdm_result) -> Completion {
    let fault = match (result.status == EFAULT.to_errno(), result.fault_access) {
        (true, uapi::ACCESS_READ) => Some(Access::Read),
        (true, uapi::ACCESS_WRITE) => Some(Access::Write),
        _ => None,
    };

    Completion {
        status: result.status,
        fault: fault.map(|access| (result.fault_addr as usize, access)),
        result: result.result,
        faults: result.faults,
        bytes_local: result.bytes_local,
        bytes_remote: result.bytes_remote,
    }
}

declared!(hmm_cdm_job_op, hmm_cdm_job_args, hmm_cdm_complete_job);

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_job_op(job: *const bindings::hmm_cdm_job) -> u32 {
    // SAFETY: Rule `handle`.
    unsafe { JobHandle::from_raw(job) }.job.op()
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_job_args(job: *const bindings::hmm_cdm_job) -> *const u64 {
    // SAFETY: Rule `handle`.
    unsafe { JobHandle::from_raw(job) }.job.args().as_ptr()
}

/// # Safety
///
/// See the header.
#[no_mangle]
unsafe extern "C" fn hmm_cdm_complete_job(
    job: *mut bindings::hmm_cdm_job,
    result: *const bindings::hmm_cdm_result,
) {
    may_sleep();
    // SAFETY: Rules `handle` and `end` for the job, `pointer` for the result.
    let (job, result) = unsafe { (JobHandle::take(job), &*result) };
    let done = completion(result);

    // Complete first: once the count is zero, closing the mirror takes all its jobs for complete.
    let JobHandle { job, open } = KBox::into_inner(job);
    job.complete(done);
    open.fetch_sub(1, Release);
}

#[kunit_tests(hmm_cdm_capi_job)]
mod tests {
    use super::*;
    use crate::job::{Ticket, Timeout};

    #[test]
    fn a_result_says_where_it_failed_only_if_it_did() {
        let mut result = bindings::hmm_cdm_result {
            status: EFAULT.to_errno(),
            fault_access: uapi::ACCESS_WRITE,
            fault_addr: 0x1000,
            ..bindings::hmm_cdm_result::default()
        };

        assert_eq!(completion(&result).fault, Some((0x1000, Access::Write)));
        result.fault_access = uapi::ACCESS_READ;
        assert_eq!(completion(&result).fault, Some((0x1000, Access::Read)));
        // A driver that sets no valid access.
        result.fault_access = 7;
        assert_eq!(completion(&result).fault, None);
        result.fault_access = uapi::ACCESS_READ;
        result.status = 0;
        assert_eq!(completion(&result).fault, None);
    }

    #[test]
    fn jobs_are_open_until_they_end() -> Result {
        let open = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let ticket = Ticket::new(None)?;
        let job = JobHandle::new(
            Job::new(3, [5; uapi::JOB_ARGS], ticket.clone()),
            open.clone(),
        )?;
        let job = JobHandle::into_raw(job);
        let result = bindings::hmm_cdm_result {
            status: 0,
            faults: 9,
            ..bindings::hmm_cdm_result::default()
        };

        assert_eq!(open.load(Relaxed), 1);
        // SAFETY: Rules `handle`, `end` and `pointer`: the job is from `into_raw()`, and used by
        // nothing but this test, which completes it last.
        unsafe {
            assert_eq!(hmm_cdm_job_op(job), 3);
            assert_eq!(*hmm_cdm_job_args(job), 5);
            hmm_cdm_complete_job(job, &result);
        }
        assert_eq!(open.load(Relaxed), 0);
        assert_eq!(ticket.wait(Timeout::Forever)?.faults, 9);

        let ticket = Ticket::new(None)?;
        let job = JobHandle::new(
            Job::new(3, [0; uapi::JOB_ARGS], ticket.clone()),
            open.clone(),
        )?;
        // SAFETY: The job is from `into_raw()`, and not used afterwards.
        unsafe { refuse(JobHandle::into_raw(job)) };
        assert_eq!(open.load(Relaxed), 0);
        let status = ticket.wait(Timeout::Forever)?.status;
        assert_eq!(status, ECANCELED.to_errno());
        Ok(())
    }
}

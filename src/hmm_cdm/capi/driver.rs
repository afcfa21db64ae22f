// SPDX-License-Identifier: GPL-2.0

//! A driver in C as the library's Rust interface sees it: [`Driver`], [`Copier`] and [`Context`] on
//! top of its operations.

use super::{
    device::CDevice,
    job,
    mirror::MirrorHandle,
    misuse, //
};
use crate::{
    bindings,
    device::{
        Context,
        Driver, //
    },
    job::Job,
    mirror::Mirror,
    mm::copy::{
        Copier,
        CopyRun,
        Direction, //
    },
};
use kernel::{
    error::to_result,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc,
};

/// The most copies that a driver gets in one call; the header states it.
const MAX_COPIES: usize = 32;

/// Implements the library's traits with a driver's operations.
pub(super) struct Adapter(pub(super) Arc<CDevice>);

impl Driver for Adapter {
    fn name(&self) -> &CStr {
        self.0.ops.name()
    }

    fn open(&self, mirror: Arc<Mirror>) -> Result<KBox<dyn Context>> {
        // Allocated first: nothing may fail after the driver's @open has succeeded.
        let mut file = KBox::new(OpenFile { handle: None }, GFP_KERNEL)?;

        file.handle = Some(MirrorHandle::new(&self.0, mirror, core::ptr::null_mut())?);
        Ok(file)
    }

    fn copier(&self) -> Result<Option<Arc<dyn Copier>>> {
        let ops = self.0.ops.get();

        if ops.copy.is_none() && ops.freed.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Adapter(self.0.clone()), GFP_KERNEL)?))
    }
}

impl Copier for Adapter {
    fn copies(&self) -> bool {
        self.0.ops.get().copy.is_some()
    }

    fn copy(&self, direction: Direction, runs: &[CopyRun]) -> usize {
        let Some(copy) = self.0.ops.get().copy else {
            return 0;
        };
        let direction = match direction {
            Direction::In => bindings::hmm_cdm_direction_HMM_CDM_COPY_IN,
            Direction::Out => bindings::hmm_cdm_direction_HMM_CDM_COPY_OUT,
        };
        let mut done = 0;

        for runs in runs.chunks(MAX_COPIES) {
            let mut copies = [const {
                bindings::hmm_cdm_copy {
                    page: core::ptr::null_mut(),
                    offset: 0,
                    pages: 0,
                    direction: 0,
                }
            }; MAX_COPIES];
            for (copy, run) in copies.iter_mut().zip(runs) {
                *copy = bindings::hmm_cdm_copy {
                    page: run.system.as_raw_page(),
                    offset: (run.index << PAGE_SHIFT) as u64,
                    pages: run.pages as u32,
                    direction,
                };
            }

            // SAFETY: Rule `ops`; the array has that many copies.
            let ret = unsafe { copy(self.0.as_raw(), copies.as_ptr(), runs.len() as u32) };
            let copied = usize::try_from(ret).unwrap_or(0);
            let too_many = misuse!(
                copied > runs.len(),
                "a driver reports more copies than it was asked for\n"
            );
            // None of them can be trusted.
            let copied = if too_many { 0 } else { copied };

            done += copied;
            if copied < runs.len() {
                break;
            }
        }
        done
    }

    fn zero(&self, index: usize, pages: usize) -> Result {
        let zero = self.0.ops.get().zero.ok_or(EOPNOTSUPP)?;

        // SAFETY: Rule `ops`.
        kernel::error::to_result(unsafe {
            zero(
                self.0.as_raw(),
                (index * PAGE_SIZE) as u64,
                u32::try_from(pages)?,
            )
        })
    }

    fn freed(&self, index: usize, pages: usize) {
        if let Some(freed) = self.0.ops.get().freed {
            // SAFETY: Rule `ops`.
            unsafe { freed(self.0.as_raw(), (index * PAGE_SIZE) as u64, pages as u32) };
        }
    }
}

/// An open file of a driver in C.
struct OpenFile {
    // `None` until the driver has opened it, and while it is dropped.
    handle: Option<KBox<MirrorHandle>>,
}

impl Context for OpenFile {
    fn submit(&self, job: Job) -> Result {
        let handle = self.handle.as_ref().ok_or(ENODEV)?;
        let run = handle.device.ops.get().run.ok_or(EOPNOTSUPP)?;
        let job = job::JobHandle::into_raw(job::JobHandle::new(job, handle.open_jobs.clone())?);

        // SAFETY: Rule `ops`. On success the driver owns the job.
        to_result(unsafe { run(handle.as_raw(), job) }).inspect_err(|_| {
            // SAFETY: Rule `handle`: `run` has failed, so the driver does not use the job any more.
            unsafe { job::refuse(job) }
        })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            MirrorHandle::close(handle);
        }
    }
}

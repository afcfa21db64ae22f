// SPDX-License-Identifier: MIT OR Apache-2.0

//! The handle on a node.

use crate::{
    buffer::Buffer,
    call::{call, Argument},
    flags::{AdviseFlags, MigrateFlags, Place, PopulateFlags, Target},
    job::{Job, JobArgs, JobReport},
    report::{Info, MigrateReport, Page, Places, PopulateReport, Residency, Stats},
};
use hmmcdm_sys as sys;
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
    time::{Duration, Instant},
};

/// A process's handle on a node.
///
/// All calls take a shared reference and may be made by several threads at the same time. Dropping
/// the handle ends its jobs and leaves pages where they are.
#[derive(Debug)]
pub struct Cdm {
    file: File,
    info: Info,
}

impl Cdm {
    /// Opens `/dev/hmm_cdm<node>`.
    pub fn open(node: u32) -> io::Result<Self> {
        Self::open_path(format!("/dev/hmm_cdm{node}"))
    }

    /// Opens a device file by its path. Fails with `ENOTTY` if it is not one of a node.
    pub fn open_path(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut arg = sys::hmm_cdm_info::new();

        // SAFETY: The call names no memory.
        unsafe { call(file.as_fd(), &mut arg)? };
        Ok(Self {
            file,
            info: arg.into(),
        })
    }

    /// Describes the node, as it was when the handle was opened.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Allocates at least `size` bytes of zeroed memory: on the node while it has free pages, the
    /// rest in system memory. A buffer of a window or more is aligned to windows.
    pub fn alloc(&self, size: usize) -> io::Result<Buffer> {
        let buffer = Buffer::map(size, self.info.page_size, self.info.window_size)?;

        match self.populate(&buffer, PopulateFlags::empty()) {
            // After a signal, the rest of the buffer will be system memory.
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(buffer),
        }
    }

    /// Backs the untouched pages of a range with node pages, without a copy.
    pub fn populate(&self, range: &[u8], flags: PopulateFlags) -> io::Result<PopulateReport> {
        let mut arg = sys::hmm_cdm_populate {
            flags: flags.bits(),
            addr: range.as_ptr() as u64,
            length: range.len() as u64,
            ..sys::hmm_cdm_populate::new()
        };

        // SAFETY: The call does not change the content of the range.
        unsafe { call(self.as_fd(), &mut arg)? };
        Ok(arg.into())
    }

    /// Migrates the pages of a range.
    pub fn migrate(
        &self,
        range: &[u8],
        target: Target,
        flags: MigrateFlags,
    ) -> io::Result<MigrateReport> {
        let mut arg = sys::hmm_cdm_migrate {
            flags: flags.bits(),
            addr: range.as_ptr() as u64,
            length: range.len() as u64,
            target: target as u32,
            ..sys::hmm_cdm_migrate::new()
        };

        // SAFETY: The call does not change the content of the range.
        unsafe { call(self.as_fd(), &mut arg)? };
        Ok(arg.into())
    }

    /// Sets the preferred placement of a range. Nothing moves now; the device's faults follow the
    /// advice.
    pub fn advise(&self, range: &[u8], place: Place, flags: AdviseFlags) -> io::Result<()> {
        let mut arg = sys::hmm_cdm_advise {
            flags: flags.bits(),
            addr: range.as_ptr() as u64,
            length: range.len() as u64,
            place: place as u32,
            ..sys::hmm_cdm_advise::new()
        };

        // SAFETY: The call does not access the range.
        unsafe { call(self.as_fd(), &mut arg) }
    }

    /// Returns the location of each page of a range: a snapshot, taken window by window.
    pub fn query(&self, range: &[u8]) -> io::Result<Residency> {
        let mut pages = vec![Page::default(); range.len().div_ceil(self.info.page_size)];
        let mut arg = sys::hmm_cdm_query {
            addr: range.as_ptr() as u64,
            length: range.len() as u64,
            pages: pages.as_mut_ptr() as u64,
            ..sys::hmm_cdm_query::new()
        };

        // SAFETY: The call fills in an entry for each page of the range; `pages` has that many, and
        // any bytes are a valid `Page`.
        unsafe { call(self.as_fd(), &mut arg)? };
        Ok(Residency {
            pages,
            places: Places(arg.where_),
        })
    }

    /// Starts a job of the device. When it has ended, 1 is added to `event`, an eventfd.
    ///
    /// # Safety
    ///
    /// A job accesses memory of the process, by addresses among its arguments. Until it has ended,
    /// nothing else may access memory that it writes, and nothing may write memory that it reads,
    /// unless both sides use atomic operations. The values that it writes have to be valid for the
    /// types that the process uses there.
    pub unsafe fn submit(
        &self,
        op: u32,
        args: JobArgs,
        event: Option<BorrowedFd<'_>>,
    ) -> io::Result<Job> {
        let mut arg = sys::hmm_cdm_submit {
            flags: event.map_or(0, |_| sys::HMM_CDM_SUBMIT_EVENTFD),
            op,
            eventfd: event.map_or(0, |fd| fd.as_raw_fd()),
            args,
            ..sys::hmm_cdm_submit::new()
        };

        // SAFETY: By this function's own requirements.
        unsafe { call(self.as_fd(), &mut arg)? };
        Ok(Job(arg.job))
    }

    /// Waits until a job has ended, at most for `timeout`; `None` is no limit.
    ///
    /// Signals neither end nor prolong the wait. After a [`TimedOut`](io::ErrorKind::TimedOut)
    /// error the job can be waited for again; once a report has been returned, its job is
    /// forgotten.
    pub fn wait(&self, job: Job, timeout: Option<Duration>) -> io::Result<JobReport> {
        // A deadline beyond the clock's range is no deadline.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));

        loop {
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let mut arg = sys::hmm_cdm_wait {
                job: job.0,
                timeout_ns: timeout_ns(left),
                ..sys::hmm_cdm_wait::new()
            };

            // SAFETY: The call names no memory.
            match unsafe { call(self.as_fd(), &mut arg) } {
                Ok(()) => return Ok(arg.into()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The kernel limits a timeout to 24 days.
                Err(e)
                    if e.kind() == io::ErrorKind::TimedOut
                        && deadline.is_some_and(|d| d > Instant::now()) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the counters of this handle and its node.
    pub fn stats(&self) -> io::Result<Stats> {
        let mut arg = sys::hmm_cdm_stats::new();

        // SAFETY: The call names no memory.
        unsafe { call(self.as_fd(), &mut arg)? };
        Ok(arg.into())
    }
}

impl AsFd for Cdm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A timeout in the ioctl's units; negative for no limit.
fn timeout_ns(left: Option<Duration>) -> i64 {
    left.map_or(-1, |left| {
        i64::try_from(left.as_nanos()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(timeout_ns(None), -1);
        assert_eq!(timeout_ns(Some(Duration::ZERO)), 0);
        assert_eq!(timeout_ns(Some(Duration::new(1, 5))), 1_000_000_005);
        assert_eq!(timeout_ns(Some(Duration::MAX)), i64::MAX);
    }

    #[test]
    fn other_files_are_refused() {
        let error = Cdm::open_path("/dev/null").expect_err("not a node");

        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(
            Cdm::open(4095).map_err(|e| e.kind()).err(),
            Some(io::ErrorKind::NotFound)
        );
    }
}

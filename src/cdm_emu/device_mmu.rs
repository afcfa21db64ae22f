// SPDX-License-Identifier: GPL-2.0

//! The engine's access to memory: by the device page table of one process, with faults and
//! counters.

use crate::exec_units::{
    ExecUnits,
    Worker, //
};
use hmm_cdm::{
    job::Completion,
    mirror::{
        Health,
        Mirror, //
    },
    mm::{
        folio::MappedPage,
        range::Access, //
    },
    placement::FaultHandler, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Why an operation ends early.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The process may not access this address in this way.
    Fault(usize, Access),
    /// The job was cancelled.
    Cancelled,
    /// Any other error.
    Error(Error),
}

/// Counts the faults of a job, and the bytes it accessed in device and system memory.
#[derive(Default)]
pub(crate) struct JobCounts {
    pub(crate) faults: u64,
    pub(crate) local: u64,
    pub(crate) remote: u64,
}

impl JobCounts {
    /// Returns the completion of a job that ended with `status`.
    pub(crate) fn completion(&self, status: Result<(), Stop>) -> Completion {
        let (status, fault) = match status {
            Ok(()) => (0, None),
            Err(Stop::Fault(addr, access)) => (EFAULT.to_errno(), Some((addr, access))),
            Err(Stop::Cancelled) => (ECANCELED.to_errno(), None),
            Err(Stop::Error(e)) => (e.to_errno(), None),
        };

        Completion {
            status,
            fault,
            faults: self.faults,
            bytes_local: self.local,
            bytes_remote: self.remote,
            ..Completion::default()
        }
    }
}

/// Gives one job access to the memory of its process.
pub(crate) struct DeviceMmu<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) units: &'a ExecUnits,
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) health: &'a Health,
    pub(crate) fault_handler: &'a mut FaultHandler,
    pub(crate) counts: &'a mut JobCounts,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl DeviceMmu<'_> {
    /// Runs `use_page` on the page at `addr`, and counts `bytes`. Faults as often as needed, for
    /// `len` bytes, which the job is going to access in the same way.
    fn access<R>(
        &mut self,
        addr: usize,
        bytes: usize,
        len: usize,
        access: Access,
        mut use_page: impl FnMut(&MappedPage<'_>, usize) -> Option<R>,
    ) -> Result<R, Stop> {
        loop {
            if self.worker.is_lost() {
                return Err(Stop::Error(EIO));
            }
            if (self.cancelled)() {
                return Err(Stop::Cancelled);
            }
            self.worker.beat();
            let done = self.mirror.access(addr, access, |hit| {
                let local = hit.extent.index.is_some();

                (use_page(&hit.page, hit.offset), local)
            });
            if let Ok((result, local)) = done {
                if local {
                    self.counts.local += bytes as u64;
                } else {
                    self.counts.remote += bytes as u64;
                }
                // Only a misaligned or overlong access has no result.
                return result.ok_or(Stop::Error(EINVAL));
            }
            self.fault(addr, len, access)?;
        }
    }

    fn fault(&mut self, addr: usize, len: usize, access: Access) -> Result<(), Stop> {
        self.counts.faults += 1;
        let (mirror, health, cancelled) = (self.mirror, self.health, self.cancelled);
        let worker = self.worker;
        let fault_handler = &mut *self.fault_handler;
        let resolved = self.units.run_released(self.worker, || {
            mirror
                .fault(fault_handler, addr, len, access, cancelled)
                // A unit hung, and the device is being reset. The access is repeated afterwards.
                // If this worker was declared hung, the reset waits for us; waiting for it would
                // deadlock. Having released its unit, the worker cannot be declared hung later.
                .inspect_err(|e| {
                    if *e == EIO && !worker.is_lost() {
                        health.wait();
                    }
                })
        });

        match resolved {
            Ok(()) | Err(EIO) => Ok(()),
            // The thread has to stop and its wait was interrupted, or the process is exiting.
            Err(EINTR | ECANCELED | ESRCH) => Err(Stop::Cancelled),
            Err(EFAULT | EPERM) => Err(Stop::Fault(addr, access)),
            Err(e) => Err(Stop::Error(e)),
        }
    }

    /// Splits `len` bytes at `addr` at page boundaries, into offsets and lengths.
    fn pieces(addr: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut done = 0;

        core::iter::from_fn(move || {
            let at = addr.checked_add(done)?;
            let piece = (PAGE_SIZE - at % PAGE_SIZE).min(len - done);
            let offset = done;

            done += piece;
            (piece > 0).then_some((offset, piece))
        })
    }

    /// Reads `buf.len()` bytes at `addr`. The `ahead` bytes behind them will be read next.
    pub(crate) fn read(&mut self, addr: usize, buf: &mut [u8], ahead: usize) -> Result<(), Stop> {
        let len = buf.len();

        for (offset, piece) in Self::pieces(addr, len) {
            let to = buf.get_mut(offset..offset + piece);
            let to = to.ok_or(Stop::Error(EINVAL))?;
            let more = (len - offset).saturating_add(ahead);

            self.access(addr + offset, piece, more, Access::Read, |page, at| {
                page.read(at, to)
            })?;
        }
        Ok(())
    }

    /// Writes `buf` to `addr`. The `ahead` bytes behind it will be written next.
    pub(crate) fn write(&mut self, addr: usize, buf: &[u8], ahead: usize) -> Result<(), Stop> {
        let len = buf.len();

        for (offset, piece) in Self::pieces(addr, len) {
            let from = buf.get(offset..offset + piece);
            let from = from.ok_or(Stop::Error(EINVAL))?;
            let more = (len - offset).saturating_add(ahead);

            self.access(addr + offset, piece, more, Access::Write, |page, at| {
                page.write(at, from)
            })?;
        }
        Ok(())
    }

    /// Hangs until the device is reset, and returns the error of that.
    pub(crate) fn hang(&self) -> Stop {
        self.units.hang(self.worker);
        Stop::Error(EIO)
    }

    /// Reads 64 bits.
    pub(crate) fn read_u64(&mut self, addr: usize) -> Result<u64, Stop> {
        self.access(addr, 8, 8, Access::Read, |page, at| page.read_u64(at))
    }

    /// Writes 64 bits.
    pub(crate) fn write_u64(&mut self, addr: usize, value: u64) -> Result<(), Stop> {
        self.access(addr, 8, 8, Access::Write, |page, at| {
            page.write_u64(at, value)
        })
    }

    /// Atomically adds to 64 bits, and returns their old value.
    pub(crate) fn fetch_add(&mut self, addr: usize, value: u64) -> Result<u64, Stop> {
        self.access(addr, 8, 8, Access::Write, |page, at| {
            page.fetch_add_u64(at, value)
        })
    }

    /// Atomically replaces 64 bits if they are `old`, and returns their old value.
    pub(crate) fn compare_exchange(
        &mut self,
        addr: usize,
        old: u64,
        new: u64,
    ) -> Result<u64, Stop> {
        self.access(addr, 8, 8, Access::Write, |page, at| {
            page.cmpxchg_u64(at, old, new)
        })
    }
}

#[kunit_tests(cdm_emu_device_mmu)]
mod tests {
    use super::*;

    fn is(addr: usize, len: usize, expected: &[(usize, usize)]) -> bool {
        DeviceMmu::pieces(addr, len).eq(expected.iter().copied())
    }

    #[test]
    fn accesses_are_split_at_pages() {
        const P: usize = PAGE_SIZE;

        assert!(is(P, 0, &[]));
        assert!(is(P, 1, &[(0, 1)]));
        assert!(is(P, P, &[(0, P)]));
        assert!(is(P + 8, P - 8, &[(0, P - 8)]));
        assert!(is(P - 1, 2, &[(0, 1), (1, 1)]));
        assert!(is(P + 8, P, &[(0, P - 8), (P - 8, 8)]));
        assert!(is(P - 3, 2 * P, &[(0, 3), (3, P), (3 + P, P - 3)]));
    }

    #[test]
    fn accesses_end_with_the_address_space() {
        assert!(is(usize::MAX, 1, &[(0, 1)]));
        // The part that would wrap around to address 0 is not accessed.
        assert!(is(usize::MAX, 2, &[(0, 1)]));
    }

    #[test]
    fn completions_report_status_and_counts() {
        let counts = JobCounts {
            faults: 1,
            local: 2,
            remote: 3,
        };
        let fault = Some((0x1000, Access::Write));
        let ends = [
            (Ok(()), 0, None),
            (
                Err(Stop::Fault(0x1000, Access::Write)),
                EFAULT.to_errno(),
                fault,
            ),
            (Err(Stop::Cancelled), ECANCELED.to_errno(), None),
            (Err(Stop::Error(ELOOP)), ELOOP.to_errno(), None),
        ];

        for (end, status, fault) in ends {
            let done = counts.completion(end);

            assert_eq!((done.status, done.fault), (status, fault));
            assert_eq!(
                (done.faults, done.bytes_local, done.bytes_remote),
                (1, 2, 3)
            );
        }
    }
}

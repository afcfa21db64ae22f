// SPDX-License-Identifier: GPL-2.0

//! The engine's way to memory: every access goes through the device's page table of one process,
//! faults where there is no entry, and is counted.

use crate::exec_units::{ExecUnits, Worker};
use hmm_cdm::{
    job::Completion,
    mirror::{Health, Mirror},
    mm::{folio::MappedPage, range::Access},
    placement::FaultHandler,
};
use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};

/// Why an operation cannot go on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The process could not have accessed this address that way.
    Fault(usize, Access),
    /// It is no longer wanted.
    Cancelled,
    /// Something else.
    Error(Error),
}

/// Faults and bytes of a job so far.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) faults: u64,
    pub(crate) local: u64,
    pub(crate) remote: u64,
}

impl Account {
    /// The end of a job, with what it cost.
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

/// Access to the memory of one process, for one job.
pub(crate) struct DeviceMmu<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) units: &'a ExecUnits,
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) health: &'a Health,
    pub(crate) faulter: &'a mut FaultHandler,
    pub(crate) account: &'a mut Account,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl DeviceMmu<'_> {
    /// Runs `use_page` on the page at `addr`, faulting as often as needed. `len` is how many bytes
    /// from there the job is going to access in the same way.
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
                    self.account.local += bytes as u64;
                } else {
                    self.account.remote += bytes as u64;
                }
                // Only a misaligned or overlong access has no result.
                return result.ok_or(Stop::Error(EINVAL));
            }
            self.fault(addr, len, access)?;
        }
    }

    fn fault(&mut self, addr: usize, len: usize, access: Access) -> Result<(), Stop> {
        self.account.faults += 1;
        let (mirror, health, cancelled) = (self.mirror, self.health, self.cancelled);
        let worker = self.worker;
        let faulter = &mut *self.faulter;
        let resolved = self.units.step_aside(self.worker, || {
            mirror
                .fault(faulter, addr, len, access, cancelled)
                // Another unit hung. The access is made again afterwards. If it is this one that
                // was taken for hung, the reset waits for it, and must not be waited for; who has
                // stepped aside is on no unit, so that does not change any more.
                .inspect_err(|e| {
                    if *e == EIO && !worker.is_lost() {
                        health.wait();
                    }
                })
        });

        match resolved {
            Ok(()) | Err(EIO) => Ok(()),
            // Interrupted when the thread was told to stop, or the process is exiting.
            Err(EINTR | ECANCELED | ESRCH) => Err(Stop::Cancelled),
            Err(EFAULT | EPERM) => Err(Stop::Fault(addr, access)),
            Err(e) => Err(Stop::Error(e)),
        }
    }

    /// Splits `len` bytes from `addr` at page boundaries.
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

    /// Reads `buf.len()` bytes from `addr`; `ahead` more are going to be read.
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

    /// Writes `buf` to `addr`; `ahead` more bytes are going to be written.
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

    /// Hangs until the device is reset.
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

    /// Atomically adds to 64 bits, and returns what was there.
    pub(crate) fn fetch_add(&mut self, addr: usize, value: u64) -> Result<u64, Stop> {
        self.access(addr, 8, 8, Access::Write, |page, at| {
            page.fetch_add_u64(at, value)
        })
    }

    /// Atomically replaces 64 bits if they are `old`, and returns what was there.
    pub(crate) fn cas(&mut self, addr: usize, old: u64, new: u64) -> Result<u64, Stop> {
        self.access(addr, 8, 8, Access::Write, |page, at| {
            page.cmpxchg_u64(at, old, new)
        })
    }
}

#[kunit_tests(cdm_emu_port)]
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
    fn the_end_of_the_address_space_ends_them() {
        assert!(is(usize::MAX, 1, &[(0, 1)]));
        // What would wrap around to address 0 is not accessed.
        assert!(is(usize::MAX, 2, &[(0, 1)]));
    }

    #[test]
    fn completions_tell_how_it_ended() {
        let account = Account {
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
            let done = account.completion(end);

            assert_eq!((done.status, done.fault), (status, fault));
            assert_eq!(
                (done.faults, done.bytes_local, done.bytes_remote),
                (1, 2, 3)
            );
        }
    }
}

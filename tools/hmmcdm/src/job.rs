// SPDX-License-Identifier: MIT OR Apache-2.0

//! Jobs of a device.

use crate::flags::Access;
use hmmcdm_sys as sys;
use std::{error::Error, fmt, io};

/// Arguments of a job. What they mean is up to the operation; addresses are those of the process.
pub type JobArgs = [u64; sys::HMM_CDM_JOB_ARGS as usize];

/// A job that was submitted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job(pub(crate) u64);

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobReport {
    /// Whether it succeeded. What it wrote before an error stays written.
    pub status: Result<(), JobError>,
    /// Results; what they mean is up to the operation.
    pub result: [u64; sys::HMM_CDM_JOB_RESULTS as usize],
    /// Device faults that it took.
    pub faults: u64,
    /// Bytes that it accessed on the node.
    pub bytes_local: u64,
    /// Bytes that it accessed elsewhere.
    pub bytes_remote: u64,
}

/// Why a job failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobError {
    /// The error number: `EFAULT` for a bad address, `ECANCELED` if the device went away, `EIO` if
    /// it hung and was reset.
    pub errno: i32,
    /// With `EFAULT`, the access that failed.
    pub fault: Option<DeviceFault>,
}

/// An access of the device that the process itself could not have made.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceFault {
    /// The address.
    pub address: u64,
    /// Reading or writing.
    pub access: Access,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job: {}", io::Error::from_raw_os_error(self.errno))?;
        match self.fault {
            Some(fault) => write!(f, " at {:#x}", fault.address),
            None => Ok(()),
        }
    }
}

impl Error for JobError {}

impl From<sys::hmm_cdm_wait> for JobReport {
    fn from(raw: sys::hmm_cdm_wait) -> Self {
        let errno = -raw.status;

        Self {
            status: match errno {
                0 => Ok(()),
                _ => Err(JobError {
                    errno,
                    fault: (errno == libc::EFAULT).then_some(DeviceFault {
                        address: raw.fault_addr,
                        access: Access::from_bits_retain(raw.fault_access),
                    }),
                }),
            },
            result: raw.result,
            faults: raw.faults,
            bytes_local: raw.bytes_local,
            bytes_remote: raw.bytes_remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_address() {
        let report = JobReport::from(sys::hmm_cdm_wait {
            status: -libc::EFAULT,
            fault_addr: 0x1000,
            fault_access: sys::HMM_CDM_ACCESS_WRITE,
            ..Default::default()
        });
        let error = report.status.expect_err("a status that is not zero");

        assert_eq!(error.fault.map(|f| f.access), Some(Access::WRITE));
        assert!(error.to_string().ends_with(" at 0x1000"), "{error}");
    }

    #[test]
    fn only_a_bad_address_has_one() {
        let report = JobReport::from(sys::hmm_cdm_wait {
            status: -libc::EIO,
            fault_addr: 0x1000,
            ..Default::default()
        });

        assert_eq!(
            report.status,
            Err(JobError {
                errno: libc::EIO,
                fault: None
            })
        );
    }
}

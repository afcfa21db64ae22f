// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ioctl.

use hmmcdm_sys as sys;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// The argument of a command.
///
/// # Safety
///
/// `COMMAND` takes this structure, which is `repr(C)` and begins with its size.
pub(crate) unsafe trait Argument: Sized {
    /// The command.
    const COMMAND: u32;

    /// All zero except for the size.
    fn new() -> Self;
}

macro_rules! arguments {
    ($($name:ident: $command:ident,)*) => {$(
        // SAFETY: bindgen has made the structure from the header, which says that the command
        // takes it and that it begins with its size.
        unsafe impl Argument for sys::$name {
            const COMMAND: u32 = sys::$command;

            fn new() -> Self {
                Self {
                    size: size_of::<Self>() as u32,
                    ..Self::default()
                }
            }
        }
    )*};
}

arguments! {
    hmm_cdm_info: HMM_CDM_IOC_INFO,
    hmm_cdm_migrate: HMM_CDM_IOC_MIGRATE,
    hmm_cdm_query: HMM_CDM_IOC_QUERY,
    hmm_cdm_submit: HMM_CDM_IOC_SUBMIT,
    hmm_cdm_wait: HMM_CDM_IOC_WAIT,
    hmm_cdm_stats: HMM_CDM_IOC_STATS,
    hmm_cdm_populate: HMM_CDM_IOC_POPULATE,
    hmm_cdm_advise: HMM_CDM_IOC_ADVISE,
}

/// Makes the call that takes `arg`.
///
/// # Safety
///
/// Memory that `arg` names by address, for results or as arguments of a job, may be written to as
/// the header says.
pub(crate) unsafe fn call<T: Argument>(fd: BorrowedFd<'_>, arg: &mut T) -> io::Result<()> {
    // SAFETY: The kernel reads and writes as many bytes of `arg` as its `size` says, which is the
    // structure's size by `Argument`'s requirements. The caller answers for other memory.
    match unsafe { libc::ioctl(fd.as_raw_fd(), T::COMMAND as _, arg as *mut T) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

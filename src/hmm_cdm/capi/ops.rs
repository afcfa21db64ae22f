// SPDX-License-Identifier: GPL-2.0

//! `struct hmm_cdm_ops`: the operations of a driver in C.

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A driver's operations.
///
/// # Invariants
///
/// They are valid, and unchanged, until the device is unregistered. Name and owner are not null.
#[derive(Copy, Clone)]
pub(super) struct Ops(NonNull<bindings::hmm_cdm_ops>);

// SAFETY: The operations are only read.
unsafe impl Send for Ops {}
// SAFETY: As above.
unsafe impl Sync for Ops {}

impl Ops {
    /// # Safety
    ///
    /// `ops` is null, or as in the type's invariants, except that name and owner may be null.
    pub(super) unsafe fn new(ops: *const bindings::hmm_cdm_ops) -> Result<Self> {
        let ops = NonNull::new(ops.cast_mut()).ok_or(EINVAL)?;
        // SAFETY: By the safety requirements. The version is the first field of every version.
        let version = unsafe { (*ops.as_ptr()).version };
        if version != bindings::HMM_CDM_API_VERSION {
            pr_err!(
                "a driver is for version {version} of the interface, this is {}\n",
                bindings::HMM_CDM_API_VERSION
            );
            return Err(EPROTO);
        }

        // SAFETY: Its version is this one, so it has this type.
        let all = unsafe { ops.as_ref() };
        let halves = all.copy.is_some() != all.zero.is_some()
            || all.map.is_some() != all.invalidate.is_some();
        if all.flags != 0 || all.name.is_null() || all.owner.is_null() || halves {
            return Err(EINVAL);
        }
        // INVARIANT: Checked here.
        Ok(Self(ops))
    }

    pub(super) fn get(&self) -> &bindings::hmm_cdm_ops {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn name(&self) -> &CStr {
        // SAFETY: By the type invariants; the name is a string.
        unsafe { CStr::from_char_ptr(self.get().name) }
    }
}

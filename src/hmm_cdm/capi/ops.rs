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

// SAFETY: The structure is only read: by rule `ops` it does not change while the device is
// registered. The header lets the operations themselves run on any CPU ("contexts").
unsafe impl Send for Ops {}
// SAFETY: As above.
unsafe impl Sync for Ops {}

impl Ops {
    /// # Safety
    ///
    /// `ops` is null, or as in the type's invariants, except that name and owner may be null.
    pub(super) unsafe fn new(ops: *const bindings::hmm_cdm_ops) -> Result<Self> {
        let ops = NonNull::new(ops.cast_mut()).ok_or(EINVAL)?;
        // SAFETY: It is not null, so by the safety requirements it points to operations of some
        // version. The first field of each is the version.
        let version = unsafe { (*ops.as_ptr()).version };
        if version != bindings::HMM_CDM_API_VERSION {
            pr_err!(
                "a driver is for version {version} of the interface, this is {}\n",
                bindings::HMM_CDM_API_VERSION
            );
            return Err(EPROTO);
        }

        // SAFETY: As above; its version is this one, so it has this type.
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
        // SAFETY: By the type invariants it is valid while the device is registered. Rule `handle`
        // ensures that for calls of the driver. Otherwise the device has memory or mirrors, with
        // which `hmm_cdm_unregister_device()` fails.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn name(&self) -> &CStr {
        // SAFETY: `CStr::from_char_ptr()` requires a string that stays valid: the name is one by
        // rule `ops`, and not null by the type invariants.
        unsafe { CStr::from_char_ptr(self.get().name) }
    }
}

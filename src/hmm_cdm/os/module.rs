// SPDX-License-Identifier: GPL-2.0

//! Keeping a module loaded: `try_module_get()`.
//!
//! C file: `kernel/module/main.c`.

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A module that lives as long as what it registered.
#[derive(Copy, Clone)]
pub struct ModuleOwner(Option<NonNull<bindings::module>>);

// SAFETY: The C functions that get the pointer may be called by any task.
unsafe impl Send for ModuleOwner {}
// SAFETY: As above.
unsafe impl Sync for ModuleOwner {}

impl ModuleOwner {
    /// The owner of code in the module `module`.
    pub fn of(module: &'static ThisModule) -> Self {
        Self(NonNull::new(module.as_ptr()))
    }

    /// The owner of code in the C module `module`, or of built-in code if that is null.
    ///
    /// # Safety
    ///
    /// The pointer is valid as long as the value is used.
    pub(crate) unsafe fn from_raw(module: *mut bindings::module) -> Self {
        Self(NonNull::new(module))
    }
}

/// A reference that keeps a module from being unloaded.
///
/// # Invariants
///
/// The value owns one reference on the module.
pub struct ModuleRef(ModuleOwner);

impl ModuleRef {
    /// Takes a reference; ENODEV if the module is going away.
    pub fn get(owner: ModuleOwner) -> Result<Self> {
        let module = owner.0.map_or(core::ptr::null_mut(), NonNull::as_ptr);

        // SAFETY: The pointer is null, or valid while code of the module can run; it was given by
        // that module, which unregisters before it goes.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: Just taken.
            Ok(Self(owner))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        let module = self.0 .0.map_or(core::ptr::null_mut(), NonNull::as_ptr);

        // SAFETY: The value owns a reference.
        unsafe { bindings::module_put(module) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Keeping a module loaded: `try_module_get()`.
//!
//! C file: `kernel/module/main.c`.

use crate::bindings;
use kernel::prelude::*;

/// A reference that keeps a module from being unloaded.
///
/// # Invariants
///
/// The value owns one reference on the module.
pub struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference; ENODEV if the module is going away.
    pub fn get(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The pointer of a `ThisModule` is valid while code of the module can run, and the
        // caller was given the reference by that module, which unregisters before it goes.
        if unsafe { bindings::try_module_get(module.as_ptr()) } {
            // INVARIANT: Just taken.
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: The value owns a reference.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}

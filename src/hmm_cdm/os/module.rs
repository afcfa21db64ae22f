// SPDX-License-Identifier: GPL-2.0

//! Keeping a module loaded: `try_module_get()`.
//!
//! C file: `kernel/module/main.c`.

use crate::bindings;
use core::ptr::{
    null_mut,
    NonNull, //
};
use kernel::{
    prelude::*,
    sync::SetOnce, //
};

static LIBRARY: SetOnce<ModuleOwner> = SetOnce::new();

/// Sets the library's own module, once, in its init function.
pub(crate) fn set_library(module: &'static ThisModule) {
    LIBRARY.populate(ModuleOwner::of(module));
}

/// The module that contains a driver's callbacks, or none if they are built in.
#[derive(Copy, Clone)]
pub struct ModuleOwner(Option<NonNull<bindings::module>>);

// SAFETY: try_module_get() and module_put() may be called by any task.
unsafe impl Send for ModuleOwner {}
// SAFETY: As above; they count with atomics.
unsafe impl Sync for ModuleOwner {}

impl ModuleOwner {
    /// Returns the owner of code in `module`.
    pub fn of(module: &'static ThisModule) -> Self {
        Self(NonNull::new(module.as_ptr()))
    }

    /// Returns the owner of code in the C module `module`, or of built-in code if that is null.
    ///
    /// # Safety
    ///
    /// The pointer stays valid as long as the value is used.
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
    /// Takes a reference. ENODEV if the module is being unloaded.
    pub fn get(owner: ModuleOwner) -> Result<Self> {
        let module = owner.0.map_or(null_mut(), NonNull::as_ptr);

        // SAFETY: `try_module_get()` requires null or a valid module. Before a module is unloaded,
        // it unregisters everything that it has given the owner to.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: Just taken.
            Ok(Self(owner))
        } else {
            Err(ENODEV)
        }
    }

    /// Takes a reference on the library's own module. ENODEV if it is being unloaded.
    pub(crate) fn library() -> Result<Self> {
        Self::get(LIBRARY.copy().ok_or(ENODEV)?)
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        let module = self.0 .0.map_or(null_mut(), NonNull::as_ptr);

        // SAFETY: By the type invariants the value owns the reference that is dropped here.
        unsafe { bindings::module_put(module) };
    }
}

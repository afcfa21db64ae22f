// SPDX-License-Identifier: GPL-2.0

//! Names for memory without a device file: `<driver>.<N>`.
//!
//! A driver may register several such devices under one name, but the dmem controller knows a
//! region by its name alone, so each needs a name of its own.

use kernel::{
    prelude::*,
    str::CString, //
};

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before any device can be registered.
    pub(crate) unsafe(uninit) static IN_USE: Mutex<KVec<u32>> = KVec::new();
}

/// A number that no other instance has at the same time.
pub(super) struct Instance(u32);

impl Instance {
    /// Takes the lowest free number. ENOMEM. Sleeps.
    pub(super) fn new() -> Result<Self> {
        let mut in_use = IN_USE.lock();
        let mut number = 0;

        while in_use.contains(&number) {
            number += 1;
        }
        in_use.push(number, GFP_KERNEL)?;
        Ok(Self(number))
    }

    /// Returns the instance's name for a driver called `driver`. ENOMEM.
    pub(super) fn name(&self, driver: &CStr) -> Result<CString> {
        CString::try_from_fmt(fmt!("{driver}.{}", self.0))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock();

        in_use.retain(|number| *number != self.0);
        if in_use.is_empty() {
            // Statics are not dropped with the module, so it must not own memory then.
            *in_use = KVec::new();
        }
    }
}

#[kunit_tests(hmm_cdm_instance)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_a_driver_have_names_of_their_own() -> Result {
        let (first, second) = (Instance::new()?, Instance::new()?);
        let (a, b) = (first.name(c"driver")?, second.name(c"driver")?);

        assert!(a.to_bytes() != b.to_bytes());
        assert!(a.to_bytes().starts_with(b"driver."));
        // A name is free again with its instance.
        drop(first);
        let third = Instance::new()?;
        assert_eq!(third.name(c"driver")?.to_bytes(), a.to_bytes());
        Ok(())
    }
}

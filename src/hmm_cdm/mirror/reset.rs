// SPDX-License-Identifier: GPL-2.0

//! Device resets, and what they do to the device's mirrors.
//!
//! A device that hangs is reset, and starts with an empty page table again. Its earlier mappings
//! must be considered lost. The content of its memory belongs to the processes, which go on using
//! it: coherent memory does not depend on the device's engines.
//!
//! `Health::state`, a mutex, is taken with no other lock held. `Mirror::indexes` and the locks of
//! intervals are taken under it.

use super::Mirror;
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    },
};

struct State {
    // Number of resets under way.
    resets: usize,
    // The mirrors of open files.
    mirrors: KVec<Arc<Mirror>>,
}

/// Whether a device works. Its driver sets that, and can wait until a reset is over.
#[pin_data]
pub struct Health {
    #[pin]
    state: Mutex<State>,
    #[pin]
    works: CondVar,
}

impl Health {
    /// Makes the health of a device that works. ENOMEM.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(State { resets: 0, mirrors: KVec::new() }, "Health::state"),
                works <- new_condvar!("Health::works"),
            }),
            GFP_KERNEL,
        )
    }

    /// Begins a reset of the device, which lasts until the returned value is dropped. It may be
    /// kept for ever if the device does not come back. Sleeps.
    ///
    /// When this returns, no mirror of the device has entries, an attached page table has seen them
    /// all invalidated, and no access through a mirror is under way. No entries are made until the
    /// end of the reset: faults and `HMM_CDM_IOC_SUBMIT` return EIO. Jobs are the driver's: it
    /// completes lost ones with EIO.
    ///
    /// A fault that sleeps until the process has answered it is left alone. It ends with EIO if the
    /// answer comes during the reset, and goes on if it comes later.
    pub fn begin_reset(&self) -> Reset<'_> {
        let mut state = self.state.lock();

        state.resets += 1;
        if state.resets == 1 {
            for mirror in &state.mirrors {
                mirror.suspend();
            }
        }
        Reset(self)
    }

    fn end_reset(&self) {
        let mut state = self.state.lock();

        state.resets -= 1;
        if state.resets == 0 {
            for mirror in &state.mirrors {
                mirror.resume();
            }
            self.works.notify_all();
        }
    }

    /// Returns EIO while the device is being reset. Sleeps.
    pub fn check(&self) -> Result {
        if self.state.lock().resets > 0 {
            Err(EIO)
        } else {
            Ok(())
        }
    }

    /// Waits until no reset is under way. Whoever ends the reset must not call it.
    pub fn wait(&self) {
        let mut state = self.state.lock();

        while state.resets > 0 {
            self.works.wait(&mut state);
        }
    }
}

/// A reset under way. Dropping it ends the reset; sleeps.
pub struct Reset<'a>(&'a Health);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.end_reset();
    }
}

/// A mirror in the list of its device, which it is removed from when this is dropped; sleeps.
pub(crate) struct Member {
    health: Arc<Health>,
    mirror: Arc<Mirror>,
}

impl Member {
    /// Adds a mirror to the list. ENOMEM.
    pub(crate) fn new(health: Arc<Health>, mirror: Arc<Mirror>) -> Result<Self> {
        let mut state = health.state.lock();

        state.mirrors.push(mirror.clone(), GFP_KERNEL)?;
        if state.resets > 0 {
            mirror.suspend();
        }
        drop(state);
        Ok(Self { health, mirror })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.health.state.lock();
        let index = state
            .mirrors
            .iter()
            .position(|mirror| Arc::ptr_eq(mirror, &self.mirror));
        let mirror = index.and_then(|i| state.mirrors.remove(i).ok());

        drop(state);
        // Without the lock: if this is the last reference, it removes notifiers, which sleeps.
        drop(mirror);
    }
}

#[kunit_tests(hmm_cdm_reset)]
mod tests {
    use super::*;

    #[test]
    fn a_device_works_before_the_first_and_after_the_last_reset() -> Result {
        let health = Health::new()?;

        assert_eq!(health.check(), Ok(()));
        health.wait();
        let first = health.begin_reset();
        let second = health.begin_reset();
        assert_eq!(health.check(), Err(EIO));
        drop(first);
        assert_eq!(health.check(), Err(EIO));
        drop(second);
        assert_eq!(health.check(), Ok(()));
        health.wait();
        Ok(())
    }
}

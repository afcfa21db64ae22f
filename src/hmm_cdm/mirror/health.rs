// SPDX-License-Identifier: GPL-2.0

//! Whether a device works, and what happens to its mirrors while it does not.
//!
//! A device that hangs is reset, and begins with an empty page table then. What it has mapped until
//! then it must not be taken to have any more; what it has in its memory is the processes', which go
//! on with it: coherent memory does not depend on the device's engines.
//!
//! `Health::state`, a mutex, is taken with no other lock held. Taken inside of it are those of the
//! mirrors: `Mirror::indexes` and the locks of intervals.

use super::Mirror;
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
};

struct State {
    // Resets under way.
    resets: usize,
    // Those that can be opened and used at the moment.
    mirrors: KVec<Arc<Mirror>>,
}

/// Where a driver says that its device does not work, and waits until it does again.
#[pin_data]
pub struct Health {
    #[pin]
    state: Mutex<State>,
    #[pin]
    works: CondVar,
}

impl Health {
    /// Of a device that works. ENOMEM.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(State { resets: 0, mirrors: KVec::new() }, "Health::state"),
                works <- new_condvar!("Health::works"),
            }),
            GFP_KERNEL,
        )
    }

    /// The device is being reset from here on, until what is returned is dropped; it may be kept for
    /// ever, if the device does not come back. Sleeps.
    ///
    /// When this returns no mirror of the device has an entry any more, a page table that was
    /// attached has been told so, and no access through a mirror is under way. Until the end of the
    /// reset none gets one: faults end with EIO, and `HMM_CDM_IOC_SUBMIT` does. Jobs are the
    /// driver's: it completes those with EIO that are lost.
    ///
    /// A fault that sleeps, since the process is to answer it, is left alone. It ends with EIO if
    /// the answer comes during the reset, and goes on if it comes later.
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

    /// EIO while the device is being reset. Sleeps.
    pub fn check(&self) -> Result {
        if self.state.lock().resets > 0 {
            Err(EIO)
        } else {
            Ok(())
        }
    }

    /// Waits for the end of a reset, if there is one. It is for what goes on then, and not to be
    /// called by whoever ends it.
    pub fn wait(&self) {
        let mut state = self.state.lock();

        while state.resets > 0 {
            self.works.wait(&mut state);
        }
    }
}

/// A reset under way. Dropping it is its end; sleeps.
pub struct Reset<'a>(&'a Health);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.end_reset();
    }
}

/// A mirror in the list of its device. Dropping it takes it out; sleeps.
pub(crate) struct Member {
    health: Arc<Health>,
    mirror: Arc<Mirror>,
}

impl Member {
    /// Adds a mirror. ENOMEM.
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
        let own = state
            .mirrors
            .iter()
            .position(|mirror| Arc::ptr_eq(mirror, &self.mirror));
        let mirror = own.and_then(|i| state.mirrors.remove(i).ok());

        drop(state);
        // Removing notifiers sleeps, should this have been the last reference.
        drop(mirror);
    }
}

#[kunit_tests(hmm_cdm_health)]
mod tests {
    use super::*;

    #[test]
    fn a_device_works_until_it_is_reset_and_after_the_last() -> Result {
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

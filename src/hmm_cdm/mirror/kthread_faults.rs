// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that are in a fault, which may sleep for as long as the process likes: a
//! userfaultfd that does not answer, and may be the very process that waits, in exit(2), for the
//! device to let go of the mirror.

use crate::os::kthread::Interruptible;
use kernel::{new_mutex, prelude::*, sync::Mutex};

/// The threads.
#[pin_data]
pub(super) struct KthreadFaults {
    #[pin]
    threads: Mutex<KVec<Interruptible>>,
}

/// A fault under way.
pub(super) struct KthreadFault<'a>(Option<&'a KthreadFaults>);

impl KthreadFaults {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self { threads <- new_mutex!(KVec::new(), "KthreadFaults::threads") })
    }

    /// The current task begins a fault. A process has its own signals; a kernel thread is noted.
    /// ENOMEM.
    pub(super) fn enter(&self) -> Result<KthreadFault<'_>> {
        let Some(thread) = Interruptible::current() else {
            return Ok(KthreadFault(None));
        };

        self.threads.lock().push(thread, GFP_KERNEL)?;
        Ok(KthreadFault(Some(self)))
    }

    /// Ends the sleep of all of them. Whoever begins to wait after this has to look first why it was
    /// called.
    pub(super) fn interrupt(&self) {
        for thread in self.threads.lock().iter() {
            thread.interrupt();
        }
    }
}

impl Drop for KthreadFault<'_> {
    fn drop(&mut self) {
        let Some(kthread_faults) = self.0 else { return };
        let mut threads = kthread_faults.threads.lock();

        // The thread may be in two faults, one in the other's driver: either will do.
        let own = threads.iter().position(Interruptible::is_current);
        let thread = own.and_then(|i| threads.remove(i).ok());
        drop(threads);
        drop(thread);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Interrupts faults of kernel threads.
//!
//! A fault on memory that is registered with a userfaultfd sleeps until the process answers it,
//! perhaps for ever: the process may be in exit(2), waiting for the device to release the mirror. A
//! signal ends the wait of a user task; in a driver's kernel thread, this does.

use crate::os::kthread::Interruptible;
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// The kernel threads that are in a fault on a mirror.
#[pin_data]
pub(super) struct KthreadFaults {
    #[pin]
    threads: Mutex<KVec<Interruptible>>,
}

/// A fault of the current task. Dropping it ends the fault.
pub(super) struct KthreadFault<'a>(Option<&'a KthreadFaults>);

impl KthreadFaults {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self { threads <- new_mutex!(KVec::new(), "KthreadFaults::threads") })
    }

    /// Begins a fault of the current task, which can be interrupted if the task is a kernel thread.
    /// ENOMEM.
    pub(super) fn enter(&self) -> Result<KthreadFault<'_>> {
        let Some(thread) = Interruptible::current() else {
            return Ok(KthreadFault(None));
        };

        self.threads.lock().push(thread, GFP_KERNEL)?;
        Ok(KthreadFault(Some(self)))
    }

    /// Interrupts all faults under way. Those that begin later are not interrupted, so the caller
    /// first sets what they check.
    pub(super) fn interrupt(&self) {
        for thread in self.threads.lock().iter_mut() {
            thread.interrupt();
        }
    }
}

impl Drop for KthreadFault<'_> {
    fn drop(&mut self) {
        let Some(faults) = self.0 else { return };
        let mut threads = faults.threads.lock();

        // The last one of this thread: a driver may fault again in an operation that a fault calls.
        let last = threads.iter().rposition(Interruptible::is_current);
        let thread = last.and_then(|i| threads.remove(i).ok());
        drop(threads);
        drop(thread);
    }
}

#[kunit_tests(hmm_cdm_faults)]
mod tests {
    use super::*;
    use crate::os::{
        fatal_signal_pending,
        kthread::{
            Thread,
            ThreadBody, //
        },
    };
    use kernel::sync::{
        Arc,
        Completion, //
    };

    fn new_faults() -> Result<Pin<KBox<KthreadFaults>>> {
        KBox::pin_init(KthreadFaults::new(), GFP_KERNEL)
    }

    #[test]
    fn a_fault_in_a_fault_leaves_the_outer_one_interruptible() -> Result {
        let faults = new_faults()?;
        let outer = faults.enter()?;
        let inner = faults.enter()?;

        faults.interrupt();
        assert!(fatal_signal_pending());
        drop(inner);
        faults.interrupt();
        assert!(fatal_signal_pending());
        drop(outer);
        assert!(!fatal_signal_pending());
        assert!(faults.threads.lock().is_empty());
        Ok(())
    }

    /// A thread that faults on two mirrors, one of which retires meanwhile.
    #[pin_data]
    struct TwoMirrors {
        #[pin]
        retired: KthreadFaults,
        #[pin]
        other: KthreadFaults,
        #[pin]
        result: Mutex<Option<[bool; 2]>>,
        #[pin]
        done: Completion,
    }

    impl ThreadBody for TwoMirrors {
        fn run(&self) {
            let pending = |faults: &KthreadFaults, interrupt: bool| {
                let _fault = faults.enter().ok();

                if interrupt {
                    faults.interrupt();
                }
                fatal_signal_pending()
            };

            *self.result.lock() = Some([pending(&self.retired, true), pending(&self.other, false)]);
            self.done.complete_all();
        }

        fn stop(&self) {}
    }

    #[test]
    fn an_interrupted_fault_leaves_the_thread_usable() -> Result {
        let body = Arc::pin_init(
            pin_init!(TwoMirrors {
                retired <- KthreadFaults::new(),
                other <- KthreadFaults::new(),
                result <- new_mutex!(None),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let thread = Thread::spawn(c"hmm_cdm test", 4, body.clone())?;

        body.done.wait_for_completion();
        assert_eq!(*body.result.lock(), Some([true, false]));
        drop(thread);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Kernel threads: `kthread_create()`, `kthread_stop_put()`.
//!
//! C file: `kernel/kthread.c`.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

/// The work of a kernel thread.
pub trait ThreadBody: Send + Sync + 'static {
    /// Runs in the thread, which ends when this returns. It must return soon after [`Self::stop`]
    /// was called. Killable waits end with EINTR from then on, such as that of a page fault for a
    /// userfaultfd.
    fn run(&self);

    /// Tells [`Self::run`] to return, and wakes it if it sleeps. Called once.
    fn stop(&self);
}

/// A kernel thread. Dropping it stops the thread and waits until it has ended.
///
/// # Examples
///
/// ```ignore
/// impl ThreadBody for Engine {
///     fn run(&self) {
///         while let Some(job) = self.next_job() {
///             job.run();
///         }
///     }
///
///     fn stop(&self) {
///         self.state.lock().stop = true;
///         self.changed.notify_all();
///     }
/// }
///
/// let thread = Thread::spawn(c"engine", 0, engine.clone())?;
/// ```
///
/// # Invariants
///
/// `task` is a kthread that runs [`Self::main`] on `body`, or has done so. The value owns a
/// reference to the `task_struct`, which therefore stays valid if the thread ends by itself.
pub struct Thread<T: ThreadBody> {
    task: NonNull<bindings::task_struct>,
    body: Arc<T>,
}

// SAFETY: `kthread_stop_put()` may be called by any task, and `body` is `Send` and `Sync`.
unsafe impl<T: ThreadBody> Send for Thread<T> {}
// SAFETY: A shared reference has no methods.
unsafe impl<T: ThreadBody> Sync for Thread<T> {}

impl<T: ThreadBody> Thread<T> {
    /// Starts a thread called `name/nr`. ENOMEM, EINTR.
    pub fn spawn(name: &CStr, nr: u32, body: Arc<T>) -> Result<Self> {
        Self::start(name, nr, body, false)
    }

    /// Starts a thread that works for the current process: device memory that it allocates is
    /// charged to the cgroup that the process is in now (see [`super::dmem`]). The thread does not
    /// follow the process to another cgroup, and while it exists its cgroup cannot be removed.
    /// Errors are those of [`Self::spawn`], and those of joining the cgroup.
    pub fn spawn_for_process(name: &CStr, nr: u32, body: Arc<T>) -> Result<Self> {
        Self::start(name, nr, body, true)
    }

    fn start(name: &CStr, nr: u32, body: Arc<T>, join: bool) -> Result<Self> {
        // SAFETY: The helper makes `main()` the function of a kernel thread, as it requires, and
        // copies the name. `main()` requires a `T` that outlives the thread: the value drops its
        // reference after `drop()` has waited for the thread's end, or never if it is leaked.
        let task = from_err_ptr(unsafe {
            bindings::hmm_cdm_helper_kthread_run(
                Some(Self::main),
                core::ptr::from_ref(&*body).cast_mut().cast(),
                name.as_char_ptr(),
                nr,
                join,
            )
        })?;

        // INVARIANT: The helper has taken a reference to the task.
        Ok(Self {
            task: NonNull::new(task).ok_or(ENOMEM)?,
            body,
        })
    }

    /// # Safety
    ///
    /// Called by `kthread()` in kernel/kthread.c, as the function of a new kernel thread. `body`
    /// points to a `T` that outlives the thread.
    unsafe extern "C" fn main(body: *mut c_void) -> c_int {
        // SAFETY: `allow_kernel_signal()` changes the current task, which by the safety
        // requirements is a new kernel thread of ours.
        unsafe { bindings::hmm_cdm_helper_kthread_allow_interrupt() };
        // SAFETY: By the safety requirements it is valid while the thread runs. It is only used by
        // shared reference.
        unsafe { &*body.cast::<T>() }.run();
        0
    }
}

impl<T: ThreadBody> Drop for Thread<T> {
    fn drop(&mut self) {
        self.body.stop();
        // SAFETY: `kthread_stop_put()` requires a kthread, and a reference, which it drops. By the
        // type invariants the task is one, and the value owns the reference.
        unsafe { bindings::hmm_cdm_helper_kthread_stop_put(self.task.as_ptr()) };
    }
}

/// The current kernel thread, whose killable waits can be interrupted while the value lives.
/// Otherwise kernel threads ignore signals.
///
/// Dropping it restores the thread's earlier state. An interrupt that came meanwhile is discarded,
/// unless it came from the drop of its [`Thread`].
///
/// # Invariants
///
/// The value owns a reference to `task`, a kernel thread that allows SIGKILL from the kernel.
/// Dropped by another task, which is a bug, the value changes no signals of either.
pub(crate) struct Interruptible {
    task: NonNull<bindings::task_struct>,
    allowed_here: bool,
    interrupted: bool,
}

// SAFETY: `send_sig()` may be called by any task.
unsafe impl Send for Interruptible {}

impl Interruptible {
    /// Returns the current thread; `None` if it is not a kernel thread.
    pub(crate) fn current() -> Option<Self> {
        let mut allowed_here = false;
        // SAFETY: The helper changes the current task, and takes a reference to it.
        let task = unsafe { bindings::hmm_cdm_helper_kthread_begin_wait(&mut allowed_here) };

        // INVARIANT: The helper has allowed the signal, and taken a reference.
        NonNull::new(task).map(|task| Self {
            task,
            allowed_here,
            interrupted: false,
        })
    }

    /// Returns whether it is the current thread.
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: The helper compares pointers.
        unsafe { bindings::hmm_cdm_helper_is_current(self.task.as_ptr()) }
    }

    /// Interrupts a killable wait of the thread, as a fatal signal does in a process. Waits that
    /// begin after the value was dropped are not affected.
    pub(crate) fn interrupt(&mut self) {
        self.interrupted = true;
        // SAFETY: By the type invariants the value owns a reference to the task, which `send_sig()`
        // requires to be valid.
        unsafe { bindings::hmm_cdm_helper_kthread_interrupt(self.task.as_ptr()) };
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the value owns the reference that is dropped here. The
        // helper checks that this is the thread.
        unsafe {
            bindings::hmm_cdm_helper_kthread_end_wait(
                self.task.as_ptr(),
                self.allowed_here,
                self.interrupted,
            )
        };
    }
}

#[kunit_tests(hmm_cdm_kthread)]
mod tests {
    use super::*;
    use kernel::{
        new_condvar, new_mutex,
        sync::{
            Completion,
            CondVar,
            Mutex, //
        },
    };

    #[derive(Copy, Clone, Default)]
    struct State {
        started: bool,
        stop: bool,
        ended: bool,
    }

    #[pin_data]
    struct Body {
        // Returns without waiting for `stop()`.
        short: bool,
        #[pin]
        state: Mutex<State>,
        #[pin]
        changed: CondVar,
    }

    impl Body {
        fn new(short: bool) -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    short,
                    state <- new_mutex!(State::default()),
                    changed <- new_condvar!(),
                }),
                GFP_KERNEL,
            )
        }

        fn wait_for(&self, is: impl Fn(&State) -> bool) {
            let mut state = self.state.lock();

            while !is(&state) {
                self.changed.wait(&mut state);
            }
        }
    }

    impl ThreadBody for Body {
        fn run(&self) {
            self.state.lock().started = true;
            self.changed.notify_all();
            if !self.short {
                self.wait_for(|state| state.stop);
            }
            self.state.lock().ended = true;
            self.changed.notify_all();
        }

        fn stop(&self) {
            self.state.lock().stop = true;
            self.changed.notify_all();
        }
    }

    #[test]
    fn dropping_a_thread_waits_for_its_end() -> Result {
        let body = Body::new(false)?;
        let thread = Thread::spawn(c"hmm_cdm test", 1, body.clone())?;

        body.wait_for(|state| state.started);
        assert!(!body.state.lock().ended);
        drop(thread);
        assert!(body.state.lock().ended);
        Ok(())
    }

    #[test]
    fn a_thread_may_end_before_it_is_dropped() -> Result {
        let body = Body::new(true)?;
        let thread = Thread::spawn(c"hmm_cdm test", 2, body.clone())?;

        body.wait_for(|state| state.ended);
        drop(thread);
        // `stop()` is still called.
        assert!(body.state.lock().stop);
        Ok(())
    }

    #[pin_data]
    struct Waiting {
        #[pin]
        waiter: Mutex<Option<bool>>,
        #[pin]
        changed: CondVar,
    }

    impl ThreadBody for Waiting {
        fn run(&self) {
            // `Thread` has allowed the signal, which stays allowed.
            let waiter = Interruptible::current();
            let current = waiter.as_ref().is_some_and(Interruptible::is_current);
            let kept = waiter.is_some_and(|waiter| !waiter.allowed_here);

            *self.waiter.lock() = Some(current && kept);
            self.changed.notify_all();
        }

        fn stop(&self) {}
    }

    #[test]
    fn a_thread_of_ours_can_be_interrupted_before_and_after() -> Result {
        let body = Arc::pin_init(
            pin_init!(Waiting {
                waiter <- new_mutex!(None),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )?;
        let thread = Thread::spawn(c"hmm_cdm test", 3, body.clone())?;
        let mut seen = body.waiter.lock();

        while seen.is_none() {
            body.changed.wait(&mut seen);
        }
        assert_eq!(*seen, Some(true));
        drop(seen);
        drop(thread);
        Ok(())
    }

    #[test]
    fn the_signal_is_gone_after_the_wait() -> Result {
        // Tests run in a kernel thread, which ignores signals.
        let mut waiter = Interruptible::current().ok_or(EINVAL)?;

        assert!(waiter.is_current() && waiter.allowed_here);
        assert!(!crate::os::fatal_signal_pending());
        waiter.interrupt();
        assert!(crate::os::fatal_signal_pending());
        drop(waiter);
        assert!(!crate::os::fatal_signal_pending());
        Ok(())
    }

    /// A thread that is interrupted in a wait, and stopped during it if `stopped` is set.
    #[pin_data]
    struct Interrupted {
        stopped: bool,
        #[pin]
        pending: Mutex<Option<[bool; 2]>>,
        #[pin]
        started: Completion,
        #[pin]
        done: Completion,
    }

    impl Interrupted {
        fn new(stopped: bool) -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    stopped,
                    pending <- new_mutex!(None),
                    started <- Completion::new(),
                    done <- Completion::new(),
                }),
                GFP_KERNEL,
            )
        }
    }

    impl ThreadBody for Interrupted {
        fn run(&self) {
            let mut wait = Interruptible::current();

            if let Some(wait) = &mut wait {
                wait.interrupt();
            }
            self.started.complete_all();
            // SAFETY: `kthread_should_stop()` requires a kernel thread, in which `run()` is called.
            while self.stopped && !unsafe { bindings::kthread_should_stop() } {
                crate::os::cond_resched();
            }
            let during = crate::os::fatal_signal_pending();
            drop(wait);
            *self.pending.lock() = Some([during, crate::os::fatal_signal_pending()]);
            self.done.complete_all();
        }

        fn stop(&self) {}
    }

    #[test]
    fn an_interrupt_ends_with_the_wait() -> Result {
        let body = Interrupted::new(false)?;
        let thread = Thread::spawn(c"hmm_cdm test", 4, body.clone())?;

        body.done.wait_for_completion();
        assert_eq!(*body.pending.lock(), Some([true, false]));
        drop(thread);
        Ok(())
    }

    #[test]
    fn the_interrupt_of_a_threads_end_outlasts_a_wait() -> Result {
        let body = Interrupted::new(true)?;
        let thread = Thread::spawn(c"hmm_cdm test", 5, body.clone())?;

        // A thread that is stopped before it has run never runs.
        body.started.wait_for_completion();
        drop(thread);
        assert_eq!(*body.pending.lock(), Some([true, true]));
        Ok(())
    }
}

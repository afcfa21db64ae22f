// SPDX-License-Identifier: GPL-2.0

//! Helpers for the wrappers' tests: address spaces with memory, and expected warnings of the
//! kernel.
//!
//! C files: `lib/kunit/user_alloc.c`, `lib/kunit/bug.c`.

use super::Span;
use crate::{
    bindings,
    os::kthread::{
        Thread,
        ThreadBody, //
    }, //
};
use core::ptr::{
    null_mut,
    NonNull, //
};
use kernel::{
    current,
    error::to_result,
    mm::MmWithUser,
    new_condvar, new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        CondVar,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// Returns the test that the current task runs. ENOENT if there is none.
fn current_test() -> Result<NonNull<bindings::kunit>> {
    // SAFETY: `kunit_get_current_test()` reads a field of the current task.
    NonNull::new(unsafe { bindings::kunit_get_current_test() }).ok_or(ENOENT)
}

/// Anonymous memory in the test's own address space. The first call of [`Self::map`] creates that
/// address space, which is `current!().mm()` from then on and goes with the test's thread.
pub(crate) struct UserMemory(Span);

impl UserMemory {
    /// Maps `pages` untouched pages.
    pub(crate) fn map(pages: usize) -> Result<Self> {
        let test = current_test()?;
        let access = bindings::PROT_READ | bindings::PROT_WRITE;
        let kind = bindings::MAP_PRIVATE | bindings::MAP_ANONYMOUS;
        let len = pages << PAGE_SHIFT;

        // SAFETY: `kunit_attach_mm()` requires a thread that has no other use for an address space,
        // and `kunit_vm_mmap()` the current test.
        let addr = unsafe {
            to_result(bindings::kunit_attach_mm())?;
            bindings::kunit_vm_mmap(
                test.as_ptr(),
                null_mut(),
                0,
                len,
                access as usize,
                kind as usize,
                0,
            )
        };
        // An error is zero, or not a multiple of the page size.
        if addr == 0 {
            return Err(ENOMEM);
        }
        let end = addr.checked_add(len).ok_or(ENOMEM)?;
        Span::new(addr, end).map(Self).ok_or(ENOMEM)
    }

    /// Returns its addresses.
    pub(crate) fn span(&self) -> Span {
        self.0
    }

    /// Returns the addresses of pages `first..end`.
    pub(crate) fn pages(&self, first: usize, end: usize) -> Result<Span> {
        let at = |page| self.0.start() + (page << PAGE_SHIFT);

        Span::new(at(first), at(end)).ok_or(EINVAL)
    }

    /// Unmaps a part of it.
    pub(crate) fn unmap(&self, part: Span) -> Result {
        // SAFETY: The task has had an address space since `map()`. Nothing else uses the memory.
        to_result(unsafe { bindings::vm_munmap(part.start(), part.end() - part.start()) })
    }

    fn word(&self, page: usize) -> UserSlice {
        let addr = self.0.start() + page * PAGE_SIZE;

        UserSlice::new(UserPtr::from_addr(addr), size_of::<u64>())
    }

    /// Writes to a page, as the process would.
    pub(crate) fn write(&self, page: usize, value: u64) -> Result {
        self.word(page).writer().write(&value)
    }

    /// Reads from a page, as the process would.
    pub(crate) fn read(&self, page: usize) -> Result<u64> {
        self.word(page).reader().read()
    }
}

/// A thread that creates an address space for itself and passes on a reference.
#[pin_data]
struct MmMaker {
    #[pin]
    made: Mutex<Option<Result<ARef<MmWithUser>>>>,
    #[pin]
    changed: CondVar,
}

impl ThreadBody for MmMaker {
    fn run(&self) {
        // SAFETY: `kunit_attach_mm()` requires a kernel thread without an address space, and this
        // one has no other use for one.
        let attached = to_result(unsafe { bindings::kunit_attach_mm() });
        let current = current!();
        let mm = attached.and_then(|()| current.mm().map(ARef::from).ok_or(ESRCH));

        *self.made.lock() = Some(mm);
        self.changed.notify_all();
    }

    fn stop(&self) {}
}

/// Makes an empty address space that is not the test's.
pub(crate) fn other_mm() -> Result<ARef<MmWithUser>> {
    let maker = Arc::pin_init(
        pin_init!(MmMaker {
            made <- new_mutex!(None),
            changed <- new_condvar!(),
        }),
        GFP_KERNEL,
    )?;
    let _thread = Thread::spawn(c"hmm_cdm test", 0, maker.clone())?;
    let mut made = maker.made.lock();

    loop {
        if let Some(mm) = made.take() {
            return mm;
        }
        maker.changed.wait(&mut made);
    }
}

/// Runs `with`, and returns its result and the number of the kernel's warnings, which are not
/// logged.
pub(crate) fn expect_warnings<R>(with: impl FnOnce() -> R) -> Result<(R, i32)> {
    let test = current_test()?.as_ptr();
    // SAFETY: The test is the current one.
    let handle = unsafe { bindings::kunit_start_suppress_warning(test) };
    if handle.is_null() {
        return Err(ENOMEM);
    }

    let result = with();

    // SAFETY: The handle is valid until it is ended.
    let count = unsafe { bindings::kunit_suppressed_warning_count(handle) };
    // SAFETY: The handle came from the same test, and is not used again.
    unsafe { bindings::kunit_end_suppress_warning(test, handle) };
    Ok((result, count))
}

// SPDX-License-Identifier: GPL-2.0

//! Page faults of the CPU on private device memory: `struct vm_fault`, in `migrate_to_ram`.
//!
//! C files: `mm/memory.c` (`do_swap_page()`), `mm/huge_memory.c` (`do_huge_pmd_device_private()`).

use super::{
    folio::Pfn,
    vma::Mapping, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    mm::{
        virt::VmaRef,
        Mm, //
    },
    page::PAGE_SIZE,
    sync::aref::ARef, //
};

/// A fault of the CPU on a page of private memory.
///
/// # Invariants
///
/// For `'a`, `vmf` is the fault that `migrate_to_ram` was called for: the caller has locked its
/// page, holds a reference to it, and holds the mmap lock for reading (these faults are not handled
/// under a vma lock alone).
pub struct CpuFault<'a> {
    vmf: NonNull<bindings::vm_fault>,
    _call: PhantomData<&'a ()>,
}

/// How a fault ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The page is in system memory, or something has changed: the CPU retries. Without progress
    /// this is allowed only if something else makes progress.
    Again,
    /// Something else makes progress and may need the mmap lock: the CPU retries, and drops the
    /// lock in between if the fault allows that. Retries that keep the lock, as
    /// `__get_user_pages()` would, could starve a writer that waits for it.
    Later,
    /// No system memory was free.
    NoMemory,
    /// The device could not provide the content: SIGBUS.
    Lost,
    /// The device memory was damaged: SIGBUS with `BUS_MCEERR_AR`.
    Damaged,
}

impl FaultOutcome {
    /// Ends the fault, and returns the kernel's result code for it.
    pub(super) fn end(self, fault: CpuFault<'_>) -> bindings::vm_fault_t {
        match self {
            FaultOutcome::Again => 0,
            // SAFETY: The helper requires the mmap lock, which is held by the type invariants. It
            // may drop the lock, after which the mapping may be gone, but the fault is consumed
            // here, and the caller of the operation only unlocks and puts the page.
            FaultOutcome::Later => unsafe {
                bindings::hmm_cdm_helper_fault_retry(fault.vmf.as_ptr())
            },
            FaultOutcome::NoMemory => bindings::vm_fault_reason_VM_FAULT_OOM,
            FaultOutcome::Lost => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            FaultOutcome::Damaged => bindings::vm_fault_reason_VM_FAULT_HWPOISON,
        }
    }
}

impl CpuFault<'_> {
    /// # Safety
    ///
    /// `vmf` is not null, and meets the type's invariants as long as the value lives.
    pub(super) unsafe fn from_raw(vmf: *mut bindings::vm_fault) -> Self {
        // SAFETY: By the safety requirements it is not null.
        let vmf = unsafe { NonNull::new_unchecked(vmf) };

        // INVARIANT: By the safety requirements.
        Self {
            vmf,
            _call: PhantomData,
        }
    }

    /// Returns the page.
    pub(super) fn page(&self) -> *mut bindings::page {
        // SAFETY: By the type invariants the fault is valid.
        unsafe { (*self.vmf.as_ptr()).page }
    }

    /// Returns the folio of the page.
    pub(super) fn folio(&self) -> *mut bindings::folio {
        // SAFETY: By the type invariants there is a reference to the page.
        unsafe { bindings::hmm_cdm_helper_page_folio(self.page()) }
    }

    /// Returns whether the page is huge and mapped in one piece.
    pub fn is_huge(&self) -> bool {
        // SAFETY: By the type invariants the fault is valid.
        unsafe { bindings::hmm_cdm_helper_fault_is_huge(self.vmf.as_ptr()) }
    }

    /// Returns whether the page is part of a huge page, however that huge page is mapped.
    pub fn is_in_huge(&self) -> bool {
        // SAFETY: By the type invariants the page is locked, so its folio is not split.
        unsafe { bindings::hmm_cdm_helper_folio_order(self.folio()) > 0 }
    }

    /// Returns the first frame of the page, or of the huge page that it is part of.
    pub(crate) fn frame(&self) -> Pfn {
        // SAFETY: By the type invariants the page is in use, so its frame has a `struct page`.
        unsafe { Pfn::new(bindings::hmm_cdm_helper_folio_pfn(self.folio())) }
    }

    /// Returns whether the page is marked as damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        // SAFETY: By the type invariants there is a reference to the page.
        unsafe { bindings::hmm_cdm_helper_page_is_damaged(self.page()) }
    }

    /// Returns the faulting address, rounded down to its page.
    pub fn address(&self) -> usize {
        // SAFETY: By the type invariants the fault is valid.
        unsafe { bindings::hmm_cdm_helper_fault_address(self.vmf.as_ptr()) & !(PAGE_SIZE - 1) }
    }

    /// Returns the mapping of the address.
    pub(crate) fn mapping(&self) -> Mapping<'_> {
        // SAFETY: By the type invariants the mmap lock is held for longer than `self`, so the vma
        // is valid.
        let vma =
            unsafe { VmaRef::from_raw(bindings::hmm_cdm_helper_fault_vma(self.vmf.as_ptr())) };

        // SAFETY: As above.
        unsafe { Mapping::new(vma) }
    }

    /// Returns the address space.
    pub(crate) fn mm(&self) -> ARef<Mm> {
        // SAFETY: As in `mapping()`; a valid vma has a valid address space.
        let mm = unsafe {
            let vma = bindings::hmm_cdm_helper_fault_vma(self.vmf.as_ptr());

            Mm::from_raw(bindings::hmm_cdm_helper_vma_mm(vma))
        };

        mm.into()
    }
}

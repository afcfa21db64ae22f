// SPDX-License-Identifier: GPL-2.0

//! A page fault of the CPU on private device memory: `struct vm_fault`, in `migrate_to_ram`.
//!
//! C files: `mm/memory.c` (`do_swap_page()`), `mm/huge_memory.c` (`do_huge_pmd_device_private()`).

use super::{folio::Pfn, vma::Mapping};
use crate::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    mm::{virt::VmaRef, Mm},
    page::PAGE_SIZE,
    sync::aref::ARef,
};

/// A CPU waits for a page of private memory.
///
/// # Invariants
///
/// For `'a`, `vmf` is the fault that `migrate_to_ram` was called for: its page is locked and
/// referenced by the caller, and the mmap lock of the address space is held for reading (these
/// faults are not handled under the lock of a vma alone).
pub struct CpuFault<'a> {
    vmf: NonNull<bindings::vm_fault>,
    _call: PhantomData<&'a ()>,
}

/// How a fault ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The page is in system memory, or something has changed: the CPU looks again. So it may
    /// be said without progress, as long as someone else makes it.
    Again,
    /// Someone else makes progress, who may need the mmap lock for that: the CPU looks again, without
    /// it meanwhile where the fault allows that. A writer that waits for the lock would keep them
    /// apart for ever, if the fault came again at once (`__get_user_pages()` keeps the lock).
    Later,
    /// There is no memory at all.
    NoMemory,
    /// The content cannot be had from the device: SIGBUS.
    Lost,
    /// The memory that it was in is damaged: SIGBUS, with `BUS_MCEERR_AR`.
    Damaged,
}

impl FaultOutcome {
    /// What the kernel is to be told; the end of the fault.
    pub(super) fn end(self, fault: CpuFault<'_>) -> bindings::vm_fault_t {
        match self {
            FaultOutcome::Again => 0,
            // SAFETY: By the type invariants. The mmap lock may be gone after this, and with it the
            // mapping; the caller unlocks and puts the page, and returns.
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
    /// `vmf` is not null and as in the type's invariants, until the value is gone.
    pub(super) unsafe fn from_raw(vmf: *mut bindings::vm_fault) -> Self {
        // SAFETY: By the safety requirements.
        let vmf = unsafe { NonNull::new_unchecked(vmf) };

        // INVARIANT: By the safety requirements.
        Self {
            vmf,
            _call: PhantomData,
        }
    }

    /// The page.
    pub(super) fn page(&self) -> *mut bindings::page {
        // SAFETY: By the type invariants.
        unsafe { (*self.vmf.as_ptr()).page }
    }

    /// The folio that it is part of.
    pub(super) fn folio(&self) -> *mut bindings::folio {
        // SAFETY: The page is in use by the type invariants.
        unsafe { bindings::hmm_cdm_helper_page_folio(self.page()) }
    }

    /// Whether the page is huge, and the CPU maps it in one piece.
    pub fn is_huge(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::hmm_cdm_helper_fault_is_huge(self.vmf.as_ptr()) }
    }

    /// Whether the page is part of a huge one, however the CPU maps it.
    pub fn is_in_huge(&self) -> bool {
        // SAFETY: The page is in use and locked by the type invariants, so it is not split.
        unsafe { bindings::hmm_cdm_helper_folio_order(self.folio()) > 0 }
    }

    /// The first frame of the page, or of the huge one that it is part of.
    pub(crate) fn frame(&self) -> Pfn {
        // SAFETY: The page is in use by the type invariants, so it has a frame.
        unsafe { Pfn::new(bindings::hmm_cdm_helper_folio_pfn(self.folio())) }
    }

    /// Whether the page is known to be damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        // SAFETY: The page is referenced by the type invariants.
        unsafe { bindings::hmm_cdm_helper_page_is_damaged(self.page()) }
    }

    /// The page aligned address.
    pub fn address(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { bindings::hmm_cdm_helper_fault_address(self.vmf.as_ptr()) & !(PAGE_SIZE - 1) }
    }

    /// The mapping that the address is in.
    pub(crate) fn mapping(&self) -> Mapping<'_> {
        // SAFETY: The vma is valid and the mmap lock held, for longer than `self`.
        let vma =
            unsafe { VmaRef::from_raw(bindings::hmm_cdm_helper_fault_vma(self.vmf.as_ptr())) };

        Mapping::new(vma)
    }

    /// The address space.
    pub(crate) fn mm(&self) -> ARef<Mm> {
        // SAFETY: The vma is valid, and so is its address space, which someone is using.
        let mm = unsafe {
            let vma = bindings::hmm_cdm_helper_fault_vma(self.vmf.as_ptr());

            Mm::from_raw(bindings::hmm_cdm_helper_vma_mm(vma))
        };

        mm.into()
    }
}

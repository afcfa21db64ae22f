// SPDX-License-Identifier: GPL-2.0

//! Mappings, looked up under the mmap lock, where [`kernel::mm`] lacks the functions.
//!
//! C file: `mm/mmap.c` (`find_vma()`).

use super::Span;
use crate::bindings;
use kernel::{
    error::to_result,
    mm::{
        virt,
        virt::VmaRef,
        MmWithUser, //
    },
    prelude::*,
    types::NotThreadSafe, //
};

/// The mappings of an address space, locked for reading: none is added, removed or changed.
///
/// # Invariants
///
/// The task that has the value holds the mmap lock for reading.
pub struct Mappings<'a> {
    mm: &'a MmWithUser,
    _not_send: NotThreadSafe,
}

impl<'a> Mappings<'a> {
    /// Takes the mmap lock for reading. Sleeps.
    pub fn lock(mm: &'a MmWithUser) -> Self {
        // SAFETY: `MmWithUser` is a valid address space.
        unsafe { bindings::mmap_read_lock(mm.as_raw()) };
        // INVARIANT: Just taken.
        Self {
            mm,
            _not_send: NotThreadSafe,
        }
    }

    /// The same, but returns EINTR if the task is killed while it waits. Sleeps.
    pub fn lock_killable(mm: &'a MmWithUser) -> Result<Self> {
        // SAFETY: `MmWithUser` is a valid address space.
        to_result(unsafe { bindings::hmm_cdm_helper_mmap_read_lock_killable(mm.as_raw()) })?;
        // INVARIANT: Just taken.
        Ok(Self {
            mm,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether the OOM killer is taking memory away from the address space: pages may read
    /// as zeros.
    pub(super) fn is_unstable(&self) -> bool {
        // SAFETY: check_stable_address_space() tests a flag of a valid address space.
        unsafe { bindings::hmm_cdm_helper_mm_is_unstable(self.mm.as_raw()) }
    }

    /// Returns the first mapping that ends after `addr`.
    pub fn next(&self, addr: usize) -> Option<Mapping<'_>> {
        // SAFETY: `find_vma()` asserts the mmap lock, which is held by the type invariants.
        let vma = unsafe { bindings::find_vma(self.mm.as_raw(), addr) };

        if vma.is_null() {
            return None;
        }
        // SAFETY: A vma found under the mmap lock is valid while the lock is held, which the
        // lifetime ensures.
        Some(Mapping(unsafe { VmaRef::from_raw(vma) }))
    }
}

impl Drop for Mappings<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds the lock.
        unsafe { bindings::mmap_read_unlock(self.mm.as_raw()) };
    }
}

/// A mapping of an address space.
///
/// # Invariants
///
/// The mmap lock of the address space is held for `'a`, at least for reading.
pub struct Mapping<'a>(&'a VmaRef);

impl<'a> Mapping<'a> {
    /// Wraps a mapping.
    ///
    /// # Safety
    ///
    /// The mmap lock is held for `'a`, at least for reading. A [`VmaRef`] proves only that this or
    /// the vma lock is held.
    pub(super) unsafe fn new(vma: &'a VmaRef) -> Self {
        // INVARIANT: By the safety requirements.
        Self(vma)
    }
}

impl Mapping<'_> {
    /// Returns the address range of the mapping.
    pub fn span(&self) -> Option<Span> {
        Span::new(self.0.start(), self.0.end())
    }

    /// Returns whether it maps `addr`.
    pub fn maps(&self, addr: usize) -> bool {
        (self.0.start()..self.0.end()).contains(&addr)
    }

    /// Returns whether the process may read the mapping. If not, `hmm_range_fault()` reports no
    /// page.
    pub fn is_readable(&self) -> bool {
        self.0.flags() & virt::flags::READ != 0
    }

    /// Returns whether it may contain pages that mm does not manage.
    pub fn is_special(&self) -> bool {
        let special = virt::flags::IO | virt::flags::PFNMAP | virt::flags::MIXEDMAP;

        self.0.flags() & special != 0
    }

    /// Returns whether it maps all of `span`.
    pub fn contains(&self, span: Span) -> bool {
        self.0.start() <= span.start() && span.end() <= self.0.end()
    }

    /// Returns whether its pages can be migrated at all. `migrate_vma_setup()` refuses special
    /// mappings and hugetlb. Shared mappings have no anonymous pages, and only those move to device
    /// memory.
    pub fn is_movable(&self) -> bool {
        let fixed = virt::flags::IO
            | virt::flags::PFNMAP
            | virt::flags::DONTEXPAND
            | virt::flags::MIXEDMAP
            | virt::flags::HUGETLB
            | virt::flags::SHARED;

        self.0.flags() & fixed == 0
    }

    /// Returns whether uprobes may put breakpoints into its pages: text, which may have been
    /// written to. They skip device pages without an error (`uprobe_write_opcode()`, and
    /// `valid_vma()` for the mappings, in `kernel/events/uprobes.c`), so a breakpoint that migrates
    /// cannot be removed.
    pub(crate) fn may_have_probes(&self) -> bool {
        let flags = self.0.flags();
        // Probes can be put where nothing can be written, even if it cannot be executed now.
        let is_text = flags & virt::flags::EXEC != 0 || flags & virt::flags::WRITE == 0;

        is_text && flags & virt::flags::MAYEXEC != 0 && !self.is_anonymous()
    }

    /// Returns whether it may have huge pages, which MADV_NOHUGEPAGE forbids.
    pub fn takes_huge_pages(&self) -> bool {
        self.0.flags() & virt::flags::NOHUGEPAGE == 0
    }

    /// Returns whether it should have huge pages, which MADV_HUGEPAGE requests.
    pub fn wants_huge_pages(&self) -> bool {
        self.0.flags() & virt::flags::HUGEPAGE != 0
    }

    /// Returns whether userfaultfd write-protects pages of the mapping, or waits for their first
    /// access. Its marks are in page table entries, including that of the zero page.
    pub(super) fn is_protected(&self) -> bool {
        // SAFETY: By the invariants of `VmaRef` it is a valid vma under the mmap lock, for longer
        // than `self`.
        unsafe { bindings::hmm_cdm_helper_vma_is_protected(self.as_ptr()) }
    }

    /// Returns whether the mapping is anonymous: its pages are anonymous memory or the zero page.
    pub(super) fn is_anonymous(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::hmm_cdm_helper_vma_is_anonymous(self.as_ptr()) }
    }

    /// Returns whether a migration may fill its holes.
    pub(crate) fn takes_new_pages(&self) -> bool {
        self.is_anonymous() && self.is_accessible() && !self.is_protected()
    }

    /// Returns whether the mapping can be accessed at all: PROT_NONE only reserves addresses.
    pub(super) fn is_accessible(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::hmm_cdm_helper_vma_is_accessible(self.as_ptr()) }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::vm_area_struct {
        self.0.as_ptr()
    }
}

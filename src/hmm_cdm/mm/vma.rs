// SPDX-License-Identifier: GPL-2.0

//! Looking for mappings under the mmap lock, beyond what [`kernel::mm`] offers.
//!
//! C file: `mm/mmap.c` (`find_vma()`).

use super::Span;
use crate::bindings;
use kernel::{
    error::to_result,
    mm::{virt, virt::VmaRef, MmWithUser},
    prelude::*,
    types::NotThreadSafe,
};

/// The address space of a process, locked for reading: no mapping appears, goes or changes.
///
/// # Invariants
///
/// The task that has it holds the mmap lock for reading.
pub struct Mappings<'a> {
    mm: &'a MmWithUser,
    _not_send: NotThreadSafe,
}

impl<'a> Mappings<'a> {
    /// Takes the mmap lock for reading. Sleeps.
    pub fn lock(mm: &'a MmWithUser) -> Self {
        // SAFETY: `mm_users` is held.
        unsafe { bindings::mmap_read_lock(mm.as_raw()) };
        // INVARIANT: Just taken.
        Self {
            mm,
            _not_send: NotThreadSafe,
        }
    }

    /// The same, unless the task is killed while it waits: EINTR. Sleeps.
    pub fn lock_killable(mm: &'a MmWithUser) -> Result<Self> {
        // SAFETY: `mm_users` is held.
        to_result(unsafe { bindings::hmm_cdm_helper_mmap_read_lock_killable(mm.as_raw()) })?;
        // INVARIANT: Just taken.
        Ok(Self {
            mm,
            _not_send: NotThreadSafe,
        })
    }

    /// Whether the OOM killer takes memory away from it, and what is read there may be lost already.
    pub(super) fn is_unstable(&self) -> bool {
        // SAFETY: `mm_users` is held.
        unsafe { bindings::hmm_cdm_helper_mm_is_unstable(self.mm.as_raw()) }
    }

    /// The first mapping that ends behind `addr`.
    pub fn next(&self, addr: usize) -> Option<Mapping<'_>> {
        // SAFETY: `mm_users` is held, and the mmap lock by the type invariants.
        let vma = unsafe { bindings::find_vma(self.mm.as_raw(), addr) };

        if vma.is_null() {
            return None;
        }
        // SAFETY: A vma that was found under the mmap lock stays valid while it is held, which the
        // lifetime says.
        Some(Mapping(unsafe { VmaRef::from_raw(vma) }))
    }
}

impl Drop for Mappings<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds it.
        unsafe { bindings::mmap_read_unlock(self.mm.as_raw()) };
    }
}

/// A mapping of an address space that is locked for reading.
pub struct Mapping<'a>(&'a VmaRef);

impl<'a> Mapping<'a> {
    /// A mapping whose address space is locked, for reading at least, for `'a`.
    pub(super) fn new(vma: &'a VmaRef) -> Self {
        Self(vma)
    }
}

impl Mapping<'_> {
    /// The addresses it maps.
    pub fn span(&self) -> Option<Span> {
        Span::new(self.0.start(), self.0.end())
    }

    /// Whether it maps `addr`.
    pub fn maps(&self, addr: usize) -> bool {
        (self.0.start()..self.0.end()).contains(&addr)
    }

    /// Whether the process may read from it, without which `hmm_range_fault()` gives no page.
    pub fn is_readable(&self) -> bool {
        self.0.flags() & virt::flags::READ != 0
    }

    /// Whether there may be pages in it that are not of the kernel's memory management.
    pub fn is_special(&self) -> bool {
        let special = virt::flags::IO | virt::flags::PFNMAP | virt::flags::MIXEDMAP;

        self.0.flags() & special != 0
    }

    /// Whether it maps all of `span`.
    pub fn contains(&self, span: Span) -> bool {
        self.0.start() <= span.start() && span.end() <= self.0.end()
    }

    /// Whether pages of it can be moved at all; the others `migrate_vma_setup()` refuses, or takes
    /// no page of: special mappings, hugetlb, files that are mapped shared.
    pub fn is_movable(&self) -> bool {
        let fixed = virt::flags::IO
            | virt::flags::PFNMAP
            | virt::flags::DONTEXPAND
            | virt::flags::MIXEDMAP
            | virt::flags::HUGETLB
            | virt::flags::SHARED;

        self.0.flags() & fixed == 0
    }

    /// Whether nobody has said that it is not to have huge pages.
    pub fn takes_huge_pages(&self) -> bool {
        self.0.flags() & virt::flags::NOHUGEPAGE == 0
    }

    /// Whether someone has asked for huge pages in it.
    pub fn wants_huge_pages(&self) -> bool {
        self.0.flags() & virt::flags::HUGEPAGE != 0
    }

    /// Whether userfaultfd protects pages of it from being written to, or read. What it knows of a
    /// page is in the page table entry, also in that of the page of zeros.
    pub(super) fn is_protected(&self) -> bool {
        // SAFETY: The vma is valid and the mmap lock held, for longer than `self`.
        unsafe { bindings::hmm_cdm_helper_vma_is_protected(self.as_ptr()) }
    }

    /// Whether no file, device or the like is behind it: its pages are anonymous, or pages of zeros.
    pub(super) fn is_anonymous(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::hmm_cdm_helper_vma_is_anonymous(self.as_ptr()) }
    }

    /// Whether what nobody has touched in it may get pages by a migration.
    pub(crate) fn takes_new_pages(&self) -> bool {
        self.is_anonymous() && self.is_accessible() && !self.is_protected()
    }

    /// Whether anything may be done with it: PROT_NONE reserves addresses.
    pub(super) fn is_accessible(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::hmm_cdm_helper_vma_is_accessible(self.as_ptr()) }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::vm_area_struct {
        self.0.as_ptr()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Moving pages between system and device memory, as a chain of types.
//!
//! | after | the type is | the pages are |
//! | --- | --- | --- |
//! | `migrate_vma_setup()`, `migrate_device_range()` | [`Collected`] | locked and unmapped |
//! | `migrate_vma_pages()`, `migrate_device_pages()` | [`Installed`] | replaced, still locked |
//! | `migrate_vma_finalize()`, `migrate_device_finalize()` | dropped | mapped |
//!
//! Dropping a value of the chain undoes the migration of pages without a destination and completes
//! that of the others. No page is lost, and none can be seen before its content is complete.
//!
//! # Huge pages
//!
//! A huge page that is to become base pages is split before it is collected: `migrate_vma_setup()`
//! splits it under the folio's lock, in all page tables. With [`Request::whole`] it is collected in
//! one piece (`MIGRATE_VMA_SELECT_COMPOUND`) and gets a huge destination or none. Base pages as its
//! destinations are not safe in 7.3.4: `migrate_vma_split_unmapped_folio()` splits the folio, but
//! then expects its huge migration entry in the caller's page table and in no other:
//!
//! * Another process that maps the page has a huge migration entry, too. It is not split, and
//!   `remove_migration_pmd()` turns it into a huge mapping of a base page, which corrupts the
//!   memory after that `struct page` (seen as an Oops in `rmap_walk()`).
//! * MADV_DONTNEED, the OOM reaper and page faults run in parallel. If the entry has been zapped,
//!   `split_huge_pmd_address()` does not drop its reference, and 2 MiB leak (seen). If a new huge
//!   page has taken its place, that one is frozen.
//!
//! # Write protection
//!
//! userfaultfd's write protection is a bit of the page table entry, and follows a page that moves.
//! But the zero page is collected as a hole, and the page that fills a hole is writable
//! (`migrate_vma_insert_page()`), so the writes that userfaultfd waits for would not fault.
//! Therefore holes of such mappings get no destination. This includes holes without any page, as
//! the zero page may be there by the time the hole is filled.
//!
//! C file: `mm/migrate_device.c`.

mod arrays;
mod chain;
mod content;
mod request;

pub(crate) use chain::Found;
pub use chain::{
    Collected,
    Installed,
    Outcome,
    Source, //
};
pub(crate) use request::Request;
pub use request::{
    Buffers,
    Select, //
};

use crate::bindings;

/// Flags of an entry in the arrays, and the shift of its frame number.
const VALID: usize = bindings::MIGRATE_PFN_VALID as usize;
const MIGRATE: usize = bindings::MIGRATE_PFN_MIGRATE as usize;
const HUGE: usize = bindings::MIGRATE_PFN_COMPOUND as usize;
const SHIFT: u32 = bindings::MIGRATE_PFN_SHIFT;

/// A flag of our own, for a destination that was taken back because its content could not be
/// copied. The kernel ignores an entry without `VALID` (`migrate_pfn_to_page()`).
const NOT_COPIED: usize = 1 << 2;
/// Another one: the source has elevated references, so it could have changed during the copy.
const ELEVATED_REFS: usize = 1 << 5;
const OURS: usize = NOT_COPIED | ELEVATED_REFS;
const _: () = assert!(OURS & (VALID | MIGRATE | HUGE) == 0 && OURS < 1 << SHIFT);
const _: () = assert!(OURS & bindings::MIGRATE_PFN_WRITE as usize == 0);

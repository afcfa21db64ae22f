// SPDX-License-Identifier: GPL-2.0

//! Page frames, and single pages on their way into a page table.
//!
//! C files: `mm/memremap.c` (`zone_device_page_init()`), `mm/page_alloc.c`.

use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// The number of a page frame that has a `struct page`.
///
/// # Invariants
///
/// `pfn_to_page()` of the number is a `struct page`: it came from one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pfn(usize);

impl Pfn {
    /// Wraps a number.
    ///
    /// # Safety
    ///
    /// The frame has a `struct page`, and that stays so while the value is used.
    pub(crate) unsafe fn new(pfn: usize) -> Self {
        // INVARIANT: By the safety requirements.
        Self(pfn)
    }

    /// The number itself.
    pub fn raw(self) -> usize {
        self.0
    }

    /// How many frames of the naturally aligned `1 << order`, of which it is one, come after it.
    pub(crate) fn following(self, order: u8) -> usize {
        let mask = (1_usize << order) - 1;

        mask - (self.0 & mask)
    }

    /// The page, for C.
    pub(crate) fn as_raw_page(self) -> *mut bindings::page {
        self.page().as_ptr()
    }

    pub(super) fn page(self) -> NonNull<bindings::page> {
        // SAFETY: By the type invariants there is a page for this number, and its address is not
        // null.
        unsafe { NonNull::new_unchecked(bindings::hmm_cdm_helper_pfn_to_page(self.0)) }
    }

    /// How many references there are to the page at this moment, and how many page table entries.
    pub(crate) fn counts(self) -> (i32, i32) {
        let page = self.page().as_ptr();

        // SAFETY: Reads a counter of `struct page`, which exists by the type invariants whether or
        // not the page is in use.
        let references = unsafe { bindings::hmm_cdm_helper_page_refs(page) };
        // SAFETY: As above.
        let mappings = unsafe { bindings::hmm_cdm_helper_page_maps(page) };

        (references, mappings)
    }

    /// Notes that the page is damaged, for as long as someone uses it: the device gets no entry for
    /// it any more, and it is not copied. Tells the first frame and the order of the page that it
    /// is part of; `None` if nobody uses it.
    pub(crate) fn set_damaged(self) -> Option<(Self, u32)> {
        let (mut first, mut order) = (0, 0);
        let page = self.page().as_ptr();

        // SAFETY: The function finds out whether the page is in use, and takes a reference then.
        unsafe { bindings::cdm_damage_set(page, &mut first, &mut order) }
            // INVARIANT: It came from a `struct page`.
            .then_some((Self(first), order))
    }

    /// Whether it is the page of zeros that stands for memory that nobody has written to.
    pub(crate) fn is_zero(self) -> bool {
        // SAFETY: The function takes any number.
        unsafe { bindings::hmm_cdm_helper_pfn_is_zero(self.0) }
    }

    /// Whether this is ordinary memory of the kernel, and not that of some device.
    pub fn is_system(self) -> bool {
        // SAFETY: The function takes any number.
        unsafe { bindings::hmm_cdm_helper_pfn_online(self.0) }
    }
}

/// A page that is lent for `'v`, and cannot be freed meanwhile.
///
/// # Invariants
///
/// For `'v` something keeps the page in use: a lock that the invalidation of its mapping takes, the
/// page's own lock, or a reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PageRef<'v> {
    pfn: Pfn,
    _lent: PhantomData<&'v ()>,
}

impl PageRef<'_> {
    /// # Safety
    ///
    /// As in the type's invariants, for all of its lifetime.
    #[inline(always)]
    pub(super) unsafe fn new(pfn: Pfn) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            pfn,
            _lent: PhantomData,
        }
    }

    /// Its frame.
    #[inline(always)]
    pub fn pfn(self) -> Pfn {
        self.pfn
    }

    /// Whether the page has more references than its mappings, its caches and the page cache account
    /// for: someone has pinned it, or is about to use it.
    pub(crate) fn has_extra_refs(self) -> bool {
        // SAFETY: The function reads the folio's counts; by the type invariants the page is in use,
        // so the folio stays what it is.
        unsafe { bindings::cdm_refs_has_extra(self.pfn.as_raw_page()) }
    }

    /// Whether it is anonymous memory, and not merged by KSM, at this moment.
    pub(crate) fn is_anon(self) -> bool {
        // SAFETY: As above, for the folio's mapping.
        unsafe { bindings::hmm_cdm_helper_page_is_anon(self.pfn.as_raw_page()) }
    }
}

/// Notes that the device is going to write to the page behind the CPU's back. The C function says
/// why and for which pages.
///
/// # Safety
///
/// The page is mapped by a mirrored address space, and the caller holds the lock that the
/// invalidation of its entry takes.
pub(crate) unsafe fn mark_written(pfn: Pfn) {
    // SAFETY: By the safety requirements the page cannot be freed meanwhile.
    unsafe { bindings::cdm_access_mark_written(pfn.raw()) };
}

/// A page, single or huge, that is locked, that its owner has the only reference to, and that no
/// page table maps: what a migration needs as destination. Dropping it gives the page back.
///
/// # Invariants
///
/// `pfn` is the first frame of a locked folio of `1 << order` pages, whose lock and one reference
/// the value owns. `order` is zero or that of [`super::pmd_order`].
pub struct NewPage {
    pfn: Pfn,
    order: u32,
}

// SAFETY: A page lock may be released by another task than the one that took it.
unsafe impl Send for NewPage {}

impl NewPage {
    /// Allocates a page of system memory for a process. May sleep; `None` if there is none.
    pub fn system() -> Option<Self> {
        // SAFETY: May be called from any context that can sleep.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_page(), 0) }
    }

    /// The same for a fault, which kills someone if there is none. `None` if that was the caller.
    pub(crate) fn system_for_fault() -> Option<Self> {
        // SAFETY: May be called from any context that can sleep.
        unsafe { Self::take(bindings::hmm_cdm_helper_alloc_page_hard(), 0) }
    }

    /// Allocates a huge page of system memory for a process. May sleep; `None` if there is none.
    pub fn system_huge() -> Option<Self> {
        // SAFETY: May be called from any context that can sleep.
        unsafe {
            Self::take(
                bindings::hmm_cdm_helper_alloc_huge_page(false),
                super::pmd_order(),
            )
        }
    }

    /// The same for who has no other way: takes its time.
    pub(crate) fn system_huge_patiently() -> Option<Self> {
        // SAFETY: May be called from any context that can sleep.
        unsafe {
            Self::take(
                bindings::hmm_cdm_helper_alloc_huge_page(true),
                super::pmd_order(),
            )
        }
    }

    /// # Safety
    ///
    /// `page` is null or the first of a new folio of that order.
    unsafe fn take(page: *mut bindings::page, order: u32) -> Option<Self> {
        let page = NonNull::new(page)?;

        // SAFETY: The page is new: nobody else can have locked it.
        let pfn = unsafe { bindings::hmm_cdm_helper_lock_new_page(page.as_ptr()) };
        // INVARIANT: The allocation came with one reference, and the page is locked now.
        Some(Self {
            pfn: Pfn(pfn),
            order,
        })
    }

    /// Prepares free pages of device memory, as one page.
    ///
    /// # Safety
    ///
    /// The `1 << order` frames from `pfn` belong to `pgmap`, which is registered, are naturally
    /// aligned, and nobody else uses them: their reference counts are zero and the caller alone got
    /// them from the allocator. `order` is as in the type's invariants, and zero unless the memory
    /// is private.
    pub(super) unsafe fn device(pfn: Pfn, pgmap: *mut bindings::dev_pagemap, order: u32) -> Self {
        // SAFETY: By the safety requirements.
        unsafe { bindings::zone_device_page_init(pfn.as_raw_page(), pgmap, order) };
        // INVARIANT: `zone_device_page_init()` sets the count to one and locks the page.
        Self { pfn, order }
    }

    /// Its first frame. The page must outlive what is made of it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// The page, lent for as long as it is not given away.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn lend(&self) -> PageRef<'_> {
        // SAFETY: The value owns a reference.
        unsafe { PageRef::new(self.pfn) }
    }

    /// How many base pages it has.
    pub fn pages(&self) -> usize {
        1 << self.order
    }

    /// Leaves something in the page, as its last user may have.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn fill(&mut self, value: u8) {
        // SAFETY: The value owns the page, which is in the direct map.
        unsafe {
            bindings::hmm_cdm_helper_pfn_to_virt(self.pfn.raw())
                .cast::<u8>()
                .write_bytes(value, PAGE_SIZE)
        };
    }

    /// Gives the page away as an entry of a migration's destination array, which from then on owns
    /// lock and reference.
    pub(super) fn into_mpfn(self) -> usize {
        let huge = if self.order > 0 {
            bindings::MIGRATE_PFN_COMPOUND as usize
        } else {
            0
        };
        let pfn = self.pfn.raw();

        core::mem::forget(self);
        (pfn << bindings::MIGRATE_PFN_SHIFT) | bindings::MIGRATE_PFN_VALID as usize | huge
    }

    /// Takes a page back from a destination array.
    ///
    /// # Safety
    ///
    /// `mpfn` came from [`NewPage::into_mpfn`], and its owner gives up lock and reference.
    pub(super) unsafe fn from_mpfn(mpfn: usize) -> Self {
        let huge = mpfn & bindings::MIGRATE_PFN_COMPOUND as usize != 0;

        // INVARIANT: By the safety requirements.
        Self {
            pfn: Pfn(mpfn >> bindings::MIGRATE_PFN_SHIFT),
            order: if huge { super::pmd_order() } else { 0 },
        }
    }
}

impl Drop for NewPage {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the value owns the lock and a reference.
        unsafe { bindings::hmm_cdm_helper_unlock_put_page(self.pfn.as_raw_page()) };
    }
}

/// Memory of one page that the device's page table maps, usable inside the critical interval in
/// which no invalidation can be running (see [`super::notifier`]).
///
/// The CPU, other processes and other devices may access the same bytes at the same time, as they
/// may with a real device; what is read is whatever was there at that moment.
///
/// # Invariants
///
/// For the lifetime `'a` the page is mapped by the address space that the device mirrors, with
/// write permission if `writable`. Unless `private`, it is in the direct map.
pub struct MappedPage<'a> {
    pfn: Pfn,
    writable: bool,
    private: bool,
    _lent: PhantomData<&'a ()>,
}

impl MappedPage<'_> {
    /// Wraps a frame of the device's page table.
    ///
    /// # Safety
    ///
    /// The caller holds the lock that the invalidation of this entry takes, for all of `'a`, and
    /// the entry is valid, for writing if `writable`. `private` tells whether the page is memory
    /// that the CPU cannot access.
    pub(crate) unsafe fn new(pfn: Pfn, writable: bool, private: bool) -> Self {
        // INVARIANT: While the lock is held the invalidation that precedes any change of the CPU's
        // page table cannot return.
        Self {
            pfn,
            writable,
            private,
            _lent: PhantomData,
        }
    }

    /// The frame.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > PAGE_SIZE || self.private {
            return None;
        }

        // SAFETY: By the type invariants there is a page, in the direct map.
        let base: *mut u8 = unsafe { bindings::hmm_cdm_helper_pfn_to_virt(self.pfn.raw()) }.cast();
        Some(base.wrapping_add(offset))
    }

    fn word(&self, offset: usize, write: bool) -> Option<*mut kernel::ffi::c_void> {
        if offset % 8 != 0 || (write && !self.writable) {
            return None;
        }
        Some(self.at(offset, 8)?.cast())
    }

    /// Whether only the device can access the page: then the functions below, which are done with
    /// the CPU, give `None`, and the driver goes to its memory itself.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Reads `buf.len()` bytes at `offset`, each by itself: of a word that the CPU writes meanwhile,
    /// some bytes may be old and some new. `None` if they are not all in the page.
    #[must_use]
    pub fn read(&self, offset: usize, buf: &mut [u8]) -> Option<()> {
        let from = self.at(offset, buf.len())?;

        // SAFETY: `at()` checked the bounds, and by the type invariants the page is mapped and in
        // the direct map. `buf` is not part of it.
        unsafe { copy_shared(buf.as_mut_ptr(), from, buf.len()) };
        Some(())
    }

    /// Writes `buf` at `offset`, each byte by itself. `None` if it would not fit or the page is
    /// read-only.
    #[must_use]
    pub fn write(&self, offset: usize, buf: &[u8]) -> Option<()> {
        let to = self.at(offset, buf.len()).filter(|_| self.writable)?;

        // SAFETY: As in `read()`, and the page is writable.
        unsafe { copy_shared(to, buf.as_ptr(), buf.len()) };
        Some(())
    }

    /// Reads the 64 bits at `offset`, in one access. `None` if misaligned or outside of the page.
    pub fn read_u64(&self, offset: usize) -> Option<u64> {
        let p = self.word(offset, false)?;

        // SAFETY: `word()` checked alignment and bounds; the page is mapped.
        Some(unsafe { bindings::hmm_cdm_helper_read_u64(p) })
    }

    /// Writes the 64 bits at `offset`, in one access. `None` if misaligned, outside of the page or
    /// read-only.
    #[must_use]
    pub fn write_u64(&self, offset: usize, value: u64) -> Option<()> {
        let p = self.word(offset, true)?;

        // SAFETY: `word()` checked alignment, bounds and permission; the page is mapped.
        unsafe { bindings::hmm_cdm_helper_write_u64(p, value) };
        Some(())
    }

    /// Atomically replaces the 64 bits at `offset` by `new` if they are `old`, fully ordered, and
    /// returns what was found. `None` as for [`Self::write_u64`].
    pub fn cmpxchg_u64(&self, offset: usize, old: u64, new: u64) -> Option<u64> {
        let p = self.word(offset, true)?;

        // SAFETY: As in `write_u64()`.
        Some(unsafe { bindings::hmm_cdm_helper_cmpxchg_u64(p, old, new) })
    }

    /// Atomically adds to the 64 bits at `offset`, fully ordered, and returns what was found.
    /// `None` as for [`Self::write_u64`].
    pub fn fetch_add_u64(&self, offset: usize, value: u64) -> Option<u64> {
        let p = self.word(offset, true)?;

        // SAFETY: As in `write_u64()`.
        Some(unsafe { bindings::hmm_cdm_helper_fetch_add_u64(p, value) })
    }
}

/// Copies memory that others may write to at the same time.
///
/// By Rust's own rules such a copy has to be atomic, byte by byte at least, and the language has no
/// operation for that. By the kernel's (tools/memory-model/Documentation/access-marking.txt) it is
/// the C function's business, and memcpy() is what the kernel uses for memory that user space maps;
/// so does `SysMemBackend` in rust/kernel/io.rs. The compiler must not look inside: knowing what
/// memcpy() does, it may drop the copy and read the source later, again and changed. So it is not
/// inlined, and both pointers escape.
///
/// # Safety
///
/// `from` is valid for reading `len` bytes, `to` for writing them, and they do not overlap. What else
/// accesses the shared one does so as any user of shared memory does.
#[inline(never)]
unsafe fn copy_shared(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::memcpy(to.cast(), from.cast(), len) };
    // SAFETY: No instruction; it stands for an access to all memory, as barrier_data() does.
    unsafe { core::arch::asm!("/* {0} {1} */", in(reg) to, in(reg) from, options(nostack)) };
}

#[kunit_tests(hmm_cdm_folio)]
mod tests {
    use super::*;

    fn mapped(page: &NewPage, writable: bool) -> MappedPage<'_> {
        // SAFETY: Nothing maps the page, and nobody but the test uses it while it is borrowed.
        unsafe { MappedPage::new(page.pfn(), writable, false) }
    }

    #[test]
    fn frames_are_counted_to_the_end_of_a_huge_page() {
        // SAFETY: Nothing looks behind the numbers.
        let following = |pfn, order| unsafe { Pfn::new(pfn) }.following(order);

        assert_eq!([0, 1, 7].map(|pfn| following(pfn, 0)), [0, 0, 0]);
        assert_eq!(
            [0, 1, 7, 8, 15].map(|pfn| following(pfn, 3)),
            [7, 6, 0, 7, 0]
        );
    }

    #[test]
    fn new_pages_are_locked_system_memory() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;

        assert!(page.pfn().is_system());
        assert_eq!(page.pfn().counts(), (1, 0));
        // Ours; to the kernel it is one on its way to the LRU list.
        assert!(!page.lend().has_extra_refs());
        Ok(())
    }

    #[test]
    fn a_destination_is_the_same_page_when_it_comes_back() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let pfn = page.pfn();

        let mpfn = page.into_mpfn();
        assert!(mpfn & bindings::MIGRATE_PFN_VALID as usize != 0);
        // SAFETY: It was made right above, and is not used again.
        let back = unsafe { NewPage::from_mpfn(mpfn) };
        assert_eq!(back.pfn(), pfn);
        // Neither the reference nor the lock was lost or doubled: dropping it gives up both.
        assert_eq!(back.pfn().counts(), (1, 0));
        Ok(())
    }

    #[test]
    fn accesses_end_at_the_page() -> Result {
        let mut page = NewPage::system().ok_or(ENOMEM)?;
        page.fill(0);
        let page = mapped(&page, true);
        let mut two = [0; 2];

        assert_eq!(page.write(PAGE_SIZE - 2, &[1, 2]), Some(()));
        assert_eq!(page.read(PAGE_SIZE - 2, &mut two), Some(()));
        assert_eq!(two, [1, 2]);
        assert_eq!(page.write(PAGE_SIZE - 1, &[3, 4]), None);
        assert_eq!(page.read(PAGE_SIZE - 1, &mut two), None);
        assert_eq!(page.read(usize::MAX, &mut two), None);
        assert_eq!(page.read_u64(PAGE_SIZE), None);
        assert_eq!(page.write_u64(PAGE_SIZE, 5), None);
        // What was refused has written nothing.
        assert_eq!(page.read(PAGE_SIZE - 2, &mut two), Some(()));
        assert_eq!(two, [1, 2]);
        Ok(())
    }

    #[test]
    fn words_are_aligned() -> Result {
        let mut page = NewPage::system().ok_or(ENOMEM)?;
        page.fill(0);
        let page = mapped(&page, true);

        for offset in 1..8 {
            assert_eq!(page.read_u64(offset), None);
            assert_eq!(page.write_u64(offset, 1), None);
            assert_eq!(page.cmpxchg_u64(offset, 0, 1), None);
            assert_eq!(page.fetch_add_u64(offset, 1), None);
        }
        assert_eq!(page.read_u64(0), Some(0));
        assert_eq!(page.read_u64(8), Some(0));
        Ok(())
    }

    #[test]
    fn private_pages_are_not_touched() -> Result {
        let mut page = NewPage::system().ok_or(ENOMEM)?;
        page.fill(7);
        // SAFETY: As in `mapped()`.
        let private = unsafe { MappedPage::new(page.pfn(), true, true) };
        let mut byte = [0];

        assert!(private.is_private());
        assert_eq!(private.read(0, &mut byte), None);
        assert_eq!(private.write(0, &byte), None);
        assert_eq!(private.read_u64(0), None);
        assert_eq!(private.write_u64(0, 0), None);
        assert_eq!(private.cmpxchg_u64(0, 0, 0), None);
        assert_eq!(private.fetch_add_u64(0, 1), None);
        assert_eq!(mapped(&page, false).read(0, &mut byte), Some(()));
        assert_eq!(byte, [7]);
        Ok(())
    }

    #[test]
    fn huge_pages_are_one_destination() -> Result {
        let Some(page) = NewPage::system_huge() else {
            // There may be none, which is no fault of ours.
            return Ok(());
        };
        let (pfn, pages) = (page.pfn(), page.pages());

        assert_eq!(pages, 1 << crate::mm::pmd_order());
        assert_eq!(pfn.raw() % pages, 0);
        let mpfn = page.into_mpfn();
        assert!(mpfn & bindings::MIGRATE_PFN_COMPOUND as usize != 0);
        // SAFETY: It was made right above, and is not used again.
        let back = unsafe { NewPage::from_mpfn(mpfn) };
        assert_eq!((back.pfn(), back.pages()), (pfn, pages));
        assert_eq!(back.pfn().counts(), (1, 0));
        Ok(())
    }

    #[test]
    fn atomics_return_what_was_there() -> Result {
        let mut page = NewPage::system().ok_or(ENOMEM)?;
        page.fill(0);
        let page = mapped(&page, true);

        assert_eq!(page.fetch_add_u64(8, 5), Some(0));
        assert_eq!(page.fetch_add_u64(8, u64::MAX), Some(5));
        assert_eq!(page.cmpxchg_u64(8, 5, 9), Some(4));
        assert_eq!(page.read_u64(8), Some(4));
        assert_eq!(page.cmpxchg_u64(8, 4, 9), Some(4));
        assert_eq!(page.read_u64(8), Some(9));
        Ok(())
    }

    #[test]
    fn read_only_pages_are_not_written() -> Result {
        let mut page = NewPage::system().ok_or(ENOMEM)?;
        page.fill(0);
        let page = mapped(&page, false);

        assert_eq!(page.write(0, &[1]), None);
        assert_eq!(page.write_u64(0, 1), None);
        assert_eq!(page.cmpxchg_u64(0, 0, 1), None);
        assert_eq!(page.fetch_add_u64(0, 1), None);
        assert_eq!(page.read_u64(0), Some(0));
        Ok(())
    }
}

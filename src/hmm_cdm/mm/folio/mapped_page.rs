// SPDX-License-Identifier: GPL-2.0

//! Device accesses to memory that the CPU may access at the same time.
//!
//! C files: `include/asm-generic/rwonce.h`, `include/linux/atomic.h`.

use super::Pfn;
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    ffi::c_void,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The memory of a page that the device's page table maps. It can be used only in a critical
/// section in which no invalidation of the entry returns (see [`crate::mm::notifier`]).
///
/// As with a real device, the CPU, other processes and other devices may access the same bytes at
/// the same time: a read returns their current value.
///
/// # Invariants
///
/// For `'a` the page is mapped by the address space that the device mirrors, with write permission
/// if `writable`. Unless `private`, it is in the direct map.
pub struct MappedPage<'a> {
    pfn: Pfn,
    writable: bool,
    private: bool,
    _mapped: PhantomData<&'a ()>,
}

impl MappedPage<'_> {
    /// # Safety
    ///
    /// For `'a` the caller holds the lock that the invalidation of this entry of the device's page
    /// table takes, and the entry is valid, for writing if `writable`. Unless `private`, the CPU
    /// can access the page.
    pub(crate) unsafe fn new(pfn: Pfn, writable: bool, private: bool) -> Self {
        // INVARIANT: The invalidation precedes any change of the CPU's page table, and cannot
        // return while the lock is held.
        Self {
            pfn,
            writable,
            private,
            _mapped: PhantomData,
        }
    }

    /// Returns the frame.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Returns whether only the device can access the page. If so, the functions below, which run
    /// on the CPU, return `None`, and the driver has to access its memory itself.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Returns the address of `len` bytes at `offset`.
    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > PAGE_SIZE || self.private {
            return None;
        }

        // SAFETY: The helper requires a page in the direct map, which this is by the type
        // invariants.
        let base: *mut u8 = unsafe { bindings::hmm_cdm_helper_pfn_to_virt(self.pfn.raw()) }.cast();
        Some(base.wrapping_add(offset))
    }

    /// Returns the address of an aligned word.
    fn word(&self, offset: usize, write: bool) -> Option<*mut c_void> {
        if offset % 8 != 0 || (write && !self.writable) {
            return None;
        }
        Some(self.at(offset, 8)?.cast())
    }

    /// Reads `buf.len()` bytes at `offset`, one by one: if the CPU writes a word meanwhile, some of
    /// its bytes may be old and some new. `None` if they are not all in the page.
    #[must_use]
    pub fn read(&self, offset: usize, buf: &mut [u8]) -> Option<()> {
        let from = self.at(offset, buf.len())?;

        // SAFETY: `at()` has checked the bounds, and by the type invariants the page is mapped and
        // in the direct map. `buf` is the kernel's own memory, so it does not overlap.
        unsafe { copy_shared(buf.as_mut_ptr(), from, buf.len()) };
        Some(())
    }

    /// Writes `buf` at `offset`, byte by byte. `None` if it does not fit or the page is read-only.
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

        // SAFETY: `word()` has checked alignment and bounds, and the page is mapped by the type
        // invariants. The helper is READ_ONCE(), which may race with any write.
        Some(unsafe { bindings::hmm_cdm_helper_read_u64(p) })
    }

    /// Writes the 64 bits at `offset`, in one access. `None` if misaligned, outside of the page or
    /// read-only.
    #[must_use]
    pub fn write_u64(&self, offset: usize, value: u64) -> Option<()> {
        let p = self.word(offset, true)?;

        // SAFETY: `word()` has checked alignment, bounds and permission, and the page is mapped by
        // the type invariants. The helper is WRITE_ONCE(), which may race with any access.
        unsafe { bindings::hmm_cdm_helper_write_u64(p, value) };
        Some(())
    }

    /// Replaces the 64 bits at `offset` by `new` if they are `old`, atomically and fully ordered.
    /// Returns the value before; `None` as for [`Self::write_u64`].
    pub fn cmpxchg_u64(&self, offset: usize, old: u64, new: u64) -> Option<u64> {
        let p = self.word(offset, true)?;

        // SAFETY: As in `write_u64()`; the helper is cmpxchg().
        Some(unsafe { bindings::hmm_cdm_helper_cmpxchg_u64(p, old, new) })
    }

    /// Adds to the 64 bits at `offset`, atomically and fully ordered. Returns the value before;
    /// `None` as for [`Self::write_u64`].
    pub fn fetch_add_u64(&self, offset: usize, value: u64) -> Option<u64> {
        let p = self.word(offset, true)?;

        // SAFETY: As in `write_u64()`; the helper is atomic64_fetch_add().
        Some(unsafe { bindings::hmm_cdm_helper_fetch_add_u64(p, value) })
    }
}

/// Copies to or from memory that others may write at the same time.
///
/// Rust's memory model allows such a copy only with atomic accesses of at least a byte each, and
/// has no operation for it. In the kernel's model memcpy() is a C function that may race;
/// rust/kernel/io.rs uses it for such memory, too. The compiler must not recognise memcpy() here,
/// or it might elide the copy and read the source again later, after it has changed. So this
/// function is not inlined, and the pointers escape.
///
/// # Safety
///
/// `from` is valid for reads of `len` bytes, `to` for writes, and they do not overlap. One of them
/// is the kernel's own memory, which nothing else uses.
#[inline(never)]
unsafe fn copy_shared(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: memcpy() requires valid ranges that do not overlap, as by the safety requirements.
    unsafe { bindings::memcpy(to.cast(), from.cast(), len) };
    // SAFETY: It is no instruction. For the compiler it may access all memory, like barrier_data()
    // in C.
    unsafe { core::arch::asm!("/* {0} {1} */", in(reg) to, in(reg) from, options(nostack)) };
}

#[kunit_tests(hmm_cdm_mapped_page)]
mod tests {
    use super::*;
    use crate::mm::folio::NewPage;

    fn mapped(page: &NewPage, writable: bool) -> MappedPage<'_> {
        // SAFETY: Nothing maps the page, so no invalidation can concern it, and only the test uses
        // it while it is borrowed.
        unsafe { MappedPage::new(page.pfn(), writable, false) }
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
        // The refused writes have written nothing.
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

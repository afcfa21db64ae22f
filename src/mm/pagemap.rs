// SPDX-License-Identifier: GPL-2.0

//! Device memory as `ZONE_DEVICE` pages: `struct dev_pagemap`.
//!
//! C files: `mm/memremap.c`, `include/linux/memremap.h`.

use super::folio::{NewPage, Pfn};
use crate::bindings;
use core::ops::Range;
use kernel::{
    error::from_err_ptr,
    ffi::c_int,
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    types::Opaque,
};

/// What the owner of device memory does when the kernel gives pages of it back.
pub trait Frames: Send + Sync {
    /// The page `index`, counted from the first of the memory, has lost its last user and may be
    /// handed out again.
    ///
    /// Context: any, interrupts included; locks must be taken accordingly, and nothing may sleep.
    fn freed(&self, index: usize);

    /// The hardware reported that the pages `range` are damaged. They must not be handed out
    /// again. Context: process.
    fn failed(&self, range: Range<usize>);
}

/// A range of physical memory, registered as pages of type `MEMORY_DEVICE_COHERENT`: the CPU maps
/// and accesses them as any other memory, but the kernel never allocates from them.
///
/// Dropping it waits, without a bound, until no page is in use (`memunmap_pages()`): the owner
/// moves the pages away first.
///
/// # Invariants
///
/// `pgmap` is registered by `memremap_pages()` for the `nr` pages from `first`, its ops are
/// [`Self::OPS`], and it is the field of a pinned `Pagemap<T>`.
#[pin_data(PinnedDrop)]
pub struct Pagemap<T: Frames> {
    #[pin]
    pgmap: Opaque<bindings::dev_pagemap>,
    first: usize,
    nr: usize,
    #[pin]
    frames: T,
}

// SAFETY: `memunmap_pages()` may be called by any task.
unsafe impl<T: Frames> Send for Pagemap<T> {}
// SAFETY: Shared access to `pgmap` is limited to reading its address and to functions of the C side
// that synchronise themselves.
unsafe impl<T: Frames> Sync for Pagemap<T> {}

impl<T: Frames> Pagemap<T> {
    const OPS: bindings::dev_pagemap_ops = bindings::dev_pagemap_ops {
        folio_free: Some(Self::folio_free),
        memory_failure: Some(Self::memory_failure),
        migrate_to_ram: None,
        folio_split: None,
    };

    /// Registers the `size` bytes of physical memory from `start` on NUMA node `nid`. Sleeps.
    ///
    /// The caller owns the range (it is claimed in the resource tree) and has checked what
    /// `memremap_pages()` would WARN about: alignment to `memremap_compat_align()`, no system RAM
    /// inside, addressable, a NUMA node that is possible.
    ///
    /// Errors are those of `memremap_pages()`: ENOMEM, EINVAL.
    pub fn register(
        start: u64,
        size: u64,
        nid: i32,
        frames: impl PinInit<T>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            frames <- frames,
            first: (start >> PAGE_SHIFT) as usize,
            nr: (size >> PAGE_SHIFT) as usize,
            // Last, so that nothing can fail after it: from here on `Drop` unregisters.
            pgmap <- Opaque::try_ffi_init(move |slot: *mut bindings::dev_pagemap| {
                let range = bindings::range { start, end: start + size - 1 };

                // SAFETY: `slot` is ours to initialise, and all-zeroes is a valid `dev_pagemap`.
                // The union starts with the one range of `nr_range == 1`.
                unsafe {
                    slot.write_bytes(0, 1);
                    (*slot).type_ = bindings::memory_type_MEMORY_DEVICE_COHERENT;
                    (*slot).ops = &Self::OPS;
                    (*slot).owner = slot.cast();
                    (*slot).nr_range = 1;
                    (&raw mut (*slot).__bindgen_anon_1)
                        .cast::<bindings::range>()
                        .write(range);
                }

                // SAFETY: `slot` is initialised and pinned until `memunmap_pages()` in `drop`.
                // No page is handed out, and so no operation called, before that is complete.
                from_err_ptr(unsafe { bindings::memremap_pages(slot, nid) }).map(|_| ())
            }),
        }? Error)
    }

    /// What the owner keeps for the memory.
    pub fn frames(&self) -> &T {
        &self.frames
    }

    /// How many pages there are.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// The page frame of page `index`; `None` beyond the end.
    pub fn pfn(&self, index: usize) -> Option<Pfn> {
        // SAFETY: Every page of a registered pagemap has a `struct page`.
        (index < self.nr).then(|| unsafe { Pfn::new(self.first + index) })
    }

    /// Which page of this memory `pfn` is, if it is one.
    pub fn index(&self, pfn: Pfn) -> Option<usize> {
        pfn.raw().checked_sub(self.first).filter(|i| *i < self.nr)
    }

    /// Physical address of the first byte.
    pub fn start(&self) -> u64 {
        (self.first as u64) << PAGE_SHIFT
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        (self.nr * PAGE_SIZE) as u64
    }

    /// Whether the first and the last page keep what is written to them. Addresses without memory
    /// behind them mostly do not, unless a cache answers for them: a check that finds a wrong
    /// address, no proof. Only for memory of which no page has been handed out.
    pub fn holds_data(&self) -> bool {
        const PATTERN: u64 = 0x6864_6d63_5f6d_6d68;

        [0, self.nr - 1].into_iter().all(|index| {
            // SAFETY: The page is registered, so it has a linear mapping, and nobody uses it.
            unsafe {
                let p = bindings::hmm_cdm_pfn_to_virt(self.first + index);

                [PATTERN, !PATTERN].into_iter().all(|value| {
                    bindings::hmm_cdm_write_u64(p, value);
                    bindings::hmm_cdm_read_u64(p) == value
                })
            }
        })
    }

    /// What `migrate_vma` compares to take only pages of this memory.
    pub(crate) fn owner(&self) -> *mut kernel::ffi::c_void {
        self.pgmap.get().cast()
    }

    /// Prepares page `index` for a new user. `None` beyond the end.
    ///
    /// # Safety
    ///
    /// The caller has got the page from the allocator, which gives a page only once until
    /// [`Frames::freed`] is called for it.
    pub unsafe fn hand_out(&self, index: usize) -> Option<NewPage> {
        let pfn = self.pfn(index)?;

        // SAFETY: The page is ours and registered; nobody else uses it by the safety requirements.
        Some(unsafe { NewPage::device(pfn, self.pgmap.get()) })
    }

    /// # Safety
    ///
    /// `pgmap` is the field of a live `Pagemap<T>`.
    unsafe fn from_raw<'a>(pgmap: *mut bindings::dev_pagemap) -> &'a Self {
        let field: *mut Opaque<bindings::dev_pagemap> = pgmap.cast();

        // SAFETY: By the safety requirements; `Opaque` has the layout of what it wraps.
        unsafe { &*kernel::container_of!(field, Self, pgmap) }
    }

    /// # Safety
    ///
    /// Called by `free_zone_device_folio()` for a folio of a pagemap with these ops.
    unsafe extern "C" fn folio_free(folio: *mut bindings::folio) {
        // SAFETY: The folio is valid, and its `pgmap` is set while it is in use
        // (`zone_device_page_init()`). It shares a union with `lru`, which ZONE_DEVICE pages do not
        // use.
        let pgmap = unsafe { bindings::hmm_cdm_folio_pgmap(folio) };
        // SAFETY: By the type invariants; the pagemap outlives its pages, `memunmap_pages()` waits
        // for them.
        let this = unsafe { Self::from_raw(pgmap) };
        // SAFETY: The folio is valid.
        let pfn = unsafe { bindings::hmm_cdm_folio_pfn(folio) };

        this.frames.freed(pfn - this.first);
    }

    /// The generic handler would dereference the mapping of an anonymous page
    /// (`mf_generic_kill_procs()` in mm/memory-failure.c), so -EOPNOTSUPP, which calls it, is never
    /// returned.
    ///
    /// # Safety
    ///
    /// Called by `memory_failure_dev_pagemap()` for a pagemap with these ops.
    unsafe extern "C" fn memory_failure(
        pgmap: *mut bindings::dev_pagemap,
        pfn: kernel::ffi::c_ulong,
        nr: kernel::ffi::c_ulong,
        _flags: c_int,
    ) -> c_int {
        // SAFETY: As in `folio_free()`; the caller holds a reference on the pagemap.
        let this = unsafe { Self::from_raw(pgmap) };
        let first = pfn.saturating_sub(this.first);

        this.frames
            .failed(first..first.saturating_add(nr).min(this.nr));
        EBUSY.to_errno()
    }
}

#[pinned_drop]
impl<T: Frames> PinnedDrop for Pagemap<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants, and unregistered only here.
        unsafe { bindings::memunmap_pages(self.pgmap.get()) };
    }
}

#[kunit_tests(hmm_cdm_pagemap)]
mod tests {
    use super::*;
    use crate::{
        mm::{folio::NewPage, kunit::expect_warnings},
        os::resource,
    };
    use kernel::sync::Arc;

    struct Owner {
        _kept: Arc<()>,
    }

    impl Frames for Owner {
        fn freed(&self, _: usize) {}
        fn failed(&self, _: Range<usize>) {}
    }

    /// Why the `size` bytes from `start` were not registered, and how many warnings the kernel had.
    fn refused(start: u64, size: u64) -> Result<(Option<Error>, i32)> {
        let kept = Arc::new((), GFP_KERNEL)?;
        let owner = Owner {
            _kept: kept.clone(),
        };

        let (registered, warnings) = expect_warnings(|| {
            KBox::pin_init(Pagemap::register(start, size, 0, owner), GFP_KERNEL)
        })?;
        let error = registered.err();
        // What the owner keeps has gone with it.
        match Arc::into_unique_or_drop(kept) {
            Some(_) => Ok((error, warnings)),
            None => Err(EBUSY),
        }
    }

    #[test]
    fn memory_in_use_is_not_registered() -> Result {
        let page = NewPage::system().ok_or(ENOMEM)?;
        let align = resource::alignment();
        let start = ((page.pfn().raw() as u64) << PAGE_SHIFT) & !(align - 1);

        assert_eq!(refused(start, align)?, (Some(ENXIO), 1));
        Ok(())
    }

    #[test]
    fn addresses_that_do_not_exist_are_not_registered() -> Result {
        let beyond = resource::max_address() + 1;

        assert_eq!(refused(beyond, resource::alignment())?, (Some(EINVAL), 0));
        // Nothing is left of it that would be in the way of a second attempt.
        assert_eq!(refused(beyond, resource::alignment())?, (Some(EINVAL), 0));
        Ok(())
    }
}

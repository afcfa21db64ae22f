// SPDX-License-Identifier: GPL-2.0

//! Device memory as `ZONE_DEVICE` pages: `struct dev_pagemap`.
//!
//! A [`DeviceRange`] is the range of the pages, [`Frames`] are the operations on them.
//!
//! C files: `mm/memremap.c`, `include/linux/memremap.h`.

use super::{
    cpu_fault::{
        CpuFault,
        FaultOutcome, //
    },
    folio::{
        NewPage,
        PageRef,
        Pfn, //
    }, //
};
use crate::{
    bindings,
    os::resource::{
        self,
        ClaimedRange, //
    }, //
};
use kernel::{
    error::from_err_ptr,
    ffi::{
        c_int,
        c_void, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    str::CString,
    types::Opaque, //
};

/// The kind of a device's memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The CPU maps and accesses it like any other memory (`MEMORY_DEVICE_COHERENT`).
    Coherent,
    /// Only the device accesses it; a CPU access faults (`MEMORY_DEVICE_PRIVATE`).
    Private,
}

/// The owner of a pagemap, by which the kernel distinguishes the pages of devices.
///
/// It is compared and never dereferenced, so it may outlive the pagemap.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Owner(*mut c_void);

// SAFETY: The pointer is not dereferenced.
unsafe impl Send for Owner {}
// SAFETY: As above.
unsafe impl Sync for Owner {}

impl Owner {
    /// The owner of no memory.
    pub const NOBODY: Self = Self(core::ptr::null_mut());

    pub(super) fn as_ptr(self) -> *mut c_void {
        self.0
    }
}

/// A claimed range of physical addresses for a device's pages.
///
/// # Invariants
///
/// If `kind` is [`Kind::Coherent`], the whole range is memory that nothing but the claimant uses:
/// as long as the value lives, the CPU may read and write all of it. Otherwise there is nothing at
/// the addresses.
pub struct DeviceRange {
    claim: ClaimedRange,
    kind: Kind,
}

impl DeviceRange {
    /// Makes a range of coherent memory.
    ///
    /// # Safety
    ///
    /// The range meets the type's invariants, and its data may be lost. The claim does not prove
    /// this: it excludes claims of other drivers and RAM of the kernel, but not use by firmware, a
    /// hypervisor or drivers that claim nothing, nor registers of a device.
    pub(crate) unsafe fn memory(claim: ClaimedRange) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            claim,
            kind: Kind::Coherent,
        }
    }

    /// Makes a range for `size` bytes of private memory, at addresses that the kernel finds unused.
    /// `size` is a multiple of [`resource::alignment`]. ENOSPC if there are none.
    pub(crate) fn addresses(size: u64, name: CString) -> Result<Self> {
        // INVARIANT: `get_free_mem_region()` finds addresses without a resource.
        Ok(Self {
            claim: ClaimedRange::request_free(size, name)?,
            kind: Kind::Private,
        })
    }

    /// Returns the first address.
    pub fn start(&self) -> u64 {
        self.claim.start()
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.claim.size()
    }

    /// Returns the kind of memory.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// The operations of the driver of device memory: `struct dev_pagemap_ops`.
///
/// `'static`, because the kernel calls them until the pagemap is dropped, and a leaked one is never
/// dropped.
pub trait Frames: Send + Sync + Sized + 'static {
    /// The last reference to the `1 << order` pages from `index` on has gone, and they may be
    /// allocated again. Indices count from the first page of the memory.
    ///
    /// Context: any, interrupts included; locks must be taken accordingly, and nothing may sleep.
    fn folio_free(&self, index: usize, order: u32);

    /// Moves a page of private memory to system memory because the CPU has accessed it.
    ///
    /// Context: a page fault, with the mmap lock held for reading and the page locked; sleeps.
    fn migrate_to_ram(memory: &Pagemap<Self>, fault: &CpuFault<'_>) -> FaultOutcome;

    /// The hardware reported that page `index` is damaged. It must not be allocated again, and its
    /// users must not see its current contents. On error the kernel kills the task that hit the
    /// damage.
    ///
    /// Context: process, under `mf_mutex` (`memory_failure()`); sleeps.
    fn memory_failure(memory: &Pagemap<Self>, index: usize) -> Result;
}

/// Device memory that is registered as pages. The kernel itself never allocates from it.
///
/// Dropping it waits, without a limit, until no page is in use (`memunmap_pages()`). Move the pages
/// to system memory first.
///
/// # Invariants
///
/// `pgmap` is registered by `memremap_pages()` for the `nr` pages from `first` on, which are those
/// of `range`. Its ops are [`Self::OPS`], and it is the field of a pinned `Pagemap<T>`.
#[pin_data(PinnedDrop)]
pub struct Pagemap<T: Frames> {
    #[pin]
    pgmap: Opaque<bindings::dev_pagemap>,
    first: usize,
    nr: usize,
    // Released after `drop()` has unregistered the pages.
    range: DeviceRange,
    #[pin]
    frames: T,
}

// SAFETY: `memunmap_pages()` may be called by any task.
unsafe impl<T: Frames> Send for Pagemap<T> {}
// SAFETY: Through a shared reference only the address and constant fields of `pgmap` are used, and
// C functions that synchronise themselves.
unsafe impl<T: Frames> Sync for Pagemap<T> {}

impl<T: Frames> Pagemap<T> {
    const OPS: bindings::dev_pagemap_ops = bindings::dev_pagemap_ops {
        folio_free: Some(Self::folio_free),
        memory_failure: Some(Self::memory_failure),
        migrate_to_ram: Some(Self::migrate_to_ram),
        folio_split: Some(bindings::cdm_damage_split),
    };

    /// Returns the operations, always at the same address, by which [`Self::with_page`] recognises
    /// pagemaps of this type.
    #[inline(never)]
    fn ops() -> *const bindings::dev_pagemap_ops {
        &Self::OPS
    }

    /// Runs `look` on the pagemap of a page, if the pagemap is of this type.
    pub(crate) fn with_page<R>(page: PageRef<'_>, look: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: The helper reads `pgmap` of ZONE_DEVICE pages only. The field is set while the
        // page is in use, which it is while lent.
        let pgmap = unsafe { bindings::hmm_cdm_helper_page_pgmap(page.pfn().as_raw_page()) };
        // SAFETY: A pagemap outlives its pages in use, as `memunmap_pages()` waits for them.
        let ours = !pgmap.is_null() && core::ptr::eq(unsafe { (*pgmap).ops }, Self::ops());

        // SAFETY: With these ops it is the field of a `Pagemap<T>`, by the type invariants.
        ours.then(|| look(unsafe { Self::from_raw(pgmap) }))
    }

    /// Registers `range` on NUMA node `nid`. Sleeps.
    ///
    /// The caller has checked the range for what `memremap_pages()` WARNs about: misalignment
    /// (`memremap_compat_align()`), system RAM inside, addresses outside the linear mapping.
    ///
    /// * ENXIO: there is no such NUMA node, or system RAM is inside
    /// * ENODEV: coherent memory does not keep data that is written to it
    /// * ENOMEM, EINVAL
    pub fn register(
        range: DeviceRange,
        nid: i32,
        frames: impl PinInit<T>,
    ) -> impl PinInit<Self, Error> {
        let (start, size, kind) = (range.start(), range.size(), range.kind());
        let first = (start >> PAGE_SHIFT) as usize;
        let nr = (size >> PAGE_SHIFT) as usize;

        try_pin_init!(Self {
            frames <- frames,
            first,
            nr,
            range,
            // Last: from here on `drop()` has to unregister, so nothing may fail after it, and an
            // operation may be called, which uses the other fields.
            pgmap <- Opaque::try_ffi_init(move |slot: *mut bindings::dev_pagemap| {
                let range = bindings::range { start, end: start + size - 1 };

                // `memremap_pages()` does not check it.
                if !resource::is_possible_nid(nid) {
                    return Err(ENXIO);
                }
                // SAFETY: `slot` is memory to be initialised, and all zeroes is a valid
                // `dev_pagemap`. The union begins with the single range of `nr_range == 1`.
                unsafe {
                    slot.write_bytes(0, 1);
                    (*slot).type_ = match kind {
                        Kind::Coherent => bindings::memory_type_MEMORY_DEVICE_COHERENT,
                        Kind::Private => bindings::memory_type_MEMORY_DEVICE_PRIVATE,
                    };
                    (*slot).ops = Self::ops();
                    (*slot).owner = slot.cast();
                    (*slot).nr_range = 1;
                    (&raw mut (*slot).__bindgen_anon_1)
                        .cast::<bindings::range>()
                        .write(range);
                }

                // SAFETY: `memremap_pages()` requires a claimed range, which `DeviceRange` is, and
                // a `dev_pagemap` that does not move before `memunmap_pages()`, which is called
                // here or in `drop()`: `slot` is pinned. `memory_failure()` may be called as soon
                // as `nr_range` is set (`pgmap_pfn_valid()`), even before this returns. It uses
                // only fields that precede this one. The other operations are for pages that were
                // handed out.
                from_err_ptr(unsafe { bindings::memremap_pages(slot, nid) })?;

                // SAFETY: The pages are registered, so they are in the linear mapping. By the
                // invariants of `DeviceRange` nothing else uses the memory, and no page has been
                // handed out yet.
                if kind == Kind::Coherent && !unsafe { holds_data(*first, *nr) } {
                    // SAFETY: Registered above. No page is in use.
                    unsafe { bindings::memunmap_pages(slot) };
                    return Err(ENODEV);
                }
                Ok(())
            }),
        }? Error)
    }

    /// Returns the driver's data.
    pub fn frames(&self) -> &T {
        &self.frames
    }

    /// Returns the number of pages.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// Returns the frame of page `index`; `None` beyond the end.
    pub fn pfn(&self, index: usize) -> Option<Pfn> {
        // SAFETY: By the type invariants the frame is registered, so it has a `struct page` while
        // `self` lives.
        (index < self.nr).then(|| unsafe { Pfn::new(self.first + index) })
    }

    /// Returns the index of the page with frame `pfn`, if it is a page of this memory.
    pub fn index(&self, pfn: Pfn) -> Option<usize> {
        pfn.raw().checked_sub(self.first).filter(|i| *i < self.nr)
    }

    /// Returns the physical address of the first byte.
    pub fn start(&self) -> u64 {
        (self.first as u64) << PAGE_SHIFT
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        (self.nr * PAGE_SIZE) as u64
    }

    /// Returns the kind of memory.
    pub fn kind(&self) -> Kind {
        self.range.kind()
    }

    /// Returns the owner of the pages.
    pub(crate) fn owner(&self) -> Owner {
        Owner(self.pgmap.get().cast())
    }

    /// Prepares the `1 << order` pages from `index` on for a new user, as one folio. `None` beyond
    /// the end.
    ///
    /// # Safety
    ///
    /// The caller has allocated the pages, and they are not allocated again before
    /// [`Frames::folio_free`] is called for them. `order` is zero or, if the memory is private,
    /// [`super::pmd_order`], in which case the pages are naturally aligned.
    pub unsafe fn hand_out(&self, index: usize, order: u32) -> Option<NewPage> {
        let pfn = self.pfn(index)?;

        // SAFETY: By the type invariants the pages are registered with `pgmap`. By the safety
        // requirements they are free, and aligned if `order` is not zero.
        Some(unsafe { NewPage::device(pfn, self.pgmap.get(), order) })
    }

    /// # Safety
    ///
    /// `pgmap` is the field of a live `Pagemap<T>`.
    unsafe fn from_raw<'a>(pgmap: *mut bindings::dev_pagemap) -> &'a Self {
        let field: *mut Opaque<bindings::dev_pagemap> = pgmap.cast();

        // SAFETY: By the safety requirements it is that field. `Opaque` is a transparent wrapper.
        unsafe { &*kernel::container_of!(field, Self, pgmap) }
    }

    /// # Safety
    ///
    /// Called by `free_zone_device_folio()` for a folio of a pagemap with these ops.
    unsafe extern "C" fn folio_free(folio: *mut bindings::folio) {
        // SAFETY: By the safety requirements it is a folio of ZONE_DEVICE pages, whose `pgmap` is
        // set from `zone_device_page_init()` on.
        let pgmap = unsafe { bindings::hmm_cdm_helper_folio_pgmap(folio) };
        // SAFETY: By the type invariants a pagemap with these ops is the field of a `Pagemap<T>`.
        // It outlives its pages: `memunmap_pages()` waits for them.
        let this = unsafe { Self::from_raw(pgmap) };
        // SAFETY: By the safety requirements the folio is valid.
        let pfn = unsafe { bindings::hmm_cdm_helper_folio_pfn(folio) };
        // SAFETY: As above.
        let order = unsafe { bindings::hmm_cdm_helper_folio_order(folio) };
        // SAFETY: As above. Its last reference has gone, so nothing else uses it.
        unsafe { bindings::cdm_damage_clear(folio) };
        // SAFETY: As above.
        unsafe { bindings::cdm_dissolve_folio(folio) };

        this.frames.folio_free(pfn - this.first, order);
    }

    /// # Safety
    ///
    /// Called by `do_swap_page()` or `do_huge_pmd_device_private()` for a page of a pagemap with
    /// these ops, which is locked and referenced.
    unsafe extern "C" fn migrate_to_ram(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements the fault meets the invariants of `CpuFault` during
        // this call.
        let fault = unsafe { CpuFault::from_raw(vmf) };
        // SAFETY: The page is in use, so its folio has a `pgmap`.
        let pgmap = unsafe { bindings::hmm_cdm_helper_folio_pgmap(fault.folio()) };
        // SAFETY: As in `folio_free()`: the page is in use, so its pagemap is registered.
        let this = unsafe { Self::from_raw(pgmap) };

        T::migrate_to_ram(this, &fault).end(fault)
    }

    /// Never returns -EOPNOTSUPP. That would make the kernel call the generic handler, which
    /// dereferences the mapping of an anonymous page (`mf_generic_kill_procs()` in
    /// mm/memory-failure.c).
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
        // SAFETY: By the type invariants a pagemap with these ops is the field of a `Pagemap<T>`.
        // The caller holds a reference to it, for which `memunmap_pages()` waits. `register()` may
        // not have returned yet, but it has initialised the other fields.
        let this = unsafe { Self::from_raw(pgmap) };
        let first = pfn.saturating_sub(this.first);
        let pages = first..first.saturating_add(nr).min(this.nr);

        // Handles all of them, even if one fails.
        let failed = pages.filter_map(|index| T::memory_failure(this, index).err());
        failed.last().map_or(0, Error::to_errno)
    }
}

/// Returns whether the first and the last of the `nr` pages from frame `first` on keep data that is
/// written to them. Addresses without memory mostly do not, unless a cache hides that: the check
/// finds a wrong address, but proves nothing.
///
/// # Safety
///
/// The pages are coherent memory in the linear mapping, and nothing else uses them.
unsafe fn holds_data(first: usize, nr: usize) -> bool {
    const PATTERN: u64 = 0x6864_6d63_5f6d_6d68;

    [first, first + nr - 1].into_iter().all(|pfn| {
        // SAFETY: By the safety requirements the pages are mapped, and nothing else uses them. A
        // page begins with an aligned word.
        unsafe {
            let p = bindings::hmm_cdm_helper_pfn_to_virt(pfn);

            [PATTERN, !PATTERN].into_iter().all(|value| {
                bindings::hmm_cdm_helper_write_u64(p, value);
                bindings::hmm_cdm_helper_read_u64(p) == value
            })
        }
    })
}

#[pinned_drop]
impl<T: Frames> PinnedDrop for Pagemap<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants it is registered. It is unregistered only here.
        unsafe { bindings::memunmap_pages(self.pgmap.get()) };
    }
}

#[kunit_tests(hmm_cdm_pagemap)]
mod tests {
    use super::*;
    use crate::mm::kunit::expect_warnings;
    use kernel::sync::Arc;

    struct Owner {
        _kept: Arc<()>,
    }

    impl Frames for Owner {
        fn folio_free(&self, _: usize, _: u32) {}
        fn migrate_to_ram(_: &Pagemap<Self>, _: &CpuFault<'_>) -> FaultOutcome {
            FaultOutcome::Lost
        }
        fn memory_failure(_: &Pagemap<Self>, _: usize) -> Result {
            Ok(())
        }
    }

    /// Returns the error of registering the `size` bytes from `start`, and the number of the
    /// kernel's warnings.
    fn refused(start: u64, size: u64, nid: i32) -> Result<(Option<Error>, i32)> {
        let kept = Arc::new((), GFP_KERNEL)?;
        let owner = Owner {
            _kept: kept.clone(),
        };

        // SAFETY: `memremap_pages()` refuses the range, so it is not used.
        let range = unsafe { DeviceRange::memory(ClaimedRange::unclaimed(start, size)?) };
        let (registered, warnings) =
            expect_warnings(|| KBox::pin_init(Pagemap::register(range, nid, owner), GFP_KERNEL))?;
        let error = registered.err();
        // The driver's data has been dropped.
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

        assert_eq!(refused(start, align, 0)?, (Some(ENXIO), 1));
        Ok(())
    }

    #[test]
    fn addresses_that_do_not_exist_are_not_registered() -> Result {
        let beyond = resource::max_address() + 1;

        assert_eq!(
            refused(beyond, resource::alignment(), 0)?,
            (Some(EINVAL), 0)
        );
        // A second attempt is refused for the same reason: nothing is left of the first.
        assert_eq!(
            refused(beyond, resource::alignment(), 0)?,
            (Some(EINVAL), 0)
        );
        Ok(())
    }

    #[test]
    fn numa_nodes_that_do_not_exist_are_refused() -> Result {
        let beyond = resource::max_address() + 1;

        for nid in [-1, i32::MAX] {
            assert_eq!(
                refused(beyond, resource::alignment(), nid)?,
                (Some(ENXIO), 0)
            );
        }
        Ok(())
    }
}

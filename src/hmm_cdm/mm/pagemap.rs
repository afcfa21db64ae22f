// SPDX-License-Identifier: GPL-2.0

//! Device memory as `ZONE_DEVICE` pages: `struct dev_pagemap`.
//!
//! C files: `mm/memremap.c`, `include/linux/memremap.h`.

use super::{
    fault::{
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

/// What kind of memory a device has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The CPU maps and accesses it as any other memory (`MEMORY_DEVICE_COHERENT`).
    Coherent,
    /// Only the device accesses it; an access of the CPU faults (`MEMORY_DEVICE_PRIVATE`).
    Private,
}

/// What the kernel knows a device's pages by: the owner of their pagemap.
///
/// It is compared, never followed, so it may be older than the pagemap.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Owner(*mut c_void);

// SAFETY: The pointer is not followed.
unsafe impl Send for Owner {}
// SAFETY: As above.
unsafe impl Sync for Owner {}

impl Owner {
    /// Of no memory.
    pub const NOBODY: Self = Self(core::ptr::null_mut());

    pub(super) fn as_ptr(self) -> *mut c_void {
        self.0
    }
}

/// A claimed range of physical addresses that a device's pages can be made of.
///
/// # Invariants
///
/// If `kind` is [`Kind::Coherent`], there is memory at all addresses of the range, which is the
/// claimant's alone: as long as the value lives, every byte may be read and written with the CPU's
/// ordinary accesses, in any order and at any time. Otherwise nothing is behind the addresses.
pub struct DeviceRange {
    claim: ClaimedRange,
    kind: Kind,
}

impl DeviceRange {
    /// Coherent memory.
    ///
    /// # Safety
    ///
    /// A claim keeps other drivers off, and the kernel's own RAM cannot be claimed; but firmware, a
    /// hypervisor, or a driver that claims nothing may use a range as well, and registers of a device
    /// are no memory. So the caller answers for it: the range is memory as in the type's invariants.
    /// It may lose what it contains.
    pub(crate) unsafe fn memory(claim: ClaimedRange) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            claim,
            kind: Kind::Coherent,
        }
    }

    /// Addresses for `size` bytes of private memory: some that nothing is behind, which the kernel
    /// finds. `size` is a multiple of [`resource::alignment`]. ENOSPC if there are none.
    pub(crate) fn addresses(size: u64, name: CString) -> Result<Self> {
        // INVARIANT: `get_free_mem_region()` has found no resource there.
        Ok(Self {
            claim: ClaimedRange::request_free(size, name)?,
            kind: Kind::Private,
        })
    }

    /// The first address.
    pub fn start(&self) -> u64 {
        self.claim.start()
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.claim.size()
    }

    /// What kind of memory it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// What the driver of device memory does for its pages: the operations of `struct dev_pagemap_ops`.
///
/// `'static`, because the kernel calls them until the pagemap is dropped, and one that is leaked is
/// never dropped.
pub trait Frames: Send + Sync + Sized + 'static {
    /// The last reference to the `1 << order` pages from `index` on has gone, and they may be
    /// allocated again. Indices count from the first page of the memory.
    ///
    /// Context: any, interrupts included; locks must be taken accordingly, and nothing may sleep.
    fn folio_free(&self, index: usize, order: u32);

    /// Moves a page of private memory to system memory, as the CPU has accessed it.
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

/// A range of physical memory, registered as pages that the kernel never allocates from. Of private
/// memory there are addresses only: nothing is behind them that the CPU could access.
///
/// Dropping it waits, without a bound, until no page is in use (`memunmap_pages()`): the owner
/// moves the pages away first.
///
/// # Invariants
///
/// `pgmap` is registered by `memremap_pages()` for the `nr` pages from `first`, which are those of
/// `range`; its ops are [`Self::OPS`], and it is the field of a pinned `Pagemap<T>`.
#[pin_data(PinnedDrop)]
pub struct Pagemap<T: Frames> {
    #[pin]
    pgmap: Opaque<bindings::dev_pagemap>,
    first: usize,
    nr: usize,
    // After `pgmap`: the pages go before the range is given back.
    range: DeviceRange,
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
        migrate_to_ram: Some(Self::migrate_to_ram),
        folio_split: Some(bindings::cdm_damage_split),
    };

    /// The operations, always by the same address: by them [`Self::with_page`] knows its own.
    #[inline(never)]
    fn ops() -> *const bindings::dev_pagemap_ops {
        &Self::OPS
    }

    /// Runs `look` on the memory that a page is of, if its owner is of the same kind.
    pub(crate) fn with_page<R>(page: PageRef<'_>, look: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: Reads what kind of page it is, and its pagemap, which is set while it is in use:
        // as long as it is lent.
        let pgmap = unsafe { bindings::hmm_cdm_helper_page_pgmap(page.pfn().as_raw_page()) };
        // SAFETY: A pagemap outlives its pages that are in use (`memunmap_pages()` waits for them).
        let ours = !pgmap.is_null() && core::ptr::eq(unsafe { (*pgmap).ops }, Self::ops());

        // SAFETY: With these ops it is the field of a `Pagemap<T>`, by the type invariants.
        ours.then(|| look(unsafe { Self::from_raw(pgmap) }))
    }

    /// Registers `range` on NUMA node `nid`. Sleeps.
    ///
    /// The caller has checked what `memremap_pages()` would WARN about: alignment to
    /// `memremap_compat_align()`, no system RAM inside, addressable.
    ///
    /// * ENXIO: there is no such NUMA node, or system RAM is inside
    /// * ENODEV: coherent memory does not keep what is written to it
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
            // Last, so that nothing can fail after it: from here on `Drop` unregisters.
            pgmap <- Opaque::try_ffi_init(move |slot: *mut bindings::dev_pagemap| {
                let range = bindings::range { start, end: start + size - 1 };

                // `memremap_pages()` takes any number, and looks the node up.
                if !resource::is_possible_nid(nid) {
                    return Err(ENXIO);
                }
                // SAFETY: `slot` is ours to initialise, and all-zeroes is a valid `dev_pagemap`.
                // The union starts with the one range of `nr_range == 1`.
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

                // SAFETY: `slot` is initialised and pinned until `memunmap_pages()`, here or in
                // `drop`. No page is handed out, and so no operation called, before that is
                // complete. The range is claimed, and of the kind that it is registered as.
                from_err_ptr(unsafe { bindings::memremap_pages(slot, nid) })?;

                // SAFETY: The pages have just been registered, as memory that is the claimant's
                // alone, and none is handed out yet.
                if kind == Kind::Coherent && !unsafe { holds_data(*first, *nr) } {
                    // SAFETY: Just registered; no page is in use.
                    unsafe { bindings::memunmap_pages(slot) };
                    return Err(ENODEV);
                }
                Ok(())
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

    /// What kind of memory it is.
    pub fn kind(&self) -> Kind {
        self.range.kind()
    }

    /// What the kernel knows the pages by.
    pub(crate) fn owner(&self) -> Owner {
        Owner(self.pgmap.get().cast())
    }

    /// Prepares the `1 << order` pages from `index` on for a new user, as one page. `None` beyond
    /// the end.
    ///
    /// # Safety
    ///
    /// The caller has got the pages from the allocator, which gives a page only once until
    /// [`Frames::folio_free`] is called for it. `order` is zero, or, with private memory, that of
    /// [`super::pmd_order`]; then they are naturally aligned.
    pub unsafe fn hand_out(&self, index: usize, order: u32) -> Option<NewPage> {
        let pfn = self.pfn(index)?;

        // SAFETY: The pages are ours and registered; nobody else uses them by the safety
        // requirements.
        Some(unsafe { NewPage::device(pfn, self.pgmap.get(), order) })
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
        let pgmap = unsafe { bindings::hmm_cdm_helper_folio_pgmap(folio) };
        // SAFETY: By the type invariants; the pagemap outlives its pages, `memunmap_pages()` waits
        // for them.
        let this = unsafe { Self::from_raw(pgmap) };
        // SAFETY: The folio is valid.
        let pfn = unsafe { bindings::hmm_cdm_helper_folio_pfn(folio) };
        // SAFETY: As above.
        let order = unsafe { bindings::hmm_cdm_helper_folio_order(folio) };
        // SAFETY: As above; nobody else uses it any more.
        unsafe { bindings::cdm_damage_clear(folio) };

        this.frames.folio_free(pfn - this.first, order);
    }

    /// # Safety
    ///
    /// Called by `do_swap_page()` or `do_huge_pmd_device_private()` for a page of a pagemap with
    /// these ops, which is locked and referenced.
    unsafe extern "C" fn migrate_to_ram(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements.
        let fault = unsafe { CpuFault::from_raw(vmf) };
        // SAFETY: The page is in use, so it is its folio's pagemap that it belongs to.
        let pgmap = unsafe { bindings::hmm_cdm_helper_folio_pgmap(fault.folio()) };
        // SAFETY: As in `folio_free()`.
        let this = unsafe { Self::from_raw(pgmap) };

        T::migrate_to_ram(this, &fault).end(fault)
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
        let pages = first..first.saturating_add(nr).min(this.nr);

        // All of them, whatever becomes of the first.
        let failed = pages.filter_map(|index| T::memory_failure(this, index).err());
        failed.last().map_or(0, Error::to_errno)
    }
}

/// Whether the first and the last of `nr` pages from frame `first` on keep what is written to them.
/// Addresses without memory behind them mostly do not, unless a cache answers for them: a check that
/// finds a wrong address, no proof.
///
/// # Safety
///
/// The pages are coherent memory that has a linear mapping, and nobody uses it.
unsafe fn holds_data(first: usize, nr: usize) -> bool {
    const PATTERN: u64 = 0x6864_6d63_5f6d_6d68;

    [first, first + nr - 1].into_iter().all(|pfn| {
        // SAFETY: By the safety requirements; a page begins with an aligned word.
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
        // SAFETY: Registered by the type invariants, and unregistered only here.
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

    /// Why the `size` bytes from `start` were not registered, and how many warnings the kernel had.
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
        // Nothing is left of it that would be in the way of a second attempt.
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

// SPDX-License-Identifier: GPL-2.0

//! The arrays of a migration under way, and the calls that follow each other on them.
//!
//! C file: `mm/migrate_device.c`.

use super::{
    Buffers,
    Request,
    VALID, //
};
use crate::{
    bindings,
    mm::{
        folio::{
            NewPage,
            Pfn, //
        },
        vma::Mapping,
        window_pages,
        Span, //
    },
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*, //
};

#[derive(PartialEq, Eq)]
enum Stage {
    Collected,
    Installed,
}

/// A migration under way.
///
/// # Invariants
///
/// `migrate_vma_setup()` or `migrate_device_range()` has filled the first `nr` entries of
/// `bufs.src`, and `stage` records the calls since. Each entry of `bufs.dst` is zero, one of our
/// flags, or a page that came from [`NewPage::into_mpfn`]. With `vma`, the mmap lock is held for
/// `'a`.
pub(super) struct Arrays<'a> {
    vma: Option<bindings::migrate_vma>,
    // Pages of device memory may have been collected, not only of system memory.
    pub(super) from_device: bool,
    // Holes get no destination.
    pub(super) keeps_holes: bool,
    pub(super) bufs: &'a mut Buffers,
    pub(super) nr: usize,
    stage: Stage,
    _mapping: PhantomData<&'a ()>,
}

impl<'a> Arrays<'a> {
    /// Collects pages of `span`: see [`Collected::vma`](super::Collected::vma).
    pub(super) fn vma(
        mapping: &'a Mapping<'_>,
        span: Span,
        bufs: &'a mut Buffers,
        request: Request<'a>,
    ) -> Result<Self> {
        let nr = span.pages();
        if bufs.pages < nr {
            return Err(EINVAL);
        }
        let whole = if request.whole {
            bindings::migrate_vma_direction_MIGRATE_VMA_SELECT_COMPOUND
        } else {
            0
        };
        let mut args = bindings::migrate_vma {
            vma: mapping.as_ptr(),
            dst: bufs.dst.as_mut_ptr(),
            src: bufs.src.as_mut_ptr(),
            cpages: 0,
            npages: 0,
            start: span.start(),
            end: span.end(),
            pgmap_owner: request.owner.as_ptr(),
            flags: (request.from.flags() | whole) as usize,
            fault_page: request
                .fault
                .map_or(core::ptr::null_mut(), |fault| fault.page()),
        };

        // The walk sets each source entry that it reaches; it may stop early.
        if let Some(dst) = bufs.dst.get_mut(..nr) {
            dst.fill(0);
        }
        // SAFETY: `migrate_vma_setup()` requires a vma under the mmap lock, which `mapping` is for
        // 'a, and arrays with room for the range until the migration is finalized: they are
        // borrowed for 'a and not reallocated. By the invariants of `CpuFault` a fault's page is
        // locked and referenced, for 'a.
        to_result(unsafe { bindings::migrate_vma_setup(&mut args) })?;
        // INVARIANT: The setup has filled the arrays.
        Ok(Self {
            nr: args.npages.min(nr),
            vma: Some(args),
            from_device: request.from.includes_device(),
            // The CPU could not have touched memory that is only reserved, either.
            keeps_holes: mapping.is_protected() || !mapping.is_accessible(),
            bufs,
            stage: Stage::Collected,
            _mapping: PhantomData,
        })
    }

    /// Collects the `nr` pages from `first`: see [`Collected::frames`](super::Collected::frames).
    pub(super) fn frames(first: Pfn, nr: usize, bufs: &'a mut Buffers) -> Result<Self> {
        if bufs.pages < nr || first.raw() % window_pages() + nr > window_pages() {
            return Err(EINVAL);
        }
        for array in [&mut bufs.src, &mut bufs.dst] {
            if let Some(used) = array.get_mut(..nr) {
                used.fill(0);
            }
        }
        // SAFETY: `migrate_device_range()` requires an array with room for `nr` entries, which this
        // one has, and frames with a `struct page`: by the invariants of `Pfn` the first frame has
        // one, and so have the others of its window, as the memory map begins and ends at multiples
        // of the windows' size. It takes references on pages in use.
        to_result(unsafe {
            bindings::migrate_device_range(bufs.src.as_mut_ptr(), first.raw(), nr)
        })?;
        // INVARIANT: The call has filled the source array. The destination array was zeroed above.
        Ok(Self {
            vma: None,
            from_device: true,
            keeps_holes: false,
            bufs,
            nr,
            stage: Stage::Collected,
            _mapping: PhantomData,
        })
    }

    pub(super) fn src(&self, i: usize) -> usize {
        Self::entry(&self.bufs.src, i, self.nr)
    }

    pub(super) fn dst(&self, i: usize) -> usize {
        Self::entry(&self.bufs.dst, i, self.nr)
    }

    /// Returns entry `i` of the `nr` that are in use; zero, which means no page, beyond them.
    fn entry(array: &[usize], i: usize, nr: usize) -> usize {
        array
            .get(..nr)
            .and_then(|used| used.get(i))
            .copied()
            .unwrap_or(0)
    }

    /// Calls `migrate_vma_pages()`, or `migrate_device_pages()` without a vma.
    pub(super) fn pages(&mut self) {
        let (src, dst) = (self.bufs.src.as_mut_ptr(), self.bufs.dst.as_mut_ptr());

        match &mut self.vma {
            // SAFETY: `migrate_vma_pages()` must be called once after `migrate_vma_setup()` has
            // filled `args`. By the type invariants it has, and `install()` and `drop()` call this
            // in stage `Collected` only.
            Some(args) => unsafe { bindings::migrate_vma_pages(args) },
            // SAFETY: The same rule, for `migrate_device_range()`.
            None => unsafe { bindings::migrate_device_pages(src, dst, self.nr) },
        }
        self.stage = Stage::Installed;
    }

    /// Takes back the destination of page `i`, and leaves `instead` in its entry.
    pub(super) fn take_back(&mut self, i: usize, instead: usize) {
        let Some(dst) = self.bufs.dst.get_mut(i) else {
            return;
        };
        let mpfn = *dst;

        if mpfn & VALID != 0 {
            *dst = instead;
            // SAFETY: By the type invariants it came from `NewPage::into_mpfn()`, and it has just
            // been removed from the array.
            drop(unsafe { NewPage::from_mpfn(mpfn) });
        }
    }

    /// Takes back all destinations, so that nothing moves.
    fn abandon(&mut self) {
        for i in 0..self.nr {
            self.take_back(i, 0);
        }
        // Clears MIGRATE of each source without a destination, which is all of them.
        self.pages();
    }
}

impl Drop for Arrays<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Collected {
            self.abandon();
        }

        let (src, dst) = (self.bufs.src.as_mut_ptr(), self.bufs.dst.as_mut_ptr());
        match &mut self.vma {
            // SAFETY: `migrate_vma_finalize()` must follow `migrate_vma_pages()`, which has been
            // called by the type invariants; pages that moved had their content before that. It
            // unlocks and puts all pages in the arrays, which ends the migration.
            Some(args) => unsafe { bindings::migrate_vma_finalize(args) },
            // SAFETY: The same rule, for `migrate_device_pages()`.
            None => unsafe { bindings::migrate_device_finalize(src, dst, self.nr) },
        }
    }
}

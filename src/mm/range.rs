// SPDX-License-Identifier: GPL-2.0

//! Reading the CPU's page table for a device, faulting pages in where asked: `struct hmm_range`.
//!
//! C file: `mm/hmm.c`.

use super::{
    folio::Pfn,
    notifier::{IntervalNotifier, Invalidate, Sequence, Stale},
    Span,
};
use crate::bindings;
use kernel::{alloc::KVVec, error::to_result, mm::MmWithUser, page::PAGE_SHIFT, prelude::*};

/// How an address is accessed, or what a page table entry allows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// How long a walk is repeated while the range keeps changing, in milliseconds. Then the caller
/// decides whether to go on (`HMM_RANGE_DEFAULT_TIMEOUT` in include/linux/hmm.h).
const TIMEOUT_MS: u32 = 1000;

/// One page as the CPU's page table has it.
#[derive(Copy, Clone, Debug)]
pub enum Entry {
    /// No page, and the address may not be accessed at all: unmapped, `PROT_NONE`, special.
    Error,
    /// No page at the moment.
    None,
    /// A page.
    Page {
        /// Its frame.
        pfn: Pfn,
        /// What the CPU's page table entry allows.
        access: Access,
        /// It is mapped as part of a page of `1 << order` base pages.
        order: u8,
    },
}

/// Room for the result of a walk, allocated once and used for many.
pub struct Walker {
    pfns: KVVec<usize>,
}

impl Walker {
    /// Makes room for walks of up to `pages` pages. ENOMEM.
    pub fn new(pages: usize) -> Result<Self> {
        let pfns = KVVec::from_elem(0, pages, GFP_KERNEL)?;

        Ok(Self { pfns })
    }

    /// Looks at `span`, which is inside of the notifier's and no longer than [`Self::new`] made
    /// room for. With `fault`, pages that do not allow that access are first faulted in, as the
    /// CPU's access would; without, nothing changes.
    ///
    /// Sleeps; takes the mmap lock for reading, so the caller must not hold it.
    ///
    /// * EFAULT: an address in the span cannot be accessed that way
    /// * EBUSY: the range kept changing for a second
    /// * EINTR: a fatal signal arrived
    /// * ENOMEM, EINVAL
    pub fn walk<'a, T: Invalidate>(
        &'a mut self,
        mm: &MmWithUser,
        notifier: &'a IntervalNotifier<T>,
        span: Span,
        fault: Option<Access>,
    ) -> Result<Snapshot<'a, T>> {
        if span.intersect(notifier.span()) != Some(span) {
            return Err(EINVAL);
        }
        let pfns = self.pfns.get_mut(..span.pages()).ok_or(EINVAL)?;
        let request = match fault {
            None => 0,
            Some(Access::Read) => bindings::hmm_pfn_flags_HMM_PFN_REQ_FAULT,
            Some(Access::Write) => {
                bindings::hmm_pfn_flags_HMM_PFN_REQ_FAULT
                    | bindings::hmm_pfn_flags_HMM_PFN_REQ_WRITE
            }
        };
        let mut range = bindings::hmm_range {
            notifier: notifier.as_raw(),
            notifier_seq: 0,
            start: span.start(),
            end: span.end(),
            hmm_pfns: pfns.as_mut_ptr(),
            default_flags: request,
            // What an earlier walk left in the array is no request.
            pfn_flags_mask: 0,
            // Private pages of any device are migrated home by the fault.
            dev_private_owner: core::ptr::null_mut(),
        };

        // The sticky flags are copied from input to output.
        pfns.fill(0);
        // SAFETY: `range` describes memory that is valid during the call and large enough; the
        // notifier is inserted, for `mm`, whose `mm_users` the caller holds. No lock is held.
        let ret = to_result(unsafe {
            bindings::hmm_range_fault_unlocked_timeout(
                &mut range,
                kernel::time::msecs_to_jiffies(TIMEOUT_MS),
            )
        });
        let _ = mm;
        match ret {
            Ok(()) => Ok(Snapshot {
                notifier,
                seq: Sequence(range.notifier_seq),
                view: View { span, pfns },
            }),
            // Writing to what may only be read is as wrong as accessing nothing.
            Err(e) if e == EPERM => Err(EFAULT),
            Err(e) => Err(e),
        }
    }
}

/// The result of a walk, which is worth nothing outside of [`Snapshot::commit`]: the page table
/// may have changed since.
pub struct Snapshot<'a, T: Invalidate> {
    notifier: &'a IntervalNotifier<T>,
    seq: Sequence,
    view: View<'a>,
}

impl<T: Invalidate + Unpin> Snapshot<'_, T> {
    /// Runs `enter` with the entries and what the notifier guards, if the entries still hold.
    /// While it runs, no invalidation of the span returns.
    pub fn commit<R>(self, enter: impl FnOnce(&mut T, &View<'_>) -> R) -> Result<R, Stale> {
        let view = self.view;

        self.notifier.commit(self.seq, |data| enter(data, &view))
    }
}

/// The entries of a walk, valid inside of [`Snapshot::commit`].
pub struct View<'a> {
    span: Span,
    pfns: &'a [usize],
}

impl View<'_> {
    /// The span that was walked.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The entry of the page at `addr`; [`Entry::Error`] outside of the span.
    pub fn at(&self, addr: usize) -> Entry {
        addr.checked_sub(self.span.start())
            .and_then(|offset| self.pfns.get(offset >> PAGE_SHIFT))
            .map_or(Entry::Error, |raw| Self::decode(*raw))
    }

    /// All entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.pfns.iter().map(|raw| Self::decode(*raw))
    }

    fn decode(raw: usize) -> Entry {
        const VALID: usize = bindings::hmm_pfn_flags_HMM_PFN_VALID;
        const WRITE: usize = bindings::hmm_pfn_flags_HMM_PFN_WRITE;
        const ERROR: usize = bindings::hmm_pfn_flags_HMM_PFN_ERROR;
        const FLAGS: usize = bindings::hmm_pfn_flags_HMM_PFN_FLAGS;
        const ORDER_SHIFT: u32 = bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT as u32;

        if raw & ERROR != 0 {
            Entry::Error
        } else if raw & VALID == 0 {
            Entry::None
        } else {
            Entry::Page {
                // SAFETY: `hmm_range_fault()` reports frames of pages only: what has none is
                // HMM_PFN_ERROR (hmm_vma_handle_pte()).
                pfn: unsafe { Pfn::new(raw & !FLAGS) },
                access: if raw & WRITE != 0 {
                    Access::Write
                } else {
                    Access::Read
                },
                order: ((raw >> ORDER_SHIFT) & 0x1f) as u8,
            }
        }
    }
}

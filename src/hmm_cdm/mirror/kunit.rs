// SPDX-License-Identifier: GPL-2.0

//! An interval and a driver's page table for the tests of this directory.

use super::{
    device_memory::DeviceMemory,
    interval::{
        Entries,
        WINDOWS_PER_INTERVAL, //
    },
    shared::Shared,
    table::{
        Extent,
        Table, //
    },
};
use crate::mm::{
    folio::NewPage,
    range::View,
    Span, //
};
use kernel::{
    new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// Pages in a window of the tests; a node's windows have more.
pub(super) const PAGES: usize = 4;
pub(super) const SHIFT: u32 = PAGE_SHIFT as u32 + 2;
pub(super) const WINDOW: usize = PAGES << PAGE_SHIFT;
pub(super) const START: usize = 1 << 30;
pub(super) const END: usize = START + WINDOWS_PER_INTERVAL * WINDOW;

pub(super) fn new_shared() -> Result<Arc<Shared>> {
    Ok(Arc::new(Shared::new(), GFP_KERNEL)?)
}

/// Makes the entries for `START..END`, none valid.
pub(super) fn new_entries(shared: &Arc<Shared>) -> Result<Entries> {
    Ok(Entries::new(span(START, END)?, SHIFT, shared.clone()))
}

pub(super) fn span(from: usize, to: usize) -> Result<Span> {
    Span::new(from, to).ok_or(EINVAL)
}

/// Returns the address of page `i` from `START` on.
pub(super) fn at(i: usize) -> usize {
    START + i * PAGE_SIZE
}

/// Makes device memory that consists of `page`, or of nothing.
pub(super) fn memory(page: Option<&NewPage>, private: bool) -> DeviceMemory {
    DeviceMemory::pages(
        page.map_or(0, |page| page.pfn().raw()),
        usize::from(page.is_some()),
        private,
    )
}

/// Fills the entries from `addr` on, after a walk that has reported `raw`, all of it system memory.
pub(super) fn fill(entries: &mut Entries, addr: usize, raw: &[usize]) -> Result<Option<usize>> {
    let view = View::of(span(addr, addr + raw.len() * PAGE_SIZE)?, raw);
    let mut spare = Some(Entries::new_window(PAGES)?);

    Ok(entries.fill(&view, &mut spare, &mut DeviceMemory::default()))
}

/// A call of a driver's operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Map(Extent),
    Invalidate(Span),
}

/// A driver's page table that records how it is called. The tests hold no spinlock when they call
/// it, so it may have a mutex.
#[pin_data]
pub(super) struct Recorder {
    #[pin]
    calls: Mutex<KVec<Call>>,
}

impl Recorder {
    /// Makes the entries of [`new_entries`], and the table that is attached to their mirror.
    pub(super) fn attached() -> Result<(Entries, Arc<Self>)> {
        let recorder = Arc::pin_init(
            pin_init!(Self { calls <- new_mutex!(KVec::new()) }),
            GFP_KERNEL,
        )?;
        let shared = new_shared()?;

        shared.table.populate(recorder.clone());
        Ok((new_entries(&shared)?, recorder))
    }

    /// Returns the calls since the last time.
    pub(super) fn take(&self) -> KVec<Call> {
        core::mem::take(&mut *self.calls.lock())
    }
}

impl Table for Recorder {
    fn map(&self, extent: &Extent) {
        let _ = self.calls.lock().push(Call::Map(*extent), GFP_KERNEL);
    }

    fn invalidate(&self, span: Span) {
        let _ = self.calls.lock().push(Call::Invalidate(span), GFP_KERNEL);
    }
}

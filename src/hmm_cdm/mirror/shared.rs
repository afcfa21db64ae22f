// SPDX-License-Identifier: GPL-2.0

//! What all intervals of a mirror share.

use super::{
    stats::Stats,
    table::{
        Extent,
        Table, //
    },
};
use crate::mm::Span;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SetOnce, //
    },
};

/// What all intervals of a mirror share.
pub(super) struct Shared {
    pub(super) stats: Stats,
    pub(super) table: SetOnce<Arc<dyn Table>>,
    retired: Atomic<bool>,
    suspended: Atomic<bool>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            stats: Stats::new(),
            table: SetOnce::new(),
            retired: Atomic::new(false),
            suspended: Atomic::new(false),
        }
    }

    /// Forbids new entries. This is checked under the interval's lock before an entry is made; the
    /// caller takes that lock afterwards, to clear the interval.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Forbids new entries, or allows them again. Otherwise as [`Self::retire`].
    pub(super) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Relaxed);
    }

    /// Checks whether entries may be made: ESRCH once the mirror has retired, EIO while it is
    /// suspended.
    pub(super) fn check_active(&self) -> Result {
        if self.retired.load(Relaxed) {
            Err(ESRCH)
        } else if self.suspended.load(Relaxed) {
            Err(EIO)
        } else {
            Ok(())
        }
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.as_ref().is_some()
    }

    pub(super) fn map(&self, extent: &Extent) {
        if let Some(table) = self.table.as_ref() {
            table.map(extent);
        }
    }

    pub(super) fn invalidate(&self, span: Span) {
        if let Some(table) = self.table.as_ref() {
            table.invalidate(span);
        }
    }
}

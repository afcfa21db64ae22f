// SPDX-License-Identifier: GPL-2.0

//! The device's own memory as its page table sees it.

use crate::{
    mm::{
        folio::Pfn,
        pagemap::Kind, //
    },
    node::{
        window_lru::WindowLru,
        Node, //
    },
};
use kernel::sync::Arc;

/// The device's own memory as its page table sees it: its frames, its kind, and the LRU in which
/// its use is recorded.
#[derive(Clone, Default)]
pub(super) struct DeviceMemory {
    pub(super) first: usize,
    pub(super) pages: usize,
    pub(super) private: bool,
    window_lru: Option<Arc<WindowLru>>,
}

impl PartialEq for DeviceMemory {
    fn eq(&self, other: &Self) -> bool {
        let same_lru = match (&self.window_lru, &other.window_lru) {
            (Some(lru), Some(others)) => Arc::ptr_eq(lru, others),
            (None, None) => true,
            _ => false,
        };

        same_lru
            && (self.first, self.pages, self.private) == (other.first, other.pages, other.private)
    }
}

impl DeviceMemory {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            first: node.pfn(0).map_or(0, |pfn| pfn.raw()),
            pages: node.pages(),
            private: node.kind() == Kind::Private,
            window_lru: Some(node.window_lru().clone()),
        }
    }

    /// Makes memory that belongs to no node.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn pages(first: usize, pages: usize, private: bool) -> Self {
        Self {
            first,
            pages,
            private,
            window_lru: None,
        }
    }

    /// Returns its frames.
    pub(super) fn frames(&self) -> core::ops::Range<usize> {
        self.first..self.first + self.pages
    }

    /// Returns the offset of `pfn` from the start of the memory, in pages, if it is in there.
    pub(super) fn index(&self, pfn: Pfn) -> Option<usize> {
        let index = pfn.raw().wrapping_sub(self.first);

        (index < self.pages).then_some(index)
    }

    /// Records that the device has used page `index`. Context: any.
    pub(super) fn touch(&self, index: usize) {
        if let Some(window_lru) = &self.window_lru {
            window_lru.touch(index);
        }
    }
}

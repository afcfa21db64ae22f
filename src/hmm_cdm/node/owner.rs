// SPDX-License-Identifier: GPL-2.0

//! The owner of a device page that a page table names.

use super::pages::NodePages;
use crate::mm::{
    folio::PageRef,
    pagemap::{
        Kind,
        Owner,
        Pagemap, //
    }, //
};

/// Identifies the owner of a device page.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct PageOwner {
    /// The owner of the pagemap, by which the kernel tells pages of devices apart.
    pub(crate) owner: Owner,
    pub(crate) kind: Kind,
    /// The N of its `/dev/hmm_cdm<N>`, if it has such a file.
    pub(crate) device: Option<u32>,
}

impl PageOwner {
    /// Returns the owner of `page` if it is one of the library's nodes.
    pub(crate) fn of(page: PageRef<'_>) -> Option<Self> {
        Pagemap::<NodePages>::with_page(page, |memory| Self {
            owner: memory.owner(),
            kind: memory.frames().kind(),
            device: memory.frames().device(),
        })
    }
}

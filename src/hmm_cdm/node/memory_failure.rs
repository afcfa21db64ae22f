// SPDX-License-Identifier: GPL-2.0

//! Memory failure: pages that the hardware or the device reports as damaged, or about to be.
//!
//! The frame of such a page is retired: it is never allocated again. A page whose content is lost
//! is taken away from its users (see `poison.rs`), who get SIGBUS on their next access. A page
//! whose content is still good is moved to system memory, which its users do not notice.
//!
//! A pinned page cannot be moved. After a few attempts the report returns EBUSY; a page whose
//! content is lost is then left to the node's thread (`poison_worker.rs`). Until that succeeds, the
//! device has no access to the page, and it is not copied, as the copy would look sound.

use super::{
    pages::NodePages,
    poison::{
        poison_page,
        PoisonResult, //
    },
    Node, //
};
use crate::mm::{
    copy::Direction,
    folio::NewPage,
    migrate::{
        Buffers,
        Collected,
        Outcome, //
    },
    pagemap::{
        Kind,
        Pagemap, //
    },
    window_pages, //
};
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Delays before the attempts to move a page, in milliseconds; then the report returns.
const WAITS_MS: [i64; 5] = [0, 1, 4, 16, 64];

/// Retires page `index`, whose content is lost, and takes it away from its users. Sleeps; the
/// caller holds no lock of mm.
///
/// EBUSY if some of them can still read it: the page has elevated references, or there was no
/// memory for a poison page.
pub(super) fn handle(memory: &Pagemap<NodePages>, index: usize) -> Result {
    let pfn = memory.pfn(index).ok_or(EINVAL)?;
    let pages = memory.frames();

    if pages.retire(index) {
        pr_err!("page {index} of a node is damaged and taken out of use\n");
    }
    for wait in WAITS_MS {
        fsleep(Delta::from_millis(wait));
        // `PoisonResult::Unused` is not enough: the page may be allocated and about to be mapped.
        if !pages.is_used(index) || poison_page(pfn) == Ok(PoisonResult::Poisoned) {
            return Ok(());
        }
    }
    if let Some(worker) = pages.poison_worker() {
        worker.add(pfn)?;
    }
    Err(EBUSY)
}

impl Node {
    /// Retires page `index`, as the device reports that it will fail soon but is still good. Its
    /// content is moved to system memory, by the driver's [`copier`](crate::mm::copy::Copier) if it
    /// has one, and its users keep it. Sleeps; the caller holds no lock of mm.
    ///
    /// EBUSY if it could not be moved, for elevated references: it is not allocated again, and the
    /// caller may try again. ENOMEM, EIO if it could not be copied, EINVAL if there is no such
    /// page.
    pub fn retire(&self, index: usize) -> Result {
        if index >= self.pages() {
            return Err(EINVAL);
        }
        if self.node_pages().retire(index) {
            pr_warn!("page {index} of a node is taken out of use\n");
        }
        let mut result = Ok(());
        for wait in WAITS_MS {
            fsleep(Delta::from_millis(wait));
            if !self.node_pages().is_used(index) {
                return Ok(());
            }
            result = self.move_to_system(index);
        }
        match result {
            Ok(()) if self.node_pages().is_used(index) => Err(EBUSY),
            result => result,
        }
    }

    /// Retires page `index`, as the device reports that its content is lost. (Damage that the
    /// kernel finds comes through `memory_failure()`.) Sleeps; the caller holds no lock of mm.
    ///
    /// The next access of each user ends with SIGBUS. EBUSY if some of them can still read it,
    /// EINVAL if there is no such page.
    pub fn fail(&self, index: usize) -> Result {
        handle(&self.pagemap, index)
    }

    /// Moves a page to system memory, and all of a huge page that it is part of.
    fn move_to_system(&self, index: usize) -> Result {
        let (first, pages) = match self.kind() {
            Kind::Coherent => (index, 1),
            Kind::Private => {
                let window = window_pages();
                let offset = self.pfn(index).ok_or(EINVAL)?.raw() % window;

                // A huge page is a whole window of the node.
                match index.checked_sub(offset) {
                    Some(first) if first + window <= self.pages() => (first, window),
                    _ => (index, 1),
                }
            }
        };
        let mut bufs = Buffers::new(pages)?;
        let first_pfn = self.pfn(first).ok_or(EINVAL)?;
        let mut collected = Collected::frames(first_pfn, pages, &mut bufs)?;
        let (place, destination) = if collected.is_huge(0) {
            (0, NewPage::system_huge_patiently())
        } else {
            (index - first, NewPage::system())
        };

        collected.set_destination(place, destination.ok_or(ENOMEM)?);
        let done = collected.install(self.mover(Direction::Out));
        match done.outcome(place) {
            Outcome::NotCopied => Err(EIO),
            Outcome::Moved => Ok(()),
            _ => Err(EBUSY),
        }
    }
}

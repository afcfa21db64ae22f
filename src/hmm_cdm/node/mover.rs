// SPDX-License-Identifier: GPL-2.0

//! What copies the pages of a node.

use super::pages::NodePages;
use crate::mm::{
    copy::{
        Direction,
        Mover, //
    },
    pagemap::Pagemap, //
};

/// Returns what copies between system memory and `memory`.
pub(super) fn mover(memory: &Pagemap<NodePages>, direction: Direction) -> Mover<'_> {
    match (memory.frames().copier(), memory.pfn(0)) {
        (Some(copier), Some(first)) if copier.copies() => Mover::Device {
            copier: &**copier,
            first,
            pages: memory.nr(),
            direction,
        },
        _ => Mover::Cpu,
    }
}

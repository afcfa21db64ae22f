// SPDX-License-Identifier: GPL-2.0

//! The bounded steps in which an operation advances.

/// Most single accesses to memory in one step.
pub(crate) const ACCESSES_PER_STEP: u64 = 4096;
/// Bytes that the engine processes at a time: the size of its registers.
pub(crate) const CHUNK: usize = 4096;
/// Most chunks in one step.
pub(crate) const CHUNKS_PER_STEP: usize = 64;

/// Whether an operation needs another step.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Step again.
    More,
    /// The results are complete.
    Done,
}

// SPDX-License-Identifier: GPL-2.0
// error: E0478

//! The kernel calls a leaked notifier, so its data must not borrow anything.

use hmm_cdm::mm::{
    notifier::Invalidate,
    Span, //
};
use kernel::prelude::*;

#[cfg(not(misuse))]
struct Entries(KVec<u64>);
#[cfg(misuse)]
struct Entries<'a>(&'a mut [u64]);

#[cfg(not(misuse))]
impl Invalidate for Entries {
    fn invalidate(&mut self, _: Span) {
        self.0.clear();
    }
}

#[cfg(misuse)]
impl Invalidate for Entries<'_> {
    fn invalidate(&mut self, _: Span) {
        self.0.fill(0);
    }
}

// SPDX-License-Identifier: GPL-2.0
// error: E0499

//! A snapshot is in the walker's buffers, so the next walk ends it.

use hmm_cdm::mm::{
    notifier::{
        Invalidate,
        NotifierWithUser, //
    },
    pagemap::Owner,
    range::Walker,
    Span, //
};
use kernel::prelude::*;

pub fn twice<T: Invalidate + Unpin>(
    walker: &mut Walker,
    watched: NotifierWithUser<'_, T>,
    span: Span,
) -> Result {
    let first = walker.walk(watched, span, None, Owner::NOBODY)?;
    #[cfg(not(misuse))]
    let _ = first.commit(|_, _| ());

    let second = walker.walk(watched, span, None, Owner::NOBODY)?;
    #[cfg(misuse)]
    let _ = first.commit(|_, _| ());
    let _ = second.commit(|_, _| ());
    Ok(())
}

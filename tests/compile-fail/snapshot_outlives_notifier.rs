// SPDX-License-Identifier: GPL-2.0
// error: E0505

//! A snapshot must not outlive the notifier that it is committed to.

use hmm_cdm::mm::{
    notifier::{
        IntervalNotifier,
        Invalidate, //
    },
    pagemap::Owner,
    range::Walker, //
};
use kernel::{
    mm::MmWithUser,
    prelude::*, //
};

pub fn late<T: Invalidate + Unpin>(
    walker: &mut Walker,
    mm: &MmWithUser,
    notifier: Pin<KBox<IntervalNotifier<T>>>,
) -> Result {
    let span = notifier.span();
    let snapshot = walker.walk(notifier.with_user(mm)?, span, None, Owner::NOBODY)?;

    #[cfg(misuse)]
    drop(notifier);
    let _ = snapshot.commit(|_, _| ());
    Ok(())
}

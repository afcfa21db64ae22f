// SPDX-License-Identifier: GPL-2.0
// error: E0451

//! Only with_user() makes a pair, as it compares the address spaces.

use hmm_cdm::mm::notifier::{
    IntervalNotifier,
    Invalidate,
    NotifierWithUser, //
};
use kernel::{
    mm::MmWithUser,
    prelude::*, //
};

pub fn pair<'a, T: Invalidate>(
    notifier: &'a IntervalNotifier<T>,
    mm: &'a MmWithUser,
) -> Result<NotifierWithUser<'a, T>> {
    #[cfg(not(misuse))]
    let pair = notifier.with_user(mm)?;
    #[cfg(misuse)]
    let pair = NotifierWithUser { notifier, mm };

    Ok(pair)
}

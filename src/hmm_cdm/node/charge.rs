// SPDX-License-Identifier: GPL-2.0

//! Charges of a node's pages to cgroups: each page is charged to the cgroup of the process that
//! allocated it, if the kernel has the dmem controller ([`crate::os::dmem`]).
//!
//! A page stays charged to that cgroup until it is freed, whatever happens to the process or to the
//! cgroup, as with other memory (Documentation/admin-guide/cgroup-v2.rst, "Memory Ownership").
//! Without a controller nothing is registered, and all this costs one check for that.
//!
//! # Accounts
//!
//! A node has a [`CgroupAccount`] for each cgroup that has pages of it, and two bytes per page, the
//! number of the account that the page is charged to. An account is made for a cgroup's first page,
//! and goes with its last.
//!
//! Each uncharge drops a reference that one charge took, so there can be no more uncharges than
//! charges. Single pages are therefore charged one by one: the charge is then exact, and a limit
//! can be used up to the last page. A huge page is one charge, but it may be split and freed in
//! parts: an account returns freed pages once they amount to an average charge, and the rest with
//! its last page.
//!
//! # Contexts
//!
//! [`DmemCharges::reserve`] charges the cgroup of `current`, and sleeps. [`DmemCharges::freed`] may
//! be called in any context. `DmemCharges::table` is an innermost lock: nothing is called under it
//! but the controller's walk of its counters, by [`DmemCharges::victims`], which takes no lock.

use crate::os::dmem::{
    Charge,
    DmemRegion,
    Limit, //
};
use core::{
    mem,
    ops::Range, //
};
use kernel::{
    alloc::KVVec,
    new_spinlock_irq,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        SetOnce,
        SpinLockIrq, //
    }, //
};

/// The size of a new table of accounts.
const ACCOUNTS: usize = 16;

/// The share of one cgroup in the node.
struct CgroupAccount {
    charge: Charge,
    // Pages in use or reserved.
    used: usize,
}

/// The accounts of a node, and the account of each page.
struct ChargeTable {
    accounts: KVVec<Option<CgroupAccount>>,
    // For each page of the node the number of its account plus one; zero if the page is free.
    owners: KVVec<u16>,
}

/// Returns the number of charges whose references an uncharge drops: its own, and those that the
/// account has beyond one per page in use. It keeps one for each of these, as each may be freed by
/// itself; more would accumulate without bound on a full node.
fn calls_due(calls: u64, used: u64) -> u64 {
    calls.saturating_sub(used).max(1)
}

/// Returns the number of pages to return to the controller, of those that are charged but no longer
/// used: all of them if they are as many as an average charge has, or else none.
fn due(charged: u64, calls: u64, used: u64) -> Option<u64> {
    let spare = charged.saturating_sub(used);

    (spare > 0 && spare >= charged.div_ceil(calls.max(1))).then_some(spare)
}

impl ChargeTable {
    /// Adds a charge for `pages` pages, and returns the number of its account. Returns the charge
    /// if it needs another account and the table is full.
    fn add(&mut self, charge: Charge, pages: usize) -> Result<usize, Charge> {
        let known = self
            .accounts
            .iter()
            .position(|slot| matches!(slot, Some(known) if known.charge.is_same(&charge)));
        let id = known.or_else(|| self.accounts.iter().position(Option::is_none));

        let Some((id, slot)) = id.and_then(|id| Some((id, self.accounts.get_mut(id)?))) else {
            return Err(charge);
        };
        match slot {
            Some(account) => {
                account.charge.join(charge)?;
                account.used += pages;
            }
            None => {
                *slot = Some(CgroupAccount {
                    charge,
                    used: pages,
                });
            }
        }
        Ok(id)
    }

    /// Removes `pages` pages from an account. Returns the charge to undo, which the caller drops
    /// after it has released the lock.
    fn release(&mut self, id: usize, pages: usize) -> Option<Charge> {
        let slot = self.accounts.get_mut(id)?;
        let account = slot.as_mut()?;

        account.used = account.used.saturating_sub(pages);
        if account.used == 0 {
            return slot.take().map(|account| account.charge);
        }
        let (size, used) = (PAGE_SIZE as u64, account.used as u64);
        let (charged, calls) = (account.charge.bytes() / size, account.charge.calls());
        let due = due(charged, calls, used)?;

        account.charge.split(due * size, calls_due(calls, used))
    }

    /// Returns the number of the account that page `index` is charged to.
    fn account_of(&self, index: usize) -> Option<usize> {
        usize::from(*self.owners.get(index)?).checked_sub(1)
    }
}

/// The charges of a node's pages to cgroups.
#[pin_data]
pub(super) struct DmemCharges {
    region: SetOnce<DmemRegion>,
    #[pin]
    table: SpinLockIrq<ChargeTable>,
}

impl DmemCharges {
    /// Makes an empty table; nothing is charged until [`Self::open`].
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            region: SetOnce::new(),
            table <- new_spinlock_irq!(
                ChargeTable {
                    accounts: KVVec::new(),
                    owners: KVVec::new(),
                },
                "DmemCharges::table"
            ),
        })
    }

    /// Starts to charge the `pages` pages of the node, as the memory of `region`. Called before any
    /// is allocated. ENOMEM.
    pub(super) fn open(&self, region: DmemRegion, pages: usize) -> Result {
        let owners = KVVec::from_elem(0, pages, GFP_KERNEL)?;
        let accounts = empty(ACCOUNTS)?;
        {
            let mut table = self.table.lock();
            // Both replace empty vectors, so nothing is freed under the lock.
            table.owners = owners;
            table.accounts = accounts;
        }
        self.region.populate(region);
        Ok(())
    }

    /// Returns whether pages are charged.
    pub(super) fn is_open(&self) -> bool {
        self.region.as_ref().is_some()
    }

    /// Charges the cgroup of `current` for up to `count` single pages: as many as its limits allow.
    pub(super) fn reserve(&self, count: usize) -> Reservation<'_> {
        self.charge(count, 1)
    }

    /// Charges the cgroup of `current` for a huge page of `pages` pages. `None` if a limit does not
    /// allow it.
    pub(super) fn reserve_huge(&self, pages: usize) -> Option<Reservation<'_>> {
        Some(self.charge(1, pages)).filter(|reservation| reservation.pages == pages)
    }

    /// Makes up to `count` charges for `each` pages.
    fn charge(&self, count: usize, each: usize) -> Reservation<'_> {
        let Some(region) = self.region.as_ref() else {
            return Reservation {
                account: None,
                pages: count * each,
            };
        };
        let size = (each * PAGE_SIZE) as u64;
        let mut charged: Option<Charge> = None;
        let mut pages = 0;

        for _ in 0..count {
            let Ok(more) = region.try_charge(size) else {
                break;
            };
            match &mut charged {
                Some(sum) => {
                    // The process was moved to another cgroup just now, which the next reservation
                    // charges.
                    if sum.join(more).is_err() {
                        break;
                    }
                }
                None => charged = Some(more),
            }
            pages += each;
        }
        match charged.and_then(|charge| self.add(charge, pages)) {
            Some(id) => Reservation {
                account: Some((self, id)),
                pages,
            },
            None => Reservation {
                account: None,
                pages: 0,
            },
        }
    }

    /// Adds a charge to the table, which grows if necessary. Returns the number of its account,
    /// `None` without memory.
    fn add(&self, mut charge: Charge, pages: usize) -> Option<usize> {
        loop {
            let mut table = self.table.lock();
            let have = table.accounts.len();

            charge = match table.add(charge, pages) {
                Ok(id) => return Some(id),
                Err(charge) => charge,
            };
            drop(table);
            self.grow(have).ok()?;
        }
    }

    /// Grows the table beyond `have` accounts. ENOMEM, also if it cannot be larger.
    fn grow(&self, have: usize) -> Result {
        let room = (2 * have).min(usize::from(u16::MAX));
        if room <= have {
            return Err(ENOMEM);
        }
        let mut accounts = empty(room)?;
        let mut table = self.table.lock();

        // Otherwise another task has grown it.
        if table.accounts.len() == have {
            for (new, old) in accounts.iter_mut().zip(table.accounts.iter_mut()) {
                *new = old.take();
            }
            mem::swap(&mut table.accounts, &mut accounts);
        }
        // The lock is released before `accounts`, which was declared earlier, is freed.
        Ok(())
    }

    /// Uncharges the `1 << order` pages from `index` on, which have lost their last user. Called
    /// before they can be allocated again. Context: any.
    pub(super) fn freed(&self, index: usize, order: u32) {
        if !self.is_open() {
            return;
        }
        let pages = 1 << order;
        let mut table = self.table.lock();
        // They have the same account, as a huge page is charged as a whole.
        let id = table.account_of(index);

        if let Some(owners) = table.owners.get_mut(index..index + pages) {
            owners.fill(0);
        }
        let uncharged = id.and_then(|id| table.release(id, pages));
        drop(table);
        drop(uncharged);
    }

    /// Returns the pages that are worth freeing to get below `limit`. Sets `hit_low` if, with
    /// `ignore_low` false, some are protected by `dmem.low`. ENOMEM.
    pub(super) fn victims(
        &self,
        limit: Limit<'_>,
        ignore_low: bool,
        hit_low: &mut bool,
    ) -> Result<Victims<'_>> {
        // Accounts that are made later do not count.
        let have = self.table.lock().accounts.len();
        let mut accounts = KVVec::with_capacity(have, GFP_KERNEL)?;

        for id in 0..have {
            // The lock is taken for each account, as interrupts are off under it.
            let table = self.table.lock();
            let worth = match table.accounts.get(id) {
                Some(Some(account)) => account.charge.is_worth_freeing(limit, ignore_low, hit_low),
                _ => false,
            };
            drop(table);
            accounts.push(worth, GFP_KERNEL)?;
        }
        Ok(Victims {
            charges: self,
            accounts,
        })
    }
}

/// Makes `room` empty slots for accounts.
fn empty(room: usize) -> Result<KVVec<Option<CgroupAccount>>> {
    let mut accounts = KVVec::with_capacity(room, GFP_KERNEL)?;

    for _ in 0..room {
        accounts.push(None, GFP_KERNEL)?;
    }
    Ok(accounts)
}

/// Pages that are charged but not allocated yet. Dropping it uncharges those that were not
/// assigned.
pub(super) struct Reservation<'a> {
    account: Option<(&'a DmemCharges, usize)>,
    pages: usize,
}

impl Reservation<'_> {
    /// Returns the number of pages.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Assigns the charge to pages that were allocated. Called before anyone can free them.
    pub(super) fn assign(&mut self, indices: impl IntoIterator<Item = usize>) {
        let Some((charges, id)) = self.account else {
            return;
        };
        let owner = u16::try_from(id + 1).unwrap_or(0);
        let mut table = charges.table.lock();

        for index in indices {
            if let (Some(slot), true) = (table.owners.get_mut(index), self.pages > 0) {
                *slot = owner;
                self.pages -= 1;
            }
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some((charges, id)) = self.account {
            if self.pages > 0 {
                let uncharged = charges.table.lock().release(id, self.pages);
                drop(uncharged);
            }
        }
    }
}

/// Pages that are worth freeing to get below a limit.
///
/// A hint only: an account may have gone since, and its number may be that of another cgroup.
pub(crate) struct Victims<'a> {
    charges: &'a DmemCharges,
    accounts: KVVec<bool>,
}

impl Victims<'_> {
    /// Returns whether page `index` is one of them.
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.has(&self.charges.table.lock(), index)
    }

    /// Returns whether any page of `range` is one of them.
    pub(crate) fn any(&self, mut range: Range<usize>) -> bool {
        let table = self.charges.table.lock();

        range.any(|index| self.has(&table, index))
    }

    fn has(&self, table: &ChargeTable, index: usize) -> bool {
        let id = table.account_of(index);

        id.is_some_and(|id| self.accounts.get(id) == Some(&true))
    }
}

#[kunit_tests(hmm_cdm_charge)]
mod tests {
    use super::*;

    #[test]
    fn single_pages_are_uncharged_at_once() {
        assert_eq!(due(10, 10, 10), None);
        assert_eq!(due(10, 10, 9), Some(1));
        assert_eq!(due(10, 10, 7), Some(3));
        assert_eq!(due(2, 2, 1), Some(1));
    }

    #[test]
    fn parts_of_huge_pages_are_uncharged_together() {
        // Two huge pages: one page is freed, then all of the first but one, then all of it.
        assert_eq!(due(1024, 2, 1023), None);
        assert_eq!(due(1024, 2, 513), None);
        assert_eq!(due(1024, 2, 512), Some(512));
        // With single pages beside it the average charge is smaller.
        assert_eq!(due(512 + 100, 101, 606), None);
        assert_eq!(due(512 + 100, 101, 605), Some(7));
    }

    #[test]
    fn no_account_keeps_more_calls_than_pages() {
        // A cgroup with one page reserved 32 more, and the node was full.
        assert_eq!(due(33, 33, 1), Some(32));
        assert_eq!(calls_due(33, 1), 32);
        // Single pages have one call each; a huge page has one.
        assert_eq!(calls_due(10, 9), 1);
        assert_eq!(calls_due(2, 512), 1);
        assert_eq!(calls_due(1, 0), 1);
    }

    #[test]
    fn pages_in_use_stay_charged() {
        assert_eq!(due(0, 1, 0), None);
        assert_eq!(due(5, 0, 5), None);
        assert_eq!(due(5, 5, 6), None);
    }
}

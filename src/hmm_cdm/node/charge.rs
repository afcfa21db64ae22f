// SPDX-License-Identifier: GPL-2.0

//! Who is charged for the pages of a node: the cgroup of the process that asked for them, where the
//! kernel has the dmem controller ([`crate::os::dmem`]).
//!
//! A page stays charged to the cgroup that it was first charged to until it is freed, whatever
//! becomes of the process or of the cgroup, as with other memory (Documentation/admin-guide/
//! cgroup-v2.rst, "Memory Ownership"). Without a controller there is no region, and all this costs
//! is a look at whether there is one.
//!
//! # Whose page it is
//!
//! A node has an [`Account`] for each cgroup that has pages of it, and for each page the number of
//! its account: two bytes a page. Accounts come with a cgroup's first page and go with its last.
//!
//! The controller gives bytes back only together with a reference that a charge has taken, so single
//! pages are charged one by one: then what is charged is what is in use, to the page, and a limit is
//! used to the last page. A huge page is one charge. It may be split, and its parts are freed then
//! without a reference each. So an account gives back what the average charge was when it has that
//! much to give back, and everything with its last page.
//!
//! # Contexts
//!
//! [`DmemCharges::reserve`] charges `current`, and sleeps. [`DmemCharges::freed`] may be called in any context.
//! The lock is innermost: nothing is called under it but, in [`DmemCharges::victims`], the
//! controller's walk of its counters, which takes no lock.

use crate::os::dmem::{Charge, DmemRegion, Limit};
use core::{mem, ops::Range};
use kernel::{
    alloc::KVVec,
    new_spinlock_irq,
    page::PAGE_SIZE,
    prelude::*,
    sync::{SetOnce, SpinLockIrq},
};

/// How many accounts there is room for at first.
const ACCOUNTS: usize = 16;

/// What one cgroup has of the node.
struct Account {
    charge: Charge,
    // Pages in use, or granted.
    used: usize,
}

struct ChargeTable {
    accounts: KVVec<Option<Account>>,
    // For each page of the node the number of its account, plus one; zero if it is free.
    owners: KVVec<u16>,
}

/// With how many calls pages are given back: no account keeps more than it has pages, each of which
/// may go by itself. Every call holds references, which a full node would else gather without bound.
fn calls_due(calls: u64, used: u64) -> u64 {
    calls.saturating_sub(used).max(1)
}

/// Pages that are charged and not given back before a further charge is: see the top.
fn due(charged: u64, calls: u64, used: u64) -> Option<u64> {
    let spare = charged.saturating_sub(used);

    (spare > 0 && spare >= charged.div_ceil(calls.max(1))).then_some(spare)
}

impl ChargeTable {
    /// Enters a charge for `pages` pages, and returns the number of its account. It is handed back if
    /// there is no room for another one.
    fn enter(&mut self, charge: Charge, pages: usize) -> Result<usize, Charge> {
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
                *slot = Some(Account {
                    charge,
                    used: pages,
                });
            }
        }
        Ok(id)
    }

    /// `pages` pages of the account are no longer used. Returns what is to be given back, which the
    /// caller drops when it has let go of the lock.
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

    fn account_of(&self, index: usize) -> Option<usize> {
        usize::from(*self.owners.get(index)?).checked_sub(1)
    }
}

/// The accounts of a node.
#[pin_data]
pub(super) struct DmemCharges {
    region: SetOnce<DmemRegion>,
    #[pin]
    books: SpinLockIrq<ChargeTable>,
}

impl DmemCharges {
    /// Nothing is charged until [`Self::open`].
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            region: SetOnce::new(),
            books <- new_spinlock_irq!(
                ChargeTable {
                    accounts: KVVec::new(),
                    owners: KVVec::new(),
                },
                "DmemCharges::books"
            ),
        })
    }

    /// From now on the `pages` pages of the node are charged, as the memory of `region`. Called
    /// before any is handed out. ENOMEM.
    pub(super) fn open(&self, region: DmemRegion, pages: usize) -> Result {
        let owners = KVVec::from_elem(0, pages, GFP_KERNEL)?;
        let accounts = empty(ACCOUNTS)?;
        {
            let mut books = self.books.lock();
            // What was there is empty.
            books.owners = owners;
            books.accounts = accounts;
        }
        self.region.populate(region);
        Ok(())
    }

    /// Whether anything is charged.
    pub(super) fn is_open(&self) -> bool {
        self.region.as_ref().is_some()
    }

    /// Charges `current`'s cgroup for up to `count` single pages: for as many as its limits allow.
    pub(super) fn reserve(&self, count: usize) -> Reservation<'_> {
        self.charge(count, 1)
    }

    /// Charges `current`'s cgroup for a huge page of `pages` pages. `None` if a limit does not allow
    /// it.
    pub(super) fn reserve_huge(&self, pages: usize) -> Option<Reservation<'_>> {
        Some(self.charge(1, pages)).filter(|reserve| reserve.pages == pages)
    }

    /// Charges for up to `count` times `each` pages.
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
                    // If somebody has just moved the process to another cgroup, that one is for the
                    // next reserve.
                    if sum.join(more).is_err() {
                        break;
                    }
                }
                None => charged = Some(more),
            }
            pages += each;
        }
        match charged.and_then(|charge| self.enter(charge, pages)) {
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

    fn enter(&self, mut charge: Charge, pages: usize) -> Option<usize> {
        loop {
            let mut books = self.books.lock();
            let have = books.accounts.len();

            charge = match books.enter(charge, pages) {
                Ok(id) => return Some(id),
                Err(charge) => charge,
            };
            drop(books);
            self.grow(have).ok()?;
        }
    }

    /// Makes room for more than `have` accounts. ENOMEM, also if there can be no more.
    fn grow(&self, have: usize) -> Result {
        let room = (2 * have).min(usize::from(u16::MAX));
        if room <= have {
            return Err(ENOMEM);
        }
        let mut accounts = empty(room)?;
        let mut books = self.books.lock();

        // Else someone else was faster.
        if books.accounts.len() == have {
            for (new, old) in accounts.iter_mut().zip(books.accounts.iter_mut()) {
                *new = old.take();
            }
            mem::swap(&mut books.accounts, &mut accounts);
        }
        // `accounts` is freed after the lock, which was taken later.
        Ok(())
    }

    /// The `1 << order` pages from `index` have lost their last user. Called before someone else
    /// can get them. Context: any.
    pub(super) fn freed(&self, index: usize, order: u32) {
        if !self.is_open() {
            return;
        }
        let pages = 1 << order;
        let mut books = self.books.lock();
        // All are one account's: a huge page is charged as a whole.
        let id = books.account_of(index);

        if let Some(owners) = books.owners.get_mut(index..index + pages) {
            owners.fill(0);
        }
        let back = id.and_then(|id| books.release(id, pages));
        drop(books);
        drop(back);
    }

    /// The pages that are worth while to be freed for the sake of `limit`. `hit_low` becomes true if
    /// there are some that are not, as long as `ignore_low` is false. ENOMEM.
    pub(super) fn victims(
        &self,
        limit: Limit<'_>,
        ignore_low: bool,
        hit_low: &mut bool,
    ) -> Result<Victims<'_>> {
        // Accounts that come later are not looked at.
        let have = self.books.lock().accounts.len();
        let mut accounts = KVVec::with_capacity(have, GFP_KERNEL)?;

        for id in 0..have {
            // For one account at a time: interrupts are off.
            let books = self.books.lock();
            let worth = match books.accounts.get(id) {
                Some(Some(account)) => account.charge.is_worth_freeing(limit, ignore_low, hit_low),
                _ => false,
            };
            drop(books);
            accounts.push(worth, GFP_KERNEL)?;
        }
        Ok(Victims {
            charges: self,
            accounts,
        })
    }
}

fn empty(room: usize) -> Result<KVVec<Option<Account>>> {
    let mut accounts = KVVec::with_capacity(room, GFP_KERNEL)?;

    for _ in 0..room {
        accounts.push(None, GFP_KERNEL)?;
    }
    Ok(accounts)
}

/// Pages that are charged, and yet to be taken. What is not taken is given back.
pub(super) struct Reservation<'a> {
    account: Option<(&'a DmemCharges, usize)>,
    pages: usize,
}

impl Reservation<'_> {
    /// How many.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// These pages are the ones. Called before they are handed out.
    pub(super) fn assign(&mut self, indices: impl IntoIterator<Item = usize>) {
        let Some((charges, id)) = self.account else {
            return;
        };
        let owner = u16::try_from(id + 1).unwrap_or(0);
        let mut books = charges.books.lock();

        for index in indices {
            if let (Some(slot), true) = (books.owners.get_mut(index), self.pages > 0) {
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
                let back = charges.books.lock().release(id, self.pages);
                drop(back);
            }
        }
    }
}

/// Pages to be freed for the sake of a limit.
///
/// A guess in that an account may have gone since, and its number be another's.
pub(crate) struct Victims<'a> {
    charges: &'a DmemCharges,
    accounts: KVVec<bool>,
}

impl Victims<'_> {
    /// Whether page `index` is one.
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.has(&self.charges.books.lock(), index)
    }

    /// Whether any of `range` is one.
    pub(crate) fn any(&self, mut range: Range<usize>) -> bool {
        let books = self.charges.books.lock();

        range.any(|index| self.has(&books, index))
    }

    fn has(&self, books: &ChargeTable, index: usize) -> bool {
        let id = books.account_of(index);

        id.is_some_and(|id| self.accounts.get(id) == Some(&true))
    }
}

#[kunit_tests(hmm_cdm_charge)]
mod tests {
    use super::*;

    #[test]
    fn single_pages_are_given_back_at_once() {
        assert_eq!(due(10, 10, 10), None);
        assert_eq!(due(10, 10, 9), Some(1));
        assert_eq!(due(10, 10, 7), Some(3));
        assert_eq!(due(2, 2, 1), Some(1));
    }

    #[test]
    fn parts_of_huge_pages_wait_for_each_other() {
        // One of 512 pages, of two; then all of it.
        assert_eq!(due(1024, 2, 1023), None);
        assert_eq!(due(1024, 2, 513), None);
        assert_eq!(due(1024, 2, 512), Some(512));
        // Beside single pages it takes less.
        assert_eq!(due(512 + 100, 101, 606), None);
        assert_eq!(due(512 + 100, 101, 605), Some(7));
    }

    #[test]
    fn no_account_keeps_more_calls_than_pages() {
        // 32 pages were granted to who has one, and none was there.
        assert_eq!(due(33, 33, 1), Some(32));
        assert_eq!(calls_due(33, 1), 32);
        // Single pages come and go; a huge one is one call.
        assert_eq!(calls_due(10, 9), 1);
        assert_eq!(calls_due(2, 512), 1);
        assert_eq!(calls_due(1, 0), 1);
    }

    #[test]
    fn nothing_is_due_that_is_in_use() {
        assert_eq!(due(0, 1, 0), None);
        assert_eq!(due(5, 0, 5), None);
        assert_eq!(due(5, 5, 6), None);
    }
}

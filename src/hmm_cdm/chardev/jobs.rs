// SPDX-License-Identifier: GPL-2.0

//! The jobs of one open file whose results have not been collected.

use crate::job::Ticket;
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{Arc, Mutex},
};

/// The most jobs of a file. Each holds kernel memory.
const MAX_JOBS: usize = 1024;

struct JobTable {
    last: u64,
    count: usize,
    tickets: RBTree<u64, Arc<Ticket>>,
}

/// Jobs by number. Numbers are not reused.
#[pin_data]
pub(super) struct Jobs {
    #[pin]
    table: Mutex<JobTable>,
}

impl Jobs {
    pub(super) fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                table <- new_mutex!(
                    JobTable { last: 0, count: 0, tickets: RBTree::new() },
                    "Jobs::table"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a job and returns its number. EAGAIN if there are too many, ENOMEM.
    pub(super) fn add(&self, ticket: Arc<Ticket>) -> Result<u64> {
        let mut table = self.table.lock();

        if table.count >= MAX_JOBS {
            return Err(EAGAIN);
        }
        let number = table.last + 1;
        table
            .tickets
            .try_create_and_insert(number, ticket, GFP_KERNEL)?;
        table.last = number;
        table.count += 1;
        Ok(number)
    }

    /// Returns the job with that number. ENOENT.
    pub(super) fn get(&self, number: u64) -> Result<Arc<Ticket>> {
        self.table
            .lock()
            .tickets
            .get(&number)
            .cloned()
            .ok_or(ENOENT)
    }

    /// Forgets a job. ENOENT if someone else did.
    pub(super) fn remove(&self, number: u64) -> Result {
        let mut table = self.table.lock();
        let ticket = table.tickets.remove(&number).ok_or(ENOENT)?;

        table.count -= 1;
        drop(table);
        drop(ticket);
        Ok(())
    }
}

#[kunit_tests(hmm_cdm_jobs)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_used_again() -> Result {
        let jobs = Jobs::new()?;
        let ticket = Ticket::new(None)?;

        assert_eq!(jobs.add(ticket.clone()), Ok(1));
        assert_eq!(jobs.add(ticket.clone()), Ok(2));
        jobs.remove(2)?;
        jobs.remove(1)?;
        assert_eq!(jobs.add(ticket), Ok(3));
        Ok(())
    }

    #[test]
    fn a_number_is_that_of_its_job() -> Result {
        let jobs = Jobs::new()?;
        let (first, second) = (Ticket::new(None)?, Ticket::new(None)?);

        let a = jobs.add(first.clone())?;
        let b = jobs.add(second.clone())?;
        assert!(Arc::ptr_eq(&jobs.get(a)?, &first));
        assert!(Arc::ptr_eq(&jobs.get(b)?, &second));
        Ok(())
    }

    #[test]
    fn unknown_jobs_are_refused() -> Result {
        let jobs = Jobs::new()?;
        let number = jobs.add(Ticket::new(None)?)?;

        for unknown in [0, number + 1, u64::MAX] {
            assert_eq!(jobs.get(unknown).err(), Some(ENOENT));
            assert_eq!(jobs.remove(unknown), Err(ENOENT));
        }
        assert_eq!(jobs.remove(number), Ok(()));
        assert_eq!(jobs.get(number).err(), Some(ENOENT));
        assert_eq!(jobs.remove(number), Err(ENOENT));
        Ok(())
    }

    #[test]
    fn there_is_a_most() -> Result {
        let jobs = Jobs::new()?;
        let ticket = Ticket::new(None)?;

        for number in 1..=MAX_JOBS as u64 {
            assert_eq!(jobs.add(ticket.clone()), Ok(number));
        }
        assert_eq!(jobs.add(ticket.clone()), Err(EAGAIN));
        // Removing one job allows one more.
        jobs.remove(17)?;
        assert_eq!(jobs.add(ticket.clone()), Ok(MAX_JOBS as u64 + 1));
        assert_eq!(jobs.add(ticket), Err(EAGAIN));
        Ok(())
    }
}

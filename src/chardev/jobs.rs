// SPDX-License-Identifier: GPL-2.0

//! The jobs of one open file that have not been waited for.

use crate::job::Ticket;
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{Arc, Mutex},
};

/// How many there may be: what they hold is the kernel's memory.
const MAX_JOBS: usize = 1024;

struct Table {
    last: u64,
    count: usize,
    tickets: RBTree<u64, Arc<Ticket>>,
}

/// Jobs by their number. Numbers are not used again.
#[pin_data]
pub(super) struct Jobs {
    #[pin]
    table: Mutex<Table>,
}

impl Jobs {
    pub(super) fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                table <- new_mutex!(
                    Table { last: 0, count: 0, tickets: RBTree::new() },
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

    /// The job with that number. ENOENT.
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

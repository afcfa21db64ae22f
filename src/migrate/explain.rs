// SPDX-License-Identifier: GPL-2.0

//! Why a page could not be collected for migration, found out by looking at it afterwards.
//!
//! `migrate_vma_setup()` leaves out what it does not want or cannot lock and does not say why. The
//! answer is that of a moment later, which is as good as any answer about memory in use.

use super::Target;
use crate::{
    mm::{
        self,
        folio::Pfn,
        notifier::{IntervalNotifier, Invalidate},
        range::{Entry, Walker},
        Span,
    },
    node::Node,
    uapi::Skip,
};
use kernel::{mm::MmWithUser, prelude::*};

/// How often a range that keeps changing is looked at.
const ATTEMPTS: u32 = 8;

/// Nothing depends on the range but the answer.
pub(crate) struct Nothing;

impl Invalidate for Nothing {
    fn invalidate(&mut self, _: Span) {}
}

/// Looks at pages that stayed. The room that it needs is made beforehand.
pub(super) struct Explainer<'a> {
    mm: &'a MmWithUser,
    node: &'a Node,
    walker: Walker,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(mm: &'a MmWithUser, node: &'a Node) -> Result<Self> {
        Ok(Self {
            mm,
            node,
            walker: Walker::new(mm::window_pages())?,
        })
    }

    /// Tells for the pages of `part`, by their number, why they would stay when moved to `target`;
    /// `None` if they are there already. If the range keeps changing nothing is told.
    ///
    /// Sleeps; takes the mmap lock. ENOMEM, EINTR (only with a fatal signal).
    pub(super) fn explain(
        &mut self,
        part: Span,
        target: Target,
        mut tell: impl FnMut(usize, Option<Skip>),
    ) -> Result {
        let notifier = KBox::pin_init(IntervalNotifier::new(self.mm, part, Nothing), GFP_KERNEL)?;

        for _ in 0..ATTEMPTS {
            let snapshot = match self
                .walker
                .walk(self.mm, &notifier, part, None, self.node.owner())
            {
                Ok(snapshot) => snapshot,
                Err(EBUSY) => continue,
                Err(e) => return Err(e),
            };
            let node = self.node;
            let seen = snapshot.commit(|_, view| {
                for (i, entry) in view.entries().enumerate() {
                    tell(i, why(node, entry, target));
                }
            });
            if seen.is_ok() {
                break;
            }
        }
        Ok(())
    }
}

fn why(node: &Node, entry: Entry, target: Target) -> Option<Skip> {
    let pfn = match entry {
        Entry::None => return Some(Skip::Absent),
        // A page that is nobody's to move: a special one, or poisoned.
        Entry::Error => return Some(Skip::NotAnon),
        Entry::Page { pfn, .. } => pfn,
    };

    match target {
        Target::Node if node.contains(pfn) => None,
        Target::System if pfn.is_system() => None,
        Target::Node if !pfn.is_system() => Some(Skip::Elsewhere),
        Target::System if !node.contains(pfn) => Some(Skip::Elsewhere),
        _ => Some(held(pfn)),
    }
}

fn held(pfn: Pfn) -> Skip {
    // SAFETY: Called under the lock of the notifier, after the sequence was rechecked: the page is
    // mapped and cannot be freed meanwhile.
    if unsafe { pfn.has_extra_references() } {
        Skip::Pinned
    } else {
        Skip::Raced
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The advice of a process for ranges of its address space.
//!
//! Advice is about addresses, not about mappings. It is looked up in device faults only. The number
//! of ranges is up to the process, so it has a limit.

use crate::mm::Span;
use kernel::{
    alloc::KVVec,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// The largest number of ranges of a mirror.
const MAX_RANGES: usize = 65536;

/// The policy for device faults on the pages of a range: see `struct hmm_cdm_advise`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Untouched pages are allocated on the node.
    pub node: bool,
    /// Pages that are elsewhere move to the node.
    pub migrate: bool,
    /// The copy of a shared page moves to the node.
    pub cow: bool,
    /// Pages are evicted if the node is full.
    pub evict: bool,
}

#[derive(Copy, Clone)]
struct Range {
    start: usize,
    end: usize,
    policy: Policy,
}

/// The advice for the addresses of a mirror.
///
/// # Invariants
///
/// The ranges are sorted and do not overlap. Adjacent ranges have different policies. None has the
/// default policy.
#[pin_data]
pub(super) struct Advice {
    #[pin]
    ranges: Mutex<KVVec<Range>>,
}

impl Advice {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            ranges <- new_mutex!(KVVec::new(), "Advice::ranges"),
        })
    }

    /// Sets the policy for `span`. ENOSPC if that makes too many ranges, ENOMEM; nothing has
    /// changed then.
    pub(super) fn set(&self, span: Span, policy: Policy) -> Result {
        let mut ranges = self.ranges.lock();
        // One range may be split in two, and one is new.
        let mut new = KVVec::with_capacity(ranges.len() + 2, GFP_KERNEL_ACCOUNT)?;
        let mut put = |range: Range| -> Result {
            if range.start >= range.end || range.policy == Policy::default() {
                return Ok(());
            }
            match new.last_mut() {
                Some(last @ Range { .. })
                    if last.end == range.start && last.policy == range.policy =>
                {
                    last.end = range.end;
                }
                _ => new.push_within_capacity(range)?,
            }
            Ok(())
        };
        let (start, end) = (span.start(), span.end());
        let mut is_put = false;

        for range in ranges.iter() {
            let before = Range {
                end: range.end.min(start),
                ..*range
            };
            let after = Range {
                start: range.start.max(end),
                ..*range
            };

            put(before)?;
            if range.end > start && !is_put {
                put(Range { start, end, policy })?;
                is_put = true;
            }
            put(after)?;
        }
        if !is_put {
            put(Range { start, end, policy })?;
        }
        if new.len() > MAX_RANGES {
            return Err(ENOSPC);
        }
        // INVARIANT: The parts of the old ranges outside of the span, in order, with the new range
        // between them.
        *ranges = new;
        Ok(())
    }

    /// Returns the policy at `addr`, and the end of the range of addresses that has it.
    pub(super) fn at(&self, addr: usize) -> (Policy, usize) {
        let ranges = self.ranges.lock();
        let next = ranges.partition_point(|range| range.end <= addr);

        match ranges.get(next) {
            Some(range) if range.start <= addr => (range.policy, range.end),
            Some(range) => (Policy::default(), range.start),
            None => (Policy::default(), usize::MAX),
        }
    }
}

#[kunit_tests(hmm_cdm_advice)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

    const NODE: Policy = Policy {
        node: true,
        migrate: false,
        cow: false,
        evict: false,
    };
    const MOVE: Policy = Policy {
        migrate: true,
        ..NODE
    };
    const NONE: Policy = Policy {
        node: false,
        ..NODE
    };

    fn advice() -> Result<Pin<KBox<Advice>>> {
        KBox::pin_init(Advice::new(), GFP_KERNEL)
    }

    fn set(advice: &Advice, from: usize, to: usize, policy: Policy) -> Result {
        let span = Span::new(from * PAGE_SIZE, to * PAGE_SIZE).ok_or(EINVAL)?;

        advice.set(span, policy)
    }

    /// The policies of pages 0 to 9, and the number of ranges.
    fn all(advice: &Advice) -> ([Policy; 10], usize) {
        let mut seen = [NONE; 10];

        for (page, slot) in seen.iter_mut().enumerate() {
            *slot = advice.at(page * PAGE_SIZE).0;
        }
        (seen, advice.ranges.lock().len())
    }

    #[test]
    fn the_default_policy_makes_no_range() -> Result {
        let advice = advice()?;

        assert_eq!(advice.at(0), (NONE, usize::MAX));
        set(&advice, 2, 4, NONE)?;
        assert_eq!(all(&advice), ([NONE; 10], 0));
        Ok(())
    }

    #[test]
    fn later_advice_replaces_earlier() -> Result {
        let advice = advice()?;

        set(&advice, 1, 9, NODE)?;
        set(&advice, 3, 5, MOVE)?;
        set(&advice, 6, 7, NONE)?;
        let expected = [NONE, NODE, NODE, MOVE, MOVE, NODE, NONE, NODE, NODE, NONE];
        assert_eq!(all(&advice), (expected, 4));
        assert_eq!(advice.at(PAGE_SIZE + 7), (NODE, 3 * PAGE_SIZE));
        assert_eq!(advice.at(0), (NONE, PAGE_SIZE));
        assert_eq!(advice.at(6 * PAGE_SIZE), (NONE, 7 * PAGE_SIZE));
        assert_eq!(advice.at(9 * PAGE_SIZE), (NONE, usize::MAX));
        set(&advice, 0, 10, NONE)?;
        assert_eq!(all(&advice), ([NONE; 10], 0));
        Ok(())
    }

    #[test]
    fn adjacent_ranges_with_the_same_policy_are_merged() -> Result {
        let advice = advice()?;

        set(&advice, 4, 5, NODE)?;
        set(&advice, 2, 3, NODE)?;
        assert_eq!(all(&advice).1, 2);
        set(&advice, 3, 4, NODE)?;
        assert_eq!(all(&advice).1, 1);
        assert_eq!(advice.at(2 * PAGE_SIZE), (NODE, 5 * PAGE_SIZE));
        set(&advice, 5, 6, MOVE)?;
        assert_eq!(all(&advice).1, 2);
        set(&advice, 2, 6, NODE)?;
        assert_eq!(all(&advice).1, 1);
        Ok(())
    }

    #[test]
    fn the_number_of_ranges_is_limited() -> Result {
        let advice = advice()?;

        for i in 0..MAX_RANGES {
            let policy = if i % 2 == 0 { NODE } else { MOVE };

            // All but the last few directly: each call copies all of them.
            if i > MAX_RANGES - 4 {
                set(&advice, i, i + 1, policy)?;
            } else {
                let (start, end) = (i * PAGE_SIZE, (i + 1) * PAGE_SIZE);

                advice
                    .ranges
                    .lock()
                    .push(Range { start, end, policy }, GFP_KERNEL)?;
            }
        }
        assert_eq!(set(&advice, MAX_RANGES, MAX_RANGES + 1, NODE), Err(ENOSPC));
        assert_eq!(advice.at(MAX_RANGES * PAGE_SIZE).0, NONE);
        // Advice that adds no range is still accepted.
        assert_eq!(set(&advice, MAX_RANGES - 1, MAX_RANGES, NODE), Ok(()));
        Ok(())
    }
}

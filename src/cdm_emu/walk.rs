// SPDX-License-Identifier: GPL-2.0

//! A walk along lists or trees that the CPU built: the case that shared virtual memory exists for.

use crate::{
    device_mmu::{
        DeviceMmu,
        Stop, //
    },
    step::{
        Progress,
        ACCESSES_PER_STEP, //
    }, //
};
use core::mem::size_of;
use hmm_cdm::uapi::{
    self,
    EmuWalk,
    JOB_RESULTS, //
};
use kernel::prelude::*;

/// An element in the ranking.
#[derive(Copy, Clone)]
struct Ranked {
    count: u64,
    element: u64,
}

/// The position of a walk.
#[derive(Copy, Clone)]
enum Position {
    /// The description has not been read.
    Start,
    /// At the list head with this index.
    Head(u64),
    /// At an element (second) of the list of a head (first).
    Element(u64, u64),
    /// At a child of that element, behind `count` others.
    Child {
        head: u64,
        element: u64,
        child: u64,
        count: u64,
    },
    /// All elements are counted, and this many entries of the ranking written.
    Ranking(usize),
}

/// A walk in progress.
pub(crate) struct Walk {
    desc_addr: usize,
    desc: EmuWalk,
    position: Position,
    steps: u64,
    elements: u64,
    sum: u64,
    top: KVec<Ranked>,
    written: u64,
}

/// Returns the address of a field. Wraps around, as an element may be at any address.
fn field(base: u64, offset: u64) -> usize {
    base.wrapping_add(offset) as usize
}

impl Walk {
    /// Creates a walk whose description is at `desc_addr`.
    pub(crate) fn new(desc_addr: usize) -> Self {
        Self {
            desc_addr,
            desc: EmuWalk::default(),
            position: Position::Start,
            steps: 0,
            elements: 0,
            sum: 0,
            top: KVec::new(),
            written: 0,
        }
    }

    pub(crate) fn result(&self) -> [u64; JOB_RESULTS] {
        [self.elements, self.sum, self.written, 0]
    }

    /// Reads and checks the description.
    fn start(&mut self, mmu: &mut DeviceMmu<'_>) -> Result<(), Stop> {
        let mut raw = [0; size_of::<EmuWalk>()];

        mmu.read(self.desc_addr, &mut raw, 0)?;
        self.desc = uapi::from_bytes(&raw).ok_or(Stop::Error(EINVAL))?;

        let d = &self.desc;
        let mut offsets = d.heads | d.next | d.count | d.top;
        if d.child != uapi::EMU_WALK_NONE {
            offsets |= d.child | d.child_next;
        }
        if offsets % 8 != 0 || d.nr_top > u64::from(uapi::EMU_WALK_TOP) {
            return Err(Stop::Error(EINVAL));
        }
        if d.top != 0 {
            self.top = KVec::with_capacity(d.nr_top as usize, GFP_KERNEL)
                .map_err(|_| Stop::Error(ENOMEM))?;
        }
        Ok(())
    }

    pub(crate) fn step(&mut self, mmu: &mut DeviceMmu<'_>) -> Result<Progress, Stop> {
        for _ in 0..ACCESSES_PER_STEP {
            self.position = match self.position {
                Position::Start => {
                    self.start(mmu)?;
                    Position::Head(0)
                }
                Position::Head(head) if head == self.desc.nr_heads => Position::Ranking(0),
                Position::Head(head) => {
                    let first = mmu.read_u64(field(self.desc.heads, head.wrapping_mul(8)))?;
                    Position::Element(head, first)
                }
                Position::Element(head, 0) => Position::Head(head + 1),
                Position::Element(head, element) => self.element(mmu, head, element)?,
                Position::Child {
                    head,
                    element,
                    child: 0,
                    count,
                } => {
                    mmu.write_u64(field(element, self.desc.count), count)?;
                    self.finish(mmu, head, element, count)?
                }
                Position::Child {
                    head,
                    element,
                    child,
                    count,
                } => {
                    self.tick()?;
                    Position::Child {
                        head,
                        element,
                        child: mmu.read_u64(field(child, self.desc.child_next))?,
                        count: count + 1,
                    }
                }
                Position::Ranking(i) => match self.top.get(i).copied() {
                    None => return Ok(Progress::Done),
                    Some(ranked) => {
                        let to = field(self.desc.top, (i * size_of::<uapi::EmuTop>()) as u64);

                        mmu.write_u64(to, ranked.count)?;
                        mmu.write_u64(field(to as u64, 8), ranked.element)?;
                        self.written += 1;
                        Position::Ranking(i + 1)
                    }
                },
            };
        }
        Ok(Progress::More)
    }

    fn tick(&mut self) -> Result<(), Stop> {
        if self.desc.max_steps != 0 && self.steps == self.desc.max_steps {
            return Err(Stop::Error(ELOOP));
        }
        self.steps += 1;
        Ok(())
    }

    fn element(
        &mut self,
        mmu: &mut DeviceMmu<'_>,
        head: u64,
        element: u64,
    ) -> Result<Position, Stop> {
        self.tick()?;
        if self.desc.child == uapi::EMU_WALK_NONE {
            let count = mmu.read_u64(field(element, self.desc.count))?;

            return self.finish(mmu, head, element, count);
        }
        Ok(Position::Child {
            head,
            element,
            child: mmu.read_u64(field(element, self.desc.child))?,
            count: 0,
        })
    }

    /// Accounts for an element whose count is known, and advances to the next.
    fn finish(
        &mut self,
        mmu: &mut DeviceMmu<'_>,
        head: u64,
        element: u64,
        count: u64,
    ) -> Result<Position, Stop> {
        let next = mmu.read_u64(field(element, self.desc.next))?;

        self.elements += 1;
        self.sum = self.sum.wrapping_add(count);
        self.rank(Ranked { count, element });
        Ok(Position::Element(head, next))
    }

    /// Sorts an element into the ranking, behind those of the same count. Drops the last if there
    /// are too many.
    fn rank(&mut self, new: Ranked) {
        let capacity = if self.desc.top == 0 {
            0
        } else {
            self.desc.nr_top as usize
        };
        let pos = self.top.partition_point(|ranked| ranked.count >= new.count);

        if pos >= capacity {
            return;
        }
        if self.top.len() == capacity {
            self.top.pop();
        }
        // Cannot fail: `start()` has reserved the capacity, and `pos` is not behind the end.
        let _ = self.top.insert_within_capacity(pos, new);
    }
}

#[kunit_tests(cdm_emu_walk)]
mod tests {
    use super::*;

    /// A walk that ranks `capacity` elements.
    fn walk(capacity: u64) -> Result<Walk> {
        let mut walk = Walk::new(0);

        walk.desc.top = 8;
        walk.desc.nr_top = capacity;
        walk.top = KVec::with_capacity(capacity as usize, GFP_KERNEL)?;
        Ok(walk)
    }

    fn rank(walk: &mut Walk, elements: &[(u64, u64)]) {
        for &(count, element) in elements {
            walk.rank(Ranked { count, element });
        }
    }

    fn ranked(walk: &Walk, expected: &[(u64, u64)]) -> bool {
        walk.top
            .iter()
            .map(|ranked| (ranked.count, ranked.element))
            .eq(expected.iter().copied())
    }

    #[test]
    fn the_highest_counts_come_first() -> Result {
        let mut walk = walk(4)?;

        rank(&mut walk, &[(3, 1), (9, 2), (1, 3)]);
        assert!(ranked(&walk, &[(9, 2), (3, 1), (1, 3)]));
        rank(&mut walk, &[(5, 4)]);
        assert!(ranked(&walk, &[(9, 2), (5, 4), (3, 1), (1, 3)]));
        Ok(())
    }

    #[test]
    fn the_lowest_count_is_dropped() -> Result {
        let mut walk = walk(2)?;

        rank(&mut walk, &[(3, 1), (9, 2), (5, 3)]);
        assert!(ranked(&walk, &[(9, 2), (5, 3)]));
        rank(&mut walk, &[(4, 4), (0, 5)]);
        assert!(ranked(&walk, &[(9, 2), (5, 3)]));
        rank(&mut walk, &[(u64::MAX, 6)]);
        assert!(ranked(&walk, &[(u64::MAX, 6), (9, 2)]));
        Ok(())
    }

    #[test]
    fn of_equal_counts_the_first_stays() -> Result {
        let mut walk = walk(3)?;

        rank(&mut walk, &[(5, 1), (5, 2), (7, 3), (5, 4)]);
        assert!(ranked(&walk, &[(7, 3), (5, 1), (5, 2)]));
        Ok(())
    }

    #[test]
    fn nothing_is_ranked_without_capacity() -> Result {
        let mut none = walk(0)?;
        let mut nowhere = walk(2)?;

        nowhere.desc.top = 0;
        rank(&mut none, &[(1, 1)]);
        rank(&mut nowhere, &[(1, 1)]);
        assert!(none.top.is_empty() && nowhere.top.is_empty());
        Ok(())
    }

    #[test]
    fn steps_are_bounded() {
        let mut walk = Walk::new(0);

        walk.desc.max_steps = 2;
        assert_eq!(walk.tick(), Ok(()));
        assert_eq!(walk.tick(), Ok(()));
        assert_eq!(walk.tick(), Err(Stop::Error(ELOOP)));
        assert_eq!(walk.tick(), Err(Stop::Error(ELOOP)));
        // Zero means no bound.
        walk.desc.max_steps = 0;
        assert_eq!(walk.tick(), Ok(()));
    }

    #[test]
    fn fields_wrap_around() {
        assert_eq!(field(0x1000, 24), 0x1018);
        assert_eq!(field(8, u64::MAX - 7), 0);
    }
}

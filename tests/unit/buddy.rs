// SPDX-License-Identifier: GPL-2.0

//! Tests of the page frame allocator: single cases, and random ones against a model without blocks.
//!
//! The random test prints its seed; `HMM_CDM_SEED` repeats one, `HMM_CDM_STEPS` sets its length.

#[path = "../../src/hmm_cdm/node/bitmap.rs"]
mod bitmap;
#[path = "../../src/hmm_cdm/node/buddy.rs"]
mod buddy;
#[path = "shim/random.rs"]
mod random;

use buddy::{
    Buddy,
    FreeError,
    MAX_SINGLES, //
};
use kernel::prelude::*;
use random::Random;

/// 2 MiB of 4 KiB pages.
const PMD: u32 = 9;

fn singles(buddy: &mut Buddy, count: usize) -> Vec<usize> {
    let mut out = Vec::new();
    let done = buddy.alloc_singles(count, |index| out.push(index));
    assert_eq!(done, out.len());
    out
}

fn blocks(buddy: &mut Buddy, max_order: u32) -> Vec<usize> {
    (0..=max_order).map(|n| buddy.free_blocks(n)).collect()
}

fn contiguous(indices: &[usize]) -> bool {
    indices.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

#[test]
fn no_memory_is_reported_wherever_it_runs_out() {
    let before = kernel::alloc_count();
    Buddy::new(0, 1000, PMD).unwrap();
    let needed = kernel::alloc_count() - before;
    assert!(needed > 0);

    for budget in 0..needed {
        kernel::alloc_budget(budget);
        assert_eq!(Buddy::new(0, 1000, PMD).err(), Some(ENOMEM));
    }
    kernel::alloc_budget(needed);
    assert!(Buddy::new(0, 1000, PMD).is_ok());
}

#[test]
fn nothing_is_allocated_after_construction() {
    let mut buddy = Buddy::new(3, 3000, PMD).unwrap();
    let before = kernel::alloc_count();

    let window = buddy.alloc(PMD).unwrap();
    let mut first = 0;
    buddy.alloc_singles(1, |index| first = index);
    assert!(buddy.retire(first));
    assert!(buddy.retire(2999));
    buddy.free(first, 0).unwrap();
    buddy.free(window, PMD).unwrap();
    assert_eq!(kernel::alloc_count(), before);
}

#[test]
fn every_order_is_aligned_by_page_frame_number() {
    for first_pfn in [0, 1, 0x10000, 0x12345, 0x101ff] {
        let mut buddy = Buddy::new(first_pfn, 4096, PMD).unwrap();
        for order in (0..=PMD).chain((0..=PMD).rev()) {
            let index = buddy.alloc(order).unwrap();
            assert_eq!((first_pfn + index) % (1 << order), 0, "order {order}");
        }
    }
}

#[test]
fn windows_of_one_frame() {
    let mut buddy = Buddy::new(7, 70, 0).unwrap();

    assert_eq!(blocks(&mut buddy, 0), [70]);
    assert_eq!(singles(&mut buddy, 100), (0..70).collect::<Vec<_>>());
    assert_eq!(buddy.free(69, 0), Ok(()));
    assert_eq!(buddy.alloc(0), Some(69));
}

#[test]
fn smallest_sufficient_block_is_taken() {
    let mut buddy = Buddy::new(0, 4 * 16, 4).unwrap();

    assert_eq!(buddy.alloc(3), Some(0));
    // The broken window is used for all that fits.
    assert_eq!(buddy.alloc(2), Some(8));
    assert_eq!(buddy.alloc(0), Some(12));
    assert_eq!(buddy.alloc(1), Some(14));
    assert_eq!(buddy.alloc(0), Some(13));
    assert_eq!(buddy.free_blocks(4), 3);
    assert_eq!(buddy.alloc(0), Some(16));
}

#[test]
fn blocks_are_freed_in_parts_and_in_one() {
    let mut buddy = Buddy::new(0, 512, PMD).unwrap();

    let window = buddy.alloc(PMD).unwrap();
    for index in window..window + 512 {
        assert_eq!(buddy.free(index, 0), Ok(()));
    }
    assert_eq!(buddy.free_blocks(PMD), 1);

    assert_eq!(singles(&mut buddy, 512).len(), 512);
    assert_eq!(buddy.free(0, PMD), Ok(()));
    assert_eq!(buddy.free_blocks(PMD), 1);
}

#[test]
fn unaligned_edges_are_cut_into_smaller_blocks() {
    // 3 frames below a window, the window, and 6 above it.
    let mut buddy = Buddy::new(16 - 3, 3 + 16 + 6, 4).unwrap();

    assert_eq!(blocks(&mut buddy, 4), [1, 2, 1, 0, 1]);
    assert_eq!(buddy.alloc(4), Some(3));
    assert_eq!(buddy.alloc(3), None);
    assert_eq!(buddy.alloc(2), Some(19));
    assert_eq!(buddy.alloc(1), Some(1));
    assert_eq!(buddy.alloc(0), Some(0));
    assert_eq!(buddy.alloc(1), Some(23));
    assert_eq!(buddy.alloc(0), None);
}

#[test]
fn windows_do_not_coalesce_further() {
    let mut buddy = Buddy::new(0, 64, 4).unwrap();
    let all: Vec<_> = (0..4).map(|_| buddy.alloc(4).unwrap()).collect();

    assert_eq!(all, [0, 16, 32, 48]);
    all.iter().for_each(|&index| buddy.free(index, 4).unwrap());
    assert_eq!(blocks(&mut buddy, 5), [0, 0, 0, 0, 4, 0]);
}

#[test]
fn exhaustion_and_recovery() {
    let mut buddy = Buddy::new(100, 1000, PMD).unwrap();

    for left in (0..1000).rev() {
        assert!(buddy.alloc(0).is_some());
        assert_eq!(buddy.free_frames(), left);
    }
    assert_eq!(buddy.alloc(0), None);
    assert!(singles(&mut buddy, 1).is_empty());
    assert_eq!(buddy.used_frames(), 1000);
    assert_eq!(buddy.largest_free_order(), None);

    assert_eq!(buddy.free(700, 0), Ok(()));
    assert_eq!(buddy.alloc(0), Some(700));
}

#[test]
fn windows_last_while_singles_come_and_go() {
    let mut buddy = Buddy::new(0, 8 * 512, PMD).unwrap();

    for round in 0..20 {
        let mut mine: Vec<_> = (0..512).map(|_| buddy.alloc(0).unwrap()).collect();
        assert_eq!(buddy.free_blocks(PMD), 7);
        if round % 2 == 0 {
            mine.reverse();
        }
        mine.iter().for_each(|&index| buddy.free(index, 0).unwrap());
        assert_eq!(buddy.free_blocks(PMD), 8);
    }
}

#[test]
fn singles_are_contiguous_where_possible() {
    let mut buddy = Buddy::new(0, 4 * 512, PMD).unwrap();

    let batch = singles(&mut buddy, 300);
    assert_eq!(batch, (0..300).collect::<Vec<_>>());
    // The rest of the first window is used up first.
    let batch = singles(&mut buddy, 300);
    assert!(batch.iter().filter(|&&index| index < 512).count() == 212);
    assert_eq!(buddy.free_blocks(PMD), 2);

    // A run that fits into a hole is taken from it, in one piece.
    let mut buddy = Buddy::new(0, 2 * 512, PMD).unwrap();
    assert_eq!(singles(&mut buddy, 512).len(), 512);
    buddy.free(3, 0).unwrap();
    buddy.free(64, 5).unwrap();
    let batch = singles(&mut buddy, 16);
    assert!(contiguous(&batch) && batch[0] == 64);
    assert_eq!(buddy.free_blocks(PMD), 1);
}

#[test]
fn singles_come_in_bounded_batches() {
    let mut buddy = Buddy::new(0, 2 * MAX_SINGLES + 10, 4).unwrap();

    assert!(singles(&mut buddy, 0).is_empty());
    assert_eq!(singles(&mut buddy, usize::MAX).len(), MAX_SINGLES);
    assert_eq!(singles(&mut buddy, MAX_SINGLES + 1).len(), MAX_SINGLES);
    assert_eq!(singles(&mut buddy, MAX_SINGLES).len(), 10);
    assert_eq!(singles(&mut buddy, MAX_SINGLES).len(), 0);
    assert_eq!(buddy.used_frames(), 2 * MAX_SINGLES + 10);
}

#[test]
fn summaries_find_the_last_of_many() {
    // Four levels of words: one free block at the very end, then at the very start.
    let nr = 64 * 64 * 64 + 1;
    let mut buddy = Buddy::new(0, nr, 0).unwrap();
    while buddy.alloc_singles(MAX_SINGLES, |_| ()) > 0 {}

    for index in [nr - 1, 0, nr / 2, 64 * 64 - 1] {
        assert_eq!(buddy.free(index, 0), Ok(()));
        assert_eq!(buddy.alloc(0), Some(index));
        assert_eq!(buddy.alloc(0), None);
    }
}

/// The state of a frame in the model.
#[derive(Clone, Copy, Default)]
struct Frame {
    used: bool,
    retired: bool,
}

/// The state of every frame. Blocks are derived from the frames each time.
struct Model {
    first_pfn: usize,
    max_order: u32,
    frames: Vec<Frame>,
    /// Blocks in use: index and order.
    allocated: Vec<(usize, u32)>,
}

impl Model {
    fn free(&self, index: usize) -> bool {
        let frame = self.frames.get(index);
        frame.is_some_and(|frame| !frame.used && !frame.retired)
    }

    fn count(&self, is: impl Fn(&Frame) -> bool) -> usize {
        self.frames.iter().filter(|frame| is(frame)).count()
    }

    /// The first frame of the block of `order` around a frame, if all of it is free.
    fn block(&self, index: usize, order: u32) -> Option<usize> {
        let pfn = self.first_pfn + index;
        let start = (pfn - pfn % (1 << order)).checked_sub(self.first_pfn)?;
        let all = (start..start + (1 << order)).all(|index| self.free(index));
        all.then_some(start)
    }

    /// The order of the largest free block around a frame.
    fn order_at(&self, index: usize) -> Option<u32> {
        (0..=self.max_order)
            .take_while(|&order| self.block(index, order).is_some())
            .last()
    }

    /// The number of free blocks of each order, all coalesced.
    fn blocks(&self) -> Vec<usize> {
        let mut counts = vec![0; self.max_order as usize + 1];
        let mut index = 0;
        while index < self.frames.len() {
            let order = self.order_at(index);
            if let Some(order) = order {
                counts[order as usize] += 1;
            }
            index += 1 << order.unwrap_or(0);
        }
        counts
    }

    /// Marks a block as in use. All of its frames must be free.
    fn alloc_block(&mut self, index: usize, order: u32) {
        assert_eq!((self.first_pfn + index) % (1 << order), 0, "alignment");
        for index in index..index + (1 << order) {
            assert!(self.free(index), "frame {index} was not free");
            self.frames[index].used = true;
        }
        self.allocated.push((index, order));
    }

    /// Frees a block, and returns what the allocator must return for it.
    fn free_block(&mut self, index: usize, order: u32) -> Result<(), FreeError> {
        if order > self.max_order {
            return Err(FreeError::OutOfRange);
        }
        let end = index.checked_add(1 << order).ok_or(FreeError::OutOfRange)?;
        let frames = self.frames.get_mut(index..end);
        let frames = frames.ok_or(FreeError::OutOfRange)?;
        if (self.first_pfn + index) % (1 << order) != 0 {
            return Err(FreeError::Misaligned);
        }
        if frames.iter().any(|frame| !frame.used) {
            return Err(FreeError::NotUsed);
        }
        frames.iter_mut().for_each(|frame| frame.used = false);
        Ok(())
    }

    /// Compares all that the allocator says with the frames.
    fn check(&self, buddy: &mut Buddy) {
        self.check_counts(buddy);
        assert_eq!(blocks(buddy, self.max_order), self.blocks());
        for index in 0..self.frames.len() {
            assert_eq!(buddy.is_free(index), self.free(index), "frame {index}");
            assert_eq!(
                buddy.is_used(index),
                self.frames[index].used,
                "frame {index}"
            );
        }
    }

    fn check_counts(&self, buddy: &mut Buddy) {
        let free = self.count(|frame| !frame.used && !frame.retired);
        assert_eq!(buddy.total_frames(), self.frames.len());
        assert_eq!(buddy.free_frames(), free);
        assert_eq!(buddy.used_frames(), self.count(|frame| frame.used));
        assert_eq!(buddy.retired_frames(), self.count(|frame| frame.retired));

        let largest = buddy.largest_free_order();
        let blocks = blocks(buddy, self.max_order);
        assert_eq!(
            blocks.iter().rposition(|&count| count > 0),
            largest.map(|order| order as usize)
        );
    }
}

/// One step: an allocation, a batch, a free in one of several right and wrong ways.
fn step(buddy: &mut Buddy, model: &mut Model, random: &mut Random, filling: bool) {
    let orders = model.max_order as usize + 2;
    let nr = model.frames.len();

    match random.below(100) {
        // Small orders are allocated more often.
        0..45 if filling => {
            let order = random.below(orders).min(random.below(orders)) as u32;
            step_alloc(buddy, model, order);
        }
        45..50 if filling => step_singles(buddy, model, random.below(2 * MAX_SINGLES)),
        50..52 => {
            // Any block at all: mostly an error, which must be the same one.
            let index = random.below(nr + nr / 8 + 1);
            let order = random.below(orders) as u32;
            step_free(buddy, model, index, order);
        }
        _ => {
            if model.allocated.is_empty() {
                return;
            }
            let at = random.below(model.allocated.len());
            let (index, order) = model.allocated.swap_remove(at);
            if random.below(4) == 0 {
                // Frame by frame, as when a process exits: these are gathered.
                let last = index + (1 << order) - 1;
                let backwards = random.below(2) == 0;
                for at in 0..1 << order {
                    let frame = if backwards { last - at } else { index + at };
                    step_free(buddy, model, frame, 0);
                    assert!(buddy.is_free(frame) == model.free(frame) && !buddy.is_used(frame));
                    let free = model.count(|frame| !frame.used && !frame.retired);
                    assert_eq!(buddy.free_frames(), free);
                }
            } else if random.below(4) == 0 {
                // One half now, the other one later.
                let half = order.saturating_sub(1);
                step_free(buddy, model, index, half);
                if order > 0 {
                    model.allocated.push((index + (1 << half), half));
                }
            } else {
                step_free(buddy, model, index, order);
            }
            if random.below(8) == 0 {
                // Again: refused, unless all of it was freed and allocated since.
                step_free(buddy, model, index, order);
            }
        }
    }
}

fn step_alloc(buddy: &mut Buddy, model: &mut Model, order: u32) {
    let best = (order..=model.max_order).find(|&n| buddy.free_blocks(n) > 0);
    let got = buddy.alloc(order);

    assert_eq!(got.is_some(), best.is_some(), "order {order}");
    if let Some(index) = got {
        assert_eq!(model.order_at(index), best, "not the smallest block");
        model.alloc_block(index, order);
    }
}

fn step_singles(buddy: &mut Buddy, model: &mut Model, count: usize) {
    let windows = model.blocks()[model.max_order as usize];
    let broken = buddy.free_frames() - (windows << model.max_order);
    let expected = count.min(MAX_SINGLES).min(buddy.free_frames());

    let got = singles(buddy, count);
    assert_eq!(got.len(), expected);
    got.iter().for_each(|&index| model.alloc_block(index, 0));

    // No more windows are broken than necessary.
    let needed = expected.saturating_sub(broken);
    let left = windows - needed.div_ceil(1 << model.max_order);
    assert_eq!(buddy.free_blocks(model.max_order), left);
}

fn step_free(buddy: &mut Buddy, model: &mut Model, index: usize, order: u32) {
    let expected = model.free_block(index, order);
    assert_eq!(buddy.free(index, order), expected, "{index} order {order}");
}

fn random_run(seed: u64, steps: u64, first_pfn: usize, nr: usize, max_order: u32) {
    println!("seed {seed}: {nr} frames from {first_pfn:#x}, order {max_order}, {steps} steps");
    let mut random = Random::new(seed);
    let mut buddy = Buddy::new(first_pfn, nr, max_order).unwrap();
    let mut model = Model {
        first_pfn,
        max_order,
        frames: vec![Frame::default(); nr],
        allocated: Vec::new(),
    };
    model.check(&mut buddy);
    let initial = blocks(&mut buddy, max_order);

    // The full check takes longer for larger nodes, so they have it less often.
    let every = (nr as u64 / 16).max(1);
    let mut filling = true;
    for at in 0..steps {
        if at % 512 == 0 {
            filling = random.below(3) > 0;
        }
        step(&mut buddy, &mut model, &mut random, filling);
        if at % every == 0 {
            model.check(&mut buddy);
        }
    }

    // With everything freed, the node is as it was at first.
    for index in 0..nr {
        if model.frames[index].used {
            step_free(&mut buddy, &mut model, index, 0);
        }
    }
    model.allocated.clear();
    model.check(&mut buddy);
    assert_eq!(blocks(&mut buddy, max_order), initial);

    // And once more, while frames fail.
    for at in 0..steps / 4 {
        step(&mut buddy, &mut model, &mut random, at % 1024 < 700);
        if random.below(50) == 0 && model.count(|frame| frame.retired) < nr / 2 {
            let index = random.below(nr + 2);
            let new = model.frames.get(index).is_some_and(|frame| !frame.retired);
            assert_eq!(buddy.retire(index), new);
            if new {
                model.frames[index].retired = true;
            }
            let free = model.count(|frame| !frame.used && !frame.retired);
            assert_eq!(buddy.free_frames(), free);
        }
        if at % every == 0 {
            model.check(&mut buddy);
        }
    }
    model.check(&mut buddy);
}

#[test]
fn random_against_model() {
    let seed = random::seed();
    let steps = random::steps(40_000);

    random_run(seed, steps, 0, 1, 0);
    random_run(seed, steps, 5, 67, 3);
    random_run(seed, steps, 0x1000 - 3, 130, 5);
    random_run(seed, steps, 0x40000, 4 * 512, 9);
    random_run(seed, steps, 0x3ff81, 3000, 9);
    random_run(seed, steps, 0x12345, 9001, 8);
    random_run(seed, steps, 0x7ffff, 3 * 4096 + 5, 12);
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the allocator's bitmaps against sets.
//!
//! The random test prints its seed; `HMM_CDM_SEED` repeats one, `HMM_CDM_STEPS` sets its length.

#[path = "../../src/hmm_cdm/node/bitmap.rs"]
mod bitmap;
#[path = "shim/random.rs"]
mod random;

use bitmap::{
    Bitmap,
    HierarchicalBitmap,
    WORD, //
};
use random::Random;
use std::collections::BTreeSet;

/// Sets and clears single bits, mostly near each other, so that words become and stop being empty.
fn hierarchical_run(seed: u64, steps: u64, len: usize) {
    println!("seed {seed}: {len} bits, {steps} steps");
    let mut random = Random::new(seed);
    let mut bitmap = HierarchicalBitmap::new(len).unwrap();
    let mut model = BTreeSet::new();

    for _ in 0..steps {
        // Now and then beyond the end.
        let bit = random.below(len + len / 8 + 1);

        if random.below(2) == 0 {
            assert_eq!(bitmap.insert(bit), bit < len && model.insert(bit));
        } else {
            // The lowest one, half of the time.
            let bit = match model.first() {
                Some(first) if random.below(2) == 0 => *first,
                _ => bit,
            };
            assert_eq!(bitmap.remove(bit), model.remove(&bit));
        }
        assert_eq!(bitmap.first(), model.first().copied());
        assert_eq!(bitmap.count(), model.len());
    }
}

/// Sets, clears and searches ranges.
fn range_run(seed: u64, steps: u64, len: usize) {
    println!("seed {seed}: {len} bits, {steps} steps");
    let mut random = Random::new(seed);
    let mut bitmap = Bitmap::new(len).unwrap();
    let mut model = vec![false; len];

    for _ in 0..steps {
        let start = random.below(len);
        let end = start + 1 + random.below((len - start).min(3 * WORD));
        let part = &mut model[start..end];

        match random.below(4) {
            0 => {
                bitmap.set(start, end);
                part.fill(true);
            }
            1 => {
                bitmap.clear(start, end);
                part.fill(false);
            }
            _ => {
                let found = part.iter().position(|&bit| bit).map(|at| start + at);

                assert_eq!(bitmap.find(start, end), found);
                assert_eq!(bitmap.all(start, end), part.iter().all(|&bit| bit));
                assert_eq!(bitmap.test(start), part[0]);
            }
        }
    }
}

#[test]
fn random_against_model() {
    let seed = random::seed();
    let steps = random::steps(100_000);

    for len in [1, 63, 64, 65, 4096, 4097, 64 * 4096 + 1] {
        hierarchical_run(seed, steps, len);
    }
    for len in [1, 64, 65, 1000, 5000] {
        range_run(seed, steps, len);
    }
}

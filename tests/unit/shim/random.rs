// SPDX-License-Identifier: GPL-2.0

//! Random numbers for tests against a model, from a seed that a failed test can be repeated with.

/// xorshift64*.
pub struct Random(u64);

impl Random {
    /// Starts from a seed, which is made odd: zero would give zeros.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 32) as usize) % bound
    }
}

fn env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// The seed: `HMM_CDM_SEED`, or else the time.
pub fn seed() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    env("HMM_CDM_SEED").unwrap_or(now.map_or(1, |now| now.as_micros() as u64))
}

/// The number of steps: `HMM_CDM_STEPS`, or else `default`.
pub fn steps(default: u64) -> u64 {
    env("HMM_CDM_STEPS").unwrap_or(default)
}

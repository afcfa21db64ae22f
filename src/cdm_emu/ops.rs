// SPDX-License-Identifier: GPL-2.0

//! The engine's operations, each a state that advances by bounded steps.

use crate::{
    device_mmu::{
        DeviceMmu,
        Stop, //
    },
    step::{
        Progress,
        ACCESSES_PER_STEP,
        CHUNK,
        CHUNKS_PER_STEP, //
    },
    walk::Walk, //
};
use hmm_cdm::uapi::{
    self,
    JOB_ARGS,
    JOB_RESULTS, //
};
use kernel::prelude::*;

/// The registers of a thread of the engine: two operands of a chunk each.
pub(crate) struct Registers {
    a: KVec<u8>,
    b: KVec<u8>,
}

impl Registers {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            a: KVec::from_elem(0, CHUNK, GFP_KERNEL)?,
            b: KVec::from_elem(0, CHUNK, GFP_KERNEL)?,
        })
    }
}

/// Progress of an operation over `len` bytes.
#[derive(Copy, Clone)]
struct Bulk {
    len: usize,
    done: usize,
}

enum OpKind {
    Fill { to: usize, pattern: u64 },
    Copy { to: usize, from: usize },
    Add { to: usize, a: usize, b: usize },
    Reduce { from: usize },
    Histogram { from: usize, bins: usize },
    Cas { addr: usize, old: u64, new: u64 },
    FetchAdd { addr: usize, value: u64, left: u64 },
    Walk(Walk),
    Hang,
}

/// An operation in progress.
pub(crate) struct Operation {
    kind: OpKind,
    bulk: Bulk,
    pub(crate) result: [u64; JOB_RESULTS],
}

/// Returns a range of bytes as address and length. EINVAL if it does not fit into the address
/// space.
fn range(addr: u64, len: u64) -> Result<(usize, usize)> {
    addr.checked_add(len).ok_or(EINVAL)?;
    Ok((addr.try_into()?, len.try_into()?))
}

/// The same for `nr` aligned elements of 64 bits. EINVAL.
fn elements(addr: u64, nr: u64) -> Result<(usize, usize)> {
    if addr % 8 != 0 {
        return Err(EINVAL);
    }
    range(addr, nr.checked_mul(8).ok_or(EINVAL)?)
}

fn word_at(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

impl Operation {
    /// Creates the operation `op`. EINVAL if its arguments are not valid.
    pub(crate) fn new(op: u32, args: &[u64; JOB_ARGS]) -> Result<Self> {
        let [a0, a1, a2, a3, ..] = *args;
        let word = |addr| elements(addr, 1).map(|(addr, _)| addr);
        let single = |kind| Ok((kind, 0));

        let (kind, len) = match op {
            uapi::EMU_FILL => {
                let (to, len) = range(a0, a1)?;
                Ok((OpKind::Fill { to, pattern: a2 }, len))
            }
            uapi::EMU_COPY => {
                let (to, len) = range(a0, a2)?;
                let (from, _) = range(a1, a2)?;
                if to < from + len && from < to + len {
                    return Err(EINVAL);
                }
                Ok((OpKind::Copy { to, from }, len))
            }
            uapi::EMU_ADD => {
                let (to, len) = elements(a0, a3)?;
                let (a, _) = elements(a1, a3)?;
                let (b, _) = elements(a2, a3)?;
                Ok((OpKind::Add { to, a, b }, len))
            }
            uapi::EMU_REDUCE => {
                let (from, len) = elements(a0, a1)?;
                Ok((OpKind::Reduce { from }, len))
            }
            uapi::EMU_HISTOGRAM => {
                let (from, len) = range(a0, a1)?;
                let (bins, _) = elements(a2, 256)?;
                Ok((OpKind::Histogram { from, bins }, len))
            }
            uapi::EMU_CAS => single(OpKind::Cas {
                addr: word(a0)?,
                old: a1,
                new: a2,
            }),
            uapi::EMU_FETCH_ADD => single(OpKind::FetchAdd {
                addr: word(a0)?,
                value: a1,
                left: a2,
            }),
            uapi::EMU_WALK => single(OpKind::Walk(Walk::new(word(a0)?))),
            uapi::EMU_HANG => single(OpKind::Hang),
            _ => Err(EINVAL),
        }?;
        Ok(Self {
            kind,
            bulk: Bulk { len, done: 0 },
            result: [0; JOB_RESULTS],
        })
    }

    /// Advances by a bounded amount of work.
    pub(crate) fn step(
        &mut self,
        mmu: &mut DeviceMmu<'_>,
        regs: &mut Registers,
    ) -> Result<Progress, Stop> {
        match &mut self.kind {
            OpKind::Cas { addr, old, new } => {
                self.result = [mmu.compare_exchange(*addr, *old, *new)?, 0, 0, 0];
                Ok(Progress::Done)
            }
            OpKind::FetchAdd { addr, value, left } => {
                for _ in 0..ACCESSES_PER_STEP.min(*left) {
                    self.result = [mmu.fetch_add(*addr, *value)?, 0, 0, 0];
                    *left -= 1;
                }
                Ok(if *left == 0 {
                    Progress::Done
                } else {
                    Progress::More
                })
            }
            OpKind::Walk(walk) => {
                let progress = walk.step(mmu)?;
                self.result = walk.result();
                Ok(progress)
            }
            OpKind::Hang => Err(mmu.hang()),
            _ => self.step_bulk(mmu, regs),
        }
    }

    fn step_bulk(
        &mut self,
        mmu: &mut DeviceMmu<'_>,
        regs: &mut Registers,
    ) -> Result<Progress, Stop> {
        for _ in 0..CHUNKS_PER_STEP {
            let left = self.bulk.len - self.bulk.done;
            if left == 0 {
                return Ok(Progress::Done);
            }
            let len = left.min(CHUNK);
            let (Some(a), Some(b)) = (regs.a.get_mut(..len), regs.b.get_mut(..len)) else {
                return Err(Stop::Error(EINVAL));
            };

            self.chunk(mmu, a, b, left - len)?;
            self.bulk.done += len;
        }
        Ok(Progress::More)
    }

    /// Processes one chunk, with `ahead` bytes to come. Each chunk but the last is a multiple of
    /// eight bytes.
    fn chunk(
        &mut self,
        mmu: &mut DeviceMmu<'_>,
        a: &mut [u8],
        b: &mut [u8],
        ahead: usize,
    ) -> Result<(), Stop> {
        let done = self.bulk.done;

        match self.kind {
            OpKind::Fill { to, pattern } => {
                for part in a.chunks_mut(8) {
                    for (byte, value) in part.iter_mut().zip(pattern.to_ne_bytes()) {
                        *byte = value;
                    }
                }
                mmu.write(to + done, a, ahead)
            }
            OpKind::Copy { to, from } => {
                mmu.read(from + done, a, ahead)?;
                mmu.write(to + done, a, ahead)
            }
            OpKind::Add {
                to,
                a: first,
                b: second,
            } => {
                mmu.read(first + done, a, ahead)?;
                mmu.read(second + done, b, ahead)?;
                for (x, y) in a.chunks_exact_mut(8).zip(b.chunks_exact(8)) {
                    x.copy_from_slice(&word_at(x).wrapping_add(word_at(y)).to_ne_bytes());
                }
                mmu.write(to + done, a, ahead)
            }
            OpKind::Reduce { from } => {
                mmu.read(from + done, a, ahead)?;
                if let Some(sum) = self.result.first_mut() {
                    *sum = a
                        .chunks_exact(8)
                        .fold(*sum, |sum, x| sum.wrapping_add(word_at(x)));
                }
                Ok(())
            }
            OpKind::Histogram { from, bins } => {
                mmu.read(from + done, a, ahead)?;
                let mut counts = [0u16; 256];
                for byte in a.iter() {
                    if let Some(count) = counts.get_mut(usize::from(*byte)) {
                        *count += 1;
                    }
                }
                for (count, bin) in counts.iter().zip((bins..).step_by(8)) {
                    if *count > 0 {
                        mmu.fetch_add(bin, u64::from(*count))?;
                    }
                }
                Ok(())
            }
            _ => Err(Stop::Error(EINVAL)),
        }
    }
}

#[kunit_tests(cdm_emu_ops)]
mod tests {
    use super::*;

    const TOP: u64 = u64::MAX;

    /// The length in bytes of an operation with these arguments, or EINVAL.
    fn new(op: u32, first: &[u64]) -> Result<usize> {
        let mut args = [0; JOB_ARGS];

        for (arg, value) in args.iter_mut().zip(first) {
            *arg = *value;
        }
        Ok(Operation::new(op, &args)?.bulk.len)
    }

    #[test]
    fn unknown_operations_are_refused() {
        for op in [0, uapi::EMU_HANG + 1, u32::MAX] {
            assert_eq!(new(op, &[]), Err(EINVAL));
        }
    }

    #[test]
    fn lengths_are_in_bytes() {
        assert_eq!(new(uapi::EMU_FILL, &[1, 3]), Ok(3));
        assert_eq!(new(uapi::EMU_COPY, &[0x1000, 0x2000, 5]), Ok(5));
        assert_eq!(new(uapi::EMU_ADD, &[8, 16, 24, 7]), Ok(56));
        assert_eq!(new(uapi::EMU_REDUCE, &[8, 7]), Ok(56));
        assert_eq!(new(uapi::EMU_HISTOGRAM, &[1, 3, 8]), Ok(3));
        assert_eq!(new(uapi::EMU_CAS, &[8]), Ok(0));
        assert_eq!(new(uapi::EMU_FETCH_ADD, &[8, 1, TOP]), Ok(0));
        assert_eq!(new(uapi::EMU_WALK, &[8]), Ok(0));
        // An empty range is no error.
        assert_eq!(new(uapi::EMU_FILL, &[0, 0]), Ok(0));
    }

    #[test]
    fn misaligned_elements_are_refused() {
        for off in 1..8 {
            assert_eq!(new(uapi::EMU_ADD, &[off, 16, 24, 1]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_ADD, &[8, off, 24, 1]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_ADD, &[8, 16, off, 1]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_REDUCE, &[off, 1]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_HISTOGRAM, &[8, 1, off]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_CAS, &[off]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_FETCH_ADD, &[off]), Err(EINVAL));
            assert_eq!(new(uapi::EMU_WALK, &[off]), Err(EINVAL));
        }
    }

    #[test]
    fn ranges_end_with_the_address_space() {
        // A range never contains the last byte, so its end is representable.
        assert_eq!(new(uapi::EMU_FILL, &[TOP - 5, 5]), Ok(5));
        assert_eq!(new(uapi::EMU_FILL, &[TOP - 5, 6]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_COPY, &[TOP - 5, 0, 6]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_COPY, &[0, TOP - 5, 6]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_REDUCE, &[8, TOP / 8 + 1]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_ADD, &[8, 8, 8, TOP / 8]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_HISTOGRAM, &[0, 0, TOP - 7]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_CAS, &[TOP - 7]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_WALK, &[TOP - 7]), Err(EINVAL));
        assert_eq!(new(uapi::EMU_CAS, &[TOP - 15]), Ok(0));
    }

    #[test]
    fn copies_do_not_overlap() {
        for (to, from) in [(0, 0), (0, 9), (9, 0), (100, 109)] {
            assert_eq!(new(uapi::EMU_COPY, &[to, from, 10]), Err(EINVAL));
        }
        // Adjacent and empty ranges do not overlap.
        assert_eq!(new(uapi::EMU_COPY, &[0, 10, 10]), Ok(10));
        assert_eq!(new(uapi::EMU_COPY, &[10, 0, 10]), Ok(10));
        assert_eq!(new(uapi::EMU_COPY, &[8, 8, 0]), Ok(0));
        assert_eq!(new(uapi::EMU_COPY, &[TOP - 10, TOP - 10, 10]), Err(EINVAL));
    }

    #[test]
    fn words_are_eight_bytes() {
        assert_eq!(
            word_at(&[1, 0, 0, 0, 0, 0, 0, 2]),
            u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 2])
        );
        assert_eq!(word_at(&[1; 7]), 0);
        assert_eq!(word_at(&[1; 9]), 0);
    }
}

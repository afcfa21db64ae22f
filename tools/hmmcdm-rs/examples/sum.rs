// SPDX-License-Identifier: GPL-2.0

//! The CPU fills memory of the node, the device adds it up, and nothing is copied.

use hmmcdm::{Cdm, Target, Where};
use std::{error::Error, time::Duration};

/// An operation of the emulated accelerator: the sum of 64-bit words.
const REDUCE: u32 = 4;
const ADDS: u32 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let cdm = Cdm::open(0)?;
    let page = cdm.info().page_size as usize;
    let mut buffer = cdm.alloc(4 << 20)?;
    let pages = (buffer.len() / page) as u64;

    assert_eq!(cdm.query(&buffer)?.places[Where::Node as usize], pages);
    for (i, word) in buffer.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(i as u64).to_ne_bytes());
    }
    let words = (buffer.len() / 8) as u64;
    // SAFETY: The job only reads.
    let job = unsafe { cdm.submit(REDUCE, [buffer.as_ptr() as u64, words, 0, 0, 0, 0, 0, 0])? };
    let done = cdm.wait(job, None)?;
    assert_eq!((done.status, done.result[0]), (0, words * (words - 1) / 2));
    assert_eq!(done.bytes_local, buffer.len() as u64);
    assert_eq!(cdm.stats()?.bytes_copied, 0);

    assert_eq!(cdm.migrate(&buffer, Target::System, 0)?.migrated, pages);
    assert_eq!(cdm.query(&buffer)?.places[Where::System as usize], pages);
    cdm.advise(&buffer, true, 0)?;
    assert_eq!(cdm.populate(&buffer, 0)?.stayed, pages);
    assert_eq!(cdm.migrate(&buffer, Target::Node, 0)?.migrated, pages);
    assert!(cdm.populate(&buffer[1..], 0).is_err());
    assert!(Cdm::open(99).is_err());

    let word = buffer.as_mut_ptr() as u64;
    // SAFETY: The word is not looked at again.
    let job = unsafe { cdm.submit(ADDS, [word, 1, u64::MAX >> 2, 0, 0, 0, 0, 0])? };
    let late = cdm.wait(job, Some(Duration::from_millis(20)));
    assert_eq!(
        late.map_err(|e| e.kind()).err(),
        Some(std::io::ErrorKind::TimedOut)
    );
    println!("{pages} pages of the node, the device's sum is the CPU's, nothing was copied");
    Ok(())
}

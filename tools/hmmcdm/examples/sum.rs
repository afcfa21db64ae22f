// SPDX-License-Identifier: MIT OR Apache-2.0

//! The CPU writes numbers to memory of the node, and the device adds them up there. Nothing is
//! copied.
//!
//! Needs a node of the emulated accelerator: `sum [NODE]`.

use hmmcdm::{sys, Cdm, Where};
use std::{env, error::Error, process::ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let node = env::args().nth(1).map_or(Ok(0), |arg| arg.parse())?;
    let cdm = Cdm::open(node)?;
    let mut buffer = cdm.alloc(4 << 20)?;
    let mut sum = 0u64;

    for (i, word) in buffer.chunks_exact_mut(8).enumerate() {
        let number = (i * i) as u64;

        word.copy_from_slice(&number.to_ne_bytes());
        sum += number;
    }

    // The device uses the same address.
    let args = [
        buffer.as_ptr() as u64,
        buffer.len() as u64 / 8,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: The job only reads the buffer, which nothing writes until the job has ended.
    let job = unsafe { cdm.submit(sys::CDM_EMU_REDUCE, args, None)? };
    let report = cdm.wait(job, None)?;

    report.status?;
    println!(
        "{} pages on node {node}, {} bytes copied; the device's sum is {}, the CPU's {sum}",
        cdm.query(&buffer)?.places[Where::Node],
        cdm.stats()?.bytes_copied,
        report.result[0],
    );
    Ok(ExitCode::from(u8::from(report.result[0] != sum)))
}

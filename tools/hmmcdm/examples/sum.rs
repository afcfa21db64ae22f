// SPDX-License-Identifier: MIT OR Apache-2.0

//! The CPU fills memory of the node, the device adds it up, and nothing is copied.

use hmmcdm::{Cdm, Target, Where};
use std::{
    error::Error,
    ffi::{c_int, c_uint},
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, FromRawFd},
    time::Duration,
};

/// An operation of the emulated accelerator: the sum of 64-bit words.
const REDUCE: u32 = 4;
const ADDS: u32 = 7;

extern "C" {
    fn eventfd(value: c_uint, flags: c_int) -> c_int;
}

fn event() -> io::Result<File> {
    // SAFETY: It takes numbers only.
    match unsafe { eventfd(0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: The descriptor is new, and nobody else's.
        fd => Ok(unsafe { File::from_raw_fd(fd) }),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cdm = Cdm::open(0)?;
    let page = cdm.info().page_size as usize;
    let mut buffer = cdm.alloc(4 << 20)?;
    let pages = (buffer.len() / page) as u64;

    let found = cdm.query(&buffer)?;
    assert_eq!(found.places[Where::Node as usize], pages);
    assert_eq!(found.pages.len() as u64, pages);
    for (i, word) in buffer.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(i as u64).to_ne_bytes());
    }
    let words = (buffer.len() / 8) as u64;
    let args = [buffer.as_ptr() as u64, words, 0, 0, 0, 0, 0, 0];
    let mut event = event()?;
    let mut ended = [0; 8];
    // SAFETY: The job only reads.
    let job = unsafe { cdm.submit(REDUCE, args, Some(event.as_fd()))? };
    event.read_exact(&mut ended)?;
    assert_eq!(u64::from_ne_bytes(ended), 1);
    let done = cdm.wait(job, Some(Duration::ZERO))?;
    assert_eq!((done.status, done.result[0]), (0, words * (words - 1) / 2));
    assert_eq!(done.bytes_local, buffer.len() as u64);
    assert_eq!(cdm.stats()?.bytes_copied, 0);
    assert!(cdm.query(&buffer)?.pages.iter().all(|p| p.device != 0));

    let half = buffer.len() / 2;
    cdm.migrate(&buffer[half..], Target::System, 0)?;
    let found = cdm.query(&buffer)?.pages;
    let (first, second) = found.split_at(found.len() / 2);
    assert!(first.iter().all(|p| p.place() == Some(Where::Node)));
    assert!(second.iter().all(|p| p.place() == Some(Where::System)));
    cdm.migrate(&buffer, Target::Node, 0)?;

    assert_eq!(cdm.migrate(&buffer, Target::System, 0)?.migrated, pages);
    assert_eq!(cdm.query(&buffer)?.places[Where::System as usize], pages);
    cdm.advise(&buffer, true, 0)?;
    assert_eq!(cdm.populate(&buffer, 0)?.stayed, pages);
    assert_eq!(cdm.migrate(&buffer, Target::Node, 0)?.migrated, pages);
    assert!(cdm.populate(&buffer[1..], 0).is_err());
    assert!(Cdm::open(99).is_err());

    // From a window on they are aligned to windows, wherever the last one has ended.
    let window = cdm.info().window_size as usize;
    let buffers = [window, window + page, 2 * window - page, window].map(|size| cdm.alloc(size));
    for other in buffers {
        assert_eq!(other?.as_ptr() as usize % window, 0);
    }
    assert_eq!(cdm.alloc(1)?.len(), page);

    let word = buffer.as_mut_ptr() as u64;
    // SAFETY: The word is not looked at again.
    let job = unsafe { cdm.submit(ADDS, [word, 1, u64::MAX >> 2, 0, 0, 0, 0, 0], None)? };
    let late = cdm.wait(job, Some(Duration::from_millis(20)));
    assert_eq!(
        late.map_err(|e| e.kind()).err(),
        Some(std::io::ErrorKind::TimedOut)
    );
    println!("{pages} pages of the node, the device's sum is the CPU's, nothing was copied");
    Ok(())
}

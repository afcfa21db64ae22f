// SPDX-License-Identifier: MIT OR Apache-2.0

//! Anonymous memory. Buffers of a window or more are aligned to windows.

use std::{
    io,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

/// Whole pages of anonymous memory, zeroed at first. See [`Cdm::alloc`](crate::Cdm::alloc).
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: A buffer owns its memory, which is not bound to a thread.
unsafe impl Send for Buffer {}
// SAFETY: Through a shared reference the memory can only be read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Maps at least `size` bytes. A window or more is aligned to windows, as only an aligned
    /// window gets contiguous device memory. `page` and `window` are powers of two.
    pub(crate) fn map(size: usize, page: usize, window: usize) -> io::Result<Self> {
        let len = size
            .checked_next_multiple_of(page)
            .filter(|len| *len > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let slack = if len >= window { window - page } else { 0 };
        let mapped = len
            .checked_add(slack)
            .filter(|mapped| *mapped <= isize::MAX as usize)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: The kernel chooses the addresses, so no other mapping is replaced.
        let raw = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };

        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let raw = raw.cast::<u8>();
        let before = match slack {
            0 => 0,
            _ => (raw as usize).next_multiple_of(window) - raw as usize,
        };
        // SAFETY: `raw` is page aligned, so the next window begins at most `slack` bytes later,
        // within the mapping.
        let start = unsafe { raw.add(before) };

        if before > 0 {
            // SAFETY: The first part of the new mapping, to which there is no reference.
            unsafe { libc::munmap(raw.cast(), before) };
        }
        if before < slack {
            // SAFETY: As above, the last part.
            unsafe { libc::munmap(start.add(len).cast(), slack - before) };
        }
        // The kernel does not choose address 0.
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The buffer owns the mapping, which is readable and initialised: the kernel zeroes
        // it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above; the mapping is writable, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: The buffer owns the mapping, and references into it cannot outlive the buffer.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65536;
    const WINDOW: usize = 1 << 21;

    #[test]
    fn whole_pages() -> io::Result<()> {
        let mut buffer = Buffer::map(1, PAGE, WINDOW)?;

        assert_eq!(buffer.len(), PAGE);
        assert!(buffer.iter().all(|byte| *byte == 0));
        buffer.fill(7);
        assert_eq!(buffer[PAGE - 1], 7);
        Ok(())
    }

    #[test]
    fn windows_are_aligned() -> io::Result<()> {
        let sizes = [WINDOW, WINDOW + PAGE, 2 * WINDOW - PAGE, WINDOW];
        // All exist at the same time, so that not each is aligned by chance.
        let buffers = sizes.map(|size| Buffer::map(size, PAGE, WINDOW));

        for (buffer, size) in buffers.into_iter().zip(sizes) {
            let mut buffer = buffer?;

            assert_eq!(buffer.len(), size);
            assert_eq!(buffer.as_ptr() as usize % WINDOW, 0);
            buffer.fill(1);
        }
        Ok(())
    }

    #[test]
    fn sizes_that_cannot_be() {
        for size in [0, usize::MAX, isize::MAX as usize] {
            let error = Buffer::map(size, PAGE, WINDOW).map_err(|e| e.kind()).err();

            assert_eq!(error, Some(io::ErrorKind::InvalidInput));
        }
    }
}

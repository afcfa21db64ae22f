// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of cache-coherent devices, for programs: the calls of `<linux/hmm_cdm.h>`, where fields,
//! flags and errors are described.
//!
//! Ranges are given as slices that the program owns, or as [`Buffer`]s, so that nothing here can
//! reach what is not the caller's. Where pages lie is no part of a value, so moving them takes a
//! shared reference.

#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

use std::{
    ffi::{c_int, c_long, c_ulong, c_void},
    fs::{File, OpenOptions},
    io,
    ops::{Deref, DerefMut},
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    slice,
    time::Duration,
};

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(
        at: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        off: c_long,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;

const SUBMIT_EVENTFD: u32 = 1;

const fn command(nr: c_ulong) -> c_ulong {
    // _IO() is not the same number everywhere.
    let none = if cfg!(any(target_arch = "powerpc64", target_arch = "powerpc")) {
        1 << 29
    } else {
        0
    };

    none | (0xcd << 8) | nr
}

/// A structure of the interface: integers only, which begin with its size.
///
/// # Safety
///
/// `repr(C)`, without padding; any bytes are a value.
unsafe trait Wire: Default {
    const COMMAND: c_ulong;
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident = $nr:literal, $size:literal {
        $($field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "described in <linux/hmm_cdm.h>")]
        pub struct $name {
            size: u32,
            $(pub $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $size);

        impl Default for $name {
            fn default() -> Self {
                // SAFETY: Integers and arrays of integers; zeros are a value.
                let zero = unsafe { std::mem::zeroed::<Self>() };

                Self { size: $size, ..zero }
            }
        }

        // SAFETY: The sizes add up, which is asserted above.
        unsafe impl Wire for $name {
            const COMMAND: c_ulong = command($nr);
        }
    };
}

wire! {
    /// What a node is.
    Info = 0, 216 {
        flags: u32, version: u32, index: u32, numa_node: i32, page_size: u32, window_size: u32,
        reserved: u32, capacity: u64, free: u64, start: u64, driver: [u8; 32], origin: [u8; 128],
    }
}
wire! {
    /// What a migration did.
    Migrate = 1, 144 {
        flags: u32, addr: u64, length: u64, target: u32, reserved: u32, migrated: u64,
        populated: u64, present: u64, huge: u64, skipped: [u64; 8], peers: u64, evicted: u64,
    }
}
wire! {
    /// A question where the pages of a range lie.
    Query = 2, 96 {
        flags: u32, addr: u64, length: u64, pages: u64, places: [u64; 8],
    }
}
wire! {
    /// A job to be run.
    Submit = 3, 88 {
        flags: u32, op: u32, eventfd: i32, args: [u64; 8], job: u64,
    }
}
wire! {
    /// How a job ended.
    Wait = 4, 96 {
        flags: u32, job: u64, timeout_ns: i64, status: i32, fault_access: u32, fault_addr: u64,
        result: [u64; 4], faults: u64, bytes_local: u64, bytes_remote: u64,
    }
}
wire! {
    /// Counters.
    Stats = 5, 216 {
        flags: u32, faults: u64, fault_pages: u64, fault_retries: u64, invalidations: u64,
        invalidated_pages: u64, migrated_in: u64, migrated_out: u64, bytes_copied: u64,
        populated: u64, huge: u64, skipped: [u64; 8], jobs: u64, node_pages: u64, node_free: u64,
        node_contiguous: u64, peers: u64, touched: u64, evicted: u64, node_evicted: u64,
    }
}
wire! {
    /// What populating a range did.
    Populate = 6, 136 {
        flags: u32, addr: u64, length: u64, populated: u64, present: u64, stayed: u64,
        migrated: u64, contiguous: u64, evicted: u64, skipped: [u64; 8],
    }
}
wire! {
    /// Advice about a range.
    Advise = 7, 32 {
        flags: u32, addr: u64, length: u64, place: u32, reserved: u32,
    }
}

/// Where pages are moved.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Target {
    /// To the node.
    Node = 0,
    /// To system memory.
    System = 1,
}

/// A place, and an index of [`Residency::places`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs, reason = "described in <linux/hmm_cdm.h>")]
pub enum Where {
    Unmapped = 0,
    Absent = 1,
    System = 2,
    Node = 3,
    Device = 4,
}

/// One page of [`Residency::pages`].
#[repr(C)]
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "described in <linux/hmm_cdm.h>")]
pub struct Page {
    place: u8,
    pub order: u8,
    pub cpu: u8,
    pub device: u8,
    pub accesses: u16,
    pub flags: u16,
}

const _: () = assert!(size_of::<Page>() == 8);

impl Page {
    /// Where it lies; `None` for a place that only a newer kernel knows.
    pub fn place(&self) -> Option<Where> {
        Some(match self.place {
            0 => Where::Unmapped,
            1 => Where::Absent,
            2 => Where::System,
            3 => Where::Node,
            4 => Where::Device,
            _ => return None,
        })
    }
}

/// Where memory lies.
#[derive(Clone, Debug)]
pub struct Residency {
    /// Page by page.
    pub pages: Vec<Page>,
    /// In sum, by [`Where`].
    pub places: [u64; 8],
}

/// A node, as this process sees it. A child after `fork()` opens its own.
pub struct Cdm {
    file: File,
    info: Info,
}

impl Cdm {
    /// Opens the node behind `/dev/hmm_cdm<node>`.
    pub fn open(node: u32) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/dev/hmm_cdm{node}"))?;
        let mut cdm = Self {
            file,
            info: Info::default(),
        };
        let mut info = Info::default();

        cdm.call(&mut info)?;
        cdm.info = info;
        Ok(cdm)
    }

    fn call<T: Wire>(&self, arg: &mut T) -> io::Result<()> {
        // SAFETY: The kernel writes to the structure, as much as its size says, and to the pages of a
        // query, which are as many as its range has. What ranges are of, the callers have borrowed,
        // and where pages lie is not seen by the program.
        match unsafe { ioctl(self.file.as_raw_fd(), T::COMMAND, arg) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What the node is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Zeroed memory of at least `size` bytes that lies on the node from the first touch on, as far
    /// as that has room. From the size of a window on it is aligned to windows.
    pub fn alloc(&self, size: usize) -> io::Result<Buffer> {
        let window = self.info.window_size as usize;
        let buffer = Buffer::new(size, self.info.page_size as usize, window)?;

        match self.populate(&buffer, 0) {
            Ok(_) => Ok(buffer),
            // A signal: the rest is the system's.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(buffer),
            Err(e) => Err(e),
        }
    }

    /// Backs what nobody has touched with pages of the node. The memory has to be page aligned.
    pub fn populate(&self, memory: &[u8], flags: u32) -> io::Result<Populate> {
        let mut arg = Populate {
            flags,
            addr: memory.as_ptr() as u64,
            length: memory.len() as u64,
            ..Populate::default()
        };

        self.call(&mut arg).map(|()| arg)
    }

    /// Moves memory, which has to be page aligned.
    pub fn migrate(&self, memory: &[u8], target: Target, flags: u32) -> io::Result<Migrate> {
        let mut arg = Migrate {
            flags,
            addr: memory.as_ptr() as u64,
            length: memory.len() as u64,
            target: target as u32,
            ..Migrate::default()
        };

        self.call(&mut arg).map(|()| arg)
    }

    /// Whether pages had best be on the node when the device faults on them.
    pub fn advise(&self, memory: &[u8], on_node: bool, flags: u32) -> io::Result<()> {
        self.call(&mut Advise {
            flags,
            addr: memory.as_ptr() as u64,
            length: memory.len() as u64,
            place: u32::from(on_node),
            ..Advise::default()
        })
    }

    /// Where the pages of memory lie, which has to be page aligned.
    pub fn query(&self, memory: &[u8]) -> io::Result<Residency> {
        let mut pages = vec![Page::default(); memory.len() / self.info.page_size as usize];
        let mut arg = Query {
            addr: memory.as_ptr() as u64,
            length: memory.len() as u64,
            pages: pages.as_mut_ptr() as u64,
            ..Query::default()
        };

        self.call(&mut arg)?;
        Ok(Residency {
            pages,
            places: arg.places,
        })
    }

    /// Starts a job of the device. Its number is for [`Self::wait`]; to `event`, an eventfd, 1 is
    /// added when it has ended.
    ///
    /// # Safety
    ///
    /// What the job writes to, by its arguments, is memory that nobody has a reference to but by
    /// atomics until the job has ended.
    pub unsafe fn submit(
        &self,
        op: u32,
        args: [u64; 8],
        event: Option<BorrowedFd<'_>>,
    ) -> io::Result<u64> {
        let mut arg = Submit {
            flags: event.map_or(0, |_| SUBMIT_EVENTFD),
            op,
            eventfd: event.map_or(0, |fd| fd.as_raw_fd()),
            args,
            ..Submit::default()
        };

        self.call(&mut arg).map(|()| arg.job)
    }

    /// Waits for a job, for ever if there is no timeout. `TimedOut` if it has not ended by then.
    pub fn wait(&self, job: u64, timeout: Option<Duration>) -> io::Result<Wait> {
        let ns = timeout.map_or(-1, |t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX));

        loop {
            let mut arg = Wait {
                job,
                timeout_ns: ns,
                ..Wait::default()
            };

            match self.call(&mut arg) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                done => return done.map(|()| arg),
            }
        }
    }

    /// The counters of this handle and its node.
    pub fn stats(&self) -> io::Result<Stats> {
        let mut arg = Stats::default();

        self.call(&mut arg).map(|()| arg)
    }
}

/// Anonymous memory of its own.
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: It owns its memory.
unsafe impl Send for Buffer {}
// SAFETY: As above; shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new(size: usize, page: usize, window: usize) -> io::Result<Self> {
        let len = size
            .checked_next_multiple_of(page)
            .filter(|len| *len > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // A whole window is contiguous only where it is aligned as one.
        let slack = if len >= window { window - page } else { 0 };
        let mapped = len
            .checked_add(slack)
            .filter(|mapped| *mapped <= isize::MAX as usize)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: A new mapping, of nobody else's addresses.
        let raw = unsafe {
            mmap(
                std::ptr::null_mut(),
                mapped,
                PROT_READ_WRITE,
                MAP_PRIVATE_ANONYMOUS,
                -1,
                0,
            )
        };

        if raw as isize == -1 {
            return Err(io::Error::last_os_error());
        }
        let before = match slack {
            0 => 0,
            _ => (raw as usize).next_multiple_of(window) - raw as usize,
        };
        // SAFETY: As the mapping is page aligned, a window begins within the slack.
        let start = unsafe { raw.add(before) };

        if before > 0 {
            // SAFETY: The mapping's first part, which nobody has seen.
            unsafe { munmap(raw, before) };
        }
        if before < slack {
            // SAFETY: As above, its last part.
            unsafe { munmap(start.add(len), slack - before) };
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The mapping is ours, readable, and zeroed where nothing was written.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, writable, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours, and no reference into it is left.
        unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calls, on the first node: `cargo test -- --ignored`. It has to be one of the emulated
//! accelerator.

use hmmcdm::{
    sys, Access, AdviseFlags, Buffer, Cdm, Job, MigrateFlags, Place, PopulateFlags, Skip, Target,
    Where,
};
use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::{AsFd, FromRawFd},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

const SIZE: usize = 4 << 20;

/// A handle, and a buffer on the node; each word of it is its index.
struct Words {
    cdm: Cdm,
    buffer: Buffer,
}

impl Words {
    fn new() -> io::Result<Self> {
        let cdm = Cdm::open(0)?;
        let mut buffer = cdm.alloc(SIZE)?;

        for (i, word) in buffer.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(i as u64).to_ne_bytes());
        }
        Ok(Self { cdm, buffer })
    }

    fn pages(&self) -> u64 {
        (self.buffer.len() / self.cdm.info().page_size) as u64
    }

    fn places(&self, place: Where) -> io::Result<u64> {
        Ok(self.cdm.query(&self.buffer)?.places[place])
    }

    fn sum(&self) -> u64 {
        let words = (self.buffer.len() / 8) as u64;

        words * (words - 1) / 2
    }

    /// A job that adds up the words.
    fn reduce(&self, event: Option<&File>) -> io::Result<Job> {
        let args = [
            self.buffer.as_ptr() as u64,
            self.buffer.len() as u64 / 8,
            0,
            0,
            0,
            0,
            0,
            0,
        ];

        // SAFETY: The job only reads, and the tests do not write until it has ended.
        unsafe {
            self.cdm
                .submit(sys::CDM_EMU_REDUCE, args, event.map(|e| e.as_fd()))
        }
    }

    /// A job that adds to the first word until the handle is closed.
    fn endless(&mut self) -> io::Result<Job> {
        let word = self.buffer.as_mut_ptr() as u64;

        // SAFETY: The tests do not access the word any more.
        unsafe {
            self.cdm.submit(
                sys::CDM_EMU_FETCH_ADD,
                [word, 1, u64::MAX >> 2, 0, 0, 0, 0, 0],
                None,
            )
        }
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.map_err(|e| e.kind()).err()
}

#[test]
#[ignore = "needs a node"]
fn info_describes_the_node() -> io::Result<()> {
    let cdm = Cdm::open_path("/dev/hmm_cdm0")?;
    let info = cdm.info();

    assert_eq!(info.index, 0);
    assert_eq!(info.driver, "cdm_emu");
    assert!(info.window_size.is_power_of_two() && info.window_size >= info.page_size);
    assert!(info.free <= info.capacity && info.capacity > 0);
    assert_eq!(kind(Cdm::open(99)), Some(ErrorKind::NotFound));
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn buffers_are_on_the_node() -> io::Result<()> {
    let words = Words::new()?;
    let residency = words.cdm.query(&words.buffer)?;

    assert_eq!(residency.places[Where::Node], words.pages());
    assert_eq!(residency.pages.len() as u64, words.pages());
    for page in &residency.pages {
        assert_eq!(page.place(), Some(Where::Node));
        assert_eq!(page.cpu(), Access::all());
        assert_eq!(page.device(), Access::empty());
    }
    assert_eq!(words.cdm.stats()?.bytes_copied, 0);
    assert_eq!(
        words.buffer.as_ptr() as usize % words.cdm.info().window_size,
        0
    );
    assert_eq!(words.cdm.alloc(1)?.len(), words.cdm.info().page_size);
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn a_job_reads_what_the_cpu_wrote() -> io::Result<()> {
    let words = Words::new()?;
    let job = words.reduce(None)?;
    let report = words.cdm.wait(job, None)?;

    assert_eq!((report.status, report.result[0]), (Ok(()), words.sum()));
    assert_eq!((report.bytes_local, report.bytes_remote), (SIZE as u64, 0));
    let pages = words.cdm.query(&words.buffer)?.pages;
    assert!(pages
        .iter()
        .all(|page| page.device().contains(Access::READ)));
    assert_eq!(kind(words.cdm.wait(job, None)), Some(ErrorKind::NotFound));
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn an_eventfd_is_signalled_when_the_job_has_ended() -> io::Result<()> {
    let words = Words::new()?;
    // SAFETY: It takes only numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: The descriptor is open, and nothing else owns it.
    let mut event = unsafe { File::from_raw_fd(fd) };
    let job = words.reduce(Some(&event))?;
    let mut count = [0; 8];

    event.read_exact(&mut count)?;
    assert_eq!(u64::from_ne_bytes(count), 1);
    let report = words.cdm.wait(job, Some(Duration::ZERO))?;
    assert_eq!(report.result[0], words.sum());
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn a_bad_address_is_reported() -> io::Result<()> {
    let cdm = Cdm::open(0)?;
    // SAFETY: Nothing is mapped there, so nothing is accessed.
    let job = unsafe { cdm.submit(sys::CDM_EMU_FILL, [4096, 8, 1, 0, 0, 0, 0, 0], None)? };
    let error = cdm
        .wait(job, None)?
        .status
        .expect_err("nothing is mapped there");

    assert_eq!(error.errno, libc::EFAULT);
    let fault = error.fault.expect("EFAULT has an address");
    assert_eq!((fault.address, fault.access), (4096, Access::WRITE));
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn pages_move_there_and_back() -> io::Result<()> {
    let words = Words::new()?;
    let half = words.buffer.len() / 2;
    let none = MigrateFlags::empty();

    let report = words
        .cdm
        .migrate(&words.buffer[half..], Target::System, none)?;
    assert_eq!(report.migrated, words.pages() / 2);
    let pages = words.cdm.query(&words.buffer)?.pages;
    let (first, second) = pages.split_at(pages.len() / 2);
    assert!(first.iter().all(|page| page.place() == Some(Where::Node)));
    assert!(second
        .iter()
        .all(|page| page.place() == Some(Where::System)));

    let report = words
        .cdm
        .migrate(&words.buffer, Target::Node, MigrateFlags::EVICT)?;
    assert_eq!(report.migrated, words.pages() / 2);
    assert_eq!(report.present, words.pages() / 2);
    assert_eq!(report.skipped.total(), 0);
    assert_eq!(report.skipped[Skip::Pinned], 0);
    assert_eq!(words.places(Where::Node)?, words.pages());
    for (i, word) in words.buffer.chunks_exact(8).enumerate() {
        assert_eq!(word, (i as u64).to_ne_bytes());
    }
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn populate_leaves_what_exists_unless_asked() -> io::Result<()> {
    let words = Words::new()?;

    words
        .cdm
        .migrate(&words.buffer, Target::System, MigrateFlags::empty())?;
    let report = words.cdm.populate(&words.buffer, PopulateFlags::empty())?;
    assert_eq!((report.stayed, report.migrated), (words.pages(), 0));
    let report = words.cdm.populate(&words.buffer, PopulateFlags::MIGRATE)?;
    assert_eq!((report.stayed, report.migrated), (0, words.pages()));
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn advice_decides_what_a_fault_does() -> io::Result<()> {
    let words = Words::new()?;

    words
        .cdm
        .migrate(&words.buffer, Target::System, MigrateFlags::empty())?;
    words.cdm.wait(words.reduce(None)?, None)?;
    assert_eq!(words.places(Where::System)?, words.pages());
    // There and back: the device has entries by now, and would not fault again.
    words
        .cdm
        .migrate(&words.buffer, Target::Node, MigrateFlags::empty())?;
    words
        .cdm
        .migrate(&words.buffer, Target::System, MigrateFlags::empty())?;
    words
        .cdm
        .advise(&words.buffer, Place::Node, AdviseFlags::MIGRATE)?;
    words.cdm.wait(words.reduce(None)?, None)?;
    assert_eq!(words.places(Where::Node)?, words.pages());
    words
        .cdm
        .advise(&words.buffer, Place::None, AdviseFlags::empty())
}

#[test]
#[ignore = "needs a node"]
fn misaligned_ranges_and_unknown_flags_are_refused() -> io::Result<()> {
    let words = Words::new()?;
    let (cdm, odd) = (&words.cdm, &words.buffer[1..]);
    let unknown = MigrateFlags::from_bits_retain(1 << 31);
    let invalid = Some(ErrorKind::InvalidInput);

    assert_eq!(kind(cdm.populate(odd, PopulateFlags::empty())), invalid);
    assert_eq!(
        kind(cdm.migrate(odd, Target::Node, MigrateFlags::empty())),
        invalid
    );
    assert_eq!(
        kind(cdm.migrate(&words.buffer, Target::Node, unknown)),
        invalid
    );
    assert_eq!(kind(cdm.query(odd)), invalid);
    assert_eq!(kind(cdm.query(&[])), invalid);
    Ok(())
}

#[test]
#[ignore = "needs a node"]
fn waits_end_in_time() -> io::Result<()> {
    let mut words = Words::new()?;
    let job = words.endless()?;
    let start = Instant::now();

    for timeout in [Duration::ZERO, Duration::from_millis(50)] {
        let result = words.cdm.wait(job, Some(timeout));

        assert_eq!(kind(result), Some(ErrorKind::TimedOut));
        assert!(start.elapsed() >= timeout);
    }
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);
static LATE_SIGNALS: AtomicU32 = AtomicU32::new(0);
static DEADLINE_MS: AtomicI64 = AtomicI64::new(i64::MAX);

fn now_ms() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    // SAFETY: It writes to `now` only.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
    if now_ms() > DEADLINE_MS.load(Ordering::Relaxed) {
        LATE_SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
}

/// If a wait restarted its timeout at each signal, signals would still arrive after its deadline.
#[test]
#[ignore = "needs a node"]
fn signals_do_not_prolong_a_wait() -> io::Result<()> {
    const TIMEOUT_MS: u32 = 500;

    let mut words = Words::new()?;
    let job = words.endless()?;
    // SAFETY: All zero is a valid `sigaction`: no flags, so that calls are not restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as usize;
    // SAFETY: The handler is async-signal-safe: it uses atomics and clock_gettime().
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: It takes nothing and cannot fail.
    let waiter = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            // Four times as long as the wait, so that a wait that does not end is noticed.
            for _ in 0..4 * TIMEOUT_MS / 5 {
                if done.load(Ordering::Acquire) {
                    break;
                }
                // SAFETY: The waiting thread lives until this one has ended: the scope joins it.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(5));
            }
        });
        DEADLINE_MS.store(now_ms() + i64::from(TIMEOUT_MS), Ordering::Relaxed);
        let result = words
            .cdm
            .wait(job, Some(Duration::from_millis(TIMEOUT_MS.into())));
        done.store(true, Ordering::Release);
        assert_eq!(kind(result), Some(ErrorKind::TimedOut));
    });
    assert!(SIGNALS.load(Ordering::Relaxed) > 0);
    // One may interrupt the wait at its deadline, and one come before the last is sent.
    let late = LATE_SIGNALS.load(Ordering::Relaxed);
    assert!(late < 10, "{late} signals after the deadline");
    Ok(())
}

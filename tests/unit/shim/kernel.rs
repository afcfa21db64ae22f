// SPDX-License-Identifier: GPL-2.0

//! The part of the `kernel` crate that the driver's pure logic uses, on top of `std`, so that the
//! files of the module can be tested on the host unchanged.
//!
//! Allocations are counted and can be made to fail; see [`alloc_budget`].

use std::cell::Cell;

thread_local! {
    static ALLOCS: Cell<usize> = const { Cell::new(0) };
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Lets `allocs` more allocations of this thread succeed.
pub fn alloc_budget(allocs: usize) {
    BUDGET.set(allocs);
}

/// The number of allocations that this thread has asked for.
pub fn alloc_count() -> usize {
    ALLOCS.get()
}

fn account() -> Result<(), alloc::AllocError> {
    ALLOCS.set(ALLOCS.get() + 1);
    let left = BUDGET.get().checked_sub(1).ok_or(alloc::AllocError)?;
    BUDGET.set(left);
    Ok(())
}

/// As `kernel::alloc`.
pub mod alloc {
    use super::account;

    /// As `kernel::alloc::AllocError`.
    #[derive(Debug)]
    pub struct AllocError;

    /// As `kernel::alloc::Flags`.
    #[derive(Clone, Copy)]
    pub struct Flags;

    /// As `kernel::alloc::flags`.
    pub mod flags {
        /// May sleep.
        pub const GFP_KERNEL: super::Flags = super::Flags;
    }

    /// The part of `kernel::alloc::KVVec` that is used.
    pub struct KVVec<T>(Vec<T>);

    impl<T> KVVec<T> {
        /// Reserves space for `capacity` elements.
        pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
            account()?;
            Ok(Self(Vec::with_capacity(capacity)))
        }

        /// Appends an element.
        pub fn push(&mut self, value: T, _: Flags) -> Result<(), AllocError> {
            if self.0.len() == self.0.capacity() {
                account()?;
            }
            self.0.push(value);
            Ok(())
        }
    }

    impl KVVec<u64> {
        /// A vector of `len` zeros.
        pub fn zeroed(len: usize, _: Flags) -> Result<Self, AllocError> {
            account()?;
            Ok(Self(vec![0; len]))
        }
    }

    impl<T> std::ops::Deref for KVVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }

    impl<T> std::ops::DerefMut for KVVec<T> {
        fn deref_mut(&mut self) -> &mut [T] {
            &mut self.0
        }
    }
}

/// As `kernel::error`.
pub mod error {
    /// An errno.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(i32);

    impl From<super::alloc::AllocError> for Error {
        fn from(_: super::alloc::AllocError) -> Self {
            code::ENOMEM
        }
    }

    /// As `kernel::error::Result`.
    pub type Result<T = (), E = Error> = std::result::Result<T, E>;

    /// As `kernel::error::code`.
    pub mod code {
        use super::Error;

        /// Out of memory.
        pub const ENOMEM: Error = Error(-12);
        /// Invalid argument.
        pub const EINVAL: Error = Error(-22);
    }
}

/// As `kernel::prelude`.
pub mod prelude {
    pub use super::{
        alloc::{flags::*, KVVec},
        error::{code::*, Error, Result},
    };
    pub use macros::kunit_tests;
}

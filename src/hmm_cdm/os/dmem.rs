// SPDX-License-Identifier: GPL-2.0

//! Device memory charged to cgroups: the dmem controller.
//!
//! `dmem_cgroup_try_charge()` charges the cgroup of the current task, and no other. The charge
//! stays with that cgroup if the process moves to another. Until it is undone, it keeps the
//! cgroup's accounts, although the cgroup itself can be removed.
//!
//! # Contexts
//!
//! Charging may sleep: it allocates, and takes a lock that leaves interrupts enabled. A charge can
//! be undone in any context, interrupts included: `dmem_cgroup_uncharge()` updates atomic counters
//! (`page_counter_uncharge()`) and drops two references. Dropping the last one only queues the
//! freeing, to RCU (`dmemcg_pool_put()`) or a workqueue (`css_release()`).
//!
//! C files: `kernel/cgroup/dmem.c`, `include/linux/cgroup_dmem.h`.

use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    },
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

/// A cgroup's limit that its usage exceeds.
///
/// # Invariants
///
/// `pool` is valid for `'a`.
#[derive(Copy, Clone)]
pub struct Limit<'a> {
    pool: NonNull<bindings::dmem_cgroup_pool_state>,
    _valid: PhantomData<&'a ()>,
}

/// Moves memory off the device when a cgroup's limit is set below its usage.
pub trait Reclaim: Send + Sync {
    /// Frees up to `bytes` that are charged to the cgroup with the limit or to its descendants. On
    /// ENOSPC, which means that nothing can be freed now, the controller retries a few times. Any
    /// other error ends reclaim.
    ///
    /// Context: process, in a write to `dmem.max`; sleeps. Unregistering the region waits for this.
    fn reclaim(&self, limit: Limit<'_>, bytes: u64) -> Result;
}

/// The memory of a device, as the controller knows it. Dropping it unregisters the memory.
///
/// # Invariants
///
/// `region` is registered with [`Self::OPS`] and `reclaim` as their data, which came from
/// `KBox::into_raw()`.
pub struct DmemRegion {
    region: NonNull<bindings::dmem_cgroup_region>,
    reclaim: NonNull<Arc<dyn Reclaim>>,
}

// SAFETY: A region may be unregistered by any task; `dyn Reclaim` is `Send` and `Sync`.
unsafe impl Send for DmemRegion {}
// SAFETY: As above. Charging takes the controller's own lock.
unsafe impl Sync for DmemRegion {}

impl DmemRegion {
    const OPS: bindings::dmem_cgroup_ops = bindings::dmem_cgroup_ops {
        reclaim: Some(Self::reclaim),
    };

    /// Registers `size` bytes as `hmm_cdm/<name>`. `None` if the kernel has no dmem controller.
    /// ENOMEM. Sleeps.
    pub fn register(name: &CStr, size: u64, reclaim: Arc<dyn Reclaim>) -> Result<Option<Self>> {
        let reclaim = KBox::into_raw(KBox::new(reclaim, GFP_KERNEL)?);
        let init = bindings::dmem_cgroup_init {
            size,
            ops: &Self::OPS,
            reclaim_priv: reclaim.cast(),
        };
        // SAFETY: `dmem_cgroup_register_region()` keeps the operations and their data. The
        // operations are static, and the data lives until `drop()` has unregistered the region,
        // which waits for callbacks. The name is copied.
        let region = unsafe { bindings::hmm_cdm_helper_dmem_register(&init, name.as_char_ptr()) };

        match (
            from_err_ptr(region).map(NonNull::new),
            NonNull::new(reclaim),
        ) {
            // INVARIANT: Just registered.
            (Ok(Some(region)), Some(reclaim)) => Ok(Some(Self { region, reclaim })),
            (other, _) => {
                // SAFETY: From `into_raw()` above; the controller has not taken it.
                drop(unsafe { KBox::from_raw(reclaim) });
                other.map(|_| None)
            }
        }
    }

    /// Charges the current task's cgroup. EAGAIN if a limit would be exceeded, ENOMEM. Sleeps.
    pub fn try_charge(&self, bytes: u64) -> Result<Charge> {
        let mut pool = null_mut();

        // SAFETY: `dmem_cgroup_try_charge()` requires a registered region, which this is by the
        // type invariants.
        to_result(unsafe {
            bindings::hmm_cdm_helper_dmem_try_charge(self.region.as_ptr(), bytes, &mut pool)
        })?;
        Ok(Charge {
            // INVARIANT: One call has charged `bytes`.
            pool: NonNull::new(pool).ok_or(EINVAL)?,
            calls: 1,
            bytes,
        })
    }

    /// # Safety
    ///
    /// Called by the controller for a registered region.
    unsafe extern "C" fn reclaim(
        pool: *mut bindings::dmem_cgroup_pool_state,
        bytes: u64,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `data` is the `reclaim` of a registered region, by the type invariants. It lives
        // until the region is unregistered, which waits for this callback.
        let reclaim = unsafe { &*data.cast::<Arc<dyn Reclaim>>() };
        let Some(pool) = NonNull::new(pool) else {
            return EINVAL.to_errno();
        };
        // INVARIANT: The controller keeps the pool for the duration of the callback, and
        // `reclaim()` cannot keep `limit` for longer.
        let limit = Limit {
            pool,
            _valid: PhantomData,
        };

        match reclaim.reclaim(limit, bytes) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
}

impl Drop for DmemRegion {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is registered; it is unregistered only here. Charges
        // that remain hold references on their pools.
        unsafe { bindings::hmm_cdm_helper_dmem_unregister(self.region.as_ptr()) };
        // SAFETY: By the type invariants it came from `into_raw()`. Unregistering has waited for
        // callbacks, so none uses it.
        drop(unsafe { KBox::from_raw(self.reclaim.as_ptr()) });
    }
}

/// Bytes charged to one cgroup, by one or more calls. Dropping it undoes the charge, in any
/// context.
///
/// # Invariants
///
/// The value owns the references of `calls` successful calls of `dmem_cgroup_try_charge()`, at
/// least one: each took one on `pool` and one on its cgroup. `bytes` are charged to the pool.
pub struct Charge {
    pool: NonNull<bindings::dmem_cgroup_pool_state>,
    calls: u64,
    bytes: u64,
}

// SAFETY: `dmem_cgroup_uncharge()` may be called by any task.
unsafe impl Send for Charge {}

impl Charge {
    /// Returns the number of bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of calls that charged them. One less can be split off.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns whether both are charged to the same cgroup.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pool == other.pool
    }

    /// Merges `other` into this charge. Returns it if it is to another cgroup.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if !self.is_same(&other) {
            return Err(other);
        }
        // INVARIANT: `other` is forgotten, so this value owns its references and bytes.
        self.calls += other.calls;
        self.bytes += other.bytes;
        core::mem::forget(other);
        Ok(())
    }

    /// Splits off `bytes` and up to `calls` of the calls; one call always stays. `None` if there
    /// are fewer bytes, or only one call.
    pub fn split(&mut self, bytes: u64, calls: u64) -> Option<Self> {
        let calls = calls.min(self.calls.saturating_sub(1));

        if calls == 0 || self.bytes < bytes {
            return None;
        }
        // INVARIANT: At least one call goes to the new value, and at least one stays.
        self.calls -= calls;
        self.bytes -= bytes;
        Some(Self {
            pool: self.pool,
            calls,
            bytes,
        })
    }

    /// Returns whether freeing some of it helps to meet `limit`: it counts towards that limit, and
    /// is not protected by its cgroup's `dmem.min` or, unless `ignore_low` is set, by its
    /// `dmem.low`. Sets `hit_low` if `dmem.low` is the reason for the result.
    ///
    /// Context: any task. Walks the cgroups below the limit.
    pub fn is_worth_freeing(&self, limit: Limit<'_>, ignore_low: bool, hit_low: &mut bool) -> bool {
        // SAFETY: `dmem_cgroup_state_evict_valuable()` requires valid pools. Both are by the type
        // invariants, `limit`'s for its lifetime.
        unsafe {
            bindings::hmm_cdm_helper_dmem_evict_valuable(
                limit.pool.as_ptr(),
                self.pool.as_ptr(),
                ignore_low,
                hit_low,
            )
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // SAFETY: `dmem_cgroup_uncharge()` drops the references of one charging call. By the type
        // invariants the value owns those of `calls` calls, and `bytes`, all of which the first one
        // returns.
        unsafe {
            bindings::hmm_cdm_helper_dmem_uncharge(self.pool.as_ptr(), self.bytes);
            for _ in 1..self.calls {
                bindings::hmm_cdm_helper_dmem_uncharge(self.pool.as_ptr(), 0);
            }
        }
    }
}

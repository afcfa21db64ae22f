// SPDX-License-Identifier: GPL-2.0

//! Device memory that is charged to cgroups: the dmem controller.
//!
//! C files: `kernel/cgroup/dmem.c`, `include/linux/cgroup_dmem.h`.
//!
//! A charge is always that of the current task's cgroup: `dmem_cgroup_try_charge()` looks at nothing
//! else. It keeps the cgroup's books alive, though not the cgroup, until it is undone, in whatever
//! cgroup the process is then.
//!
//! # Contexts
//!
//! Charging may sleep: it allocates, and takes a lock that leaves interrupts on. Undoing a charge
//! may be done anywhere, interrupts included: `dmem_cgroup_uncharge()` is atomic counters
//! (`page_counter_uncharge()`) and two references, and what happens when the last of these goes is
//! put off to RCU (`dmemcg_pool_put()`) and to a work queue (`css_release()`).

use crate::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    ffi::{c_int, c_void},
    prelude::*,
    sync::Arc,
};

/// A limit of some cgroup, which memory has to go below.
#[derive(Copy, Clone)]
pub struct Limit<'a> {
    pool: NonNull<bindings::dmem_cgroup_pool_state>,
    _valid: PhantomData<&'a ()>,
}

/// Who moves memory away from the device when a cgroup's limit is set below what it has there.
pub trait Reclaim: Send + Sync {
    /// Frees `bytes` of what is charged to the cgroup with the limit, or to those in it, or at least
    /// some. ENOSPC if there is none that can be freed now; then it is called again, a few times.
    /// Any other error ends that.
    ///
    /// Context: process, a write to `dmem.max`; sleeps. Unregistering the region waits for it.
    fn reclaim(&self, limit: Limit<'_>, bytes: u64) -> Result;
}

/// The memory of a device, as cgroups see it.
///
/// # Invariants
///
/// `region` is registered, and is given `reclaim`, which is from `KBox::into_raw()`, for its
/// callback.
pub struct DmemRegion {
    region: NonNull<bindings::dmem_cgroup_region>,
    reclaim: NonNull<Arc<dyn Reclaim>>,
}

// SAFETY: The functions that get the pointer may be called by any task; `reclaim` is `Send` and
// `Sync`.
unsafe impl Send for DmemRegion {}
// SAFETY: As above.
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
        // SAFETY: The operations are static; what the callback gets lives until `Drop` has
        // unregistered the region, which waits for callbacks. The name is copied.
        let region = unsafe { bindings::hmm_cdm_helper_dmem_register(&init, name.as_char_ptr()) };

        match (
            from_err_ptr(region).map(NonNull::new),
            NonNull::new(reclaim),
        ) {
            // INVARIANT: Just registered.
            (Ok(Some(region)), Some(reclaim)) => Ok(Some(Self { region, reclaim })),
            (other, _) => {
                // SAFETY: From `into_raw()` above; nobody else has got it.
                drop(unsafe { KBox::from_raw(reclaim) });
                other.map(|_| None)
            }
        }
    }

    /// Charges the current task's cgroup. EAGAIN if a limit would be exceeded, ENOMEM. Sleeps.
    pub fn try_charge(&self, bytes: u64) -> Result<Charge> {
        let mut pool = core::ptr::null_mut();

        // SAFETY: The region is registered by the type invariants.
        to_result(unsafe {
            bindings::hmm_cdm_helper_dmem_try_charge(self.region.as_ptr(), bytes, &mut pool)
        })?;
        Ok(Charge {
            // INVARIANT: That was one call.
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
        // SAFETY: By the type invariants; unregistering waits for us.
        let reclaim = unsafe { &*data.cast::<Arc<dyn Reclaim>>() };
        let Some(pool) = NonNull::new(pool) else {
            return EINVAL.to_errno();
        };
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
        // SAFETY: Registered by the type invariants, and unregistered only here. Charges that are
        // left keep what they need of it.
        unsafe { bindings::hmm_cdm_helper_dmem_unregister(self.region.as_ptr()) };
        // SAFETY: From `into_raw()` by the type invariants. No callback runs any more.
        drop(unsafe { KBox::from_raw(self.reclaim.as_ptr()) });
    }
}

/// Bytes that are charged to one cgroup, by one call or several. Dropping it undoes that; in any
/// context.
///
/// # Invariants
///
/// It owns what `calls` successful calls of `dmem_cgroup_try_charge()` for `pool` have taken, at
/// least one: a reference on the pool and on its cgroup each; and of the bytes that these
/// charged, `bytes`.
pub struct Charge {
    pool: NonNull<bindings::dmem_cgroup_pool_state>,
    calls: u64,
    bytes: u64,
}

// SAFETY: A charge can be undone by any task.
unsafe impl Send for Charge {}

impl Charge {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many calls charged them: as many parts can be split off, less one.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether both are the same cgroup's.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pool == other.pool
    }

    /// Makes one of two. Another cgroup's is handed back.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if !self.is_same(&other) {
            return Err(other);
        }
        // INVARIANT: `other` is forgotten, so that what it owned is ours.
        self.calls += other.calls;
        self.bytes += other.bytes;
        core::mem::forget(other);
        Ok(())
    }

    /// Takes `bytes` out, with `calls` calls, of which they are to be the charge, or with as many as
    /// leave one. `None` if there are fewer bytes, or there is only one call.
    pub fn split(&mut self, bytes: u64, calls: u64) -> Option<Self> {
        let calls = calls.min(self.calls.saturating_sub(1));

        if calls == 0 || self.bytes < bytes {
            return None;
        }
        // INVARIANT: At least one call goes to the new value; one at least stays.
        self.calls -= calls;
        self.bytes -= bytes;
        Some(Self {
            pool: self.pool,
            calls,
            bytes,
        })
    }

    /// Whether it is worth while to free some of this for the sake of `limit`: whether it counts
    /// there at all, and is not protected by its cgroup's `dmem.min`, or `dmem.low`, unless that is
    /// not to be looked at; where it was what mattered, `hit_low` becomes true.
    ///
    /// Context: any task; takes the time of a walk through the cgroups below the limit.
    pub fn is_worth_freeing(&self, limit: Limit<'_>, ignore_low: bool, hit_low: &mut bool) -> bool {
        // SAFETY: Both pools are valid: ours by the type invariants, the limit's by its lifetime.
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
        // SAFETY: By the type invariants these are references and bytes that have not been given
        // back.
        unsafe {
            bindings::hmm_cdm_helper_dmem_uncharge(self.pool.as_ptr(), self.bytes);
            for _ in 1..self.calls {
                bindings::hmm_cdm_helper_dmem_uncharge(self.pool.as_ptr(), 0);
            }
        }
    }
}

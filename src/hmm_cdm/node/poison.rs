// SPDX-License-Identifier: GPL-2.0

//! Poison pages: device-private pages without backing memory, to which damaged pages are moved.
//!
//! Users must not see the current contents of a damaged page: the next access of each has to end
//! with SIGBUS, and no other task gets a signal. The kernel does that for system memory
//! (`hwpoison_user_mappings()`), but not for device memory (`mf_generic_kill_procs()`), and exports
//! none of it.
//!
//! So a damaged page is migrated, without its content, to a poison page. The CPU cannot map private
//! memory: page tables have non-present entries where the page was, an access calls
//! `migrate_to_ram()`, and the answer is `VM_FAULT_HWPOISON`. As in any migration, all page tables
//! that map the page are updated while it is locked, and have migration entries meanwhile, on which
//! accesses wait. So there is no time at which the damaged content can be read. fork() and mremap()
//! treat the entries as pages. When the last one goes, by munmap, exit or a page that takes its
//! place, the poison page is freed. The device's entries are invalidated, and `hmm_range_fault()`
//! returns -EFAULT from then on.
//!
//! The alternative, hwpoison entries in the page tables, is worse. Those that `try_to_migrate()`
//! makes for a page with `PG_hwpoison` outlive the `struct page`s of the device memory. A page of
//! system memory in place of the damaged one, for `memory_failure()` to poison, can be read before
//! it is poisoned.
//!
//! Poison pages belong to the library, as they outlive the node whose pages were damaged. Their
//! memory map is allocated when the first one is needed, and freed when a node comes or goes while
//! none is in use.

use super::{
    buddy::Buddy,
    region, //
};
use crate::{
    mm::{
        self,
        copy::Mover,
        cpu_fault::{
            CpuFault,
            FaultOutcome, //
        },
        folio::{
            NewPage,
            Pfn, //
        },
        migrate::{
            Buffers,
            Collected,
            Outcome, //
        },
        pagemap::{
            DeviceRange,
            Frames,
            Pagemap, //
        }, //
    },
    os::{
        module::ModuleRef,
        resource, //
    }, //
};
use kernel::{
    new_spinlock_irq,
    page::PAGE_SHIFT,
    prelude::*,
    sync::SpinLockIrq, //
};

/// The least size of all poison pages together, in bytes. It costs only their `struct page`s. A
/// damaged huge page needs a huge one.
const SIZE: u64 = 16 << 20;

/// The frames of the poison pages.
#[pin_data]
struct PoisonFrames {
    #[pin]
    free: SpinLockIrq<Buddy>,
}

impl Frames for PoisonFrames {
    fn folio_free(&self, index: usize, order: u32) {
        let freed = self.free.lock().free(index, order);

        if freed.is_err() {
            // `struct page` and the allocator disagree. The allocator has not changed, so no frame
            // is allocated twice.
            pr_err!("poison page {index} was freed, but is not in use\n");
        }
    }

    fn migrate_to_ram(_memory: &Pagemap<Self>, _fault: &CpuFault<'_>) -> FaultOutcome {
        FaultOutcome::Damaged
    }

    fn memory_failure(_memory: &Pagemap<Self>, _index: usize) -> Result {
        // There is no memory that could fail.
        Ok(())
    }
}

/// The poison pages. While there are any, the library stays loaded.
pub(crate) struct PoisonPages {
    pagemap: Pin<KBox<Pagemap<PoisonFrames>>>,
    _library: ModuleRef,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised in the module's init function, before there are nodes.
    pub(crate) unsafe(uninit) static POISON_PAGES: Mutex<Option<PoisonPages>> = None;
}

impl PoisonPages {
    fn new() -> Result<Self> {
        let library = ModuleRef::library()?;
        let size = SIZE.max(resource::alignment());
        let nid = region::check_private(size, None)?;
        let range = DeviceRange::addresses(size, c"hmm_cdm lost pages".try_into()?)?;
        let first = (range.start() >> PAGE_SHIFT) as usize;
        let buddy = Buddy::new(first, (size >> PAGE_SHIFT) as usize, mm::pmd_order())?;
        let frames = pin_init!(PoisonFrames {
            free <- new_spinlock_irq!(buddy, "PoisonFrames::free"),
        });

        Ok(Self {
            pagemap: KBox::pin_init(Pagemap::register(range, nid, frames), GFP_KERNEL)?,
            _library: library,
        })
    }

    fn alloc(&self, order: u32) -> Option<NewPage> {
        let index = self.pagemap.frames().free.lock().alloc(order)?;

        // SAFETY: The buddy allocator just allocated the frames, which are naturally aligned, and
        // allocates them again only after `folio_free()`.
        unsafe { self.pagemap.hand_out(index, order) }
    }

    fn are_unused(&self) -> bool {
        self.pagemap.frames().free.lock().used_frames() == 0
    }
}

/// Allocates a poison page, a huge one if `huge`. ENOMEM. Sleeps.
fn alloc_poison_page(huge: bool) -> Result<NewPage> {
    let mut poison_pages = POISON_PAGES.lock();

    if poison_pages.is_none() {
        *poison_pages = Some(PoisonPages::new()?);
    }
    poison_pages
        .as_ref()
        .and_then(|pages| pages.alloc(if huge { mm::pmd_order() } else { 0 }))
        .ok_or(ENOMEM)
}

/// Unregisters the poison pages if none is in use. Sleeps.
pub(crate) fn release_unused() {
    let mut poison_pages = POISON_PAGES.lock();

    drop(poison_pages.take_if(|pages| pages.are_unused()));
}

/// What became of a damaged page.
#[derive(PartialEq, Eq)]
pub(super) enum PoisonResult {
    /// Its users have a poison page instead.
    Poisoned,
    /// It has no users, as far as can be seen.
    Unused,
    /// It could not be moved, as it has elevated references or is locked.
    Busy,
}

/// Moves the users of the damaged page at `pfn`, or of the huge page that it is part of, to a
/// poison page. ENOMEM. Sleeps; the caller holds no lock of mm.
pub(super) fn poison_page(pfn: Pfn) -> Result<PoisonResult> {
    let Some((first, order)) = pfn.set_damaged() else {
        return Ok(PoisonResult::Unused);
    };
    let pages = if order > 0 { mm::window_pages() } else { 1 };
    // Before the damaged page is locked, as registering poison pages takes long.
    let poison_page = alloc_poison_page(order > 0)?;
    let mut bufs = Buffers::new(pages)?;
    let mut collected = Collected::frames(first, pages, &mut bufs)?;

    // If the huge page has been split since, the poison page does not fit and is freed.
    collected.set_destination(0, poison_page);
    let done = collected.install(Mover::Nothing);

    Ok(match done.outcome(0) {
        Outcome::Moved => PoisonResult::Poisoned,
        _ => PoisonResult::Busy,
    })
}

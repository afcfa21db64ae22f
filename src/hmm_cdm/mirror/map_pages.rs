// SPDX-License-Identifier: GPL-2.0

//! Making entries of the device's page table from the result of a walk of the CPU's, one run of
//! pages that are mapped alike at a time.

use super::{
    device_entry::{
        DeviceEntry,
        Template, //
    },
    device_memory::DeviceMemory, //
};
use crate::mm::range::{
    CpuEntry,
    RawEntry,
    View, //
};

/// What the walk found at an address.
#[derive(Copy, Clone)]
pub(super) enum CpuPage {
    /// A page, and the entry for it.
    Mapped(DeviceEntry),
    /// No page, or one to which a device has exclusive access.
    Absent,
    /// A page that no device may access, or an address that the process may not access.
    Inaccessible,
}

/// Calls `sink` with the index of each of `entries`, the entry, and what `view` found there. Entry
/// 0 is for the first page of `view`. Returns the number of pages.
///
/// After the walk itself, this is the largest cost of a fault.
#[inline(always)]
pub(super) fn map_pages(
    entries: &mut [DeviceEntry],
    view: &View<'_>,
    memory: &DeviceMemory,
    mut sink: impl FnMut(usize, &mut DeviceEntry, CpuPage),
) -> usize {
    let cpu = view.raw_entries();
    let count = entries.len().min(cpu.len());
    let (mut next, mut pages) = (0_usize, 0_usize);

    while next < count {
        let inaccessible = view.next_inaccessible(next).min(count);

        while let (true, Some(part), Some(cpu)) = (
            next < inaccessible,
            entries.get_mut(next..inaccessible),
            cpu.get(next..inaccessible),
        ) {
            let mapped = map_run(part, cpu, memory, |i, entry, found| {
                sink(next.wrapping_add(i), entry, found)
            });

            pages = pages.wrapping_add(mapped);
            next = next.wrapping_add(mapped.max(1));
        }
        if let Some(entry) = entries.get_mut(next..count).and_then(<[_]>::first_mut) {
            sink(next, entry, CpuPage::Inaccessible);
        }
        next = next.wrapping_add(1);
    }
    pages
}

/// [`map_pages`] for the leading pages of `cpu` that are mapped like the first one, in most windows
/// all of them. If the first is not a page, passes on only that and returns zero.
///
/// Every instruction in these loops is executed once for each page.
#[inline(always)]
fn map_run(
    entries: &mut [DeviceEntry],
    cpu: &[RawEntry<'_>],
    memory: &DeviceMemory,
    mut sink: impl FnMut(usize, &mut DeviceEntry, CpuPage),
) -> usize {
    let (Some(head), Some(first)) = (cpu.first(), entries.first_mut()) else {
        return 0;
    };
    let (pfn, access, order) = match head.decode() {
        CpuEntry::Page {
            page,
            access,
            order,
        } => (page.pfn(), access, order),
        CpuEntry::None => {
            sink(0, first, CpuPage::Absent);
            return 0;
        }
        CpuEntry::Error => {
            sink(0, first, CpuPage::Inaccessible);
            return 0;
        }
    };
    let template = Template::new(access, memory);

    // One entry of the CPU's page table maps all of a huge page, so the walk has found the same
    // access for all its pages (hmm_pfn_to_map_order()).
    if order > 0 {
        let pages = pfn.following(order).wrapping_add(1);
        let (run, _) = entries.split_at_mut(pages.min(entries.len()));
        let mut new = template.entry(pfn);
        let mut i = 0_usize;

        for entry in run.iter_mut() {
            sink(i, entry, CpuPage::Mapped(new));
            new = new.next_frame();
            i = i.wrapping_add(1);
        }
        return run.len();
    }

    let Some(flags) = head.page_flags() else {
        return 0;
    };
    let mut mapped = 0_usize;

    for (entry, raw) in entries.iter_mut().zip(cpu) {
        let Some(pfn) = raw.frame_with(flags) else {
            break;
        };

        sink(mapped, entry, CpuPage::Mapped(template.entry(pfn)));
        mapped = mapped.wrapping_add(1);
    }
    mapped
}

// SPDX-License-Identifier: MIT OR Apache-2.0

// Generated from <linux/hmm_cdm.h> by `make -C tools bindings`.

pub const HMM_CDM_IOC: u32 = 205;
pub const HMM_CDM_VERSION: u32 = 1;
pub const HMM_CDM_SKIP_MAX: u32 = 8;
pub const HMM_CDM_MIGRATE_EVICT: u32 = 1;
pub const HMM_CDM_MIGRATE_LEAVE_PEERS: u32 = 2;
pub const HMM_CDM_POPULATE_MIGRATE: u32 = 1;
pub const HMM_CDM_POPULATE_EVICT: u32 = 2;
pub const HMM_CDM_ADVISE_MIGRATE: u32 = 1;
pub const HMM_CDM_ADVISE_COW: u32 = 2;
pub const HMM_CDM_ADVISE_EVICT: u32 = 4;
pub const HMM_CDM_ACCESS_READ: u32 = 1;
pub const HMM_CDM_ACCESS_WRITE: u32 = 2;
pub const HMM_CDM_PAGE_ZERO: u32 = 1;
pub const HMM_CDM_PAGE_PRIVATE: u32 = 2;
pub const HMM_CDM_PAGE_EXCLUSIVE: u32 = 4;
pub const HMM_CDM_PAGE_PINNED: u32 = 8;
pub const HMM_CDM_JOB_ARGS: u32 = 8;
pub const HMM_CDM_JOB_RESULTS: u32 = 4;
pub const HMM_CDM_SUBMIT_EVENTFD: u32 = 1;
pub const CDM_EMU_WALK_TOP: u32 = 256;
pub type __u8 = ::core::ffi::c_uchar;
pub type __u16 = ::core::ffi::c_ushort;
pub type __s32 = ::core::ffi::c_int;
pub type __u32 = ::core::ffi::c_uint;
pub type __s64 = ::core::ffi::c_longlong;
pub type __u64 = ::core::ffi::c_ulonglong;
#[repr(C)]
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_info {
    pub size: __u32,
    pub flags: __u32,
    pub version: __u32,
    pub index: __u32,
    pub numa_node: __s32,
    pub page_size: __u32,
    pub window_size: __u32,
    pub reserved: __u32,
    pub capacity: __u64,
    pub free: __u64,
    pub start: __u64,
    pub driver: [__u8; 32usize],
    pub origin: [__u8; 128usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_info"][::core::mem::size_of::<hmm_cdm_info>() - 216usize];
    ["Alignment of hmm_cdm_info"][::core::mem::align_of::<hmm_cdm_info>() - 8usize];
    ["Offset of field: hmm_cdm_info::size"][::core::mem::offset_of!(hmm_cdm_info, size) - 0usize];
    ["Offset of field: hmm_cdm_info::flags"][::core::mem::offset_of!(hmm_cdm_info, flags) - 4usize];
    ["Offset of field: hmm_cdm_info::version"]
        [::core::mem::offset_of!(hmm_cdm_info, version) - 8usize];
    ["Offset of field: hmm_cdm_info::index"]
        [::core::mem::offset_of!(hmm_cdm_info, index) - 12usize];
    ["Offset of field: hmm_cdm_info::numa_node"]
        [::core::mem::offset_of!(hmm_cdm_info, numa_node) - 16usize];
    ["Offset of field: hmm_cdm_info::page_size"]
        [::core::mem::offset_of!(hmm_cdm_info, page_size) - 20usize];
    ["Offset of field: hmm_cdm_info::window_size"]
        [::core::mem::offset_of!(hmm_cdm_info, window_size) - 24usize];
    ["Offset of field: hmm_cdm_info::reserved"]
        [::core::mem::offset_of!(hmm_cdm_info, reserved) - 28usize];
    ["Offset of field: hmm_cdm_info::capacity"]
        [::core::mem::offset_of!(hmm_cdm_info, capacity) - 32usize];
    ["Offset of field: hmm_cdm_info::free"][::core::mem::offset_of!(hmm_cdm_info, free) - 40usize];
    ["Offset of field: hmm_cdm_info::start"]
        [::core::mem::offset_of!(hmm_cdm_info, start) - 48usize];
    ["Offset of field: hmm_cdm_info::driver"]
        [::core::mem::offset_of!(hmm_cdm_info, driver) - 56usize];
    ["Offset of field: hmm_cdm_info::origin"]
        [::core::mem::offset_of!(hmm_cdm_info, origin) - 88usize];
};
impl Default for hmm_cdm_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const HMM_CDM_TARGET_NODE: hmm_cdm_target = 0;
pub const HMM_CDM_TARGET_SYSTEM: hmm_cdm_target = 1;
pub type hmm_cdm_target = ::core::ffi::c_uint;
pub const HMM_CDM_SKIP_PINNED: hmm_cdm_skip = 0;
pub const HMM_CDM_SKIP_NOT_ANON: hmm_cdm_skip = 1;
pub const HMM_CDM_SKIP_NO_MEMORY: hmm_cdm_skip = 2;
pub const HMM_CDM_SKIP_ABSENT: hmm_cdm_skip = 3;
pub const HMM_CDM_SKIP_RACED: hmm_cdm_skip = 4;
pub const HMM_CDM_SKIP_ELSEWHERE: hmm_cdm_skip = 5;
pub const HMM_CDM_SKIP_FAILED: hmm_cdm_skip = 6;
pub const HMM_CDM_SKIP_NR: hmm_cdm_skip = 7;
pub type hmm_cdm_skip = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_migrate {
    pub size: __u32,
    pub flags: __u32,
    pub addr: __u64,
    pub length: __u64,
    pub target: __u32,
    pub reserved: __u32,
    pub migrated: __u64,
    pub populated: __u64,
    pub present: __u64,
    pub huge: __u64,
    pub skipped: [__u64; 8usize],
    pub peers: __u64,
    pub evicted: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_migrate"][::core::mem::size_of::<hmm_cdm_migrate>() - 144usize];
    ["Alignment of hmm_cdm_migrate"][::core::mem::align_of::<hmm_cdm_migrate>() - 8usize];
    ["Offset of field: hmm_cdm_migrate::size"]
        [::core::mem::offset_of!(hmm_cdm_migrate, size) - 0usize];
    ["Offset of field: hmm_cdm_migrate::flags"]
        [::core::mem::offset_of!(hmm_cdm_migrate, flags) - 4usize];
    ["Offset of field: hmm_cdm_migrate::addr"]
        [::core::mem::offset_of!(hmm_cdm_migrate, addr) - 8usize];
    ["Offset of field: hmm_cdm_migrate::length"]
        [::core::mem::offset_of!(hmm_cdm_migrate, length) - 16usize];
    ["Offset of field: hmm_cdm_migrate::target"]
        [::core::mem::offset_of!(hmm_cdm_migrate, target) - 24usize];
    ["Offset of field: hmm_cdm_migrate::reserved"]
        [::core::mem::offset_of!(hmm_cdm_migrate, reserved) - 28usize];
    ["Offset of field: hmm_cdm_migrate::migrated"]
        [::core::mem::offset_of!(hmm_cdm_migrate, migrated) - 32usize];
    ["Offset of field: hmm_cdm_migrate::populated"]
        [::core::mem::offset_of!(hmm_cdm_migrate, populated) - 40usize];
    ["Offset of field: hmm_cdm_migrate::present"]
        [::core::mem::offset_of!(hmm_cdm_migrate, present) - 48usize];
    ["Offset of field: hmm_cdm_migrate::huge"]
        [::core::mem::offset_of!(hmm_cdm_migrate, huge) - 56usize];
    ["Offset of field: hmm_cdm_migrate::skipped"]
        [::core::mem::offset_of!(hmm_cdm_migrate, skipped) - 64usize];
    ["Offset of field: hmm_cdm_migrate::peers"]
        [::core::mem::offset_of!(hmm_cdm_migrate, peers) - 128usize];
    ["Offset of field: hmm_cdm_migrate::evicted"]
        [::core::mem::offset_of!(hmm_cdm_migrate, evicted) - 136usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_populate {
    pub size: __u32,
    pub flags: __u32,
    pub addr: __u64,
    pub length: __u64,
    pub populated: __u64,
    pub present: __u64,
    pub stayed: __u64,
    pub migrated: __u64,
    pub contiguous: __u64,
    pub evicted: __u64,
    pub skipped: [__u64; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_populate"][::core::mem::size_of::<hmm_cdm_populate>() - 136usize];
    ["Alignment of hmm_cdm_populate"][::core::mem::align_of::<hmm_cdm_populate>() - 8usize];
    ["Offset of field: hmm_cdm_populate::size"]
        [::core::mem::offset_of!(hmm_cdm_populate, size) - 0usize];
    ["Offset of field: hmm_cdm_populate::flags"]
        [::core::mem::offset_of!(hmm_cdm_populate, flags) - 4usize];
    ["Offset of field: hmm_cdm_populate::addr"]
        [::core::mem::offset_of!(hmm_cdm_populate, addr) - 8usize];
    ["Offset of field: hmm_cdm_populate::length"]
        [::core::mem::offset_of!(hmm_cdm_populate, length) - 16usize];
    ["Offset of field: hmm_cdm_populate::populated"]
        [::core::mem::offset_of!(hmm_cdm_populate, populated) - 24usize];
    ["Offset of field: hmm_cdm_populate::present"]
        [::core::mem::offset_of!(hmm_cdm_populate, present) - 32usize];
    ["Offset of field: hmm_cdm_populate::stayed"]
        [::core::mem::offset_of!(hmm_cdm_populate, stayed) - 40usize];
    ["Offset of field: hmm_cdm_populate::migrated"]
        [::core::mem::offset_of!(hmm_cdm_populate, migrated) - 48usize];
    ["Offset of field: hmm_cdm_populate::contiguous"]
        [::core::mem::offset_of!(hmm_cdm_populate, contiguous) - 56usize];
    ["Offset of field: hmm_cdm_populate::evicted"]
        [::core::mem::offset_of!(hmm_cdm_populate, evicted) - 64usize];
    ["Offset of field: hmm_cdm_populate::skipped"]
        [::core::mem::offset_of!(hmm_cdm_populate, skipped) - 72usize];
};
pub const HMM_CDM_PLACE_NONE: hmm_cdm_place = 0;
pub const HMM_CDM_PLACE_NODE: hmm_cdm_place = 1;
pub type hmm_cdm_place = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_advise {
    pub size: __u32,
    pub flags: __u32,
    pub addr: __u64,
    pub length: __u64,
    pub place: __u32,
    pub reserved: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_advise"][::core::mem::size_of::<hmm_cdm_advise>() - 32usize];
    ["Alignment of hmm_cdm_advise"][::core::mem::align_of::<hmm_cdm_advise>() - 8usize];
    ["Offset of field: hmm_cdm_advise::size"]
        [::core::mem::offset_of!(hmm_cdm_advise, size) - 0usize];
    ["Offset of field: hmm_cdm_advise::flags"]
        [::core::mem::offset_of!(hmm_cdm_advise, flags) - 4usize];
    ["Offset of field: hmm_cdm_advise::addr"]
        [::core::mem::offset_of!(hmm_cdm_advise, addr) - 8usize];
    ["Offset of field: hmm_cdm_advise::length"]
        [::core::mem::offset_of!(hmm_cdm_advise, length) - 16usize];
    ["Offset of field: hmm_cdm_advise::place"]
        [::core::mem::offset_of!(hmm_cdm_advise, place) - 24usize];
    ["Offset of field: hmm_cdm_advise::reserved"]
        [::core::mem::offset_of!(hmm_cdm_advise, reserved) - 28usize];
};
pub const HMM_CDM_WHERE_UNMAPPED: hmm_cdm_where = 0;
pub const HMM_CDM_WHERE_ABSENT: hmm_cdm_where = 1;
pub const HMM_CDM_WHERE_SYSTEM: hmm_cdm_where = 2;
pub const HMM_CDM_WHERE_NODE: hmm_cdm_where = 3;
pub const HMM_CDM_WHERE_DEVICE: hmm_cdm_where = 4;
pub type hmm_cdm_where = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_page {
    pub where_: __u8,
    pub order: __u8,
    pub cpu: __u8,
    pub device: __u8,
    pub accesses: __u16,
    pub flags: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_page"][::core::mem::size_of::<hmm_cdm_page>() - 8usize];
    ["Alignment of hmm_cdm_page"][::core::mem::align_of::<hmm_cdm_page>() - 2usize];
    ["Offset of field: hmm_cdm_page::where_"]
        [::core::mem::offset_of!(hmm_cdm_page, where_) - 0usize];
    ["Offset of field: hmm_cdm_page::order"][::core::mem::offset_of!(hmm_cdm_page, order) - 1usize];
    ["Offset of field: hmm_cdm_page::cpu"][::core::mem::offset_of!(hmm_cdm_page, cpu) - 2usize];
    ["Offset of field: hmm_cdm_page::device"]
        [::core::mem::offset_of!(hmm_cdm_page, device) - 3usize];
    ["Offset of field: hmm_cdm_page::accesses"]
        [::core::mem::offset_of!(hmm_cdm_page, accesses) - 4usize];
    ["Offset of field: hmm_cdm_page::flags"][::core::mem::offset_of!(hmm_cdm_page, flags) - 6usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_query {
    pub size: __u32,
    pub flags: __u32,
    pub addr: __u64,
    pub length: __u64,
    pub pages: __u64,
    pub where_: [__u64; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_query"][::core::mem::size_of::<hmm_cdm_query>() - 96usize];
    ["Alignment of hmm_cdm_query"][::core::mem::align_of::<hmm_cdm_query>() - 8usize];
    ["Offset of field: hmm_cdm_query::size"][::core::mem::offset_of!(hmm_cdm_query, size) - 0usize];
    ["Offset of field: hmm_cdm_query::flags"]
        [::core::mem::offset_of!(hmm_cdm_query, flags) - 4usize];
    ["Offset of field: hmm_cdm_query::addr"][::core::mem::offset_of!(hmm_cdm_query, addr) - 8usize];
    ["Offset of field: hmm_cdm_query::length"]
        [::core::mem::offset_of!(hmm_cdm_query, length) - 16usize];
    ["Offset of field: hmm_cdm_query::pages"]
        [::core::mem::offset_of!(hmm_cdm_query, pages) - 24usize];
    ["Offset of field: hmm_cdm_query::where_"]
        [::core::mem::offset_of!(hmm_cdm_query, where_) - 32usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_submit {
    pub size: __u32,
    pub flags: __u32,
    pub op: __u32,
    pub eventfd: __s32,
    pub args: [__u64; 8usize],
    pub job: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_submit"][::core::mem::size_of::<hmm_cdm_submit>() - 88usize];
    ["Alignment of hmm_cdm_submit"][::core::mem::align_of::<hmm_cdm_submit>() - 8usize];
    ["Offset of field: hmm_cdm_submit::size"]
        [::core::mem::offset_of!(hmm_cdm_submit, size) - 0usize];
    ["Offset of field: hmm_cdm_submit::flags"]
        [::core::mem::offset_of!(hmm_cdm_submit, flags) - 4usize];
    ["Offset of field: hmm_cdm_submit::op"][::core::mem::offset_of!(hmm_cdm_submit, op) - 8usize];
    ["Offset of field: hmm_cdm_submit::eventfd"]
        [::core::mem::offset_of!(hmm_cdm_submit, eventfd) - 12usize];
    ["Offset of field: hmm_cdm_submit::args"]
        [::core::mem::offset_of!(hmm_cdm_submit, args) - 16usize];
    ["Offset of field: hmm_cdm_submit::job"]
        [::core::mem::offset_of!(hmm_cdm_submit, job) - 80usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_wait {
    pub size: __u32,
    pub flags: __u32,
    pub job: __u64,
    pub timeout_ns: __s64,
    pub status: __s32,
    pub fault_access: __u32,
    pub fault_addr: __u64,
    pub result: [__u64; 4usize],
    pub faults: __u64,
    pub bytes_local: __u64,
    pub bytes_remote: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_wait"][::core::mem::size_of::<hmm_cdm_wait>() - 96usize];
    ["Alignment of hmm_cdm_wait"][::core::mem::align_of::<hmm_cdm_wait>() - 8usize];
    ["Offset of field: hmm_cdm_wait::size"][::core::mem::offset_of!(hmm_cdm_wait, size) - 0usize];
    ["Offset of field: hmm_cdm_wait::flags"][::core::mem::offset_of!(hmm_cdm_wait, flags) - 4usize];
    ["Offset of field: hmm_cdm_wait::job"][::core::mem::offset_of!(hmm_cdm_wait, job) - 8usize];
    ["Offset of field: hmm_cdm_wait::timeout_ns"]
        [::core::mem::offset_of!(hmm_cdm_wait, timeout_ns) - 16usize];
    ["Offset of field: hmm_cdm_wait::status"]
        [::core::mem::offset_of!(hmm_cdm_wait, status) - 24usize];
    ["Offset of field: hmm_cdm_wait::fault_access"]
        [::core::mem::offset_of!(hmm_cdm_wait, fault_access) - 28usize];
    ["Offset of field: hmm_cdm_wait::fault_addr"]
        [::core::mem::offset_of!(hmm_cdm_wait, fault_addr) - 32usize];
    ["Offset of field: hmm_cdm_wait::result"]
        [::core::mem::offset_of!(hmm_cdm_wait, result) - 40usize];
    ["Offset of field: hmm_cdm_wait::faults"]
        [::core::mem::offset_of!(hmm_cdm_wait, faults) - 72usize];
    ["Offset of field: hmm_cdm_wait::bytes_local"]
        [::core::mem::offset_of!(hmm_cdm_wait, bytes_local) - 80usize];
    ["Offset of field: hmm_cdm_wait::bytes_remote"]
        [::core::mem::offset_of!(hmm_cdm_wait, bytes_remote) - 88usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct hmm_cdm_stats {
    pub size: __u32,
    pub flags: __u32,
    pub faults: __u64,
    pub fault_pages: __u64,
    pub fault_retries: __u64,
    pub invalidations: __u64,
    pub invalidated_pages: __u64,
    pub migrated_in: __u64,
    pub migrated_out: __u64,
    pub bytes_copied: __u64,
    pub populated: __u64,
    pub huge: __u64,
    pub skipped: [__u64; 8usize],
    pub jobs: __u64,
    pub node_pages: __u64,
    pub node_free: __u64,
    pub node_contiguous: __u64,
    pub peers: __u64,
    pub touched: __u64,
    pub evicted: __u64,
    pub node_evicted: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of hmm_cdm_stats"][::core::mem::size_of::<hmm_cdm_stats>() - 216usize];
    ["Alignment of hmm_cdm_stats"][::core::mem::align_of::<hmm_cdm_stats>() - 8usize];
    ["Offset of field: hmm_cdm_stats::size"][::core::mem::offset_of!(hmm_cdm_stats, size) - 0usize];
    ["Offset of field: hmm_cdm_stats::flags"]
        [::core::mem::offset_of!(hmm_cdm_stats, flags) - 4usize];
    ["Offset of field: hmm_cdm_stats::faults"]
        [::core::mem::offset_of!(hmm_cdm_stats, faults) - 8usize];
    ["Offset of field: hmm_cdm_stats::fault_pages"]
        [::core::mem::offset_of!(hmm_cdm_stats, fault_pages) - 16usize];
    ["Offset of field: hmm_cdm_stats::fault_retries"]
        [::core::mem::offset_of!(hmm_cdm_stats, fault_retries) - 24usize];
    ["Offset of field: hmm_cdm_stats::invalidations"]
        [::core::mem::offset_of!(hmm_cdm_stats, invalidations) - 32usize];
    ["Offset of field: hmm_cdm_stats::invalidated_pages"]
        [::core::mem::offset_of!(hmm_cdm_stats, invalidated_pages) - 40usize];
    ["Offset of field: hmm_cdm_stats::migrated_in"]
        [::core::mem::offset_of!(hmm_cdm_stats, migrated_in) - 48usize];
    ["Offset of field: hmm_cdm_stats::migrated_out"]
        [::core::mem::offset_of!(hmm_cdm_stats, migrated_out) - 56usize];
    ["Offset of field: hmm_cdm_stats::bytes_copied"]
        [::core::mem::offset_of!(hmm_cdm_stats, bytes_copied) - 64usize];
    ["Offset of field: hmm_cdm_stats::populated"]
        [::core::mem::offset_of!(hmm_cdm_stats, populated) - 72usize];
    ["Offset of field: hmm_cdm_stats::huge"]
        [::core::mem::offset_of!(hmm_cdm_stats, huge) - 80usize];
    ["Offset of field: hmm_cdm_stats::skipped"]
        [::core::mem::offset_of!(hmm_cdm_stats, skipped) - 88usize];
    ["Offset of field: hmm_cdm_stats::jobs"]
        [::core::mem::offset_of!(hmm_cdm_stats, jobs) - 152usize];
    ["Offset of field: hmm_cdm_stats::node_pages"]
        [::core::mem::offset_of!(hmm_cdm_stats, node_pages) - 160usize];
    ["Offset of field: hmm_cdm_stats::node_free"]
        [::core::mem::offset_of!(hmm_cdm_stats, node_free) - 168usize];
    ["Offset of field: hmm_cdm_stats::node_contiguous"]
        [::core::mem::offset_of!(hmm_cdm_stats, node_contiguous) - 176usize];
    ["Offset of field: hmm_cdm_stats::peers"]
        [::core::mem::offset_of!(hmm_cdm_stats, peers) - 184usize];
    ["Offset of field: hmm_cdm_stats::touched"]
        [::core::mem::offset_of!(hmm_cdm_stats, touched) - 192usize];
    ["Offset of field: hmm_cdm_stats::evicted"]
        [::core::mem::offset_of!(hmm_cdm_stats, evicted) - 200usize];
    ["Offset of field: hmm_cdm_stats::node_evicted"]
        [::core::mem::offset_of!(hmm_cdm_stats, node_evicted) - 208usize];
};
pub const CDM_EMU_FILL: cdm_emu_op = 1;
pub const CDM_EMU_COPY: cdm_emu_op = 2;
pub const CDM_EMU_ADD: cdm_emu_op = 3;
pub const CDM_EMU_REDUCE: cdm_emu_op = 4;
pub const CDM_EMU_HISTOGRAM: cdm_emu_op = 5;
pub const CDM_EMU_CAS: cdm_emu_op = 6;
pub const CDM_EMU_FETCH_ADD: cdm_emu_op = 7;
pub const CDM_EMU_WALK: cdm_emu_op = 8;
pub const CDM_EMU_HANG: cdm_emu_op = 9;
pub type cdm_emu_op = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct cdm_emu_walk {
    pub heads: __u64,
    pub nr_heads: __u64,
    pub next: __u64,
    pub child: __u64,
    pub child_next: __u64,
    pub count: __u64,
    pub top: __u64,
    pub nr_top: __u64,
    pub max_steps: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of cdm_emu_walk"][::core::mem::size_of::<cdm_emu_walk>() - 72usize];
    ["Alignment of cdm_emu_walk"][::core::mem::align_of::<cdm_emu_walk>() - 8usize];
    ["Offset of field: cdm_emu_walk::heads"][::core::mem::offset_of!(cdm_emu_walk, heads) - 0usize];
    ["Offset of field: cdm_emu_walk::nr_heads"]
        [::core::mem::offset_of!(cdm_emu_walk, nr_heads) - 8usize];
    ["Offset of field: cdm_emu_walk::next"][::core::mem::offset_of!(cdm_emu_walk, next) - 16usize];
    ["Offset of field: cdm_emu_walk::child"]
        [::core::mem::offset_of!(cdm_emu_walk, child) - 24usize];
    ["Offset of field: cdm_emu_walk::child_next"]
        [::core::mem::offset_of!(cdm_emu_walk, child_next) - 32usize];
    ["Offset of field: cdm_emu_walk::count"]
        [::core::mem::offset_of!(cdm_emu_walk, count) - 40usize];
    ["Offset of field: cdm_emu_walk::top"][::core::mem::offset_of!(cdm_emu_walk, top) - 48usize];
    ["Offset of field: cdm_emu_walk::nr_top"]
        [::core::mem::offset_of!(cdm_emu_walk, nr_top) - 56usize];
    ["Offset of field: cdm_emu_walk::max_steps"]
        [::core::mem::offset_of!(cdm_emu_walk, max_steps) - 64usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct cdm_emu_top {
    pub count: __u64,
    pub element: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of cdm_emu_top"][::core::mem::size_of::<cdm_emu_top>() - 16usize];
    ["Alignment of cdm_emu_top"][::core::mem::align_of::<cdm_emu_top>() - 8usize];
    ["Offset of field: cdm_emu_top::count"][::core::mem::offset_of!(cdm_emu_top, count) - 0usize];
    ["Offset of field: cdm_emu_top::element"]
        [::core::mem::offset_of!(cdm_emu_top, element) - 8usize];
};
pub const HMM_CDM_NR_INFO: hmm_cdm_nr = 0;
pub const HMM_CDM_NR_MIGRATE: hmm_cdm_nr = 1;
pub const HMM_CDM_NR_QUERY: hmm_cdm_nr = 2;
pub const HMM_CDM_NR_SUBMIT: hmm_cdm_nr = 3;
pub const HMM_CDM_NR_WAIT: hmm_cdm_nr = 4;
pub const HMM_CDM_NR_STATS: hmm_cdm_nr = 5;
pub const HMM_CDM_NR_POPULATE: hmm_cdm_nr = 6;
pub const HMM_CDM_NR_ADVISE: hmm_cdm_nr = 7;
pub type hmm_cdm_nr = ::core::ffi::c_uint;

/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Userspace interface of the HMM-CDM driver: cache-coherent device memory.
 *
 * Each memory node has a file, /dev/hmm_cdm<N>. Opening it mirrors the caller's
 * address space on the node's device, and every call works on that address space.
 * In another process that has inherited or received the descriptor, calls fail
 * with EPERM.
 */
#ifndef _UAPI_LINUX_HMM_CDM_H
#define _UAPI_LINUX_HMM_CDM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: conventions
 *
 * Every structure begins with @size, which the caller sets to the sizeof() of the
 * structure that it was compiled with. The caller may be older or newer than the
 * kernel: fields missing from a smaller structure are taken as zero and not written
 * back; in a larger one, bytes that the kernel does not know must be zero. Command
 * numbers do not depend on the size, and the layout is the same for 32-bit and
 * 64-bit callers on all architectures.
 *
 * Addresses and lengths are in bytes. Ranges are page aligned, except those in the
 * arguments of a job. Counts are in base pages unless they say bytes.
 *
 * Errors that any call can return:
 *
 * ============  ============================================================
 * ``EFAULT``    the structure or a buffer it points to cannot be accessed
 * ``EINVAL``    @size is smaller than the first version of the structure, an
 *               unknown flag or a reserved field is set, or a range is
 *               misaligned, empty or overflows the address space
 * ``E2BIG``     @size exceeds a page, or bytes unknown to the kernel are set
 * ``EPERM``     the file mirrors another process's address space
 * ``ENODEV``    the device has been removed
 * ``ENOTTY``    unknown command
 * ============  ============================================================
 */

/* The first byte of every command, and the version of this interface. */
#define HMM_CDM_IOC		0xCD
#define HMM_CDM_VERSION		1

#define HMM_CDM_IOC_INFO	_IO(HMM_CDM_IOC, 0x00)
#define HMM_CDM_IOC_MIGRATE	_IO(HMM_CDM_IOC, 0x01)
#define HMM_CDM_IOC_QUERY	_IO(HMM_CDM_IOC, 0x02)
#define HMM_CDM_IOC_SUBMIT	_IO(HMM_CDM_IOC, 0x03)
#define HMM_CDM_IOC_WAIT	_IO(HMM_CDM_IOC, 0x04)
#define HMM_CDM_IOC_STATS	_IO(HMM_CDM_IOC, 0x05)
#define HMM_CDM_IOC_POPULATE	_IO(HMM_CDM_IOC, 0x06)
#define HMM_CDM_IOC_ADVISE	_IO(HMM_CDM_IOC, 0x07)

/**
 * struct hmm_cdm_info - properties of a memory node (HMM_CDM_IOC_INFO)
 * @size: sizeof(struct hmm_cdm_info)
 * @flags: in: zero
 * @version: out: HMM_CDM_VERSION of the kernel
 * @index: out: the N in /dev/hmm_cdm<N>
 * @numa_node: out: NUMA node of the memory, -1 for none
 * @page_size: out: bytes in a base page
 * @window_size: out: bytes that a fault or migration handles at a time; also the
 *	size and alignment of contiguous allocations of device memory
 * @reserved: out: zero
 * @capacity: out: bytes of device memory
 * @free: out: bytes that are free at the moment
 * @start: out: physical address of the memory; zero for a caller without
 *	CAP_SYS_ADMIN, as with page frame numbers in /proc/self/pagemap
 * @driver: out: name of the memory's driver, NUL-terminated
 * @origin: out: path of the device tree node that describes the memory,
 *	NUL-terminated, truncated if longer; empty if the memory does not come from
 *	the device tree and, as with @start, for a caller without CAP_SYS_ADMIN.
 *	Not in the first version of the structure, which ends before it
 */
struct hmm_cdm_info {
	__u32 size;
	__u32 flags;
	__u32 version;
	__u32 index;
	__s32 numa_node;
	__u32 page_size;
	__u32 window_size;
	__u32 reserved;
	__u64 capacity;
	__u64 free;
	__u64 start;
	__u8 driver[32];
	__u8 origin[128];
};

/**
 * enum hmm_cdm_target - where HMM_CDM_IOC_MIGRATE moves pages
 * @HMM_CDM_TARGET_NODE: to this file's memory node; pages in another device's
 *	coherent memory move directly
 * @HMM_CDM_TARGET_SYSTEM: from this file's memory node to system memory
 */
enum hmm_cdm_target {
	HMM_CDM_TARGET_NODE = 0,
	HMM_CDM_TARGET_SYSTEM = 1,
};

/**
 * enum hmm_cdm_skip - why a page did not move
 * @HMM_CDM_SKIP_PINNED: the page has elevated references: a pin for I/O, a page
 *	table that cannot be changed now, or a reference of the kernel
 * @HMM_CDM_SKIP_NOT_ANON: not private anonymous memory: a file, shared memory,
 *	hugetlb, a special mapping, or a page that KSM has merged. Or text, even if
 *	it was written to. Also any page of an unreadable mapping that did not move;
 *	it may be at the target already
 * @HMM_CDM_SKIP_NO_MEMORY: no free page at the destination
 * @HMM_CDM_SKIP_ABSENT: no page to move: swapped out, or untouched memory that was
 *	to move to system memory; or another migration held the page throughout
 * @HMM_CDM_SKIP_RACED: the page was changed, moved or locked concurrently; another
 *	attempt may succeed
 * @HMM_CDM_SKIP_ELSEWHERE: the page is in another device's memory and was to move to
 *	system memory or to stay there; or it is in another device's private memory
 * @HMM_CDM_SKIP_FAILED: the device failed to copy or zero its memory
 * @HMM_CDM_SKIP_NR: number of reasons; the arrays have eight elements
 *
 * None of these is an error: both sides can still use the memory.
 */
enum hmm_cdm_skip {
	HMM_CDM_SKIP_PINNED = 0,
	HMM_CDM_SKIP_NOT_ANON = 1,
	HMM_CDM_SKIP_NO_MEMORY = 2,
	HMM_CDM_SKIP_ABSENT = 3,
	HMM_CDM_SKIP_RACED = 4,
	HMM_CDM_SKIP_ELSEWHERE = 5,
	HMM_CDM_SKIP_FAILED = 6,
	HMM_CDM_SKIP_NR = 7,
};

#define HMM_CDM_SKIP_MAX	8

/*
 * If the node is full, evict the windows that the device has used least recently, of
 * any process, to system memory.
 */
#define HMM_CDM_MIGRATE_EVICT	(1 << 0)
/*
 * Do not move pages that are in other devices' memory; count them as
 * HMM_CDM_SKIP_ELSEWHERE.
 */
#define HMM_CDM_MIGRATE_LEAVE_PEERS	(1 << 1)

/**
 * struct hmm_cdm_migrate - move a range of memory (HMM_CDM_IOC_MIGRATE)
 * @size: sizeof(struct hmm_cdm_migrate)
 * @flags: in: HMM_CDM_MIGRATE_*, zero with HMM_CDM_TARGET_SYSTEM
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @target: in: one of enum hmm_cdm_target
 * @reserved: in: zero
 * @migrated: out: pages copied to the target
 * @populated: out: untouched pages that are now zeroed pages of the target, without
 *	a copy
 * @present: out: pages that were at the target already
 * @skipped: out: pages that did not move, by enum hmm_cdm_skip
 * @huge: out: windows that were one huge page and are now in physically contiguous
 *	device memory
 * @peers: out: pages of @migrated that came from other devices' memory
 * @evicted: out: pages evicted from the node for this call, of any process. This and
 *	@peers are not in the first version of the structure, which ends before
 *	them
 *
 * @migrated, @populated, @present and @skipped add up to the mapped pages of the
 * range. Pages that do not move are no error: the call returns zero. It works window
 * by window, and the counts are valid also when it fails:
 *
 * * ``ENOMEM``: part of the range is not mapped (the rest was handled, as by
 *   madvise(2)), or out of kernel memory
 * * ``EINTR``: a signal arrived; earlier windows were handled
 */
struct hmm_cdm_migrate {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__u32 target;
	__u32 reserved;
	__u64 migrated;
	__u64 populated;
	__u64 present;
	__u64 huge;
	__u64 skipped[HMM_CDM_SKIP_MAX];
	__u64 peers;
	__u64 evicted;
};

/* Also move existing pages, as HMM_CDM_IOC_MIGRATE does. */
#define HMM_CDM_POPULATE_MIGRATE	(1 << 0)
/* As HMM_CDM_MIGRATE_EVICT. */
#define HMM_CDM_POPULATE_EVICT		(1 << 1)

/**
 * struct hmm_cdm_populate - back untouched memory with device memory
 *	(HMM_CDM_IOC_POPULATE)
 * @size: sizeof(struct hmm_cdm_populate)
 * @flags: in: HMM_CDM_POPULATE_*
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @populated: out: untouched pages that are now zeroed pages of the node
 * @present: out: pages that were on the node already
 * @stayed: out: existing pages elsewhere, left there for lack of
 *	HMM_CDM_POPULATE_MIGRATE
 * @migrated: out: with HMM_CDM_POPULATE_MIGRATE, pages copied to the node
 * @contiguous: out: windows that are now in physically contiguous device memory
 * @evicted: out: with HMM_CDM_POPULATE_EVICT, pages evicted from the node for this
 *	call, of any process
 * @skipped: out: pages that got no device memory, by enum hmm_cdm_skip
 *
 * Backs untouched memory with node pages, without a copy, so that the CPU uses device
 * memory from its first touch on. Memory that was only read, and maps the shared zero
 * page or the huge one, counts as untouched.
 * Ranges registered with userfaultfd (missing or write-protect) and PROT_NONE mappings
 * are left alone: their untouched pages stay untouched and count as
 * HMM_CDM_SKIP_ABSENT, in HMM_CDM_IOC_MIGRATE as well.
 *
 * @populated, @present, @stayed, @migrated and @skipped add up to the mapped pages of
 * the range. A full node is no error: memory that gets no device memory stays as it
 * was. Errors are those of HMM_CDM_IOC_MIGRATE, with valid counts.
 *
 * Pages are charged to the caller's memory cgroup, like those of the CPU's first touch,
 * and with the same consequence: if memory.max is reached and the group has nothing to
 * reclaim, the OOM killer runs in it.
 */
struct hmm_cdm_populate {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__u64 populated;
	__u64 present;
	__u64 stayed;
	__u64 migrated;
	__u64 contiguous;
	__u64 evicted;
	__u64 skipped[HMM_CDM_SKIP_MAX];
};

/**
 * enum hmm_cdm_place - preferred placement of pages
 * @HMM_CDM_PLACE_NONE: no preference: pages stay where they are
 * @HMM_CDM_PLACE_NODE: this file's node. The device's first touch of an untouched page
 *	allocates it there
 */
enum hmm_cdm_place {
	HMM_CDM_PLACE_NONE = 0,
	HMM_CDM_PLACE_NODE = 1,
};

/* With HMM_CDM_PLACE_NODE: a device fault also moves existing pages, from system memory
 * and from other devices.
 */
#define HMM_CDM_ADVISE_MIGRATE	(1 << 0)
/* With HMM_CDM_PLACE_NODE: if the device writes to a page shared by fork, the copy is
 * allocated on the node.
 */
#define HMM_CDM_ADVISE_COW	(1 << 1)
/* With HMM_CDM_PLACE_NODE: if the node is full, evict for these pages, as
 * HMM_CDM_MIGRATE_EVICT does.
 */
#define HMM_CDM_ADVISE_EVICT	(1 << 2)

/**
 * struct hmm_cdm_advise - set the preferred placement of a range
 *	(HMM_CDM_IOC_ADVISE)
 * @size: sizeof(struct hmm_cdm_advise)
 * @flags: in: HMM_CDM_ADVISE_*, zero with HMM_CDM_PLACE_NONE
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @place: in: one of enum hmm_cdm_place
 * @reserved: in: zero
 *
 * The call moves nothing. Device faults follow the advice until other advice is given
 * for these addresses or the file is closed. Advice belongs to the addresses, mapped or
 * not, and outlives mappings there. It never makes an access fail: a page that cannot
 * be placed is used where it is.
 *
 * * ``ENOMEM``: out of kernel memory
 * * ``ENOSPC``: too many ranges with different advice (65536)
 */
struct hmm_cdm_advise {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__u32 place;
	__u32 reserved;
};

/**
 * enum hmm_cdm_where - location of a page
 * @HMM_CDM_WHERE_UNMAPPED: the address is not mapped, or cannot be read by the
 *	CPU (PROT_NONE, a special mapping)
 * @HMM_CDM_WHERE_ABSENT: mapped, but without a page: untouched, swapped out, in
 *	another device's private memory, or under migration
 * @HMM_CDM_WHERE_SYSTEM: system memory
 * @HMM_CDM_WHERE_NODE: the memory of this file's node
 * @HMM_CDM_WHERE_DEVICE: the memory of another device
 */
enum hmm_cdm_where {
	HMM_CDM_WHERE_UNMAPPED = 0,
	HMM_CDM_WHERE_ABSENT = 1,
	HMM_CDM_WHERE_SYSTEM = 2,
	HMM_CDM_WHERE_NODE = 3,
	HMM_CDM_WHERE_DEVICE = 4,
};

#define HMM_CDM_ACCESS_READ	(1 << 0)
#define HMM_CDM_ACCESS_WRITE	(1 << 1)

/* The shared zero page, or part of the huge one: the memory was only read. */
#define HMM_CDM_PAGE_ZERO	(1 << 0)
/* In private memory; a CPU access moves it to system memory. */
#define HMM_CDM_PAGE_PRIVATE	(1 << 1)
/* Exclusive to the device; the next CPU access takes it back. */
#define HMM_CDM_PAGE_EXCLUSIVE	(1 << 2)
/* Elevated references: a pin for I/O, or the kernel. */
#define HMM_CDM_PAGE_PINNED	(1 << 3)
/* With HMM_CDM_WHERE_DEVICE: the N of that device's /dev/hmm_cdm<N> plus one, or zero if
 * it has no such file.
 */
#define HMM_CDM_PAGE_DEVICE(flags)	((flags) >> 8)

/**
 * struct hmm_cdm_page - a page as HMM_CDM_IOC_QUERY reports it
 * @where: one of enum hmm_cdm_where
 * @order: the CPU maps this page as part of a page of 2^order base pages
 * @cpu: HMM_CDM_ACCESS_* that the CPU page table allows; with HMM_CDM_PAGE_PRIVATE,
 *	that it will allow once the page is in system memory
 * @device: HMM_CDM_ACCESS_* that the device page table allows; zero without an entry
 * @accesses: device accesses since the entry was made, at most 65535
 * @flags: HMM_CDM_PAGE_*
 */
struct hmm_cdm_page {
	__u8 where;
	__u8 order;
	__u8 cpu;
	__u8 device;
	__u16 accesses;
	__u16 flags;
};

/**
 * struct hmm_cdm_query - locate the pages of a range (HMM_CDM_IOC_QUERY)
 * @size: sizeof(struct hmm_cdm_query)
 * @flags: in: zero
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @pages: in: pointer to an array of struct hmm_cdm_page, one for each page; zero
 *	for the sums alone
 * @where: out: pages of the range by enum hmm_cdm_where
 *
 * Changes nothing: faults no page in, makes no device entry. The result is a snapshot,
 * taken window by window.
 *
 * * ``EINTR``: a signal arrived
 * * ``ENOMEM``: out of kernel memory
 * * ``EBUSY``: the range changed too fast for a snapshot
 */
struct hmm_cdm_query {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__u64 pages;
	__u64 where[8];
};

#define HMM_CDM_JOB_ARGS	8
#define HMM_CDM_JOB_RESULTS	4

/* Signal @eventfd when the job is complete. */
#define HMM_CDM_SUBMIT_EVENTFD	(1 << 0)

/**
 * struct hmm_cdm_submit - run a job on the device (HMM_CDM_IOC_SUBMIT)
 * @size: sizeof(struct hmm_cdm_submit)
 * @flags: in: HMM_CDM_SUBMIT_EVENTFD or zero
 * @op: in: the operation, as the driver numbers them: enum cdm_emu_op for the
 *	emulated accelerator
 * @eventfd: in: with HMM_CDM_SUBMIT_EVENTFD, an eventfd(2) to which 1 is added when
 *	the job is complete; otherwise zero
 * @args: in: arguments of the operation; addresses are those of the process
 * @job: out: number of the job, for HMM_CDM_IOC_WAIT
 *
 * The job runs in the background, in the address space of the process. Closing the
 * last file descriptor ends running jobs.
 *
 * * ``EINVAL``: unknown operation, or invalid argument
 * * ``EIO``: the device hangs and is being reset; it will accept jobs again
 * * ``EPERM``: the caller may not use this operation
 * * ``EOPNOTSUPP``: the driver has no engine
 * * ``EBADF``: @eventfd is not an eventfd
 * * ``EAGAIN``: too many jobs of this file whose results have not been collected
 * * ``ENOMEM``: out of kernel memory
 */
struct hmm_cdm_submit {
	__u32 size;
	__u32 flags;
	__u32 op;
	__s32 eventfd;
	__u64 args[HMM_CDM_JOB_ARGS];
	__u64 job;
};

/**
 * struct hmm_cdm_wait - wait for a job and collect its result (HMM_CDM_IOC_WAIT)
 * @size: sizeof(struct hmm_cdm_wait)
 * @flags: in: zero
 * @job: in: number of the job, from HMM_CDM_IOC_SUBMIT
 * @timeout_ns: in: how long to wait; zero does not wait, negative waits forever; more
 *	than 24 days counts as 24 days
 * @status: out: zero, or a negative errno: -EFAULT if the process itself could not
 *	have made an access of the job, -ECANCELED if the file was closed or the
 *	device removed, -EIO if the device hung and was reset. What the job had
 *	written stays written, no other data changes, and further jobs can be
 *	submitted
 * @fault_access: out: with -EFAULT, HMM_CDM_ACCESS_READ or HMM_CDM_ACCESS_WRITE
 * @fault_addr: out: with -EFAULT, the address
 * @result: out: results of the operation
 * @faults: out: device faults of the job
 * @bytes_local: out: bytes accessed in this node's memory
 * @bytes_remote: out: bytes accessed in system memory and other devices' memory
 *
 * The result is collected once; afterwards the number is unknown.
 *
 * * ``ENOENT``: no such job
 * * ``ETIMEDOUT``: the job is not complete; wait again
 * * ``EINTR``: a signal arrived; wait again
 */
struct hmm_cdm_wait {
	__u32 size;
	__u32 flags;
	__u64 job;
	__s64 timeout_ns;
	__s32 status;
	__u32 fault_access;
	__u64 fault_addr;
	__u64 result[HMM_CDM_JOB_RESULTS];
	__u64 faults;
	__u64 bytes_local;
	__u64 bytes_remote;
};

/**
 * struct hmm_cdm_stats - counters (HMM_CDM_IOC_STATS)
 * @size: sizeof(struct hmm_cdm_stats)
 * @flags: in: zero
 * @faults: out: device faults of this mirror
 * @fault_pages: out: device page table entries made by them
 * @fault_retries: out: page table walks discarded because the range changed meanwhile
 * @invalidations: out: invalidations of this address space
 * @invalidated_pages: out: device page table entries removed by them
 * @migrated_in: out: pages copied to the node
 * @migrated_out: out: pages copied from the node
 * @bytes_copied: out: bytes of these copies
 * @populated: out: untouched pages that got a zeroed page of the node
 * @huge: out: windows that were one huge page and are now in contiguous device memory
 * @skipped: out: pages that did not move, by enum hmm_cdm_skip
 * @jobs: out: jobs submitted through this file
 * @node_pages: out: pages of the node
 * @node_free: out: free pages of the node
 * @node_contiguous: out: free windows of physically contiguous pages
 * @peers: out: pages of @migrated_in that came from other devices' memory
 * @touched: out: pages of @populated that the device's first touch allocated
 * @evicted: out: pages evicted from the node for this file, of any process
 * @node_evicted: out: pages evicted from the node for all files, since the memory was
 *	registered. This and the three above are not in the first version of the
 *	structure, which ends before them
 *
 * All but the node's count what was done through this file since it was opened.
 */
struct hmm_cdm_stats {
	__u32 size;
	__u32 flags;
	__u64 faults;
	__u64 fault_pages;
	__u64 fault_retries;
	__u64 invalidations;
	__u64 invalidated_pages;
	__u64 migrated_in;
	__u64 migrated_out;
	__u64 bytes_copied;
	__u64 populated;
	__u64 huge;
	__u64 skipped[HMM_CDM_SKIP_MAX];
	__u64 jobs;
	__u64 node_pages;
	__u64 node_free;
	__u64 node_contiguous;
	__u64 peers;
	__u64 touched;
	__u64 evicted;
	__u64 node_evicted;
};

/**
 * enum cdm_emu_op - operations of the emulated accelerator
 * @CDM_EMU_FILL: store the 64-bit pattern args[2] over args[1] bytes from
 *	args[0]
 * @CDM_EMU_COPY: copy args[2] bytes from args[1] to args[0]; the ranges must
 *	not overlap
 * @CDM_EMU_ADD: for args[3] elements of 64 bits: args[0][i] = args[1][i] +
 *	args[2][i]
 * @CDM_EMU_REDUCE: result[0] is the sum of args[1] elements of 64 bits from
 *	args[0]
 * @CDM_EMU_HISTOGRAM: count the byte values in args[1] bytes from args[0]: add to
 *	256 counters of 64 bits at args[2]
 * @CDM_EMU_CAS: atomic compare and swap of the 64 bits at args[0], from args[1] to
 *	args[2]; result[0] is the value found
 * @CDM_EMU_FETCH_ADD: atomically add args[1] to the 64 bits at args[0],
 *	args[2] times; result[0] is the value that the last one found
 * @CDM_EMU_WALK: follow linked structures that the CPU built; args[0] is the
 *	address of a struct cdm_emu_walk; result[0] is the number of elements,
 *	result[1] the sum of their counts, result[2] the entries written to @top
 * @CDM_EMU_HANG: occupy the execution unit until the driver resets the device. For
 *	tests. All jobs that this file has submitted by then end with -EIO; those of
 *	other files continue. Needs CAP_SYS_ADMIN, otherwise -EPERM
 *
 * Addresses of 64-bit elements are 8-byte aligned; otherwise the job fails with
 * -EINVAL. Plain accesses have the ordering of a CPU's plain loads and stores; atomic
 * ones are fully ordered, and atomic with respect to the CPU and other devices.
 */
enum cdm_emu_op {
	CDM_EMU_FILL = 1,
	CDM_EMU_COPY = 2,
	CDM_EMU_ADD = 3,
	CDM_EMU_REDUCE = 4,
	CDM_EMU_HISTOGRAM = 5,
	CDM_EMU_CAS = 6,
	CDM_EMU_FETCH_ADD = 7,
	CDM_EMU_WALK = 8,
	CDM_EMU_HANG = 9,
};

#define CDM_EMU_WALK_TOP	256

/**
 * struct cdm_emu_walk - argument of CDM_EMU_WALK
 * @heads: address of an array of 64-bit pointers to the first elements (NULL
 *	for an empty list)
 * @nr_heads: number of pointers in it
 * @next: offset in an element of the pointer to the next one
 * @child: offset in an element of the pointer to the first of its children, or
 *	CDM_EMU_WALK_NONE
 * @child_next: offset in a child of the pointer to the next child
 * @count: offset in an element of its 64-bit count. The walk sets it to the number
 *	of children, or reads it if @child is CDM_EMU_WALK_NONE
 * @top: address of an array of struct cdm_emu_top, or zero
 * @nr_top: number of elements of that array, at most CDM_EMU_WALK_TOP. It gets the
 *	elements with the highest counts, highest first; of equal ones, the first
 *	found
 * @max_steps: fail with -ELOOP after this many elements and children; zero for no
 *	limit. Without one, the walk of a circular list ends when the file is closed
 *
 * Offsets are in bytes and multiples of eight.
 */
struct cdm_emu_walk {
	__u64 heads;
	__u64 nr_heads;
	__u64 next;
	__u64 child;
	__u64 child_next;
	__u64 count;
	__u64 top;
	__u64 nr_top;
	__u64 max_steps;
};

#define CDM_EMU_WALK_NONE	(~0ULL)

/**
 * struct cdm_emu_top - an element ranked by CDM_EMU_WALK
 * @count: its count
 * @element: its address
 */
struct cdm_emu_top {
	__u64 count;
	__u64 element;
};

#endif /* _UAPI_LINUX_HMM_CDM_H */

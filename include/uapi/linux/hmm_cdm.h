/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Userspace interface of the HMM-CDM driver: cache-coherent device memory.
 *
 * There is one file per memory node, /dev/hmm_cdm<N>. Opening it mirrors the
 * address space of the caller on the node's device; every call below works on
 * that address space. A file that another process inherited or received
 * answers -EPERM.
 */
#ifndef _UAPI_LINUX_HMM_CDM_H
#define _UAPI_LINUX_HMM_CDM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: conventions
 *
 * Every structure begins with @size, which the caller sets to sizeof() of the
 * structure it was compiled with. A caller may be older or newer than the
 * kernel: what a smaller structure lacks is taken as zero and not written
 * back, and of a larger one the bytes that the kernel does not know have to
 * be zero. No command number depends on a structure's size, and the layout of
 * the structures is the same for 32-bit and 64-bit callers on all
 * architectures.
 *
 * Addresses and lengths are in bytes. Ranges have to be aligned to the page
 * size, except those inside the arguments of a job. Counts are in base pages
 * unless they say bytes.
 *
 * Errors that any call can return:
 *
 * ============  ============================================================
 * ``EFAULT``    the structure or a buffer it points to cannot be accessed
 * ``EINVAL``    @size is smaller than the first version of the structure, a
 *               flag or reserved field is not zero, or a range is misaligned,
 *               empty or overflows the address space
 * ``E2BIG``     @size exceeds a page, or bytes unknown to the kernel are set
 * ``EPERM``     the file mirrors another process's address space
 * ``ENODEV``    the driver has taken the device away
 * ``ENOTTY``    there is no such command
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
 * struct hmm_cdm_info - what a memory node is (HMM_CDM_IOC_INFO)
 * @size: sizeof(struct hmm_cdm_info)
 * @flags: in: zero
 * @version: out: HMM_CDM_VERSION of the kernel
 * @index: out: the N in /dev/hmm_cdm<N>
 * @numa_node: out: NUMA node that the memory was registered on, -1 for none
 * @page_size: out: bytes in a base page
 * @window_size: out: bytes that a fault or a migration handles at a time, and
 *	the size and alignment at which contiguous device memory is sought
 * @reserved: out: zero
 * @capacity: out: bytes of device memory
 * @free: out: bytes of it that no process uses at this moment
 * @start: out: physical address of the memory; zero for a caller without
 *	CAP_SYS_ADMIN, as with page frame numbers in /proc/self/pagemap
 * @driver: out: name of the driver that brought the memory, NUL-terminated
 * @origin: out: path of the node in the device tree that describes the memory,
 *	NUL-terminated, cut if it is longer; empty if someone has named the
 *	memory to the driver, and, as with @start, for a caller without
 *	CAP_SYS_ADMIN. Not in the first version of the structure, which ends
 *	before it
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
 * @HMM_CDM_TARGET_NODE: to this file's memory node; pages in the coherent memory
 *	of another device come without passing system memory
 * @HMM_CDM_TARGET_SYSTEM: from this file's memory node to system memory
 */
enum hmm_cdm_target {
	HMM_CDM_TARGET_NODE = 0,
	HMM_CDM_TARGET_SYSTEM = 1,
};

/**
 * enum hmm_cdm_skip - why a page stayed where it was
 * @HMM_CDM_SKIP_PINNED: something else holds the page: a pin for I/O, a page
 *	table that cannot be changed now, or a reference of the kernel
 * @HMM_CDM_SKIP_NOT_ANON: only private anonymous memory moves; this is a page
 *	of a file, shared memory, hugetlb or a special mapping, or one that
 *	KSM has merged with others of the same content; or of a mapping that
 *	is not readable, where nothing tells why it has not moved: it may be where it
 *	was to go
 * @HMM_CDM_SKIP_NO_MEMORY: no free page at the destination
 * @HMM_CDM_SKIP_ABSENT: there is no page here to move: swapped out, or a hole
 *	that was to be moved to system memory; or someone else was moving it all
 *	the while
 * @HMM_CDM_SKIP_RACED: the page was changed, moved or locked by someone else
 *	at the same time; another attempt may succeed
 * @HMM_CDM_SKIP_ELSEWHERE: the page is in the memory of another device, and was
 *	to be moved to system memory or to be left there; or it is in another's
 *	private memory
 * @HMM_CDM_SKIP_FAILED: the device could not copy or zero its memory
 * @HMM_CDM_SKIP_NR: number of reasons; the arrays have room for eight
 *
 * None of these is an error: the memory stays usable by both sides.
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
 * Where the node is full, make room: what the device has not accessed for the
 * longest time leaves for system memory, whoever's it is.
 */
#define HMM_CDM_MIGRATE_EVICT	(1 << 0)
/*
 * Leave pages in the memory of other devices where they are: these are counted as
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
 * @migrated: out: pages whose content was copied to the target
 * @populated: out: pages that did not exist and are now zeroed pages of the
 *	target; nothing was copied for them
 * @present: out: pages that were at the target already
 * @skipped: out: pages left where they are, by enum hmm_cdm_skip
 * @huge: out: how many whole windows were one huge page and landed on
 *	physically contiguous device memory
 * @peers: out: how many of @migrated came from the memory of other devices
 * @evicted: out: pages that left the node to make room, of any process. This and
 *	@peers are not in the first version of the structure, which ends before
 *	them
 *
 * The sum of @migrated, @populated, @present and @skipped is the number of
 * mapped pages in the range. Pages that stay are no error: the call returns
 * zero. It works window by window, and the counts are valid for what was done
 * even when it returns an error:
 *
 * * ``ENOMEM``: part of the range is not mapped (the rest was handled, as with
 *   madvise(2)), or there is no memory for bookkeeping
 * * ``EINTR``: a signal arrived; the windows before it were handled
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

/* Move the pages that exist elsewhere, too, as HMM_CDM_IOC_MIGRATE does. */
#define HMM_CDM_POPULATE_MIGRATE	(1 << 0)
/* As HMM_CDM_MIGRATE_EVICT. */
#define HMM_CDM_POPULATE_EVICT		(1 << 1)

/**
 * struct hmm_cdm_populate - device memory for untouched anonymous memory
 *	(HMM_CDM_IOC_POPULATE)
 * @size: sizeof(struct hmm_cdm_populate)
 * @flags: in: HMM_CDM_POPULATE_*
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @populated: out: pages that did not exist and are now zeroed pages of the node
 * @present: out: pages that were on the node already
 * @stayed: out: pages that exist elsewhere and stay there, since nobody asked for
 *	them to be moved
 * @migrated: out: with HMM_CDM_POPULATE_MIGRATE, pages whose content was copied to
 *	the node
 * @contiguous: out: windows that got physically contiguous memory as a whole
 * @evicted: out: with HMM_CDM_POPULATE_EVICT, pages that left the node to make room,
 *	of any process
 * @skipped: out: pages that got no device memory, by enum hmm_cdm_skip
 *
 * What nobody has touched yet is backed by the node, without a copy; memory that was
 * only read, and is the shared page of zeros, counts as untouched. The CPU then
 * reads and writes device memory from its first touch on. A range of userfaultfd's
 * (missing) is left to it, and so is one that it protects. There, and in mappings
 * that are PROT_NONE, the untouched stays so and counts as HMM_CDM_SKIP_ABSENT, also
 * when the range is migrated.
 *
 * The sum of @populated, @present, @stayed, @migrated and @skipped is the number of
 * mapped pages in the range. A full node is no error: what gets no device memory is
 * what it would have been without this call. Errors are those of
 * HMM_CDM_IOC_MIGRATE, with valid counts.
 *
 * Pages are charged to the memory cgroup of the caller, as those of the CPU's first
 * touch are, and with the same consequence: where memory.max leaves no room and
 * nothing of the group can be reclaimed, the OOM killer is invoked in it.
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
 * enum hmm_cdm_place - where pages had best be
 * @HMM_CDM_PLACE_NONE: nobody cares: pages stay where they are until someone asks for
 *	something else
 * @HMM_CDM_PLACE_NODE: in the memory of this file's node. The device's first touch of
 *	an untouched page allocates it there
 */
enum hmm_cdm_place {
	HMM_CDM_PLACE_NONE = 0,
	HMM_CDM_PLACE_NODE = 1,
};

/* With HMM_CDM_PLACE_NODE: a page in system memory or on another device moves when
 * this device faults on it, not only one that nobody has touched.
 */
#define HMM_CDM_ADVISE_MIGRATE	(1 << 0)
/* With HMM_CDM_PLACE_NODE: the copy that a write of the device to a shared page makes
 * (after fork) goes to the node, too.
 */
#define HMM_CDM_ADVISE_COW	(1 << 1)
/* With HMM_CDM_PLACE_NODE: where the node is full, make room for these pages; as
 * HMM_CDM_MIGRATE_EVICT.
 */
#define HMM_CDM_ADVISE_EVICT	(1 << 2)

/**
 * struct hmm_cdm_advise - where the pages of a range had best be
 *	(HMM_CDM_IOC_ADVISE)
 * @size: sizeof(struct hmm_cdm_advise)
 * @flags: in: HMM_CDM_ADVISE_*, zero with HMM_CDM_PLACE_NONE
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @place: in: one of enum hmm_cdm_place
 * @reserved: in: zero
 *
 * Nothing moves by this call; it decides what the device's faults do, until other
 * advice is given for these addresses or the file is closed. It is about addresses,
 * mapped or not, and outlives the mappings there. Advice cannot make an access fail:
 * what cannot be placed is used where it is.
 *
 * * ``ENOMEM``: there is no memory to note it
 * * ``ENOSPC``: there are too many ranges with different advice (65536)
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
 * enum hmm_cdm_where - where a page lies
 * @HMM_CDM_WHERE_UNMAPPED: the address is not mapped, or cannot be read by the
 *	CPU (PROT_NONE, a special mapping)
 * @HMM_CDM_WHERE_ABSENT: mapped, but there is no page: untouched, swapped out, in
 *	another device's memory that the CPU cannot access, or on its way from one
 *	place to another
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

/* The page is the shared one of zeros (not the huge one): untouched memory. */
#define HMM_CDM_PAGE_ZERO	(1 << 0)
/* The page is in memory that the CPU cannot access; touching it brings it home. */
#define HMM_CDM_PAGE_PRIVATE	(1 << 1)
/* The device has the page for itself; the CPU's first access takes it back. */
#define HMM_CDM_PAGE_EXCLUSIVE	(1 << 2)
/* Something else than page tables holds the page: a pin for I/O, or the kernel. */
#define HMM_CDM_PAGE_PINNED	(1 << 3)
/* With HMM_CDM_WHERE_DEVICE: the N of that device's /dev/hmm_cdm<N>, plus one; zero if
 * it has no such file.
 */
#define HMM_CDM_PAGE_DEVICE(flags)	((flags) >> 8)

/**
 * struct hmm_cdm_page - one page in the answer of HMM_CDM_IOC_QUERY
 * @where: one of enum hmm_cdm_where
 * @order: the CPU maps this page as part of a page of 2^order base pages
 * @cpu: HMM_CDM_ACCESS_* that the CPU's page table allows at this moment; with
 *	HMM_CDM_PAGE_PRIVATE, what it will allow once the page is home
 * @device: HMM_CDM_ACCESS_* that the device's page table allows; zero when the
 *	device has no entry for this page
 * @accesses: how often the device accessed the page since its entry was made;
 *	stays at its maximum, 65535, when it reaches it
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
 * struct hmm_cdm_query - where the pages of a range lie (HMM_CDM_IOC_QUERY)
 * @size: sizeof(struct hmm_cdm_query)
 * @flags: in: zero
 * @addr: in: first byte of the range, page aligned
 * @length: in: bytes, a multiple of the page size, not zero
 * @pages: in: pointer to an array of struct hmm_cdm_page, one for each page
 * @where: out: number of pages of the range by enum hmm_cdm_where; the array
 *	has room for eight
 *
 * Looking changes nothing: no page is faulted in, no device entry made. The
 * answer is a snapshot, taken window by window. @pages may be zero when only
 * the sums are wanted.
 *
 * * ``EINTR``: a signal arrived
 * * ``ENOMEM``: there is no memory for the answer
 * * ``EBUSY``: the range changed so fast that no snapshot could be taken
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

/* Signal the eventfd in @eventfd when the job ends. */
#define HMM_CDM_SUBMIT_EVENTFD	(1 << 0)

/**
 * struct hmm_cdm_submit - run a job on the device (HMM_CDM_IOC_SUBMIT)
 * @size: sizeof(struct hmm_cdm_submit)
 * @flags: in: HMM_CDM_SUBMIT_EVENTFD or zero
 * @op: in: the operation, a number of the device's driver. The emulated
 *	accelerator's are enum cdm_emu_op
 * @eventfd: in: with HMM_CDM_SUBMIT_EVENTFD, an eventfd(2) to which 1 is added
 *	when the job has ended; otherwise zero
 * @args: in: arguments of the operation; addresses are those of the process
 * @job: out: the number by which HMM_CDM_IOC_WAIT knows the job
 *
 * The job runs in the background, by virtual address, in the address space of
 * the process. Closing the last file descriptor ends jobs that still run.
 *
 * * ``EINVAL``: the driver has no such operation, or refuses an argument
 * * ``EIO``: the device hangs and is being reset; it will take jobs again
 * * ``EPERM``: the driver does not let this caller have the operation
 * * ``EOPNOTSUPP``: the node's driver has no engine
 * * ``EBADF``: @eventfd is not an eventfd
 * * ``EAGAIN``: too many jobs of this file have not been waited for
 * * ``ENOMEM``: no memory for the job
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
 * struct hmm_cdm_wait - wait for the end of a job (HMM_CDM_IOC_WAIT)
 * @size: sizeof(struct hmm_cdm_wait)
 * @flags: in: zero
 * @job: in: a number that HMM_CDM_IOC_SUBMIT gave
 * @timeout_ns: in: how long to wait; zero only looks, negative waits for ever,
 *	and more than 49 days is cut to that
 * @status: out: zero, or a negative errno with which the job ended:
 *	-EFAULT for an address that the process itself could not have accessed
 *	that way, -ECANCELED when the file was closed or the device went away,
 *	-EIO when the device hung and was reset. What the job has written until
 *	then is there, and so is all other data; another job can be submitted
 * @fault_access: out: with -EFAULT, HMM_CDM_ACCESS_READ or _WRITE
 * @fault_addr: out: with -EFAULT, the address
 * @result: out: results, by operation
 * @faults: out: device faults that the job took
 * @bytes_local: out: bytes it accessed in this node's memory
 * @bytes_remote: out: bytes it accessed in system or other memory
 *
 * A job can be waited for once: afterwards its number is unknown.
 *
 * * ``ENOENT``: there is no such job
 * * ``ETIMEDOUT``: the job did not end in time, and can be waited for again
 * * ``EINTR``: a signal arrived; the job can be waited for again
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
 * @fault_pages: out: device page table entries that they made
 * @fault_retries: out: fault results thrown away because the range changed
 *	while they were taken
 * @invalidations: out: invalidations of this address space that were seen
 * @invalidated_pages: out: device page table entries that they removed
 * @migrated_in: out: pages copied to the node by this mirror
 * @migrated_out: out: pages copied from the node by this mirror
 * @bytes_copied: out: bytes copied by these
 * @populated: out: zeroed device pages given to untouched memory
 * @huge: out: windows that were one huge page and landed on contiguous device
 *	memory
 * @skipped: out: pages that stayed, by enum hmm_cdm_skip
 * @jobs: out: jobs submitted through this file
 * @node_pages: out: pages of the node
 * @node_free: out: pages of the node that no process uses
 * @node_contiguous: out: free windows of physically contiguous pages
 * @peers: out: pages of @migrated_in that came from the memory of other devices
 * @touched: out: pages of @populated that the device's first touch allocated
 * @evicted: out: pages, of any process, that left the node to make room for what
 *	happened through this file
 * @node_evicted: out: the same for all files of the node, since the memory was
 *	registered. This and the three above are not in the first version of the
 *	structure, which ends before them
 *
 * All but those of the node count what happened through this file, since it was
 * opened.
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
 * enum cdm_emu_op - the emulated accelerator's operations
 * @CDM_EMU_FILL: store the 64-bit pattern args[2] over args[1] bytes from
 *	args[0]
 * @CDM_EMU_COPY: copy args[2] bytes from args[1] to args[0]; the ranges must
 *	not overlap
 * @CDM_EMU_ADD: for args[3] elements of 64 bits: args[0][i] = args[1][i] +
 *	args[2][i]
 * @CDM_EMU_REDUCE: result[0] is the sum of args[1] elements of 64 bits from
 *	args[0]
 * @CDM_EMU_HISTOGRAM: add to 256 counters of 64 bits at args[2] how often each
 *	byte value occurs in args[1] bytes from args[0]
 * @CDM_EMU_CAS: atomically, if the 64 bits at args[0] are args[1] make them
 *	args[2]; result[0] is the value found
 * @CDM_EMU_FETCH_ADD: atomically add args[1] to the 64 bits at args[0],
 *	args[2] times; result[0] is the value found by the last
 * @CDM_EMU_WALK: follow linked structures that the CPU built; args[0] is the
 *	address of a struct cdm_emu_walk; result[0] is the number of elements,
 *	result[1] the sum of their counts, result[2] the entries written to @top
 * @CDM_EMU_HANG: never come back, and keep the execution unit, as hardware does
 *	that hangs: a test of what follows. The driver notices and resets the
 *	device. Jobs of this file that were submitted before then end with
 *	-EIO; those of other files go on where they were. For callers with
 *	CAP_SYS_ADMIN; others get -EPERM
 *
 * Addresses of 64-bit elements are 8-byte aligned, or the job is refused with
 * -EINVAL. Plain accesses are as ordered as a CPU's plain loads and stores;
 * atomic ones are fully ordered and atomic towards the CPU and other devices.
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
 * struct cdm_emu_walk - how CDM_EMU_WALK walks
 * @heads: address of an array of 64-bit pointers to the first elements (NULL
 *	for an empty list)
 * @nr_heads: number of pointers there
 * @next: offset in an element of the pointer to the next one
 * @child: offset in an element of the pointer to the first of its children, or
 *	CDM_EMU_WALK_NONE
 * @child_next: offset in a child of the pointer to the next child
 * @count: offset in an element of its 64-bit count. With children, it is set
 *	to the number of children; without, it is read
 * @top: address of an array of struct cdm_emu_top, or zero
 * @nr_top: room in that array, at most CDM_EMU_WALK_TOP. The elements with
 *	the highest counts are written there, highest first, of equal ones
 *	that which was found first
 * @max_steps: end with -ELOOP after this many elements and children; zero
 *	for no bound. A list that has become circular ends when the file is
 *	closed
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
 * struct cdm_emu_top - an element that CDM_EMU_WALK ranked
 * @count: its count
 * @element: its address
 */
struct cdm_emu_top {
	__u64 count;
	__u64 element;
};

#endif /* _UAPI_LINUX_HMM_CDM_H */

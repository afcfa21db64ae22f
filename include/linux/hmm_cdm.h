/* SPDX-License-Identifier: GPL-2.0 */
/*
 * HMM-CDM: device memory in the address spaces of processes, for GPU drivers
 * and the like. The C interface of hmm_cdm.ko.
 */
#ifndef _LINUX_HMM_CDM_H
#define _LINUX_HMM_CDM_H

#include <linux/types.h>
#include <uapi/linux/hmm_cdm.h>

struct device_node;
struct mm_struct;
struct module;
struct page;

/**
 * DOC: objects
 *
 * A driver registers a *device*, with its operations, and gives it *memory*: a
 * range that the CPU accesses coherently, or one that only the device can
 * access. For each process that uses the device there is a *mirror*: the
 * process's address space as the device sees it. A mirror has a device page
 * table, which the library keeps a copy of the process's. Through it the device
 * accesses memory by the process's own addresses, wherever the page lies, and
 * faults where it has no entry.
 *
 * The library moves pages between system memory and the device's, and back: on
 * request, when the CPU touches private memory, and when the memory goes. What
 * the hardware has to do for all this is in &struct hmm_cdm_ops.
 *
 * The Rust interface (the crate ``hmm_cdm``) has the same objects with the same
 * meaning; these functions are written on top of it.
 */

/**
 * DOC: lifetime
 *
 * A device is there from hmm_cdm_register_device() to
 * hmm_cdm_unregister_device(), which the driver calls once, after it has
 * removed the memory and destroyed the mirrors that it created. Mirrors of open
 * files (``/dev/hmm_cdm<N>``) belong to the library: an open file holds the
 * driver's module, and its mirror outlives the device's memory, but not the
 * device: hmm_cdm_unregister_device() is refused while there is one.
 *
 * A job belongs to the driver from @run until hmm_cdm_complete_job().
 *
 * Nothing here has a reference count that a driver handles.
 */

/**
 * DOC: contexts
 *
 * All functions are called from process context without any lock of mm (mmap
 * lock, page locks, page table locks) and may sleep, but for those that say
 * otherwise. The calling task need not be of the process that is mirrored. The
 * operations say for themselves what they may do. A function of
 * this header called from an operation that must not sleep is a bug, which a
 * kernel with CONFIG_DEBUG_ATOMIC_SLEEP reports.
 */

/* Of this interface; &struct hmm_cdm_ops has it, and a mismatch is refused. */
#define HMM_CDM_API_VERSION	1

/* A device; a process's address space on it; work that a process asked for. */
struct hmm_cdm_device;
struct hmm_cdm_mirror;
struct hmm_cdm_job;

/* The entry is valid for reading. Always set in what the library passes. */
#define HMM_CDM_EXTENT_READ		0x1
/* And for writing. */
#define HMM_CDM_EXTENT_WRITE		0x2
/* The pages are in the device's own memory. */
#define HMM_CDM_EXTENT_LOCAL		0x4
/* The device has the pages for itself: the CPU faults, and takes them back. */
#define HMM_CDM_EXTENT_EXCLUSIVE	0x8

/**
 * struct hmm_cdm_extent - contiguous pages in a device's page table
 * @addr: the process's address of the first page
 * @pfn: its page frame number. In private memory there is nothing behind it
 *	that the CPU could access
 * @offset: with HMM_CDM_EXTENT_LOCAL, bytes from the start of the device's
 *	memory to the first page
 * @pages: how many base pages there are, contiguous in all three
 * @flags: HMM_CDM_EXTENT_*, the same for all of them
 */
struct hmm_cdm_extent {
	u64 addr;
	u64 pfn;
	u64 offset;
	u32 pages;
	u32 flags;
};

/**
 * enum hmm_cdm_direction - which way pages are copied
 * @HMM_CDM_COPY_IN: from system memory to the device's
 * @HMM_CDM_COPY_OUT: from the device's memory to system memory
 */
enum hmm_cdm_direction {
	HMM_CDM_COPY_IN = 0,
	HMM_CDM_COPY_OUT = 1,
};

/**
 * struct hmm_cdm_copy - contiguous pages to be copied
 * @page: the first page of system memory
 * @offset: bytes from the start of the device's memory to the first page there
 * @pages: how many base pages there are, contiguous on both sides
 * @direction: one of &enum hmm_cdm_direction
 */
struct hmm_cdm_copy {
	struct page *page;
	u64 offset;
	u32 pages;
	u32 direction;
};

/**
 * struct hmm_cdm_ops - what a driver does for the library
 * @version: HMM_CDM_API_VERSION
 * @flags: zero
 * @owner: THIS_MODULE
 * @name: the driver's name, for people to read
 *
 * Zero or NULL is the default for all others, and means what each describes.
 */
struct hmm_cdm_ops {
	u32 version;
	u32 flags;
	struct module *owner;
	const char *name;

	/**
	 * @open: a mirror is being made, by open(2) of the device's file or by
	 * hmm_cdm_create_mirror(). No other operation is called for @mirror
	 * before this returns. An error is passed on, and @close is not called.
	 *
	 * Context: process; may sleep. Default: nothing is done.
	 */
	int (*open)(struct hmm_cdm_mirror *mirror);

	/**
	 * @close: the mirror goes. Before this is called, all its entries have
	 * been invalidated; from then on there are none, faults fail with
	 * -ESRCH, those that sleep in a kernel thread or work item too, and
	 * neither @map nor @invalidate is called. So what is under way on the
	 * device comes to an end. When this returns, nothing uses
	 * the mirror any more and all its jobs are complete. It runs in exit(2)
	 * of killed processes too, so it takes bounded time.
	 *
	 * Context: process; may sleep. Default: nothing is done.
	 */
	void (*close)(struct hmm_cdm_mirror *mirror);

	/**
	 * @map: pages have been entered into the device's page table. A device
	 * that has one of its own takes the entries over; those it had for
	 * these addresses are replaced. They hold until @invalidate is called
	 * for their addresses. A fault tells of everything that is present in
	 * its window (@window_size of &struct hmm_cdm_info), so of addresses
	 * beyond its range, and of entries that were told before: what a driver
	 * had no room for it is told again when the device faults again.
	 *
	 * Context: a spinlock is held, the same as for @invalidate of these
	 * addresses; must not sleep. Default: the device uses the library's,
	 * by hmm_cdm_access().
	 */
	void (*map)(struct hmm_cdm_mirror *mirror,
		    const struct hmm_cdm_extent *extent);

	/**
	 * @invalidate: the CPU's page table is about to change in @length bytes
	 * from @addr. When this returns, the device no longer accesses the
	 * pages that it had there: entries are gone from its tables and TLBs,
	 * accesses under way have ended.
	 *
	 * Context: as for @map; must not sleep, and takes bounded time. The
	 * caller may be in memory reclaim and may hold the mmap lock, rmap and
	 * page locks. Default: as for @map.
	 */
	void (*invalidate)(struct hmm_cdm_mirror *mirror, u64 addr, u64 length);

	/**
	 * @copy: copy pages between system and device memory. Nobody else
	 * accesses either side meanwhile. Returns how many of the @nr copies,
	 * counted from the first, are complete, or a negative errno for none.
	 * Pages of the others stay where they are, with their content; a
	 * process whose CPU waits for such a page gets SIGBUS.
	 *
	 * Context: process; may sleep, but the mmap lock and page locks are
	 * held: it must not allocate with anything but GFP_NOFS or weaker
	 * flags, access user memory, or wait for someone who does. Default: the
	 * CPU copies. Private memory has no default: it needs @copy and @zero.
	 */
	int (*copy)(struct hmm_cdm_device *device,
		    const struct hmm_cdm_copy *copies, u32 nr);

	/**
	 * @zero: fill @pages pages at @offset bytes of the device's memory with
	 * zeros. An error leaves the addresses that were to get them without a
	 * page, as before.
	 *
	 * Context and default: as for @copy.
	 */
	int (*zero)(struct hmm_cdm_device *device, u64 offset, u32 pages);

	/**
	 * @freed: the @pages pages at @offset bytes of the device's memory have
	 * no user any more. Called before they can be given out again; also for
	 * pages whose @copy or @zero failed, or was never called. Not called
	 * any more when hmm_cdm_remove_memory() has returned.
	 *
	 * Context: any, interrupts included, but no spinlock of the library is
	 * held; must not sleep. Default: nothing is done.
	 */
	void (*freed)(struct hmm_cdm_device *device, u64 offset, u32 pages);

	/**
	 * @run: start a job, and return without waiting for it. After success
	 * the driver owns @job until it calls hmm_cdm_complete_job(); after an
	 * error it must not touch it any more. -EINVAL is for an operation that
	 * there is not, or an argument that can never be right.
	 *
	 * Context: process, the one that is mirrored; may sleep. Default:
	 * -EOPNOTSUPP, there is no engine.
	 */
	int (*run)(struct hmm_cdm_mirror *mirror, struct hmm_cdm_job *job);
};

/**
 * enum hmm_cdm_memory_type - what kind of memory a device has
 * @HMM_CDM_MEMORY_COHERENT: the CPU accesses it as it does system memory, cache
 *	coherently: pages are mapped by processes where they lie
 * @HMM_CDM_MEMORY_PRIVATE: only the device accesses it. The CPU's page table
 *	has a special entry for such a page, and an access brings it home
 */
enum hmm_cdm_memory_type {
	HMM_CDM_MEMORY_COHERENT = 1,
	HMM_CDM_MEMORY_PRIVATE = 2,
};

/* Do not make a /dev/hmm_cdm<N>: the driver has files of its own. */
#define HMM_CDM_MEMORY_NO_FILE	0x1

/* As @nid: ask the firmware, or else take node 0. */
#define HMM_CDM_ANY_NODE	(-1)

/**
 * struct hmm_cdm_memory - memory of a device
 * @type: one of &enum hmm_cdm_memory_type
 * @flags: HMM_CDM_MEMORY_*
 * @start: physical address of the first byte. For private memory zero: the
 *	library takes a range of addresses that nothing is behind
 * @size: bytes. Both are multiples of memremap_compat_align()
 * @nid: NUMA node to register it on, or HMM_CDM_ANY_NODE
 * @reserved: zero
 * @of_node: the node of the device tree that describes coherent memory (on
 *	POWER9 the GPU's ``memory-region``); then @start and @size are zero and
 *	@nid is HMM_CDM_ANY_NODE. Otherwise NULL. The caller's reference is
 *	needed for the call only
 */
struct hmm_cdm_memory {
	u32 type;
	u32 flags;
	u64 start;
	u64 size;
	s32 nid;
	u32 reserved;
	struct device_node *of_node;
};

/**
 * struct hmm_cdm_result - how a job ended
 * @status: zero or a negative errno
 * @fault_access: with -EFAULT, HMM_CDM_ACCESS_READ or _WRITE
 * @fault_addr: with -EFAULT, the address that could not be accessed
 * @result: results, by operation
 * @faults: device faults taken
 * @bytes_local: bytes accessed in the device's own memory
 * @bytes_remote: bytes accessed elsewhere
 */
struct hmm_cdm_result {
	s32 status;
	u32 fault_access;
	u64 fault_addr;
	u64 result[HMM_CDM_JOB_RESULTS];
	u64 faults;
	u64 bytes_local;
	u64 bytes_remote;
};

/* --- Devices and their memory ------------------------------------------- */

/**
 * hmm_cdm_register_device() - register a device
 * @ops: its operations; they stay valid until it is unregistered
 * @data: for hmm_cdm_device_data()
 *
 * The device has no memory yet.
 *
 * Return: the device, or an ERR_PTR():
 *
 * * -EPROTO: @ops is of another version of this interface
 * * -EINVAL: unknown flags, no name, no owner, or only one of @copy and @zero,
 *   of @map and @invalidate
 * * -ENOMEM
 */
struct hmm_cdm_device *hmm_cdm_register_device(const struct hmm_cdm_ops *ops,
					       void *data);

/**
 * hmm_cdm_unregister_device() - the device goes
 * @device: from hmm_cdm_register_device(); not to be used any more after
 *	success
 *
 * Return: zero, or -EBUSY, with nothing changed, if it has memory or mirrors.
 * A driver that has removed the memory and destroyed its own mirrors, and is
 * called from its module's exit function, which no open file lets happen, gets
 * zero.
 */
int hmm_cdm_unregister_device(struct hmm_cdm_device *device);

/**
 * hmm_cdm_device_data() - what the driver registered the device with
 * @device: the device
 *
 * Context: any.
 *
 * Return: the data.
 */
void *hmm_cdm_device_data(struct hmm_cdm_device *device);

/**
 * hmm_cdm_add_memory() - give a device its memory
 * @device: the device; it has no memory yet
 * @memory: which
 *
 * The memory is registered as ZONE_DEVICE pages that the kernel never allocates
 * from, and what it contained is lost. Processes can use it through
 * ``/dev/hmm_cdm<N>`` from now on, unless HMM_CDM_MEMORY_NO_FILE is set, and
 * through mirrors, those that were made before too. What is wrong with the
 * memory is in the kernel's log as well.
 *
 * Return: zero, or
 *
 * * -EBUSY: the device has memory already, or someone else uses the range
 * * -EINVAL: an unknown type or flag, a field that is to be zero is not, empty
 *   or misaligned, or private memory without @copy and @zero
 * * -ERANGE: beyond the addresses that can be mapped
 * * -ENXIO: no such NUMA node
 * * -ENODEV: there is no memory at that address
 * * -ENOSPC: there are no more device files, or no addresses for private memory
 * * -ENOMEM
 */
int hmm_cdm_add_memory(struct hmm_cdm_device *device,
		       const struct hmm_cdm_memory *memory);

/**
 * hmm_cdm_remove_memory() - take a device's memory away
 * @device: the device
 *
 * Everything in the memory is moved to system memory first, under the processes
 * that use it; mirrors stay usable. Nothing of it is given out any more from
 * the beginning on. Calls on files that are still open end with ENODEV.
 *
 * It waits for pages that are held, and says who holds them in the kernel's
 * log. Memory that the CPU copies it gives up on after 20 seconds: the library
 * keeps the range, and unregisters it when its last page has been given back.
 * Memory for which the driver has @copy or @freed cannot be left behind without
 * the driver, so it is waited for; private memory nobody can pin.
 *
 * Return: zero; -ENODEV if the device has no memory; -EBUSY if pages are still
 * held: the device has no memory any more then, but the range must not be used
 * for anything else.
 */
int hmm_cdm_remove_memory(struct hmm_cdm_device *device);

/**
 * hmm_cdm_evict() - move everything in a device's memory to system memory
 * @device: the device
 *
 * One pass, which skips pages that are held. Others may take pages meanwhile.
 *
 * Return: how many pages moved; -ENODEV if the device has no memory; -EINTR if
 * a fatal signal arrived; -ENOMEM if there is no memory for bookkeeping.
 */
long hmm_cdm_evict(struct hmm_cdm_device *device);

/**
 * hmm_cdm_retire_page() - take a page of a device's memory out of use for ever
 * @device: the device
 * @offset: where it is, counted from the start of the memory
 * @lost: whether its content cannot be had any more
 *
 * For a driver that learns from its hardware of errors in memory. The page is
 * not given out any more, until the memory is added anew. If it is in use, its
 * content is moved to system memory; or if that is @lost, every process that has
 * the page mapped gets SIGBUS when it touches it, and jobs end with -EFAULT. What
 * the kernel learns of comes to the same by itself (memory_failure()).
 *
 * Return: zero when nobody uses the page any more; -EBUSY if it is held: it goes
 * with its last user, and @lost pages as soon as they are let go; -ENOMEM or -EIO
 * if it could not be copied; -EINVAL if @offset is beyond the end; -ENODEV if the
 * device has no memory.
 *
 * Context: process, with no lock of mm or of the driver's @copy held; may sleep.
 */
int hmm_cdm_retire_page(struct hmm_cdm_device *device, u64 offset, bool lost);

/**
 * hmm_cdm_pages() - how much memory a device has
 * @device: the device
 * @free: where the number of pages that nobody uses is stored, or NULL
 *
 * Return: the number of base pages; zero without memory.
 */
u64 hmm_cdm_pages(struct hmm_cdm_device *device, u64 *free);

/* --- Mirrors ------------------------------------------------------------ */

/**
 * hmm_cdm_create_mirror() - mirror an address space on a device
 * @device: the device, with or without memory
 * @mm: the address space; the caller holds a reference on its users, such as
 *	current->mm
 * @data: for hmm_cdm_mirror_data()
 *
 * The mirror does not keep the address space from being torn down: when the
 * process has exited, functions return -ESRCH. Calls @open.
 *
 * Return: the mirror, or an ERR_PTR(): -ENOMEM, or the error of @open.
 */
struct hmm_cdm_mirror *hmm_cdm_create_mirror(struct hmm_cdm_device *device,
					     struct mm_struct *mm, void *data);

/**
 * hmm_cdm_destroy_mirror() - end a mirror
 * @mirror: from hmm_cdm_create_mirror(); nothing else uses it any more
 *
 * Calls @close. Where pages lie does not change: they belong to the process.
 */
void hmm_cdm_destroy_mirror(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_mirror_device() - the device of a mirror
 * @mirror: the mirror
 *
 * Context: any.
 *
 * Return: the device.
 */
struct hmm_cdm_device *hmm_cdm_mirror_device(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_mirror_data() - the driver's data of a mirror
 * @mirror: the mirror
 *
 * Context: any.
 *
 * Return: what hmm_cdm_create_mirror() or hmm_cdm_set_mirror_data() was given;
 * NULL for the mirror of an open file until @open sets it.
 */
void *hmm_cdm_mirror_data(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_set_mirror_data() - set the driver's data of a mirror
 * @mirror: the mirror
 * @data: the data
 *
 * Context: any; ordered by the caller, and in @open before everything else.
 */
void hmm_cdm_set_mirror_data(struct hmm_cdm_mirror *mirror, void *data);

/**
 * hmm_cdm_mirror_is_of() - whether a mirror is of an address space
 * @mirror: the mirror
 * @mm: the address space
 *
 * Return: true if it is.
 */
bool hmm_cdm_mirror_is_of(struct hmm_cdm_mirror *mirror,
			  const struct mm_struct *mm);

/* Fault with the intent to write. */
#define HMM_CDM_FAULT_WRITE	0x1
/* Enter only what is present; nothing is faulted in. */
#define HMM_CDM_FAULT_PRESENT	0x2

/**
 * hmm_cdm_fault() - handle device faults in a range
 * @mirror: the mirror
 * @addr: where the device faulted; any byte
 * @length: bytes that it is going to access; at least one. A device that knows
 *	more than the address saves faults
 * @flags: HMM_CDM_FAULT_*
 *
 * On success there was, for each page, a moment since the call at which the
 * device's page table had an entry that allows the access (with
 * HMM_CDM_FAULT_PRESENT: if the CPU's did; that none does is no error). It may
 * have been invalidated again; then the device faults again. Pages are faulted
 * in as by an access of the process; private pages of other devices come home
 * by that. Goes on while the range keeps changing. If the process exits
 * meanwhile, its address space may be torn down in here, with @invalidate.
 *
 * Return: zero, or
 *
 * * -EINVAL: an unknown flag, or a range that is empty or overflows
 * * -EFAULT: the process itself could not access an address of the range, or
 *   no device may (memfd_secret(2), special mappings)
 * * -EPERM: the process could read, but not write
 * * -EINTR: a fatal signal arrived
 * * -EHWPOISON: the page is damaged
 * * -ESRCH: the process has exited, or @close has been called
 * * -ENOMEM
 */
int hmm_cdm_fault(struct hmm_cdm_mirror *mirror, u64 addr, u64 length,
		  u32 flags);

/**
 * typedef hmm_cdm_access_fn - use a page that a device's page table has
 * @page: the entry of the page, a single one
 * @arg: what hmm_cdm_access() was given
 *
 * While this runs no invalidation of the page returns, so it is short: an
 * access to this one page. The CPU may access the page too, other devices as
 * well.
 *
 * Context: a spinlock is held; must not sleep.
 */
typedef void (*hmm_cdm_access_fn)(const struct hmm_cdm_extent *page, void *arg);

/**
 * hmm_cdm_access() - access memory through the library's device page table
 * @mirror: the mirror
 * @addr: any byte of the page
 * @write: whether the access writes
 * @fn: called with the entry, if there is one that allows the access
 * @arg: for @fn
 *
 * For engines in software, and devices without page tables of their own. Counts
 * the access, for &struct hmm_cdm_page.
 *
 * Context: that of a task, not of an interrupt; not from an operation that
 * holds a lock of the library (@map, @invalidate). Does not sleep.
 *
 * Return: zero, or -ENOENT if there is no such entry: see hmm_cdm_fault().
 */
int hmm_cdm_access(struct hmm_cdm_mirror *mirror, u64 addr, bool write,
		   hmm_cdm_access_fn fn, void *arg);

/**
 * hmm_cdm_migrate() - move a range to the device's memory, or from it
 * @mirror: the mirror
 * @migrate: as for HMM_CDM_IOC_MIGRATE; @size is set by the caller
 *
 * What the call with that number does, in the mirror's address space.
 *
 * Return: zero, or the call's errors, and
 *
 * * -EINTR: a fatal signal arrived
 * * -ENODEV: the device has no memory
 * * -ESRCH: the process has exited
 */
int hmm_cdm_migrate(struct hmm_cdm_mirror *mirror,
		    struct hmm_cdm_migrate *migrate);

/**
 * hmm_cdm_populate() - device memory for untouched memory of a range
 * @mirror: the mirror
 * @populate: as for HMM_CDM_IOC_POPULATE; @size is set by the caller
 *
 * Return: as hmm_cdm_migrate()
 */
int hmm_cdm_populate(struct hmm_cdm_mirror *mirror,
		     struct hmm_cdm_populate *populate);

/**
 * hmm_cdm_advise() - say where the pages of a range had best be
 * @mirror: the mirror
 * @advise: as for HMM_CDM_IOC_ADVISE; @size is set by the caller
 *
 * From then on hmm_cdm_fault() places what it faults in by the advice, until the
 * mirror is destroyed. That needs no memory of the device yet.
 *
 * Return: zero, or the call's errors
 */
int hmm_cdm_advise(struct hmm_cdm_mirror *mirror,
		   const struct hmm_cdm_advise *advise);

/**
 * hmm_cdm_query() - look where pages lie
 * @mirror: the mirror
 * @addr: first byte of the range, page aligned
 * @length: bytes, a multiple of the page size, not zero
 * @pages: room for a description of each page
 *
 * What HMM_CDM_IOC_QUERY does, in the mirror's address space.
 *
 * Return: zero, -EINVAL for the range, -EINTR, -EBUSY, -ESRCH or -ENOMEM.
 */
int hmm_cdm_query(struct hmm_cdm_mirror *mirror, u64 addr, u64 length,
		  struct hmm_cdm_page *pages);

/**
 * hmm_cdm_make_exclusive() - take pages away from the CPU, for device atomics
 * @mirror: the mirror
 * @addr: first byte of the range, page aligned
 * @length: bytes, a multiple of the page size, not zero
 *
 * For devices whose atomic operations are not atomic towards the CPU's. Each
 * page is faulted in for writing, the CPU's page table entry is replaced by one
 * that faults, and the device gets a writable entry with
 * HMM_CDM_EXTENT_EXCLUSIVE. The first access of a CPU takes the page back,
 * after @invalidate. A page that was exclusive already stays so. Pages do not
 * move.
 *
 * Return: how many pages, counted from the first, are exclusive to the device
 * or were for a moment; if that is none, the reason why:
 *
 * * -EINVAL: the range
 * * -EFAULT: the process could not write there
 * * -EOPNOTSUPP: the page is not private anonymous memory
 * * -EINTR: a fatal signal arrived
 * * -ESRCH: the process has exited
 * * -ENOMEM
 */
long hmm_cdm_make_exclusive(struct hmm_cdm_mirror *mirror, u64 addr,
			    u64 length);

/**
 * hmm_cdm_stats() - what happened on a mirror
 * @mirror: the mirror
 * @stats: filled in, as by HMM_CDM_IOC_STATS
 */
void hmm_cdm_stats(struct hmm_cdm_mirror *mirror, struct hmm_cdm_stats *stats);

/* --- Jobs --------------------------------------------------------------- */

/**
 * hmm_cdm_job_op() - the operation that a job is for
 * @job: the job
 *
 * Context: any.
 *
 * Return: the number, as in &struct hmm_cdm_submit.
 */
u32 hmm_cdm_job_op(const struct hmm_cdm_job *job);

/**
 * hmm_cdm_job_args() - the arguments of a job
 * @job: the job
 *
 * Context: any.
 *
 * Return: HMM_CDM_JOB_ARGS of them; addresses are those of the process.
 */
const u64 *hmm_cdm_job_args(const struct hmm_cdm_job *job);

/**
 * hmm_cdm_complete_job() - end a job, and wake those who wait for it
 * @job: the job; not to be used any more
 * @result: how it ended
 *
 * Context: process, as for the others: a work item, if the device tells of the
 * end by an interrupt.
 */
void hmm_cdm_complete_job(struct hmm_cdm_job *job,
			  const struct hmm_cdm_result *result);

#endif /* _LINUX_HMM_CDM_H */

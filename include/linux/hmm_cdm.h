/* SPDX-License-Identifier: GPL-2.0 */
/*
 * HMM-CDM: device memory in the address spaces of processes. The C interface of
 * hmm_cdm.ko, for GPU and accelerator drivers.
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
 * A driver registers a *device* with its operations and adds *memory* to it: a
 * range that the CPU accesses coherently, or memory that only the device can
 * access. Each process that uses the device has a *mirror*: its address space as
 * the device sees it. The mirror's device page table follows the process's page
 * table. Through it the device accesses memory by the process's addresses,
 * wherever the page is, and faults where it has no entry.
 *
 * The library moves pages between system memory and device memory: on request,
 * when the CPU touches private memory, and when the memory is removed. What the
 * hardware has to do for this is in &struct hmm_cdm_ops.
 * The Rust interface (the crate ``hmm_cdm``) has the same objects.
 */

/**
 * DOC: lifetime
 *
 * A device exists from hmm_cdm_register_device() to
 * hmm_cdm_unregister_device(). The driver first removes the memory and destroys
 * the mirrors that it created. Mirrors of open files (``/dev/hmm_cdm<N>``)
 * belong to the library: an open file pins the driver's module. Its mirror may
 * outlive the device's memory but not the device: hmm_cdm_unregister_device()
 * fails while one exists.
 *
 * A job belongs to the driver from @run until hmm_cdm_complete_job().
 */

/**
 * DOC: rules
 *
 * The compiler cannot check these; the library's memory safety depends on them.
 * Its SAFETY comments cite them by name.
 *
 * * ``handle``: a device, mirror or job that a driver passes in came from the
 *   library and is alive throughout the call: a device until
 *   hmm_cdm_unregister_device() has succeeded, a mirror until
 *   hmm_cdm_destroy_mirror() or the return of @close, a job until
 *   hmm_cdm_complete_job() or a failed @run.
 * * ``end``: the call that ends a handle's life is made once, while nothing else
 *   uses the handle.
 * * ``pointer``: every other pointer argument points to a valid object of its type
 *   and stated length, except where NULL is allowed. During the call nothing else
 *   writes to it, nor reads what the call writes.
 * * ``ops``: the operations and their name stay valid and unchanged while the
 *   device is registered. Each operation does what its description says.
 * * ``module``: @owner has the code of the operations, and is not unloaded while
 *   the device is registered.
 * * ``memory``: the range passed to hmm_cdm_add_memory() is the device's. Nobody
 *   else maps or accesses it.
 * * ``mm``: the caller holds a reference on the users of an mm_struct that it
 *   passes in (mmget(), or it is current->mm).
 */

/**
 * DOC: contexts
 *
 * Unless it says otherwise, a function is called from process context, with no
 * mm lock (mmap lock, page locks, page table locks) held, and may sleep. The
 * calling task need not belong to the mirrored process. Each operation states
 * its own context. Calling a function that may sleep from an operation that must
 * not is a bug, which CONFIG_DEBUG_ATOMIC_SLEEP reports.
 *
 * Operations run concurrently, on any CPU, for different mirrors and for the same
 * one, with these exceptions: no operation is called for a mirror before @open has
 * returned or after @close has been called; @map and @invalidate of the same
 * addresses are serialised; @copy, @zero and @freed are never called for the same
 * page at the same time.
 */

/* In &struct hmm_cdm_ops.version; registration fails on a mismatch. */
#define HMM_CDM_API_VERSION	1

/* A device, a process's address space on it, and a unit of work for it. */
struct hmm_cdm_device;
struct hmm_cdm_mirror;
struct hmm_cdm_job;

/* The device may read. Always set in what the library passes. */
#define HMM_CDM_EXTENT_READ		0x1
/* The device may write. */
#define HMM_CDM_EXTENT_WRITE		0x2
/* The pages are in the device's own memory. */
#define HMM_CDM_EXTENT_LOCAL		0x4
/* The CPU's next access faults and takes the pages back. */
#define HMM_CDM_EXTENT_EXCLUSIVE	0x8

/**
 * struct hmm_cdm_extent - contiguous pages in a device's page table
 * @addr: the process's address of the first page
 * @pfn: page frame number of the first page. The CPU cannot access private memory
 *	through it
 * @offset: with HMM_CDM_EXTENT_LOCAL, byte offset of the first page in the device's
 *	memory
 * @pages: number of base pages, contiguous in all of the above
 * @flags: HMM_CDM_EXTENT_*, for all pages
 */
struct hmm_cdm_extent {
	u64 addr;
	u64 pfn;
	u64 offset;
	u32 pages;
	u32 flags;
};

/**
 * enum hmm_cdm_direction - direction of a copy
 * @HMM_CDM_COPY_IN: from system memory to the device's
 * @HMM_CDM_COPY_OUT: from the device's memory to system memory
 */
enum hmm_cdm_direction {
	HMM_CDM_COPY_IN = 0,
	HMM_CDM_COPY_OUT = 1,
};

/**
 * struct hmm_cdm_copy - contiguous pages to copy
 * @page: the first page of system memory
 * @offset: byte offset of the first page in the device's memory
 * @pages: number of base pages, contiguous on both sides
 * @direction: one of &enum hmm_cdm_direction
 */
struct hmm_cdm_copy {
	struct page *page;
	u64 offset;
	u32 pages;
	u32 direction;
};

/**
 * struct hmm_cdm_ops - operations of a driver
 * @version: HMM_CDM_API_VERSION
 * @flags: zero
 * @owner: THIS_MODULE
 * @name: the driver's name, for display
 *
 * Every operation is optional; its description gives the default.
 */
struct hmm_cdm_ops {
	u32 version;
	u32 flags;
	struct module *owner;
	const char *name;

	/**
	 * @open: called when a mirror is created, by open(2) of the device's
	 * file or by hmm_cdm_create_mirror(). No other operation is called for
	 * @mirror before this returns. An error fails the creation; @close is
	 * not called then.
	 *
	 * Context: process; may sleep. open(2) holds misc_mtx, so it must not
	 * add or remove memory, unregister a device, or wait for a task that
	 * does. Default: do nothing.
	 */
	int (*open)(struct hmm_cdm_mirror *mirror);

	/**
	 * @close: called when a mirror is destroyed. All its entries have been
	 * invalidated and no new ones are made: faults fail with -ESRCH,
	 * including those sleeping in a kernel thread or work item, and neither
	 * @map nor @invalidate is called any more. Device work in progress
	 * therefore comes to an end. On return nothing uses the mirror and all
	 * its jobs are complete. Also called from exit(2) of killed processes,
	 * so it must take bounded time.
	 *
	 * Context: process; may sleep. Default: do nothing.
	 */
	void (*close)(struct hmm_cdm_mirror *mirror);

	/**
	 * @map: pages were entered into the device page table. A device with its
	 * own page table installs the entries, replacing any that it has for
	 * these addresses. They are valid until @invalidate is called for their
	 * addresses. A fault passes every page that is present in its window
	 * (@window_size of &struct hmm_cdm_info): addresses beyond the faulting
	 * range, and entries that were passed before. A driver that has no room
	 * for an entry may drop it; the next fault passes it again.
	 *
	 * Context: a spinlock is held, the same as for @invalidate of these
	 * addresses; must not sleep. Default: the device uses the library's page
	 * table through hmm_cdm_access().
	 */
	void (*map)(struct hmm_cdm_mirror *mirror,
		    const struct hmm_cdm_extent *extent);

	/**
	 * @invalidate: the CPU page table is about to change in @length bytes
	 * from @addr. On return the device no longer accesses the pages that it
	 * had mapped there: entries are gone from its page tables and TLBs, and
	 * accesses in flight have ended.
	 *
	 * Context: as for @map; must not sleep and must take bounded time. The
	 * caller may be in reclaim, and may hold the mmap lock, rmap locks and
	 * page locks. Default: as for @map.
	 */
	void (*invalidate)(struct hmm_cdm_mirror *mirror, u64 addr, u64 length);

	/**
	 * @copy: copy pages between system and device memory. Neither side is
	 * accessed by anyone else meanwhile. @nr is at most 32. Returns how many
	 * of the @nr copies, counted from the first, are complete, or a negative
	 * errno for none. The pages of the others stay where they are, with
	 * their content; a process whose CPU access waits for such a page gets
	 * SIGBUS. Not called for copies from one device's memory to another's:
	 * the CPU makes those, through the coherent memory of both.
	 *
	 * Context: process; may sleep, but the mmap lock and page locks are
	 * held: it must not allocate with more than GFP_NOFS, access user
	 * memory, or wait for a task that does. Default: the CPU copies. Private
	 * memory has no default: it needs @copy and @zero.
	 */
	int (*copy)(struct hmm_cdm_device *device,
		    const struct hmm_cdm_copy *copies, u32 nr);

	/**
	 * @zero: zero @pages pages at byte offset @offset of the device's memory.
	 * On error the addresses they were meant for stay without a page.
	 *
	 * Context and default: as for @copy.
	 */
	int (*zero)(struct hmm_cdm_device *device, u64 offset, u32 pages);

	/**
	 * @freed: @pages pages at byte offset @offset of the device's memory
	 * have lost their last user. Called before they can be allocated again,
	 * also for pages whose @copy or @zero failed or was never called. Not
	 * called after hmm_cdm_remove_memory() has returned.
	 *
	 * Context: any, including interrupts, with no spinlock of the library
	 * held; must not sleep. Default: do nothing.
	 */
	void (*freed)(struct hmm_cdm_device *device, u64 offset, u32 pages);

	/**
	 * @run: start a job and return without waiting for it. On success the
	 * driver owns @job until it calls hmm_cdm_complete_job(); on error it
	 * must not touch @job again. -EINVAL stands for an unknown operation or
	 * an argument that is never valid.
	 *
	 * Context: the mirrored process; may sleep. Default: -EOPNOTSUPP, the
	 * device has no engine.
	 */
	int (*run)(struct hmm_cdm_mirror *mirror, struct hmm_cdm_job *job);
};

/**
 * enum hmm_cdm_memory_type - type of a device's memory
 * @HMM_CDM_MEMORY_COHERENT: the CPU accesses it cache coherently, as it does
 *	system memory: processes map its pages
 * @HMM_CDM_MEMORY_PRIVATE: only the device accesses it. The CPU page table has a
 *	device-private entry for such a page; a CPU access moves the page to system
 *	memory
 */
enum hmm_cdm_memory_type {
	HMM_CDM_MEMORY_COHERENT = 1,
	HMM_CDM_MEMORY_PRIVATE = 2,
};

/* Create no /dev/hmm_cdm<N>: the driver has files of its own. */
#define HMM_CDM_MEMORY_NO_FILE	0x1

/* As @nid: the node that the firmware gives for the range, else node 0. */
#define HMM_CDM_ANY_NODE	(-1)

/**
 * struct hmm_cdm_memory - memory to add to a device
 * @type: one of &enum hmm_cdm_memory_type
 * @flags: HMM_CDM_MEMORY_*
 * @start: physical address of the first byte. Zero for private memory: the
 *	library reserves a range of unused physical addresses
 * @size: in bytes; @start and @size are multiples of memremap_compat_align()
 * @nid: NUMA node of the pages, or HMM_CDM_ANY_NODE
 * @reserved: zero
 * @of_node: the device tree node that describes coherent memory (on POWER9 the
 *	GPU's ``memory-region``), with @start and @size zero and @nid
 *	HMM_CDM_ANY_NODE; otherwise NULL. The reference is needed during the call
 *	only
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
 * struct hmm_cdm_result - result of a job
 * @status: zero or a negative errno. -EFAULT if the process itself could not make
 *	an access of the job: also where hmm_cdm_fault() says -EPERM
 * @fault_access: with -EFAULT, HMM_CDM_ACCESS_READ or HMM_CDM_ACCESS_WRITE
 * @fault_addr: with -EFAULT, the address that could not be accessed
 * @result: results of the operation
 * @faults: number of device faults
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

/**
 * hmm_cdm_register_device() - register a device
 * @ops: its operations
 * @data: for hmm_cdm_device_data()
 *
 * The device starts without memory.
 *
 * Return: the device, or an ERR_PTR():
 *
 * * -EPROTO: @ops is of another version of this interface
 * * -EINVAL: unknown flags, no name, no owner, or only one of @copy and @zero or
 *   of @map and @invalidate
 * * -ENOMEM
 */
struct hmm_cdm_device *hmm_cdm_register_device(const struct hmm_cdm_ops *ops,
					       void *data);

/**
 * hmm_cdm_unregister_device() - unregister a device
 * @device: from hmm_cdm_register_device(); invalid after success
 *
 * Return: zero; -EBUSY, with nothing changed, if the device has memory or mirrors.
 * Succeeds in the exit function of a module that has removed the memory and
 * destroyed its own mirrors, as open files pin the module.
 */
int hmm_cdm_unregister_device(struct hmm_cdm_device *device);

/**
 * hmm_cdm_device_data() - get the driver's data of a device
 * @device: the device
 *
 * Context: any.
 *
 * Return: the @data of hmm_cdm_register_device().
 */
void *hmm_cdm_device_data(struct hmm_cdm_device *device);

/**
 * hmm_cdm_add_memory() - add memory to a device
 * @device: the device, without memory
 * @memory: description of the memory
 *
 * Registers the memory as ZONE_DEVICE pages, from which the kernel never allocates.
 * Its contents are lost. Processes can use it from now on through
 * ``/dev/hmm_cdm<N>``, unless HMM_CDM_MEMORY_NO_FILE is set, and through all
 * mirrors of the device, including existing ones. The kernel log has the reason of
 * a failure.
 *
 * Return: zero, or
 *
 * * -EBUSY: the device already has memory, or the range is in use
 * * -EINVAL: unknown type or flag, nonzero reserved field, empty or misaligned
 *   range, or private memory without @copy and @zero
 * * -ERANGE: beyond the addressable physical memory
 * * -ENXIO: no such NUMA node
 * * -ENODEV: no memory at that address
 * * -ENOSPC: out of device files, or of addresses for private memory
 * * -ENOMEM
 */
int hmm_cdm_add_memory(struct hmm_cdm_device *device,
		       const struct hmm_cdm_memory *memory);

/**
 * hmm_cdm_remove_memory() - remove a device's memory
 * @device: the device
 *
 * Stops allocation from the memory, then moves all its pages to system memory,
 * under the processes that use them. The driver can go on using all mirrors, those
 * of open files too; the ioctls of these files fail with ENODEV from now on, even
 * after memory has been added again.
 *
 * Waits for pages with elevated reference counts and logs what is known of them.
 * Where the CPU copies, it gives up after 20 seconds: the library keeps the range
 * and unregisters it when the last page has been freed. A driver with @copy or
 * @freed must outlive its pages, so there the wait has no limit; private pages
 * cannot be pinned.
 *
 * Return: zero; -ENODEV if the device has no memory; -EBUSY if pages are still
 * referenced: the device has no memory then, but the range must not be reused.
 */
int hmm_cdm_remove_memory(struct hmm_cdm_device *device);

/**
 * hmm_cdm_evict() - move all pages of a device's memory to system memory
 * @device: the device
 *
 * A single pass that skips pages with elevated reference counts. Pages may be
 * allocated meanwhile.
 *
 * Return: number of pages moved; -ENODEV if the device has no memory; -EINTR if a
 * fatal signal arrived; -ENOMEM.
 */
long hmm_cdm_evict(struct hmm_cdm_device *device);

/**
 * hmm_cdm_retire_page() - take a page out of use permanently
 * @device: the device
 * @offset: byte offset of the page in the device's memory
 * @lost: the page's content is lost
 *
 * For memory errors that the hardware reports to the driver. The page is not
 * allocated again until the memory has been removed and added. If the page is in
 * use, its content moves to system memory; if the content is @lost, each process
 * that maps the page gets SIGBUS at its next access, and jobs end with -EFAULT.
 * Errors that the kernel reports by memory_failure() are handled the same way.
 *
 * Return: zero if the page has no users left; -EBUSY if it is still referenced: it
 * is retired with its last user, @lost pages as soon as the references are
 * dropped; -ENOMEM or -EIO if it could not be copied; -EINVAL if @offset is beyond
 * the end; -ENODEV if the device has no memory.
 *
 * Context: process, with no mm lock held, nor one that @copy takes; may sleep.
 */
int hmm_cdm_retire_page(struct hmm_cdm_device *device, u64 offset, bool lost);

/**
 * hmm_cdm_pages() - get the size of a device's memory
 * @device: the device
 * @free: set to the number of free base pages; may be NULL
 *
 * Return: number of base pages, zero without memory.
 */
u64 hmm_cdm_pages(struct hmm_cdm_device *device, u64 *free);

/**
 * hmm_cdm_create_mirror() - mirror an address space on a device
 * @device: the device, with or without memory
 * @mm: the address space
 * @data: for hmm_cdm_mirror_data()
 *
 * Calls @open. The mirror does not keep the address space alive: once the process
 * has exited, functions return -ESRCH.
 *
 * Return: the mirror, or an ERR_PTR(): -ENOMEM, or the error of @open.
 */
struct hmm_cdm_mirror *hmm_cdm_create_mirror(struct hmm_cdm_device *device,
					     struct mm_struct *mm, void *data);

/**
 * hmm_cdm_destroy_mirror() - destroy a mirror
 * @mirror: from hmm_cdm_create_mirror()
 *
 * Calls @close. No page moves: pages belong to the process.
 */
void hmm_cdm_destroy_mirror(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_mirror_device() - get the device of a mirror
 * @mirror: the mirror
 *
 * Context: any.
 *
 * Return: the device.
 */
struct hmm_cdm_device *hmm_cdm_mirror_device(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_mirror_data() - get the driver's data of a mirror
 * @mirror: the mirror
 *
 * Context: any.
 *
 * Return: the @data of hmm_cdm_create_mirror() or hmm_cdm_set_mirror_data(); NULL
 * for the mirror of an open file until @open has set it.
 */
void *hmm_cdm_mirror_data(struct hmm_cdm_mirror *mirror);

/**
 * hmm_cdm_set_mirror_data() - set the driver's data of a mirror
 * @mirror: the mirror
 * @data: the data
 *
 * Context: any. The caller orders it against readers; in @open there are none.
 */
void hmm_cdm_set_mirror_data(struct hmm_cdm_mirror *mirror, void *data);

/**
 * hmm_cdm_mirror_is_of() - check whether a mirror mirrors an address space
 * @mirror: the mirror
 * @mm: the address space
 *
 * Return: true if it is.
 */
bool hmm_cdm_mirror_is_of(struct hmm_cdm_mirror *mirror,
			  const struct mm_struct *mm);

/* The access is a write. */
#define HMM_CDM_FAULT_WRITE	0x1
/* Only enter pages that are present, fault none in. */
#define HMM_CDM_FAULT_PRESENT	0x2

/**
 * hmm_cdm_fault() - handle device faults in a range
 * @mirror: the mirror
 * @addr: the faulting address, any byte of the page
 * @length: number of bytes the device is about to access, at least one. A device
 *	that knows its next accesses avoids faults
 * @flags: HMM_CDM_FAULT_*
 *
 * On success each page had, at some time during the call, an entry in the device
 * page table that allows the access (with HMM_CDM_FAULT_PRESENT: if the CPU page
 * table had one; none is no error). It may have been invalidated since; the device
 * then faults again. Pages are faulted in as by an access of the process, which
 * moves private pages of other devices to system memory. Retries while the range
 * keeps changing. If the process exits meanwhile, its address space may be torn
 * down in this call, with calls of @invalidate.
 *
 * Return: zero, or
 *
 * * -EINVAL: unknown flag, or a range that is empty or overflows
 * * -EFAULT: the process itself cannot access an address of the range, no device
 *   may (memfd_secret(2), special mappings), or the content of a page is lost to a
 *   memory failure
 * * -EPERM: the process can read but not write there. A job that fails for this
 *   completes with -EFAULT
 * * -EINTR: a fatal signal arrived. For the first call in a process also if the
 *   calling task is being stopped or frozen, or has task work
 * * -ESRCH: the process has exited, or @close has been called
 * * -ENOMEM
 */
int hmm_cdm_fault(struct hmm_cdm_mirror *mirror, u64 addr, u64 length,
		  u32 flags);

/**
 * typedef hmm_cdm_access_fn - access a page through the device page table
 * @page: the entry, of a single page
 * @arg: the @arg of hmm_cdm_access()
 *
 * No invalidation of the page returns while this runs, so it must be short: one
 * access to this page. The CPU and other devices may access the page at the same
 * time. The CPU's mapping of coherent and system memory is
 * page_address(pfn_to_page(page->pfn)).
 *
 * Context: a spinlock is held; must not sleep.
 */
typedef void (*hmm_cdm_access_fn)(const struct hmm_cdm_extent *page, void *arg);

/**
 * hmm_cdm_access() - access memory through the library's device page table
 * @mirror: the mirror
 * @addr: any byte of the page
 * @write: the access is a write
 * @fn: called with the entry if one allows the access
 * @arg: for @fn
 *
 * For software engines and devices without their own page table. Counts the access
 * in &struct hmm_cdm_page.
 *
 * Context: task, not interrupt; not from an operation that is called with a lock
 * of the library held (@map, @invalidate). Does not sleep.
 *
 * Return: zero; -ENOENT if no entry allows the access: see hmm_cdm_fault().
 */
int hmm_cdm_access(struct hmm_cdm_mirror *mirror, u64 addr, bool write,
		   hmm_cdm_access_fn fn, void *arg);

/**
 * hmm_cdm_migrate() - move a range to the device's memory or back
 * @mirror: the mirror
 * @migrate: argument and result, as for HMM_CDM_IOC_MIGRATE; the caller sets @size
 *
 * Does in the mirror's address space what that ioctl does in the caller's.
 *
 * Return: zero, an error of the ioctl, or
 *
 * * -EINTR: a fatal signal arrived
 * * -ENODEV: the device has no memory
 * * -ESRCH: the process has exited
 */
int hmm_cdm_migrate(struct hmm_cdm_mirror *mirror,
		    struct hmm_cdm_migrate *migrate);

/**
 * hmm_cdm_populate() - back untouched memory of a range with device memory
 * @mirror: the mirror
 * @populate: argument and result, as for HMM_CDM_IOC_POPULATE; the caller sets
 *	@size
 *
 * Return: as hmm_cdm_migrate()
 */
int hmm_cdm_populate(struct hmm_cdm_mirror *mirror,
		     struct hmm_cdm_populate *populate);

/**
 * hmm_cdm_advise() - set the preferred placement of a range
 * @mirror: the mirror
 * @advise: as for HMM_CDM_IOC_ADVISE; the caller sets @size
 *
 * hmm_cdm_fault() follows the advice from now on, until the mirror is destroyed.
 * The device needs no memory yet.
 *
 * Return: zero, or an error of the ioctl.
 */
int hmm_cdm_advise(struct hmm_cdm_mirror *mirror,
		   const struct hmm_cdm_advise *advise);

/**
 * hmm_cdm_query() - report where the pages of a range are
 * @mirror: the mirror
 * @addr: first byte of the range, page aligned
 * @length: bytes, a multiple of the page size, not zero
 * @pages: array with an element for each page
 *
 * Does in the mirror's address space what HMM_CDM_IOC_QUERY does in the caller's.
 *
 * Return: zero, -EINVAL for the range, -EINTR, -EBUSY, -ESRCH or -ENOMEM.
 */
int hmm_cdm_query(struct hmm_cdm_mirror *mirror, u64 addr, u64 length,
		  struct hmm_cdm_page *pages);

/**
 * hmm_cdm_make_exclusive() - make pages exclusive to the device, for atomics
 * @mirror: the mirror
 * @addr: first byte of the range, page aligned
 * @length: bytes, a multiple of the page size, not zero
 *
 * For devices whose atomic operations are not atomic with respect to the CPU's.
 * Faults each page in for writing, replaces the CPU page table entry by one that
 * faults, and gives the device a writable entry with HMM_CDM_EXTENT_EXCLUSIVE. The
 * next CPU access takes the page back, after @invalidate. A page that is already
 * exclusive stays so. Pages do not move.
 *
 * Return: number of pages, counted from the first, that are exclusive to the
 * device, or were since the call; if none, the reason:
 *
 * * -EINVAL: invalid range
 * * -EFAULT: the process cannot write there
 * * -EOPNOTSUPP: not private anonymous memory
 * * -EINTR: a fatal signal arrived
 * * -ESRCH: the process has exited
 * * -ENOMEM
 */
long hmm_cdm_make_exclusive(struct hmm_cdm_mirror *mirror, u64 addr,
			    u64 length);

/**
 * hmm_cdm_stats() - read the counters of a mirror
 * @mirror: the mirror
 * @stats: result, as of HMM_CDM_IOC_STATS
 */
void hmm_cdm_stats(struct hmm_cdm_mirror *mirror, struct hmm_cdm_stats *stats);

/**
 * hmm_cdm_job_op() - get the operation of a job
 * @job: the job
 *
 * Context: any.
 *
 * Return: the @op of &struct hmm_cdm_submit.
 */
u32 hmm_cdm_job_op(const struct hmm_cdm_job *job);

/**
 * hmm_cdm_job_args() - get the arguments of a job
 * @job: the job
 *
 * Context: any.
 *
 * Return: an array of HMM_CDM_JOB_ARGS arguments; addresses are the process's.
 */
const u64 *hmm_cdm_job_args(const struct hmm_cdm_job *job);

/**
 * hmm_cdm_complete_job() - complete a job and wake its waiters
 * @job: the job; invalid afterwards
 * @result: its result
 *
 * Context: process; may sleep. From an interrupt handler, queue a work item.
 */
void hmm_cdm_complete_job(struct hmm_cdm_job *job,
			  const struct hmm_cdm_result *result);

#endif /* _LINUX_HMM_CDM_H */

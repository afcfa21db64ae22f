/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Definitions that several tests share: targets, the guest's users and devices,
 * pagemap bits, pattern seeds, and what older libc headers lack.
 */
#ifndef CDM_DEFS_H
#define CDM_DEFS_H

#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/hmm_cdm.h>

/* Targets of cdm_migrate(). */
#define NODE			HMM_CDM_TARGET_NODE
#define SYSTEM			HMM_CDM_TARGET_SYSTEM

/* The guest's ordinary user. */
#define USER			1000

/* A disk without data; the tests use it for swap and for direct I/O. */
#define DISK			"/dev/nvme0n1"

/* Where the tests mount a cgroup hierarchy of their own. */
#define CGROUP_ROOT		"/tmp/cdm-cgroup"

/* Bits of an entry of /proc/PID/pagemap. */
#define PAGEMAP_PFN		0x007fffffffffffffULL
#define PAGEMAP_SOFT_DIRTY	0x0080000000000000ULL
#define PAGEMAP_EXCLUSIVE	0x0100000000000000ULL
#define PAGEMAP_FILE		0x2000000000000000ULL
#define PAGEMAP_SWAPPED		0x4000000000000000ULL
#define PAGEMAP_PRESENT		0x8000000000000000ULL

/* The C library's headers may be older than the kernel. */
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

/* Some architectures do not have the call; the kernel then returns ENOSYS. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

/*
 * Pattern seeds. Each program has 65536 of its own, from CDM_SEED() up, so that data
 * of another program is never taken for its own.
 */
enum cdm_program {
	CDM_PROGRAM_ACCOUNT_MEMCG = 1,
	CDM_PROGRAM_CALLER,
	CDM_PROGRAM_CAPACITY,
	CDM_PROGRAM_DMEM,
	CDM_PROGRAM_ENGINE,
	CDM_PROGRAM_EVICT,
	CDM_PROGRAM_FAIL_ALLOC,
	CDM_PROGRAM_FORK,
	CDM_PROGRAM_HANG,
	CDM_PROGRAM_INVALIDATE,
	CDM_PROGRAM_IO_DIRECT,
	CDM_PROGRAM_IO_RING,
	CDM_PROGRAM_IO_SPLICE,
	CDM_PROGRAM_JOB,
	CDM_PROGRAM_MEMORY_FAILURE,
	CDM_PROGRAM_MIGRATE,
	CDM_PROGRAM_MIGRATE_KINDS,
	CDM_PROGRAM_MIGRATE_RACE,
	CDM_PROGRAM_MIRROR,
	CDM_PROGRAM_MM_ADVICE,
	CDM_PROGRAM_MM_DAEMONS,
	CDM_PROGRAM_MM_REMAP,
	CDM_PROGRAM_MM_SWAP,
	CDM_PROGRAM_OFFLINE,
	CDM_PROGRAM_ON_NODE,
	CDM_PROGRAM_PEERS,
	CDM_PROGRAM_POPULATE,
	CDM_PROGRAM_PROCESS_ACCESS,
	CDM_PROGRAM_PROCESS_DUMP,
	CDM_PROGRAM_PROCESS_ENDS,
	CDM_PROGRAM_PROCESS_SEEN,
	CDM_PROGRAM_PROCESS_SPECIAL,
	CDM_PROGRAM_QUERY,
	CDM_PROGRAM_RIGHTS,
	CDM_PROGRAM_RMMOD,
	CDM_PROGRAM_SAMPLES,
	CDM_PROGRAM_TREE,
	CDM_PROGRAM_UAPI,
	CDM_PROGRAM_USERFAULT,
	CDM_PROGRAM_USERFAULT_RACES,
};

#define CDM_SEED(program)	(CDM_PROGRAM_##program << 16)

#endif /* CDM_DEFS_H */

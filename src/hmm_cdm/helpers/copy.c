// SPDX-License-Identifier: GPL-2.0

#include <linux/atomic.h>
#include <linux/cpufeature.h>
#include <linux/highmem.h>
#include <linux/memremap.h>
#include <linux/mm.h>

/* Returns false for device-private memory, which the CPU cannot access. */
bool hmm_cdm_helper_clear_page(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	if (WARN_ON_ONCE(is_device_private_page(page)))
		return false;
	clear_highpage(page);
	return true;
}

/*
 * Whether copy_mc_to_kernel() recovers from memory errors. On x86 without ERMS
 * it is a memcpy(), which takes three times as many instructions as copy_page().
 */
static bool copy_recovers(void)
{
#ifdef CONFIG_X86
	return cpu_feature_enabled(X86_FEATURE_ERMS);
#else
	return true;
#endif
}

/*
 * Returns false if the source has a memory error, which copy_mc_highpage() has
 * then reported to memory_failure_queue(), or if one of the pages is
 * device-private memory, which the CPU cannot access.
 */
bool hmm_cdm_helper_copy_page(unsigned long to, unsigned long from)
{
	struct page *src = pfn_to_page(from), *dst = pfn_to_page(to);

	if (WARN_ON_ONCE(is_device_private_page(src) || is_device_private_page(dst)))
		return false;
	if (copy_recovers())
		return !copy_mc_highpage(dst, src);
	copy_highpage(dst, src);
	return true;
}

/*
 * Accesses of the device to memory that the CPU uses at the same time: single
 * copy atomic where they are plain, the CPU's own atomics where they are atomic.
 * A cache-coherent device offers the same.
 */

u64 hmm_cdm_helper_read_u64(const void *p)
{
	return READ_ONCE(*(const u64 *)p);
}

void hmm_cdm_helper_write_u64(void *p, u64 value)
{
	WRITE_ONCE(*(u64 *)p, value);
}

u64 hmm_cdm_helper_cmpxchg_u64(void *p, u64 old, u64 new)
{
	return atomic64_cmpxchg((atomic64_t *)p, old, new);
}

u64 hmm_cdm_helper_fetch_add_u64(void *p, u64 value)
{
	return atomic64_fetch_add(value, (atomic64_t *)p);
}

// SPDX-License-Identifier: GPL-2.0
/* Physical memory: its resources, its limits, its NUMA nodes. */

#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>

struct resource *hmm_cdm_helper_request_region(u64 start, u64 size, const char *name)
{
	return request_mem_region(start, size, name);
}

/*
 * Unused addresses, for the struct pages of memory that the CPU cannot access. The
 * kernel takes the highest ones. With the hash MMU and pages of 4K, the memory map
 * does not reach that far (hash__vmemmap_create_mapping()), and memremap_pages() would
 * fail with a WARNING.
 */
struct resource *hmm_cdm_helper_request_free_region(u64 size, const char *name)
{
	struct resource *res = request_free_mem_region(&iomem_resource, size, name);

#ifdef CONFIG_PPC_BOOK3S_64
	if (!IS_ERR(res) && !radix_enabled() &&
	    (unsigned long)pfn_to_page(PHYS_PFN(res->end) + 1) >= H_VMEMMAP_END) {
		release_mem_region(res->start, resource_size(res));
		return ERR_PTR(-ERANGE);
	}
#endif
	return res;
}

void hmm_cdm_helper_release_region(u64 start, u64 size)
{
	release_mem_region(start, size);
}

/*
 * The last address that can be mapped linearly. powerpc does not limit the
 * pluggable range accordingly, but refuses ranges that reach the vmalloc area
 * (hash__create_section_mapping(), radix__create_section_mapping()).
 */
u64 hmm_cdm_helper_max_phys(void)
{
	u64 last = mhp_get_pluggable_range(true).end;

#ifdef CONFIG_PPC_BOOK3S_64
	last = min(last, round_down(VMALLOC_START - PAGE_OFFSET - 1,
				    (u64)memremap_compat_align()) - 1);
#endif
	return last;
}

/* Whether @nid is possible and has the node data that arch_add_memory() reads. */
bool hmm_cdm_helper_nid_possible(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_possible(nid) &&
	       NODE_DATA(nid);
}

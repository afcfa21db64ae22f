// SPDX-License-Identifier: GPL-2.0
/*
 * The dmem cgroup controller: exported functions where the kernel has it, inline
 * stubs where it does not.
 */

#include <linux/cgroup_dmem.h>

/* The name of a region is a format. */
struct dmem_cgroup_region *
hmm_cdm_helper_dmem_register(const struct dmem_cgroup_init *init, const char *name)
{
	return dmem_cgroup_register_region(init, "hmm_cdm/%s", name);
}

void hmm_cdm_helper_dmem_unregister(struct dmem_cgroup_region *region)
{
	dmem_cgroup_unregister_region(region);
}

/* Does not ask which pool is at its limit: the caller evicts nothing on failure. */
int hmm_cdm_helper_dmem_try_charge(struct dmem_cgroup_region *region, u64 size,
				   struct dmem_cgroup_pool_state **pool)
{
	return dmem_cgroup_try_charge(region, size, pool, NULL);
}

void hmm_cdm_helper_dmem_uncharge(struct dmem_cgroup_pool_state *pool, u64 size)
{
	dmem_cgroup_uncharge(pool, size);
}

bool hmm_cdm_helper_dmem_evict_valuable(struct dmem_cgroup_pool_state *limit,
					struct dmem_cgroup_pool_state *pool,
					bool ignore_low, bool *hit_low)
{
	return dmem_cgroup_state_evict_valuable(limit, pool, ignore_low, hit_low);
}

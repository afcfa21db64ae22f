// SPDX-License-Identifier: GPL-2.0
/*
 * The device tree. With CONFIG_OF=n these are stubs that find nothing. Functions
 * that return a node return it with a reference.
 */

#include <linux/device.h>
#include <linux/of.h>

struct device_node *hmm_cdm_helper_of_get(struct device_node *np)
{
	return of_node_get(np);
}

void hmm_cdm_helper_of_put(struct device_node *np)
{
	of_node_put(np);
}

struct device_node *hmm_cdm_helper_of_next_compatible(struct device_node *from,
						      const char *name)
{
	return of_find_compatible_node(from, NULL, name);
}

struct device_node *hmm_cdm_helper_of_next_of_type(struct device_node *from,
						   const char *name)
{
	return of_find_node_by_type(from, name);
}

struct device_node *hmm_cdm_helper_of_next_with_property(struct device_node *from,
							 const char *name)
{
	return of_find_node_with_property(from, name);
}

struct device_node *hmm_cdm_helper_of_of_device(struct device *dev)
{
	return of_node_get(dev_of_node(dev));
}

struct device_node *hmm_cdm_helper_of_phandle(struct device_node *np,
					      const char *name)
{
	return of_parse_phandle(np, name, 0);
}

struct device_node *hmm_cdm_helper_of_parent(struct device_node *np)
{
	return of_get_parent(np);
}

const void *hmm_cdm_helper_of_property(struct device_node *np, const char *name,
				       int *len)
{
	return of_get_property(np, name, len);
}

int hmm_cdm_helper_of_addr_cells(struct device_node *np)
{
	return of_n_addr_cells(np);
}

int hmm_cdm_helper_of_size_cells(struct device_node *np)
{
	return of_n_size_cells(np);
}

/*
 * Only powerpc exports its of_node_to_nid(). Elsewhere a memory node has the
 * number itself (of_numa_parse_memory_nodes() in drivers/of/of_numa.c).
 */
int hmm_cdm_helper_of_nid(struct device_node *np)
{
#ifdef CONFIG_PPC
	return of_node_to_nid(np);
#else
	u32 nid;

	return of_property_read_u32(np, "numa-node-id", &nid) ? NUMA_NO_NODE :
								nid;
#endif
}

bool hmm_cdm_helper_of_available(struct device_node *np)
{
	return of_device_is_available(np);
}

/* Rust's formatting has no %pOF. Returns the length, without the NUL. */
size_t hmm_cdm_helper_of_path(struct device_node *np, char *path, size_t size)
{
	return scnprintf(path, size, "%pOF", np);
}

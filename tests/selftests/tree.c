// SPDX-License-Identifier: GPL-2.0
/*
 * Memory nodes of the device tree: good ones become devices with what the tree
 * says, broken ones are refused, with the reason in the log.
 *
 * For a machine whose device tree has good nodes and one node for each of
 * defects[]. These have a property "hmm-cdm,defect" with the defect's name, and
 * are good nodes of coherent device memory otherwise. Only "usable" has a
 * device_type, as its memory becomes RAM of the kernel. The kernel's own scan of
 * memory nodes cannot cope with the others (a short reg makes
 * parse_numa_properties() run past its end); without a device_type only the
 * driver looks at them. So their addresses may be any outside RAM.
 *
 *	compatible	another string before CDM_COMPATIBLE
 *	disabled	status is "disabled"
 *	no-reg		without reg
 *	short-reg	reg of 12 bytes
 *	empty-reg	reg with a size of zero
 *	two-regs	reg of two ranges
 *	no-usable	without linux,usable-memory
 *	usable		linux,usable-memory of all of it; device_type
 *	short-usable	linux,usable-memory of 4 bytes
 *	no-node		without ibm,associativity
 *	ram		reg inside the system's own RAM
 *	misaligned	reg that starts 4 KiB above an aligned address
 *	no-memory	only the device_type is missing
 *
 * There is no memory above one of the good nodes.
 *
 * The tree also needs a PCI bus below the root (device_type "pciex") with a
 * device whose memory-region points to a good node and that has
 * ibm,device-tgt-addr, and a device whose memory-region points to other memory.
 */
#include <dirent.h>
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_tree.h"

static const struct defect {
	const char *name;
	int err;
	const char *message;
} defects[] = {
	{ "compatible", ENODEV, "first string of compatible" },
	{ "disabled", ENODEV, "status" },
	{ "no-reg", EINVAL, "has no reg" },
	{ "short-reg", EINVAL, "reg has 12 bytes" },
	{ "empty-reg", EINVAL, "size in reg is zero" },
	{ "two-regs", EINVAL, "reg has 2 ranges" },
	{ "no-usable", EBUSY, "has no linux,usable-memory" },
	{ "usable", EBUSY, "linux,usable-memory gives" },
	{ "short-usable", EINVAL, "linux,usable-memory has 4 bytes" },
	{ "no-node", ENXIO, "no NUMA node" },
	{ "ram", EBUSY, "RAM in use" },
	{ "misaligned", EINVAL, "has to be a multiple" },
	{ "no-memory", ENODEV, "device tree has no memory" },
};

#define SEED			CDM_SEED(TREE)
#define LINES			256

/* Memory nodes of the tree, and the log from loading the driver. */
struct tree {
	struct cdm_memory memories[CDM_TREE_MAX];
	int nr;
	int good;
	char lines[LINES][512];
	int nr_lines;
};

FIXTURE(tree) {
	struct cdm_found found;
	struct tree *tree;
};

static bool is_good(const struct cdm_memory *memory)
{
	return memory->device && !memory->defect[0];
}

/* Whether firmware, and not a hypervisor, has made the device tree. */
static bool is_powernv(void)
{
	char compatible[256];
	long length = cdm_property("", "compatible", compatible, sizeof(compatible));

	for (long i = 0; i < length; i += strlen(compatible + i) + 1)
		if (!strcmp(compatible + i, "ibm,powernv"))
			return true;
	return false;
}

FIXTURE_SETUP(tree)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	if (!is_powernv())
		SKIP(return, "not a POWER machine on bare metal");
	ASSERT_NE(NULL, tree);
	self->tree = tree;
	tree->nr = cdm_memories(tree->memories);
	for (int i = 0; i < tree->nr; i++)
		tree->good += is_good(&tree->memories[i]);
	ASSERT_LE(CDM_NODES, tree->good);
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
}

/* In the parent, where all files of the test are closed. */
FIXTURE_TEARDOWN_PARENT(tree)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* Loads the driver for the tree's regions, and keeps the log. */
static int load(struct tree *tree)
{
	int log = cdm_log_open(), err;

	if (log < 0)
		return log;
	err = cdm_load(CDM_EMU, NULL);
	while (tree->nr_lines < LINES &&
	       cdm_log_find(log, "", tree->lines[tree->nr_lines],
			    sizeof(*tree->lines)))
		tree->nr_lines++;
	close(log);
	return err;
}

/* Whether a line of the log about the node @path contains @text. */
static bool said(const struct tree *tree, const char *path,
		 const char *text)
{
	char node[160];

	snprintf(node, sizeof(node), "%s: ", path);
	for (int i = 0; i < tree->nr_lines; i++)
		if (strstr(tree->lines[i], node) &&
		    strstr(tree->lines[i], text))
			return true;
	return false;
}

/* Opens the device of the tree's node @path. */
static int open_device_of(const char *path, struct cdm *cdm)
{
	for (int i = 0; cdm_node_exists(i); i++) {
		int err = cdm_open(cdm, i);

		if (err)
			return err;
		if (!strcmp((const char *)cdm->info.origin, path))
			return 0;
		cdm_close(cdm);
	}
	return -ENOENT;
}

static void expect_bound(struct __test_metadata *_metadata,
			 const struct cdm_memory *memory)
{
	struct cdm cdm;
	char *mem;

	TH_LOG("%s", memory->path);
	ASSERT_EQ(0, open_device_of(memory->path, &cdm));
	EXPECT_EQ(memory->start, cdm.info.start);
	EXPECT_EQ(memory->size, cdm.info.capacity);
	EXPECT_EQ(memory->node, cdm.info.numa_node);
	EXPECT_TRUE(cdm_iomem_has(memory->start, memory->size, "hmm_cdm"));
	mem = cdm_map(&cdm, cdm.window);
	ASSERT_NE(NULL, mem);
	EXPECT_EQ(0, cdm_migrate(&cdm, mem, cdm.window, NODE, NULL));
	EXPECT_EQ(cdm.window / cdm.page, cdm_on_node(&cdm, mem, cdm.window));
	cdm_fill(mem, cdm.window, SEED);
	EXPECT_EQ(-1, cdm_check(mem, cdm.window, SEED));
	munmap(mem, cdm.window);
	cdm_close(&cdm);
}

/* There is a device for each good node, and no other device. */
TEST_F_TIMEOUT(tree, good_ones_are_bound, 60)
{
	struct tree *tree = self->tree;

	ASSERT_EQ(0, load(tree));
	for (int i = 0; i < tree->nr; i++)
		if (is_good(&tree->memories[i]))
			expect_bound(_metadata, &tree->memories[i]);
	EXPECT_TRUE(cdm_node_exists(tree->good - 1));
	EXPECT_FALSE(cdm_node_exists(tree->good));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	for (int i = 0; i < tree->nr; i++)
		EXPECT_FALSE(cdm_iomem_has(tree->memories[i].start,
					   tree->memories[i].size, "hmm_cdm"));
}

/* The log names each broken node, its defect and the errno. */
TEST_F_TIMEOUT(tree, broken_ones_are_refused, 60)
{
	struct tree *tree = self->tree;
	int found = 0;

	ASSERT_EQ(0, load(tree));
	for (size_t i = 0; i < ARRAY_SIZE(defects); i++) {
		const struct defect *defect = &defects[i];
		const struct cdm_memory *memory = NULL;
		char unused[64];
		struct cdm cdm;

		for (int k = 0; k < tree->nr; k++)
			if (!strcmp(tree->memories[k].defect, defect->name))
				memory = &tree->memories[k];
		TH_LOG("%s: %s", defect->name, memory ? memory->path : "");
		ASSERT_NE(NULL, memory);
		found++;
		EXPECT_TRUE(said(tree, memory->path, defect->message));
		snprintf(unused, sizeof(unused), "not used (error -%d)",
			 defect->err);
		EXPECT_TRUE(said(tree, memory->path, unused));
		EXPECT_EQ(-ENOENT, open_device_of(memory->path, &cdm));
		EXPECT_FALSE(cdm_iomem_has(memory->start, memory->size,
					   "hmm_cdm"));
	}
	/* Good nodes are not complained about. */
	for (int i = 0; i < tree->nr; i++)
		if (is_good(&tree->memories[i]))
			EXPECT_FALSE(said(tree, tree->memories[i].path,
					  "not used"));
	/* Every defect of the tree was tested. */
	for (int i = 0; i < tree->nr; i++)
		found -= !!tree->memories[i].defect[0];
	EXPECT_EQ(0, found);
}

/* The node of the device tree that has @phandle. */
static const struct cdm_memory *
pointed_to(const struct tree *tree, __u32 phandle)
{
	for (int i = 0; i < tree->nr; i++)
		if (tree->memories[i].phandle == phandle)
			return &tree->memories[i];
	return NULL;
}

/*
 * Checks the log about the memory that a PCI device points to. Returns 1 if that
 * is a good node, -1 if the device points to none.
 */
static int expect_pointer(struct __test_metadata *_metadata,
			  const struct tree *tree, const char *path)
{
	unsigned char value[16];
	const struct cdm_memory *memory;
	char text[600];

	if (cdm_property(path, "memory-region", value, sizeof(value)) != 4)
		return -1;
	memory = pointed_to(tree, cdm_number(value, 4));
	TH_LOG("%s -> %s", path, memory ? memory->path : "");
	if (memory && is_good(memory)) {
		EXPECT_EQ(8, cdm_property(path, "ibm,device-tgt-addr", value,
					  sizeof(value)));
		snprintf(text, sizeof(text), "memory of %s, there at %#llx",
			 path, (unsigned long long)cdm_number(value, 8));
		EXPECT_TRUE(said(tree, memory->path, text));
		return 1;
	}
	/* memory-region has other uses, which the driver ignores. */
	snprintf(text, sizeof(text), "memory of %s", path);
	EXPECT_FALSE(memory && said(tree, memory->path, text));
	return 0;
}

TEST_F(tree, pci_devices_point_to_it)
{
	struct tree *tree = self->tree;
	DIR *root = opendir(CDM_TREE);
	int seen[2] = {};
	struct dirent *bus;

	ASSERT_NE(NULL, root);
	ASSERT_EQ(0, load(tree));
	while ((bus = readdir(root))) {
		char path[512], type[16] = "";
		struct dirent *device;
		DIR *devices;

		snprintf(path, sizeof(path), "/%s", bus->d_name);
		cdm_property(path, "device_type", type, sizeof(type));
		if (strcmp(type, "pciex"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", CDM_TREE, bus->d_name);
		devices = opendir(path);
		ASSERT_NE(NULL, devices);
		while ((device = readdir(devices))) {
			int kind;

			snprintf(path, sizeof(path), "/%.120s/%.120s",
				 bus->d_name, device->d_name);
			kind = expect_pointer(_metadata, tree, path);
			if (kind >= 0)
				seen[kind]++;
		}
		closedir(devices);
	}
	closedir(root);
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
}

/* A region given by parameter is used alone, on the NUMA node of the tree. */
TEST_F(tree, named_region)
{
	struct tree *tree = self->tree;
	const struct cdm_memory *memory = NULL;
	char text[96];
	struct cdm cdm;

	for (int i = 0; i < tree->nr; i++)
		if (is_good(&tree->memories[i]))
			memory = &tree->memories[i];
	ASSERT_NE(NULL, memory);
	snprintf(text, sizeof(text), "0x%llx+0x%llx",
		 (unsigned long long)memory->start,
		 (unsigned long long)memory->size);
	ASSERT_EQ(0, cdm_load(CDM_EMU, text));
	EXPECT_FALSE(cdm_node_exists(1));
	ASSERT_EQ(0, cdm_open(&cdm, 0));
	EXPECT_EQ(memory->start, cdm.info.start);
	EXPECT_EQ(memory->node, cdm.info.numa_node);
	EXPECT_STREQ("", (const char *)cdm.info.origin);
	cdm_close(&cdm);
}

/* A range without memory in the tree is refused untouched: it may not exist. */
TEST_F(tree, named_hole)
{
	const __u64 size = 256ULL << 20;
	char text[96], line[512] = "";
	int log = cdm_log_open();
	__u64 start;

	ASSERT_LE(0, log);
	ASSERT_TRUE(cdm_iomem_hole(size, &start));
	snprintf(text, sizeof(text), "0x%llx+0x%llx",
		 (unsigned long long)start, (unsigned long long)size);
	EXPECT_EQ(-ENODEV, cdm_load(CDM_EMU, text));
	EXPECT_TRUE(cdm_log_find(log, text, line, sizeof(line)));
	EXPECT_NE(NULL, strstr(line, "device tree has no memory"));
}

/* Whether there is memory at @addr, the kernel's or a device's. */
static bool is_memory(const struct tree *tree, __u64 addr)
{
	for (int i = 0; i < tree->nr; i++) {
		const struct cdm_memory *memory = &tree->memories[i];

		if (memory->online && addr >= memory->start &&
		    addr - memory->start < memory->size)
			return true;
	}
	return false;
}

/* A range that extends past the end of memory is refused. */
TEST_F(tree, named_beyond_the_end)
{
	struct tree *tree = self->tree;
	const __u64 more = 256ULL << 20;
	int tried = 0;

	for (int i = 0; i < tree->nr; i++) {
		const struct cdm_memory *memory = &tree->memories[i];
		char text[96];

		if (!is_good(memory) ||
		    is_memory(tree, memory->start + memory->size))
			continue;
		snprintf(text, sizeof(text), "0x%llx+0x%llx",
			 (unsigned long long)memory->start,
			 (unsigned long long)(memory->size + more));
		TH_LOG("region=%s", text);
		EXPECT_EQ(-ENODEV, cdm_load(CDM_EMU, text));
		tried++;
	}
	EXPECT_LT(0, tried);
}

TEST_HARNESS_MAIN

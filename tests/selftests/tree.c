// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that the device tree describes: what is right is bound with what the
 * tree says of it, what is not is refused and named.
 *
 * For a machine whose device tree has, besides nodes that are right, those of
 * defects[] below: each has a property "hmm-cdm,defect" with the name from
 * there, and is otherwise a node of coherent device memory of its own address
 * and NUMA node. Only these have a device_type: what the kernel's own scan of
 * memory nodes can bear. The others are seen by the driver alone.
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
 *	ram		reg inside the system's own RAM; device_type
 *	misaligned	reg that begins 4 KiB behind a good address
 *	no-memory	nothing wrong, but no device_type "memory" there
 *
 * And for a PCI bus below the root (device_type "pciex") that has a device
 * whose memory-region points to a node that is right, with an
 * ibm,device-tgt-addr, and one whose memory-region points to other memory.
 */
#include <dirent.h>
#include <errno.h>
#include <kselftest_harness.h>

#include "cdm_mem.h"
#include "cdm_module.h"
#include "cdm_test.h"
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

#define LINES			256

FIXTURE(tree) {
	struct cdm_found found;
	struct cdm_memory memories[CDM_TREE_MAX];
	int nr;
	int good;
	char (*lines)[512];	/* of the log, while the driver was loaded */
	int nr_lines;
};

static bool is_good(const struct cdm_memory *memory)
{
	return memory->device && !memory->defect[0];
}

FIXTURE_SETUP(tree)
{
	self->nr = cdm_memories(self->memories);
	for (int i = 0; i < self->nr; i++)
		self->good += is_good(&self->memories[i]);
	ASSERT_LE(CDM_NODES, self->good);
	self->lines = calloc(LINES, sizeof(*self->lines));
	ASSERT_NE(NULL, self->lines);
	ASSERT_EQ(0, cdm_remember(&self->found));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
}

/* In the parent, so that it runs with all files of the test closed. */
FIXTURE_TEARDOWN_PARENT(tree)
{
	ASSERT_EQ(0, cdm_restore(&self->found));
}

/* Load for what the tree has, and keep what is said meanwhile. */
static int load(FIXTURE_DATA(tree) *self)
{
	int log = cdm_log_open(), err;

	if (log < 0)
		return log;
	err = cdm_load(CDM_EMU, NULL);
	while (self->nr_lines < LINES &&
	       cdm_log_find(log, "", self->lines[self->nr_lines],
			    sizeof(*self->lines)))
		self->nr_lines++;
	close(log);
	return err;
}

/* Whether one line says @text of the node @path. */
static bool said(const FIXTURE_DATA(tree) *self, const char *path,
		 const char *text)
{
	char node[160];

	snprintf(node, sizeof(node), "%s: ", path);
	for (int i = 0; i < self->nr_lines; i++)
		if (strstr(self->lines[i], node) &&
		    strstr(self->lines[i], text))
			return true;
	return false;
}

/* Open the device that was made of the node @path. */
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
	EXPECT_EQ(0, cdm_migrate(&cdm, mem, cdm.window, HMM_CDM_TARGET_NODE,
				 NULL));
	EXPECT_EQ(cdm.window / cdm.page, cdm_on_node(&cdm, mem, cdm.window));
	cdm_fill(mem, cdm.window, 1);
	EXPECT_EQ(-1, cdm_check(mem, cdm.window, 1));
	munmap(mem, cdm.window);
	cdm_close(&cdm);
}

/* Each node that is right is a device, and there are no others. */
TEST_F_TIMEOUT(tree, good_ones_are_bound, 60)
{
	ASSERT_EQ(0, load(self));
	for (int i = 0; i < self->nr; i++)
		if (is_good(&self->memories[i]))
			expect_bound(_metadata, &self->memories[i]);
	EXPECT_TRUE(cdm_node_exists(self->good - 1));
	EXPECT_FALSE(cdm_node_exists(self->good));
	ASSERT_EQ(0, cdm_unload(CDM_EMU));
	for (int i = 0; i < self->nr; i++)
		EXPECT_FALSE(cdm_iomem_has(self->memories[i].start,
					   self->memories[i].size, "hmm_cdm"));
}

/* Each that is not is named in the log, with what is wrong and the errno. */
TEST_F_TIMEOUT(tree, broken_ones_are_refused, 60)
{
	int found = 0;

	ASSERT_EQ(0, load(self));
	for (size_t i = 0; i < ARRAY_SIZE(defects); i++) {
		const struct defect *defect = &defects[i];
		const struct cdm_memory *memory = NULL;
		char unused[64];
		struct cdm cdm;

		for (int k = 0; k < self->nr; k++)
			if (!strcmp(self->memories[k].defect, defect->name))
				memory = &self->memories[k];
		TH_LOG("%s: %s", defect->name, memory ? memory->path : "");
		ASSERT_NE(NULL, memory);
		found++;
		EXPECT_TRUE(said(self, memory->path, defect->message));
		snprintf(unused, sizeof(unused), "not used (error -%d)",
			 defect->err);
		EXPECT_TRUE(said(self, memory->path, unused));
		EXPECT_EQ(-ENOENT, open_device_of(memory->path, &cdm));
		EXPECT_FALSE(cdm_iomem_has(memory->start, memory->size,
					   "hmm_cdm"));
	}
	/* Of those that are right nothing of the kind is said. */
	for (int i = 0; i < self->nr; i++)
		if (is_good(&self->memories[i]))
			EXPECT_FALSE(said(self, self->memories[i].path,
					  "not used"));
	/* And there is no defect that nobody has looked at. */
	for (int i = 0; i < self->nr; i++)
		found -= !!self->memories[i].defect[0];
	EXPECT_EQ(0, found);
}

/* The node of the device tree that @phandle is of. */
static const struct cdm_memory *
pointed_to(const FIXTURE_DATA(tree) *self, __u32 phandle)
{
	for (int i = 0; i < self->nr; i++)
		if (self->memories[i].phandle == phandle)
			return &self->memories[i];
	return NULL;
}

/* What the log says of a PCI device that points to memory; 1 if it is right */
static int expect_pointer(struct __test_metadata *_metadata,
			  const FIXTURE_DATA(tree) *self, const char *path)
{
	unsigned char value[16];
	const struct cdm_memory *memory;
	char text[600];

	if (cdm_property(path, "memory-region", value, sizeof(value)) != 4)
		return -1;
	memory = pointed_to(self, cdm_number(value, 4));
	TH_LOG("%s -> %s", path, memory ? memory->path : "");
	if (memory && is_good(memory)) {
		EXPECT_EQ(8, cdm_property(path, "ibm,device-tgt-addr", value,
					  sizeof(value)));
		snprintf(text, sizeof(text), "memory of %s, there at %#llx",
			 path, (unsigned long long)cdm_number(value, 8));
		EXPECT_TRUE(said(self, memory->path, text));
		return 1;
	}
	EXPECT_TRUE(said(self, path, "is no coherent device memory"));
	return 0;
}

TEST_F(tree, pci_devices_point_to_it)
{
	DIR *root = opendir(CDM_TREE);
	int seen[2] = {};
	struct dirent *bus;

	ASSERT_NE(NULL, root);
	ASSERT_EQ(0, load(self));
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
			kind = expect_pointer(_metadata, self, path);
			if (kind >= 0)
				seen[kind]++;
		}
		closedir(devices);
	}
	closedir(root);
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
}

/* A region that is named is used alone, and gets its NUMA node from the tree */
TEST_F(tree, named_region)
{
	const struct cdm_memory *memory = NULL;
	char text[96];
	struct cdm cdm;

	for (int i = 0; i < self->nr; i++)
		if (is_good(&self->memories[i]))
			memory = &self->memories[i];
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

/* Where the tree has no memory nothing is touched: it may not even be there */
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

/* Whether memory that the kernel knows of, or a device's, is at @addr. */
static bool is_memory(const FIXTURE_DATA(tree) *self, __u64 addr)
{
	for (int i = 0; i < self->nr; i++) {
		const struct cdm_memory *memory = &self->memories[i];

		if (memory->online && addr >= memory->start &&
		    addr - memory->start < memory->size)
			return true;
	}
	return false;
}

/* Memory that ends too early is none. */
TEST_F(tree, named_beyond_the_end)
{
	const __u64 more = 256ULL << 20;
	int tried = 0;

	for (int i = 0; i < self->nr; i++) {
		const struct cdm_memory *memory = &self->memories[i];
		char text[96];

		if (!is_good(memory) ||
		    is_memory(self, memory->start + memory->size))
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

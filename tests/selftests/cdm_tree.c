// SPDX-License-Identifier: GPL-2.0
/*
 * Memory nodes of the device tree; see cdm_tree.h.
 */
#include "cdm_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CELL			4

long cdm_property(const char *path, const char *name, void *value, size_t size)
{
	char *text = value;
	char file[512];
	ssize_t n;
	int fd;

	snprintf(file, sizeof(file), "%s%s/%s", CDM_TREE, path, name);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

__u64 cdm_number(const unsigned char *value, size_t bytes)
{
	__u64 number = 0;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | value[i];
	return number;
}

/* #address-cells or #size-cells of the root node. */
static size_t root_cells(const char *name, size_t otherwise)
{
	unsigned char value[CELL + 1];

	if (cdm_property("", name, value, sizeof(value)) != CELL)
		return otherwise;
	return cdm_number(value, CELL);
}

static void read_reg(struct cdm_memory *memory)
{
	size_t address = CELL * root_cells("#address-cells", 2);
	size_t size = CELL * root_cells("#size-cells", 1);
	unsigned char reg[256];

	if (cdm_property(memory->path, "reg", reg, sizeof(reg)) <
	    (long)(address + size))
		return;
	memory->start = cdm_number(reg, address);
	memory->size = cdm_number(reg + address, size);
}

/*
 * The last associativity domain: the NUMA node, where all levels have the same
 * number, as for device memory.
 */
static int read_node(const char *path)
{
	unsigned char value[64];
	long n = cdm_property(path, "ibm,associativity", value, sizeof(value));

	return n < 2 * CELL ? -1 : (int)cdm_number(value + n - CELL, CELL);
}

static bool read_memory(struct cdm_memory *memory)
{
	char type[16] = "", strings[256] = "";
	unsigned char phandle[CELL + 1];
	long length;

	cdm_property(memory->path, "device_type", type, sizeof(type));
	memory->online = !strcmp(type, "memory");
	length = cdm_property(memory->path, "compatible", strings,
			      sizeof(strings));
	for (char *s = strings; s < strings + length; s += strlen(s) + 1)
		memory->device |= !strcmp(s, CDM_COMPATIBLE);
	if (!memory->online && !memory->device)
		return false;

	cdm_property(memory->path, "hmm-cdm,defect", memory->defect,
		     sizeof(memory->defect));
	if (cdm_property(memory->path, "phandle", phandle,
			 sizeof(phandle)) == CELL)
		memory->phandle = cdm_number(phandle, CELL);
	read_reg(memory);
	memory->node = read_node(memory->path);
	return true;
}

/* Memory nodes are children of the root (devicetree specification, 3.4). */
int cdm_memories(struct cdm_memory *memories)
{
	DIR *root = opendir(CDM_TREE);
	struct dirent *entry;
	int nr = 0;

	if (!root)
		return 0;
	while (nr < CDM_TREE_MAX && (entry = readdir(root))) {
		struct cdm_memory *memory = &memories[nr];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		memset(memory, 0, sizeof(*memory));
		snprintf(memory->path, sizeof(memory->path), "/%.120s",
			 entry->d_name);
		nr += read_memory(memory);
	}
	closedir(root);
	return nr;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Load and unload the modules; see cdm_module.h.
 */
#include "cdm_module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cdm_calls.h"
#include "cdm_tree.h"

static void node_path(char *path, size_t size, unsigned int index)
{
	snprintf(path, size, "/dev/hmm_cdm%u", index);
}

int cdm_regions(struct cdm_region *regions, char *list, size_t size)
{
	const char *env = getenv("CDM_REGIONS");
	char *copy, *word, *save;
	int nr = 0;

	if (list)
		list[0] = '\0';
	if (!env)
		return 0;
	copy = strdup(env);
	if (!copy)
		return 0;
	for (word = strtok_r(copy, " ,", &save);
	     word && nr < CDM_REGIONS_MAX;
	     word = strtok_r(NULL, " ,", &save)) {
		struct cdm_region *r = &regions[nr];
		char *end;

		r->start = strtoull(word, &end, 16);
		r->size = *end == '+' ? strtoull(end + 1, &end, 16) : 0;
		r->node = *end == '@' ? strtol(end + 1, NULL, 10) : -1;
		snprintf(r->text, sizeof(r->text), "%s", word);
		if (list)
			snprintf(list + strlen(list), size - strlen(list),
				 "%s%s", nr ? "," : "", word);
		nr++;
	}
	free(copy);
	return nr;
}

int cdm_insert(const char *module, const char *params)
{
	const char *folder = getenv("CDM_MODDIR");
	char path[256];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s.ko",
		 folder ? folder : "/lib/modules/hmm_cdm", module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return err;
}

int cdm_load(const char *module, const char *regions)
{
	char params[2048] = "";

	if (regions)
		snprintf(params, sizeof(params), "region=%s", regions);
	return cdm_insert(module, params);
}

int cdm_unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

bool cdm_loaded(const char *module)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", module);
	return access(path, F_OK) == 0;
}

bool cdm_node_exists(unsigned int index)
{
	char path[32];

	node_path(path, sizeof(path), index);
	return access(path, F_OK) == 0;
}

int cdm_remember(struct cdm_found *found)
{
	FILE *f = fopen("/sys/module/" CDM_EMU "/parameters/region", "r");
	char path[32];
	struct stat st;

	if (!f)
		return -errno;
	if (!fgets(found->list, sizeof(found->list), f))
		found->list[0] = '\0';
	fclose(f);
	found->list[strcspn(found->list, "\n")] = '\0';
	if (!strcmp(found->list, "(null)"))
		found->list[0] = '\0';

	node_path(path, sizeof(path), 0);
	if (stat(path, &st))
		return -errno;
	found->mode = st.st_mode & 0777;
	found->uid = st.st_uid;
	found->gid = st.st_gid;
	return 0;
}

int cdm_restore(const struct cdm_found *found)
{
	char path[32];
	int err = 0;

	/* A test may have left it with some of the regions, or none. */
	if (cdm_loaded(CDM_EMU))
		err = cdm_unload(CDM_EMU);
	if (!err && !cdm_loaded(CDM_CORE))
		err = cdm_load(CDM_CORE, NULL);
	if (!err)
		err = cdm_load(CDM_EMU, found->list[0] ? found->list : NULL);
	for (int i = 0; !err && cdm_node_exists(i); i++) {
		node_path(path, sizeof(path), i);
		if (chmod(path, found->mode) ||
		    chown(path, found->uid, found->gid))
			err = -errno;
	}
	return err;
}

int cdm_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

bool cdm_log_find(int fd, const char *text, char *line, size_t size)
{
	char record[8192];
	ssize_t n;

	/* Each read returns one record: "level,number,time,flags;message\n". */
	while ((n = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (n < 0 && errno == EPIPE)) {
		char *message;

		if (n < 0)
			continue;
		record[n] = '\0';
		message = strchr(record, ';');
		if (!message)
			continue;
		message++;
		message[strcspn(message, "\n")] = '\0';
		if ((strstr(message, CDM_EMU) || strstr(message, CDM_CORE)) &&
		    strstr(message, text)) {
			snprintf(line, size, "%s", message);
			return true;
		}
	}
	return false;
}

bool cdm_iomem_has(__u64 start, __u64 size, const char *name)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long from, to;
	bool found = false;
	char line[256];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %llx-%llx", &from, &to) == 2 &&
			from == start && to == start + size - 1 &&
			strstr(line, name);
	fclose(f);
	return found;
}

bool cdm_iomem_ram(__u64 size, __u64 *start)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long from, to;
	bool found = false;
	char line[256];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx", &from, &to) != 2 ||
		    !strstr(line, " : System RAM"))
			continue;
		*start = (from + size - 1) / size * size;
		found = *start + size - 1 <= to;
	}
	fclose(f);
	return found;
}

#ifdef __x86_64__
/* Above everything in use or reserved, and below I/O. */
bool cdm_iomem_hole(__u64 size, __u64 *start)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long from, to;
	char line[256];

	if (!f)
		return false;
	/* Entries are sorted by address: each moves the start up. */
	*start = 1ULL << 32;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx", &from, &to) == 2 &&
		    (strstr(line, " : System RAM") ||
		     strstr(line, " : Reserved")) &&
		    from < *start + size && to >= *start)
			*start = (to + size) / size * size;
	fclose(f);
	return true;
}

#else
/* Above the last memory of the device tree. */
bool cdm_iomem_hole(__u64 size, __u64 *start)
{
	struct cdm_memory memories[CDM_TREE_MAX];
	int nr = cdm_memories(memories);
	bool found = false;

	*start = 0;
	for (int i = 0; i < nr; i++) {
		__u64 end = memories[i].start + memories[i].size;

		if (!memories[i].online)
			continue;
		found = true;
		if (end > *start)
			*start = end;
	}
	*start = (*start + size - 1) / size * size;
	return found;
}
#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * cdmrun: run a program with its heap in device memory, without a change to it.
 * See cdmrun.1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdmrun.h"

#define LIBRARY			"libcdmrun.so"
#define ALLOCATOR		"libjemalloc.so.2"

/*
 * The allocator's options. It keeps what is freed: given back to the kernel and
 * used again, it would have to be placed again, which zeroes it each time.
 */
#define ENV_OPTIONS		"MALLOC_CONF"
#define OPTIONS			"dirty_decay_ms:-1"

/* As the shell has them. */
#define CANNOT_RUN		126
#define NOT_FOUND		127

static const struct option options[] = {
	{ "node", required_argument, NULL, 'n' },
	{ "min-size", required_argument, NULL, 'm' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static void help(FILE *to)
{
	fputs("usage: cdmrun [--node N] [--min-size BYTES[K|M|G]] [--quiet]\n"
	      "              PROGRAM [ARGUMENT]...\n", to);
}

static unsigned long long size(const char *text)
{
	static const char units[] = "KMG";
	unsigned long long value;
	const char *unit;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		errx(2, "'%s' is not a number of bytes", text);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		value <<= 10 * (unit - units + 1);
		end++;
	}
	if (*end)
		errx(2, "'%s' is not a number of bytes", text);
	return value;
}

/* The file that @name is, as execvp() finds it. */
static const char *find(const char *name)
{
	static char path[PATH_MAX];
	const char *dirs = getenv("PATH");

	if (strchr(name, '/'))
		return access(name, F_OK) ? NULL : name;
	for (const char *dir = dirs ? dirs : "/usr/bin:/bin"; ; ) {
		size_t len = strcspn(dir, ":");

		snprintf(path, sizeof(path), "%.*s%s%s", (int)len, dir,
			 len ? "/" : "", name);
		if (!access(path, X_OK))
			return path;
		if (!dir[len])
			return NULL;
		dir += len + 1;
	}
}

/* Why the loader would not preload anything into it; NULL if it does. */
static const char *refused(const char *path)
{
	const char *why = "is neither a program nor a script";
	union {
		unsigned char ident[EI_NIDENT];
		struct elf64_hdr elf;
	} head = {};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return "cannot be read";
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		why = "is no file";
	} else if (st.st_mode & (S_ISUID | S_ISGID)) {
		why = "has rights of its own (setuid): nothing is preloaded into it";
	} else {
		len = pread(fd, &head, sizeof(head), 0);
		if (len >= 2 && !memcmp(head.ident, "#!", 2)) {
			why = NULL;
		} else if (len == sizeof(head) &&
			   !memcmp(head.ident, ELFMAG, SELFMAG) &&
			   head.ident[EI_CLASS] == ELFCLASS64) {
			why = "is linked statically: nothing can be preloaded into it";
			for (int i = 0; why && i < head.elf.e_phnum; i++) {
				struct elf64_phdr ph;
				off_t at = head.elf.e_phoff +
					   (off_t)i * head.elf.e_phentsize;

				if (pread(fd, &ph, sizeof(ph), at) == sizeof(ph) &&
				    ph.p_type == PT_INTERP)
					why = NULL;
			}
		}
	}
	close(fd);
	return why;
}

/* The library: beside this program as it was built, or where it is installed. */
static const char *library(void)
{
	static const char *const places[] = { "", "../lib/", "../lib/hmm-cdm/" };
	static char path[PATH_MAX];
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len < 0)
		err(CANNOT_RUN, "/proc/self/exe");
	self[len] = 0;
	slash = strrchr(self, '/');
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%.*s/%s" LIBRARY,
			 (int)(slash - self), self, places[i]);
		if (!access(path, R_OK))
			return path;
	}
	errx(CANNOT_RUN, LIBRARY " is not beside %s, nor in ../lib/hmm-cdm", self);
}

static void set(const char *name, unsigned long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", value);
	if (setenv(name, text, 1))
		err(CANNOT_RUN, "%s", name);
}

/* Put @value before what the variable @name has, if that is anything. */
static void put_before(const char *name, const char *value, char separator)
{
	const char *before = getenv(name);
	char *text;
	int len;

	if (before && *before)
		len = asprintf(&text, "%s%c%s", value, separator, before);
	else
		len = asprintf(&text, "%s", value);
	if (len < 0 || setenv(name, text, 1))
		err(CANNOT_RUN, "%s", name);
	free(text);
}

int main(int argc, char **argv)
{
	const char *path, *why;
	unsigned long long node = 0, least = LEAST;
	bool quiet = false;
	char *preload;
	int c;

	while ((c = getopt_long(argc, argv, "+n:m:qh", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			node = size(optarg);
			break;
		case 'm':
			least = size(optarg);
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			help(stdout);
			return 0;
		default:
			help(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		help(stderr);
		return 2;
	}

	path = find(argv[optind]);
	if (!path)
		errx(NOT_FOUND, "%s: not found", argv[optind]);
	why = refused(path);
	if (why)
		errx(CANNOT_RUN, "%s %s", path, why);
	set(ENV_NODE, node);
	set(ENV_LEAST, least);
	set(ENV_QUIET, quiet);
	set(ENV_PID, getpid());
	if (asprintf(&preload, "%s:" ALLOCATOR, library()) < 0)
		err(CANNOT_RUN, "LD_PRELOAD");
	put_before("LD_PRELOAD", preload, ':');
	/* The user's come later and prevail. */
	put_before(ENV_OPTIONS, OPTIONS, ',');
	execv(path, argv + optind);
	err(CANNOT_RUN, "%s", path);
}

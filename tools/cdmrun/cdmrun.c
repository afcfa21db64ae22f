// SPDX-License-Identifier: GPL-2.0
/* cdmrun: run an unmodified program with its heap in device memory. See cdmrun(1). */
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
 * Options of jemalloc: keep freed memory. Memory that went back to the kernel would have to be
 * placed and zeroed again at its next use.
 */
#define ENV_OPTIONS		"MALLOC_CONF"
#define OPTIONS			"dirty_decay_ms:-1"

/* The shell's exit statuses. */
#define CANNOT_RUN		126
#define NOT_FOUND		127

static const struct option options[] = {
	{ "node", required_argument, NULL, 'n' },
	{ "min-size", required_argument, NULL, 'm' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static void print_usage(FILE *to)
{
	fputs("usage: cdmrun [--node N] [--min-size BYTES[K|M|G]] [--quiet]\n"
	      "              PROGRAM [ARGUMENT]...\n"
	      "\n"
	      "Runs PROGRAM with its heap on a memory node, from the first touch on.\n"
	      "\n"
	      "  -n, --node N          the node /dev/hmm_cdmN (default 0)\n"
	      "  -m, --min-size BYTES  leave smaller mappings in system memory (default 64K)\n"
	      "  -q, --quiet           print no report when the program exits\n"
	      "  -h, --help            print this\n", to);
}

static unsigned long long parse_size(const char *text)
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

/* Returns the path of the program @name, found as execvp() does, or NULL. */
static const char *find_program(const char *name)
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

/* Returns why the loader cannot preload a library into the program, or NULL if it can. */
static const char *preload_error(const char *path)
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
		why = "is not a regular file";
	} else if (st.st_mode & (S_ISUID | S_ISGID)) {
		why = "is setuid or setgid: nothing is preloaded into it";
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

/*
 * Finds the library: beside this program in a build directory, relative to it where the
 * installation was moved, or in the directory that it was built for.
 */
static const char *find_library(void)
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
	if (access(LIBRARY_DIR "/" LIBRARY, R_OK))
		errx(CANNOT_RUN, LIBRARY " is neither beside %s nor in " LIBRARY_DIR, self);
	return LIBRARY_DIR "/" LIBRARY;
}

static void set_number(const char *name, unsigned long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", value);
	if (setenv(name, text, 1))
		err(CANNOT_RUN, "%s", name);
}

/* Puts @value before the current value of the variable @name, if it has one. */
static void prepend(const char *name, const char *value, char separator)
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
			node = parse_size(optarg);
			break;
		case 'm':
			least = parse_size(optarg);
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			print_usage(stdout);
			return 0;
		default:
			print_usage(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		print_usage(stderr);
		return 2;
	}

	path = find_program(argv[optind]);
	if (!path)
		errx(NOT_FOUND, "%s: not found", argv[optind]);
	why = preload_error(path);
	if (why)
		errx(CANNOT_RUN, "%s %s", path, why);
	set_number(ENV_NODE, node);
	set_number(ENV_LEAST, least);
	set_number(ENV_QUIET, quiet);
	set_number(ENV_PID, getpid());
	if (asprintf(&preload, "%s:" ALLOCATOR, find_library()) < 0)
		err(CANNOT_RUN, "LD_PRELOAD");
	prepend("LD_PRELOAD", preload, ':');
	/* jemalloc reads the user's options last, so they prevail. */
	prepend(ENV_OPTIONS, OPTIONS, ',');
	execv(path, argv + optind);
	err(CANNOT_RUN, "%s", path);
}

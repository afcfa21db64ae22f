// SPDX-License-Identifier: GPL-2.0
/*
 * cdm-demo: a device and a process share the words of a text.
 *
 * The CPU builds a hash table of the words of a file, with malloc() and pointers. The device
 * counts and ranks the words by following the pointers: in system memory, then after the heap has
 * migrated to the device's memory, then while the CPU writes to the same pages. Each time its
 * results have to equal the CPU's own.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "die.h"
#include "expect.h"
#include "heap.h"
#include "report.h"
#include "stages.h"
#include "words.h"

static const char usage[] =
	"usage: cdm-demo [--device /dev/hmm_cdm0] FILE\n"
	"\n"
	"Lets a device with coherent memory count and rank the words of the text\n"
	"FILE by walking the pointers of an ordinary malloc() heap: in system memory,\n"
	"on the device's memory node, and there while the CPU keeps writing to the\n"
	"same pages. Prints counters of each stage, and PASS if the device's results\n"
	"equal the CPU's own each time.\n"
	"\n"
	"  -d, --device PATH   the node to use (default /dev/hmm_cdm0)\n"
	"  -h, --help          print this\n"
	"\n"
	"Self-test: each of these has to print FAIL\n"
	"  --break=count       change one of the device's counts before comparing\n"
	"  --break=hits        drop one addition to a counter that both sides add to\n"
	"  --break=move        do not move the heap to the node\n"
	"\n"
	"Exit status: 0 for PASS, 1 for FAIL, 2 if the demonstration could not run.\n";

/* A demonstration that cannot fail proves nothing: the tests expect FAIL with each of these. */
static enum spoil parse_spoil(const char *name)
{
	if (!strcmp(name, "count"))
		return SPOIL_COUNT;
	if (!strcmp(name, "hits"))
		return SPOIL_HITS;
	if (!strcmp(name, "move"))
		return SPOIL_MOVE;
	die("--break=%s: not known: use count, hits or move", name);
}

static const char *parse_options(int argc, char **argv, const char **device,
				 enum spoil *spoil)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "break", required_argument, NULL, 'b' },
		{ }
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":d:h", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			*device = optarg;
			break;
		case 'b':
			*spoil = parse_spoil(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_PASS);
		case ':':
			die("%s needs a value: see cdm-demo --help", argv[optind - 1]);
		default:
			die("%s: no such option: see cdm-demo --help", argv[optind - 1]);
		}
	}
	if (optind != argc - 1)
		die("name one text file: see cdm-demo --help");
	return argv[optind];
}

int main(int argc, char **argv)
{
	/* Static, as the heap holds the data that migrates. */
	static struct device device;
	static struct expect expect;
	static struct table table;
	static struct text text;
	static struct heap heap;
	static struct stage stages[STAGE_NR];
	struct demo demo = {
		.device = &device,
		.table = &table,
		.expect = &expect,
		.heap = &heap,
	};
	const char *path = "/dev/hmm_cdm0";
	const char *file = parse_options(argc, argv, &path, &demo.spoil);
	int number;

	text_read(&text, file);
	device_open(&device, path);
	table_build(&table, &text);
	expect_make(&expect, &text, &table);
	report_start(&demo, file, &text);
	heap_find(&heap, &table);

	for (number = 0; number < STAGE_NR; number++)
		if (!stage_run(&demo, number, &stages[number]))
			break;

	report_stages(stages);
	if (number == STAGE_NR) {
		report_ranking(&demo);
		printf("\nPASS\n");
	} else {
		printf("\nFAIL: stage %d: %s\n", number + 1, stages[number].failure);
	}
	if (fflush(stdout) || ferror(stdout))
		die("standard output cannot be written");
	return number == STAGE_NR ? EXIT_PASS : EXIT_FAIL;
}

/* SPDX-License-Identifier: GPL-2.0 */
/* The three stages of the demonstration. */
#ifndef CDM_DEMO_STAGES_H
#define CDM_DEMO_STAGES_H

#include <stdbool.h>

#include "stage.h"

struct device;
struct expect;
struct heap;
struct table;

enum stage_number {
	STAGE_SYSTEM,
	STAGE_NODE,
	STAGE_SHARED,
	STAGE_NR,
};

/* The mistake that --break makes on purpose; see main.c. */
enum spoil {
	SPOIL_NOTHING,
	SPOIL_COUNT,
	SPOIL_HITS,
	SPOIL_MOVE,
};

struct demo {
	struct device *device;
	struct table *table;
	struct expect *expect;
	struct heap *heap;
	enum spoil spoil;
};

/*
 * Runs one stage and checks its results. Returns false, with @stage->failure set, if one is wrong.
 */
bool stage_run(const struct demo *demo, enum stage_number number, struct stage *stage);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* The three stages of the demonstration. */
#ifndef CDM_DEMO_STAGES_H
#define CDM_DEMO_STAGES_H

#include "stage.h"

struct device;
struct expect;
struct heap;
struct table;

/* What --break spoils, to show that the comparisons notice. */
enum spoil {
	SPOIL_NOTHING,
	SPOIL_COUNT,
	SPOIL_HITS,
	SPOIL_MOVE,
};

/* Everything that a stage works with. */
struct demo {
	struct device *device;
	struct table *table;
	struct expect *expect;
	struct heap *heap;
	enum spoil spoil;
};

/* Runs one stage and compares; false when @stage->failure says why not. */
bool stage_run(const struct demo *demo, enum stage_number number, struct stage *stage);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* The demonstration's output. */
#ifndef CDM_DEMO_REPORT_H
#define CDM_DEMO_REPORT_H

#include "stages.h"

struct text;

void report_start(const struct demo *demo, const char *path, const struct text *text);
void report_stages(const struct stage *stages);
void report_ranking(const struct demo *demo);

#endif

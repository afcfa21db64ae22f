// SPDX-License-Identifier: GPL-2.0
/* Recording the first check of a stage that failed. */
#include <stdarg.h>
#include <stdio.h>

#include "stage.h"

bool stage_fail(struct stage *stage, const char *format, ...)
{
	va_list arguments;

	if (!stage->failure[0]) {
		va_start(arguments, format);
		vsnprintf(stage->failure, sizeof(stage->failure), format, arguments);
		va_end(arguments);
	}
	return false;
}

bool stage_equal(struct stage *stage, const char *what, __u64 expected, __u64 got)
{
	if (expected == got)
		return true;
	return stage_fail(stage, "%s: expected %llu, got %llu", what, expected, got);
}

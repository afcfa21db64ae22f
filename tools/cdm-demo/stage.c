// SPDX-License-Identifier: GPL-2.0
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

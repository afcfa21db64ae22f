/* SPDX-License-Identifier: GPL-2.0 */
/* Ending because the demonstration cannot be made, which is no verdict. */
#ifndef CDM_DEMO_DIE_H
#define CDM_DEMO_DIE_H

/* Exit codes: as with grep, trouble is not the same as a negative answer. */
#define EXIT_PASS	0
#define EXIT_FAIL	1
#define EXIT_TROUBLE	2

/* Prints one line, "cdm-demo: ...", to stderr and ends with EXIT_TROUBLE. */
__noreturn __printf(1, 2) void die(const char *format, ...);

#endif

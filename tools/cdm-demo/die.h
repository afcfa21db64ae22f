/* SPDX-License-Identifier: GPL-2.0 */
/* Exiting because the demonstration cannot run. */
#ifndef CDM_DEMO_DIE_H
#define CDM_DEMO_DIE_H

/* As grep does, distinguish an error from a negative result. */
#define EXIT_PASS	0
#define EXIT_FAIL	1
#define EXIT_TROUBLE	2

/* Prints "cdm-demo: ..." to stderr and exits with EXIT_TROUBLE. */
__noreturn __printf(1, 2) void die(const char *format, ...);

#endif

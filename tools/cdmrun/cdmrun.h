/* SPDX-License-Identifier: GPL-2.0 */
/* The environment variables by which cdmrun configures its library. */
#ifndef CDMRUN_H
#define CDMRUN_H

#define ENV_NODE	"CDMRUN_NODE"
#define ENV_LEAST	"CDMRUN_MIN_SIZE"
#define ENV_QUIET	"CDMRUN_QUIET"
/* The process that reports at its end: the program, not its children. */
#define ENV_PID		"CDMRUN_PID"

/* Default of CDMRUN_MIN_SIZE. */
#define LEAST		65536

#endif /* CDMRUN_H */

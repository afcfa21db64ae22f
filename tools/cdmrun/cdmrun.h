/* SPDX-License-Identifier: GPL-2.0 */
/* What cdmrun tells its library, by the environment. */
#ifndef CDMRUN_H
#define CDMRUN_H

#define ENV_NODE	"CDMRUN_NODE"
#define ENV_LEAST	"CDMRUN_MIN_SIZE"
#define ENV_QUIET	"CDMRUN_QUIET"
/* Whose memory is told of at its end: the program's, not its children's. */
#define ENV_PID		"CDMRUN_PID"

/* The least mapping that is placed, if nothing else is said. */
#define LEAST		65536

#endif /* CDMRUN_H */

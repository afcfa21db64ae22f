/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that moves a range to the node and back.
 */
#ifndef CDM_MOVER_H
#define CDM_MOVER_H

#include <pthread.h>

#include "cdm_calls.h"

/*
 * Tests set the first three fields before the start, and may read the counts while
 * the thread runs.
 */
struct cdm_mover {
	int target;	/* of the first call */
	int allowed;	/* errno that is not an error */
	bool interrupted;	/* children end meanwhile: neither is EINTR */
	pthread_t thread;
	const struct cdm *cdm;
	char *mem;
	size_t length;
	bool stop;
	int err;	/* of the last call that failed */
	__u64 calls;
	__u64 migrated;	/* pages, in both directions */
	__u64 wrong;	/* calls whose counts do not add up to the range */
};

int cdm_mover_start(struct cdm_mover *mover, const struct cdm *cdm, char *mem,
		    size_t length);

/* Returns true if pages have moved, and no call was wrong. */
bool cdm_mover_end(struct cdm_mover *mover);

#endif /* CDM_MOVER_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * A thread that moves a range to the node and back; see cdm_mover.h.
 */
#include "cdm_mover.h"

#include <errno.h>

static void *move(void *arg)
{
	struct cdm_mover *mover = arg;
	int target = mover->target;

	while (!__atomic_load_n(&mover->stop, __ATOMIC_RELAXED)) {
		struct hmm_cdm_migrate m;
		int err = cdm_migrate(mover->cdm, mover->mem, mover->length,
				      target, &m);

		/*
		 * fork() returns with all signals blocked for a moment; a
		 * pending SIGCHLD then interrupts this thread.
		 */
		if (err && err != mover->allowed &&
		    !(err == -EINTR && mover->interrupted))
			mover->err = err;
		if (!err)
			mover->wrong += cdm_migrate_sum(&m) !=
					mover->length / mover->cdm->page;
		__atomic_fetch_add(&mover->migrated, m.migrated,
				   __ATOMIC_RELAXED);
		mover->calls++;
		target = SYSTEM - target;
	}
	return NULL;
}

int cdm_mover_start(struct cdm_mover *mover, const struct cdm *cdm, char *mem,
		    size_t length)
{
	*mover = (struct cdm_mover) {
		.target = mover->target,
		.allowed = mover->allowed,
		.interrupted = mover->interrupted,
		.cdm = cdm,
		.mem = mem,
		.length = length,
	};
	return -pthread_create(&mover->thread, NULL, move, mover);
}

bool cdm_mover_end(struct cdm_mover *mover)
{
	__atomic_store_n(&mover->stop, true, __ATOMIC_RELAXED);
	pthread_join(mover->thread, NULL);
	return mover->migrated && !mover->err && !mover->wrong;
}

// SPDX-License-Identifier: GPL-2.0

#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>

void hmm_cdm_helper_interval_set_seq(struct mmu_interval_notifier *mni,
				     unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
}

bool hmm_cdm_helper_interval_read_retry(struct mmu_interval_notifier *mni,
					unsigned long seq)
{
	return mmu_interval_read_retry(mni, seq);
}

/*
 * Inserts a notifier. The first one of an address space takes all locks in there,
 * and gives up if a signal is pending (mm_take_all_locks()). Only a fatal one is to
 * end that, so the others are blocked for a second attempt.
 */
int hmm_cdm_helper_interval_insert(struct mmu_interval_notifier *mni,
				   struct mm_struct *mm, unsigned long start,
				   unsigned long length,
				   const struct mmu_interval_notifier_ops *ops)
{
	int ret = mmu_interval_notifier_insert(mni, mm, start, length, ops);
	sigset_t others, old;

	if (ret != -EINTR || fatal_signal_pending(current))
		return ret;
	siginitsetinv(&others, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &others, &old);
	ret = mmu_interval_notifier_insert(mni, mm, start, length, ops);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}

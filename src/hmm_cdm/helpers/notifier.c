// SPDX-License-Identifier: GPL-2.0

#include <linux/mmu_notifier.h>

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

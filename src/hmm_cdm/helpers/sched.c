// SPDX-License-Identifier: GPL-2.0

#include <linux/capability.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

void hmm_cdm_helper_cond_resched(void)
{
	cond_resched();
}

void hmm_cdm_helper_might_sleep(void)
{
	might_sleep();
}

bool hmm_cdm_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

bool hmm_cdm_helper_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

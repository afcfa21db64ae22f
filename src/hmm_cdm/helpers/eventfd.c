// SPDX-License-Identifier: GPL-2.0

#include <linux/eventfd.h>

struct eventfd_ctx *hmm_cdm_helper_eventfd_get(int fd)
{
	return eventfd_ctx_fdget(fd);
}

void hmm_cdm_helper_eventfd_signal(struct eventfd_ctx *ctx)
{
	eventfd_signal(ctx);
}

void hmm_cdm_helper_eventfd_put(struct eventfd_ctx *ctx)
{
	eventfd_ctx_put(ctx);
}

/* SPDX-License-Identifier: GPL-2.0 */
/* The part of libcap that mlock-random-test.c uses: to drop all capabilities. */
#ifndef SHIM_SYS_CAPABILITY_H
#define SHIM_SYS_CAPABILITY_H

#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#define cap_t struct __user_cap_data_struct *

/* A set without any. */
static inline cap_t cap_init(void)
{
	static struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	return none;
}

static inline int cap_set_proc(cap_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(__NR_capset, &header, caps);
}

static inline int cap_free(void *caps)
{
	(void)caps;
	return 0;
}

#endif /* SHIM_SYS_CAPABILITY_H */

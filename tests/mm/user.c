// SPDX-License-Identifier: GPL-2.0
/*
 * Linked with tests for ordinary users: becomes one before main(), in the group
 * that may open the device (see lab/vm/initramfs.py).
 */
#include <err.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#define UID_CDM		1000
#define GID_RENDER	105

__attribute__((constructor)) static void become_user(void)
{
	if (setgroups(0, NULL) || setgid(GID_RENDER) || setuid(UID_CDM))
		err(1, "become an ordinary user");
	/* Otherwise root owns this process's files in /proc. */
	if (prctl(PR_SET_DUMPABLE, 1))
		err(1, "be dumpable again");
}

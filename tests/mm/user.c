// SPDX-License-Identifier: GPL-2.0
/*
 * Linked with what only an ordinary user can test: it becomes one, of the group that
 * may open the device (see scripts/vm/initramfs.py), before main().
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
	/* Or its own files in /proc were root's. */
	if (prctl(PR_SET_DUMPABLE, 1))
		err(1, "be dumpable again");
}

// SPDX-License-Identifier: GPL-2.0
/*
 * A child process that answers questions; see cdm_child.h.
 */
#include "cdm_child.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_mem.h"

struct question {
	__u64 what;
	__u64 value;
};

int cdm_child_start(struct cdm_child *child, cdm_answer answer, void *state)
{
	struct question q;
	int ends[2];
	__s64 said;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	child->pid = fork();
	if (child->pid) {
		close(ends[1]);
		child->fd = ends[0];
		return child->pid < 0 ? -errno : 0;
	}
	close(ends[0]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (recv(ends[1], &q, sizeof(q), 0) == sizeof(q)) {
		said = answer(state, q.what, q.value);
		if (send(ends[1], &said, sizeof(said), MSG_NOSIGNAL) !=
		    sizeof(said))
			_exit(1);
	}
	_exit(0);
}

void cdm_tell(struct cdm_child *child, unsigned int what, __u64 value)
{
	struct question q = { what, value };

	/* A dead child gives no answer either; cdm_hear() reports it. */
	if (send(child->fd, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q))
		return;
}

__s64 cdm_hear(struct cdm_child *child)
{
	__s64 said;

	return recv(child->fd, &said, sizeof(said), 0) == sizeof(said) ?
	       said : -EPIPE;
}

__s64 cdm_ask(struct cdm_child *child, unsigned int what, __u64 value)
{
	cdm_tell(child, what, value);
	return cdm_hear(child);
}

int cdm_child_end(struct cdm_child *child)
{
	close(child->fd);
	return cdm_reap(child->pid, CDM_JOB_MS);
}

void cdm_child_kill(struct cdm_child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->fd);
}

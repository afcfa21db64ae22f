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

char *cdm_map_on_node(const struct cdm *cdm, size_t length, __u64 seed)
{
	struct hmm_cdm_migrate m;
	char *mem = cdm_map(cdm, length);

	if (!mem)
		return NULL;
	cdm_fill(mem, length, seed);
	if (!cdm_migrate(cdm, mem, length, NODE, &m) &&
	    m.migrated == length / cdm->page)
		return mem;
	munmap(mem, length);
	return NULL;
}

static void *move(void *arg)
{
	struct cdm_shuttle *mover = arg;
	int target = SYSTEM;
	struct hmm_cdm_migrate m;

	while (!__atomic_load_n(&mover->stop, __ATOMIC_RELAXED)) {
		int err = cdm_migrate(mover->cdm, mover->mem, mover->length,
				      target, &m);

		mover->wrong += err || cdm_migrate_sum(&m) !=
				mover->length / mover->cdm->page;
		__atomic_fetch_add(&mover->migrated, m.migrated,
				   __ATOMIC_RELAXED);
		target = SYSTEM - target;
	}
	return NULL;
}

int cdm_shuttle_start(struct cdm_shuttle *mover, const struct cdm *cdm, char *mem,
		      size_t length)
{
	pthread_t thread;
	int err;

	*mover = (struct cdm_shuttle) {
		.cdm = cdm,
		.mem = mem,
		.length = length,
	};
	err = pthread_create(&thread, NULL, move, mover);
	mover->thread = thread;
	return -err;
}

bool cdm_shuttle_stop(struct cdm_shuttle *mover)
{
	__atomic_store_n(&mover->stop, true, __ATOMIC_RELAXED);
	pthread_join(mover->thread, NULL);
	return mover->migrated && !mover->wrong;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process of its own that answers questions, so that a test can have the
 * memory of another process in any state it wants.
 */
#ifndef CDM_CHILD_H
#define CDM_CHILD_H

#include "cdm_test.h"

struct cdm_child {
	pid_t pid;
	int fd;
};

/* What the child answers to question @what; what it means is the test's. */
typedef __s64 (*cdm_answer)(void *state, unsigned int what, __u64 value);

/* Fork a child that answers until its parent is done with it, or gone. */
int cdm_child_start(struct cdm_child *child, cdm_answer answer, void *state);

/* The answer, or -EPIPE if the child has died of the question. */
__s64 cdm_ask(struct cdm_child *child, unsigned int what, __u64 value);

/* The two halves of cdm_ask(), for what is to happen in between. */
void cdm_tell(struct cdm_child *child, unsigned int what, __u64 value);
__s64 cdm_hear(struct cdm_child *child);

/* No more questions: zero if the child ends as it should. */
int cdm_child_end(struct cdm_child *child);

/* SIGKILL, and wait until it is gone. */
void cdm_child_kill(struct cdm_child *child);

/* Memory with a pattern, moved to the node; NULL if it did not all get there. */
char *cdm_map_on_node(const struct cdm *cdm, size_t length, __u64 seed);

/* A thread that moves a range to the node and back until it is told to stop. */
struct cdm_shuttle {
	const struct cdm *cdm;
	char *mem;
	size_t length;
	bool stop;
	__u64 migrated;	/* pages, both ways */
	__u64 wrong;	/* calls that failed or did not add up */
	unsigned long thread;
};

int cdm_shuttle_start(struct cdm_shuttle *mover, const struct cdm *cdm, char *mem,
		      size_t length);
/* True if it has moved something, and nothing went wrong. */
bool cdm_shuttle_stop(struct cdm_shuttle *mover);

#endif /* CDM_CHILD_H */

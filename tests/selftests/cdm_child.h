/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A child process that answers questions, so that a test can put another
 * process's memory into any state.
 */
#ifndef CDM_CHILD_H
#define CDM_CHILD_H

#include "cdm_calls.h"

struct cdm_child {
	pid_t pid;
	int fd;
};

/* Answers question @what with @value; the test defines the questions. */
typedef __s64 (*cdm_answer)(void *state, unsigned int what, __u64 value);

/* Forks a child that answers until cdm_child_end() or the end of its parent. */
int cdm_child_start(struct cdm_child *child, cdm_answer answer, void *state);

/* Returns the answer, or -EPIPE if the child has died. */
__s64 cdm_ask(struct cdm_child *child, unsigned int what, __u64 value);

/* The two halves of cdm_ask(), for tests that act in between. */
void cdm_tell(struct cdm_child *child, unsigned int what, __u64 value);
__s64 cdm_hear(struct cdm_child *child);

/* Ends the child; returns zero if it exits cleanly. */
int cdm_child_end(struct cdm_child *child);

/* Kills the child and reaps it. */
void cdm_child_kill(struct cdm_child *child);

/*
 * Maps memory with a pattern and moves it to the node; NULL if some did not
 * move.
 */
char *cdm_map_on_node(const struct cdm *cdm, size_t length, __u64 seed);

/* A thread that moves a range to the node and back until it is stopped. */
struct cdm_shuttle {
	const struct cdm *cdm;
	char *mem;
	size_t length;
	bool stop;
	__u64 migrated;	/* pages, both ways */
	__u64 wrong;	/* calls that failed or whose counts are wrong */
	unsigned long thread;
};

int cdm_shuttle_start(struct cdm_shuttle *mover, const struct cdm *cdm, char *mem,
		      size_t length);
/* Returns true if it has moved pages and nothing went wrong. */
bool cdm_shuttle_stop(struct cdm_shuttle *mover);

#endif /* CDM_CHILD_H */

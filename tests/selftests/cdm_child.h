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

#endif /* CDM_CHILD_H */

// SPDX-License-Identifier: GPL-2.0
/* The reference: the driver that hmm-tests were written for. */
#include <lib/test_hmm.c>

# SPDX-License-Identifier: GPL-2.0
"""Reports of the kernel that only one program may provoke."""

import unittest

from vm.klog import scan

TRACE = "Call Trace:\n"
# One failed allocation, and what x86 prints if there is no memory for a node's memory map.
FAILED_ALLOCATION = f"x: y, mode:0x0(z), nodemask=0\n{TRACE}"
ARCH_WARNING = f"WARNING: arch/x86/mm/init_64.c:973 at arch_add_memory+0x1/0x2\n{TRACE}"
OOM_KILL = f"x invoked oom-killer: gfp_mask=0x1(y), order=0, oom_score_adj=0\n{TRACE}"
LAST_FAULT = f"[ 1.0] offline: page allocation failure: order:0, mode:0x1(y)\n{TRACE}"


def blamed(program, *reports):
    """The programs blamed for reports that come while `program` runs."""
    return [f.program for f in scan("".join([f"hmm-cdm-lab: start {program}\n", *reports]))]


class TestExcused(unittest.TestCase):
    """Excused is the program's own report, once, and while it runs."""

    def test_more_than_a_failed_allocation(self):
        self.assertEqual(blamed("fail_alloc", FAILED_ALLOCATION, TRACE), ["fail_alloc"])

    def test_no_memory_for_a_node(self):
        self.assertEqual(blamed("fail_alloc", ARCH_WARNING), [])

    def test_no_memory_for_a_node_elsewhere(self):
        self.assertEqual(blamed("region", ARCH_WARNING), ["region"])

    def test_more_than_an_oom_kill(self):
        self.assertEqual(blamed("offline", OOM_KILL, TRACE), ["offline"])

    def test_no_memory_for_the_killed(self):
        self.assertEqual(blamed("offline", OOM_KILL, LAST_FAULT), [])

    def test_oom_kill_after_the_program(self):
        reports = ["hmm-cdm-lab: end offline\n", OOM_KILL]
        self.assertEqual(blamed("offline", *reports), ["after offline"])

    def test_oom_kill_in_a_memcg(self):
        self.assertEqual(blamed("account_memcg", OOM_KILL), [])

    def test_excuse_of_another_program(self):
        self.assertEqual(blamed("fail_alloc", OOM_KILL), ["fail_alloc"])

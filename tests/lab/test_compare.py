# SPDX-License-Identifier: GPL-2.0
"""The kernel's mm tests on system memory and on a node."""

import unittest

from fakes import boot, outcome, report
from vm.compare import OnNode, OnSystem, Pair, StaleDifferences, read_known

# The output of a run and, last, its exit status.
GOOD = ["1..2", "ok 1 x", "ok 2 y", "0"]
BAD = ["1..2", "ok 1 x", "not ok 2 y went wrong", "1"]
SKIPS = ["1..2", "ok 1 x", "ok 2 # SKIP y", "0"]
SHORT = ["1..2", "ok 1 x", "0"]

ON_NODE = "5 with pages there, 7 moved, 3 at most, 0"


def compared(system, node, known="", log="", counts=ON_NODE):
    """Compare two runs; return how many tests pass, fail and skip, and how many known
    differences do not occur."""
    (*first, status), (*second, other) = system, node
    second.append(f"# node: 5 calls, {counts} refused (0)")
    lines = report("a", *first, status=status) + report("a-node", *second, status=other)
    entries = read_known(known, "q35")
    pair = Pair(OnSystem("a", None, 60, ()), OnNode("a-node", None, 60, ()), entries)
    outcome([boot(*lines)], [pair.system, pair.node], log)
    pair.compare()
    return pair.passed, pair.failed, pair.skipped, StaleDifferences(entries).failed


class TestResults(unittest.TestCase):
    """Results of tests, and exit statuses."""

    def test_same_on_both(self):
        self.assertEqual(compared(GOOD, GOOD), (2, 0, 0, 0))

    def test_fails_on_node(self):
        self.assertEqual(compared(GOOD, BAD), (1, 1, 0, 0))

    def test_passes_on_node_only(self):
        self.assertEqual(compared(BAD, GOOD), (1, 1, 0, 0))

    def test_skips_on_node(self):
        self.assertEqual(compared(GOOD, SKIPS), (1, 1, 0, 0))

    def test_missing_on_node(self):
        self.assertEqual(compared(GOOD, SHORT), (1, 1, 0, 0))

    def test_missing_on_system(self):
        self.assertEqual(compared(SHORT, GOOD), (1, 1, 0, 0))

    def test_only_status_differs(self):
        self.assertEqual(compared(GOOD, [*GOOD[:3], "139"]), (2, 1, 0, 0))

    def test_killed_on_node(self):
        self.assertEqual(compared(GOOD, [*GOOD[:3], "late"]), (2, 1, 0, 0))

    def test_fails_on_both(self):
        self.assertEqual(compared(BAD, BAD), (1, 0, 1, 0))

    def test_skips_on_both(self):
        self.assertEqual(compared(SKIPS, SKIPS), (1, 0, 1, 0))

    def test_status_without_tests(self):
        self.assertEqual(compared(["0"], ["0"]), (1, 0, 0, 0))

    def test_other_status_without_tests(self):
        self.assertEqual(compared(["0"], ["1"]), (0, 1, 0, 0))


class TestNode(unittest.TestCase):
    """Whether the run on the node was there, and what the kernel reports."""

    def test_no_page_on_node(self):
        none = "0 with pages there, 0 moved, 0 at most, 0"
        self.assertEqual(compared(GOOD, GOOD, counts=none)[1], 1)

    def test_device_not_opened(self):
        refused = "5 with pages there, 7 moved, 3 at most, 2"
        self.assertEqual(compared(GOOD, GOOD, counts=refused)[1], 1)

    def test_no_report_of_node(self):
        self.assertEqual(compared(GOOD, GOOD, counts="")[1], 1)

    def test_bug_on_node(self):
        log = "hmm-cdm-lab: start a-node\nBUG: Bad page map\n"
        self.assertEqual(compared(GOOD, GOOD, log=log)[1], 1)

    def test_bug_on_system(self):
        log = "hmm-cdm-lab: start a\nBUG: Bad page map\n"
        self.assertEqual(compared(GOOD, GOOD, log=log), (2, 0, 0, 0))


class TestKnown(unittest.TestCase):
    """Differences that tests/mm/differences lists."""

    def test_known(self):
        self.assertEqual(compared(GOOD, BAD, "a: y*"), (1, 0, 1, 0))

    def test_other_test(self):
        self.assertEqual(compared(GOOD, BAD, "a: x"), (1, 1, 0, 1))

    def test_other_program(self):
        self.assertEqual(compared(GOOD, BAD, "b: y"), (1, 1, 0, 1))

    def test_other_machine(self):
        self.assertEqual(compared(GOOD, BAD, "a [powernv9]: y"), (1, 1, 0, 0))

    def test_this_machine(self):
        self.assertEqual(compared(GOOD, BAD, "a [pseries, q35]: y"), (1, 0, 1, 0))

    def test_gone(self):
        self.assertEqual(compared(GOOD, GOOD, "a: y"), (2, 0, 0, 1))

    def test_unreadable(self):
        with self.assertRaises(ValueError):
            read_known("a y", "q35")

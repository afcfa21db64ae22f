# SPDX-License-Identifier: GPL-2.0
"""Programs that do not print TAP."""

import unittest

from fakes import boot, failed, report
from vm.host_tests import UnitTests
from vm.program import BrokenDemo, Demo, Plain


def passes(program, *lines, status="0"):
    """Whether program "a" passes if it prints this."""
    return failed([boot(*report("a", *lines, status=status))], [program]) == []


class TestPrograms(unittest.TestCase):
    """The demo, and programs with nothing but an exit status."""

    def test_demo_prints_pass(self):
        self.assertTrue(passes(Demo("a"), "PASS"))

    def test_demo_does_not_print_pass(self):
        self.assertFalse(passes(Demo("a"), "no PASS here"))

    def test_demo_prints_pass_and_exits_with_1(self):
        self.assertFalse(passes(Demo("a"), "PASS", status="1"))

    def test_plain_exits_with_1(self):
        self.assertFalse(passes(Plain("a"), "PASS", status="1"))

    def test_mistake_on_purpose_unnoticed(self):
        self.assertFalse(passes(BrokenDemo("a"), "PASS", status="1"))

    def test_mistake_on_purpose_noticed(self):
        self.assertTrue(passes(BrokenDemo("a"), "FAIL: stage 2", status="1"))

    def test_mistake_on_purpose_noticed_but_status_0(self):
        self.assertFalse(passes(BrokenDemo("a"), "FAIL: stage 2"))


class TestUnitTests(unittest.TestCase):
    """The report of Python's unittest."""

    def counts(self, *lines, status="0"):
        """Passed, failed and skipped after such a report."""
        program = UnitTests("tests/lab")
        program.start()
        for line in lines:
            program.feed(line)
        program.end(status)
        return program.passed, program.failed, program.skipped

    def test_ok(self):
        lines = ["test_a (x.T.test_a) ... ok", "Ran 2 tests in 0.1s", "", "OK"]
        self.assertEqual(self.counts(*lines), (2, 0, 0))

    def test_skipped(self):
        self.assertEqual(self.counts("Ran 3 tests in 0.1s", "OK (skipped=1)"), (2, 0, 1))

    def test_failed(self):
        lines = ["Ran 9 tests in 0.1s", "FAILED (failures=2, errors=1, skipped=1)"]
        self.assertEqual(self.counts(*lines, status="1"), (5, 3, 1))

    def test_unexpected_success(self):
        lines = ["Ran 9 tests in 0.1s", "FAILED (unexpected successes=1)"]
        self.assertEqual(self.counts(*lines, status="1"), (8, 1, 0))

    def test_no_verdict(self):
        self.assertEqual(self.counts("Ran 2 tests in 0.1s", status="1"), (0, 1, 0))

    def test_no_tests(self):
        self.assertEqual(self.counts("Ran 0 tests in 0.0s", "OK"), (0, 1, 0))
        self.assertEqual(self.counts("Ran 0 tests in 0.0s", "NO TESTS RAN", status="5")[:2], (0, 1))

    def test_status_alone(self):
        self.assertEqual(self.counts("Ran 2 tests in 0.1s", "OK", status="1"), (2, 1, 0))

    def test_too_slow(self):
        self.assertEqual(self.counts("Ran 2 tests in 0.1s", status="late")[1], 1)

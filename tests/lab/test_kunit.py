# SPDX-License-Identifier: GPL-2.0
"""Results of the modules' KUnit suites."""

import pathlib
import unittest

from fakes import boot, outcome, report
from vm.kunit import Kunit, declared

TOP = pathlib.Path(__file__).parents[2]


def suite(name, *cases, verdict="ok"):
    """What debugfs has of a suite."""
    inner = ["KTAP version 1", f"# Subtest: {name}", f"1..{len(cases)}", *cases]
    head = ["KTAP version 1", "1..1", *(f"    {line}" for line in inner)]
    return [*head, "# totals", f"{verdict} 1 {name}"]


X = suite("x", "ok 1 a", "ok 2 b")
Y = suite("y", "ok 1 c")


class TestKunit(unittest.TestCase):
    """The suites x, with two cases, and y are expected."""

    def judged(self, *suites, status="0"):
        """Whether anything fails, and how many cases pass."""
        lines = [line for one in suites for line in one]
        script = boot(*report("kunit", *lines, status=status))
        done = outcome([script], [Kunit("k", 60, ["x", "y"])])
        program = next(p for p in done if p.name == "kunit")
        return bool(program.failed), program.passed

    def test_suites_pass(self):
        self.assertEqual(self.judged(X, Y), (False, 3))

    def test_case_fails(self):
        bad = suite("y", "ok 1 c", "not ok 2 d", verdict="not ok")
        self.assertEqual(self.judged(X, bad), (True, 3))

    def test_suite_missing(self):
        self.assertEqual(self.judged(X), (True, 2))

    def test_suite_unknown(self):
        self.assertEqual(self.judged(X, Y, suite("z", "ok 1 e")), (True, 4))

    def test_suite_twice(self):
        self.assertTrue(self.judged(X, Y, Y)[0])

    def test_suite_without_end(self):
        self.assertEqual(self.judged(X, Y[:-1]), (True, 3))

    def test_suite_without_end_before_another(self):
        self.assertTrue(self.judged(Y[:-1], X)[0])

    def test_suite_without_its_cases(self):
        self.assertEqual(self.judged(X, [*Y[:2], Y[-1]]), (True, 2))

    def test_suite_without_any_case(self):
        self.assertEqual(self.judged(X, suite("y")), (True, 2))

    def test_planned_case_missing(self):
        self.assertTrue(self.judged(X, [*Y[:4], "    1..2", *Y[5:]])[0])

    def test_suite_fails_and_its_cases_do_not(self):
        self.assertTrue(self.judged(X, suite("y", "ok 1 c", verdict="not ok"))[0])

    def test_suite_hides_a_failure(self):
        self.assertTrue(self.judged(X, suite("y", "not ok 1 c"))[0])

    def test_results_unreadable(self):
        self.assertEqual(self.judged(X, Y, status="1"), (True, 3))

    def test_no_suites(self):
        self.assertEqual(self.judged(), (True, 0))

    def test_names_are_unique(self):
        names = declared(TOP)
        self.assertTrue(names)
        self.assertEqual(len(names), len({*names}))

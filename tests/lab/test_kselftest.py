# SPDX-License-Identifier: GPL-2.0
"""Reports of the kernel's run_kselftest.sh."""

import unittest

from fakes import boot, outcome, report
from vm.kselftest import COLLECTION, Kselftest


def program(name, *tests, verdict="ok", plan=None):
    """What the runner prints of one program; N stands for its number."""
    lines = ["TAP version 13", f"1..{plan or len(tests)}", *tests]
    head = f"selftests: {COLLECTION}: {name}"
    return [f"# {head}", *(f"# {line}" for line in lines), f"{verdict} N {head}"]


X = program("x", "ok 1 a", "ok 2 b # SKIP none here")
Y = program("y", "ok 1 c")


class TestKselftest(unittest.TestCase):
    """The programs x and y are expected."""

    def judged(self, *programs, status="0", plan=2):
        """Whether anything fails, and how many tests pass."""
        lines = ["TAP version 13", f"1..{plan}"]
        for number, one in enumerate(programs, 1):
            lines += [line.replace(" N ", f" {number} ") for line in one]
        script = boot(*report("kselftest", *lines, status=status))
        done = outcome([script], [Kselftest("k", 60, ["x", "y"])])
        run = next(p for p in done if p.name == "kselftest")
        return bool(run.failed), run.passed

    def test_programs_pass(self):
        self.assertEqual(self.judged(X, Y), (False, 2))

    def test_test_fails(self):
        bad = program("y", "ok 1 c", "not ok 2 d", verdict="not ok")
        self.assertEqual(self.judged(X, bad, status="1"), (True, 2))

    def test_program_missing(self):
        self.assertTrue(self.judged(X, plan=1)[0])

    def test_planned_program_missing(self):
        self.assertTrue(self.judged(X)[0])

    def test_program_unknown(self):
        self.assertTrue(self.judged(X, Y, program("z", "ok 1 e"), plan=3)[0])

    def test_program_without_end(self):
        self.assertTrue(self.judged(X, Y[:-1])[0])

    def test_program_without_its_tests(self):
        self.assertTrue(self.judged(X, [Y[0], Y[-1]])[0])

    def test_planned_test_missing(self):
        self.assertTrue(self.judged(X, program("y", "ok 1 c", plan=2))[0])

    def test_program_fails_and_its_tests_do_not(self):
        self.assertTrue(self.judged(X, program("y", "ok 1 c", verdict="not ok"))[0])

    def test_program_hides_a_failure(self):
        self.assertTrue(self.judged(X, program("y", "not ok 1 c"))[0])

    def test_status_alone(self):
        self.assertTrue(self.judged(X, Y, status="1")[0])

    def test_no_programs(self):
        self.assertTrue(self.judged(plan=0)[0])

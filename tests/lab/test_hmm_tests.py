# SPDX-License-Identifier: GPL-2.0
"""Runs of the kernel's HMM tests, and the results of a driver."""

import unittest

import fakes
from fakes import LOADED, boot, report
from vm.driver import Driver
from vm.hmm_tests import (
    LEFT_IN_USE,
    DriverResults,
    HarnessRun,
    declared_tests,
    ordered_runs,
    table,
)

TESTS = ["f.v.a", "f.v.b"]
A, B = "ok 1 f.v.a", "ok 2 f.v.b"


def harness(name, *lines, plan=2, status="0"):
    """What a run of the harness reports."""
    return report(name, f"1..{plan}", *lines, status=status)


GOOD = boot(*harness("x", A, B))
SKIPPED = boot(*harness("x", A, f"{B} # SKIP not here"))
LOG = "hmm-cdm-lab: start x\nBUG: a\nWARNING: b\nhmm-cdm-lab: end x\n"


def results(*scripts, runs=None, log="", ours=True, limit=60, may_skip=False):
    """The results of a driver on which boots report `scripts`."""
    runs = runs or [HarnessRun("x", ["p"], 60, TESTS)]
    session = fakes.session(scripts, runs, log, Driver("d", ours=ours), limit)
    return DriverResults("c", session.run(), session.findings, may_skip)


def counts(*scripts, **options):
    """How many of the tests pass, and how many failures there are."""
    made = results(*scripts, **options)
    return made.count(TESTS, "ok"), made.failed(TESTS)


class TestRuns(unittest.TestCase):
    """One run of the harness, x, with two tests."""

    def test_all_pass(self):
        self.assertEqual(counts(GOOD), (2, 0))

    def test_one_fails(self):
        self.assertEqual(counts(boot(*harness("x", A, f"not {B}", status="1"))), (1, 1))

    def test_one_does_not_report(self):
        self.assertEqual(counts(boot(*harness("x", A)))[0], 1)

    def test_one_is_not_planned(self):
        self.assertEqual(counts(boot(*harness("x", A, plan=1))), (1, 1))

    def test_one_is_unknown(self):
        lines = harness("x", A, B, "ok 3 f.v.c", plan=3)
        self.assertEqual(counts(boot(*lines)), (2, 1))

    def test_one_must_not_skip(self):
        self.assertEqual(counts(SKIPPED), (1, 1))

    def test_one_may_skip(self):
        self.assertEqual(counts(SKIPPED, may_skip=True), (1, 0))

    def test_skipped_is_counted(self):
        text = results(SKIPPED, may_skip=True).summary(TESTS)
        self.assertEqual(text, "1 passed, 0 failed, 1 skipped")

    def test_memory_left_in_use(self):
        self.assertEqual(counts(boot(*harness("x", A, B, status=LEFT_IN_USE))), (2, 1))

    def test_memory_left_in_use_and_one_fails(self):
        lines = harness("x", A, f"not {B}", status=LEFT_IN_USE)
        self.assertEqual(counts(boot(*lines)), (1, 2))

    def test_kernel_reports(self):
        self.assertEqual(counts(GOOD, log=LOG), (2, 1))

    def test_kernel_reports_with_the_reference(self):
        reference = results(GOOD, log=LOG, ours=False)
        self.assertEqual(reference.failed(TESTS), 0)
        self.assertEqual(reference.log_errors(), "2, in 1")


class TestSeveralRuns(unittest.TestCase):
    """Runs that follow each other."""

    def singles(self):
        return [HarnessRun(test, ["p"], 60, [test]) for test in TESTS]

    def test_guest_dies_and_the_rest_goes_on(self):
        dies = [*LOADED, "@@lab start f.v.a", "1..1"]
        rest = boot(*harness("f.v.b", "ok 1 f.v.b", plan=1))
        self.assertEqual(counts(dies, rest, runs=self.singles()), (1, 2))

    def test_no_time_left(self):
        rest = boot(*harness("f.v.b", "ok 1 f.v.b", plan=1))
        self.assertEqual(counts(rest, runs=self.singles(), limit=0)[0], 0)

    def test_one_fails_the_second_time(self):
        twice = [HarnessRun(name, ["p"], 60, TESTS) for name in "xy"]
        worse = boot(*harness("x", A, B), *harness("y", A, f"not {B}", status="1"))
        self.assertEqual(counts(worse, runs=twice), (1, 1))

    def test_table(self):
        text = table(TESTS, [results(GOOD), results(SKIPPED)])
        lines = [" ".join(line.split()) for line in text]
        expected = ["c c", "f.v.b ok skip", "the 1 others ok ok", "passed 2 of 2 1 of 2"]
        self.assertEqual(lines[:-1], expected)

    def test_slow_one_runs_once(self):
        slow = "f.v.benchmark_thp_migration"
        each = [run.tests for run in ordered_runs(3, ["p"], 1, [*TESTS, slow])]
        self.assertEqual(each, [[*TESTS, slow], TESTS, TESTS])


class TestSource(unittest.TestCase):
    """The names of tests in C."""

    def test_declared(self):
        source = """
FIXTURE_VARIANT_ADD(f, v)
FIXTURE_VARIANT_ADD(f, w)
FIXTURE_VARIANT_ADD(g, v)
TEST_F(f, a)
TEST_F(g, c)
TEST_F_TIMEOUT(f, b, 120)
"""
        names = ["f.v.a", "f.v.b", "f.w.a", "f.w.b", "g.v.c"]
        self.assertEqual(declared_tests(source), names)

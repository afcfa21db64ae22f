# SPDX-License-Identifier: GPL-2.0
"""The kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c): their names, their results
on a driver, and a table of two drivers."""

import re
import time

from .program import Program

VARIANT = re.compile(r"^FIXTURE_VARIANT_ADD\((\w+), (\w+)\)", re.MULTILINE)
TEST = re.compile(r"^TEST_F(?:_TIMEOUT)?\((\w+), (\w+)", re.MULTILINE)
RESULT = re.compile(r"^(not )?ok \d+ (\S+)(?: # (SKIP)\b)?")

# Under emulation it takes four times as long as all others together.
SLOW = ".benchmark_thp_migration"

OK, SKIP, FAIL = "ok", "skip", "FAIL"

# Exit status of lab/guest/conformance if device pages are still in use.
LEFT_IN_USE = "9"

# Seconds. The harness ends a test after 30, or 120; see TEST_F_TIMEOUT() there.
TEST_LIMIT = 150
RUN_LIMIT = 300


def declared_tests(text):
    """The names of the tests in a C source, in the order in which its harness runs them."""
    variants, tests = VARIANT.findall(text), TEST.findall(text)
    fixtures = dict.fromkeys(fixture for fixture, _ in tests)
    return [
        f"{fixture}.{variant}.{test}"
        for fixture in fixtures
        for of, variant in variants
        if of == fixture
        for owner, test in tests
        if owner == fixture
    ]


class HarnessRun(Program):
    """A run of hmm-tests, which must report exactly `tests`. Its output is shown only for
    tests that do not pass."""

    gap = ""

    def __init__(self, name, paths, limit, tests, arguments=()):
        super().__init__(name, paths[0], limit, arguments)
        self.paths = paths
        self.tests = tests
        self.results = {}
        self.output = []

    @property
    def files(self):
        return self.paths

    def feed(self, line):
        self.tap.feed(line)
        self.output.append(line)
        match = RESULT.match(line)
        if match:
            bad, test, skip = match.groups()
            self.results[test] = FAIL if bad else SKIP if skip else OK
            self._show(self.results[test] != OK)

    def _show(self, wanted):
        """Print the output since the last test, if wanted."""
        if wanted:
            print(*self.output, sep="\n", flush=True)
        self.output = []

    def start(self):
        self.started = time.monotonic()

    def fail(self, why):
        self._show(True)
        super().fail(why)

    def judge(self, status):
        left = status == LEFT_IN_USE
        wrong = ["device memory is still in use after it"] if left else []
        wrong += self.tap.faults(None if left else int(status))
        wrong += [f"{test} is unknown" for test in self.results if test not in self.tests]
        return wrong

    def of(self, test):
        """The result of one of its tests. One that did not report has failed."""
        return self.results.get(test, FAIL)


def ordered_runs(times, paths, patience, tests):
    """All tests, in order, `times` times, each time in one process; the slow ones only once."""
    quick = [test for test in tests if not test.endswith(SLOW)]
    each = [tests, *[quick or tests] * (times - 1)]
    return [
        HarnessRun(f"run-{number}", paths, RUN_LIMIT * patience, some, only(some))
        for number, some in enumerate(each, 1)
    ]


def single_runs(paths, patience, tests):
    """Each test in a process of its own, in this order."""
    limit = TEST_LIMIT * patience
    return [HarnessRun(test, paths, limit, [test], only([test])) for test in tests]


def only(tests):
    """The harness's arguments that select these tests."""
    return [f"-r{test}" for test in tests]


class DriverResults:
    """The results of the tests on a driver, over all runs of them."""

    def __init__(self, title, judged, findings, may_skip=True):
        self.title = title
        self.runs = [p for p in judged if isinstance(p, HarnessRun)]
        self.faults = sum(len(p.faults) for p in judged)
        self.findings = findings
        self.may_skip = may_skip

    def of(self, test):
        """The worst result of a test in all its runs."""
        results = [run.of(test) for run in self.runs if test in run.tests]
        return next(r for r in (FAIL, SKIP, OK) if r in results)

    def count(self, tests, *results):
        """How many tests have one of these results."""
        return sum(self.of(test) in results for test in tests)

    def failed(self, tests):
        """How many tests failed, and how many other faults there were."""
        bad = [FAIL] if self.may_skip else [FAIL, SKIP]
        return self.count(tests, *bad) + self.faults

    def summary(self, tests):
        """The counts as text; each test counts once."""
        text = f"{self.count(tests, OK)} passed, {self.failed(tests)} failed"
        skipped = self.count(tests, SKIP) if self.may_skip else 0
        return text + (f", {skipped} skipped" if skipped else "")

    def log_errors(self):
        """How many lines of the kernel's log are errors, and in how many runs, as text."""
        lines = sum(finding.count for finding in self.findings)
        if not lines:
            return "0"
        return f"{lines}, in {len({finding.program for finding in self.findings})}"


def table(tests, drivers):
    """Lines of a table with a column for each driver: tests that did not pass on all, totals."""

    def row(name, cells):
        return f"{name:<56}" + "".join(f"{cell:<18}" for cell in cells).rstrip()

    yield row("", [d.title for d in drivers])
    bad = [t for t in tests if any(d.of(t) != OK for d in drivers)]
    for test in bad:
        yield row(test, [d.of(test) for d in drivers])
    if bad and len(bad) < len(tests):
        yield row(f"the {len(tests) - len(bad)} others", [OK for _ in drivers])
    yield row("passed", [f"{d.count(tests, OK)} of {len(tests)}" for d in drivers])
    yield row("errors in the kernel's log", [d.log_errors() for d in drivers])

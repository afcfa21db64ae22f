# SPDX-License-Identifier: GPL-2.0
"""The kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c): which there are,
what became of each on a driver, and how two drivers compare."""

import re
import time

from program import Program

VARIANT = re.compile(r"^FIXTURE_VARIANT_ADD\((\w+), (\w+)\)", re.MULTILINE)
TEST = re.compile(r"^TEST_F(?:_TIMEOUT)?\((\w+), (\w+)", re.MULTILINE)
RESULT = re.compile(r"^(not )?ok \d+ (\S+)(?: # (SKIP)\b)?")

# With emulation it takes four times as long as all others.
SLOW = ".benchmark_thp_migration"

OK, SKIP, FAIL = "ok", "skip", "FAIL"

# The exit status of lab/guest/conformance if device pages are left in use.
LEFT_IN_USE = "9"

# Seconds. The harness ends a test after 30, or 120; see TEST_F_TIMEOUT() there.
TEST_LIMIT = 150
RUN_LIMIT = 300


def declared_tests(text):
    """The names of the tests that this C source declares, in the order in which its
    harness runs them."""
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


class Run(Program):
    """A run of hmm-tests, which has to report exactly `tests`. What it prints is
    shown only where a test fails."""

    gap = ""

    def __init__(self, name, paths, limit, tests, arguments=()):
        super().__init__(name, paths[0], limit, arguments)
        self.paths = paths
        self.tests = tests
        self.results = {}
        self.said = []

    @property
    def files(self):
        return self.paths

    def feed(self, line):
        self.tap.feed(line)
        self.said.append(line)
        match = RESULT.match(line)
        if match:
            bad, test, skip = match.groups()
            self.results[test] = FAIL if bad else SKIP if skip else OK
            self._show(self.results[test] != OK)

    def _show(self, wanted):
        """Print what was said since the test before, if it is wanted."""
        if wanted:
            print(*self.said, sep="\n", flush=True)
        self.said = []

    def start(self):
        self.started = time.monotonic()

    def fail(self, why):
        self._show(True)
        super().fail(why)

    def judge(self, status):
        left = status == LEFT_IN_USE
        wrong = ["device memory is in use after it"] if left else []
        wrong += self.tap.faults(None if left else int(status))
        wrong += [f"{test} is unknown" for test in self.results if test not in self.tests]
        return wrong

    def of(self, test):
        """What became of one of its tests: what did not report has failed."""
        return self.results.get(test, FAIL)


def ordered_runs(times, paths, patience, tests):
    """All tests, in order, each time by one process of the harness. The slow ones only
    the first time."""
    quick = [test for test in tests if not test.endswith(SLOW)]
    each = [tests, *[quick or tests] * (times - 1)]
    return [
        Run(f"run-{number}", paths, RUN_LIMIT * patience, some, only(some))
        for number, some in enumerate(each, 1)
    ]


def single_runs(paths, patience, tests):
    """Each test by a process of its own, in this order."""
    limit = TEST_LIMIT * patience
    return [Run(test, paths, limit, [test], only([test])) for test in tests]


def only(tests):
    """The harness's arguments for these tests."""
    return [f"-r{test}" for test in tests]


class Column:
    """What a driver made of the tests, over all runs of them."""

    def __init__(self, title, judged, findings, may_skip=True):
        self.title = title
        self.runs = [p for p in judged if isinstance(p, Run)]
        self.faults = sum(len(p.faults) for p in judged)
        self.findings = findings
        self.may_skip = may_skip

    def of(self, test):
        """What became of a test: the worst of its runs."""
        results = [run.of(test) for run in self.runs if test in run.tests]
        return next(r for r in (FAIL, SKIP, OK) if r in results)

    def count(self, tests, *results):
        """How many tests came to one of these."""
        return sum(self.of(test) in results for test in tests)

    def failed(self, tests):
        """How many tests failed, and what else went wrong."""
        bad = [FAIL] if self.may_skip else [FAIL, SKIP]
        return self.count(tests, *bad) + self.faults

    def summary(self, tests):
        """The counts, in words, each test once."""
        text = f"{self.count(tests, OK)} passed, {self.failed(tests)} failed"
        skipped = self.count(tests, SKIP) if self.may_skip else 0
        return text + (f", {skipped} skipped" if skipped else "")

    def complaints(self):
        """How many lines of the kernel's log complain, and in how many tests or runs."""
        lines = sum(finding.count for finding in self.findings)
        if not lines:
            return "0"
        return f"{lines}, in {len({finding.program for finding in self.findings})}"


def table(tests, columns):
    """The lines of a table: tests that have not passed everywhere, and totals."""

    def row(name, cells):
        return f"{name:<56}" + "".join(f"{cell:<18}" for cell in cells).rstrip()

    yield row("", [c.title for c in columns])
    bad = [t for t in tests if any(c.of(t) != OK for c in columns)]
    for test in bad:
        yield row(test, [c.of(test) for c in columns])
    if bad and len(bad) < len(tests):
        yield row(f"the {len(tests) - len(bad)} others", [OK for _ in columns])
    yield row("passed", [f"{c.count(tests, OK)} of {len(tests)}" for c in columns])
    yield row("lines of complaint in the kernel's log", [c.complaints() for c in columns])

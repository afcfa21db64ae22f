# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites of the modules: their names, and their results.

They run when the modules are loaded (lib/kunit/test.c). lab/guest/kunit prints the results of
each from debugfs: KTAP with the suite as the only test of the top level. What counts are its
cases, one level below.
"""

import pathlib
import re

from .program import Program
from .tap import Tap

DECLARED = {
    "src/**/*.rs": re.compile(r"^#\[kunit_tests\((\w+)\)\]$", re.MULTILINE),
    "tests/kunit/*.c": re.compile(
        r'^static struct kunit_suite \w+ = \{\n\t\.name = "(\w+)",$', re.MULTILINE
    ),
}
INDENT = "    "
SUBTEST = re.compile(r"^# Subtest: (\S+)$")
VERDICT = re.compile(r"^(not )?ok \d+ (\S+)")


def declared(top):
    """The names of the suites in the sources below `top`, in Rust and in C."""
    names = []
    for files, suite in DECLARED.items():
        for file in sorted(pathlib.Path(top).glob(files)):
            names += suite.findall(file.read_text())
    return names


class Kunit(Program):
    """The results of all suites, which must be exactly those named `suites`."""

    def __init__(self, path, limit, suites):
        super().__init__("kunit", path, limit)
        self.suites = suites
        self.seen = []
        self.wrong = []
        self.name_now = None
        self.cases = None

    def feed(self, line):
        print(line, flush=True)
        line = line.rstrip()
        if line.startswith(INDENT):
            self._inner(line.removeprefix(INDENT))
            return
        match = VERDICT.match(line)
        if match:
            self._close_suite(bool(match.group(1)), match.group(2))

    def _inner(self, line):
        """Take a line of a suite: its name, its plan or a case. Deeper lines do not count."""
        match = SUBTEST.match(line)
        if match:
            self._drop_suite()
            self.name_now = match.group(1)
            self.cases = Tap()
        elif self.cases:
            self.cases.feed(line)

    def _drop_suite(self):
        """A suite that is still open has not ended."""
        if self.cases:
            self.wrong.append(f"{self.name_now} has not ended")
            self._count()

    def _close_suite(self, bad, name):
        """Take the last line of a suite."""
        if not self.cases or name != self.name_now:
            self.wrong.append(f"{name} has a result and no tests")
            return
        self.seen.append(name)
        self.wrong += [f"{name}: {fault}" for fault in self.cases.faults(None)]
        if not self.cases.points:
            self.wrong.append(f"{name} has no tests")
        if bad != bool(self.cases.failed):
            self.wrong.append(f"{name} is {'not ok' if bad else 'ok'}, its tests are not")
        self._count()

    def _count(self):
        self.tap.passed += self.cases.passed
        self.tap.failed += self.cases.failed
        self.tap.skipped += self.cases.skipped
        self.cases = None

    def judge(self, status):
        self._drop_suite()
        wrong = [f"exit status {status}"] if status != "0" else []
        wrong += self.wrong
        wrong += [f"{name} did not run" for name in sorted({*self.suites} - {*self.seen})]
        wrong += [f"{name} is unknown" for name in sorted({*self.seen} - {*self.suites})]
        if not wrong and len(self.seen) != len(self.suites):
            wrong.append("several suites have one name")
        return wrong

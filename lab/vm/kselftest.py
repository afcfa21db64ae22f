# SPDX-License-Identifier: GPL-2.0
"""The selftests as the kernel's own runner runs them (lab/guest/kselftest).

run_kselftest.sh reports one test for each program, and prints the program's own TAP
before that, behind "# ". What counts here are the tests of the programs.
"""

import re
import tarfile

from .program import Program
from .tap import Tap

COLLECTION = "hmm_cdm"
LIST = "./kselftest-list.txt"
START = re.compile(rf"^# selftests: {COLLECTION}: (\S+)$")
RESULT = re.compile(rf"^(not )?ok \d+ selftests: {COLLECTION}: (\S+)")


def listed(archive):
    """The names of the test programs in an archive that the kernel's makefile has made."""
    with tarfile.open(archive) as tar:
        lines = tar.extractfile(LIST).read().decode().split()
    return [line.removeprefix(f"{COLLECTION}:") for line in lines]


class Kselftest(Program):
    """One run of run_kselftest.sh, which has to report exactly the programs `names`."""

    def __init__(self, path, limit, names, arguments=()):
        super().__init__("kselftest", path, limit, arguments)
        self.names = names
        self.seen = []
        self.wrong = []
        self.runner = Tap()
        self.name_now = None
        self.tests = Tap()

    def feed(self, line):
        print(line, flush=True)
        line = line.rstrip()
        self.runner.feed(line)
        start, result = START.match(line), RESULT.match(line)
        if start:
            self.name_now = start.group(1)
            self.tests = Tap()
        elif result:
            self._close_program(bool(result.group(1)), result.group(2))
        elif line.startswith("# "):
            self.tests.feed(line.removeprefix("# "))

    def _close_program(self, bad, name):
        """The runner's verdict on a program."""
        tests = self.tests
        self.seen.append(name)
        if name != self.name_now:
            self.wrong.append(f"{name} has a result and was not run")
        self.wrong += [f"{name}: {fault}" for fault in tests.faults(None)]
        if bad != bool(tests.failed):
            self.wrong.append(f"{name} is {'not ok' if bad else 'ok'}, its tests are not")
        self._count(tests)

    def _count(self, tests):
        self.tap.passed += tests.passed
        self.tap.failed += tests.failed
        self.tap.skipped += tests.skipped
        self.name_now, self.tests = None, Tap()

    def judge(self, status):
        if self.name_now:
            self.wrong.append(f"{self.name_now} has not ended")
            self._count(self.tests)
        wrong = self.wrong + self.runner.faults(int(status))
        wrong += [f"{name} did not run" for name in sorted({*self.names} - {*self.seen})]
        wrong += [f"{name} is unknown" for name in sorted({*self.seen} - {*self.names})]
        return wrong

# SPDX-License-Identifier: GPL-2.0
"""Read TAP (version 13, as kselftests print it) line by line.

Only the top level counts: indented lines are subtests or diagnostics. Whatever could hide a
failure is a failure: no plan, a plan with more or fewer tests than reported, numbers twice or
out of order.
"""

import re

PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*(.*))?$")
POINT = re.compile(r"^(not )?ok\b\s*(\d+)?\s*-?\s*(.*)$")
DIRECTIVE = re.compile(r"#\s*(SKIP|TODO|XFAIL)\b", re.IGNORECASE)


class Tap:
    """The tests of one program: their counts, and what is wrong with its output."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.plan = None
        self.bailed = None
        self.disorder = None

    def feed(self, line):
        """Take one line of the program's output."""
        line = line.rstrip()
        if line.startswith("Bail out!"):
            self.bailed = self.bailed or line
            return
        match = PLAN.match(line)
        if match:
            if self.plan is not None:
                self.disorder = "two plans"
            self.plan = int(match.group(1))
            if self.plan == 0:
                self.skipped += 1
            return
        match = POINT.match(line)
        if match:
            self._point(bool(match.group(1)), match.group(2), match.group(3))

    def _point(self, bad, number, text):
        expected = self.points + 1
        if number is not None and int(number) != expected:
            self.disorder = f"test {number} where {expected} was due"
        directive = DIRECTIVE.search(text)
        if directive and not bad:
            # A test that did not run, or is known to fail, shows nothing about the driver.
            self.skipped += 1
        elif bad:
            self.failed += 1
        else:
            self.passed += 1

    @property
    def points(self):
        """Number of tests reported."""
        skipped = 0 if self.plan == 0 else self.skipped
        return self.passed + self.failed + skipped

    def faults(self, status):
        """Return what else is wrong after the end of the program, a sentence each.

        `status` is its exit status, or None if there is none to judge.
        """
        faults = []
        if self.bailed:
            faults.append(self.bailed)
        if self.plan is None:
            faults.append("no plan (1..N) in its output")
        elif self.plan != self.points:
            faults.append(f"{self.plan} tests planned, {self.points} reported")
        if self.disorder:
            faults.append(self.disorder)
        skip = status == 4 and self.skipped  # kselftest: KSFT_SKIP
        if status not in (0, None) and not skip and not self.failed and not faults:
            faults.append(f"exit status {status}, but no test failed")
        return faults

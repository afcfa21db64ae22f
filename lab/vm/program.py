# SPDX-License-Identifier: GPL-2.0
"""Programs: how each kind reports, and how its report and exit status are judged."""

import os
import time

from .tap import Tap


class Program:
    """A program that prints TAP. `path` is its file, for one that runs in a guest."""

    # Printed after its counts.
    gap = "\n"

    def __init__(self, name, path=None, limit=60, arguments=()):
        self.name = name
        self.path = path
        self.limit = limit
        self.arguments = arguments
        self.tap = Tap()
        self.faults = []
        self.started = None
        self.ended = False

    def start(self):
        """Note that it is about to run."""
        self.started = time.monotonic()
        print(f"# {self.name}", flush=True)

    def feed(self, line):
        """Take a line of its output."""
        print(line, flush=True)
        self.tap.feed(line)

    def end(self, status):
        """Note that it has ended, with an exit status, or "late" if it was killed."""
        if status == "late":
            self.fail(f"took more than {self.limit} s and was killed")
            return
        for fault in self.judge(status):
            self.fault(fault)
        self._close()

    def judge(self, status):
        """Return what is wrong with its output and status, a sentence each."""
        return self.tap.faults(int(status))

    def fail(self, why):
        """Note that it did not reach its end."""
        self.fault(why)
        self._close()

    def fault(self, why):
        """Note a fault besides the tests that it reports."""
        self.faults.append(why)
        print(f"FAIL {self.name}: {why}", flush=True)

    def _close(self):
        self.ended = True
        took = f" in {time.monotonic() - self.started:.1f} s" if self.started else ""
        print(f"# {self.name}: {summary([self])}{took}{self.gap}", flush=True)

    @property
    def called(self):
        """The name that it is started by: that of its first file."""
        return os.path.basename(self.files[0])

    @property
    def files(self):
        """Its files for the guest. The first is started."""
        return [self.path or self.name]

    @property
    def running(self):
        """Whether it has started and not ended."""
        return bool(self.started) and not self.ended

    @property
    def passed(self):
        """Number of its tests that passed."""
        return self.tap.passed

    @property
    def failed(self):
        """Number of its tests that failed, and of other faults."""
        return self.tap.failed + len(self.faults)

    @property
    def skipped(self):
        """Number of its tests that were skipped."""
        return self.tap.skipped


class Demo(Program):
    """A program that prints no TAP, but a line PASS."""

    said_pass = False

    def feed(self, line):
        print(line, flush=True)
        self.said_pass = self.said_pass or line.strip() == "PASS"

    def judge(self, status):
        if status != "0":
            return [f"exit status {status}"]
        if not self.said_pass:
            return ["did not print PASS"]
        self.tap.passed += 1
        return []


class BrokenDemo(Program):
    """The demo with a mistake made on purpose, which it must notice and report with FAIL."""

    said_fail = False

    def feed(self, line):
        print(line, flush=True)
        self.said_fail = self.said_fail or line.startswith("FAIL:")

    def judge(self, status):
        if status != "1" or not self.said_fail:
            return [f"a mistake on purpose was not noticed: exit status {status}"]
        self.tap.passed += 1
        return []


class Plain(Program):
    """A program whose exit status is its only result."""

    def feed(self, line):
        print(line, flush=True)

    def judge(self, status):
        if status != "0":
            return [f"exit status {status}"]
        self.tap.passed += 1
        return []


class Phase(Plain):
    """A phase of the guest itself, such as loading the modules.

    Its status is an exit status, followed by the reason if that is not 0.
    """


def summary(programs):
    """The sum of their counts, as text."""
    text = f"{sum(p.passed for p in programs)} passed, {sum(p.failed for p in programs)} failed"
    skipped = sum(p.skipped for p in programs)
    return text + (f", {skipped} skipped" if skipped else "")

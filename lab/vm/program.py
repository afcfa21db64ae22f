# SPDX-License-Identifier: GPL-2.0
"""What is run, what it said, and what became of it."""

import os
import time

from tap import Tap


class Program:
    """A program that prints TAP; in a guest if `path` is set."""

    # What is printed after its counts.
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
        """It is about to run."""
        self.started = time.monotonic()
        print(f"# {self.name}", flush=True)

    def feed(self, line):
        """One line of its output."""
        print(line, flush=True)
        self.tap.feed(line)

    def end(self, status):
        """It has ended, with an exit status or, in words, otherwise."""
        if status == "late":
            self.fail(f"took more than {self.limit} s and was killed")
            return
        for fault in self.judge(status):
            self.fault(fault)
        self._close()

    def judge(self, status):
        """What is wrong with its output and status."""
        return self.tap.faults(int(status))

    def fail(self, why):
        """It did not come to its end."""
        self.fault(why)
        self._close()

    def fault(self, why):
        """Something is wrong with it, apart from the tests that it reports."""
        self.faults.append(why)
        print(f"FAIL {self.name}: {why}", flush=True)

    def _close(self):
        self.ended = True
        took = f" in {time.monotonic() - self.started:.1f} s" if self.started else ""
        print(f"# {self.name}: {summary([self])}{took}{self.gap}", flush=True)

    @property
    def called(self):
        """The name that it is run by: that of its first file."""
        return os.path.basename(self.files[0])

    @property
    def files(self):
        """What of it has to be in the guest; the first is what is started."""
        return [self.path or self.name]

    @property
    def running(self):
        """Started and not ended."""
        return bool(self.started) and not self.ended

    @property
    def passed(self):
        """Tests of it that passed."""
        return self.tap.passed

    @property
    def failed(self):
        """Tests of it that failed, and what else went wrong with it."""
        return self.tap.failed + len(self.faults)

    @property
    def skipped(self):
        """Tests of it that did not apply."""
        return self.tap.skipped


class Demo(Program):
    """A program that prints no TAP but says PASS, on a line of its own."""

    said_pass = False

    def feed(self, line):
        print(line, flush=True)
        self.said_pass = self.said_pass or line.strip() == "PASS"

    def judge(self, status):
        if status != "0":
            return [f"exit status {status}"]
        if not self.said_pass:
            return ["did not say PASS"]
        self.tap.passed += 1
        return []


class BrokenDemo(Program):
    """The demo told to go wrong in one place: it has to notice, and say FAIL."""

    said_fail = False

    def feed(self, line):
        print(line, flush=True)
        self.said_fail = self.said_fail or line.startswith("FAIL:")

    def judge(self, status):
        if status != "1" or not self.said_fail:
            return [f"went wrong on purpose, and ended with status {status}"]
        self.tap.passed += 1
        return []


class Plain(Program):
    """A program that tells by its exit status alone."""

    def feed(self, line):
        print(line, flush=True)

    def judge(self, status):
        if status != "0":
            return [f"exit status {status}"]
        self.tap.passed += 1
        return []


class Phase(Plain):
    """A phase of the guest itself: loading the modules, unloading them.

    Its status is an exit status, and the reason if that is not 0.
    """


def summary(programs):
    """The counts of all of them, in words."""
    text = f"{sum(p.passed for p in programs)} passed, {sum(p.failed for p in programs)} failed"
    skipped = sum(p.skipped for p in programs)
    return text + (f", {skipped} skipped" if skipped else "")

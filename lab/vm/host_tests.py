# SPDX-License-Identifier: GPL-2.0
"""Tests that run in the toolchain root, without a guest."""

import os
import re
import subprocess
import sys
import time

from .program import Program

# Seconds.
LIMIT = 300


class UnitTests(Program):
    """A run of Python's unittest, counted from the last lines of its report."""

    RAN = re.compile(r"^Ran (\d+) tests? in ")
    VERDICT = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$")

    def __init__(self, name, limit=LIMIT):
        super().__init__(name, limit=limit)
        self.ran = 0
        self.verdict = None

    def feed(self, line):
        print(line, flush=True)
        if match := self.RAN.match(line):
            self.ran = int(match.group(1))
        elif match := self.VERDICT.match(line):
            self.verdict = match.group(1) or ""

    def judge(self, status):
        if self.verdict is None:
            return [f"exit status {status}, and no verdict"]
        counts = {name: int(n) for name, n in re.findall(r"([a-z ]+)=(\d+)", self.verdict)}
        counts = {name.strip(): n for name, n in counts.items()}
        bad = ("failures", "errors", "unexpected successes")
        self.tap.failed = sum(counts.get(name, 0) for name in bad)
        self.tap.skipped = counts.get("skipped", 0) + counts.get("expected failures", 0)
        self.tap.passed = max(self.ran - self.tap.failed - self.tap.skipped, 0)
        if not self.ran:
            return ["no test ran"]
        return [f"exit status {status}"] if status != "0" and not self.tap.failed else []


# The commands that test the lab itself, and the driver's pure logic.
HOST_TESTS = {
    "lab": (
        UnitTests,
        [sys.executable, "-m", "unittest", "discover", "-v", "-b", "-s", "/src/tests/lab"],
    ),
    "unit": (Program, ["/src/tests/unit/run"]),
}


def run_on_host(name):
    """Run one of HOST_TESTS, within its limit."""
    kind, command = HOST_TESTS[name]
    program = kind(f"tests/{name}", limit=LIMIT)
    program.start()
    deadline = time.monotonic() + program.limit
    with subprocess.Popen(
        ["timeout", "-k", "5", str(program.limit), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "OUT": "/out/unit"},
    ) as process:
        for line in process.stdout:
            program.feed(line.rstrip("\n"))
    late = time.monotonic() > deadline
    program.end("late" if late else str(process.returncode))
    return program

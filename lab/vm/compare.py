# SPDX-License-Identifier: GPL-2.0
"""The kernel's mm tests, each run twice in one boot: on system memory, and with its memory
moved to a node (tests/mm/node.c). Only the differences are judged.

A test passes if it passes in both runs. If it fails or skips in both, it says nothing about
the node and counts as skipped. A difference is a failure, or counts as skipped if
tests/mm/differences lists it. An entry of that list that does not occur is a failure, too.
"""

import fnmatch
import os
import re
from dataclasses import dataclass, field

from .program import Program
from .tap import DIRECTIVE, POINT

SUFFIX = "-node"

NODE = re.compile(r"^# node: (\d+) calls, (\d+) with pages there, (\d+) moved, .* (\d+) refused \(")

# Stands for the test of a program that reports none.
STATUS = "exit status"


class ComparedRun(Program):
    """One of the two runs of a program: logs its output, and keeps each test's result."""

    def __init__(self, name, path, limit, arguments, logs=None):
        super().__init__(name, path, limit, arguments)
        self.log = os.path.join(logs, f"{name}.txt") if logs else os.devnull
        self.file = None
        self.results = []
        self.status = None

    def start(self):
        super().start()
        # Run again if the guest died.
        self.results = []
        self.file = open(self.log, "w", buffering=1, encoding="utf-8")  # noqa: SIM115

    def feed(self, line):
        self.file.write(line + "\n")
        match = POINT.match(line)
        if match:
            text = match.group(3)
            directive = DIRECTIVE.search(text)
            verdict = "fail" if match.group(1) else "pass"
            if directive and not match.group(1):
                verdict = directive.group(1).lower()
            self.results.append((verdict, DIRECTIVE.split(text)[0].strip() or text))

    def judge(self, status):
        self.status = status
        return []

    def _close(self):
        self.ended = True
        if self.file:
            self.file.close()


class OnSystem(ComparedRun):
    """The run on system memory. Its faults are not the node's: they are only noted."""

    def fault(self, why):
        # The kernel's log may have one after the program has ended.
        self.status = self.status or why
        print(f"NOTE {self.name}, on system memory: {why}", flush=True)


class OnNode(ComparedRun):
    """The run on the node. It fails unless pages were on the node."""

    moved = 0

    @property
    def called(self):
        """The name tells tests/mm/node.c to move the memory."""
        return self.name

    def feed(self, line):
        super().feed(line)
        match = NODE.match(line)
        if match:
            self.moved = int(match.group(2)) and int(match.group(3))
            print(line.replace("# node", f"# {self.name}"), flush=True)
            if int(match.group(4)):
                self.fault(f"the device could not be opened {match.group(4)} times")

    def judge(self, status):
        self.status = status
        return [] if self.moved else ["no page of it was on the node when it made its calls"]


@dataclass
class KnownDifference:
    """A line of tests/mm/differences."""

    program: str
    test: str
    machines: list[str]
    seen: bool = False

    def covers(self, program, test):
        """Whether it names this test."""
        return program == self.program and fnmatch.fnmatchcase(test, self.test)


def read_known(text, machine):
    """The known differences that apply to `machine`.

    A line is `program: test` or `program [machine, ...]: test`; the test may have wildcards.
    Comments begin with a #.
    """
    known = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+)(?: \[(.*)\])?: (.+)", line)
        if not match:
            raise ValueError(f"not `program: test`: {line}")
        program, machines, test = match.groups()
        entry = KnownDifference(program, test, re.split(r",\s*", machines) if machines else [])
        if not entry.machines or machine in entry.machines:
            known.append(entry)
    return known


@dataclass
class Pair:
    """Both runs of a program and their differences; counted like a program."""

    system: OnSystem
    node: OnNode
    known: list[KnownDifference]
    passed: int = 0
    skipped: int = 0
    differ: list[str] = field(default_factory=list)

    @property
    def name(self):
        """The name of the program."""
        return self.system.name

    @property
    def failed(self):
        """Number of unknown differences, and of other faults on the node."""
        return len(self.differ) + len(self.node.faults)

    def compare(self):
        """Compare test by test. Tests are matched by position: several can have the same
        name, and some names tell how the test failed."""
        for system, node in zip(self.system.results, self.node.results, strict=False):
            self._judge(system, node)
        for verdict, test in self.system.results[len(self.node.results) :]:
            self._differs(test, verdict, "not reached")
        for verdict, test in self.node.results[len(self.system.results) :]:
            self._differs(test, "not reached", verdict)
        same = self.system.status == self.node.status
        if not same and not self._results_differ() and not self.node.faults:
            self._differs(STATUS, self.system.status, self.node.status)
        elif same and not self.system.results:
            self._judge(
                *[("pass" if r.status == "0" else "fail", STATUS) for r in (self.system, self.node)]
            )

    def _results_differ(self):
        """Whether another exit status is explained by another result of a test."""
        system, node = ([verdict for verdict, _ in r.results] for r in (self.system, self.node))
        return system != node

    def _judge(self, system, node):
        if system[0] != node[0]:
            self._differs(system[1], system[0], node[0])
        elif system[0] in ("pass", "xfail"):
            self.passed += 1
        else:
            if system[0] == "fail":
                print(f"NOTE {self.name}: {system[1]}: fails on both")
            self.skipped += 1

    def _differs(self, test, system, node):
        known = [k for k in self.known if k.covers(self.name, test)]
        for entry in known:
            entry.seen = True
        text = f"{self.name}: {test}: {system} on system memory, {node} on the node"
        if known:
            self.skipped += 1
        else:
            self.differ.append(text)
        print(f"{'KNOWN' if known else 'DIFFER'} {text}")


@dataclass
class StaleDifferences:
    """Known differences that did not occur; counted like a program."""

    known: list[KnownDifference]
    name: str = "differences"
    passed: int = 0
    skipped: int = 0

    @property
    def failed(self):
        """How many there are."""
        return sum(not k.seen for k in self.known)

    def report(self):
        """Print them."""
        for entry in self.known:
            if not entry.seen:
                print(f"FAIL {self.name}: did not occur: {entry.program}: {entry.test}")

# SPDX-License-Identifier: GPL-2.0
"""The kernel's own tests, each run twice in one boot: as it is, on system memory,
and on memory that is moved to a node (tests/mm/node.c). What counts is where the
two differ.

A test that does the same in both passes; if it fails or skips in both, that says
nothing about the node, and it is counted as skipped. A difference is a failure,
unless tests/mm/differences has it: then it is counted as skipped, too. What is in
that file and is not seen any more is a failure as well.
"""

import fnmatch
import os
import re
from dataclasses import dataclass, field

from program import Program
from tap import DIRECTIVE, POINT

SUFFIX = "-node"

NODE = re.compile(r"^# node: (\d+) calls, (\d+) with pages there, (\d+) moved, .* (\d+) refused \(")

# The name of a test that is the whole program.
STATUS = "exit status"


class Column(Program):
    """One of the two runs: keeps what it said, and what became of each test."""

    def __init__(self, name, path, limit, arguments, logs=None):
        super().__init__(name, path, limit, arguments)
        self.log = os.path.join(logs, f"{name}.txt") if logs else os.devnull
        self.file = None
        self.results = []
        self.status = None

    def start(self):
        super().start()
        # A guest that died under it is booted again, and so may this be run.
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


class OnSystem(Column):
    """The run on system memory. What goes wrong in it is not the node's fault."""

    def fault(self, why):
        # Also what the kernel's log has of it, after it has ended.
        self.status = self.status or why
        print(f"NOTE {self.name}, on system memory: {why}", flush=True)


class OnNode(Column):
    """The run on the node: it has to have been there."""

    moved = 0

    @property
    def called(self):
        """It moves its memory because of its name."""
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
class Known:
    """One line of the list of differences."""

    program: str
    test: str
    machines: list[str]
    seen: bool = False

    def covers(self, program, test):
        """Whether it is about this test."""
        return program == self.program and fnmatch.fnmatchcase(test, self.test)


def read_known(text, machine):
    """The list of differences, as far as it is for `machine`.

    A line is `program: test` or `program [machine, ...]: test`, the test with wildcards;
    comments begin with a #.
    """
    known = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+)(?: \[(.*)\])?: (.+)", line)
        if not match:
            raise ValueError(f"not a difference: {line}")
        program, machines, test = match.groups()
        one = Known(program, test, re.split(r",\s*", machines) if machines else [])
        if not one.machines or machine in one.machines:
            known.append(one)
    return known


@dataclass
class Pair:
    """Both runs of a program, and what differs. Judged like a program."""

    system: OnSystem
    node: OnNode
    known: list[Known]
    passed: int = 0
    skipped: int = 0
    differ: list[str] = field(default_factory=list)

    @property
    def name(self):
        """That of the program."""
        return self.system.name

    @property
    def failed(self):
        """Differences that nobody knows, and what else went wrong on the node."""
        return len(self.differ) + len(self.node.faults)

    def compare(self):
        """Test by test. They are told apart by their place, as some have the same
        name and others one that tells how they failed."""
        for system, node in zip(self.system.results, self.node.results, strict=False):
            self._one(system, node)
        for verdict, test in self.system.results[len(self.node.results) :]:
            self._differs(test, verdict, "did not come to it")
        for verdict, test in self.node.results[len(self.system.results) :]:
            self._differs(test, "did not come to it", verdict)
        same = self.system.status == self.node.status
        if not same and not self._seen() and not self.node.faults:
            self._differs(STATUS, self.system.status, self.node.status)
        elif same and not self.system.results:
            self._one(
                *[("pass" if c.status == "0" else "fail", STATUS) for c in (self.system, self.node)]
            )

    def _seen(self):
        """Whether there is a difference that explains another exit status."""
        verdicts = [[v for v, _ in c.results] for c in (self.system, self.node)]
        return verdicts[0] != verdicts[1]

    def _one(self, system, node):
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
        for one in known:
            one.seen = True
        text = f"{self.name}: {test}: {system} on system memory, {node} on the node"
        if known:
            self.skipped += 1
        else:
            self.differ.append(text)
        print(f"{'KNOWN' if known else 'DIFFER'} {text}")


@dataclass
class Stale:
    """Entries of the list that nothing came of, judged like a program."""

    known: list[Known]
    name: str = "differences"
    passed: int = 0
    skipped: int = 0

    @property
    def failed(self):
        """How many."""
        return sum(not k.seen for k in self.known)

    def report(self):
        """Name them."""
        for one in self.known:
            if not one.seen:
                print(f"FAIL {self.name}: not seen: {one.program}: {one.test}")

# SPDX-License-Identifier: GPL-2.0
"""Recorded kernel logs (log/) and TAP (tap/). Everything in bad/ has to fail, and a log has to
be blamed on the program "victim"; everything in good/ has to pass."""

import pathlib
import unittest

from vm.klog import scan
from vm.tap import Tap

HERE = pathlib.Path(__file__).parent


def blamed(path):
    """The programs that the errors of a log are blamed on."""
    return [finding.program for finding in scan(path.read_text(encoding="utf-8"))]


def passes(path):
    """Whether a program with this output passes; the first line has its exit status."""
    text = path.read_text(encoding="utf-8")
    tap = Tap()
    for line in text.splitlines():
        tap.feed(line)
    status = int(text.split(maxsplit=3)[2])
    return not tap.faults(status) and not tap.failed


class TestLogs(unittest.TestCase):
    """A test for each file in log/."""


class TestTap(unittest.TestCase):
    """A test for each file in tap/."""


def add_tests(case, pattern, judge, expected):
    """Add a test method for each file: `judge` has to return `expected`."""
    paths = sorted(HERE.glob(pattern))
    if not paths:
        raise FileNotFoundError(HERE / pattern)
    for path in paths:

        def test(self, path=path):
            self.assertEqual(judge(path), expected)

        setattr(case, f"test_{path.parent.name}_{path.stem.replace('-', '_')}", test)


add_tests(TestLogs, "log/bad/*.log", blamed, ["victim"])
add_tests(TestLogs, "log/good/*.log", blamed, [])
add_tests(TestTap, "tap/bad/*.tap", passes, False)
add_tests(TestTap, "tap/good/*.tap", passes, True)

# SPDX-License-Identifier: GPL-2.0
"""What a guest can do to a run of programs."""

import unittest

from fakes import LOADED, UNLOADED, boot, failed, report
from vm.klog import scan
from vm.program import Phase, Program
from vm.session import LOAD, UNLOAD, judge_log

A = report("a", "1..1", "ok 1 x")
B = report("b", "1..1", "ok 1 x")
# It dies in `a`.
BEGUN = [*LOADED, "@@lab start a", "1..1"]


class TestSession(unittest.TestCase):
    """Two programs, a and b."""

    def assert_failed(self, names, *scripts, console=""):
        """Boots that report `scripts` make exactly these fail."""
        self.assertEqual(failed(scripts, [Program("a"), Program("b")], console), sorted(names))

    def test_all_pass(self):
        self.assert_failed([], boot(*A, *B))

    def test_another_machine(self):
        self.assert_failed([LOAD], boot(*A, *B), console=None)

    def test_program_missing(self):
        self.assert_failed(["b"], boot(*A))

    def test_program_too_slow(self):
        self.assert_failed(["a"], boot(*report("a", "1..1", status="late"), *B))

    def test_guest_hangs(self):
        self.assert_failed(["a"], [*BEGUN, None], boot(*B))

    def test_program_cannot_be_killed(self):
        self.assert_failed(["a"], [*BEGUN, "@@lab stuck a"], boot(*B))

    def test_guest_panics(self):
        self.assert_failed(["a"], BEGUN, boot(*B))

    def test_guest_does_not_boot(self):
        self.assert_failed(["a", "b", LOAD], [None])

    def test_modules_do_not_load(self):
        lines = [f"@@lab start {LOAD}", f"@@lab end {LOAD} 1 insmod: no such symbol", "@@lab bye"]
        self.assert_failed(["a", "b", LOAD], lines)

    def test_modules_do_not_load_again(self):
        self.assert_failed(["a"], boot("@@lab unloaded a insmod: busy", *B))

    def test_modules_do_not_unload(self):
        lines = [*boot(*A, *B)[:-2], f"@@lab end {UNLOAD} 1 rmmod: busy", "@@lab bye"]
        self.assert_failed([UNLOAD], lines)

    def test_guest_does_not_power_off(self):
        self.assert_failed([LOAD], [*LOADED, *A, *B, *UNLOADED, None])

    def test_bug_in_log(self):
        log = "hmm-cdm-lab: start b\nBUG: Bad page map\nhmm-cdm-lab: end b\n"
        self.assert_failed(["b"], boot(*A, *B), console=log)

    def test_warning_after_program(self):
        log = "hmm-cdm-lab: end b\nWARNING: late\n"
        self.assert_failed(["b"], boot(*A, *B), console=log)

    def test_warning_at_boot(self):
        log = "WARNING: at boot\nhmm-cdm-lab: start a\n"
        self.assert_failed([LOAD], boot(*A, *B), console=log)

    def test_panic_at_boot(self):
        phase = Phase(LOAD)
        judge_log(scan("Kernel panic - not syncing: before any program"), {}, phase)
        self.assertEqual(phase.failed, 1)

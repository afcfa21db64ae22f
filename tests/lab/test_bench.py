# SPDX-License-Identifier: GPL-2.0
"""Samples of cdm-bench, costs, targets and tables."""

import pathlib
import tempfile
import unittest

from vm.bench import HUGE, Bench, Cost, Results, report, targets, write_csv


def measured(lines, status="0"):
    """A bench that prints this."""
    program = Bench("bench", ["bench"], 60)
    program.start()
    for line in lines:
        program.feed(line)
    program.end(status)
    return program


def costs(clock=20000000, **samples):
    """Results from operation__side=[costs for 2 MiB], or {bytes: [costs]}."""
    found = {("clock", "cpu", 20000000): [clock]}
    for key, values in samples.items():
        operation, side = key.split("__")
        sizes = values if isinstance(values, dict) else {HUGE: values}
        for length, list_of in sizes.items():
            found[operation.replace("_", "-"), side, length] = list_of
    return Results(found)


def verdicts(**samples):
    """The texts of the targets that are met and missed."""
    all_of = list(targets(costs(**samples)))
    return [[v.text for v in all_of if v.met is met] for met in (True, False)]


class TestBench(unittest.TestCase):
    """What cdm-bench prints."""

    LINES = ("sample in ours 4096 7", "sample in ours 4096 9", "done")

    def test_reaches_its_end(self):
        program = measured(self.LINES)
        self.assertEqual((program.passed, program.failed), (1, 0))

    def test_samples_keep_their_order(self):
        self.assertEqual(measured(self.LINES).samples["in", "ours", 4096], [7, 9])

    def test_no_end(self):
        self.assertEqual(measured(self.LINES[:2]).failed, 1)

    def test_fails(self):
        self.assertEqual(measured(self.LINES, "1").failed, 1)

    def test_half_a_sample(self):
        lines = ["sample in ours 4096", "sample in ours 4096 -1", "done"]
        self.assertFalse(measured(lines).samples)


class TestCost(unittest.TestCase):
    """Medians, differences and the clock."""

    def test_outliers_do_not_matter(self):
        cost = Cost.of([900, 100, 101, 102, 99, 100, 101, 1])
        self.assertEqual(cost.median, 100.5)
        self.assertLess(cost.spread, 0.02)

    def test_median_of_even_number(self):
        self.assertEqual(Cost.of([1, 3]).median, 2)

    def test_difference(self):
        self.assertEqual(Cost(100, 0.1, 3).less(Cost(80, 0, 3)).median, 20)

    def test_difference_is_not_negative(self):
        self.assertEqual(Cost(10, 0, 3).less(Cost(80, 0, 3)).median, 0)

    def test_clock_counts(self):
        self.assertIsNone(costs(clock=20100000).clock_fault())

    def test_clock_does_not_count(self):
        self.assertIsNotNone(costs(clock=80000000).clock_fault())

    def test_no_clock(self):
        self.assertIsNotNone(Results({}).clock_fault())

    def test_change_without_base_cost(self):
        net = costs(munmap__ours=[150], munmap_none__ours=[100], mprotect_none__ours=[30])
        self.assertEqual(net.cost("munmap", "ours", HUGE).median, 50)

    def test_unknown_without_base_cost(self):
        self.assertIsNone(costs(dontneed__ours=[150]).cost("dontneed", "ours", HUGE))


class TestTargets(unittest.TestCase):
    """Targets that are just met and just missed."""

    def test_floor(self):
        met, missed = verdicts(in__ours=[115], in__floor=[100], out__ours=[116], out__floor=[100])
        self.assertEqual(met, ["in against the floor, at most 1.15x"])
        self.assertEqual(missed, ["out against the floor, at most 1.15x"])

    def test_half_of_test_hmm(self):
        met, _ = verdicts(in__ours=[50], in__test_hmm=[100])
        self.assertEqual([t[:19] for t in met], ["in against test_hmm"])

    def test_populate_above_cpu(self):
        _, missed = verdicts(populate__ours=[99], cpu_touch__cpu=[98])
        self.assertEqual([t[:20] for t in missed], ["populate against the"])

    def test_more_than_half_with_its_read(self):
        met, missed = verdicts(**{"in__ours": [51], "in__test_hmm+read": [100]})
        self.assertFalse(met)
        self.assertIn("its read", str(missed))

    def test_all_moves_have_a_floor(self):
        met, missed = verdicts(
            peer__ours=[116], peer__floor=[100], evict__ours=[7], evict__floor=[7]
        )
        self.assertIn("evict", str(met))
        self.assertIn("peer", str(missed))

    def test_flat(self):
        met, missed = verdicts(in__ours={64 << 10: [161], HUGE: [512 * 11], 8 * HUGE: [4096 * 11]})
        self.assertEqual([t[:3] for t in met], ["in:", "in:"])
        self.assertFalse(missed)

    def test_steep_below_2_mib(self):
        met, missed = verdicts(in__ours={64 << 10: [145], HUGE: [512 * 11], 8 * HUGE: [4096 * 11]})
        self.assertIn("64 KiB", str(missed))
        self.assertIn("2 MiB", str(met))

    def test_memory_of_a_mirror(self):
        met, missed = verdicts(mirror_memory__ours=[4136])
        self.assertEqual((len(met), len(missed)), (1, 0))

    def test_too_much_memory_of_a_mirror(self):
        met, missed = verdicts(mirror_memory__ours=[4137])
        self.assertEqual((len(met), len(missed)), (0, 1))

    def test_nothing_measured(self):
        self.assertEqual(verdicts(), [[], []])


class TestReport(unittest.TestCase):
    """The table and the CSV."""

    def test_table(self):
        text = "\n".join(report(costs(in__ours=[1234567], in__floor=[1000000], munmap__ours=[5])))
        self.assertIn("1,234,567", text)
        self.assertIn("1.23x", text)

    def test_csv(self):
        with tempfile.TemporaryDirectory() as where:
            write_csv(costs(in__ours=[7], in__floor=[5]), f"{where}/x.csv")
            rows = pathlib.Path(where, "x.csv").read_text(encoding="utf-8").splitlines()
        self.assertEqual(len(rows), 2)
        self.assertTrue(rows[1].startswith(f"in,{HUGE},7,,5,"))

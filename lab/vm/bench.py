# SPDX-License-Identifier: GPL-2.0
"""The results of cdm-bench: samples, medians, tables, and verdicts on the targets."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from .program import Program

PAGE = 4096
HUGE = 2 << 20

# Titles by the names that cdm-bench uses, in the order of the table.
OPERATIONS = {
    "populate": "populate: device memory for untouched memory",
    "in": "migrate in, base pages",
    "in-huge": "migrate in, a huge page",
    "out": "migrate out",
    "peer": "from the memory of another device",
    "evict": "evict one page",
    "fault": "device fault, base pages are present",
    "fault-huge": "device fault, a huge page is present",
    "touch-system": "device's first touch, system memory comes",
    "touch-node": "device's first touch, device memory comes",
    "open": "mprotect() where a mirror has no entries",
    "munmap": "munmap() takes device entries away",
    "mprotect": "mprotect() takes device entries away",
    "dontneed": "MADV_DONTNEED takes device entries away",
    "cpu-touch": "CPU's first touch, base pages",
    "cpu-touch-huge": "CPU's first touch, a huge page",
    "copy": "the copy of a page alone",
    "zero": "the zeroing of a page alone",
}
# Their cost is the difference to the same call without device entries.
CHANGES = ("munmap", "mprotect", "dontneed")
# Small differences of large numbers: a spread would say nothing.
DIFFERENCES = (*CHANGES, "open")
# Operations of one side only, which has no column in the table.
ONE_SIDE = {"cpu-touch": "cpu", "cpu-touch-huge": "cpu", "copy": "floor", "zero": "floor"}
SIDES = ("ours", "test_hmm", "floor")

# Kinds and numbers of workers that move memory at the same time.
MOVERS = ("threads", "processes")
COUNTS = (1, 2, 4)

# Targets: the highest ratios allowed.
OF_REFERENCE = 0.5
OF_FLOOR = {
    **dict.fromkeys(("in", "in-huge", "out", "peer", "evict"), 1.15),
    **dict.fromkeys(("fault", "fault-huge"), 1.2),
}
FLAT = 0.10
FLAT_FROM = (64 << 10, HUGE)
FLAT_OPERATIONS = ("populate", "in", "out", "fault")
BYTES_PER_PAGE = 8 * 1.01
# Tolerance of the clock, over a loop of a known number of instructions.
CLOCK = 0.01


class Bench(Program):
    """cdm-bench: `sample <operation> <side> <bytes> <cost>`, `error ...`, `done`."""

    def __init__(self, name, files, limit, arguments=()):
        super().__init__(name, limit=limit, arguments=arguments)
        self._files = files
        self.samples = defaultdict(list)
        self.done = False

    @property
    def files(self):
        return self._files

    def feed(self, line):
        words = line.split()
        if len(words) == 5 and words[0] == "sample" and words[3].isdigit() and words[4].isdigit():
            _, operation, side, length, cost = words
            self.samples[operation, side, int(length)].append(int(cost))
        elif words == ["done"]:
            self.done = True
        elif words:
            print(line, flush=True)

    def judge(self, status):
        if status != "0":
            return [f"exit status {status}"]
        if not self.done:
            return ["did not reach its end"]
        self.tap.passed += 1
        return []


@dataclass(frozen=True)
class Cost:
    """The median of several samples, and the largest distance of the middle half of them from
    it, as a fraction of it."""

    median: float
    spread: float
    samples: int

    @classmethod
    def of(cls, samples):
        """The cost from one or more samples."""
        rest = sorted(samples)
        cut = len(rest) // 4
        kept = rest[cut : len(rest) - cut]
        middle = median(rest)
        spread = max(kept[-1] - middle, middle - kept[0])
        return cls(middle, spread / middle if middle else 0.0, len(rest))

    def less(self, other):
        """The difference to `other`, at least 0. The spread keeps its absolute width."""
        middle = max(self.median - other.median, 0.0)
        spread = self.spread * self.median / middle if middle else 0.0
        return Cost(middle, spread, self.samples)


class Results:
    """Costs by operation, side and bytes."""

    def __init__(self, samples):
        self._costs = {key: Cost.of(values) for key, values in samples.items()}

    def cost(self, operation, side, length):
        """The cost, less that of the same call without device entries; None if unknown."""
        cost = self._costs.get((operation, side, length))
        without = self._costs.get((f"{operation}-none", side, length))
        if operation == "open":
            cost = self._costs.get(("mprotect-none", side, length))
            without = self._costs.get(("mprotect-none", "nobody", length))
        elif operation not in CHANGES:
            return cost
        return cost.less(without) if cost and without else None

    def sizes(self, operation):
        """The sizes that it was measured with, in bytes."""
        operation = "mprotect-none" if operation == "open" else operation
        return sorted({length for name, _, length in self._costs if name == operation})

    def ratio(self, operation, length, other, side="ours"):
        """The cost as a multiple of that of `other`; None if unknown."""
        mine, theirs = self.cost(operation, side, length), self.cost(operation, other, length)
        return mine.median / theirs.median if mine and theirs and theirs.median else None

    def per_page(self, operation, side="ours"):
        """Cost of a page by size of the range."""
        found = ((length, self.cost(operation, side, length)) for length in self.sizes(operation))
        return {length: cost.median / (length / PAGE) for length, cost in found if cost}

    def clock_fault(self):
        """What is wrong with the clock, or None."""
        for (operation, _, length), cost in self._costs.items():
            if operation == "clock":
                if abs(cost.median / length - 1) <= CLOCK:
                    return None
                return (
                    f"{length} instructions took {cost.median:.0f}: the clock does not count them"
                )
        return "the clock was not checked"


@dataclass(frozen=True)
class Verdict:
    """A target and its measurement; `met` is None if nothing was measured."""

    text: str
    measured: str
    met: bool | None

    def line(self):
        """The verdict as text."""
        word = {True: "met", False: "missed", None: "not measured"}[self.met]
        return f"{word:12}  {self.text}: {self.measured}"


def at_most(text, value, limit):
    """The verdict on a ratio."""
    if value is None:
        return Verdict(f"{text}, at most {limit:g}x", "-", None)
    return Verdict(f"{text}, at most {limit:g}x", f"{value:.2f}x", value <= limit)


def span(results, operation, side, start):
    """Lowest and highest cost of a page in ranges from `start` bytes on, or None."""
    costs = [c for n, c in results.per_page(operation, side).items() if n >= start]
    return (min(costs), max(costs)) if len(costs) > 1 else None


def flatness(results, operation, start):
    """The verdict on the cost of a page over sizes of the range, with the floor's variation
    beside it, which no driver can avoid."""
    text = f"{operation}: a page costs the same from {size_name(start)} on, within {FLAT:.0%}"
    ours, floor = (span(results, operation, side, start) for side in ("ours", "floor"))
    if not ours:
        return Verdict(text, "-", None)
    said = [
        f"{low:.0f} to {high:.0f}, {high / low - 1:.0%}"
        for low, high in filter(None, (ours, floor))
    ]
    more = f" (floor {said[1]})" if floor else ""
    return Verdict(text, said[0] + more, ours[1] / ours[0] - 1 <= FLAT)


def memory(results, side="ours"):
    """Bytes of kernel memory for each page with an entry in a mirror, or None."""
    found = [results.cost("mirror-memory", side, n) for n in results.sizes("mirror-memory")]
    pages = [n / PAGE for n in results.sizes("mirror-memory")]
    return next((c.median / n for c, n in zip(found, pages, strict=True) if c), None)


def targets(results):
    """The verdicts on what was measured with 2 MiB, and over all sizes."""
    for operation in ("in", "out"):
        ratio = results.ratio(operation, HUGE, "test_hmm")
        yield at_most(f"{operation} against test_hmm", ratio, OF_REFERENCE)
    ratio = results.ratio("in", HUGE, "test_hmm+read")
    yield at_most("in against test_hmm with its read", ratio, OF_REFERENCE)
    for operation, limit in OF_FLOOR.items():
        yield at_most(
            f"{operation} against the floor", results.ratio(operation, HUGE, "floor"), limit
        )
    ours, cpu = results.cost("populate", "ours", HUGE), results.cost("cpu-touch", "cpu", HUGE)
    ratio = ours.median / cpu.median if ours and cpu else None
    yield at_most("populate against the CPU's first touch of base pages", ratio, 1.0)
    for start in FLAT_FROM:
        for operation in FLAT_OPERATIONS:
            yield flatness(results, operation, start)
    size = memory(results)
    text = f"a mirror's memory, at most {BYTES_PER_PAGE:g} bytes a page"
    met = None if size is None else size <= BYTES_PER_PAGE
    yield Verdict(text, "-" if size is None else f"{size:.2f}", met)


def number(value):
    """A number for a column of a table."""
    return "-" if value is None else f"{value:,.0f}"


def times(value):
    """A ratio for a column of a table."""
    return "-" if value is None else f"{value:.2f}x"


def table(results):
    """Costs of all operations, as lines of text."""
    yield f"{'instructions':44}{'for 4 KiB':^30}{'for 2 MiB':^33}{'of floor':>9}{'spread':>8}"
    yield f"{'':44}" + "".join(f"{s:>10}" for s in SIDES) + "".join(f"{s:>11}" for s in SIDES)
    for operation, title in OPERATIONS.items():
        if not results.sizes(operation):
            continue
        line = f"{title:44}"
        if operation in ONE_SIDE:
            side = ONE_SIDE[operation]
            costs = [results.cost(operation, side, n) for n in (PAGE, HUGE)]
            small, large = (number(c.median) if c else "-" for c in costs)
            yield f"{line}{small:>30}{large:>33}"
            continue
        for length, width in ((PAGE, 10), (HUGE, 11)):
            for side in SIDES:
                cost = results.cost(operation, side, length)
                line += f"{number(cost.median if cost else None):>{width}}"
        line += f"{times(results.ratio(operation, HUGE, 'floor')):>9}"
        cost = results.cost(operation, "ours", HUGE)
        yield line + (f"{cost.spread:8.1%}" if cost and operation not in DIFFERENCES else "")


def growth(results):
    """Cost of a page by size of the range, as lines of text."""
    sizes = [n for n in results.sizes("in") if n >= FLAT_FROM[0]]
    yield f"{'instructions for a page of':30}" + "".join(f"{size_name(n):>10}" for n in sizes)
    for operation in FLAT_OPERATIONS:
        for side in ("ours", "floor"):
            costs = results.per_page(operation, side)
            line = "".join(f"{number(costs.get(n)):>10}" for n in sizes)
            yield f"{operation + ', ' + side:30}{line}"


def size_name(length):
    """A size as text."""
    return f"{length >> 20} MiB" if length >= 1 << 20 else f"{length >> 10} KiB"


def threads(results):
    """How throughput grows with threads and processes, as lines of text."""
    yield f"{'moved in and out, times as much as by one':44}{'1':>10}{'2':>10}{'4':>10}"
    for who in MOVERS:
        for side in ("ours", "floor"):
            line = f"{f'{who} at the same time, {side}':44}"
            for count in COUNTS:
                value = None
                for length in results.sizes(f"{who}-{count}"):
                    one = results.cost(f"{who}-1", side, length)
                    many = results.cost(f"{who}-{count}", side, length)
                    value = count * one.median / many.median if one and many else None
                line += f"{times(value):>10}"
            yield line


def report(results):
    """All tables and verdicts, as lines of text."""
    parts = [
        table(results),
        growth(results),
        threads(results),
        (v.line() for v in targets(results)),
    ]
    return [line.rstrip() for part in parts for line in [*part, ""]][:-1]


def write_csv(results, path):
    """Write all costs, one operation and size a line."""
    sides = [*SIDES, "test_hmm+read", "cpu", "nobody"]
    names = ["operation", "bytes", *sides, *(f"{s} spread" for s in SIDES), "ours samples"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(names)
        together = [f"{who}-{count}" for who in MOVERS for count in COUNTS]
        for operation in [*OPERATIONS, "mirror-memory", *together]:
            for length in results.sizes(operation):
                costs = {s: results.cost(operation, s, length) for s in sides}
                row = [f"{c.median:.0f}" if c else "" for c in costs.values()]
                row += [f"{costs[s].spread:.4f}" if costs[s] else "" for s in SIDES]
                row.append(costs["ours"].samples if costs["ours"] else "")
                out.writerow([operation, length, *row])

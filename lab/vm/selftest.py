#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prove that the runner can fail: TAP, run by `make check`.

Feeds recorded logs and outputs (tests/lab) and the reports of guests that never
were to the code that judges the real ones. Everything under bad/ has to be red,
and blamed on the right program; everything under good/ has to be green.
"""

import contextlib
import io
import pathlib
import sys
import tempfile

from bench import HUGE, Bench, Cost, Results, report, targets, write_csv
from driver import Driver
from klog import scan
from kselftest import COLLECTION, Kselftest
from kunit import Kunit, declared
from compare import OnNode, OnSystem, Pair, Stale, read_known
from program import BrokenDemo, Demo, Phase, Plain, Program
from session import LOAD, UNLOAD, Session, judge_log
from hmm_tests import LEFT_IN_USE, Column, Run, declared_tests, ordered_runs, table
from tap import Tap

RECORDED = pathlib.Path(__file__).resolve().parents[2] / "tests/lab"

LOADED = [f"@@lab start {LOAD}", f"@@lab end {LOAD} 0 "]
UNLOADED = [f"@@lab start {UNLOAD}", f"@@lab end {UNLOAD} 0 ", "@@lab bye"]
GOOD = ["@@lab start a", "1..1", "ok 1 x", "", "@@lab end a 0"]


class FakeGuest:
    """A guest that reports the lines it was given and logs `console`."""

    accel = None
    driver = Driver("cdm_emu")
    console_name = "nowhere"
    proof = "the machine"

    def __init__(self, lines, console="", driver=None):
        self.script = lines
        self.console = console
        self.driver = driver or self.driver

    def choose_accel(self):
        return "tcg"

    def initramfs(self, *_):
        return "nothing"

    def boot(self, _):
        pass

    def allow(self, _):
        pass

    def stop(self):
        pass

    def lines(self):
        yield from self.script

    def log(self):
        return f"{self.proof}\n{self.console}" if self.console is not None else ""

    def death(self):
        return "the guest's kernel panicked: for a test"


def outcome(scripts, programs, console=""):
    """Run a session whose boots report `scripts`; returns all that was judged."""
    guests = iter([FakeGuest(lines, console) for lines in scripts])
    last = FakeGuest([])
    with contextlib.redirect_stdout(io.StringIO()):
        return Session(lambda: next(guests, last), programs).run()


def failed(scripts, programs, console=""):
    """The names of what failed in such a session."""
    return sorted({p.name for p in outcome(scripts, programs, console) if p.failed})


def log_findings(path):
    """Whom the log's errors were blamed on."""
    return [f.program for f in scan(path.read_text())]


def tap_is_good(path):
    """Whether a program with this output and status passes."""
    text = path.read_text()
    tap = Tap()
    for line in text.splitlines():
        tap.feed(line)
    status = int(text.split(maxsplit=3)[2])
    return not tap.faults(status) and not tap.failed


def recorded():
    """What tests/lab holds."""
    for path in sorted(RECORDED.glob("log/bad/*.log")):
        yield f"red: log {path.stem}", log_findings(path) == ["victim"]
    for path in sorted(RECORDED.glob("log/good/*.log")):
        yield f"green: log {path.stem}", log_findings(path) == []
    for path in sorted(RECORDED.glob("tap/bad/*.tap")):
        yield f"red: output {path.stem}", not tap_is_good(path)
    for path in sorted(RECORDED.glob("tap/good/*.tap")):
        yield f"green: output {path.stem}", tap_is_good(path)


def sessions():
    """What a guest can do to a run of programs."""

    def two():
        return [Program("a"), Program("b")]

    b_good = [line.replace(" a", " b") for line in GOOD]
    everything = [*LOADED, *GOOD, *b_good, *UNLOADED]
    yield "green: all is well", failed([everything], two()) == []
    yield "red: another machine", failed([everything], two(), None) == [LOAD]
    lacking = [*LOADED, *GOOD, *UNLOADED]
    yield "red: a program that is missing", failed([lacking], two()) == ["b"]
    late = [*LOADED, "@@lab start a", "1..1", "", "@@lab end a late", *b_good, *UNLOADED]
    yield "red: a program that takes too long", failed([late], two()) == ["a"]
    again = [*LOADED, *b_good, *UNLOADED]
    begun = [*LOADED, "@@lab start a", "1..1"]
    yield "red: a guest that hangs", failed([[*begun, None], again], two()) == ["a"]
    stuck = [*begun, "@@lab stuck a"]
    yield "red: a program that cannot be killed", failed([stuck, again], two()) == ["a"]
    yield "red: a guest that panics", failed([begun, again], two()) == ["a"]
    yield "red: a guest that does not boot", failed([[None]], two()) == ["a", "b", LOAD]
    refused = [f"@@lab start {LOAD}", f"@@lab end {LOAD} 1 insmod: no such symbol", "@@lab bye"]
    yield "red: modules that do not load", failed([refused], two()) == ["a", "b", LOAD]
    gone = [*LOADED, "@@lab unloaded a insmod: busy", *b_good, *UNLOADED]
    yield "red: modules that do not load again", failed([gone], two()) == ["a"]
    kept = [*everything[:-2], f"@@lab end {UNLOAD} 1 rmmod: busy", "@@lab bye"]
    yield "red: modules that do not unload", failed([kept], two()) == [UNLOAD]
    off = failed([[*everything, None]], two())
    yield "red: a guest that does not power off", off == [LOAD]
    bug = "hmm-cdm-lab: start b\nBUG: Bad page map\nhmm-cdm-lab: end b\n"
    yield "red: a log with a BUG", failed([everything], two(), bug) == ["b"]
    after = "hmm-cdm-lab: end b\nWARNING: late\n"
    yield "red: a WARNING after the program", failed([everything], two(), after) == ["b"]
    early = "WARNING: at boot\nhmm-cdm-lab: start a\n"
    yield "red: a WARNING at boot", failed([everything], two(), early) == [LOAD]


def others():
    """Programs that do not print TAP."""
    ran = [*LOADED, "@@lab start a", "PASS", "", "@@lab end a 0", *UNLOADED]
    yield "green: a demo that says PASS", failed([ran], [Demo("a")]) == []
    ran[3] = "no PASS here"
    yield "red: a demo that does not", failed([ran], [Demo("a")]) == ["a"]
    ran[3:6] = ["PASS", "", "@@lab end a 1"]
    yield "red: a demo that says PASS and fails", failed([ran], [Demo("a")]) == ["a"]
    yield "red: a program that exits with 1", failed([ran], [Plain("a")]) == ["a"]
    yield "red: a mistake on purpose without FAIL", failed([ran], [BrokenDemo("a")]) == ["a"]
    ran[3] = "FAIL: stage 2"
    yield "green: a mistake on purpose, noticed", failed([ran], [BrokenDemo("a")]) == []
    ran[5] = "@@lab end a 0"
    yield "red: FAIL, but status 0", failed([ran], [BrokenDemo("a")]) == ["a"]
    twice = "hmm-cdm-lab: start fail\nx: y, mode:0x0(z), nodemask=0\nCall Trace:\nCall Trace:\n"
    yield "red: more than a failed allocation", [f.program for f in scan(twice)] == ["fail"]
    warned = "WARNING: arch/x86/mm/init_64.c:973 at arch_add_memory+0x1/0x2\nCall Trace:\n"
    yield "green: no memory for a node", scan(f"hmm-cdm-lab: start fail\n{warned}") == []
    other = scan(f"hmm-cdm-lab: start region\n{warned}")
    yield "red: no memory for a node, elsewhere", [f.program for f in other] == ["region"]
    killed = "x invoked oom-killer: gfp_mask=0x1(y), order=0, oom_score_adj=0\nCall Trace:\n"
    again = f"hmm-cdm-lab: start offline\n{killed}Call Trace:\n"
    yield "red: more than running out of memory", [f.program for f in scan(again)] == ["offline"]
    last = "[ 1.0] offline: page allocation failure: order:0, mode:0x1(y)\nCall Trace:\n"
    dying = f"hmm-cdm-lab: start offline\n{killed}{last}"
    yield "green: no memory for who is killed", scan(dying) == []
    ended = f"hmm-cdm-lab: start offline\nhmm-cdm-lab: end offline\n{killed}"
    yield "red: out of memory after it", [f.program for f in scan(ended)] == ["after offline"]
    grouped = f"hmm-cdm-lab: start account_memcg\n{killed}"
    yield "green: a memory cgroup at its limit", scan(grouped) == []
    other = f"hmm-cdm-lab: start fail\n{killed}"
    yield "red: one program's excuse in another", [f.program for f in scan(other)] == ["fail"]
    phase = Phase(LOAD)
    with contextlib.redirect_stdout(io.StringIO()):
        judge_log(scan("Kernel panic - not syncing: before any program"), {}, phase)
    yield "red: a panic at boot", phase.failed == 1


def suite(name, *cases, verdict="ok"):
    """What debugfs has of a KUnit suite."""
    inner = ["KTAP version 1", f"# Subtest: {name}", f"1..{len(cases)}", *cases]
    return [
        *["KTAP version 1", "1..1", *(f"    {line}" for line in inner)],
        *["# totals", f"{verdict} 1 {name}"],
    ]


def kunit():
    """The modules' KUnit suites."""

    def result(*suites, status="0"):
        """Whether anything failed, and how many passed, with suites x and y expected."""
        lines = [line for one in suites for line in one]
        ran = [*LOADED, "@@lab start kunit", *lines, "", f"@@lab end kunit {status}", *UNLOADED]
        program = next(p for p in outcome([ran], [Kunit("k", 60, ["x", "y"])]) if p.name == "kunit")
        return bool(program.failed), program.passed

    x = suite("x", "ok 1 a", "ok 2 b")
    y = suite("y", "ok 1 c")
    bad = suite("y", "ok 1 c", "not ok 2 d", verdict="not ok")
    yield "green: suites that pass", result(x, y) == (False, 3)
    yield "red: a test of a suite", result(x, bad) == (True, 3)
    yield "red: a suite that is missing", result(x) == (True, 2)
    yield "red: a suite that nobody knows", result(x, y, suite("z", "ok 1 e")) == (True, 4)
    yield "red: a suite that comes twice", result(x, y, y)[0]
    yield "red: a suite without its end", result(x, y[:-1]) == (True, 3)
    yield "red: a suite without its end, before another", result(y[:-1], x)[0]
    yield "red: a suite without its tests", result(x, [*y[:2], y[-1]]) == (True, 2)
    yield "red: a suite without any test", result(x, suite("y")) == (True, 2)
    yield "red: a suite without a planned test", result(x, [*y[:4], "    1..2", *y[5:]])[0]
    yield "red: a suite that fails alone", result(x, suite("y", "ok 1 c", verdict="not ok"))[0]
    yield "red: a suite that hides a failure", result(x, suite("y", "not ok 1 c"))[0]
    yield "red: suites that cannot be read", result(x, y, status="1") == (True, 3)
    yield "red: no suites at all", result() == (True, 0)
    names = declared(RECORDED.parents[1])
    yield "green: each suite has a name of its own", len(names) == len({*names}) > 0


def kselftest():
    """A run of the kernel's own runner."""

    def program(name, *tests, verdict="ok", plan=None):
        """What it prints of one program."""
        lines = ["TAP version 13", f"1..{plan or len(tests)}", *tests]
        head = f"selftests: {COLLECTION}: {name}"
        return [f"# {head}", *(f"# {line}" for line in lines), f"{verdict} N {head}"]

    def result(*programs, status="0", plan=2):
        """Whether anything failed, and how many passed, with programs x and y expected."""
        lines = ["TAP version 13", f"1..{plan}"]
        for number, one in enumerate(programs, 1):
            lines += [line.replace(" N ", f" {number} ") for line in one]
        run = "kselftest"
        ran = [*LOADED, f"@@lab start {run}", *lines, "", f"@@lab end {run} {status}", *UNLOADED]
        done = outcome([ran], [Kselftest("k", 60, ["x", "y"])])
        judged = next(p for p in done if p.name == run)
        return bool(judged.failed), judged.passed

    x = program("x", "ok 1 a", "ok 2 b # SKIP none here")
    y = program("y", "ok 1 c")
    bad = program("y", "ok 1 c", "not ok 2 d", verdict="not ok")
    yield "green: programs that pass", result(x, y) == (False, 2)
    yield "red: a test of a program", result(x, bad, status="1") == (True, 2)
    yield "red: a program that is missing", result(x, plan=1)[0]
    yield "red: a program that is planned", result(x)[0]
    yield "red: a program that nobody knows", result(x, y, program("z", "ok 1 e"), plan=3)[0]
    yield "red: a program without its end", result(x, y[:-1])[0]
    yield "red: a program without its tests", result(x, [y[0], y[-1]])[0]
    yield "red: a program without a planned test", result(x, program("y", "ok 1 c", plan=2))[0]
    yield "red: a program that fails alone", result(x, program("y", "ok 1 c", verdict="not ok"))[0]
    yield "red: a program that hides a failure", result(x, program("y", "not ok 1 c"))[0]
    yield "red: the runner's status alone", result(x, y, status="1")[0]
    yield "red: no programs at all", result(plan=0)[0]


def conformance():
    """The kernel's HMM tests, and columns of what became of them."""
    tests = ["f.v.a", "f.v.b"]

    def said(run, *lines, status="0", plan=2):
        return [f"@@lab start {run}", f"1..{plan}", *lines, "", f"@@lab end {run} {status}"]

    def column(*scripts, runs=None, log="", ours=True, limit=60, may_skip=False):
        runs = runs or [Run("x", ["p"], 60, tests)]
        guests = [FakeGuest(lines, log, Driver("d", ours=ours)) for lines in scripts]
        boots = iter(guests)
        with contextlib.redirect_stdout(io.StringIO()):
            session = Session(lambda: next(boots, FakeGuest([])), runs, limit=limit)
            return Column("c", session.run(), session.findings, may_skip)

    def result(*args, **options):
        made = column(*args, **options)
        return made.count(tests, "ok"), made.failed(tests)

    def boot(*lines):
        return [*LOADED, *lines, *UNLOADED]

    a, b = "ok 1 f.v.a", "ok 2 f.v.b"
    good = boot(*said("x", a, b))
    yield "green: all tests of the kernel's", result(good) == (2, 0)
    yield "red: one that fails", result(boot(*said("x", a, f"not {b}", status="1"))) == (1, 1)
    yield "red: one that does not report", result(boot(*said("x", a)))[0] == 1
    yield "red: one that is not planned", result(boot(*said("x", a, plan=1))) == (1, 1)
    extra = boot(*said("x", a, b, "ok 3 f.v.c", plan=3))
    yield "red: one that nobody knows", result(extra) == (2, 1)
    skipped = boot(*said("x", a, f"{b} # SKIP not here"))
    yield "red: one that must not skip", result(skipped) == (1, 1)
    yield "green: one that may", result(skipped, may_skip=True) == (1, 0)
    text = column(skipped, may_skip=True).summary(tests)
    yield "green: it counts as skipped", text == "1 passed, 0 failed, 1 skipped"
    left = boot(*said("x", a, b, status=LEFT_IN_USE))
    yield "red: memory that is left in use", result(left) == (2, 1)
    left = boot(*said("x", a, f"not {b}", status=LEFT_IN_USE))
    yield "red: memory left in use, by one that fails", result(left) == (1, 2)
    bug = "hmm-cdm-lab: start x\nBUG: a\nWARNING: b\nhmm-cdm-lab: end x\n"
    yield "red: the kernel complains", result(good, log=bug) == (2, 1)
    tolerated = column(good, log=bug, ours=False)
    yield "green: of the reference", tolerated.failed(tests) == 0
    yield "green: its complaints are counted", tolerated.complaints() == "2, in 1"

    def singles():
        return [Run(test, ["p"], 60, [test]) for test in tests]

    dies = [*LOADED, "@@lab start f.v.a", "1..1"]
    rest = boot(*said("f.v.b", "ok 1 f.v.b", plan=1))
    yield "red: the guest dies, the rest goes on", result(dies, rest, runs=singles()) == (1, 2)
    yield "red: no time is left", result(rest, runs=singles(), limit=0)[0] == 0
    twice = [Run(name, ["p"], 60, tests) for name in "xy"]
    worse = boot(*said("x", a, b), *said("y", a, f"not {b}", status="1"))
    yield "red: one that fails the second time", result(worse, runs=twice) == (1, 1)
    lines = [" ".join(line.split()) for line in table(tests, [column(good), column(skipped)])]
    wanted = ["c c", "f.v.b ok skip", "the 1 others ok ok", "passed 2 of 2 1 of 2"]
    yield "green: the table", lines[:-1] == wanted
    source = """
FIXTURE_VARIANT_ADD(f, v)
FIXTURE_VARIANT_ADD(f, w)
FIXTURE_VARIANT_ADD(g, v)
TEST_F(f, a)
TEST_F(g, c)
TEST_F_TIMEOUT(f, b, 120)
"""
    names = ["f.v.a", "f.v.b", "f.w.a", "f.w.b", "g.v.c"]
    yield "green: the tests that a source declares", declared_tests(source) == names
    slow = "f.v.benchmark_thp_migration"
    each = [run.tests for run in ordered_runs(3, ["p"], 1, [*tests, slow])]
    yield "green: the slow one runs once", each == [[*tests, slow], tests, tests]


def pair(system, node, known="", log="", counts="5 with pages there, 7 moved, 3 at most, 0"):
    """What comes of a program that says `system` on system memory and `node` on the node,
    each with its exit status at the end: passed, failed, skipped, and entries not seen."""
    (*first, status), (*second, other) = system, node
    counted = f"# node: 5 calls, {counts} refused (0)"
    ran = [*LOADED, "@@lab start a", *first, "", f"@@lab end a {status}"]
    ran += ["@@lab start a-node", *second, counted, "", f"@@lab end a-node {other}", *UNLOADED]
    listed = read_known(known, "q35")
    one = Pair(OnSystem("a", None, 60, ()), OnNode("a-node", None, 60, ()), listed)
    outcome([ran], [one.system, one.node], log)
    with contextlib.redirect_stdout(io.StringIO()):
        one.compare()
    return one.passed, one.failed, one.skipped, Stale(listed).failed


def pairs():
    """The kernel's own tests, on system memory and on the node."""
    good = ["1..2", "ok 1 x", "ok 2 y", "0"]
    bad = ["1..2", "ok 1 x", "not ok 2 y went wrong", "1"]
    skips = ["1..2", "ok 1 x", "ok 2 # SKIP y", "0"]
    yield "green: the same on both", pair(good, good) == (2, 0, 0, 0)
    yield "red: a test fails on the node", pair(good, bad) == (1, 1, 0, 0)
    yield "red: a test passes on the node only", pair(bad, good) == (1, 1, 0, 0)
    yield "red: a test skips on the node", pair(good, skips) == (1, 1, 0, 0)
    yield "red: a test is missing on the node", pair(good, [*good[:2], "0"]) == (1, 1, 0, 0)
    yield "red: a test is missing on system memory", pair([*good[:2], "0"], good) == (1, 1, 0, 0)
    yield "red: only the exit status differs", pair(good, [*good[:3], "139"]) == (2, 1, 0, 0)
    yield "red: it is killed on the node", pair(good, [*good[:3], "late"]) == (2, 1, 0, 0)
    yield "skipped: a test fails on both", pair(bad, bad) == (1, 0, 1, 0)
    yield "skipped: a test skips on both", pair(skips, skips) == (1, 0, 1, 0)
    yield "green: no test, but a status", pair(["0"], ["0"]) == (1, 0, 0, 0)
    yield "red: no test, another status", pair(["0"], ["1"]) == (0, 1, 0, 0)
    none = "0 with pages there, 0 moved, 0 at most, 0"
    yield "red: nothing was on the node", pair(good, good, counts=none)[1] == 1
    refused = "5 with pages there, 7 moved, 3 at most, 2"
    yield "red: the device could not be opened", pair(good, good, counts=refused)[1] == 1
    yield "red: no word of the node", pair(good, good, counts="")[1] == 1
    bug = "hmm-cdm-lab: start a-node\nBUG: Bad page map\n"
    yield "red: a BUG on the node", pair(good, good, log=bug)[1] == 1
    other = "hmm-cdm-lab: start a\nBUG: Bad page map\n"
    yield "green: a BUG on system memory", pair(good, good, log=other) == (2, 0, 0, 0)
    yield "skipped: a known difference", pair(good, bad, "a: y*") == (1, 0, 1, 0)
    yield "red: another than is known", pair(good, bad, "a: x") == (1, 1, 0, 1)
    yield "red: the same of another program", pair(good, bad, "b: y") == (1, 1, 0, 1)
    yield "red: known of another machine", pair(good, bad, "a [powernv9]: y") == (1, 1, 0, 0)
    yield "skipped: known of this one", pair(good, bad, "a [pseries, q35]: y") == (1, 0, 1, 0)
    yield "red: a difference that is gone", pair(good, good, "a: y") == (2, 0, 0, 1)
    try:
        read_known("a y", "q35")
        yield "red: a list that cannot be read", False
    except ValueError:
        yield "red: a list that cannot be read", True


def measured(lines, status="0"):
    """What comes of a bench that prints this."""
    program = Bench("bench", ["bench"], 60)
    with contextlib.redirect_stdout(io.StringIO()):
        program.start()
        for line in lines:
            program.feed(line)
        program.end(status)
    return program


def costs(clock=20000000, **samples):
    """Results of a bench: operation__side=[costs for 2 MiB], or {bytes: [costs]}."""
    found = {("clock", "cpu", 20000000): [clock]}
    for key, values in samples.items():
        operation, side = key.split("__")
        sizes = values if isinstance(values, dict) else {HUGE: values}
        for length, list_of in sizes.items():
            found[operation.replace("_", "-"), side, length] = list_of
    return Results(found)


def verdicts(**samples):
    """Targets that were met and missed, each by the beginning of its text."""
    all_of = list(targets(costs(**samples)))
    return [[v.text for v in all_of if v.met is met] for met in (True, False)]


def bench():
    """What was measured, its middle, and the targets."""
    lines = ["sample in ours 4096 7", "sample in ours 4096 9", "done"]
    good = measured(lines)
    yield "green: a bench that comes to its end", good.passed == 1 and not good.failed
    yield "samples are kept in order", good.samples["in", "ours", 4096] == [7, 9]
    yield "red: a bench that does not", measured(lines[:2]).failed == 1
    yield "red: a bench that fails", measured(lines, "1").failed == 1
    cut = measured(["sample in ours 4096", "sample in ours 4096 -1", "done"])
    yield "half a sample is none", not cut.samples
    cost = Cost.of([900, 100, 101, 102, 99, 100, 101, 1])
    yield "outliers do not matter", cost.middle == 100.5 and cost.spread < 0.02
    yield "the middle of an even number", Cost.of([1, 3]).middle == 2
    yield "a cost less another", Cost(100, 0.1, 3).less(Cost(80, 0, 3)).middle == 20
    yield "no cost is below nothing", Cost(10, 0, 3).less(Cost(80, 0, 3)).middle == 0

    yield "the clock counts", costs(clock=20100000).clock_fault() is None
    yield "red: the clock does not count", costs(clock=80000000).clock_fault() is not None
    yield "red: no clock", Results({}).clock_fault() is not None

    net = costs(munmap__ours=[150], munmap_none__ours=[100], mprotect_none__ours=[30])
    yield "changes count what entries add", net.cost("munmap", "ours", HUGE).middle == 50
    yield "unknown without the other half", net.cost("dontneed", "ours", HUGE) is None

    met, missed = verdicts(in__ours=[115], in__floor=[100], out__ours=[116], out__floor=[100])
    yield "at the target is met", met == ["in against the floor, at most 1.15x"]
    yield "above it is missed", missed == ["out against the floor, at most 1.15x"]
    met, missed = verdicts(
        in__ours=[50], in__test_hmm=[100], populate__ours=[99], cpu_touch__cpu=[98]
    )
    yield "half of test_hmm is met", [t[:19] for t in met] == ["in against test_hmm"]
    yield "populate above the CPU is missed", [t[:20] for t in missed] == ["populate against the"]
    met, missed = verdicts(**{"in__ours": [51], "in__test_hmm+read": [100]})
    yield "more than half with its read is missed", not met and "its read" in str(missed)
    met, missed = verdicts(peer__ours=[116], peer__floor=[100], evict__ours=[7], evict__floor=[7])
    yield "moves of all kinds have a floor", "evict" in str(met) and "peer" in str(missed)
    flat = {64 << 10: [161], HUGE: [512 * 11], 8 * HUGE: [4096 * 11]}
    met, missed = verdicts(in__ours=flat)
    yield "flat within the tenth", [t[:3] for t in met] == ["in:", "in:"] and not missed
    met, missed = verdicts(in__ours={**flat, 64 << 10: [145]})
    yield "steep from 64 KiB, flat from 2 MiB", "64 KiB" in str(missed) and "2 MiB" in str(met)
    met, missed = verdicts(mirror_memory__ours=[4136])
    yield "8 bytes a page and 1 % is met", len(met) == 1 and not missed
    met, missed = verdicts(mirror_memory__ours=[4137])
    yield "more is missed", len(missed) == 1 and not met
    met, missed = verdicts()
    yield "nothing measured, nothing met", not met and not missed

    text = "\n".join(report(costs(in__ours=[1234567], in__floor=[1000000], munmap__ours=[5])))
    yield "the table has it", "1,234,567" in text and "1.23x" in text
    with tempfile.TemporaryDirectory() as where:
        write_csv(costs(in__ours=[7], in__floor=[5]), f"{where}/x.csv")
        rows = pathlib.Path(where, "x.csv").read_text(encoding="utf-8").splitlines()
    yield "the CSV has it", rows[1].startswith(f"in,{HUGE},7,,5,") and len(rows) == 2


def main():
    """Run all, as TAP."""
    results = [*recorded(), *sessions(), *others(), *kunit(), *kselftest()]
    results += [*conformance(), *pairs(), *bench()]
    print("TAP version 13")
    print(f"1..{len(results)}")
    for number, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} {name}")
    return 0 if all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())

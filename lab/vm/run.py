#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run programs in guests and on the host, judge them, and count.

Called inside the toolchain root, by lab/lib/guest.sh. The last line is
`N passed, M failed[, K skipped]`; the exit status is 0 only if M is 0.
"""

import argparse
import os
import random
import subprocess
import sys
import time

from bench import Bench, Results, report, write_csv
from driver import Driver
from kernel import by_name
from kselftest import COLLECTION, Kselftest, listed
from kunit import Kunit, declared
from machine import Amd64
from compare import SUFFIX, OnNode, OnSystem, Pair, Stale, read_known
from power import Powernv9, Pseries
from program import BrokenDemo, Demo, Plain, Program, summary
from session import Session
from hmm_tests import Column, declared_tests, ordered_runs, single_runs, table

from guest import Guest, GuestError

LOGS = "/out/log"
KUNIT = "/src/lab/guest/kunit"
KSELFTEST = "/src/lab/guest/kselftest"
HMM_TESTS = "/kernel/source/tools/testing/selftests/mm/hmm-tests.c"
WITH_SIDES = "/src/lab/guest/bench"
WITH_IDLE = "/src/lab/guest/conformance"
TEXT = "/usr/share/common-licenses/GPL-2"

RAM_MIB = 2048
# What cdmrun consists of, and a program for it.
RUN_TOOLS = ("cdmrun", "libcdmrun.so", "cdmrun-heap")
CPUS = 2
# What those are called with, and where the modules lie that they need.
PAIRS_ARGUMENTS = {"uffd-stress": ["anon", "4", "4"]}
EXTRA = "lib/modules/extra"
MACHINES = {m.name: m for m in (Amd64, Powernv9, Pseries)}

# Consoles' logs of earlier guests that are left there.
KEEP = 20

# What is measured, and how long it may take: our driver gets the first regions, and the others
# are for what it is compared with (lab/guest/bench).
REGIONS_MEASURED = 2
BENCH_LIMIT = 1800

# Seconds for all selftests in one go.
KSELFTEST_LIMIT = 2400

# Seconds for all runs on a driver and for each of them: a driver can hang in every
# test, and each time it takes the harness half a minute to see that.
DRIVER_LIMIT = 600
RUN_LIMIT = 120

BEGIN = time.monotonic()


EMU = Driver("cdm_emu", arguments=("transparent_hugepage=madvise",))


def new_guest(args, driver=EMU):
    """A function that makes guests as `args` describe them."""
    more = {"mmu": args.mmu} if args.mmu else {}
    if args.more:
        more["more_mib"] = args.more
    machine = MACHINES[args.machine](args.ram, args.region, args.cpus, **more)
    machine.broken_nodes = args.action == "check"
    machine.counts = args.counts
    return lambda: Guest(machine, by_name(args.kernel), driver, LOGS, args.patience, args.module)


def run_on_host(program, command, env):
    """Run a TAP program here, within its limit."""
    program.start()
    deadline = time.monotonic() + program.limit
    with subprocess.Popen(
        ["timeout", "-k", "5", str(program.limit), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **env},
    ) as process:
        for line in process.stdout:
            program.feed(line.rstrip("\n"))
    late = time.monotonic() > deadline
    program.end("late" if late else str(process.returncode))
    return program


def time_limit(directory, default):
    """The kselftest convention: a file `settings` with a line timeout=SECONDS."""
    try:
        with open(os.path.join(directory, "settings"), encoding="utf-8") as file:
            values = dict(x.strip().split("=", 1) for x in file if "=" in x)
            return int(values.get("timeout", default))
    except OSError:
        return default


def demo_program(path, text, limit):
    """cdm-demo on a text; with the files that the guest then needs."""
    name = "input/" + os.path.basename(text)
    with open(text, "rb") as file:
        return Demo("cdm-demo", path, limit, ["/" + name]), {name: file.read()}


def userland(archive, tools):
    """Debian's own programs, and what runs them with their heap on a node."""
    sources = {"lab/userland.tar": archive}
    sources |= {f"lab/tools/{name}": os.path.join(tools, name) for name in RUN_TOOLS}
    files = {}
    for name, path in sources.items():
        with open(path, "rb") as file:
            files[name] = file.read()
    return files


def broken_demos(demo):
    """The same with each mistake that cdm-demo knows to make on purpose."""
    return [
        BrokenDemo(
            f"{demo.name}-{what}", demo.path, demo.limit, [f"--break={what}", *demo.arguments]
        )
        for what in ("count", "move", "hits")
    ]


def plain_program(command, limit):
    """A program by its path and, behind spaces, its arguments."""
    path, *arguments = command.split()
    return Plain(os.path.basename(path), path, limit, arguments)


def programs_of(paths, limit):
    """Test programs by path; one that was not built is judged as failed."""
    programs = []
    for path in paths:
        program = Program(os.path.basename(path), path, limit)
        if not os.access(path, os.X_OK):
            program.fail(f"{path} was not built")
        programs.append(program)
    return programs


def check(args):
    """Every test: the lab's own, unit tests, and all programs in the guest."""
    done = []
    for command in args.host or []:
        name = command.removeprefix("/src/")
        done.append(run_on_host(Program(name, limit=300), [command], {"OUT": "/out/unit"}))
    limit = time_limit("/src/tests/selftests", 60) * args.patience
    programs = programs_of(args.program, limit)
    if args.kunit:
        # First: the suites have run when the modules were loaded.
        programs.insert(0, Kunit(KUNIT, limit, declared("/src")))
    files = {}
    if args.demo:
        demo, files = demo_program(args.demo, args.text, 120 * args.patience)
        programs += [demo, *broken_demos(demo)]
    if args.userland:
        files |= userland(args.userland, args.tools)
        programs.append(Program("cdmrun", "/src/tests/tools/cdmrun.sh", 120 * args.patience))
    programs += [plain_program(command, 60 * args.patience) for command in args.plain]
    if programs:
        done += Session(new_guest(args), programs, files).run()
    failures = [f"  {p.name}: {summary([p])}" for p in done if p.failed]
    if failures:
        print("failed:", *failures, sep="\n")
    print(f"took {time.monotonic() - BEGIN:.0f} s")
    print(summary(done))
    return any(p.failed for p in done) or not any(p.passed for p in done)


def kselftest(args):
    """The selftests, all or those named, by the kernel's own runner."""
    names = args.program or listed(args.kselftest)
    arguments = [word for name in names for word in ("-t", f"{COLLECTION}:{name}")]
    arguments = arguments if args.program else ["-c", COLLECTION]
    with open(args.kselftest, "rb") as file:
        files = {"lab/kselftest.tar": file.read()}
    program = Kselftest(KSELFTEST, KSELFTEST_LIMIT * args.patience, names, arguments)
    done = Session(new_guest(args), [program], files).run()
    print(f"took {time.monotonic() - BEGIN:.0f} s")
    print(summary(done))
    return any(p.failed for p in done) or not program.passed


def pairs(args):
    """The kernel's own tests, on system memory and on the node, side by side."""
    logs = os.path.join(LOGS, "mm")
    os.makedirs(logs, exist_ok=True)
    with open("/src/tests/mm/differences", encoding="utf-8") as file:
        known = read_known(file.read(), args.machine)
    limit = time_limit("/src/tests/mm", 60) * args.patience
    found = []
    for path in args.program:
        name = os.path.basename(path)
        more = (path, limit, PAIRS_ARGUMENTS.get(name, ()), logs)
        found.append(Pair(OnSystem(name, *more), OnNode(name + SUFFIX, *more), known))
    files = {}
    for path in args.module:
        with open(path, "rb") as file:
            files[f"{EXTRA}/{os.path.basename(path)}"] = file.read()
    columns = [c for pair in found for c in (pair.system, pair.node)]
    done = Session(new_guest(args), columns, files).run()
    done = [p for p in done if p not in columns]
    for pair in found:
        pair.compare()
        print(f"# {pair.name}: {summary([pair])}\n")
    # Where only some are run, the others say nothing.
    chosen = [p.name for p in found]
    stale = Stale([k for k in known if any(k.program == name for name in chosen)])
    stale.report()
    done += [*found, stale]
    print(f"took {time.monotonic() - BEGIN:.0f} s; output is in build/log/mm")
    print(summary(done))
    return any(p.failed for p in done) or not any(p.passed for p in found)


def demo(args):
    """The main job alone."""
    program, files = demo_program(args.demo, args.text, 120 * args.patience)
    done = Session(new_guest(args), [program], files).run()
    failed = any(p.failed for p in done) or not program.passed
    print(f"{'FAIL' if failed else 'PASS'}: make demo, after {time.monotonic() - BEGIN:.0f} s")
    return failed


def chosen(test, patterns):
    """Whether a test of the kernel's has one of these names, or part of it, if any."""
    return not patterns or any(p in test for p in patterns)


def conformance(args):
    """The kernel's HMM tests on our driver, and on the one that they come with."""
    paths = [WITH_IDLE, os.path.join(args.conformance, "hmm-tests")]
    modules = (os.path.join(args.conformance, "module"),)
    with open(HMM_TESTS, encoding="utf-8") as source:
        tests = [t for t in declared_tests(source.read()) if chosen(t, args.program)]
    if not tests:
        raise GuestError(f"no test is named {' or '.join(args.program)}")
    seed = args.seed if args.seed is not None else time.time_ns() % 100000
    shuffled = random.Random(seed).sample(tests, len(tests))

    programs = ordered_runs(args.runs, paths, args.patience, tests)
    programs += single_runs(paths, args.patience, shuffled)
    print(f"==> cdm_dmirror: {args.runs} runs in order, then one in random order, seed {seed}")
    limit = (DRIVER_LIMIT + args.runs * RUN_LIMIT) * args.patience
    driver = Driver("cdm_dmirror", modules=modules)
    session = Session(new_guest(args, driver), programs, limit=limit)
    ours = Column("ours", session.run(), session.findings, not args.no_skips)
    columns = [ours]
    if not args.no_reference:
        print("==> test_hmm, the reference")
        driver = Driver("test_hmm", ours=False, modules=modules)
        programs = single_runs(paths, args.patience, tests)
        limit = DRIVER_LIMIT * args.patience
        session = Session(new_guest(args, driver), programs, limit=limit)
        columns.append(Column("reference", session.run(), session.findings))
    print(*table(tests, columns), sep="\n")
    print(f"took {time.monotonic() - BEGIN:.0f} s")
    print(ours.summary(tests))
    return bool(ours.failed(tests))


def bench(args):
    """What everything costs, in instructions; and what several threads get in time."""
    driver = Driver(
        "cdm_emu",
        regions=REGIONS_MEASURED,
        modules=tuple(os.path.join(d, "module") for d in (args.bench, args.conformance)),
        arguments=EMU.arguments,
    )
    files = [WITH_SIDES, os.path.join(args.bench, "cdm-bench")]
    done, samples = [], {}
    for name, counts in (("instructions", True), ("threads", False)):
        args.cpus = 1 if counts else 4
        args.counts = counts
        words = [*args.program, *([] if counts else [name])]
        program = Bench(name, files, BENCH_LIMIT, words)
        print(f"==> {name}")
        done += Session(new_guest(args, driver), [program]).run()
        samples |= program.samples
    results = Results(samples)
    fault = results.clock_fault()
    if fault:
        done[-1].fault(fault)
    text = report(results)
    print("", *text, "", sep="\n")
    os.makedirs(args.bench, exist_ok=True)
    with open(os.path.join(args.bench, "bench.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in text)
    write_csv(results, os.path.join(args.bench, "bench.csv"))
    print(f"took {time.monotonic() - BEGIN:.0f} s; build/bench/bench.csv has all of it")
    print(summary(done))
    return any(p.failed for p in done)


def shell(args):
    """A guest to play in: a shell on its console."""
    guest = new_guest(args)()
    guest.accel = guest.choose_accel()
    programs = {os.path.basename(p): p for p in args.program}
    initrd = guest.initramfs("shell", programs, {})
    console = guest.machine.channels("mon:stdio", "null")
    return subprocess.run([*guest.command(initrd), *console], check=False).returncode


ACTIONS = {
    "bench": bench,
    "check": check,
    "conformance": conformance,
    "demo": demo,
    "kselftest": kselftest,
    "pairs": pairs,
    "shell": shell,
}


def main():
    """Parse the arguments, run, and put every error into one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=sorted(ACTIONS))
    parser.add_argument("--ram", type=int, metavar="MIB", default=RAM_MIB)
    parser.add_argument("--userland", metavar="ARCHIVE")
    parser.add_argument("--tools", metavar="DIR")
    parser.add_argument("--region", type=int, action="append", metavar="MIB", default=[])
    parser.add_argument("--kernel", default="stock", metavar="NAME")
    parser.add_argument("--machine", choices=sorted(MACHINES), default=Amd64.name)
    parser.add_argument("--mmu", choices=("radix", "hash"), help="of a POWER9")
    parser.add_argument("--patience", type=int, default=1, metavar="TIMES")
    parser.add_argument("--cpus", type=int, default=CPUS)
    parser.add_argument("--more", type=int, metavar="MIB", help="RAM of another NUMA node")
    parser.add_argument("--module", action="append", metavar="PATH", default=[])
    parser.add_argument("--host", action="append", metavar="COMMAND")
    parser.add_argument("--kunit", action="store_true")
    parser.add_argument("--kselftest", metavar="ARCHIVE")
    parser.add_argument("--demo", metavar="PATH")
    parser.add_argument("--plain", action="append", metavar="PATH", default=[])
    parser.add_argument("--text", metavar="FILE", default=TEXT)
    parser.add_argument("--conformance", metavar="DIR", help="where its modules and programs are")
    parser.add_argument("--bench", metavar="DIR", help="where its module and program are")
    parser.add_argument("--runs", type=int, default=1, metavar="TIMES", help="of all its tests")
    parser.add_argument("--seed", type=int, help="of the random order, to repeat it")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--no-skips", action="store_true", help="a test that skips has failed")
    parser.add_argument("program", nargs="*")
    parser.set_defaults(counts=False)
    args = parser.parse_args()
    os.makedirs(LOGS, exist_ok=True)
    for old in sorted(f for f in os.listdir(LOGS) if f.startswith("console-"))[:-KEEP]:
        os.unlink(os.path.join(LOGS, old))
    try:
        return int(ACTIONS[args.action](args))
    except (GuestError, OSError) as error:
        print(f"hmm-cdm: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

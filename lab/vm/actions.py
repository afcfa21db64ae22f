# SPDX-License-Identifier: GPL-2.0
"""What the lab does with guests, an action for each target of make: build the list of
programs, run it, and print the count."""

import os
import random
import subprocess
import time

from .bench import Bench, Results, report, write_csv
from .compare import SUFFIX, OnNode, OnSystem, Pair, StaleDifferences, read_known
from .driver import Driver
from .guest import Guest, GuestError
from .hmm_tests import DriverResults, declared_tests, ordered_runs, single_runs, table
from .host_tests import run_on_host
from .kernel import by_name
from .kselftest import COLLECTION, Kselftest, listed
from .kunit import Kunit, declared
from .machine import Amd64
from .powerpc import Powernv9, Pseries
from .program import BrokenDemo, Demo, Plain, Program, summary
from .session import Session

LOGS = "/out/log"
GPL = "/usr/share/common-licenses/GPL-2"
HMM_TESTS = "/kernel/source/tools/testing/selftests/mm/hmm-tests.c"

# Programs of the guest's that start others, and one that prints what KUnit found.
BENCH_WRAPPER = "/src/lab/guest/bench"
CONFORMANCE_WRAPPER = "/src/lab/guest/conformance"
KUNIT = "/src/lab/guest/kunit"
KSELFTEST = "/src/lab/guest/kselftest"

MACHINES = {m.name: m for m in (Amd64, Powernv9, Pseries)}

# The files of cdmrun, and a program to run under it.
CDMRUN_FILES = ("cdmrun", "libcdmrun.so", "cdmrun-heap")

# Arguments of the kernel's mm tests, and the guest's directory for modules that they need.
MM_ARGUMENTS = {"uffd-stress": ["anon", "4", "4"]}
EXTRA_MODULES = "lib/modules/extra"

# A bench gives these first regions to our driver, the others to what it is compared with.
BENCH_REGIONS = 2

# Seconds.
BENCH_LIMIT = 1800
# For all selftests, by the kernel's runner.
KSELFTEST_LIMIT = 2400
# For all runs of the HMM tests on a driver, and more for each: a driver can hang in every
# test, which the harness notices after half a minute.
DRIVER_LIMIT = 600
RUN_LIMIT = 120

BEGIN = time.monotonic()

EMU = Driver("cdm_emu", arguments=("transparent_hugepage=madvise",))


def elapsed():
    """Seconds since the start, as text."""
    return f"took {time.monotonic() - BEGIN:.0f} s"


def new_guest(args, driver=EMU):
    """A function that makes guests as `args` describe them."""
    more = {"mmu": args.mmu} if args.mmu else {}
    if args.more:
        more["more_mib"] = args.more
    machine = MACHINES[args.machine](args.ram, args.region, args.cpus, **more)
    machine.broken_nodes = args.action == "check"
    machine.counts = args.counts
    return lambda: Guest(machine, by_name(args.kernel), driver, LOGS, args.patience, args.module)


def time_limit(directory, default):
    """The limit in a directory's `settings`, a line timeout=SECONDS, as kselftests have it."""
    try:
        with open(os.path.join(directory, "settings"), encoding="utf-8") as file:
            values = dict(x.strip().split("=", 1) for x in file if "=" in x)
            return int(values.get("timeout", default))
    except OSError:
        return default


def demo_program(path, text, limit):
    """cdm-demo on a text, and the files that the guest needs for it."""
    name = "input/" + os.path.basename(text)
    with open(text, "rb") as file:
        return Demo("cdm-demo", path, limit, ["/" + name]), {name: file.read()}


def userland(archive, tools):
    """Files of the guest: Debian's programs, and cdmrun, which puts their heap on a node."""
    sources = {"lab/userland.tar": archive}
    sources |= {f"lab/tools/{name}": os.path.join(tools, name) for name in CDMRUN_FILES}
    files = {}
    for name, path in sources.items():
        with open(path, "rb") as file:
            files[name] = file.read()
    return files


def broken_demos(demo):
    """The demo with each of the mistakes that it can make on purpose."""
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
    """Test programs by path. One that was not built has failed."""
    programs = []
    for path in paths:
        program = Program(os.path.basename(path), path, limit)
        if not os.access(path, os.X_OK):
            program.fail(f"{path} was not built")
        programs.append(program)
    return programs


def check(args):
    """Unit tests on the host, then programs in a guest."""
    done = [run_on_host(name) for name in args.host]
    limit = time_limit("/src/tests/selftests", 60) * args.patience
    programs = programs_of(args.program, limit)
    if args.kunit:
        # The suites ran when the modules were loaded: before anything loads them again.
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
    print(elapsed())
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
    print(elapsed())
    print(summary(done))
    return any(p.failed for p in done) or not program.passed


def compare(args):
    """The kernel's mm tests, on system memory and on a node, and where the two differ."""
    logs = os.path.join(LOGS, "mm")
    os.makedirs(logs, exist_ok=True)
    with open("/src/tests/mm/differences", encoding="utf-8") as file:
        known = read_known(file.read(), args.machine)
    limit = time_limit("/src/tests/mm", 60) * args.patience
    pairs = []
    for path in args.program:
        name = os.path.basename(path)
        more = (path, limit, MM_ARGUMENTS.get(name, ()), logs)
        pairs.append(Pair(OnSystem(name, *more), OnNode(name + SUFFIX, *more), known))
    files = {}
    for path in args.module:
        with open(path, "rb") as file:
            files[f"{EXTRA_MODULES}/{os.path.basename(path)}"] = file.read()
    runs = [run for pair in pairs for run in (pair.system, pair.node)]
    done = [p for p in Session(new_guest(args), runs, files).run() if p not in runs]
    for pair in pairs:
        pair.compare()
        print(f"# {pair.name}: {summary([pair])}\n")
    # Only entries of programs that ran can be stale.
    names = [pair.name for pair in pairs]
    stale = StaleDifferences([k for k in known if k.program in names])
    stale.report()
    done += [*pairs, stale]
    print(f"{elapsed()}; output is in build/log/mm")
    print(summary(done))
    return any(p.failed for p in done) or not any(p.passed for p in pairs)


def demo(args):
    """cdm-demo alone."""
    program, files = demo_program(args.demo, args.text, 120 * args.patience)
    done = Session(new_guest(args), [program], files).run()
    failed = any(p.failed for p in done) or not program.passed
    print(f"{'FAIL' if failed else 'PASS'}: make demo, after {time.monotonic() - BEGIN:.0f} s")
    return failed


def conformance(args):
    """The kernel's HMM tests on our driver, then on the kernel's own."""
    paths = [CONFORMANCE_WRAPPER, os.path.join(args.conformance, "hmm-tests")]
    modules = (os.path.join(args.conformance, "module"),)
    with open(HMM_TESTS, encoding="utf-8") as source:
        tests = declared_tests(source.read())
    if args.program:
        tests = [t for t in tests if any(part in t for part in args.program)]
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
    ours = DriverResults("ours", session.run(), session.findings, not args.no_skips)
    results = [ours]
    if not args.no_reference:
        print("==> test_hmm, the reference")
        driver = Driver("test_hmm", ours=False, modules=modules)
        programs = single_runs(paths, args.patience, tests)
        limit = DRIVER_LIMIT * args.patience
        session = Session(new_guest(args, driver), programs, limit=limit)
        results.append(DriverResults("reference", session.run(), session.findings))
    print(*table(tests, results), sep="\n")
    print(elapsed())
    print(ours.summary(tests))
    return bool(ours.failed(tests))


def bench(args):
    """Costs in instructions, and what several threads achieve in time."""
    driver = Driver(
        "cdm_emu",
        regions=BENCH_REGIONS,
        modules=tuple(os.path.join(d, "module") for d in (args.bench, args.conformance)),
        arguments=EMU.arguments,
    )
    files = [BENCH_WRAPPER, os.path.join(args.bench, "cdm-bench")]
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
    print(f"{elapsed()}; all numbers are in build/bench/bench.csv")
    print(summary(done))
    return any(p.failed for p in done)


def shell(args):
    """A guest with a shell on its console."""
    guest = new_guest(args)()
    guest.accel = guest.choose_accel()
    programs = {os.path.basename(p): p for p in args.program}
    initrd = guest.initramfs("shell", programs, {})
    console = guest.machine.channels("mon:stdio", "null")
    return subprocess.run([*guest.command(initrd), *console], check=False).returncode


ACTIONS = {
    "bench": bench,
    "check": check,
    "compare": compare,
    "conformance": conformance,
    "demo": demo,
    "kselftest": kselftest,
    "shell": shell,
}

# SPDX-License-Identifier: GPL-2.0
"""Run programs in guests and on the host, judge them, and count.

Called by lab/lib/*.sh (`VM` of guest.sh) inside the toolchain root. The last line is
`N passed, M failed[, K skipped]`; the exit status is 0 only if M is 0.
"""

import argparse
import os
import sys

from .actions import ACTIONS, GPL, LOGS, MACHINES
from .guest import GuestError
from .host_tests import HOST_TESTS
from .machine import CPUS, RAM_MIB, Amd64

# Console logs of earlier guests to keep.
KEEP = 20


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m vm", description=__doc__)
    parser.add_argument("action", choices=sorted(ACTIONS))
    machine = parser.add_argument_group("the guest")
    machine.add_argument("--kernel", default="stock", metavar="NAME")
    machine.add_argument("--machine", choices=sorted(MACHINES), default=Amd64.name)
    machine.add_argument("--mmu", choices=("radix", "hash"), help="of a POWER9")
    machine.add_argument("--cpus", type=int, default=CPUS)
    machine.add_argument("--ram", type=int, metavar="MIB", default=RAM_MIB)
    machine.add_argument("--more", type=int, metavar="MIB", help="RAM on another NUMA node")
    machine.add_argument(
        "--region", type=int, action="append", metavar="MIB", default=[], help="device memory"
    )
    machine.add_argument("--module", action="append", metavar="PATH", default=[])
    machine.add_argument(
        "--patience", type=int, default=1, metavar="FACTOR", help="multiplies all time limits"
    )
    parser.add_argument("--host", action="append", choices=sorted(HOST_TESTS), default=[])
    parser.add_argument("--kunit", action="store_true", help="judge the modules' KUnit suites")
    parser.add_argument("--demo", metavar="PATH")
    parser.add_argument("--text", metavar="FILE", default=GPL, help="input of the demo")
    parser.add_argument("--plain", action="append", metavar="PATH", default=[])
    parser.add_argument("--userland", metavar="ARCHIVE", help="run its programs under cdmrun")
    parser.add_argument("--tools", metavar="DIR", help="where cdmrun is")
    parser.add_argument("--kselftest", metavar="ARCHIVE", help="made by the kernel's makefiles")
    parser.add_argument("--conformance", metavar="DIR", help="its modules and programs")
    parser.add_argument("--runs", type=int, default=1, metavar="TIMES", help="in declared order")
    parser.add_argument("--seed", type=int, help="of the random order")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--no-skips", action="store_true", help="a test that skips has failed")
    parser.add_argument("--bench", metavar="DIR", help="its module and program")
    parser.add_argument("program", nargs="*")
    parser.set_defaults(counts=False)
    return parser.parse_args()


def main():
    """Run the action; an error is one line."""
    args = parse()
    os.makedirs(LOGS, exist_ok=True)
    for old in sorted(f for f in os.listdir(LOGS) if f.startswith("console-"))[:-KEEP]:
        os.unlink(os.path.join(LOGS, old))
    try:
        return int(ACTIONS[args.action](args))
    except (GuestError, OSError) as error:
        print(f"hmm-cdm: error: {error}", file=sys.stderr)
        return 1


sys.exit(main())

# SPDX-License-Identifier: GPL-2.0
"""Find errors in a kernel log, and the program that each of them belongs to.

The guest's init (lab/guest/init) writes a marker to the log before and after each program.
Before the first marker, while the kernel boots, only a warning or worse is an error.
"""

import re

MARK = re.compile(r"hmm-cdm-lab: (start|end|stuck) (\S+)")

# Not even a boot of the stock kernel has one of these.
GRAVE_TEXT = r"\bWARNING: |\bBUG: |\bBUG at |\bOops\b|Kernel panic|general protection fault"

# Errors once the first module is loaded. Some are reports of checkers that only the debug
# kernel has.
BAD = re.compile(
    GRAVE_TEXT
    + r"|Call Trace|INFO: task .* blocked|blocked for more than"
    + r"|rcu: INFO|rcu_\w+ (self-)?detected|soft lockup|hard LOCKUP"
    + r"|possible circular locking|possible recursive locking|INFO: possible"
    + r"|INFO: lockdep|INFO: inconsistent lock|suspicious RCU"
    + r"|KASAN|KFENCE|KCSAN|UBSAN|kmemleak: \d+ new"
    + r"|\bBUG \S+ \(|ODEBUG: |pagealloc: (memory corruption|single bit error)"
    + r"|Bad page state|bad: scheduling|sleeping function called"
    + r"|refcount_t: |list_(add|del) corruption|DEBUG_LOCKS_WARN_ON"
    + r"|unable to handle|rust_kernel: panicked|panicked at"
    # KUnit, whenever a module with suites is loaded.
    + r"|\] +not ok \d"
)
GRAVE = re.compile(GRAVE_TEXT)

# Programs that provoke a report with a call trace, and the line before that trace. In any
# other program it is an error.
EXCUSED = {
    # Makes allocations fail (warn_alloc()), among them the memory map of a node, about
    # which x86 warns (add_pages() in mm/init_64.c).
    "fail_alloc": re.compile(
        r": .*, mode:0x[0-9a-f]+\(\S+\), nodemask="
        r"|WARNING: arch/x86/mm/init_64\.c:\d+ at (arch_add_memory|add_pages)\+"
    ),
    # Uses up all memory (dump_header() in mm/oom_kill.c); then its last page fault finds
    # none (warn_alloc()).
    "offline": re.compile(
        r" invoked oom-killer: gfp_mask=0x[0-9a-f]+\(\S+\), order="
        r"|\] offline: page allocation failure: order:0, "
    ),
    # Triggers the OOM killer in a memory cgroup, with the same report.
    "account_memcg": re.compile(r" invoked oom-killer: gfp_mask=0x[0-9a-f]+\(\S+\), order="),
}
# The kernel's runner does not mark where one program ends and the next one begins.
EXCUSED["kselftest"] = re.compile("|".join(pattern.pattern for pattern in EXCUSED.values()))

BOOT = "boot"


class Finding:
    """An error in the log: its first line, and the lines after it."""

    def __init__(self, program, line):
        self.program = program
        self.lines = [line]

    @property
    def count(self):
        """How many of its lines are errors by themselves."""
        return sum(bool(GRAVE.search(line)) for line in self.lines) or 1


def scan(text):
    """The errors in a console log, one for each report of the kernel.

    Many lines of a report match. Those within 60 lines of the first count as part of it.
    """
    findings = []
    current = BOOT
    pattern = GRAVE
    rest = 0
    excused = False
    for line in text.replace("\r", "").splitlines():
        match = MARK.search(line)
        if match:
            current = match.group(2) if match.group(1) != "end" else f"after {match.group(2)}"
            pattern = BAD
            rest = 0
            excused = False
        elif current in EXCUSED and EXCUSED[current].search(line):
            excused = True
        elif excused and "Call Trace" in line:
            excused = False
        elif rest:
            findings[-1].lines.append(line)
            rest -= 1
        elif pattern.search(line):
            findings.append(Finding(current, line))
            rest = 60
    return findings

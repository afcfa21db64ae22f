# SPDX-License-Identifier: GPL-2.0
"""Find what a kernel log must not hold, and which program it came with.

The guest's init writes a marker to the log before and after each program
(lab/guest/init). Before the first marker the kernel is only booting: there
nothing but a warning or worse counts.
"""

import re

MARK = re.compile(r"hmm-cdm-lab: (start|end|stuck) (\S+)")

# A boot of the stock kernel has none of these either.
GRAVE = r"\bWARNING: |\bBUG: |\bBUG at |\bOops\b|Kernel panic|general protection fault"

# From the first load of a module on. Debian's kernel has not all of these
# checkers; a kernel built for debugging does.
BAD = re.compile(
    GRAVE
    + r"|Call Trace|INFO: task .* blocked|blocked for more than"
    + r"|rcu: INFO|rcu_\w+ (self-)?detected|soft lockup|hard LOCKUP"
    + r"|possible circular locking|possible recursive locking|INFO: possible"
    + r"|INFO: lockdep|INFO: inconsistent lock|suspicious RCU"
    + r"|KASAN|KFENCE|KCSAN|UBSAN|kmemleak: \d+ new"
    + r"|\bBUG \S+ \(|ODEBUG: |pagealloc: (memory corruption|single bit error)"
    + r"|Bad page state|bad: scheduling|sleeping function called"
    + r"|refcount_t: |list_(add|del) corruption|DEBUG_LOCKS_WARN_ON"
    + r"|unable to handle|rust_kernel: panicked|panicked at"
    # KUnit, each time that a module is loaded.
    + r"|\] +not ok \d"
)
GRAVE = re.compile(GRAVE)

# Programs that make the kernel report something, with a trace of calls, that any
# other program has no business to: the line that the trace follows.
EXCUSED = {
    # Lets allocations fail (warn_alloc()). One of those is memory for the pages of a
    # node, which x86 takes as a reason to warn (add_pages() in mm/init_64.c).
    "fail": re.compile(
        r": .*, mode:0x[0-9a-f]+\(\S+\), nodemask="
        r"|WARNING: arch/x86/mm/init_64\.c:\d+ at (arch_add_memory|add_pages)\+"
    ),
    # Uses up all memory (dump_header() in mm/oom_kill.c), and so has none for its
    # own last page fault (warn_alloc()).
    "offline": re.compile(
        r" invoked oom-killer: gfp_mask=0x[0-9a-f]+\(\S+\), order="
        r"|\] offline: page allocation failure: order:0, "
    ),
    # Has the kernel kill in a memory cgroup, and say so in the same way.
    "account_memcg": re.compile(r" invoked oom-killer: gfp_mask=0x[0-9a-f]+\(\S+\), order="),
}
# The kernel's runner does not mark where one program ends and the next one begins.
EXCUSED["kselftest"] = re.compile("|".join(pattern.pattern for pattern in EXCUSED.values()))

BOOT = "boot"


class Finding:
    """One line of the log that is an error, and the lines after it."""

    def __init__(self, program, line):
        self.program = program
        self.lines = [line]

    @property
    def count(self):
        """How many of its lines would be an error by themselves."""
        return sum(bool(GRAVE.search(line)) for line in self.lines) or 1


def scan(text):
    """The findings of a whole console log, one for each program and report.

    A report of the kernel has many lines that match; those within the 60 lines
    after the first are taken to belong to it.
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

# SPDX-License-Identifier: GPL-2.0
"""Run programs in a guest, boot it again if one of them kills it, and judge each program."""

import time
from os.path import basename

from .guest import KILL_LIMIT, QUIET_LIMIT
from .klog import scan
from .program import Phase

# Boots at most: if a program kills the guest, it is booted again for the others.
BOOTS = 6

# Seconds for two scans of all memory for leaks.
CHECKS_LIMIT = 300

# Phases before and after the programs, which init reports like these.
LOAD = "modules-load"
UNLOAD = "modules-unload"
# With a debug kernel, init reads its checkers before and after it unloads the modules.
CHECKS = ("debug-loaded", "debug-unloaded")


class Session:
    """A run of programs. `new_guest` makes a guest, not yet booted. A program that has not
    ended `limit` seconds after the first boot has failed."""

    def __init__(self, new_guest, programs, files=None, limit=float("inf")):
        self.new_guest = new_guest
        self.programs = programs
        self.files = files or {}
        self.limit = limit
        self.phases = []
        self.findings = []

    def run(self):
        """Run all; return them and the phases, judged."""
        accel = None
        self.deadline = time.monotonic() + self.limit
        for _ in range(BOOTS):
            left = [p for p in self.programs if not p.ended]
            if not left or self._time_left() <= 0:
                break
            guest = self.new_guest()
            accel = accel or guest.choose_accel()
            guest.accel = accel
            try:
                self._boot(guest, left)
            finally:
                guest.stop()
            if not any(p.ended for p in left):
                break
        for program in self.programs:
            if not program.ended:
                program.fail("did not run: the guest did not come so far")
        return self.phases + self.programs

    def _time_left(self):
        return self.deadline - time.monotonic()

    def _boot(self, guest, left):
        listing = "".join(f"{p.name} {p.called} {p.limit} {' '.join(p.arguments)}\n" for p in left)
        files = {"lab/programs": listing, **self.files}
        programs = {basename(path): path for p in left for path in p.files}
        programs |= {p.called: p.files[0] for p in left}
        initrd = guest.initramfs("programs", programs, files)
        phases = {name: Phase(name) for name in (LOAD, UNLOAD)}
        phases |= {name: Phase(name, limit=CHECKS_LIMIT) for name in CHECKS}
        by_name = {**{p.name: p for p in left}, **phases}

        how = "KVM" if guest.accel == "kvm" else "emulated, no KVM"
        print(f"==> boot the guest ({how}); its log: {guest.console_name}", flush=True)
        guest.boot(initrd)
        why = self._follow(guest, by_name)
        if why:
            # Blame the program that ran or, if none did, loading the modules.
            running = next((p for p in by_name.values() if p.running), phases[LOAD])
            running.fail(why)
            for line in guest.log().splitlines()[-40:]:
                print(f"    | {line}")
        else:
            for program in left:
                if not program.ended:
                    program.fail("did not run")
        if guest.proof not in guest.log():
            phases[LOAD].fail(f"not the requested machine: no '{guest.proof}' in its log")
        findings = scan(guest.log())
        self.findings += findings
        if guest.driver.ours:
            judge_log(findings, by_name, phases[LOAD])
        self.phases += [p for p in phases.values() if p.ended]

    def _follow(self, guest, by_name):
        """Take the guest's reports; return why it died, or None."""
        begun = time.monotonic()
        current = None
        bye = blank = False
        for line in guest.lines():
            if line is None:
                if bye:
                    return "the guest does not power off"
                doing = f"in {current.name}" if current else "while it booted"
                return f"the guest hangs {doing}: it reported nothing in time and was killed"
            if not line.startswith("@@lab "):
                # Init prints a newline before each report of its own, in case the
                # program's last line has none.
                if current:
                    if blank:
                        current.feed("")
                    blank = not line
                    if line:
                        current.feed(line)
                continue
            blank = False
            _, event, name, rest = (line.strip() + "   ").split(" ", 3)
            program = by_name.get(name)
            if event == "start":
                if name == LOAD:
                    print(f"    up after {time.monotonic() - begun:.1f} s\n", flush=True)
                current = program
                current.start()
                guest.allow(min(current.limit + KILL_LIMIT + 20, self._time_left()))
            elif event == "end":
                current = None
                guest.allow(QUIET_LIMIT)
                program.end(rest.strip())
            elif event == "unloaded":
                program.fail(f"the modules did not load before it: {rest.strip()}")
            elif event == "stuck":
                return f"took more than {program.limit} s and cannot be killed"
            elif event == "bye":
                bye = True
        return None if bye else guest.death()


def judge_log(findings, by_name, other):
    """Count errors in the kernel's log as faults of the programs that they belong to."""
    for finding in findings:
        program = by_name.get(finding.program.removeprefix("after "), other)
        if program.faults and "Kernel panic" in finding.lines[0]:
            continue  # already counted: it ended the program
        program.fault(f"kernel log ({finding.program}): {finding.lines[0].strip()}")
        program.ended = True
        for line in finding.lines[1:25]:
            print(f"    | {line}")
        print(flush=True)

# SPDX-License-Identifier: GPL-2.0
"""Guests that report what a test tells them to, and runs of programs in them."""

from vm.driver import Driver
from vm.session import LOAD, UNLOAD, Session

LOADED = [f"@@lab start {LOAD}", f"@@lab end {LOAD} 0 "]
UNLOADED = [f"@@lab start {UNLOAD}", f"@@lab end {UNLOAD} 0 ", "@@lab bye"]


class FakeGuest:
    """A guest that reports the lines it was given and logs `console`."""

    accel = None
    console_name = "nowhere"
    proof = "the machine"

    def __init__(self, lines, console="", driver=None):
        self.script = lines
        self.console = console
        self.driver = driver or Driver("cdm_emu")

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


def report(name, *lines, status="0"):
    """What a guest reports of a program that prints `lines`."""
    return [f"@@lab start {name}", *lines, "", f"@@lab end {name} {status}"]


def boot(*lines):
    """What a guest reports that loads the modules, reports `lines`, and unloads them."""
    return [*LOADED, *lines, *UNLOADED]


def session(scripts, programs, console="", driver=None, limit=float("inf")):
    """A session whose boots report `scripts`, one each."""
    guests = iter([FakeGuest(lines, console, driver) for lines in scripts])
    return Session(lambda: next(guests, FakeGuest([])), programs, limit=limit)


def outcome(scripts, programs, console=""):
    """Everything that such a session judges."""
    return session(scripts, programs, console).run()


def failed(scripts, programs, console=""):
    """The names of what fails in such a session."""
    return sorted({p.name for p in outcome(scripts, programs, console) if p.failed})

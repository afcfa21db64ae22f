# SPDX-License-Identifier: GPL-2.0
"""Boot a guest and read what its init reports (lab/guest/init).

Plain QEMU and an initramfs, not virtme-ng. virtme-ng 1.35 boots this kernel from this root
(over virtiofs, with --numa and memmap=), but
  - takes 19 s without KVM, where this takes 4: it has udev, five serial devices and a root
    file system over virtiofs, for a few static programs;
  - needs overlayfs for a writable guest. That is a module in the cloud kernel, so /tmp and
    /etc stay read-only;
  - prints the kernel's log to stderr or not at all. Here the log is evidence, and must not
    mix with what programs print;
  - cannot give a machine a device tree of its own, as QEMU's powernv needs it.
"""

import os
import selectors
import subprocess
import tempfile
import time

from .initramfs import write

HERE = os.path.dirname(os.path.abspath(__file__))

# Seconds. Without KVM, on two busy cores, a boot takes 5 to 10.
BOOT_LIMIT = 90
QUIET_LIMIT = 60
KILL_LIMIT = 10

TCG = "tcg,thread=multi"
# One thread for all CPUs: to count instructions, QEMU has to serialise them.
COUNTING_TCG = "tcg,thread=single"


class GuestError(Exception):
    """The guest cannot be used; the text is one line and says why."""


class Guest:
    """One boot of a kernel on a machine; its reports are a stream of lines."""

    def __init__(self, machine, kernel, driver, logs, patience=1, modules=()):
        self.machine = machine
        self.kernel = kernel
        self.driver = driver
        self.patience = patience
        # Paths of further modules.
        self.modules = modules
        stamp = time.strftime("%m%d-%H%M%S") + f".{time.time_ns() // 1000 % 1000000:06}"
        self.console = os.path.join(logs, f"console-{stamp}.log")
        self.stderr = os.path.join(logs, "qemu.log")
        self.accel = None
        self.process = None

    def command(self, initrd):
        """QEMU's command line without the channels."""
        machine = self.machine
        if not os.access(machine.emulator, os.X_OK):
            raise GuestError(f"{machine.emulator} is missing: make distclean, then start again")
        append = [
            *machine.kernel_arguments(),
            *self.kernel.arguments,
            "panic=-1",
            *(["oops=panic"] if self.driver.ours else []),
            "printk.devkmsg=on",
            "loglevel=7",
            "hugepages=16",
            *self.driver.arguments,
        ]
        return [
            machine.emulator,
            *machine.arguments(self.accel),
            *["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
            *machine.load(initrd, " ".join(append)),
        ]

    def initramfs(self, mode, programs, files):
        """Write the archive; returns its path."""
        path = os.path.join(tempfile.gettempdir(), f"initrd-{mode}")
        regions = self.machine.regions
        taken = len(regions) if self.driver.regions is None else self.driver.regions
        env = [
            f"MODE={mode}",
            f"RESULTS={self.machine.results}",
            f"LIMIT_KILL={KILL_LIMIT}",
            f"PATIENCE={self.patience}",
            f"DRIVER={self.driver.name}",
            f"OURS={'y' if self.driver.ours else ''}",
            f"CHECKS={'y' if self.kernel.checks and self.driver.ours else ''}",
            f"CDM_TREE={'y' if self.machine.tree else ''}",
            'CDM_REGIONS="' + " ".join(map(str, regions[:taken])) + '"',
            'CDM_SPARE="' + " ".join(map(str, regions[taken:])) + '"',
        ]
        files = {"lab/env": "\n".join(env) + "\n", **files}
        modules = {}
        for where in (self.kernel.modules, *self.driver.modules):
            names = sorted(f for f in os.listdir(where) if f.endswith(".ko"))
            modules |= {f: os.path.join(where, f) for f in names}
        modules |= {os.path.basename(path): path for path in self.modules}
        guest_dir = os.path.join(HERE, "../guest")
        write(path, guest_dir, self.machine.busybox, modules, programs, files)
        return path

    def choose_accel(self):
        """KVM if a probe guest runs under it, else emulation."""
        if self.machine.counts:
            return COUNTING_TCG
        if not self.machine.kvm_possible():
            return TCG
        initrd = self.initramfs("probe", {}, {})
        self.accel = "kvm"
        try:
            done = subprocess.run(
                [*self.command(initrd), *self.machine.channels("null", "stdio")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=20 * self.patience,
                check=False,
            )
            return "kvm" if b"@@lab probe" in done.stdout else TCG
        except subprocess.TimeoutExpired:
            return TCG

    @property
    def console_name(self):
        """The console's log, as a path in the checkout."""
        return self.console.replace("/out/", "build/", 1)

    @property
    def proof(self):
        """Text that the log must have."""
        return self.machine.proof

    def boot(self, initrd):
        """Start it; lines() then yields its reports."""
        channels = [*self.machine.channels(f"file:{self.console}", "stdio"), "-monitor", "none"]
        with open(self.stderr, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [*self.command(initrd), *channels],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def lines(self):
        """Yield each line of the second channel, and None whenever self.deadline has passed.
        Ends when the emulator does."""
        self.deadline = time.monotonic() + BOOT_LIMIT * self.patience
        out = self.process.stdout
        os.set_blocking(out.fileno(), False)
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while True:
                wait = self.deadline - time.monotonic()
                if wait <= 0 or not selector.select(wait):
                    yield None
                    continue
                data = out.read(65536)
                if not data:
                    break
                *whole, buffer = (buffer + data).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace").rstrip("\r")
        if buffer:
            yield buffer.decode(errors="replace")

    def allow(self, seconds):
        """Set the deadline of the next line."""
        self.deadline = time.monotonic() + seconds

    def stop(self):
        """Kill it, if it still runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def log(self):
        """The kernel's log so far."""
        try:
            with open(self.console, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def death(self):
        """Why the emulator ended by itself, in one line."""
        for line in self.log().splitlines():
            if "Kernel panic" in line:
                return "the guest's kernel panicked: " + line.split("Kernel panic - ")[-1]
        with open(self.stderr, encoding="utf-8", errors="replace") as file:
            said = file.read().strip().splitlines()
        if said:
            return f"QEMU ended: {said[-1]}"
        return "QEMU ended without a message"

# SPDX-License-Identifier: GPL-2.0
"""The machine: QEMU's command line, its memory, and the device memory in it.

A machine knows its emulator, the channels of its guest and where the device's
memory lies; which kernel it boots and what runs there is not its business.
"""

import os
import tempfile

MIB = 1 << 20

# The disk's size. What is not written to it takes no space.
DISK = 1024 * MIB


class Region:
    """Memory that the kernel leaves alone, on a NUMA node of its own."""

    def __init__(self, start, size, node):
        self.start = start
        self.size = size
        self.node = node

    def __str__(self):
        """As cdm_emu's parameter `region` takes it."""
        return f"{self.start:#x}+{self.size:#x}@{self.node}"


class Machine:
    """What every machine has: RAM from address 0 up, device memory after it."""

    name = ""
    emulator = ""
    console = ""
    results = ""
    kernel = "/kernel/image/vmlinuz"
    busybox = "/bin/busybox"
    # What has to be in the kernel's log of a boot, as proof that it is this machine.
    proof = ""
    # Whether the firmware describes the device memory, so that a driver finds it;
    # and if so, whether it describes broken kinds of it besides.
    tree = False
    broken_nodes = False
    # Whether its clock counts instructions, one to a nanosecond, rather than time.
    counts = False
    # Bytes behind the last region, on its node, that nobody is to use.
    tail = 0

    def __init__(self, ram_mib, region_mib, cpus, more_mib=0):
        """`more_mib` is RAM of another NUMA node, behind the device memory."""
        self.ram = ram_mib * MIB
        self.more = more_mib * MIB
        self.cpus = cpus
        self.regions = list(self.place(region_mib))
        self.total = self.ram + sum(self.room(r.size) for r in self.regions) + self.more

    def place(self, region_mib):
        """The regions, for these sizes: each follows the one before it and has a
        NUMA node without processors."""
        start = self.ram
        for node, size in enumerate(region_mib, 1):
            yield Region(start, size * MIB, node)
            start += self.room(size * MIB)

    def room(self, size):
        """How much memory the machine has for a region of that size."""
        return size

    def memory_arguments(self):
        """Processors, and a NUMA node for RAM, for each region, and for more RAM."""
        args = ["-smp", str(self.cpus), "-m", str(self.total // MIB)]
        sizes = [self.ram, *(self.room(r.size) for r in self.regions)]
        sizes += [self.more] if self.more else []
        sizes[-1] += self.tail
        for node, size in enumerate(sizes):
            cpus = f",cpus=0-{self.cpus - 1}" if node == 0 else ""
            args += ["-object", f"memory-backend-ram,id=m{node},size={size}"]
            args += ["-numa", f"node,nodeid={node},memdev=m{node}{cpus}"]
        return args

    def arguments(self, accel):
        """The emulator's arguments but for kernel, initrd and channels."""
        raise NotImplementedError

    def kernel_arguments(self):
        """What the kernel has to be told about this machine."""
        raise NotImplementedError

    def disk(self, where=""):
        """A disk, /dev/nvme0n1 in the guest: empty for each guest, for tests of swap
        and of I/O. `where` says on which bus."""
        path = os.path.join(tempfile.gettempdir(), "disk")
        with open(path, "wb") as file:
            file.truncate(DISK)
        drive = f"file={path},format=raw,if=none,id=disk0,cache=unsafe"
        return ["-drive", drive, "-device", f"nvme,serial=cdm,drive=disk0{where}"]

    def load(self, initrd, append):
        """The emulator's arguments for what it boots."""
        return ["-kernel", self.kernel, "-initrd", initrd, "-append", append]

    def channels(self, console, results):
        """Those for the two channels; `console` and `results` say where they end."""
        return ["-serial", console, "-serial", results]

    def kvm_possible(self):
        """Whether it is worth trying KVM; a guest has to prove it."""
        return False


class Amd64(Machine):
    """QEMU's q35: all memory below 4 GiB in one piece, so that the device's
    regions follow the system's RAM."""

    name = "q35"
    emulator = "/usr/bin/qemu-system-x86_64"
    console = "ttyS0"
    results = "/dev/ttyS1"
    kvm_flags = ("vmx", "svm")

    # The firmware keeps its tables at the end of memory, which must not be a device's.
    tail = 16 * MIB

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if self.more or not self.regions:
            self.tail = 0
        self.total += self.tail
        if self.total >= 2816 * MIB:
            raise ValueError("q35 has less below 4 GiB if it has 2816 MiB or more")

    def arguments(self, accel):
        args = ["-machine", "q35", "-accel", accel]
        if self.counts:
            args += ["-icount", "shift=0,sleep=off"]
        # TCG has no use for a CPU with more features: each costs time.
        args += ["-cpu", "host" if accel == "kvm" else "qemu64"]
        return [*args, *self.memory_arguments(), *self.disk()]

    def kernel_arguments(self):
        reserved = [f"{r.size:#x}${r.start:#x}" for r in self.regions]
        if self.tail:
            reserved.append(f"{self.tail:#x}${self.total - self.tail:#x}")
        arguments = [f"console={self.console},115200"] + [f"memmap={r}" for r in reserved]
        # One that moves itself looks at four (arch/x86/boot/compressed/kaslr.c).
        return arguments + (["nokaslr"] if len(reserved) > 4 else [])

    def kvm_possible(self):
        try:
            with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
                flags = next((x for x in info if x.startswith("flags")), "").split()
        except OSError:
            return False
        return any(f in flags for f in self.kvm_flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)

# SPDX-License-Identifier: GPL-2.0
"""A machine: QEMU's command line, its RAM, and the device memory in it.

It knows its emulator, the channels of its guest and the place of device memory, but not the
kernel or the programs.
"""

import os
import tempfile

MIB = 1 << 20

# What a guest has unless told otherwise.
RAM_MIB = 2048
CPUS = 2

# Bytes of the disk, a sparse file.
DISK = 1024 * MIB


class Region:
    """Device memory: not the kernel's, on a NUMA node of its own."""

    def __init__(self, start, size, node):
        self.start = start
        self.size = size
        self.node = node

    def __str__(self):
        """As cdm_emu's parameter `region` takes it."""
        return f"{self.start:#x}+{self.size:#x}@{self.node}"


class Machine:
    """Common to all machines: RAM from address 0 on, device memory behind it."""

    name = ""
    emulator = ""
    console = ""
    results = ""
    kernel = "/kernel/image/vmlinuz"
    busybox = "/bin/busybox"
    # Text that the kernel's log must have, as proof that it runs on this machine.
    proof = ""
    # Whether the device tree describes the device memory, and whether it also has nodes
    # with defects.
    tree = False
    broken_nodes = False
    # Whether its clock counts instructions, one a nanosecond, instead of time.
    counts = False
    # Bytes behind the last region, on its node, that stay unused.
    tail = 0

    def __init__(self, ram_mib, region_mib, cpus, more_mib=0):
        """`more_mib` is RAM on another NUMA node, behind the device memory."""
        self.ram = ram_mib * MIB
        self.more = more_mib * MIB
        self.cpus = cpus
        self.regions = list(self.place(region_mib))
        self.total = self.ram + sum(self.rounded(r.size) for r in self.regions) + self.more

    def place(self, region_mib):
        """Yield a region for each size, one behind the other, each on a NUMA node without
        CPUs."""
        start = self.ram
        for node, size in enumerate(region_mib, 1):
            yield Region(start, size * MIB, node)
            start += self.rounded(size * MIB)

    def rounded(self, size):
        """The size of a region, rounded up to what the machine can have."""
        return size

    def memory_arguments(self):
        """CPUs, and a NUMA node for RAM, for each region, and for more RAM."""
        args = ["-smp", str(self.cpus), "-m", str(self.total // MIB)]
        sizes = [self.ram, *(self.rounded(r.size) for r in self.regions)]
        sizes += [self.more] if self.more else []
        sizes[-1] += self.tail
        for node, size in enumerate(sizes):
            cpus = f",cpus=0-{self.cpus - 1}" if node == 0 else ""
            args += ["-object", f"memory-backend-ram,id=m{node},size={size}"]
            args += ["-numa", f"node,nodeid={node},memdev=m{node}{cpus}"]
        return args

    def arguments(self, accel):
        """The emulator's arguments without kernel, initrd and channels."""
        raise NotImplementedError

    def kernel_arguments(self):
        """Kernel parameters for this machine."""
        raise NotImplementedError

    def disk(self, where=""):
        """A disk for tests of swap and of I/O, /dev/nvme0n1, empty in each guest; `where` has
        its bus."""
        path = os.path.join(tempfile.gettempdir(), "disk")
        with open(path, "wb") as file:
            file.truncate(DISK)
        drive = f"file={path},format=raw,if=none,id=disk0,cache=unsafe"
        return ["-drive", drive, "-device", f"nvme,serial=cdm,drive=disk0{where}"]

    def load(self, initrd, append):
        """The emulator's arguments for kernel and initrd."""
        return ["-kernel", self.kernel, "-initrd", initrd, "-append", append]

    def channels(self, console, results):
        """The emulator's arguments for the two channels, with QEMU's names for their ends."""
        return ["-serial", console, "-serial", results]

    def kvm_possible(self):
        """Whether KVM is worth a probe."""
        return False


class Amd64(Machine):
    """QEMU's q35, with all memory in one piece below 4 GiB, so that device memory follows
    RAM."""

    name = "q35"
    emulator = "/usr/bin/qemu-system-x86_64"
    console = "ttyS0"
    results = "/dev/ttyS1"
    kvm_flags = ("vmx", "svm")

    # The firmware keeps its tables at the end of memory: that must not be device memory.
    tail = 16 * MIB

    # RAM that is added if device memory began at a multiple of 1 GiB. Memory that is alone in its
    # GiB takes a page of its own in the page tables of the direct map, and 7.3 oopses if that
    # cannot be allocated (Documentation/mm-7.3.rst): tests with failing allocations would hit it.
    in_same_gib = 128

    def __init__(self, ram_mib, *args, **options):
        if ram_mib % 1024 == 0:
            ram_mib += self.in_same_gib
        super().__init__(ram_mib, *args, **options)
        if self.more or not self.regions:
            self.tail = 0
        self.total += self.tail
        if self.total >= 2816 * MIB:
            raise ValueError("with 2816 MiB or more, q35 has only 2 GiB below 4 GiB")

    def arguments(self, accel):
        args = ["-machine", "q35", "-accel", accel]
        if self.counts:
            args += ["-icount", "shift=0,sleep=off"]
        # No CPU with more features for TCG: each costs time.
        args += ["-cpu", "host" if accel == "kvm" else "qemu64"]
        return [*args, *self.memory_arguments(), *self.disk()]

    def kernel_arguments(self):
        reserved = [f"{r.size:#x}${r.start:#x}" for r in self.regions]
        if self.tail:
            reserved.append(f"{self.tail:#x}${self.total - self.tail:#x}")
        # An emulated CPU can starve while the kernel waits for the timer, which it then finds
        # broken, and panics. Under KVM it skips that check by itself.
        arguments = [f"console={self.console},115200", "no_timer_check"]
        arguments += [f"memmap={r}" for r in reserved]
        # KASLR heeds at most four memmap= (arch/x86/boot/compressed/kaslr.c).
        return arguments + (["nokaslr"] if len(reserved) > 4 else [])

    def kvm_possible(self):
        try:
            with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
                flags = next((x for x in info if x.startswith("flags")), "").split()
        except OSError:
            return False
        return any(f in flags for f in self.kvm_flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)

# SPDX-License-Identifier: GPL-2.0
"""POWER9 machines: bare metal with device memory in its device tree, and a
guest under a hypervisor. Both are emulated; see machine.py for the interface.
"""

import os
import subprocess
import tempfile

from machine import MIB, Machine, Region
from devicetree import Tree, describe, describe_wrongly

EMULATOR = "/usr/bin/qemu-system-ppc64"

# What memory of pseries comes in.
PIECE = 256 * MIB

# What POWER9 firmware says of the radix MMU and QEMU's tree does not: page
# sizes 4K, 64K, 2M and 1G, each a shift and the encoding of it for the MMU.
RADIX_PAGES = (0x0000000C, 0xA0000010, 0x20000015, 0x4000001E)

DUMP_LIMIT = 30

# RAM for a node of the tree that gives its memory to the kernel, at a distance
# from the device's.
SPARE = 64 * MIB
GAP = 256 * MIB
# Where there is no memory.
BEYOND = 1 << 40


class Power(Machine):
    """What both have in common."""

    emulator = EMULATOR
    console = "hvc0"
    results = "/dev/hvc1"
    kernel = "/kernel/image/vmlinux"
    busybox = "/opt/ppc64el/busybox"

    def __init__(self, ram_mib, region_mib, cpus, mmu="radix"):
        super().__init__(ram_mib, region_mib, cpus)
        self.mmu = mmu
        # What the kernel says early about the MMU that it uses.
        self.proof = f"{mmu}-mmu: "

    def kernel_arguments(self):
        return [f"console={self.console}", f"disable_radix={int(self.mmu == 'hash')}"]


class Pseries(Power):
    """A guest under a hypervisor. The kernel keeps off the device's memory as it
    is told to use no more than so much; each region has a NUMA node."""

    name = "pseries"

    def __init__(self, ram_mib, *args, **options):
        super().__init__(self.room(ram_mib * MIB) // MIB, *args, **options)

    def room(self, size):
        # QEMU wants the memory of each node in such pieces.
        return -(-size // PIECE) * PIECE

    def arguments(self, accel):
        # The firmware is not what is tested here, so the small one. With a variable
        # QEMU formats the NVRAM, as the other firmware would.
        # Without being told QEMU has no huge pages for the hash MMU.
        machine = "pseries,x-vof=on,cap-hpt-max-page-size=16M"
        args = ["-machine", machine, "-accel", accel, "-cpu", "POWER9"]
        args += ["-prom-env", "auto-boot?=true"]
        return [*args, *self.memory_arguments(), *self.disk()]

    def kernel_arguments(self):
        # A large DMA window has what is System RAM at boot and no other memory, so disks
        # would miss the device's (enable_ddw() in platforms/pseries/iommu.c).
        return [*super().kernel_arguments(), f"mem={self.ram // MIB}M", "disable_ddw"]


class Powernv9(Power):
    """Bare metal with the real firmware (skiboot). Device memory is described in
    the tree as the firmware of a POWER9 with GPUs describes theirs."""

    name = "powernv9"
    tree = True

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.spare = Region(self.total + GAP, SPARE, 253)
        self.total += GAP + SPARE

    def place(self, region_mib):
        # Node 255, then 254, and so on, as the firmware numbers them.
        start = self.ram
        for count, size in enumerate(region_mib):
            yield Region(start, size * MIB, 255 - count)
            start += size * MIB

    def arguments(self, accel):
        args = ["-machine", "powernv9", "-accel", accel, "-smp", str(self.cpus)]
        args += ["-m", str(self.total // MIB)]
        # Without one nothing switches the machine off.
        return [*args, "-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-bt,bmc=bmc0,irq=10"]

    def channels(self, console, results):
        # The firmware takes the only serial port. One PCI host bridge, as each
        # takes time to set up.
        args = ["-serial", console, "-chardev", f"{results},id=results"]
        args += ["-device", "pnv-phb,chip-id=0,index=0,id=phb0"]
        args += ["-device", "pnv-phb-root-port"]
        # One slot, so both are functions of what is in it.
        args += ["-device", "virtio-serial-pci,bus=pcie.0,addr=0.0,multifunction=on"]
        args += self.disk(",bus=pcie.0,addr=0.1")
        return [*args, "-device", "virtconsole,chardev=results"]

    def load(self, initrd, append):
        """With a tree of our own: the machine's, changed. QEMU puts what is in
        -append only into a tree that it makes itself."""
        files = ["-kernel", self.kernel, "-initrd", initrd]
        tree = os.path.join(tempfile.gettempdir(), "powernv9.dtb")
        self._dump(tree, [*files, "-append", append])
        self._edit(tree)
        return [*files, "-dtb", tree]

    def _dump(self, path, load):
        """The tree that the machine would start with, into the file `path`."""
        args = [*self.arguments("tcg"), "-nodefaults", "-display", "none", "-S"]
        args += [*self.channels("null", "null"), "-monitor", "stdio", *load]
        subprocess.run(
            [self.emulator, *args],
            input=f"dumpdtb {path}\nquit\n",
            text=True,
            stdout=subprocess.DEVNULL,
            timeout=DUMP_LIMIT,
            check=True,
        )

    def _edit(self, path):
        """Give the machine device memory, and the radix MMU its page sizes."""
        tree = Tree(path)
        tree.pairs("/memory@0", "reg", (0, self.ram))
        for cpu in tree.children("/cpus"):
            if cpu.startswith("PowerPC"):
                tree.cells(f"/cpus/{cpu}", "ibm,processor-radix-AP-encodings", RADIX_PAGES)
        describe(tree, self.regions)
        if self.broken_nodes:
            describe_wrongly(tree, self.spare, BEYOND)

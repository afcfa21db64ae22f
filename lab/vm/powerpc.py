# SPDX-License-Identifier: GPL-2.0
"""POWER9 machines: bare metal with device memory in its device tree, and a guest under a
hypervisor."""

import os
import subprocess
import tempfile

from .devicetree import Tree, describe, describe_wrongly
from .machine import MIB, Machine, Region

EMULATOR = "/usr/bin/qemu-system-ppc64"

# pseries has memory in multiples of this.
PIECE = 256 * MIB

# Page sizes of the radix MMU, which POWER9 firmware describes and QEMU's tree lacks: 4K, 64K,
# 2M and 1G, each a shift and its encoding for the MMU.
RADIX_PAGES = (0x0000000C, 0xA0000010, 0x20000015, 0x4000001E)

DUMP_LIMIT = 30

# RAM, apart from device memory, for a broken node that leaves its memory to the kernel.
SPARE = 64 * MIB
GAP = 256 * MIB
# An address without memory.
BEYOND = 1 << 40


class Power(Machine):
    """Common to both."""

    emulator = EMULATOR
    console = "hvc0"
    results = "/dev/hvc1"
    kernel = "/kernel/image/vmlinux"
    busybox = "/opt/ppc64el/busybox"

    def __init__(self, ram_mib, region_mib, cpus, mmu="radix"):
        super().__init__(ram_mib, region_mib, cpus)
        self.mmu = mmu
        # The kernel logs early which MMU it uses.
        self.proof = f"{mmu}-mmu: "

    def kernel_arguments(self):
        return [f"console={self.console}", f"disable_radix={int(self.mmu == 'hash')}"]


class Pseries(Power):
    """A guest under a hypervisor. mem= keeps the kernel off device memory; each region has a
    NUMA node."""

    name = "pseries"

    def __init__(self, ram_mib, *args, **options):
        super().__init__(self.rounded(ram_mib * MIB) // MIB, *args, **options)

    def rounded(self, size):
        # QEMU takes only such multiples for a node's memory.
        return -(-size // PIECE) * PIECE

    def arguments(self, accel):
        # VOF, the small firmware, boots faster. A -prom-env makes QEMU format the NVRAM, as
        # SLOF would. By default QEMU has no huge pages with the hash MMU.
        machine = "pseries,x-vof=on,cap-hpt-max-page-size=16M"
        args = ["-machine", machine, "-accel", accel, "-cpu", "POWER9"]
        args += ["-prom-env", "auto-boot?=true"]
        return [*args, *self.memory_arguments(), *self.disk()]

    def kernel_arguments(self):
        # A dynamic DMA window maps only what is System RAM at boot, so a disk could not
        # reach device memory (enable_ddw() in platforms/pseries/iommu.c).
        return [*super().kernel_arguments(), f"mem={self.ram // MIB}M", "disable_ddw"]


class Powernv9(Power):
    """Bare metal with the real firmware, skiboot. The tree describes device memory as the
    firmware of a POWER9 with GPUs does."""

    name = "powernv9"
    tree = True

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.spare = Region(self.total + GAP, SPARE, 253)
        self.total += GAP + SPARE

    def place(self, region_mib):
        # Nodes 255, 254, and so on, as the firmware numbers them.
        start = self.ram
        for count, size in enumerate(region_mib):
            yield Region(start, size * MIB, 255 - count)
            start += size * MIB

    def arguments(self, accel):
        args = ["-machine", "powernv9", "-accel", accel, "-smp", str(self.cpus)]
        args += ["-m", str(self.total // MIB)]
        # The BMC: without one the machine cannot be powered off.
        return [*args, "-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-bt,bmc=bmc0,irq=10"]

    def channels(self, console, results):
        # The firmware takes the only serial port. Only one PCI host bridge, as each takes
        # time to set up.
        args = ["-serial", console, "-chardev", f"{results},id=results"]
        args += ["-device", "pnv-phb,chip-id=0,index=0,id=phb0"]
        args += ["-device", "pnv-phb-root-port"]
        # There is one slot: serial port and disk are functions of one device.
        args += ["-device", "virtio-serial-pci,bus=pcie.0,addr=0.0,multifunction=on"]
        args += self.disk(",bus=pcie.0,addr=0.1")
        return [*args, "-device", "virtconsole,chardev=results"]

    def load(self, initrd, append):
        """As the base class, with an edited copy of the machine's tree. QEMU puts -append only
        into a tree that it makes itself, so the copy is taken with it."""
        files = ["-kernel", self.kernel, "-initrd", initrd]
        tree = os.path.join(tempfile.gettempdir(), "powernv9.dtb")
        self._dump(tree, [*files, "-append", append])
        self._edit(tree)
        return [*files, "-dtb", tree]

    def _dump(self, path, load):
        """Write the tree that the machine would start with to `path`."""
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
        """Add device memory, and the page sizes of the radix MMU."""
        tree = Tree(path)
        tree.pairs("/memory@0", "reg", (0, self.ram))
        for cpu in tree.children("/cpus"):
            if cpu.startswith("PowerPC"):
                tree.cells(f"/cpus/{cpu}", "ibm,processor-radix-AP-encodings", RADIX_PAGES)
        describe(tree, self.regions)
        if self.broken_nodes:
            describe_wrongly(tree, self.spare, BEYOND)

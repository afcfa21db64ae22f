# SPDX-License-Identifier: GPL-2.0
"""Device memory in a machine's device tree: as POWER9 firmware describes it, and with every
mistake that a driver has to notice."""

import subprocess

CDM = "ibm,coherent-device-memory"

# Property that names the defect of a broken node.
MARK = "hmm-cdm,defect"

# A bus without a driver. Devices on it point to their memory.
BUS = "/pciex@npu"


class Tree:
    """A flattened device tree in a file, edited with the tools of dtc."""

    def __init__(self, path):
        self.path = path

    def _run(self, *args):
        done = subprocess.run(args, check=True, capture_output=True, text=True)
        return done.stdout

    def node(self, node):
        """Add an empty node."""
        self._run("fdtput", "-c", self.path, node)

    def children(self, node):
        """The names of the nodes in `node`."""
        return self._run("fdtget", "-l", self.path, node).split()

    def has(self, node, name):
        """Whether `node` has a property."""
        return name in self._run("fdtget", "-p", self.path, node).split()

    def cells(self, node, name, values):
        """Set a property to 32-bit cells."""
        self._run("fdtput", "-t", "x", self.path, node, name, *(f"{v:x}" for v in values))

    def pairs(self, node, name, *pairs):
        """Set a property to pairs of a 64-bit address and a 64-bit size."""
        numbers = [number for pair in pairs for number in pair]
        self.cells(node, name, [x for n in numbers for x in (n >> 32, n & 0xFFFFFFFF)])

    def text(self, node, name, *values):
        """Set a property to strings."""
        self._run("fdtput", "-t", "s", self.path, node, name, *values)

    def remove(self, node, name):
        """Remove a property."""
        self._run("fdtput", "-d", self.path, node, name)

    def phandle(self, node):
        """The phandle of `node`, made if it has none. New numbers are far apart: the firmware
        numbers nodes without one upwards from the largest."""
        if not self.has(node, "phandle"):
            self.cells(node, "phandle", [len(self.children("/")) << 16])
        return int(self._run("fdtget", "-t", "u", self.path, node, "phandle"))


def add_memory(tree, start, size, nid):
    """Add a node for device memory, none of which the kernel may use."""
    node = f"/memory@{start:x}"
    tree.node(node)
    tree.text(node, "device_type", "memory")
    tree.text(node, "compatible", CDM)
    tree.pairs(node, "reg", (start, size))
    tree.pairs(node, "linux,usable-memory", (start, 0))
    tree.cells(node, "ibm,chip-id", [nid])
    tree.cells(node, "ibm,associativity", [4, nid, nid, nid, nid])
    return node


def add_device(tree, number, memory, target=None):
    """Add a PCI device that points to its memory; `target` is the memory's address as the
    device sees it."""
    node = f"{BUS}/pci@{number}"
    tree.node(node)
    tree.cells(node, "memory-region", [tree.phandle(memory)])
    if target is not None:
        tree.cells(node, "ibm,device-tgt-addr", [target >> 32, target & 0xFFFFFFFF])


def describe(tree, regions):
    """Add the machine's device memory: a node for each region, and a device for it."""
    tree.node(BUS)
    tree.text(BUS, "device_type", "pciex")
    for number, region in enumerate(regions):
        node = add_memory(tree, region.start, region.size, region.node)
        add_device(tree, number, node, 0x2000_0000_0000 + region.start)


def describe_wrongly(tree, spare, beyond):
    """Add nodes with one defect each; tests/selftests/tree.c lists them. `spare` is RAM of the
    machine, `beyond` an address without memory."""
    size = spare.size

    def add(defect, start=None, nid=254):
        nonlocal beyond
        if start is None:
            start = beyond
            beyond += 2 * size
        node = add_memory(tree, start, size, nid)
        tree.text(node, MARK, defect)
        if defect != "usable":
            # Hidden from the firmware, which does not start with memory that overlaps.
            tree.remove(node, "device_type")
        return node, start

    tree.text(add("compatible")[0], "compatible", "vendor,memory", CDM)
    tree.text(add("disabled")[0], "status", "disabled")
    tree.remove(add("no-reg")[0], "reg")
    node, start = add("short-reg")
    tree.cells(node, "reg", [start >> 32, start & 0xFFFFFFFF, 0])
    node, start = add("empty-reg")
    tree.pairs(node, "reg", (start, 0))
    node, start = add("two-regs")
    tree.pairs(node, "reg", (start, size // 2), (start + size // 2, size // 2))
    tree.remove(add("no-usable")[0], "linux,usable-memory")
    node, _ = add("usable", spare.start, spare.node)
    tree.pairs(node, "linux,usable-memory", (spare.start, size))
    tree.cells(add("short-usable")[0], "linux,usable-memory", [0])
    tree.remove(add("no-node")[0], "ibm,associativity")
    add("ram", size)
    node, start = add("misaligned")
    tree.pairs(node, "reg", (start + 4096, size))
    add("no-memory")
    # Points to memory that is not device memory.
    add_device(tree, 99, "/memory@0")

# SPDX-License-Identifier: GPL-2.0
"""The drivers that a guest can have on its device memory, as far as they differ for
the runner; lab/guest/init loads them by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    """What a guest is loaded with."""

    name: str
    # Whether it is ours: then an oops ends the guest, the checkers of a debug kernel
    # have a say, and the modules have to unload.
    ours: bool = True
    # Where there are modules for it besides the kernel's.
    modules: tuple[str, ...] = ()
    # How many of the machine's regions it takes, if not all.
    regions: int | None = None
    # What the kernel is to be told for its tests.
    arguments: tuple[str, ...] = ()

# SPDX-License-Identifier: GPL-2.0
"""The drivers for a guest's device memory. lab/guest/init loads them by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    """One driver, and what the runner has to know about it."""

    name: str
    # For ours an oops ends the guest, the debug kernel's checkers are read, and the
    # modules have to unload.
    ours: bool = True
    # Directories of modules, besides those built with the kernel.
    modules: tuple[str, ...] = ()
    # Takes only the first of the machine's regions, if set.
    regions: int | None = None
    # Kernel parameters for its tests.
    arguments: tuple[str, ...] = ()

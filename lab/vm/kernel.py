# SPDX-License-Identifier: GPL-2.0
"""The kernels that guests boot, as far as they differ for the runner."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """One kernel, with the modules built for it."""

    # Where its modules are.
    modules: str
    # What it is to be told besides what every kernel is.
    arguments: tuple[str, ...] = ()
    # Whether the guest looks for leaks, and at the checkers themselves, before
    # it powers off.
    checks: bool = False


# The checkers stop at their first report unless told otherwise; lockdep cannot be
# told, and says nothing any more after that.
DEBUG = (
    "kasan_multi_shot",
    "page_poison=1",
    "kmemleak=on",
    # Emulation starves a processor for longer than real ones do.
    "rcupdate.rcu_cpu_stall_timeout=120",
)


def by_name(name):
    """The kernel that the lab calls so."""
    if name == "stock":
        return Kernel("/out/module")
    modules = f"/out/module-{name}"
    return Kernel(modules, DEBUG, checks=True) if name == "debug" else Kernel(modules)

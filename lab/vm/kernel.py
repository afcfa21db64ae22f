# SPDX-License-Identifier: GPL-2.0
"""The kernels that guests boot."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """One kernel, and the modules built for it."""

    # Directory of its modules.
    modules: str
    # Kernel parameters besides those that every kernel gets.
    arguments: tuple[str, ...] = ()
    # Whether the guest reads kmemleak and lockdep before it powers off.
    checks: bool = False


# Checkers stop at their first report unless told otherwise. For lockdep there is no such
# parameter.
DEBUG = (
    "kasan_multi_shot",
    "page_poison=1",
    "kmemleak=on",
    # Under emulation a CPU can starve for longer than on real hardware.
    "rcupdate.rcu_cpu_stall_timeout=120",
)


def by_name(name):
    """The kernel of this name: stock, a flavour, or one that the lab compiled."""
    if name == "stock":
        return Kernel("/out/module")
    modules = f"/out/module-{name}"
    return Kernel(modules, DEBUG, checks=True) if name == "debug" else Kernel(modules)

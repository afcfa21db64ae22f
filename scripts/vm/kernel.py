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

    image: str = "/kernel/image/vmlinuz"


STOCK = Kernel("/out/module")

# The checkers stop at their first report unless told otherwise; lockdep cannot be
# told, and says nothing any more after that.
DEBUG = Kernel(
    "/out/module-debug",
    (
        "kasan_multi_shot",
        "page_poison=1",
        "kmemleak=on",
        # Emulation starves a processor for longer than real ones do.
        "rcupdate.rcu_cpu_stall_timeout=120",
    ),
    checks=True,
)

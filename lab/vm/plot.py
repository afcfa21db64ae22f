# SPDX-License-Identifier: GPL-2.0
"""Plot bench.csv as SVG: cost of a page by operation, and by size of the range.

usage: python3 -m vm.plot bench.csv DIRECTORY
"""

import csv
import os
import sys

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

PAGE = 4096
HUGE = 2 << 20
FROM = 64 << 10
SIDES = {"ours": "#1f5fa8", "test_hmm": "#c9a227", "floor": "#9a9a9a"}
BARS = ("populate", "in", "out", "peer", "evict", "touch-system", "touch-node", "fault")
LINES = {"populate": "#2c8f4f", "in": "#1f5fa8", "out": "#b0413e", "fault": "#7a4fa3"}

# The same numbers give the same file.
STYLE = {"svg.hashsalt": "hmm-cdm", "font.size": 9, "axes.spines.top": False}


def read(path):
    """Costs of a page by operation, side and bytes."""
    costs = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            length = int(row["bytes"])
            for side in (*SIDES, "cpu"):
                if row[side]:
                    key = row["operation"], side, length
                    costs[key] = float(row[side]) / (length / PAGE)
    return costs


def save(figure, path):
    """Write it without a date."""
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def bars(costs, path):
    """Cost of a page in ranges of 2 MiB, by operation and side."""
    names = [n for n in BARS if ("ours", HUGE) in {k[1:] for k in costs if k[0] == n}]
    figure, axes = plt.subplots(figsize=(8, 3.6))
    width = 0.27
    for i, (side, color) in enumerate(SIDES.items()):
        at = [(x, costs.get((n, side, HUGE))) for x, n in enumerate(names)]
        at = [(x + (i - 1) * width, y) for x, y in at if y is not None]
        axes.bar([x for x, _ in at], [y for _, y in at], width, color=color, label=side)
    for operation, style in (("copy", ":"), ("cpu-touch", "--")):
        side = "cpu" if operation == "cpu-touch" else "floor"
        value = costs.get((operation, side, HUGE))
        if value is not None:
            text = "CPU's first touch" if side == "cpu" else "copy of a page"
            axes.axhline(value, color="black", linewidth=0.8, linestyle=style, label=text)
    axes.set_xticks(range(len(names)), [n.replace("-", "\n") for n in names])
    axes.set_ylabel("instructions for a page of 4 KiB")
    axes.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.15))
    save(figure, path)


def lines(costs, path):
    """Cost of a page by size of the range, ours and the floor."""
    figure, axes = plt.subplots(figsize=(8, 3.6))
    for operation, color in LINES.items():
        for side, style in (("ours", "-"), ("floor", "--")):
            points = sorted((n, y) for (o, s, n), y in costs.items() if (o, s) == (operation, side))
            points = [(n, y) for n, y in points if n >= FROM]
            label = operation if side == "ours" else f"{operation}, floor"
            axes.plot(
                [n for n, _ in points],
                [y for _, y in points],
                style,
                marker="o",
                markersize=3,
                color=color,
                label=label,
            )
    axes.set_xscale("log", base=2)
    ticks = sorted({n for o, s, n in costs if o in LINES and s == "ours" and n >= FROM})
    axes.set_xticks(ticks, [f"{n >> 20} MiB" if n >> 20 else f"{n >> 10} KiB" for n in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_ylabel("instructions for a page of 4 KiB")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    save(figure, path)


def main():
    """Both plots."""
    table, directory = sys.argv[1:]
    costs = read(table)
    with mpl.rc_context(STYLE):
        bars(costs, os.path.join(directory, "bench-operations.svg"))
        lines(costs, os.path.join(directory, "bench-sizes.svg"))


if __name__ == "__main__":
    main()

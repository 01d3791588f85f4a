"""Draws bars and lines as SVG, in the environment of the plots: panels as JSON on the input, a folder as argument."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "longshore", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot as plt  # noqa: E402 - after the choice of how to draw

OURS, OTHERS = "#1f6f8b", "#b8c4cc"


COLORS = {"redis": "#c0392b", "rabbitmq": "#e67e22", "sqlite": "#1f6f8b"}


def draw_lines(panel, folder):
    lines = panel["lines"]
    figure, axes = plt.subplots(1, len(lines), figsize=(4.2 * len(lines), 3.4), squeeze=False)
    for axis, (title, shown) in zip(axes[0], lines.items(), strict=True):
        for name, points in shown["series"].items():
            xs, ys = [point[0] for point in points], [point[1] for point in points]
            axis.plot(xs, ys, marker="o", label=name, color=COLORS.get(name))
        # the axis is linear up to 1, so that "none" has a place
        axis.set_xscale("symlog", linthresh=1)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(shown["axis"])
        axis.set_title(title, fontsize=9)
        if shown["series"]:
            axis.legend(frameon=False)
    finish(figure, panel, folder)


def draw(panel, folder):
    rows = panel["rows"]
    if not rows:
        return
    figure, axes = plt.subplots(1, len(rows), figsize=(3.6 * len(rows), 3.2), squeeze=False)
    for axis, (row, values) in zip(axes[0], rows.items(), strict=True):
        names = sorted(values, key=lambda name: values[name])
        axis.barh(names, [values[name] for name in names],
                  color=[OURS if name.startswith("longshore") else OTHERS for name in names])  # fmt: skip
        axis.set_title(row)
    finish(figure, panel, folder)


def finish(figure, panel, folder):
    figure.suptitle(panel["title"])
    figure.tight_layout()
    figure.savefig(Path(folder) / f"{panel['file']}.svg", metadata={"Date": None})
    plt.close(figure)


for panel in json.load(sys.stdin):
    (draw_lines if "lines" in panel else draw)(panel, sys.argv[1])

"""Draws bars as SVG, in the environment of the plots: panels as JSON on the standard input, a folder as argument."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "longshore", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot as plt  # noqa: E402 - after the choice of how to draw

OURS, OTHERS = "#1f6f8b", "#b8c4cc"


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
    figure.suptitle(panel["title"])
    figure.tight_layout()
    figure.savefig(Path(folder) / f"{panel['file']}.svg", metadata={"Date": None})
    plt.close(figure)


for panel in json.load(sys.stdin):
    draw(panel, sys.argv[1])

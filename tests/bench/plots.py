"""Draws a run: writes its figures' medians into SVG, with matplotlib in an environment of its own.

This module knows what is drawn; `draw.py` runs in that environment and draws it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench import curve_report, environments
from tests.bench.report import medians
from tests.bench.systems import SYSTEMS

DRAW = Path(__file__).parent / "draw.py"
PICTURES = {
    "bench-noop": ("No-op tasks a second, 1 process", "value", (
        "noop-1-redis", "noop-1-rabbitmq", "noop-1-sqlite")),
    "bench-latency": ("Latency of an idle worker, p50 in ms", "value", (
        "latency-redis", "latency-rabbitmq", "latency-sqlite")),
}  # fmt: skip
"""file → (title, measure, rows)."""


def panels(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is drawn: for each picture its title and for each row the medians of its systems."""
    rows = {row["id"]: row["contenders"] for row in figures["rows"] if row["contenders"]}
    found = []
    for file, (title, key, ids) in PICTURES.items():
        bars = {row: _systems(medians(rows[row], key)) for row in ids if row in rows}
        found.append({"file": file, "title": title, "rows": bars})
    return found


def _systems(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in SYSTEMS}


def write(figures: Mapping[str, Any] | None, curves: Mapping[str, Any] | None, pictures: Path) -> None:
    """Draw every picture of the raw figures that there are."""
    environments.ensure("plots")
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = [*(panels(figures) if figures else []), *(curve_report.panels(curves) if curves else [])]
    command = [environments.program("plots", "python"), str(DRAW), str(pictures)]
    subprocess.run(command, input=json.dumps(drawn), text=True, check=True)

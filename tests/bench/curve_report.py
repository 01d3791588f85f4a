"""The curves as tables and as pictures: a pure function of the points that `curves` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.report import number

Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """One figure of one curve."""

    curve: str
    key: str
    title: str
    unit: str
    axis: str


SHOWN = (
    Shown("payload", "value", "No-op tasks a second, 1 process, by bytes of argument", "/s", "bytes"),
    Shown("processes", "value", "No-op tasks a second, by processes of the worker", "/s", "processes"),
    Shown("backlog", "value", "A claim with its settlement, mean, by messages that wait", "µs", "messages"),
    Shown("backlog", "p50", "A claim with its settlement, median, by messages that wait", "µs", "messages"),
    Shown("backlog", "cpu_us", "Of it our own processor time, by messages that wait", "µs", "messages"),
    Shown("delayed", "value", "A claim with its settlement, mean, by delayed messages", "µs", "delayed messages"),
    Shown("delayed", "pss_mb", "PSS of a worker of 1 process, by delayed messages", "MB", "delayed messages"),
    Shown("delayed", "idle_cpu", "An idle worker, by delayed messages", "% CPU", "delayed messages"),
    Shown("queues", "value", "No-op tasks a second, by queues of the worker", "/s", "queues"),
    Shown("queues", "p50", "Latency of an idle worker, p50, by its queues", "ms", "queues"),
    Shown("queues", "idle_cpu", "An idle worker, by its queues", "% CPU", "queues"),
    Shown("variant", "value", "No-op tasks a second, 1 process, by how the server runs", "/s", "server"),
    Shown("variant", "sends", "Sends one by one a second, confirmed, by how the server runs", "/s", "server"),
)
PICTURES = {
    "bench-load": ("More work: bytes, processes", (("payload", "value"), ("processes", "value"))),
    "bench-waiting": ("What waits must not slow a claim down, nor fill a worker", (
        ("backlog", "value"), ("delayed", "value"), ("delayed", "pss_mb"))),
    "bench-queues": ("Queues on one worker", (("queues", "value"), ("queues", "p50"))),
}  # fmt: skip
"""file → (title, figures)."""


def section(figures: Mapping[str, Any]) -> str:
    """Return the section of the document."""
    parts = [_opening(figures)]
    for shown in SHOWN:
        points = [point for point in figures["points"] if point["curve"] == shown.curve]
        if points:
            parts.append(f"### {shown.title} ({shown.unit})\n\n{_table(shown, points)}")
    parts.extend(f"![{title}](pictures/{file}.svg)\n" for file, (title, _) in PICTURES.items())
    return "\n".join(parts)


def _opening(figures: Mapping[str, Any]) -> str:
    return f"""## Curves

Longshore alone, one trial a point, {figures["started"]}, commit {figures["machine"]["commit"]}, load \
{figures["load_before"]:.1f} before and {figures["load_after"]:.1f} after; [raw figures](benchmarks-curves.json). \
Every task is counted, and the queue is empty afterwards. A claim is measured at the broker's port, by the hundred, \
its settlement with it, without a worker around it.
"""


def _table(shown: Shown, points: Sequence[Point]) -> str:
    if any(isinstance(point["x"], str) for point in points):
        lines = [f"| broker | {shown.axis} | {shown.unit} |", "|---|---|---|"]
        lines.extend(f"| {point['series']} | {point['x']} | {_cell(shown, point)} |" for point in points)
        return "\n".join(lines) + "\n"
    series = list(dict.fromkeys(point["series"] for point in points))
    found = {(point["series"], point["x"]): point for point in points}
    lines = [f"| {shown.axis} | {' | '.join(series)} |", "|---|" + "---|" * len(series)]
    for x in sorted({point["x"] for point in points}):
        cells = [_cell(shown, found.get((name, x))) for name in series]
        lines.append(f"| {x:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(shown: Shown, point: Point | None) -> str:
    if point is not None and "failure" in point:
        return f"failed: {point['failure'][:120]}".replace("\n", " ")
    return number(point[shown.key]) if point is not None and shown.key in point else ""


def panels(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is drawn: for each picture its title, and for each figure the line of each broker."""
    by_key = {(shown.curve, shown.key): shown for shown in SHOWN}
    found = []
    for file, (title, keys) in PICTURES.items():
        lines = {}
        for curve, key in keys:
            shown = by_key[curve, key]
            series: dict[str, list[list[float]]] = {}
            for point in figures["points"]:
                if point["curve"] == curve and key in point:
                    series.setdefault(point["series"], []).append([point["x"], point[key]])
            lines[f"{shown.title.split(', by')[0]} ({shown.unit})"] = {"axis": shown.axis, "series": series}
        found.append({"file": file, "title": title, "lines": lines})
    return found

"""Rows of a run as text, as JSON, and as the page of the documentation. Pure but for reading the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.plan import SCENARIOS, Row
from tests.chaos.stage import BROKERS

Entry = dict[str, Any]

HEAD = """\
# The chaos suite

<!-- Made by `python -m tests.chaos --write`; do not edit. -->

What is promised in [guarantees](guarantees.md) is tried by killing, freezing, draining, cutting and restarting the
real parts: workers as they are started by `longshore worker`, with two processes and a read-ahead of up to 100, and
real servers. `make chaos` runs the counts of this page and prints its seed, and
`python -m tests.chaos --scenario kill --broker redis --seed 7` repeats a part. The test suite runs a small part of the
same code, which is `python -m tests.chaos --size ci`.

Every task appends a line to a file when it starts and when it ends, so that the record survives whoever is killed and
is not kept by the broker under test. Judgment is pure (`tests/chaos/verdicts.py`): from what was sent, what was seen
and who died follows what was lost, what ran again and whether a death explains it, and what came back too late. Its own
tests give it records with a lost, a doubled, a late task, and it must find them.
"""

TABLE = [
    "scenario",
    "broker",
    "cycles",
    "tasks",
    "lost",
    "again",
    "at most",
    "slowest redelivery, s",
    "seconds",
    "findings",
]

NOTES = """\
`again` are starts after the first one; `at most` is what the killed processes, or those that an outage cut off, held by
their read-ahead; `lost` of `kill-early` are tasks that were acknowledged and had not started when their process died,
which is what early acknowledgment means. The slowest redelivery is measured from the kill to the start, a new worker's
own start included. A finding is anything that was promised and not kept. Where others used the machine at the same
time, limits of time were stretched by what is said below; at 1.0 they are those of the promises.
"""


def line(row: Row) -> str:
    """Return one line for a terminal."""
    one = row.outcome
    figures = "".join(f"; {name} {value}" for name, value in one.figures.items())
    slowest = f", slowest redelivery {one.slowest:.2f} s" if one.slowest is not None else ""
    again = f"{one.duplicates} again" + (f" (at most {one.bound})" if one.bound is not None else "")
    verdict = "ok" if not one.findings else f"{len(one.findings)} FINDINGS"
    return (
        f"{row.scenario} on {row.broker}: {verdict}; {one.cycles} cycles, {one.tasks} tasks, {one.lost} lost, {again}"
        f"{slowest}{figures}; {row.seconds} s"
    )


def entry(row: Row, machine: dict[str, object]) -> Entry:
    """Return a row as it is kept."""
    return {
        "scenario": row.scenario,
        "broker": row.broker,
        "seed": row.seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": row.seconds,
        **asdict(row.outcome),
        "machine": machine,
    }


def merged(entries: Sequence[Entry], new: Entry) -> list[Entry]:
    """Put an entry in the place of the one of the same scenario and broker, in the order of the plan."""
    kept = [one for one in entries if (one["scenario"], one["broker"]) != (new["scenario"], new["broker"])]
    names = list(SCENARIOS)
    return sorted([*kept, new], key=lambda one: (names.index(one["scenario"]), BROKERS.index(one["broker"])))


def load(path: Path) -> list[Entry]:
    """Read what was kept."""
    entries: list[Entry] = json.loads(path.read_text())
    return entries


def page(entries: Sequence[Entry]) -> str:
    """Return the page."""
    parts = [HEAD, "## What came out", _table(entries), NOTES, "## What the scenarios do", _scenarios()]
    parts += ["## What else was measured", _figures(entries), *_findings(entries), "## On what", _machines(entries)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(entries: Sequence[Entry]) -> str:
    rows = [
        [
            one["scenario"], one["broker"], _number(one["cycles"]), _number(one["tasks"]), _number(one["lost"]),
            _number(one["duplicates"]), _number(one["bound"]), _seconds(one["slowest"]), f"{one['seconds']:.0f}",
            str(len(one["findings"])),
        ]
        for one in entries
    ]  # fmt: skip
    return _markdown(TABLE, rows)


def _scenarios() -> str:
    return "\n".join(f"- `{one.name}`: {one.what} ({_number(one.full)})." for one in SCENARIOS.values())


def _figures(entries: Sequence[Entry]) -> str:
    figures = [(one, name, value) for one in entries for name, value in one["figures"].items()]
    rows = [[one["scenario"], one["broker"], name, str(value)] for one, name, value in figures]
    return _markdown(["scenario", "broker", "figure", "value"], rows)


def _findings(entries: Sequence[Entry]) -> list[str]:
    found = [f"- {one['scenario']} on {one['broker']}: {text}" for one in entries for text in one["findings"]]
    return ["## Findings", "\n".join(found)] if found else []


def _machines(entries: Sequence[Entry]) -> str:
    rows = [
        [
            one["scenario"], one["broker"], one["at"][:16].replace("T", " "), str(one["seed"]),
            str(one["machine"].get("commit")), f"{one['machine']['load before']} to {one['machine']['load after']}",
        ]
        for one in entries
    ]  # fmt: skip
    facts = entries[-1]["machine"] if entries else {}
    said = f"{facts.get('cpus')} CPUs ({facts.get('processor')}), Python {facts.get('python')}, "
    said += f"SQLite {facts.get('sqlite')}, Redis {facts.get('redis')}, RabbitMQ {facts.get('rabbitmq')}. "
    said += "`load` is the machine's, before and after."
    return said + "\n\n" + _markdown(["scenario", "broker", "when (UTC)", "seed", "commit", "load"], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

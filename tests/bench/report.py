"""From the raw figures of a run to its table and its document: medians, ratios, and what each target says.

Pure: figures in, text out. Every number in the document comes from the figures or from the targets in `rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.rows import ROWS, Measure, Row, Target
from tests.bench.systems import SYSTEMS

Figures = Mapping[str, Any]
OURS = "longshore"


@dataclass(frozen=True, slots=True)
class Judgment:
    """Whether a target is met, and the sentence that says so."""

    met: bool | None
    text: str


def medians(contenders: Mapping[str, Any], key: str) -> dict[str, float]:
    """Return the median of each contender that has valid trials."""
    return {
        name: median(trial[key] for trial in result["trials"])
        for name, result in contenders.items()
        if result["trials"] and all(key in trial for trial in result["trials"])
    }


def judge(target: Target | None, ours: float | None, others: Mapping[str, float]) -> Judgment:
    """Compare a figure of ours with its target."""
    if target is None:
        return Judgment(None, "stated")
    if ours is None:
        return Judgment(None, "not measured")
    wanted = _wanted(target, others)
    if wanted is None:
        return Judgment(None, f"{target.of} was not measured")
    share = _ratio(ours, wanted, target.lower)
    sign = "≤" if target.lower else "≥"
    goal = f"{sign} {number(wanted)}" + (f" ({target.factor:g} x {target.of})" if target.of else "")
    if share >= 1:
        return Judgment(True, f"met: {goal}")
    by_ratio = _by_ratio(target, ours, others)
    if by_ratio is not None:
        return Judgment(True, f"{goal} missed; {by_ratio}")
    return Judgment(False, f"**missed by {(1 / share - 1) if target.lower else (1 - share):.0%}**: {goal}")


def _wanted(target: Target, others: Mapping[str, float]) -> float | None:
    if target.of is None:
        return target.value
    base = others.get(target.of)
    return None if base is None or target.factor is None else base * target.factor


def _by_ratio(target: Target, ours: float, others: Mapping[str, float]) -> str | None:
    """On a slow hour the ratio to the peer of the same run counts."""
    peer = others.get(target.peer) if target.peer else None
    if peer is None or target.peer_seen is None or target.value is None:
        return None
    wanted, found = _ratio(target.value, target.peer_seen, target.lower), _ratio(ours, peer, target.lower)
    if found < wanted:
        return None
    return f"met by the ratio to {target.peer} in this run: {found:.1f} (wanted {wanted:.1f})"


def _ratio(ours: float, peer: float, lower: bool) -> float:
    """How many times better we are; without end where the lesser of two figures is 0."""
    better, worse = (peer, ours) if lower else (ours, peer)
    return better / worse if worse else float("inf") if better else 1.0


def number(value: float) -> str:
    """Return a figure as a person reads it."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


# -- the table ---------------------------------------------------------------------------------------------------------


def table(figures: Figures) -> str:
    """Return the summary: one line a target."""
    lines = ["| work | broker | Longshore | best peer | ratio | target |", "|---|---|---|---|---|---|"]
    lines.extend(line for row, found in _rows(figures) for line in _summary(row, found))
    return "\n".join(lines) + "\n"


def _rows(figures: Figures) -> list[tuple[Row, Mapping[str, Any]]]:
    by_id = {row.id: row for row in ROWS}
    return [(by_id[found["id"]], found) for found in figures["rows"] if found["id"] in by_id]


def _summary(row: Row, found: Mapping[str, Any]) -> list[str]:
    if "left_out" in found:
        return [f"| {row.title} | {row.broker} | | | | left out: {found['left_out']} |"]
    lines = []
    for measure in row.measures:
        values = medians(found["contenders"], measure.key)
        ours = values.get(OURS)
        lower = measure.unit != "/s"
        title = f"{row.title}, {measure.title}" if measure.title else row.title
        peer = _best_peer(values, lower)
        shown = f"{peer} {number(values[peer])}" if peer else ""
        ratio = f"{_ratio(ours, values[peer], lower):.1f}" if peer and ours else ""
        mine = f"{number(ours)} {measure.unit}" if ours is not None else _why_not(found["contenders"].get(OURS))
        target = _target(measure, ours, values)
        lines.append(f"| {title} | {row.broker} | {mine} | {shown} | {ratio} | {target} |")
    return lines


def _target(measure: Measure, ours: float | None, values: Mapping[str, float]) -> str:
    return judge(measure.target, ours, values).text


def _best_peer(values: Mapping[str, float], lower: bool) -> str | None:
    peers = {name: value for name, value in values.items() if name in SYSTEMS and not name.startswith(OURS)}
    if not peers:
        return None
    return min(peers, key=lambda name: peers[name]) if lower else max(peers, key=lambda name: peers[name])


def _why_not(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "did not take part"
    if "not_run" in result:
        return str(result["not_run"])
    return f"failed: {result['failures'][0][:120]}" if result["failures"] else "not measured"


# -- the document ------------------------------------------------------------------------------------------------------


def document(figures: Figures, time_goes: str = "", curves: str = "") -> str:
    """Return the whole document: with what somebody wrote on where the time goes, and the section of the curves."""
    parts = [_opening(figures), "## Targets\n", _missed(figures), table(figures), _pictures()]
    parts.extend(text for text in (time_goes, curves) if text)
    parts.append("## Every contender\n")
    parts.extend(_details(row, found, figures) for row, found in _rows(figures) if "left_out" not in found)
    parts.extend([_settings(figures), _method(figures), _versions(figures)])
    return "\n".join(parts)


def _opening(figures: Figures) -> str:
    machine, plan = figures["machine"], figures["plan"]
    return f"""# Benchmarks

Written by `make bench` from [its raw figures](benchmarks.json); no number in a table is written by hand.

{figures["started"]}, commit {machine["commit"]}: {machine["processor"]}, {machine["cpus"]} CPUs, \
{machine["memory_gb"]} GB, Linux {machine["kernel"]}, Python {machine["python"]}; Redis {machine["redis"]}, RabbitMQ \
{machine["rabbitmq"]}, SQLite {machine["sqlite"]}, on the same machine. Medians of {plan["rounds"]} trials after a \
warm-up (of fewer where the lists say so), contenders in alternating order. Load of the machine before the run \
{figures["load_before"]:.1f}, after it {figures["load_after"]:.1f}.
"""


def _missed(figures: Figures) -> str:
    """Return how many targets were met, and how many were not."""
    found = [
        judge(measure.target, values.get(OURS), values).met
        for row, result in _rows(figures)
        for measure in row.measures
        for values in [medians(result["contenders"], measure.key)]
        if measure.target is not None
    ]
    unknown = f", {found.count(None)} not measured" if None in found else ""
    return f"{found.count(True)} met, {found.count(False)} missed{unknown}.\n"


def _pictures() -> str:
    return "\n![No-op tasks](pictures/bench-noop.svg)\n\n![Latency](pictures/bench-latency.svg)\n"


def _details(row: Row, found: Mapping[str, Any], figures: Figures) -> str:
    head = " | ".join(f"{measure.title or 'median'} ({measure.unit})" for measure in row.measures)
    lines = [
        f"### {row.title}: {row.broker}\n",
        f"| | {head} | lowest to highest | trials |",
        "|---|" + "---|" * (len(row.measures) + 2),
    ]
    order = sorted(found["contenders"], key=lambda name: _place(found["contenders"][name], row))
    lines.extend(_contender(name, found["contenders"][name], row) for name in order)
    return "\n".join(lines) + "\n"


def _place(result: Mapping[str, Any], row: Row) -> float:
    values = [trial["value"] for trial in result["trials"]]
    if not values:
        return float("inf")
    return median(values) if row.measures[0].unit != "/s" else -median(values)


def _contender(name: str, result: Mapping[str, Any], row: Row) -> str:
    system = SYSTEMS.get(name)
    promise = " (at most once)" if system is not None and row.ack not in system.acks else ""
    cells = [number(found[name]) if name in (found := medians({name: result}, measure.key)) else _why_not(result)
             for measure in row.measures]  # fmt: skip
    values = [trial["value"] for trial in result["trials"]]
    spread = f"{number(min(values))} to {number(max(values))}" if values else ""
    failed = f", {len(result['failures'])} invalid" if result["failures"] else ""
    return f"| {name}{promise} | {' | '.join(cells)} | {spread} | {len(values)}{failed} |"


def _settings(figures: Figures) -> str:
    systems = [f"- **{name}**: {text}" for name, text in figures["settings"].items()]
    baselines = [f"- **{name}**: {text}" for name, text in figures["baselines"].items()]
    return "\n".join(["## Settings\n", *systems, "", "Baselines, without any task queue:\n", *baselines, ""])


def _method(figures: Figures) -> str:
    sizes = ", ".join(f"{size:,} bytes on {kind}" for kind, size in figures["message_bytes"].items() if size)
    return f"""## How it is measured

- Every system has its own virtual environment (pinned in `tests/bench/requirements/`), the same tasks, and its own \
worker command. Longshore's and Celery's messages are Celery's protocol 2 (a no-op call of Longshore: {sizes}); other \
systems send what they send.
- A no-op task adds one to a slot of a mapped file. A backlog is sent first, then the workers start; the rate is that \
of the last 80 % of the tasks. The count has to equal what was sent, and the broker has to hold nothing afterwards, or \
the trial is invalid.
- `make bench` ends within 35 minutes for the table and 15 for the curves: trials of {figures["plan"]["seconds"]:g} s, \
and a row whose time is over has fewer of them; `make bench-full` takes 2 s a trial and no limit.
- Sends are counted by the broker. Latency is from just before a send to the first line of the task, sends 4 to 8 ms \
apart. I/O is from the first task's begin to the last one's end. Ready is when each process has begun a task, counted \
from the start of the command. PSS is summed over all processes of the worker.
- At least once, with the guarantees that everybody gets: there are no switches for benchmarks. A contender that \
cannot promise it is marked. Targets that are absolute hold for a quiet machine of this kind; where it was slower, the \
ratio to the named peer of the same run decides.
"""


def _versions(figures: Figures) -> str:
    lines = ["## Versions\n"]
    for environment, versions in figures["versions"].items():
        shown = ", ".join(
            f"{name} {version}" for name, version in versions.items() if name not in {"pip", "setuptools"}
        )
        lines.append(f"- **{environment}**: {shown}")
    return "\n".join(lines) + "\n"

"""A run: every row, every contender, in alternating order; what was measured is kept as it was, with what failed.

It decides nothing about targets: that is `report`'s, from the raw figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import environments, machine, raw, trials
from tests.bench.rows import ROWS, Row
from tests.bench.servers import Servers
from tests.bench.systems import SYSTEMS, Job, System

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a run measures."""

    quick: bool = False
    rounds: int = 5
    seconds: float = 2.0
    latency_samples: int = 500
    stop_seconds: float = 15.0
    budget_seconds: float | None = None
    rows: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()

    def chosen(self) -> list[Row]:
        """Return the rows of this run."""
        rows = [row for row in ROWS if not self.rows or row.id in self.rows]
        return sorted((row for row in rows if row.quick), key=_length_of_trials) if self.quick else rows

    def among(self, row: Row) -> list[str]:
        """Return who takes part in a row."""
        names = row.quick if self.quick else row.systems
        return [name for name in names if not self.systems or name in self.systems]


FULL = Plan()
MEDIUM = Plan(seconds=1.0, latency_samples=250, stop_seconds=8.0, budget_seconds=2100.0)
QUICK = Plan(quick=True, rounds=3, seconds=0.6, latency_samples=200, budget_seconds=160.0)
TINY = Plan(rounds=1, seconds=0.2, latency_samples=60)


_BASE_SECONDS = {"throughput": 1.3, "latency": 2.0, "waiting": 2.5, "start_up": 2.5}
"""What a trial takes beside its time proper, on a quiet machine: start, first tasks, end."""
_SERVER_SECONDS = 15.0


def estimate(plan: Plan) -> float:
    """Return the seconds that a run takes on a quiet machine, the building of environments left out."""
    seconds = sum(_row_seconds(plan, row) for row in plan.chosen()) + _SERVER_SECONDS
    return min(seconds, plan.budget_seconds or seconds)


def _row_seconds(plan: Plan, row: Row) -> float:
    contenders = len(plan.among(row)) + len(row.raw)
    warm_up = row.trial not in _BASE_SECONDS or row.trial == "throughput"
    proper = {"throughput": 2 * plan.seconds, "latency": plan.latency_samples * 0.006, "waiting": 0.0, "start_up": 0.0}
    each = _BASE_SECONDS.get(row.trial, 0.4) + proper.get(row.trial, plan.seconds)
    return contenders * each * (plan.rounds + warm_up)


def run(plan: Plan, folder: Path, tell: Callable[[str], None]) -> Figures:
    """Measure, and return everything that was measured."""
    names = sorted({name for row in plan.chosen() for name in plan.among(row)})
    built = {SYSTEMS[name].environment for name in names}
    for environment in sorted(built):
        environments.ensure(environment)
    figures: Figures = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": asdict(plan),
        "machine": machine.describe(),
        "load_before": machine.load(),
        "versions": {name: environments.versions(name) for name in sorted(built)},
        "settings": {name: SYSTEMS[name].settings for name in names},
        "baselines": {name: how for name, (_, _, how) in raw.BASELINES.items()},
        "message_bytes": {},
        "rows": [],
    }
    began = time.monotonic()
    tell(f"about {estimate(plan) / 60:.0f} minutes on a quiet machine, {len(plan.chosen())} rows")
    with Servers(folder) as servers:
        rows = plan.chosen()
        for index, row in enumerate(rows):
            passed = (time.monotonic() - began) / 60
            tell(f"-- row {index + 1} of {len(rows)}, {row.id}, after {passed:.1f} minutes")
            ends = _share_ends(plan, began, rows[index:])
            reason = "the time of this run was over" if time.monotonic() >= ends else servers.missing(row.broker)
            contest = Contest(row, plan, servers, folder, tell, ends)
            figures["rows"].append(contest.left_out(reason) if reason else contest.hold())
        figures["message_bytes"] = _message_bytes(plan, servers, folder)
    figures["seconds"] = round(time.monotonic() - began, 1)
    figures["load_after"] = machine.load()
    return figures


def _length_of_trials(row: Row) -> int:
    """Short trials first: what they leave of their time goes to those that need it."""
    return ("one", "sqlite", "redis", "rabbitmq").index(row.trial if row.trial == "one" else row.broker)


def _share_ends(plan: Plan, began: float, rows: Sequence[Row]) -> float:
    """Return until when the first of these rows may begin trials: its share of what is left, by contenders."""
    if plan.budget_seconds is None:
        return float("inf")
    now = time.monotonic()
    contenders = [len(plan.among(row)) + len(row.raw) for row in rows]
    return now + (began + plan.budget_seconds - now) * contenders[0] / sum(contenders)


class Contest:
    """One row: its contenders one after another, round after round, every second round backwards."""

    def __init__(
        self, row: Row, plan: Plan, servers: Servers, folder: Path, tell: Callable[[str], None], ends: float
    ) -> None:
        self._row = row
        self._plan = plan
        self._servers = servers
        self._folder = folder
        self._tell = tell
        self._ends = ends
        self._names = [*plan.among(row), *row.raw]
        self._guesses: dict[str, float] = {}
        self._results: dict[str, dict[str, Any]] = {name: {"trials": [], "failures": []} for name in self._names}

    def left_out(self, reason: str) -> Figures:
        """Return a row that was not measured."""
        self._tell(f"{self._row.id}: left out, {reason}")
        return {"id": self._row.id, "left_out": reason, "contenders": {}}

    def hold(self) -> Figures:
        """Measure; a contender that failed twice takes part no more."""
        able = list(self._names)
        if self._needs_warm_up():
            able = [name for name in able if self._attempt(name, warm_up=True) or self._attempt(name, warm_up=True)]
        for number in range(self._plan.rounds):
            for name in able if number % 2 == 0 else able[::-1]:
                if len(self._results[name]["failures"]) < 2 and time.monotonic() < self._ends:
                    self._attempt(name, warm_up=False)
        return {"id": self._row.id, "contenders": self._results}

    def _needs_warm_up(self) -> bool:
        """These trials are sized by what a first one finds; the others hold their warm-up themselves."""
        return self._row.trial in {"throughput", "one", "many", "beside", "coroutines"}

    def _attempt(self, name: str, *, warm_up: bool) -> bool:
        began = time.monotonic()
        try:
            figures = self._measure(name)
        except (trials.Invalid, RuntimeError, OSError, ValueError) as error:
            self._results[name]["failures"].append(str(error))
            self._tell(f"{self._row.id}: {name}: invalid: {error}")
            return False
        self._guesses[name] = figures["value"]
        if not warm_up:
            self._results[name]["trials"].append(figures)
        word = "warm-up" if warm_up else "trial"
        self._tell(f"{self._row.id}: {name}: {word} {figures['value']:,.4g} ({time.monotonic() - began:.1f} s)")
        return True

    def _measure(self, name: str) -> Figures:
        if name in raw.BASELINES:
            return self._measure_raw(name)
        trial = self._trial(SYSTEMS[name])
        what, guess = self._row.trial, self._guesses.get(name)
        if what == "throughput":
            return trials.throughput(trial, guess)
        if what in {"one", "many", "beside", "coroutines"}:
            return trials.sending(trial, what, guess)
        return {"latency": trials.latency, "waiting": trials.waiting, "start_up": trials.start_up}[what](trial)

    def _measure_raw(self, name: str) -> Figures:
        kind, _, _ = raw.BASELINES[name]
        self._servers.fresh(kind)
        port = self._servers.redis().port if kind == "redis" else self._servers.rabbitmq.port
        count = self._row.raw_count // (3 if self._plan.quick else 1)
        if "wait" in name:
            count = min(count, self._plan.latency_samples)
        return raw.measure(name, port, count)

    def _trial(self, system: System) -> trials.Trial:
        row, plan = self._row, self._plan
        options = replace(
            trials.Options(seconds=plan.seconds, latency_samples=plan.latency_samples, stop_seconds=plan.stop_seconds),
            **row.options,
        )
        job = Job(row.broker, row.processes, row.ack, row.slots)
        return trials.Trial(system, job, self._servers, self._folder / "trial", options)


def _message_bytes(plan: Plan, servers: Servers, folder: Path) -> dict[str, int | None]:
    """Return how long a no-op message is on each broker, as Longshore writes it."""
    kinds: Sequence[str] = sorted({row.broker for row in plan.chosen() if not servers.missing(row.broker)})
    sizes = {}
    for kind in kinds:
        trial = trials.Trial(SYSTEMS["longshore"], Job(kind), servers, folder / "trial", trials.Options())
        sizes[kind] = trial.drive("bytes")["bytes"]
    return sizes

"""How Longshore's figures change with what grows: payloads, processes, backlogs, delayed messages, queues.

And with TLS, quorum queues, and Redis's append-only file.

Each point is one trial of `trials`, kept raw, with what failed. Nothing is judged here; `curve_report` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import environments, machine, trials
from tests.bench.servers import TLS, Servers
from tests.bench.systems import LONGSHORE, Job

BROKERS = ("redis", "rabbitmq", "sqlite")
READY = 2000
"""Tasks that are due, beside those that are not."""
CLAIMS = 4000
"""Claims that are measured on a backlog, at most."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the curves go."""

    tasks: int = 40_000
    sends: int = 3000
    samples: int = 150
    payloads: tuple[tuple[int, int], ...] = (
        (100, 40_000), (1000, 40_000), (10_000, 20_000), (100_000, 4000), (1_000_000, 400),
    )  # fmt: skip
    """(bytes, tasks)"""
    processes: tuple[int, ...] = (1, 2, 4, 8)
    backlogs: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    delayed: tuple[int, ...] = (0, 10_000, 100_000, 1_000_000)
    most_delayed_on_rabbitmq: int = 100_000
    queues: tuple[int, ...] = (1, 10, 100, 1000)
    budget_seconds: float = 840.0
    """Points that would begin later are left out, and say so."""


FULL = Extent()
TINY = Extent(
    tasks=600, sends=100, samples=20, payloads=((100, 500), (100_000, 500)), processes=(1, 2), backlogs=(1000, 3000),
    delayed=(0, 2000), queues=(1, 10),
)  # fmt: skip


class Bench:
    """The place of a run of curves: the servers, and the points that were measured."""

    def __init__(self, extent: Extent, servers: Servers, folder: Path, tell: Callable[[str], None]) -> None:
        self.extent = extent
        self.servers = servers
        self._folder = folder
        self._tell = tell
        self._ends = time.monotonic() + extent.budget_seconds
        self.points: list[dict[str, Any]] = []

    def trial(self, job: Job, **options: Any) -> trials.Trial:
        """Return a trial on an emptied broker."""
        chosen = trials.Options(latency_samples=self.extent.samples, **options)
        return trials.Trial(LONGSHORE, job, self.servers, self._folder / "trial", chosen)

    def point(self, curve: str, series: str, x: float | str, measure: Callable[[], Mapping[str, Any]]) -> None:
        """Measure one point; one that fails is kept with its reason."""
        found: Mapping[str, Any]
        began = time.monotonic()
        if began > self._ends:
            found = {"failure": "the time of this run was over"}
        else:
            try:
                found = measure()
            except (trials.Invalid, RuntimeError, OSError, ValueError) as error:
                found = {"failure": str(error)}
        self.points.append({"curve": curve, "series": series, "x": x, **found})
        said = found.get("failure") or ", ".join(f"{key} {value:,.4g}" for key, value in found.items())
        self._tell(f"curve {curve}: {series} at {x}: {said} ({time.monotonic() - began:.1f} s)")


def payload(bench: Bench, broker: str) -> None:
    """Tasks a second, by the length of their argument."""
    for size, count in bench.extent.payloads:
        bench.point("payload", broker, size, lambda size=size, count=count: trials.backlog(  # type: ignore[misc]
            bench.trial(Job(broker), payload=size), count, "weigh"))  # fmt: skip


def processes(bench: Bench, broker: str) -> None:
    """Tasks a second, by the processes of one worker."""
    for number in bench.extent.processes:
        bench.point("processes", broker, number, lambda number=number: trials.backlog(  # type: ignore[misc]
            bench.trial(Job(broker, processes=number)), bench.extent.tasks))  # fmt: skip


def backlogs(bench: Bench, broker: str) -> None:
    """What one claim with its settlement costs, by what waits in the queue."""
    trial = bench.trial(Job(broker))
    held = 0
    for size in bench.extent.backlogs:
        count = min(size, CLAIMS)
        bench.point("backlog", broker, size, lambda add=size - held, count=count: _claims(  # type: ignore[misc]
            trial, "fill", add, count))  # fmt: skip
        held = size - count


def _claims(trial: trials.Trial, command: str, add: int, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    trial.ask("claims.py", command, str(add))
    filled = time.perf_counter() - began
    found = trial.ask("claims.py", "measure", str(count))
    return {"value": found["value"], "p50": found["p50"], "cpu_us": found["cpu_us"], "tasks": count,
            "fill_seconds": filled}  # fmt: skip


def delayed(bench: Bench, broker: str) -> None:
    """What a claim costs and what a worker holds, by the messages whose time is far."""
    trial = bench.trial(Job(broker))
    held = 0
    for size in bench.extent.delayed:
        if broker == "rabbitmq" and size > bench.extent.most_delayed_on_rabbitmq:
            continue
        bench.point("delayed", broker, size, lambda add=size - held: _beside_delayed(trial, add))  # type: ignore[misc]
        held = size


def _beside_delayed(trial: trials.Trial, add: int) -> dict[str, Any]:
    """Claim by the port first, then let a whole worker run what is due, and look at it."""
    began = time.perf_counter()
    trial.ask("claims.py", "delay", str(add))
    filled = time.perf_counter() - began
    trial.drive("fill", READY)
    claims = trial.ask("claims.py", "measure", str(READY))
    before = trial.board.total()
    trial.drive("fill", READY)
    with trial.workers() as workers:
        trial.await_count(workers, before + READY)
        idle, memory = trials.idle_percent(workers), workers.pss_bytes()
    if trial.board.total() != before + READY:
        raise trials.Invalid(f"{trial.board.total() - before} runs of {READY} tasks")
    return {"value": claims["value"], "p50": claims["p50"], "cpu_us": claims["cpu_us"], "pss_mb": memory / 1e6,
            "idle_cpu": idle, "tasks": READY, "fill_seconds": filled}  # fmt: skip


def queues(bench: Bench, broker: str) -> None:
    """Tasks a second, and the latency of an idle worker, by the queues that it serves."""
    for number in bench.extent.queues:
        bench.point("queues", broker, number, lambda number=number: _with_queues(bench, broker, number))  # type: ignore[misc]


def _with_queues(bench: Bench, broker: str, number: int) -> dict[str, Any]:
    job = Job(broker, queues=number)
    rate = trials.backlog(bench.trial(job), bench.extent.tasks // 2)
    wait = trials.latency(bench.trial(job))
    return {"value": rate["value"], "p50": wait["value"], "p99": wait["p99"], "idle_cpu": wait["idle_cpu"],
            "tasks": rate["tasks"]}  # fmt: skip


def variants(bench: Bench, broker: str) -> None:
    """Tasks a second, and confirmed sends one by one, by how the server runs."""
    ways: dict[str, dict[str, Any]] = {
        "redis": {"plain": {}, TLS: {"variant": TLS}, "AOF everysec": {"variant": "AOF everysec"},
                  "AOF always": {"variant": "AOF always"}},
        "rabbitmq": {"classic": {}, TLS: {"variant": TLS}, "quorum": {"queue_type": "quorum"}},
        "sqlite": {"NORMAL": {}, "FULL": {"durability": "full"}},
    }[broker]  # fmt: skip
    for name, options in ways.items():
        bench.point("variant", broker, name, lambda options=options: _variant(bench, broker, options))  # type: ignore[misc]


def _variant(bench: Bench, broker: str, options: Mapping[str, Any]) -> dict[str, Any]:
    rate = trials.backlog(bench.trial(Job(broker), **options), bench.extent.tasks)
    sent = trials.sending(bench.trial(Job(broker), confirm=True, **options), "one", bench.extent.sends / 2)
    return {"value": rate["value"], "sends": sent["value"], "tasks": rate["tasks"]}


CURVES: dict[str, Callable[[Bench, str], None]] = {
    "variant": variants, "processes": processes, "payload": payload, "queues": queues, "backlog": backlogs,
    "delayed": delayed,
}  # fmt: skip
"""What is left to wait in a broker by the later ones cannot slow the earlier ones down."""


def run(
    extent: Extent, folder: Path, tell: Callable[[str], None], only: tuple[str, ...] = (), brokers: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Measure the curves, and return every point."""
    environments.ensure(LONGSHORE.environment)
    figures: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "extent": asdict(extent),
        "machine": machine.describe(),
        "load_before": machine.load(),
    }
    began = time.monotonic()
    with Servers(folder) as servers:
        bench = Bench(extent, servers, folder, tell)
        for name, measure in CURVES.items():
            for broker in brokers or BROKERS:
                if (not only or name in only) and not servers.missing(broker):
                    measure(bench, broker)
    figures.update(points=bench.points, seconds=round(time.monotonic() - began, 1), load_after=machine.load())
    return figures

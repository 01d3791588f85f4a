"""What a local run looks like at one moment, as plain values: what the table shows and what `--until-idle` looks at.

Pure; knows neither where the figures come from nor how they are drawn. `None` is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A TaskQueue: what is in it now."""

    name: str
    ready: int | None = None
    leased: int | None = None
    delayed: int | None = None
    dead: int | None = None
    rate: float | None = None
    """Messages by which it grows a second; negative when it shrinks."""
    suspended: bool = False
    problem: str | None = None

    @property
    def empty(self) -> bool:
        """Whether surely nothing is in it; unknown is not empty."""
        return self.ready == 0 and self.leased == 0 and self.delayed == 0


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A WorkerPool: what runs for it, and the latest scaling decision with its reason."""

    name: str
    desired: int | None = None
    pods: int = 0
    ready: int = 0
    busy: int | None = None
    capacity: int | None = None
    processed: int = 0
    rate: float | None = None
    """Tasks ended a second."""
    reason: str | None = None
    why: str | None = None
    problem: str | None = None
    unknown_tasks: str | None = None
    """What is to be said of tasks that wait because its app does not have them."""
    failed: bool = False
    """Nothing of it runs, and another start would end the same way."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A CronSchedule: its latest and its next tick, as seconds since the epoch."""

    name: str
    rule: str = ""
    task: str = ""
    last: float | None = None
    next: float | None = None
    ticks: int = 0
    """Ticks sent in this run."""
    suspended: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened."""

    at: float
    kind: Literal["Normal", "Warning"]
    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    at: float
    started_at: float
    queues: tuple[QueueRow, ...] = ()
    pools: tuple[PoolRow, ...] = ()
    schedules: tuple[ScheduleRow, ...] = ()
    events: tuple[EventRow, ...] = field(default=())
    notice: str | None = None


FIRST_TICK_SECONDS = 10.0
"""`--until-idle` waits for a schedule's first tick that comes within this time of the start; later ones it leaves."""


def unfinished(snapshot: Snapshot) -> list[str]:
    """Return what `--until-idle` still waits for, in words; nothing means idle."""
    return [*_unfinished_queues(snapshot.queues), *_unfinished_schedules(snapshot)]


def _unfinished_queues(queues: Iterable[QueueRow]) -> list[str]:
    return [f"queue {queue.name}: {amounts(queue)}" for queue in queues if not queue.suspended and not queue.empty]


def _unfinished_schedules(snapshot: Snapshot) -> list[str]:
    deadline = snapshot.started_at + FIRST_TICK_SECONDS
    return [
        f"schedule {schedule.name}: first tick"
        for schedule in snapshot.schedules
        if not (schedule.suspended or schedule.problem or schedule.ticks)
        and (schedule.next is None or schedule.next <= deadline)
    ]


def waiting_for_code(snapshot: Snapshot) -> list[str]:
    """Return why a run will never be idle: all that is left are tasks that no pool's app has."""
    unknown = [f"pool {pool.name}: {pool.unknown_tasks}" for pool in snapshot.pools if pool.unknown_tasks]
    if any(queue.ready or queue.leased for queue in snapshot.queues) or not any(q.delayed for q in snapshot.queues):
        return []
    return unknown


def failed_pools(snapshot: Snapshot) -> list[PoolRow]:
    """Return the pools that can do nothing until a person mends something."""
    return [pool for pool in snapshot.pools if pool.failed]


def amounts(queue: QueueRow) -> str:
    """Return what is in a queue, in words."""
    figures = (("ready", queue.ready), ("leased", queue.leased), ("delayed", queue.delayed))
    words = [f"{'?' if value is None else value} {name}" for name, value in figures if value != 0]
    return ", ".join(words) or "empty"

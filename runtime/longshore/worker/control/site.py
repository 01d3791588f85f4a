"""What a command may use: the worker's facts, and the supervisor's ear.

Commands run in the control thread; whatever changes processes is asked of the supervisor, which does it in its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from longshore.app import Longshore
from longshore.brokers.control import ControlLine
from longshore.worker.board import Board, Slot
from longshore.worker.options import WorkerOptions
from longshore.worker.rates import RateChanges
from longshore.worker.revocations import Revocations


class Crew(Protocol):
    """The supervisor, as the control thread sees it. Every method may be called from another thread."""

    @property
    def options(self) -> WorkerOptions:
        """What the worker is by now: its queues may have changed."""

    def pids(self) -> Mapping[int, int]:
        """Return the process of each row of the board that has one."""

    def shut_down(self) -> None:
        """Drain and end."""

    def grow(self, slots: int) -> None:
        """Run so many tasks more at a time; `LongshoreError` with the reason where that cannot be."""

    def shrink(self, slots: int) -> None:
        """Run so many tasks less at a time, without ending any; `LongshoreError` where that cannot be."""

    def work_on(self, queues: tuple[str, ...]) -> None:
        """Work on these queues from now on."""

    def change(self, change: Callable[[], None]) -> None:
        """Make a change that processes only see from their birth, and let each be followed by another."""


@dataclass(slots=True)
class Site:
    """One worker, as its commands see it."""

    app: Longshore
    crew: Crew
    board: Board
    line: ControlLine
    rates: RateChanges
    revocations: Revocations
    beat: Callable[[], None]
    """Tell at once that the worker lives."""
    started_at: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.crew.options.name

    def slots(self) -> list[Slot]:
        """Return every row of the board."""
        return [self.board.read(row) for row in range(self.board.slots)]

    def stamps_of_running(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what runs with its stamps."""
        runs = [(slot.task_id, slot.about) for slot in self.slots() if slot.busy]
        return [(task, about.stamps) for task, about in runs if task and about]

    def running(self) -> dict[str, dict[str, Any]]:
        """Return what runs, by task id."""
        pids = self.crew.pids()
        runs = {}
        for row, slot in enumerate(self.slots()):
            if slot.busy and slot.task_id:
                about = slot.about
                began = time.time() - (time.monotonic() - slot.started_at)
                runs[slot.task_id] = task_info(
                    self.name,
                    slot.task_id,
                    name=about.name if about else None,
                    args=about.args if about else None,
                    kwargs=about.kwargs if about else None,
                    delivery_info=delivery_info(about.queue, about.priority, about.redelivered) if about else {},
                    time_start=began,
                    acknowledged=bool(about and about.acknowledged),
                    worker_pid=pids.get(row),
                )
        return runs


def delivery_info(queue: str, priority: int | None, redelivered: bool) -> dict[str, Any]:
    """Return where a message came from, in Celery's words: the default exchange leads to the queue of that name."""
    return {"exchange": "", "routing_key": queue, "priority": priority, "redelivered": redelivered}


def task_info(
    hostname: str,
    task_id: str | None,
    *,
    name: str | None,
    args: Any,
    kwargs: Any,
    delivery_info: Mapping[str, Any],
    time_start: float | None = None,
    acknowledged: bool = False,
    worker_pid: int | None = None,
) -> dict[str, Any]:
    """Return a task as `inspect` shows it."""
    return {
        "id": task_id,
        "name": name,
        "args": args,
        "kwargs": kwargs,
        "type": name,
        "hostname": hostname,
        "time_start": time_start,
        "acknowledged": acknowledged,
        "delivery_info": dict(delivery_info),
        "worker_pid": worker_pid,
    }

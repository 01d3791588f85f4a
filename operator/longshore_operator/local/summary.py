"""What a run came to: how much was done, how fast, with how many workers, and what failed. Values and their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from longshore.brokers.port import Broker
from longshore.message import DEAD_HEADER, Message

Ending = Literal["Idle", "Drained", "Killed", "Failed", "TimedOut"]

PEEK_LIMIT = 100_000
SUCCESSFUL: tuple[Ending, ...] = ("Idle", "Drained")


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one run."""

    ending: Ending
    seconds: float
    tasks: int
    """Executions that ended, as the workers counted them; a task that ran twice counts twice."""
    failed: int
    """Tasks of this run whose failures are kept in the dead letters."""
    dead: dict[str, int] = field(default_factory=dict)
    """Dead letters of this run by reason."""
    ticks: int = 0
    peak_workers: int = 0
    peak_slots: int = 0
    problems: tuple[str, ...] = ()

    @property
    def tasks_per_second(self) -> float:
        """The run's mean."""
        return self.tasks / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return what ``--output json`` prints."""
        rounded = {"seconds": round(self.seconds, 3), "tasks_per_second": round(self.tasks_per_second, 1)}
        return {**asdict(self), **rounded}


def words(summary: Summary) -> list[str]:
    """Return the summary as lines for a person."""
    rate = f"{summary.tasks_per_second:,.0f} tasks/s"
    workers = f"at most {_count(summary.peak_workers, 'worker')} ({_count(summary.peak_slots, 'slot')})"
    done = f"{_ENDINGS[summary.ending]} after {summary.seconds:.1f} s: {_count(summary.tasks, 'task')} run, {rate}"
    lines = [f"{done}, {workers}, {_count(summary.ticks, 'tick')}"]
    if summary.dead:
        total = sum(summary.dead.values())
        lines.append(f"{_count(total, 'dead letter')} ({summary.failed} of failed tasks):")
        lines += [f"  {count:>6,}  {reason}" for reason, count in Counter(summary.dead).most_common()]
    return [*lines, *summary.problems]


_ENDINGS: dict[Ending, str] = {
    "Idle": "all done",
    "Drained": "drained",
    "Killed": "killed",
    "Failed": "failed",
    "TimedOut": "timed out",
}


def count_dead(broker: Broker, queues: Iterable[str], since: float) -> tuple[Counter[str], int]:
    """Count this run's dead letters by reason, and those of them that are failed tasks."""
    reasons: Counter[str] = Counter()
    failed = 0
    for message in (message for queue in queues for message in broker.peek(queue, PEEK_LIMIT)):
        epitaph = message.headers.get(DEAD_HEADER)
        if not isinstance(epitaph, dict) or _buried_at(epitaph) < since:
            continue
        reasons[reason_of(message)] += 1
        failed += epitaph.get("reason") == "TaskFailed"
    return reasons, failed


def reason_of(message: Message) -> str:
    """Return why a message is a dead letter: the exception's class of a failed task, else the reason's word."""
    epitaph = message.headers[DEAD_HEADER]
    return str(epitaph.get("exception") or epitaph.get("reason") or "Unknown")


def _buried_at(epitaph: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(epitaph.get("at"))).timestamp()
    except ValueError:
        return 0.0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

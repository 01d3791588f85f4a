"""How fast a pool's slots work: tasks that a busy slot finishes in a second, from what its workers report.

Pure: the memory of one measurement goes into the next. Slots that waited do not count, so that a quiet pool does not
look slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from longshore.brokers.port import WorkerReport

SMOOTHING = 0.3
SHORTEST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RateMemory:
    """The rate so far, and the last report of every worker that went into it."""

    rate: float | None = None
    last: dict[str, WorkerReport] = field(default_factory=dict)


def note_reports(memory: RateMemory, reports: Sequence[WorkerReport]) -> RateMemory:
    """Return the memory with these reports taken in; a worker that is new tells nothing yet."""
    done, busy_seconds, last = 0, 0.0, {}
    for report in reports:
        before = memory.last.get(report.worker)
        if before is not None and report.at - before.at < SHORTEST_SECONDS:
            last[report.worker] = before
            continue
        last[report.worker] = report
        if before is not None:
            done += max(0, report.processed - before.processed)
            busy_seconds += _busy_seconds(before, report)
    return RateMemory(_smoothed(memory.rate, done, busy_seconds), last)


def _busy_seconds(before: WorkerReport, after: WorkerReport) -> float:
    """Short tasks are over before a report sees them busy: who finished something was busy at least a little."""
    seconds = after.at - before.at
    slots = (before.busy + after.busy) / 2
    if slots == 0 and after.processed > before.processed:
        slots = min(1.0, after.capacity)
    return slots * seconds


def _smoothed(rate: float | None, done: int, busy_seconds: float) -> float | None:
    """Long tasks: busy time without an end tells that the rate is at most one task in all that time."""
    if busy_seconds <= 0:
        return rate
    if done == 0:
        return rate if rate is None else min(rate, max(1.0 / busy_seconds, rate * (1 - SMOOTHING)))
    fresh = done / busy_seconds
    return fresh if rate is None else rate + SMOOTHING * (fresh - rate)

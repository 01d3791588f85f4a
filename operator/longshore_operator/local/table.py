"""The live table: a snapshot drawn for a terminal of any width, and a one-line form of it for a log.

Pure: from a snapshot to something that rich prints.
"""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from longshore_operator.local.snapshot import EventRow, PoolRow, QueueRow, ScheduleRow, Snapshot, amounts

EVENTS_SHOWN = 5
WARNING = "yellow"
FAULT = "red"


def render(snapshot: Snapshot) -> RenderableType:
    """Return the whole picture."""
    parts: list[RenderableType] = []
    if snapshot.queues:
        parts.append(_queues(snapshot.queues))
    parts += [_said(queue.name, queue.problem, FAULT) for queue in snapshot.queues if queue.problem]
    if snapshot.pools:
        parts += [_pools(snapshot.pools), *map(_why, snapshot.pools)]
    if snapshot.schedules:
        parts.append(_schedules(snapshot.schedules, snapshot.at))
    parts += [_event(event) for event in snapshot.events[-EVENTS_SHOWN:]]
    if snapshot.notice:
        parts.append(Text(snapshot.notice, style="bold"))
    return Group(*parts)


def progress_line(snapshot: Snapshot) -> str:
    """Return one line for a log: what is left, what works on it, and why there are so many of it."""
    queues = [f"{queue.name}: {amounts(queue)}" for queue in snapshot.queues]
    return " | ".join([*queues, *(_pool_words(pool) for pool in snapshot.pools)])


def event_line(event: EventRow) -> str:
    """Return one line for a log about something that happened."""
    return f"{_clock(event.at)} {event.kind} {event.subject} {event.reason}: {event.message}"


def _table(first: str, *figures: str, last: str | None = None) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="bold dim")
    table.add_column(first, no_wrap=True, overflow="ellipsis", min_width=8, ratio=2)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    if last is not None:
        table.add_column(last, ratio=4, overflow="ellipsis", no_wrap=True)
    return table


def _queues(queues: tuple[QueueRow, ...]) -> Table:
    table = _table("QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "CHANGE/S")
    for queue in queues:
        name = Text(queue.name)
        if queue.suspended:
            name.append(" (suspended)", style=WARNING)
        dead = Text(_count(queue.dead), style=FAULT if queue.dead else "")
        table.add_row(
            name, _count(queue.ready), _count(queue.leased), _count(queue.delayed), dead, _rate(queue.rate, sign="+")
        )
    return table


def _pools(pools: tuple[PoolRow, ...]) -> Table:
    table = _table("POOL", "WORKERS", "BUSY", "DONE", "TASKS/S")
    for pool in pools:
        workers = f"{pool.ready}/{_count(pool.desired)}"
        busy = f"{_count(pool.busy)}/{_count(pool.capacity)}"
        table.add_row(pool.name, workers, busy, f"{pool.processed:,}", _rate(pool.rate))
    return table


def _why(pool: PoolRow) -> Text:
    """Say why the pool has its size, or what is wrong, in full: a line of its own, however long."""
    if pool.problem:
        return _said(pool.name, pool.problem, FAULT)
    return _said(pool.name, ": ".join(filter(None, (pool.reason, pool.why))) or "not decided yet", "cyan")


def _said(name: str, words: str, style: str) -> Text:
    return Text(f"  {name}: ", overflow="fold").append(words, style=style)


def _schedules(schedules: tuple[ScheduleRow, ...], now: float) -> Table:
    table = _table("SCHEDULE", "LAST", "NEXT", "TICKS", last="WHAT")
    for schedule in schedules:
        what = Text(f"{schedule.rule} {schedule.task}".strip())
        if schedule.problem:
            what = Text(schedule.problem, style=FAULT)
        upcoming = "suspended" if schedule.suspended else _until(schedule.next, now)
        table.add_row(schedule.name, _clock(schedule.last), upcoming, str(schedule.ticks), what)
    return table


def _event(event: EventRow) -> Text:
    line = Text(f"{_clock(event.at)} ", style="dim", no_wrap=True, overflow="ellipsis")
    line.append(f"{event.subject} {event.reason} ", style=WARNING if event.kind == "Warning" else "default")
    return line.append(event.message, style="default")


def _pool_words(pool: PoolRow) -> str:
    words = f"{pool.name}: {pool.ready}/{_count(pool.desired)} workers, {_count(pool.busy)} busy, {pool.processed} done"
    reason = pool.problem or ": ".join(filter(None, (pool.reason, pool.why)))
    return f"{words} ({reason})" if reason else words


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _rate(value: float | None, sign: str = "-") -> str:
    return "-" if value is None else f"{round(value):{sign},}"


def _clock(at: float | None) -> str:
    return "-" if at is None else time.strftime("%H:%M:%S", time.localtime(at))


def _until(at: float | None, now: float) -> str:
    if at is None:
        return "-"
    seconds = max(0.0, at - now)
    return f"in {seconds:.0f}s" if seconds < 100 else _clock(at)  # noqa: PLR2004 - two digits of seconds

"""When a schedule is due: from a cron line or an interval to points in time, and from a point in time to a message id.

Pure: `now` is an argument and nothing is published here. Cron follows Debian's rules where clocks are set forward or
back (a job for 02:30 runs once on both days); intervals are anchored at the epoch, so that a restart never shifts them.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from longshore.exceptions import ImproperlyConfigured

ON_TIME_SECONDS = 5.0
"""A tick published at most this late is on time: every such tick is published. Older ones are a catch-up."""
MOST_COUNTED = 1000
"""Missed ticks are counted no further than this."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_BACK = (timedelta(hours=2), timedelta(days=2), timedelta(days=35), timedelta(days=370), timedelta(days=3000))
_CLOCK_CHANGE = timedelta(hours=4)
"""No clock is set by more than this: reading a line from so much earlier makes the answer independent of `after`."""
_CRON_FIELDS = 5
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class ScheduleError(ImproperlyConfigured):
    """A schedule that cannot be understood; `reason` is one word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Exactly one of `cron` (five fields, or a macro such as ``@daily``) and `every_seconds`."""

    cron: str | None = None
    every_seconds: float | None = None
    time_zone: str = "UTC"

    def check(self) -> None:
        """Raise `ScheduleError` with what is wrong and what to do."""
        if (self.cron is None) == (self.every_seconds is None):
            raise ScheduleError("BadSchedule", "a schedule needs exactly one of cron and everySeconds")
        _zone(self.time_zone)
        next_tick(self, _EPOCH)


@dataclass(frozen=True, slots=True)
class DueTicks:
    """What to publish now, oldest first; `missed` older ones were due and are left out (counted up to a limit)."""

    ticks: tuple[datetime, ...] = ()
    missed: int = 0


def next_tick(recurrence: Recurrence, after: datetime) -> datetime | None:
    """Return the first tick later than `after`; `None` when there is none any more."""
    return next(_forward(recurrence, after), None)


def due_ticks(
    recurrence: Recurrence, *, after: datetime, now: datetime, starting_deadline_seconds: float | None
) -> DueTicks:
    """Return the ticks in (`after`, `now`] that are to be published.

    Ticks that are on time all are. Of older ones only the latest is made up for, and only when it is not older than the
    starting deadline (`None`: any age).
    """
    on_time_from = max(after, now - timedelta(seconds=ON_TIME_SECONDS))
    fresh = tuple(_between(recurrence, on_time_from, now))
    latest_old = latest_tick(recurrence, after=after, until=on_time_from)
    if latest_old is None:
        return DueTicks(fresh)
    missed = sum(1 for _ in islice(_between(recurrence, after, on_time_from), MOST_COUNTED))
    too_old = starting_deadline_seconds is not None and (now - latest_old).total_seconds() > starting_deadline_seconds
    if fresh or too_old:
        return DueTicks(fresh, missed)
    return DueTicks((latest_old,), missed - 1)


def latest_tick(recurrence: Recurrence, *, after: datetime, until: datetime) -> datetime | None:
    """Return the last tick in (`after`, `until`], without walking over every tick of a long gap."""
    if until <= after:
        return None
    if recurrence.every_seconds is not None:
        tick = _interval_tick(recurrence.every_seconds, _intervals(recurrence.every_seconds, until))
        return tick if tick > after else None
    for window in _LOOK_BACK:
        start = max(after, until - window)
        latest = None
        for latest in _between(recurrence, start, until):  # noqa: B007 - the last one is the answer
            pass
        if latest is not None or start == after:
            return latest
    return None


def tick_id(schedule_uid: str, tick: datetime) -> str:
    """Return the message id of a tick: the same for whoever publishes it, however often."""
    try:
        namespace = uuid.UUID(schedule_uid)
    except ValueError:
        namespace = uuid.uuid5(uuid.NAMESPACE_URL, schedule_uid)
    return str(uuid.uuid5(namespace, tick_time(tick)))


def tick_time(tick: datetime) -> str:
    """Return a tick's time as it is written in ids, headers and status: ISO 8601 in UTC with a Z."""
    return tick.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _between(recurrence: Recurrence, after: datetime, until: datetime) -> Iterator[datetime]:
    for tick in _forward(recurrence, after):
        if tick > until:
            return
        yield tick


def _forward(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield every tick later than `after`, in UTC."""
    if recurrence.every_seconds is not None:
        yield from _interval_ticks(recurrence.every_seconds, after)
        return
    zone = _zone(recurrence.time_zone)
    start = after if zone is UTC else after - _CLOCK_CHANGE
    latest = after
    for local in _cron(recurrence.cron or "", start.astimezone(zone)):
        tick = local.astimezone(UTC)
        if tick > latest:
            latest = tick
            yield tick


def _interval_ticks(every: float, after: datetime) -> Iterator[datetime]:
    if not math.isfinite(every) or every <= 0:
        raise ScheduleError("BadSchedule", f"everySeconds is {every}; it must be more than 0")
    count = _intervals(every, after)
    while True:
        count += 1
        yield _interval_tick(every, count)


def _intervals(every: float, until: datetime) -> int:
    """How many whole intervals since the epoch, corrected for what division of floats gets wrong."""
    count = math.floor((until - _EPOCH).total_seconds() / every)
    while _interval_tick(every, count) > until:
        count -= 1
    while _interval_tick(every, count + 1) <= until:
        count += 1
    return count


def _interval_tick(every: float, count: int) -> datetime:
    return _EPOCH + timedelta(seconds=round(every * count, 6))


def _cron(line: str, after: datetime) -> Iterator[datetime]:
    expanded = _MACROS.get(line.strip().lower(), line)
    fields = len(expanded.split())
    if fields != _CRON_FIELDS:
        raise ScheduleError("BadCron", f"cron {line!r} has {fields} fields; it needs 5: minute hour day month weekday")
    try:
        yield from CronSim(expanded, after)
    except CronSimError as error:
        raise ScheduleError("BadCron", f"cron {line!r} cannot be read: {str(error).lower()}") from error


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ScheduleError(
            "UnknownTimeZone", f"time zone {name!r} is unknown; use a name such as Europe/Berlin, or UTC"
        ) from error

"""Schedules in code, with Celery's names: `crontab`, `schedule`, `solar`. The operator sends the ticks.

`longshore manifests APP` writes them as CronSchedules. A schedule knows what it is in a CronSchedule's spec; it
computes no times and knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from longshore.exceptions import ImproperlyConfigured

Field = str | int | Iterable[str | int]


class BaseSchedule:
    """When something is due."""

    def spec(self) -> dict[str, Any]:
        """Return the fields of a CronSchedule's spec that say when."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseSchedule) and self.spec() == other.spec()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.spec()}>"


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """Minutes, hours, days, months, as in a crontab: ``crontab(minute=30, hour=7, day_of_week="mon")``.

    Each field is a number, an expression such as ``"*/15"`` or ``"mon-fri"``, or a list of them. Celery runs a schedule
    that names days of the week *and* of the month when both hold, cron when either does: that one is refused.
    """

    def __init__(
        self,
        minute: Field = "*",
        hour: Field = "*",
        day_of_week: Field = "*",
        day_of_month: Field = "*",
        month_of_year: Field = "*",
    ) -> None:
        parts = (minute, hour, day_of_month, month_of_year, day_of_week)
        self.expression = " ".join(_cron_field(part) for part in parts)
        if _cron_field(day_of_week) != "*" and _cron_field(day_of_month) != "*":
            raise ImproperlyConfigured(
                f"crontab {self.expression!r} names days of the week and of the month: Celery wants both to hold, cron "
                "either. Name one, and check the other in the task"
            )
        _check_cron(self.expression)

    @classmethod
    def from_string(cls, expression: str) -> crontab:
        """Read ``minute hour day-of-month month day-of-week``."""
        fields = expression.split()
        if len(fields) != 5:  # noqa: PLR2004 - cron's five fields
            raise ImproperlyConfigured(f"crontab {expression!r} has not five fields")
        minute, hour, day, month, weekday = fields
        return cls(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)

    def spec(self) -> dict[str, Any]:
        """Return ``{"cron": …}``."""
        return {"cron": self.expression}


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every so many seconds (or a `timedelta`), counted from the epoch, so that a restart shifts nothing."""

    def __init__(self, run_every: float | timedelta, relative: bool = False) -> None:
        seconds = run_every.total_seconds() if isinstance(run_every, timedelta) else float(run_every)
        if seconds < 1 or seconds != int(seconds):
            raise ImproperlyConfigured(f"a schedule's interval is whole seconds, 1 or more, not {seconds:g}")
        self.seconds = int(seconds)
        self.relative = relative

    def spec(self) -> dict[str, Any]:
        """Return ``{"everySeconds": …}``."""
        return {"everySeconds": self.seconds}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """At an event of the sun, such as ``sunset``, at a place given in degrees."""

    EVENTS = ("dawn_astronomical", "dawn_nautical", "dawn_civil", "sunrise", "solar_noon", "sunset", "dusk_civil",
              "dusk_nautical", "dusk_astronomical")  # fmt: skip

    def __init__(self, event: str, lat: float, lon: float) -> None:
        if event not in self.EVENTS:
            raise ImproperlyConfigured(f"solar event {event!r} is none of {', '.join(self.EVENTS)}")
        if not -90 <= lat <= 90 or not -180 <= lon <= 180:  # noqa: PLR2004 - degrees
            raise ImproperlyConfigured(f"solar: latitude {lat} or longitude {lon} is no place on Earth")
        self.event, self.lat, self.lon = event, lat, lon

    def spec(self) -> dict[str, Any]:
        """Return ``{"solar": {event, latitude, longitude}}``."""
        event = "".join(word.capitalize() for word in self.event.split("_"))
        return {"solar": {"event": event, "latitude": self.lat, "longitude": self.lon}}


def maybe_schedule(value: Any) -> BaseSchedule:
    """Return a schedule from one, from seconds, or from a `timedelta`."""
    if isinstance(value, BaseSchedule):
        return value
    if isinstance(value, int | float | timedelta):
        return schedule(value)
    raise ImproperlyConfigured(f"{value!r} is no schedule: give crontab(…), seconds or a timedelta")


def _cron_field(value: Field) -> str:
    if isinstance(value, str):
        return "".join(value.split())
    if isinstance(value, int):
        return str(value)
    parts = [_cron_field(each) for each in value]
    return ",".join(sorted(parts, key=lambda part: (len(part), part)))


def _check_cron(expression: str) -> None:
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ImproperlyConfigured(f"crontab {expression!r}: {error}") from None

"""CronSchedule: a task that is sent at its times.

The syntax of `cron` and the name of a time zone are checked by whoever computes the ticks; here is only what can be
seen without a calendar.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from longshore_operator.api.base import Resource, ResourceName, SpecModel, Status, Timestamp
from longshore_operator.api.rules import Rule

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
SolarEvent = Literal[
    "DawnAstronomical",
    "DawnNautical",
    "DawnCivil",
    "Sunrise",
    "SolarNoon",
    "Sunset",
    "DuskCivil",
    "DuskNautical",
    "DuskAstronomical",
]

_FREE: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
_FIVE_FIELDS = re.compile(r"[^ \t]+([ \t]+[^ \t]+){4}")

CronExpression = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Rule(
        "must have five fields (minute hour day-of-month month day-of-week), such as 0 2 * * *; the zone goes "
        "into timeZone",
        holds=lambda cron: _FIVE_FIELDS.fullmatch(cron) is not None,
        cel="self.matches('^[^ \\\\t]+([ \\\\t]+[^ \\\\t]+){4}$')",
    ),
]

TaskName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Rule(
        "must be the full name of a task without spaces, such as shop.tasks.report",
        holds=lambda name: re.fullmatch(r"[!-~]+", name) is not None,
        cel="self.matches('^[!-~]+$')",
    ),
]


class Solar(SpecModel):
    """A place, and what the sun does there."""

    event: SolarEvent = Field(description="What the sun does.")
    latitude: float = Field(ge=-90, le=90, description="Degrees; north of the equator is positive.")
    longitude: float = Field(ge=-180, le=180, description="Degrees; east of Greenwich is positive.")


class CronScheduleSpec(SpecModel):
    """What to send, and when."""

    rules = (
        Rule(
            "set exactly one of cron, everySeconds and solar",
            holds=lambda spec: sum(one is not None for one in (spec.cron, spec.every_seconds, spec.solar)) == 1,
            cel="[has(self.cron), has(self.everySeconds), has(self.solar)].filter(isSet, isSet).size() == 1",
        ),
    )

    cron: CronExpression | None = Field(
        default=None, description="Minute, hour, day of month, month, day of week, such as `0 2 * * *`; in `timeZone`."
    )
    every_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Seconds between two ticks, counted from 1970-01-01T00:00:00Z, so that a restart shifts nothing.",
    )
    solar: Solar | None = Field(default=None, description="At an event of the sun.")
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        default="UTC", description="Time zone of `cron`, by its IANA name, such as `Europe/Berlin`."
    )
    task: TaskName = Field(description="Name of the task that is sent, such as `shop.tasks.report`.")
    args: list[Annotated[Any, Field(json_schema_extra=_FREE)]] = Field(
        default_factory=list, max_length=100, description="Positional arguments of the task: any JSON values."
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict,
        max_length=100,
        description="Keyword arguments of the task: any JSON values.",
        json_schema_extra=_FREE,
    )
    queue: ResourceName = Field(description="The TaskQueue of this namespace that the task is sent to.")
    priority: int | None = Field(
        default=None, ge=0, le=9, description="Priority of the message; 9 goes first. Default: none, the lowest."
    )
    expires_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Seconds after its tick from which on a task that has not started is dropped as expired. "
        "Default: never.",
    )
    concurrency_policy: ConcurrencyPolicy = Field(
        default="Allow",
        description="What to do at a tick while the task of an earlier one has not ended: send it too (Allow), "
        "skip the tick (Forbid), or revoke the earlier one (Replace). Forbid and Replace need a store.",
    )
    starting_deadline_seconds: int = Field(
        default=300,
        ge=0,
        le=31_536_000,
        description="How many seconds late a tick may be sent; of several missed ones only the latest is. 0: "
        "never late.",
    )
    suspend: bool = Field(default=False, description="Pause the schedule. Ticks of the pause are not made up for.")


class CronScheduleStatus(Status):
    """What was sent, and what comes next."""

    schedule: str | None = Field(
        default=None,
        max_length=256,
        description="When, in short: the cron expression, `every 60s`, or the solar event.",
    )
    last_tick_time: Timestamp | None = Field(default=None, description="The latest tick that was sent.")
    next_tick_time: Timestamp | None = Field(default=None, description="The next tick.")
    last_task_id: str | None = Field(default=None, max_length=64, description="Id of the task of the latest tick.")
    missed_ticks: int = Field(default=0, ge=0, description="Ticks that were too late to be sent, ever.")


class CronSchedule(Resource):
    """A task that is sent at its times: by cron expression, at an interval, or by the sun."""

    plural: ClassVar[str] = "cronschedules"

    kind: Literal["CronSchedule"] = "CronSchedule"
    spec: CronScheduleSpec = Field(description="What to send, and when.")
    status: CronScheduleStatus = Field(
        default_factory=CronScheduleStatus, description="What was sent, and what comes next."
    )

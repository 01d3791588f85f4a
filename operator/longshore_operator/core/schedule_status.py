"""The status of a CronSchedule from what was observed: its ticks, and conditions that say what to do.

Pure; which ticks are due is decided in `longshore.core.ticks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.core.ticks import Recurrence, ScheduleError
from longshore_operator.api.conditions import ConditionType, Reason, get_condition
from longshore_operator.api.cronschedule import CronSchedule, CronScheduleStatus
from longshore_operator.api.workerpool import WorkerPool
from longshore_operator.core.faults import ConditionWriter, Fault, first


@dataclass(frozen=True, slots=True)
class ScheduleObservation:
    """What is known of a schedule. `refused` is about the manifest, `broken` about the broker."""

    schedule: CronSchedule
    refused: Fault | None = None
    broken: Fault | None = None
    warning: Fault | None = None
    last_tick: datetime | None = None
    next_tick: datetime | None = None
    last_task_id: str | None = None
    missed: int = 0


def recurrence_of(schedule: CronSchedule) -> Recurrence:
    """Return when the schedule is due."""
    spec = schedule.spec
    every = None if spec.every_seconds is None else float(spec.every_seconds)
    return Recurrence(spec.cron, every, spec.time_zone)


def schedule_fault(schedule: CronSchedule) -> Fault | None:
    """Return what is wrong with the manifest itself, beyond what the API server saw."""
    if schedule.spec.solar is not None:
        return Fault(Reason.NOT_SUPPORTED, "solar schedules are not there yet; use cron or everySeconds")
    if schedule.spec.concurrency_policy != "Allow":
        message = (
            f"concurrencyPolicy {schedule.spec.concurrency_policy} needs a store, which is not there yet; use Allow"
        )
        return Fault(Reason.STORE_NEEDED, message)
    try:
        recurrence_of(schedule).check()
    except ScheduleError as error:
        return Fault(error.reason, str(error))
    return None


def task_warning(schedule: CronSchedule, pools: Sequence[WorkerPool]) -> Fault | None:
    """Return a warning when every pool of the queue has told its tasks and none knows this one."""
    told = [pool for pool in pools if pool.status.task_count is not None]
    complete = all(pool.status.task_count == len(pool.status.tasks) for pool in told)
    if not told or len(told) < len(pools) or not complete:
        return None
    if any(schedule.spec.task in pool.status.tasks for pool in told):
        return None
    names = ", ".join(pool.name for pool in told)
    return Fault(Reason.TASK_UNKNOWN, f"no worker of {names} knows the task {schedule.spec.task}; check its name")


def ticks_after(schedule: CronSchedule, now: datetime) -> datetime:
    """Return the moment after which ticks are to be sent.

    That is the latest tick sent, or the end of the latest pause, whichever is later; of a new schedule its creation.
    """
    scheduled = get_condition(schedule.status.conditions, ConditionType.SCHEDULED)
    if scheduled is None:
        return schedule.status.last_tick_time or schedule.metadata.creation_timestamp or now
    if scheduled.status != "True":
        return now
    return max(schedule.status.last_tick_time or scheduled.last_transition_time, scheduled.last_transition_time)


def schedule_status(seen: ScheduleObservation, now: float) -> dict[str, Any]:
    """Return the whole new status as it is on the wire."""
    before = seen.schedule.status
    status = CronScheduleStatus(
        observed_generation=seen.schedule.metadata.generation,
        conditions=_conditions(seen, now),
        schedule=_in_short(seen.schedule),
        last_tick_time=seen.last_tick or before.last_tick_time,
        next_tick_time=seen.next_tick,
        last_task_id=seen.last_task_id or before.last_task_id,
        missed_ticks=before.missed_ticks + seen.missed,
    )
    return status.to_wire()


def _in_short(schedule: CronSchedule) -> str:
    spec = schedule.spec
    if spec.cron is not None:
        return spec.cron if spec.time_zone == "UTC" else f"{spec.cron} {spec.time_zone}"
    return f"every {spec.every_seconds}s" if spec.solar is None else spec.solar.event


def _conditions(seen: ScheduleObservation, now: float) -> list[Any]:
    schedule = seen.schedule
    moment = datetime.fromtimestamp(now, UTC)
    writer = ConditionWriter(schedule.status.conditions, schedule.metadata.generation, moment)
    fault = first(seen.refused, seen.broken)
    writer.judge(ConditionType.ACCEPTED, seen.refused)
    _scheduled(writer, seen)
    if fault is None and seen.warning is not None:
        writer.set(ConditionType.READY, "True", seen.warning.reason, seen.warning.message)
    elif fault is None and schedule.spec.suspend:
        writer.set(ConditionType.READY, "True", Reason.SUSPENDED, "no tick is sent while spec.suspend is true")
    else:
        writer.judge(ConditionType.READY, fault)
    writer.stalled(fault)
    return writer.conditions


def _scheduled(writer: ConditionWriter, seen: ScheduleObservation) -> None:
    """A broken broker does not end the schedule: its ticks are due all the same, and are caught up with."""
    if seen.refused is not None:
        writer.judge(ConditionType.SCHEDULED, seen.refused)
    elif seen.schedule.spec.suspend:
        writer.set(ConditionType.SCHEDULED, "False", Reason.SUSPENDED, "spec.suspend is true")
    else:
        writer.set(ConditionType.SCHEDULED, "True", Reason.OK, "")

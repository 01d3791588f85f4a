"""Reconcile a CronSchedule: send the ticks that are due, then say so.

A tick is sent before it is written down: an operator that dies in between sends it again with the same id, and the
worker's store drops the second copy.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from longshore.brokers.port import Outgoing
from longshore.core.protocol import TICK_HEADER, build_message
from longshore.core.ticks import due_ticks, next_tick, tick_id, tick_time
from longshore.message import Message
from longshore_operator.api.conditions import Reason
from longshore_operator.api.cronschedule import CronSchedule
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.core.faults import Fault, first
from longshore_operator.core.queue_status import consuming_pools
from longshore_operator.core.schedule_status import (
    ScheduleObservation,
    recurrence_of,
    schedule_fault,
    schedule_status,
    task_warning,
    ticks_after,
)
from longshore_operator.engine.brokers import BrokerFailure
from longshore_operator.engine.context import Context, look_again, publish, publish_invalid, read, tell_fault
from longshore_operator.engine.lookup import address_of, get_queue, measurement_of, pools_of, refusal
from longshore_operator.engine.ports import Key

RETRY_SECONDS = 2.0


async def reconcile_schedule(context: Context, key: Key) -> float | None:
    """Send what is due of one CronSchedule; return when to look again."""
    manifest = context.resources.get(key)
    if manifest is None:
        context.memory.forget(key)
        return None
    schedule = read(manifest)
    if not isinstance(schedule, CronSchedule):
        assert isinstance(schedule, Fault)
        await publish_invalid(context, manifest, schedule)
        return None
    if schedule.metadata.deletion_timestamp is not None:
        return None
    seen = await _run(context, schedule)
    await tell_fault(context, manifest, first(seen.refused, seen.broken, seen.warning))
    await publish(context, manifest, schedule_status(seen, context.clock()))
    return _look_again(context, seen)


def _look_again(context: Context, seen: ScheduleObservation) -> float:
    if seen.broken is not None:
        return RETRY_SECONDS
    if seen.next_tick is None:
        return look_again(context, seen.refused)
    return look_again(context, None, max(seen.next_tick.timestamp() - context.clock(), 0.001))


async def _run(context: Context, schedule: CronSchedule) -> ScheduleObservation:
    seen = ScheduleObservation(schedule, refused=schedule_fault(schedule))
    queue = get_queue(context, schedule.namespace, schedule.spec.queue)
    if seen.refused is None and queue is None:
        message = f"there is no TaskQueue {schedule.spec.queue} in namespace {schedule.namespace}; create it first"
        seen = replace(seen, refused=Fault(Reason.QUEUE_MISSING, message))
    elif seen.refused is None and queue is not None:
        seen = replace(seen, refused=refusal(queue))
    if seen.refused is not None or schedule.spec.suspend or queue is None:
        return seen
    pools = [pool for pool in pools_of(context, schedule.namespace) if pool.name in consuming_pools(queue, [pool])]
    return await _send_due(context, replace(seen, warning=task_warning(schedule, pools)), queue)


async def _send_due(context: Context, seen: ScheduleObservation, queue: TaskQueue) -> ScheduleObservation:
    schedule, recurrence, now = seen.schedule, recurrence_of(seen.schedule), context.now()
    key = Key("CronSchedule", schedule.namespace, schedule.name)
    sent, written = context.memory.latest_tick(key, schedule.uid), ticks_after(schedule, now)
    after = written if sent is None else max(written, sent)
    deadline = float(schedule.spec.starting_deadline_seconds)
    due = due_ticks(recurrence, after=after, now=now, starting_deadline_seconds=deadline)
    seen = replace(seen, missed=due.missed if due.ticks else 0, next_tick=next_tick(recurrence, now))
    if not due.ticks:
        return seen
    broken = await _send(context, schedule, queue, due.ticks)
    if broken is not None:
        return replace(seen, broken=broken, missed=0)
    latest = due.ticks[-1]
    context.memory.ticks[key] = (schedule.uid, latest)
    return replace(seen, last_tick=latest, last_task_id=tick_id(schedule.uid, latest))


async def _send(context: Context, schedule: CronSchedule, queue: TaskQueue, ticks: Sequence[datetime]) -> Fault | None:
    address = await address_of(context, queue)
    if isinstance(address, Fault):
        return address
    found = await measurement_of(context, address.url)
    if isinstance(found, Fault):
        return found
    messages = [Outgoing(queue.queue_name, tick_message(schedule, tick)) for tick in ticks]
    try:
        await context.hub.call(address.url, lambda broker: broker.send(messages))
    except BrokerFailure as failure:
        return Fault(failure.reason, failure.message)
    return None


def tick_message(schedule: CronSchedule, tick: datetime) -> Message:
    """Return the message of a tick: its id follows from the schedule and the time, its `copy` is of this sending.

    It expires so long after the tick, not after the sending: two copies of one tick expire together.
    """
    spec = schedule.spec
    header = {
        "v": 1,
        "schedule": f"{schedule.namespace}/{schedule.name}",
        "time": tick_time(tick),
        "copy": uuid.uuid4().hex,
    }
    return build_message(
        spec.task,
        spec.args,
        spec.kwargs,
        task_id=tick_id(schedule.uid, tick),
        expires=None if spec.expires_seconds is None else tick + timedelta(seconds=spec.expires_seconds),
        priority=spec.priority,
        headers={TICK_HEADER: header},
        origin="longshore-operator",
    )

"""The status of a TaskQueue from what was observed: figures, and conditions that say what to do.

Pure. A figure that nobody knows is left out, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.brokers.port import QueueDepth
from longshore_operator.api.conditions import ConditionType, Reason
from longshore_operator.api.taskqueue import TaskQueue, TaskQueueStatus
from longshore_operator.api.workerpool import WorkerPool
from longshore_operator.core.faults import ConditionWriter, Fault, first


@dataclass(frozen=True, slots=True)
class QueueObservation:
    """What is known of a queue. `refused` is about the manifest, `broken` about the broker, `undeclared` the queue."""

    queue: TaskQueue
    refused: Fault | None = None
    broken: Fault | None = None
    undeclared: Fault | None = None
    depth: QueueDepth | None = None
    dead: int | None = None
    pools: tuple[str, ...] = ()
    measured_at: float | None = None


def queue_status(seen: QueueObservation, now: float) -> dict[str, Any]:
    """Return the whole new status as it is on the wire."""
    depth = seen.depth or QueueDepth(None)
    status = TaskQueueStatus(
        observed_generation=seen.queue.metadata.generation,
        conditions=_conditions(seen, now),
        ready=depth.ready,
        leased=depth.leased,
        delayed=depth.delayed,
        dead=seen.dead,
        oldest_age_seconds=_age(depth.oldest_ready_at, now),
        consuming_pools=list(seen.pools),
        measured_time=None if seen.measured_at is None else datetime.fromtimestamp(seen.measured_at, UTC),
    )
    return status.to_wire()


def _age(since: float | None, now: float) -> int | None:
    return None if since is None else max(0, int(now - since))


def _conditions(seen: QueueObservation, now: float) -> list[Any]:
    queue = seen.queue
    writer = ConditionWriter(queue.status.conditions, queue.metadata.generation, datetime.fromtimestamp(now, UTC))
    fault = first(seen.refused, seen.broken, seen.undeclared)
    writer.judge(ConditionType.ACCEPTED, seen.refused)
    _judge_later(writer, ConditionType.BROKER_REACHABLE, seen.broken, seen.refused)
    _judge_later(writer, ConditionType.DECLARED, seen.undeclared, first(seen.refused, seen.broken))
    _consumed(writer, seen)
    if fault is None and queue.spec.suspend:
        writer.set(ConditionType.READY, "True", Reason.SUSPENDED, "messages are taken in, workers claim none of them")
    else:
        writer.judge(ConditionType.READY, fault)
    writer.stalled(fault)
    return writer.conditions


def _judge_later(writer: ConditionWriter, kind: ConditionType, fault: Fault | None, earlier: Fault | None) -> None:
    """What an earlier fault kept us from trying is unknown, not false."""
    if earlier is not None:
        writer.set(kind, "Unknown", earlier.reason, "not tried: " + earlier.message)
    else:
        writer.judge(kind, fault)


def _consumed(writer: ConditionWriter, seen: QueueObservation) -> None:
    if seen.pools:
        writer.set(ConditionType.CONSUMED, "True", Reason.OK, "by " + ", ".join(seen.pools))
        return
    message = f"no WorkerPool of this namespace names TaskQueue {seen.queue.name} in its spec.queues"
    writer.set(ConditionType.CONSUMED, "False", Reason.NO_CONSUMERS, message)


def consuming_pools(queue: TaskQueue, pools: Sequence[WorkerPool]) -> tuple[str, ...]:
    """Return the names of the pools that take from the queue."""
    return tuple(
        sorted(
            pool.name
            for pool in pools
            if pool.namespace == queue.namespace and any(ref.name == queue.name for ref in pool.spec.queues)
        )
    )


def older_claim(
    queue: TaskQueue, addresses: Mapping[tuple[str, str], str], others: Sequence[TaskQueue]
) -> Fault | None:
    """Return the fault of a queue whose physical queue an older TaskQueue, of any namespace, has claimed.

    `addresses` maps (namespace, name) to the broker's address, for the queues whose address is known.
    """
    own = addresses.get((queue.namespace, queue.name))
    for other in others:
        same = other.queue_name == queue.queue_name and addresses.get((other.namespace, other.name)) == own
        if own is not None and same and other.uid != queue.uid and _age_key(other) < _age_key(queue):
            where = f"{other.namespace}/{other.name}"
            message = f"queue {queue.queue_name!r} of this broker belongs to the older TaskQueue {where}; use that one"
            return Fault(Reason.QUEUE_CLAIMED_TWICE, message)
    return None


def _age_key(queue: TaskQueue) -> tuple[float, str, str]:
    created = queue.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, queue.namespace, queue.name)

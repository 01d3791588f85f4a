"""From resources, processes and a sample of the broker to the `Snapshot` that people see. Pure, but counts ticks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longshore_operator.api import CronSchedule, TaskQueue, WorkerPool, parse
from longshore_operator.core.pods import parse_time
from longshore_operator.core.pool_status import unknown_tasks
from longshore_operator.engine.ports import Manifest
from longshore_operator.local.pods import LocalPod
from longshore_operator.local.sampling import Sample, Throughput
from longshore_operator.local.snapshot import PoolRow, QueueRow, ScheduleRow


def queue_names(queues: Iterable[TaskQueue]) -> list[str]:
    """Return every queue on the broker that a run looks at: the declared ones and their dead letters."""
    return [name for queue in queues for name in (queue.queue_name, queue.dead_letter_queue_name)]


def queue_row(queue: TaskQueue, status: Mapping[str, Any], sample: Sample, throughput: Throughput) -> QueueRow:
    """Return the row of a queue."""
    depth = sample.depth(queue.queue_name)
    return QueueRow(
        name=queue.queue_name,
        ready=depth.ready,
        leased=depth.leased,
        delayed=depth.delayed,
        dead=_dead(queue, sample),
        rate=throughput.queue_rate(queue.queue_name),
        suspended=queue.spec.suspend,
        problem=sample.problem or problem_of(status),
    )


def pool_row(
    pool: WorkerPool, status: Mapping[str, Any], pods: Sequence[LocalPod], sample: Sample, throughput: Throughput
) -> PoolRow:
    """Return the row of a pool."""
    reports = sample.of_pool(pool.key)
    active = [pod for pod in pods if not pod.terminating]
    decision = status.get("lastDecision") or {}
    stuck = [pod for pod in active if pod.hopeless]
    return PoolRow(
        name=pool.name,
        desired=status.get("desiredReplicas"),
        pods=len(active),
        ready=sum(pod.ready_since is not None for pod in active),
        busy=None if sample.problem else sum(report.busy for report in reports),
        capacity=None if sample.problem else sum(report.capacity for report in reports),
        processed=throughput.processed(pool.key),
        rate=throughput.pool_rate(pool.key),
        reason=decision.get("reason"),
        why=decision.get("message"),
        problem=stuck[0].error if stuck else problem_of(status),
        unknown_tasks=unknown.message if (unknown := unknown_tasks(reports)) is not None else None,
        failed=bool(stuck) and len(stuck) == len(active),
    )


def schedule_row(schedule: CronSchedule, status: Mapping[str, Any], ticks: int) -> ScheduleRow:
    """Return the row of a schedule."""
    spec = schedule.spec
    return ScheduleRow(
        name=schedule.name,
        rule=status.get("schedule") or spec.cron or (f"every {spec.every_seconds}s" if spec.every_seconds else ""),
        task=spec.task,
        last=parse_time(status.get("lastTickTime")),
        next=parse_time(status.get("nextTickTime")),
        ticks=ticks,
        suspended=spec.suspend,
        problem=problem_of(status),
    )


def problem_of(status: Mapping[str, Any]) -> str | None:
    """Return what keeps a resource from being what it should be, in its own condition's words."""
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    for kind, bad in (("Accepted", "False"), ("Stalled", "True"), ("BrokerReachable", "False")):
        condition = conditions.get(kind)
        if condition is not None and condition["status"] == bad:
            return str(condition.get("message") or condition["reason"])
    return None


def read(manifest: Manifest) -> TaskQueue | WorkerPool | CronSchedule:
    """Return the model of a resource that was checked when it was loaded."""
    return parse({key: manifest[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in manifest})


class TickCounter:
    """Counts the ticks of this run by looking at each schedule's latest one; starts from what an earlier run left."""

    def __init__(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        self._last = {uid: status.get("lastTickTime") for uid, status in statuses.items()}
        self._ticks = dict.fromkeys(statuses, 0)

    def count(self, uid: str, status: Mapping[str, Any]) -> int:
        """Look again, and return the ticks so far."""
        last = status.get("lastTickTime")
        if last is not None and last != self._last[uid]:
            self._last[uid] = last
            self._ticks[uid] += 1
        return self._ticks[uid]

    def of(self, uid: str) -> int:
        """Return the ticks that were seen."""
        return self._ticks[uid]


def _dead(queue: TaskQueue, sample: Sample) -> int | None:
    """A queue for dead letters that does not exist yet holds none."""
    if sample.problem:
        return None
    depth = sample.depths.get(queue.dead_letter_queue_name)
    return 0 if depth is None else depth.ready

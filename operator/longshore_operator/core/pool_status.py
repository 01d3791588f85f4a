"""The status of a WorkerPool from what was observed: figures, and conditions that say what to do.

Pure. `Ready` is about whether the pool does what it should now; `Stalled` about whether somebody has to act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.brokers.port import WorkerReport
from longshore_operator.api.conditions import ConditionType, Reason
from longshore_operator.api.workerpool import POOL_LABEL, Decision, WorkerPool, WorkerPoolStatus
from longshore_operator.core.faults import ConditionWriter, Fault, first

MAX_TASKS = 200


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """What is known of a pool after a reconcile. `refused` is about the manifest, `broken` what is around it."""

    pool: WorkerPool
    refused: Fault | None = None
    broken: Fault | None = None
    """A Secret, a broker, a foreign owner: the pool runs on as it is, if it does."""
    pods: Fault | None = None
    deployment: Mapping[str, Any] | None = None
    desired: int | None = None
    applied: int | None = None
    """Replicas that the Deployment asks for: more than `desired` while pods drain."""
    decision: tuple[str, str] | None = None
    waiting_for: str | None = None
    """Why the pool does not shrink yet."""
    reports: tuple[WorkerReport, ...] | None = None
    backlog: int | None = None
    measured_at: float | None = None


def pool_status(seen: PoolObservation, now: float) -> dict[str, Any]:
    """Return the whole new status as it is on the wire."""
    before = seen.pool.status
    live = (seen.deployment or {}).get("status") or {}
    names, count = _tasks(seen.reports or (), before)
    status = WorkerPoolStatus(
        observed_generation=seen.pool.metadata.generation,
        conditions=_conditions(seen, now),
        replicas=live.get("replicas", 0),
        ready_replicas=live.get("readyReplicas", 0),
        desired_replicas=before.desired_replicas if seen.desired is None else seen.desired,
        busy_slots=_sum(seen.reports, "busy"),
        capacity_slots=_sum(seen.reports, "capacity"),
        backlog=seen.backlog,
        last_decision=_decision(seen, now),
        selector=f"{POOL_LABEL}={seen.pool.name}",
        tasks=names,
        task_count=count,
        measured_time=None if seen.measured_at is None else datetime.fromtimestamp(seen.measured_at, UTC),
    )
    return status.to_wire()


def unknown_tasks(reports: Sequence[WorkerReport]) -> Fault | None:
    """Return a warning about tasks that wait because no worker of the pool has them; nothing is lost by it."""
    names = sorted({name for report in reports for name in report.unknown_tasks})
    if not names:
        return None
    message = f"tasks wait that no worker here has: {', '.join(names)[:500]}; deploy their code, or check the name"
    return Fault(Reason.TASK_UNKNOWN, message)


def _sum(reports: Sequence[WorkerReport] | None, field: str) -> int | None:
    return None if reports is None else sum(getattr(report, field) for report in reports)


def _tasks(reports: Sequence[WorkerReport], before: WorkerPoolStatus) -> tuple[list[str], int | None]:
    """A pool at zero keeps the names that its workers last told."""
    if not reports:
        return list(before.tasks), before.task_count
    newest = max(reports, key=lambda report: report.started_at)
    return sorted(newest.tasks)[:MAX_TASKS], newest.task_count


def _decision(seen: PoolObservation, now: float) -> Decision | None:
    """The time of a decision is when its outcome or reason changed."""
    before = seen.pool.status.last_decision
    if seen.decision is None:
        return before
    reason, message = seen.decision
    same = before is not None and before.reason == reason and seen.desired == seen.pool.status.desired_replicas
    moment = before.time if same and before is not None else datetime.fromtimestamp(now, UTC)
    return Decision(reason=reason[:128], message=message[:1024], time=moment)


def _conditions(seen: PoolObservation, now: float) -> list[Any]:
    pool = seen.pool
    writer = ConditionWriter(pool.status.conditions, pool.metadata.generation, datetime.fromtimestamp(now, UTC))
    fault = first(seen.refused, seen.broken, seen.pods)
    writer.judge(ConditionType.ACCEPTED, seen.refused)
    _available(writer, seen)
    _scaling(writer, seen)
    _draining(writer, seen)
    _ready(writer, seen, fault)
    writer.stalled(fault)
    return writer.conditions


def _counts(seen: PoolObservation) -> tuple[int, int]:
    live = (seen.deployment or {}).get("status") or {}
    return live.get("readyReplicas", 0), seen.desired or 0


def _missing(seen: PoolObservation) -> Fault | None:
    ready, wanted = _counts(seen)
    if seen.deployment is None:
        return Fault(Reason.PROGRESSING, "the Deployment is not there yet")
    if ready >= wanted:
        return None
    return seen.pods or Fault(Reason.PROGRESSING, f"{ready} of {wanted} pods are ready")


def _available(writer: ConditionWriter, seen: PoolObservation) -> None:
    _, wanted = _counts(seen)
    missing = _missing(seen)
    if missing is None and wanted == 0:
        writer.set(ConditionType.AVAILABLE, "True", Reason.SCALED_TO_ZERO, "zero pods are wanted now")
    else:
        writer.judge(ConditionType.AVAILABLE, missing)


def _scaling(writer: ConditionWriter, seen: PoolObservation) -> None:
    """True while our autoscaler decides; false says why it does not."""
    if seen.pool.spec.autoscaling is None:
        message = "spec.replicas says how many; there is no spec.autoscaling"
        writer.set(ConditionType.SCALING, "False", Reason.STEADY, message)
    elif seen.decision is None:
        writer.set(ConditionType.SCALING, "Unknown", Reason.UNMEASURED, "the queues have not been measured yet")
    elif seen.pool.spec.autoscaling.suspend:
        writer.set(ConditionType.SCALING, "False", Reason.SUSPENDED, "spec.autoscaling.suspend is true")
    else:
        writer.set(ConditionType.SCALING, "True", _direction(seen), seen.decision[1])


def _direction(seen: PoolObservation) -> Reason:
    live = ((seen.deployment or {}).get("status") or {}).get("replicas", 0)
    if seen.desired is None or seen.desired == live:
        return Reason.STEADY
    return Reason.SCALING_UP if seen.desired > live else Reason.SCALING_DOWN


def _draining(writer: ConditionWriter, seen: PoolObservation) -> None:
    if seen.waiting_for is None:
        writer.set(ConditionType.DRAINING, "False", Reason.NOT_DRAINING, "")
    else:
        writer.set(ConditionType.DRAINING, "True", Reason.DRAINING, seen.waiting_for)


def _ready(writer: ConditionWriter, seen: PoolObservation, fault: Fault | None) -> None:
    fault = first(fault, _missing(seen))
    _, wanted = _counts(seen)
    if fault is not None:
        writer.judge(ConditionType.READY, fault)
    elif (unknown := unknown_tasks(seen.reports or ())) is not None:
        writer.set(ConditionType.READY, "True", unknown.reason, unknown.message)
    elif wanted == 0:
        writer.set(ConditionType.READY, "True", Reason.SCALED_TO_ZERO, "zero pods are wanted now")
    elif seen.pool.spec.ack_policy == "Early":
        message = "ackPolicy Early: a task whose worker dies is lost; Late runs it again"
        writer.set(ConditionType.READY, "True", Reason.AT_MOST_ONCE, message)
    else:
        writer.set(ConditionType.READY, "True", Reason.OK, "")

"""From a pool's spec and what was measured of it to the scaler's own values.

Pure translation: the resource's vocabulary on one side, `scaling`'s on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longshore.brokers.port import QueueDepth, WorkerReport
from longshore_operator.api.autoscaling import Autoscaling
from longshore_operator.api.autoscaling import ScalingRules as ApiRules
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.core.behavior import Behavior, RatePolicy, ScalingRules
from longshore_operator.core.scaling import BacklogTarget, QueueLoad, ScalePolicy, WaitTarget

DUE_SOON_SECONDS = 10.0
"""A delayed message that is due within this keeps a pool from zero: it would have to come back at once."""


def policy_of(autoscaling: Autoscaling) -> ScalePolicy:
    """Return `spec.autoscaling` as the scaler reads it."""
    target = autoscaling.target
    return ScalePolicy(
        min_replicas=autoscaling.min_replicas,
        max_replicas=autoscaling.max_replicas,
        target=(
            BacklogTarget(target.backlog_per_replica or 1)
            if target.type == "Backlog"
            else WaitTarget(float(target.wait_seconds or 1))
        ),
        behavior=Behavior(
            scale_up=_rules(autoscaling.behavior.scale_up, autoscaling.behavior.scale_up_window),
            scale_down=_rules(autoscaling.behavior.scale_down, autoscaling.behavior.scale_down_window),
        ),
        scale_to_zero_after_seconds=float(autoscaling.scale_to_zero_after_seconds),
        suspend=autoscaling.suspend,
    )


def _rules(rules: ApiRules, window: int) -> ScalingRules:
    policies = tuple(RatePolicy(one.type, one.value, float(one.period_seconds)) for one in rules.policies)
    return ScalingRules(float(window), rules.select_policy, policies)


def loads_of(queues: Sequence[TaskQueue], depths: Mapping[str, QueueDepth | None], now: float) -> tuple[QueueLoad, ...]:
    """Return what each queue holds; a suspended one is not worked on and does not count."""
    return tuple(
        _load(queue.queue_name, depths.get(queue.queue_name), now) for queue in queues if not queue.spec.suspend
    )


def _load(name: str, depth: QueueDepth | None, now: float) -> QueueLoad:
    if depth is None:
        return QueueLoad(name, ready=None, leased=None, due_soon=None)
    return QueueLoad(name, depth.ready, depth.leased, _due_soon(depth, now))


def _due_soon(depth: QueueDepth, now: float) -> int | None:
    """The broker tells when the next one is due, not how many are: one is enough to be awake for."""
    if depth.delayed is None:
        return None
    return 1 if depth.delayed and depth.next_due_at is not None and depth.next_due_at <= now + DUE_SOON_SECONDS else 0


def reports_of(pool: str, workers: Sequence[WorkerReport]) -> tuple[WorkerReport, ...]:
    """Return the reports of one pool's workers; `pool` is ``namespace/name``."""
    return tuple(report for report in workers if report.pool == pool)


def held_by_pod(reports: Sequence[WorkerReport]) -> dict[str, int]:
    """Return claims by pod UID: a worker's identity begins with it."""
    held: dict[str, int] = {}
    for report in reports:
        uid = report.worker.partition(".")[0]
        held[uid] = held.get(uid, 0) + max(report.held, report.busy)
    return held

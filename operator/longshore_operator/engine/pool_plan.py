"""What a pool's reconcile plans, from what it has observed: how many replicas, and how far down it may go now.

No port is used here; what is decided in detail is in the core (`scaling`, `victims`).
"""

from __future__ import annotations

from dataclasses import dataclass

from longshore.brokers.port import WorkerReport
from longshore_operator.api.conditions import Reason
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool
from longshore_operator.core.autoscaler import held_by_pod, loads_of, policy_of
from longshore_operator.core.children import Connections, concurrency_of
from longshore_operator.core.faults import Fault
from longshore_operator.core.scaling import ScaleInputs, ScalingDecision, backlog_of, decide_scale
from longshore_operator.core.victims import ShrinkPlan, plan_shrink, stale_marks
from longshore_operator.engine.brokers import Measurement
from longshore_operator.engine.context import PoolMemory
from longshore_operator.engine.ports import Manifest, Workload

_HOPELESS = frozenset(
    {Reason.CRASH_LOOP_BACK_OFF, Reason.IMAGE_PULL_BACK_OFF, Reason.FAILED_CREATE, Reason.QUOTA_EXCEEDED}
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What was observed of one pool."""

    pool: WorkerPool
    manifest: Manifest
    memory: PoolMemory
    queues: list[TaskQueue]
    connections: Connections
    workload: Workload
    measurement: Measurement | None
    reports: tuple[WorkerReport, ...]

    @property
    def current(self) -> int | None:
        """Replicas that the Deployment asks for; `None` before there is one."""
        deployment = self.workload.deployment
        return None if deployment is None else int(deployment["spec"].get("replicas", 1))


def inputs_of(scene: Scene, problem: Fault | None, now: float) -> ScaleInputs:
    """Return what the scaler is to know of the pool."""
    measurement = scene.measurement
    return ScaleInputs(
        current=scene.current or 0,
        queues=loads_of(scene.queues, measurement.depths if measurement is not None else {}, now),
        slots_per_replica=concurrency_of(scene.pool),
        service_rate=scene.memory.rates.rate,
        held=sum(report.held for report in scene.reports) if measurement is not None else None,
        processed=sum(report.processed for report in scene.reports) if measurement is not None else None,
        problem=problem.message if problem is not None and problem.reason in _HOPELESS else None,
        sampled_at=measurement.at if measurement is not None else None,
    )


def decide(scene: Scene, problem: Fault | None, now: float) -> tuple[int, ScalingDecision | None, int | None]:
    """Return desired replicas, the autoscaler's decision if it made one, and the backlog as far as it is known."""
    spec, inputs = scene.pool.spec, inputs_of(scene, problem, now)
    known = scene.measurement is not None and all(queue.ready is not None for queue in inputs.queues)
    backlog = backlog_of(inputs) if known else None
    if all(queue.spec.suspend for queue in scene.queues):
        return 0, None, backlog
    if spec.autoscaling is None:
        return spec.replicas, None, backlog
    decision = decide_scale(inputs, policy_of(spec.autoscaling), scene.memory.scale, now)
    scene.memory.scale = decision.memory
    return decision.desired, decision, backlog


def shrink(scene: Scene, desired: int) -> ShrinkPlan:
    """How far down this look may go; a pool whose broker is silent is not shrunk under its workers."""
    current = scene.current
    if current is None or desired >= current:
        return ShrinkPlan(desired, "Now", unmark=stale_marks(scene.workload.pods))
    if scene.measurement is None:
        return ShrinkPlan(current, "Busy")
    return plan_shrink(scene.workload.pods, current, desired, held_by_pod(scene.reports))


def waiting_for(scene: Scene, plan: ShrinkPlan, desired: int) -> str | None:
    """Return why the pool is larger than it should be, for a person; `None` when it is not."""
    leaving = sum(pod.terminating for pod in scene.workload.pods)
    if plan.replicas > desired:
        surplus = plan.replicas - desired
        why = {
            "Marking": "their pods are being chosen",
            "Busy": "no pod of them is known to be idle",
            "Rollout": "a rollout is under way",
        }.get(plan.reason, "their tasks have not ended")
        return f"{surplus} more than the {desired} wanted: {why}"
    return f"{leaving} pods finish their tasks" if leaving else None

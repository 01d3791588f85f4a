"""Reconcile a WorkerPool: its Deployment, its size, its status.

Observe, plan, execute; every apply carries the replicas that were computed in this same look. Lowering them goes
through `victims`: a pod that holds a task is not chosen, and SIGTERM drains whoever is chosen all the same.
"""

from __future__ import annotations

from dataclasses import replace

from longshore_operator.api.conditions import Reason
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool
from longshore_operator.core.autoscaler import reports_of
from longshore_operator.core.children import (
    APPLIED_ANNOTATION,
    Connections,
    deployment_for,
    has_image,
)
from longshore_operator.core.faults import Fault, first
from longshore_operator.core.ownership import is_owned_by, needs_apply, replicas_manager
from longshore_operator.core.pod_faults import pods_fault
from longshore_operator.core.pool_status import PoolObservation, pool_status, unknown_tasks
from longshore_operator.core.rates import note_reports
from longshore_operator.core.scaling import note_scaled
from longshore_operator.core.victims import VICTIM_COST, ShrinkPlan
from longshore_operator.engine.brokers import Measurement
from longshore_operator.engine.context import (
    Context,
    PoolMemory,
    look_again,
    publish,
    publish_invalid,
    read,
    tell_fault,
)
from longshore_operator.engine.lookup import common_address, measurement_of, queues_of
from longshore_operator.engine.pool_plan import Scene, decide, shrink, waiting_for
from longshore_operator.engine.ports import BrokerAddress, Key, Manifest, Refused, Workload, key_of

LOOK_AGAIN_SECONDS = 1.0
TRY_REFUSED_SECONDS = 120.0
_SETTLED = frozenset({"Backlog", "Wait", "MinReplicas", "MaxReplicas", "Suspended", "Idle"})


async def reconcile_pool(context: Context, key: Key) -> float | None:
    """Bring one WorkerPool nearer to its spec; return when to look again."""
    manifest = context.resources.get(key)
    if manifest is None:
        context.memory.forget(key)
        return None
    pool = read(manifest)
    if not isinstance(pool, WorkerPool):
        assert isinstance(pool, Fault)
        await publish_invalid(context, manifest, pool)
        return None
    if pool.metadata.deletion_timestamp is not None:
        return None
    seen, again = await _run(context, pool, manifest)
    fault = first(seen.refused, seen.broken, seen.pods)
    await tell_fault(context, manifest, fault)
    wait = await publish(context, manifest, pool_status(seen, context.clock()))
    return look_again(context, fault, wait, again)


async def _run(context: Context, pool: WorkerPool, manifest: Manifest) -> tuple[PoolObservation, float | None]:
    workload = await context.workloads.observe(pool.namespace, pool.name)
    foreign = _foreign(pool, workload)
    known = None if foreign is not None else workload.deployment
    seen = PoolObservation(pool, refused=foreign or _refusal(context, pool), deployment=known)
    queues = queues_of(context, pool)
    if isinstance(queues, Fault):
        seen = replace(seen, refused=first(seen.refused, queues))
    if seen.refused is not None or isinstance(queues, Fault):
        return _as_it_is(seen, workload), None
    address = await common_address(context, queues)
    if isinstance(address, Fault):
        mixed = address.reason == Reason.MIXED_BROKERS
        seen = replace(seen, refused=address) if mixed else replace(seen, broken=address)
        return _as_it_is(seen, workload), None
    connections = await _connections(context, pool, queues, address)
    if isinstance(connections, Fault):
        return _as_it_is(replace(seen, broken=connections), workload), None
    scene, broken = await _scene(context, seen, workload, queues, address, connections, manifest)
    return await _follow(context, scene, replace(seen, broken=broken))


def _foreign(pool: WorkerPool, workload: Workload) -> Fault | None:
    if workload.deployment is None or is_owned_by(workload.deployment, pool.uid):
        return None
    message = f"Deployment {pool.name} exists and is not this pool's: it is left alone; delete it or rename the pool"
    return Fault(Reason.NAME_CONFLICT, message)


def _refusal(context: Context, pool: WorkerPool) -> Fault | None:
    if context.options.images_required and not has_image(pool):
        return Fault(Reason.NO_IMAGE, "set spec.image, or the image of the container `worker` in spec.template")
    return None


def _as_it_is(seen: PoolObservation, workload: Workload) -> PoolObservation:
    """A pool that cannot be planned runs on as it is; its pods are shown all the same."""
    if seen.deployment is None:
        return seen
    replicas = int(seen.deployment["spec"].get("replicas", 1))
    return replace(seen, desired=replicas, applied=replicas, pods=pods_fault(seen.deployment, workload.pods))


async def _connections(
    context: Context, pool: WorkerPool, queues: list[TaskQueue], address: BrokerAddress
) -> Connections | Fault:
    from longshore_operator.engine.ports import AddressProblem

    broker = address.source or source_of(queues[0].spec.broker.to_wire())
    if pool.spec.result_backend is None:
        return Connections(broker, checksum=address.checksum)
    try:
        backend = await context.addresses.resolve(pool.namespace, pool.spec.result_backend.to_wire())
    except AddressProblem as problem:
        return Fault(problem.reason, f"spec.resultBackend: {problem.message}")
    source = backend.source or source_of(pool.spec.result_backend.to_wire())
    return Connections(broker, source, f"{address.checksum}-{backend.checksum}")


def source_of(address: Manifest) -> Manifest:
    """Return an address of a spec as the source of an environment variable."""
    if "urlFrom" in address:
        reference = address["urlFrom"]["secretKeyRef"]
        return {"valueFrom": {"secretKeyRef": {"name": reference["name"], "key": reference.get("key", "url")}}}
    return {"value": address.get("url", "")}


async def _scene(
    context: Context,
    seen: PoolObservation,
    workload: Workload,
    queues: list[TaskQueue],
    address: BrokerAddress,
    connections: Connections,
    manifest: Manifest,
) -> tuple[Scene, Fault | None]:
    found = await measurement_of(context, address.url)
    measurement = found if isinstance(found, Measurement) else None
    reports = reports_of(seen.pool.key, measurement.workers) if measurement is not None else ()
    memory = context.memory.of_pool(key_of(manifest), seen.pool.uid)
    memory.rates = note_reports(memory.rates, reports)
    await _tell_unknown(context, manifest, memory, unknown_tasks(reports))
    scene = Scene(seen.pool, manifest, memory, queues, connections, workload, measurement, reports)
    return scene, found if isinstance(found, Fault) else None


async def _tell_unknown(context: Context, manifest: Manifest, memory: PoolMemory, unknown: Fault | None) -> None:
    told, memory.unknown = memory.unknown, unknown.message if unknown is not None else ""
    if unknown is not None and unknown.message != told:
        await context.resources.record(manifest, "Warning", unknown.reason, unknown.message)


# -- execute ---------------------------------------------------------------------------------------------------------


async def _follow(context: Context, scene: Scene, seen: PoolObservation) -> tuple[PoolObservation, float | None]:
    pods = pods_fault(scene.workload.deployment, scene.workload.pods)
    desired, decision, backlog = decide(scene, pods, context.clock())
    plan = shrink(scene, desired)
    seen = replace(
        seen,
        pods=pods,
        desired=desired,
        decision=(decision.reason, decision.message) if decision is not None else None,
        waiting_for=waiting_for(scene, plan, desired),
        reports=scene.reports if scene.measurement is not None else None,
        backlog=backlog,
        measured_at=scene.measurement.at if scene.measurement is not None else None,
    )
    seen = await _apply(context, scene, seen, plan)
    settled = seen.waiting_for is None and (decision is None or decision.reason in _SETTLED)
    return seen, None if settled else LOOK_AGAIN_SECONDS


async def _apply(context: Context, scene: Scene, seen: PoolObservation, plan: ShrinkPlan) -> PoolObservation:
    manager = replicas_manager(scene.workload.deployment) if scene.workload.deployment is not None else None
    replicas = plan.replicas
    if manager is not None and scene.current is not None:
        message = f"{manager} sets the Deployment's replicas; let it scale the WorkerPool instead, or remove it"
        replicas = scene.current
        seen = replace(seen, broken=Fault(Reason.REPLICAS_OWNED_ELSEWHERE, message), desired=replicas, waiting_for=None)
    else:
        await _mark(context, plan)
    live = scene.workload.deployment
    wanted = deployment_for(scene.pool, scene.queues, scene.connections, replicas)
    refused = _refused_before(context, scene, wanted)
    if refused is None:
        try:
            live = await _write(context, scene, wanted, seen.decision) or live
        except Refused as error:
            refused = str(error)
            scene.memory.refused = (wanted["metadata"]["annotations"][APPLIED_ANNOTATION], context.clock(), refused)
    fault = None if refused is None else Fault(Reason.TEMPLATE_REFUSED, refused)
    return replace(seen, deployment=live, applied=replicas, refused=fault)


def _refused_before(context: Context, scene: Scene, wanted: Manifest) -> str | None:
    """What was refused a moment ago would be again; idle means no request."""
    refused = scene.memory.refused
    if refused is None or refused[0] != wanted["metadata"]["annotations"][APPLIED_ANNOTATION]:
        return None
    return refused[2] if context.clock() - refused[1] < TRY_REFUSED_SECONDS else None


async def _mark(context: Context, plan: ShrinkPlan) -> None:
    for pod in plan.unmark:
        await context.workloads.mark(pod, None)
    for pod in plan.mark:
        await context.workloads.mark(pod, VICTIM_COST)


async def _write(context: Context, scene: Scene, wanted: Manifest, decision: tuple[str, str] | None) -> Manifest | None:
    """Apply when, and only when, a field of ours is not as it should be."""
    live, memory = scene.workload.deployment, scene.memory
    applied = wanted["metadata"]["annotations"][APPLIED_ANNOTATION]
    settled = memory.settled[1] if memory.settled is not None and memory.settled[0] == applied else None
    current, target = scene.current, wanted["spec"]["replicas"]
    why = needs_apply(wanted, live, settled)
    if not why and current == target:
        return None
    if live is not None:
        wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    stored = await context.workloads.apply(wanted)
    if stored is not None:
        memory.settled = (applied, int(stored["metadata"].get("generation", 0)))
    await _tell(context, scene, why, target, decision)
    return stored


async def _tell(context: Context, scene: Scene, why: list[str], target: int, decision: tuple[str, str] | None) -> None:
    current = scene.current
    if current is not None and current != target:
        scene.memory.scale = note_scaled(scene.memory.scale, context.clock(), target - current)
        message = f"from {current} to {target}" + (f": {decision[1]}" if decision is not None else "")
        await context.resources.record(scene.manifest, "Normal", "Scaled", message)
    if why == ["missing"]:
        await context.resources.record(scene.manifest, "Normal", "Created", f"Deployment with {target} replicas")
    elif why and why not in (["template"], [".spec.replicas"]):
        await context.resources.record(scene.manifest, "Normal", "Repaired", f"set back {', '.join(why)[:200]}")

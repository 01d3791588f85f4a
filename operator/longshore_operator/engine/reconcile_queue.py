"""Reconcile a TaskQueue: declare it on its broker, watch it, say what is in it, and delete it where that was asked for.

Observe, plan, execute. Nothing is deleted on a broker but by a TaskQueue that has the policy `Delete` and owns the
queue.
"""

from __future__ import annotations

from longshore.brokers.port import QueueSpec
from longshore_operator.api.conditions import Reason
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.core.faults import Fault, first
from longshore_operator.core.queue_status import QueueObservation, consuming_pools, older_claim, queue_status
from longshore_operator.engine.brokers import BrokerFailure, Measurement
from longshore_operator.engine.context import Context, look_again, publish, publish_invalid, read, tell_fault
from longshore_operator.engine.lookup import address_of, all_queues, measurement_of, pools_of
from longshore_operator.engine.ports import BrokerAddress, Key, Manifest, key_of

FINALIZER = "longshore.dev/queue"
GIVE_UP_DELETING_SECONDS = 300.0
RETRY_DELETING_SECONDS = 5.0


async def reconcile_queue(context: Context, key: Key) -> float | None:
    """Bring one TaskQueue nearer to its spec; return when to look again."""
    manifest = context.resources.get(key)
    if manifest is None:
        _gone(context, key)
        return None
    queue = read(manifest)
    if not isinstance(queue, TaskQueue):
        assert isinstance(queue, Fault)
        await publish_invalid(context, manifest, queue)
        return None
    if queue.metadata.deletion_timestamp is not None:
        return await _delete(context, manifest, queue)
    if await _write_finalizer(context, manifest, queue):
        return 0.0
    seen = await _observe(context, key, queue)
    fault = first(seen.refused, seen.broken, seen.undeclared)
    await tell_fault(context, manifest, fault)
    wait = await publish(context, manifest, queue_status(seen, context.clock()))
    return look_again(context, fault, wait)


def _gone(context: Context, key: Key) -> None:
    context.hub.unwatch(key)
    context.memory.forget(key)


async def _observe(context: Context, key: Key, queue: TaskQueue) -> QueueObservation:
    pools = consuming_pools(queue, pools_of(context, queue.namespace))
    address = await address_of(context, queue)
    if isinstance(address, Fault):
        context.hub.unwatch(key)
        return QueueObservation(queue, broken=address, pools=pools)
    claimed = await _claimed_by_older(context, queue)
    if claimed is not None:
        context.hub.unwatch(key)
        return QueueObservation(queue, refused=claimed, pools=pools)
    context.hub.watch(key, address.url, (queue.queue_name, queue.dead_letter_queue_name))
    return await _measure(context, key, queue, address, pools)


async def _claimed_by_older(context: Context, queue: TaskQueue) -> Fault | None:
    rivals = [other for other in all_queues(context) if other.queue_name == queue.queue_name]
    if len(rivals) < 2:  # noqa: PLR2004 - itself and another
        return None
    addresses = {}
    for rival in rivals:
        address = await address_of(context, rival)
        if isinstance(address, BrokerAddress):
            addresses[rival.namespace, rival.name] = address.url
    return older_claim(queue, addresses, rivals)


async def _measure(
    context: Context, key: Key, queue: TaskQueue, address: BrokerAddress, pools: tuple[str, ...]
) -> QueueObservation:
    """Declare what is not there, then look; a broker that is known to be dead is not asked again here."""
    latest = context.hub.latest(address.url)
    if isinstance(latest, BrokerFailure):
        return QueueObservation(queue, broken=Fault(latest.reason, latest.message), pools=pools)
    undeclared = await _declare(context, key, queue, address.url)
    found = await measurement_of(context, address.url)
    if isinstance(found, Fault):
        return QueueObservation(queue, broken=found, pools=pools)
    if undeclared is not None and undeclared.reason != Reason.QUEUE_MISMATCH:
        return QueueObservation(queue, broken=undeclared, pools=pools)
    return QueueObservation(
        queue,
        undeclared=undeclared,
        depth=found.depths.get(queue.queue_name),
        dead=_ready(found, queue.dead_letter_queue_name),
        pools=pools,
        measured_at=found.at,
    )


def _ready(found: Measurement, name: str) -> int | None:
    depth = found.depths.get(name)
    return depth.ready if depth is not None else None


async def _declare(context: Context, key: Key, queue: TaskQueue, url: str) -> Fault | None:
    """Declare once, and again when the broker has lost the queue."""
    spec = queue.spec
    declaration = (url, queue.queue_name, queue.dead_letter_queue_name, spec.type, spec.max_priority)
    latest = context.hub.latest(url)
    lost = isinstance(latest, Measurement) and latest.depths.get(queue.queue_name, 0) is None
    if context.memory.declared.get(key) == declaration and not lost:
        return None
    wanted = [QueueSpec(queue.queue_name, spec.type, spec.max_priority), QueueSpec(declaration[2], spec.type)]
    try:
        await context.hub.call(url, lambda broker: broker.declare(wanted))
        await context.hub.measure(url)
    except BrokerFailure as failure:
        return Fault(failure.reason, failure.message)
    context.memory.declared[key] = declaration
    return None


async def _write_finalizer(context: Context, manifest: Manifest, queue: TaskQueue) -> bool:
    """A finalizer is there only for the policy that needs it. Return whether it was changed."""
    finalizers = list(queue.metadata.finalizers)
    needed = queue.spec.deletion_policy == "Delete"
    if needed == (FINALIZER in finalizers):
        return False
    wanted = [*finalizers, FINALIZER] if needed else [name for name in finalizers if name != FINALIZER]
    await context.resources.write_finalizers(manifest, wanted)
    return True


async def _delete(context: Context, manifest: Manifest, queue: TaskQueue) -> float | None:
    """Delete the queue, then let the object go; a death in between deletes once more, which does nothing."""
    context.hub.unwatch(key_of(manifest))
    if FINALIZER not in queue.metadata.finalizers:
        return None
    fault = await _delete_on_broker(context, queue) if queue.spec.deletion_policy == "Delete" else None
    if fault is not None:
        assert queue.metadata.deletion_timestamp is not None
        await tell_fault(context, manifest, fault)
        if context.clock() - queue.metadata.deletion_timestamp.timestamp() < GIVE_UP_DELETING_SECONDS:
            return RETRY_DELETING_SECONDS
        message = (
            f"queue {queue.queue_name!r} stays on its broker, which could not be told to delete it: {fault.message}"
        )
        await context.resources.record(manifest, "Warning", Reason.BROKER_DEAD_ON_DELETE, message)
    kept = [name for name in queue.metadata.finalizers if name != FINALIZER]
    await context.resources.write_finalizers(manifest, kept)
    return None


async def _delete_on_broker(context: Context, queue: TaskQueue) -> Fault | None:
    address = await address_of(context, queue)
    if isinstance(address, Fault):
        return address
    if await _claimed_by_older(context, queue) is not None:
        return None
    try:
        await context.hub.call(address.url, lambda broker: broker.delete_queue(queue.queue_name))
    except BrokerFailure as failure:
        return Fault(failure.reason, failure.message)
    return None

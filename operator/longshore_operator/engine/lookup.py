"""How one resource finds the others that it needs: queues of a pool, address of a queue, pools of a queue.

Reads only; what does not fit comes back as a `Fault`, so that a reconcile reads as one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from longshore_operator.api.conditions import ConditionType, Reason, get_condition
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool
from longshore_operator.core.faults import Fault
from longshore_operator.engine.brokers import BrokerFailure, Measurement
from longshore_operator.engine.context import Context, read
from longshore_operator.engine.ports import AddressProblem, BrokerAddress, Key


def get_queue(context: Context, namespace: str, name: str) -> TaskQueue | None:
    """Return a TaskQueue that exists and can be read."""
    manifest = context.resources.get(Key("TaskQueue", namespace, name))
    resource = read(manifest) if manifest is not None else None
    return resource if isinstance(resource, TaskQueue) else None


def all_queues(context: Context) -> list[TaskQueue]:
    """Return every TaskQueue that can be read."""
    resources = (read(manifest) for manifest in context.resources.list("TaskQueue"))
    return [resource for resource in resources if isinstance(resource, TaskQueue)]


def pools_of(context: Context, namespace: str) -> list[WorkerPool]:
    """Return the WorkerPools of a namespace that can be read."""
    resources = (read(manifest) for manifest in context.resources.list("WorkerPool", namespace))
    return [resource for resource in resources if isinstance(resource, WorkerPool)]


def queues_of(context: Context, pool: WorkerPool) -> list[TaskQueue] | Fault:
    """Return the TaskQueues of a pool, in its order, or which one is missing or refused."""
    queues = []
    for ref in pool.spec.queues:
        queue = get_queue(context, pool.namespace, ref.name)
        if queue is None:
            message = f"there is no TaskQueue {ref.name} in namespace {pool.namespace}; create it or mend spec.queues"
            return Fault(Reason.QUEUE_MISSING, message)
        refused = refusal(queue)
        if refused is not None:
            return refused
        queues.append(queue)
    return queues


def refusal(queue: TaskQueue) -> Fault | None:
    """Return why a TaskQueue was not accepted, as whoever uses it says it."""
    accepted = get_condition(queue.status.conditions, ConditionType.ACCEPTED)
    if accepted is None or accepted.status != "False":
        return None
    return Fault(accepted.reason, f"TaskQueue {queue.name} is not accepted: {accepted.message}")


async def address_of(context: Context, queue: TaskQueue) -> BrokerAddress | Fault:
    """Return where the queue's broker is, or why nobody knows."""
    try:
        return await context.addresses.resolve(queue.namespace, queue.spec.broker.to_wire())
    except AddressProblem as problem:
        return Fault(problem.reason, problem.message)


async def common_address(context: Context, queues: Sequence[TaskQueue]) -> BrokerAddress | Fault:
    """Return the one broker of all these queues."""
    first: BrokerAddress | None = None
    for queue in queues:
        address = await address_of(context, queue)
        if isinstance(address, Fault):
            return Fault(address.reason, f"TaskQueue {queue.name}: {address.message}")
        if first is not None and address.url != first.url:
            message = f"TaskQueues {queues[0].name} and {queue.name} are on two brokers; a pool takes from one"
            return Fault(Reason.MIXED_BROKERS, message)
        first = first or address
    assert first is not None, "a pool has at least one queue"
    return first


async def measurement_of(context: Context, url: str) -> Measurement | Fault:
    """Return the latest measurement of a broker; before the first one, look now."""
    latest = context.hub.latest(url)
    if latest is None:
        try:
            return await context.hub.measure(url)
        except BrokerFailure as failure:
            latest = failure
    return Fault(latest.reason, latest.message) if isinstance(latest, BrokerFailure) else latest

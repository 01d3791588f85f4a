"""The engine: a work queue, workers that reconcile its keys, and the brokers' measurements that add to it.

Level-triggered: a key says what to look at, never what happened. The engine knows the ports and nothing behind them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker as open_registered_broker
from longshore_operator.engine.brokers import BrokerHub
from longshore_operator.engine.context import Context, EngineOptions
from longshore_operator.engine.ports import (
    KINDS,
    Addresses,
    Conflict,
    Key,
    Kind,
    Manifest,
    Refused,
    Resources,
    Unreachable,
    Workloads,
    key_of,
)
from longshore_operator.engine.queue import WorkQueue
from longshore_operator.engine.reconcile_pool import reconcile_pool
from longshore_operator.engine.reconcile_queue import reconcile_queue
from longshore_operator.engine.reconcile_schedule import reconcile_schedule

logger = logging.getLogger(__name__)

CONFLICT_SECONDS = 0.2

Reconcile = Callable[[Context, Key], Awaitable[float | None]]

_RECONCILE: dict[Kind, Reconcile] = {
    "TaskQueue": reconcile_queue,
    "WorkerPool": reconcile_pool,
    "CronSchedule": reconcile_schedule,
}


class Engine:
    """Runs the reconciles. `run` ends by cancellation and leaves no thread behind; a new engine starts where it was."""

    def __init__(
        self,
        *,
        resources: Resources,
        workloads: Workloads,
        addresses: Addresses,
        open_broker: Callable[[str], Broker] = open_registered_broker,
        clock: Callable[[], float] = time.time,
        options: EngineOptions | None = None,
    ) -> None:
        self.options = options or EngineOptions()
        self.hub = BrokerHub(open_broker, self._broker_changed, clock, self.options.measure_seconds)
        self.context = Context(resources, workloads, addresses, self.hub, clock, self.options)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.reconciles = 0
        self.failures = 0

    def touch(self, keys: Iterable[Key]) -> None:
        """Look at these resources, and at those that depend on them, soon. The ports' `Listener`."""
        for key in keys:
            self.queue.add(key)
            for other in self._dependents(key):
                self.queue.add(other)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        for kind in KINDS:
            self.touch(key_of(manifest) for manifest in self.context.resources.list(kind))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.options.workers):
                    group.create_task(self._work(), name=f"reconcile {number}")
        finally:
            await self.hub.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.reconcile(key)
            finally:
                self.queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Reconcile one key and arrange for its next look; never raises."""
        self.reconciles += 1
        try:
            again = await _RECONCILE[key.kind](self.context, key)
        except Conflict:
            self.queue.add_after(key, CONFLICT_SECONDS)
        except (Refused, Unreachable) as error:
            logger.warning("%s: %s; trying again in %.1f s", key, error, self.queue.add_failed(key))
        except Exception:
            self.failures += 1
            logger.exception("%s: reconcile failed; trying again in %.1f s", key, self.queue.add_failed(key))
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)

    def _broker_changed(self, url: str) -> None:
        self.touch(key for key in self.hub.watchers(url) if isinstance(key, Key))

    def _dependents(self, key: Key) -> list[Key]:
        """Pools and schedules follow their queue, and a queue shows its pools; a queue's own dependents follow once."""
        if key.kind == "TaskQueue":
            return [*self._keys("WorkerPool", key, _takes_from), *self._keys("CronSchedule", key, _sends_to)]
        pool = self.context.resources.get(key) if key.kind == "WorkerPool" else None
        if pool is not None:
            return [Key("TaskQueue", key.namespace, ref["name"]) for ref in pool["spec"].get("queues") or ()]
        return self._keys("TaskQueue", key, lambda *_: key.kind == "WorkerPool")

    def _keys(self, kind: Kind, key: Key, related: Callable[[Manifest, str], bool]) -> list[Key]:
        manifests = self.context.resources.list(kind, key.namespace)
        return [key_of(manifest) for manifest in manifests if related(manifest, key.name)]


def _takes_from(pool: Manifest, queue: str) -> bool:
    return any(ref.get("name") == queue for ref in pool["spec"].get("queues") or ())


def _sends_to(schedule: Manifest, queue: str) -> bool:
    return bool(schedule["spec"].get("queue") == queue)

"""What every reconcile is given: the ports, the brokers, the clock, and what is remembered between two looks.

Memory is only ever a shortcut or a delay: an operator that starts with none decides the same, a little later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from longshore_operator.api.conditions import Reason
from longshore_operator.api.manifests import AnyResource, InvalidManifest, parse
from longshore_operator.core.change import status_change
from longshore_operator.core.faults import ConditionWriter, Fault
from longshore_operator.core.rates import RateMemory
from longshore_operator.core.scaling import ScaleMemory
from longshore_operator.engine.brokers import MEASURE_INTERVAL_SECONDS, BrokerHub
from longshore_operator.engine.ports import Addresses, Key, Manifest, Resources, Workloads, key_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine behaves; the defaults are a cluster's."""

    images_required: bool = True
    figures_every_seconds: float = 3.0
    """Statuses in which nothing but figures moved are written this often at most."""
    measure_seconds: float = MEASURE_INTERVAL_SECONDS
    """Every broker is measured this often."""
    resync_seconds: float = 15.0
    """Every resource is looked at this often even when nothing seems to happen: a rotated Secret is noticed so."""
    faulty_seconds: float = 4.0
    """A resource with something wrong is looked at this often: a Secret that comes, a name that gets free."""
    workers: int = 16


@dataclass(slots=True)
class PoolMemory:
    """What is remembered of a pool, and of which: another one may come under its name."""

    uid: str
    scale: ScaleMemory = field(default_factory=ScaleMemory)
    rates: RateMemory = field(default_factory=RateMemory)
    settled: tuple[str, int] | None = None
    """The applied hash, and the Deployment's generation right after we applied it."""
    unknown: str = ""
    """What was told last of tasks that nobody knows."""
    refused: tuple[str, float, str] | None = None
    """The applied hash that the API refused, when, and why: it is not tried again at every look."""


@dataclass(slots=True)
class Memory:
    """What is remembered of each resource."""

    pools: dict[Key, PoolMemory] = field(default_factory=dict)
    declared: dict[Key, tuple[object, ...]] = field(default_factory=dict)
    ticks: dict[Key, tuple[str, datetime]] = field(default_factory=dict)
    """UID and latest tick sent of a schedule: its status may not have been written yet."""
    written: dict[Key, float] = field(default_factory=dict)
    told: dict[Key, tuple[str, str]] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a resource that is gone."""
        for table in (self.pools, self.declared, self.ticks, self.written, self.told):
            table.pop(key, None)

    def of_pool(self, key: Key, uid: str) -> PoolMemory:
        """Return what is remembered of this very pool."""
        found = self.pools.get(key)
        if found is None or found.uid != uid:
            found = self.pools[key] = PoolMemory(uid)
        return found

    def latest_tick(self, key: Key, uid: str) -> datetime | None:
        """Return the latest tick that we sent of this very schedule."""
        known, tick = self.ticks.get(key, ("", None))
        return tick if known == uid else None


@dataclass(frozen=True, slots=True)
class Context:
    """The engine's world."""

    resources: Resources
    workloads: Workloads
    addresses: Addresses
    hub: BrokerHub
    clock: Callable[[], float]
    options: EngineOptions = field(default_factory=EngineOptions)
    memory: Memory = field(default_factory=Memory)

    def now(self) -> datetime:
        """The time, as conditions and ticks have it."""
        return datetime.fromtimestamp(self.clock(), UTC)


def read(manifest: Manifest) -> AnyResource | Fault:
    """Return the resource, or what is wrong with its manifest."""
    try:
        return parse(manifest, unknown_fields="ignore")
    except InvalidManifest as error:
        return Fault(Reason.INVALID, str(error))


async def publish(context: Context, manifest: Manifest, status: Manifest) -> float | None:
    """Write the status if it is worth a request now; return after how many seconds to come back for it."""
    change = status_change(manifest.get("status") or {}, status)
    if change == "None":
        return None
    key, now = key_of(manifest), context.clock()
    wait = context.memory.written.get(key, 0.0) + context.options.figures_every_seconds - now
    if change == "Figures" and wait > 0:
        return wait
    await context.resources.write_status(manifest, status)
    context.memory.written[key] = now
    return None


async def publish_invalid(context: Context, manifest: Manifest, fault: Fault) -> None:
    """Say of an object that cannot be read what is wrong with it; everything else of its status stays."""
    from longshore_operator.api.base import Condition
    from longshore_operator.api.conditions import ConditionType

    status = manifest.get("status") or {}
    before = [Condition.model_validate(one) for one in status.get("conditions") or ()]
    writer = ConditionWriter(before, manifest["metadata"].get("generation", 0), context.now())
    writer.judge(ConditionType.ACCEPTED, fault)
    writer.judge(ConditionType.READY, fault)
    writer.stalled(fault)
    conditions = [condition.to_wire() for condition in writer.conditions]
    await publish(context, manifest, {**status, "conditions": conditions})


def look_again(context: Context, fault: Fault | None, *others: float | None) -> float:
    """Return when to look again, at the latest."""
    usual = context.options.resync_seconds if fault is None else context.options.faulty_seconds
    return min([usual, *(one for one in others if one is not None)])


async def tell_fault(context: Context, manifest: Manifest, fault: Fault | None) -> None:
    """Record an Event when a fault is new; that it is over, conditions say."""
    key = key_of(manifest)
    if fault is None:
        context.memory.told.pop(key, None)
        return
    if context.memory.told.get(key) != (fault.reason, fault.message):
        context.memory.told[key] = (fault.reason, fault.message)
        logger.warning("%s: %s: %s", key, fault.reason, fault.message)
        await context.resources.record(manifest, "Warning", fault.reason, fault.message)

"""The engine with a real broker file and no cluster: what it does when the world fails or a process dies in between."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from longshore.brokers import open_broker
from longshore_operator.core.pods import PodView
from longshore_operator.engine.engine import Engine
from longshore_operator.engine.ports import (
    BrokerAddress,
    Conflict,
    Key,
    Kind,
    Manifest,
    Refused,
    Unreachable,
    Workload,
    key_of,
)
from tests.operator.core.objects import manifest

CLOCK = 1_795_000_000.0
QUEUE, POOL = Key("TaskQueue", "shop", "orders"), Key("WorkerPool", "shop", "web")
SCHEDULE = Key("CronSchedule", "shop", "report")


class World:
    """The ports over dictionaries, with faults on demand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: dict[Key, Manifest] = {}
        self.deployments: dict[str, Manifest] = {}
        self.pods: list[PodView] = []
        self.marks: dict[str, int | None] = {}
        self.faults: list[Exception] = []
        self.writes: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.versions = 1
        self.now = CLOCK

    def put(self, kind: str, name: str, spec: dict[str, Any], **more: Any) -> None:
        item = manifest(kind, name, spec, **more)
        self._store(item)

    def _store(self, item: Manifest) -> Manifest:
        self.versions += 1
        item["metadata"]["resourceVersion"] = str(self.versions)
        self.objects[key_of(item)] = item
        return item

    def _fail(self, what: str) -> None:
        self.writes.append(what)
        if self.faults:
            raise self.faults.pop(0)

    def get(self, key: Key) -> Manifest | None:
        return copy.deepcopy(self.objects.get(key))

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Manifest]:
        return [copy.deepcopy(one) for key, one in self.objects.items() if key.kind == kind]

    async def write_status(self, item: Manifest, status: Manifest) -> None:
        self._fail(f"status {item['metadata']['name']}")
        self._store({**self.objects[key_of(item)], "status": status})

    async def write_finalizers(self, item: Manifest, finalizers: Sequence[str]) -> None:
        self._fail(f"finalizers {item['metadata']['name']}")
        current = self.objects[key_of(item)]
        if "deletionTimestamp" in current["metadata"] and not finalizers:
            del self.objects[key_of(item)]
            return
        self._store({**current, "metadata": {**current["metadata"], "finalizers": list(finalizers)}})

    async def record(self, item: Manifest, kind: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    async def observe(self, namespace: str, name: str) -> Workload:
        return Workload(copy.deepcopy(self.deployments.get(name)), tuple(self.pods))

    async def apply(self, deployment: Manifest) -> Manifest:
        self._fail(f"apply {deployment['metadata']['name']}")
        name = deployment["metadata"]["name"]
        known = self.deployments.get(name)
        generation = known["metadata"]["generation"] + 1 if known else 1
        self.versions += 1
        meta = {**deployment["metadata"], "generation": generation, "resourceVersion": str(self.versions)}
        self.deployments[name] = {**copy.deepcopy(deployment), "metadata": meta}
        return copy.deepcopy(self.deployments[name])

    async def mark(self, pod: PodView, deletion_cost: int | None) -> None:
        self.marks[pod.name] = deletion_cost

    async def resolve(self, namespace: str, broker: Mapping[str, Any] | None) -> BrokerAddress:
        url = (broker or {}).get("url", self.url)
        return BrokerAddress(url, "checksum", {"value": "hidden"})

    def condition(self, key: Key, kind: str) -> tuple[str, str]:
        conditions = self.objects[key].get("status", {}).get("conditions", ())
        found = next((one for one in conditions if one["type"] == kind), {"status": "", "reason": ""})
        return found["status"], found["reason"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(f"sqlite:///{tmp_path}/tasks.db")
    world.put("TaskQueue", "orders", {})
    world.put("WorkerPool", "web", {"app": "shop:app", "queues": [{"name": "orders"}], "image": "i", "replicas": 2})
    return world


def new_engine(world: World) -> Engine:
    return Engine(resources=world, workloads=world, addresses=world, clock=lambda: world.now)  # type: ignore[arg-type]


@pytest.fixture
async def engine(world: World) -> AsyncIterator[Engine]:
    engine = new_engine(world)
    yield engine
    await engine.hub.close()


async def settle(engine: Engine, *keys: Key, rounds: int = 4) -> None:
    for _ in range(rounds):
        for key in keys:
            await engine.reconcile(key)


async def test_a_settled_world_gets_no_write(world: World, engine: Engine) -> None:
    await settle(engine, QUEUE, POOL)
    assert world.deployments["web"]["spec"]["replicas"] == 2
    world.writes.clear()
    await settle(engine, QUEUE, POOL, rounds=10)
    assert world.writes == []


async def test_an_engine_that_starts_anew_writes_nothing_either(world: World, engine: Engine) -> None:
    await settle(engine, QUEUE, POOL)
    world.writes.clear()
    second = new_engine(world)
    await settle(second, QUEUE, POOL)
    await second.hub.close()
    assert world.writes == []


@pytest.mark.parametrize("fault", [Conflict("changed"), Unreachable("away"), Refused("no"), RuntimeError("a bug")])
async def test_after_any_fault_at_any_write_the_same_state_is_reached(
    world: World, engine: Engine, fault: Exception
) -> None:
    for broken in range(4):
        world.faults = []
        world.deployments.clear()
        world.objects[POOL].pop("status", None)
        world.writes.clear()
        await _with_fault_at(world, engine, broken, fault)
        world.now += 500  # past every pause
        await settle(engine, QUEUE, POOL)
        assert world.deployments["web"]["spec"]["replicas"] == 2
        assert world.condition(POOL, "Accepted") == ("True", "Ok")


async def _with_fault_at(world: World, engine: Engine, number: int, fault: Exception) -> None:
    """Let the write of this number fail, as when the process dies right there."""
    for _ in range(6):
        if len(world.writes) == number:
            world.faults = [fault]
        await engine.reconcile(QUEUE)
        await engine.reconcile(POOL)


async def test_a_failing_key_is_tried_again_and_others_go_on(world: World, engine: Engine) -> None:
    world.put("WorkerPool", "bad", {"app": "shop:app", "queues": [{"name": "orders"}], "image": "i"})
    running = asyncio.create_task(engine.run())
    world.faults = [RuntimeError("once"), Unreachable("twice")]
    async with asyncio.timeout(20):
        while set(world.deployments) != {"web", "bad"}:  # noqa: ASYNC110 - the world has no event to wait for
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_tick_is_sent_again_with_the_same_id_when_the_process_dies_before_it_is_written_down(
    world: World, engine: Engine
) -> None:
    created = {"creationTimestamp": "2026-11-18T00:00:00Z"}
    world.put("CronSchedule", "report", {"everySeconds": 60, "task": "t", "queue": "orders"}, metadata=created)
    await settle(engine, QUEUE)
    world.faults = [RuntimeError("died")]
    await engine.reconcile(SCHEDULE)
    assert "lastTaskId" not in world.objects[SCHEDULE].get("status", {})
    successor = new_engine(world)
    await successor.reconcile(SCHEDULE)
    await successor.hub.close()
    messages = open_broker(world.url).peek("orders", 10)
    assert len(messages) == 2
    assert len({message.id for message in messages}) == 1
    assert len({message.headers["longshore-tick"]["copy"] for message in messages}) == 2
    assert world.objects[SCHEDULE]["status"]["lastTaskId"] == messages[0].id


async def test_a_live_engine_does_not_send_a_tick_twice_for_a_failed_status(world: World, engine: Engine) -> None:
    world.put("CronSchedule", "report", {"everySeconds": 60, "task": "t", "queue": "orders"},
              metadata={"creationTimestamp": "2026-11-18T00:00:00Z"})  # fmt: skip
    await settle(engine, QUEUE)
    world.faults = [Conflict("changed")]
    await settle(engine, SCHEDULE)
    assert len(open_broker(world.url).peek("orders", 10)) == 1


async def test_ticks_of_a_pause_are_not_made_up_for(world: World, engine: Engine) -> None:
    spec = {"everySeconds": 60, "task": "t", "queue": "orders", "suspend": True}
    world.put("CronSchedule", "report", spec, metadata={"creationTimestamp": "2026-11-18T00:00:00Z"})
    await settle(engine, QUEUE, SCHEDULE)
    world.now += 30
    world.objects[SCHEDULE]["spec"] = {**spec, "suspend": False}
    await settle(engine, SCHEDULE)
    assert open_broker(world.url).peek("orders", 10) == []
    world.now += 60
    await settle(engine, SCHEDULE)
    assert len(open_broker(world.url).peek("orders", 10)) == 1


async def test_shrinking_by_hand_waits_for_idle_pods(world: World, engine: Engine) -> None:
    await settle(engine, QUEUE, POOL)
    world.pods = [
        PodView("shop", f"p{n}", f"uid-{n}", owner="rs", node="n", phase="Running", ready=True) for n in range(2)
    ]
    world.objects[POOL]["spec"]["replicas"] = 1
    world.objects[POOL]["metadata"]["generation"] = 4
    await settle(engine, POOL)
    assert world.deployments["web"]["spec"]["replicas"] == 2, "no worker has said that it is idle"
    assert world.condition(POOL, "Draining") == ("True", "Draining")


async def test_deletion_gives_up_on_a_dead_broker_after_five_minutes_and_says_so(world: World, engine: Engine) -> None:
    meta = {"deletionTimestamp": "2026-11-18T00:00:00Z", "finalizers": ["longshore.dev/queue"]}
    spec = {"deletionPolicy": "Delete", "broker": {"url": "redis://127.0.0.1:1/0"}}
    world.put("TaskQueue", "orders", spec, metadata=meta)
    world.now = _seconds("2026-11-18T00:03:20+00:00")
    await engine.reconcile(QUEUE)
    assert QUEUE in world.objects
    world.now = _seconds("2026-11-18T00:05:01+00:00")
    await engine.reconcile(QUEUE)
    assert QUEUE not in world.objects
    assert any(reason == "BrokerDeadOnDelete" for reason, _ in world.events)


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()

"""Deployments as processes: as many as were asked for, and the right ones go first."""

import pytest

from longshore_operator.core.victims import possible_victims
from longshore_operator.engine.ports import Conflict, Key
from longshore_operator.local.starting import worker_arguments
from longshore_operator.local.workloads import LocalWorkloads
from tests.operator.local.test_pods import Script


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def deployment(replicas: int, image: str = "a", **meta):
    template = {"spec": {"containers": [{"name": "worker", "image": image}], "terminationGracePeriodSeconds": 60}}
    return {
        "metadata": {"name": "shop", "namespace": "default", **meta},
        "spec": {"replicas": replicas, "template": template},
    }


class Machine:
    def __init__(self):
        self.clock, self.script, self.told = Clock(), Script(), []
        self.workloads = LocalWorkloads(lambda template: self.script, self.clock)
        self.workloads.listener = self.told.extend

    def step(self, seconds: float = 1.0) -> None:
        self.clock.now += seconds
        self.workloads.step()

    def pods(self):
        return list(self.workloads.pods())

    def names(self):
        return [pod.name for pod in self.pods() if not pod.terminating]


@pytest.fixture
def machine():
    return Machine()


async def test_runs_as_many_as_were_asked_for(machine):
    assert (await machine.workloads.observe("default", "shop")).deployment is None
    await machine.workloads.apply(deployment(3))
    machine.step()
    assert machine.names() == ["shop-0", "shop-1", "shop-2"]
    assert machine.told == [Key("WorkerPool", "default", "shop")]
    machine.workloads.see_ready([machine.pods()[0].uid])
    seen = await machine.workloads.observe("default", "shop")
    assert seen.deployment["status"]["readyReplicas"] == 1
    assert [pod.ready for pod in seen.pods] == [True, False, False]


async def test_shrinks_by_the_pods_that_the_engine_predicts(machine):
    await machine.workloads.apply(deployment(3))
    machine.step()
    machine.workloads.see_ready([pod.uid for pod in machine.pods()])
    views = (await machine.workloads.observe("default", "shop")).pods
    await machine.workloads.mark(views[1], -100)
    views = (await machine.workloads.observe("default", "shop")).pods
    assert [pod.name for pod in possible_victims(views, 1)] == ["shop-1"]
    await machine.workloads.apply(deployment(2))
    machine.step()
    assert machine.names() == ["shop-0", "shop-2"]
    machine.script.started[1].code = 0
    machine.step()
    assert len(machine.pods()) == 2
    await machine.workloads.apply(deployment(3))
    machine.step()
    assert machine.names() == ["shop-0", "shop-2", "shop-1"]


async def test_a_new_template_replaces_the_pods(machine):
    await machine.workloads.apply(deployment(1))
    machine.step()
    await machine.workloads.apply(deployment(1, image="b"))
    machine.step()
    assert [pod.terminating for pod in machine.pods()] == [True, False]


async def test_generation_moves_with_the_spec_only_and_stale_writes_are_refused(machine):
    await machine.workloads.apply(deployment(1))
    first = (await machine.workloads.observe("default", "shop")).deployment["metadata"]
    await machine.workloads.apply(deployment(1))
    second = (await machine.workloads.observe("default", "shop")).deployment["metadata"]
    assert first["generation"] == second["generation"] == 1
    await machine.workloads.apply(deployment(2, resourceVersion=second["resourceVersion"]))
    with pytest.raises(Conflict):
        await machine.workloads.apply(deployment(9, resourceVersion=second["resourceVersion"]))
    third = (await machine.workloads.observe("default", "shop")).deployment
    assert (third["metadata"]["generation"], third["spec"]["replicas"]) == (2, 2)


async def test_nothing_starts_once_it_drains(machine):
    await machine.workloads.apply(deployment(1))
    machine.step()
    machine.workloads.drain()
    await machine.workloads.apply(deployment(5))
    machine.step()
    assert len(machine.script.started) == 1
    assert machine.script.started[0].signals == ["TERM"]
    machine.workloads.kill()
    assert machine.script.started[0].signals == ["TERM", "KILL"]


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["longshore", "worker", "a:app", "--http-port", "8080", "-c", "2"]},
        {"args": ["worker", "a:app", "-c", "2"]},
        {"command": ["longshore"], "args": ["worker", "a:app", "-c", "2", "--http-port", "1"]},
    ],
)
def test_the_command_line_of_a_container(container):
    assert worker_arguments(container) == ["worker", "a:app", "-c", "2"]

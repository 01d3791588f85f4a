"""Reading manifests: what is accepted, and how every mistake is worded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.api import API_VERSION, InvalidManifest, TaskQueue, WorkerPool, check_change, is_ours, parse
from longshore_operator.api.manifests import AnyResource
from tests.support.manifests import good_manifests, load

POOL = {"app": "shop.tasks:app", "queues": [{"name": "orders"}]}


def manifest(kind: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "shop", **metadata}, "spec": spec}


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parse(document)
    return [str(problem) for problem in caught.value.problems]


def pool(spec: dict[str, Any]) -> WorkerPool:
    resource = parse(manifest("WorkerPool", {**POOL, **spec}))
    assert isinstance(resource, WorkerPool)
    return resource


@pytest.mark.parametrize("path", good_manifests(), ids=lambda path: path.stem)
def test_what_was_read_can_be_written_and_read_again(path: Any) -> None:
    for document in load(path):
        resource = parse(document)
        assert parse(resource.to_wire()) == resource


def test_a_queue_without_a_spec_has_the_defaults() -> None:
    queue = parse({"apiVersion": API_VERSION, "kind": "TaskQueue", "metadata": {"name": "orders"}})

    assert isinstance(queue, TaskQueue)
    assert (queue.queue_name, queue.dead_letter_queue_name) == ("orders", "orders.dead")
    assert queue.spec.broker.name == "default"
    assert queue.spec.dead_letter is None


def test_an_autoscaled_pool_has_the_defaults_of_autoscaling() -> None:
    scaling = pool({"autoscaling": {"maxReplicas": 3}}).spec.autoscaling

    assert scaling is not None
    assert (scaling.min_replicas, scaling.target.type, scaling.target.wait_seconds) == (0, "Wait", 10)
    assert (scaling.behavior.scale_up_window, scaling.behavior.scale_down_window) == (0, 60)


def test_the_pods_get_half_a_minute_more_than_the_drain() -> None:
    assert pool({"drainTimeoutSeconds": 60}).spec.termination_grace_period_seconds == 90


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"concurency": 4}, "spec.concurency: is not a known field; did you mean concurrency?"),
        ({"xyzzy": 4}, "spec.xyzzy: is not a known field"),
        ({"drain_timeout": 4}, "spec.drain_timeout: is not a known field; did you mean drainTimeoutSeconds?"),
        ({"ack_policy": "Late"}, "spec.ack_policy: is not a known field; did you mean ackPolicy?"),
        ({"queues": [{"nam": "q"}]}, "spec.queues[0].nam: is not a known field; did you mean name?"),
        (
            {"autoscaling": {"maxReplicas": 1, "behavior": {"scaledown": {}}}},
            "spec.autoscaling.behavior.scaledown: is not a known field; did you mean scaleDown?",
        ),
        (
            {"autoscaling": {"maxReplicas": 1, "behavior": {"scaleUp": {"policies": [{"typ": "Pods"}]}}}},
            "spec.autoscaling.behavior.scaleUp.policies[0].typ: is not a known field; did you mean type?",
        ),
        (
            {"execution": "process"},
            'spec.execution: must be one of Processes, Threads, Asyncio, not "process"; did you mean Processes?',
        ),
        ({"execution": ["Threads"]}, "spec.execution: must be one of Processes, Threads, Asyncio, not a list"),
        ({"concurrency": 1.5}, "spec.concurrency: must be a whole number, not 1.5"),
        ({"concurrency": True}, "spec.concurrency: must be a whole number, not true"),
        ({"concurrency": 10_001}, "spec.concurrency: must be at most 10000, not 10001"),
        ({"image": "x" * 1025}, "spec.image: must be at most 1024 characters long"),
        ({"app": ""}, "spec.app: must not be empty"),
        ({"template": []}, "spec.template: must be a mapping, not a list"),
        ({"autoscaling": "yes"}, 'spec.autoscaling: must be a mapping, not "yes"'),
        (
            {"autoscaling": {"maxReplicas": 1, "suspend": "no"}},
            'spec.autoscaling.suspend: must be true or false, not "no"',
        ),
        ({"queues": {"name": "q"}}, "spec.queues: must be a list, not a mapping"),
        ({"queues": [{"name": f"q{n}"} for n in range(101)]}, "spec.queues: must have at most 100 items, not 101"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(spec: dict[str, Any], problem: str) -> None:
    assert problem in problems(manifest("WorkerPool", {**POOL, **spec}))


def test_all_mistakes_are_named_at_once() -> None:
    found = problems(manifest("WorkerPool", {"app": "shop", "concurrency": 0, "queus": []}))

    assert [line.partition(":")[0] for line in found] == ["spec.app", "spec.queues", "spec.concurrency", "spec.queus"]


def test_a_manifest_reads_as_a_few_lines() -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse(manifest("WorkerPool", {**POOL, "concurrency": 0}))

    assert str(caught.value) == "WorkerPool shop is invalid:\n  spec.concurrency: must be at least 1, not 0"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "apiVersion: must be longshore.dev/v1alpha1, not None"),
        ({"apiVersion": "longshore.dev/v1"}, "apiVersion: must be longshore.dev/v1alpha1, not 'longshore.dev/v1'"),
        (
            {"apiVersion": API_VERSION, "kind": "Workerpool"},
            "kind: must be one of TaskQueue, WorkerPool, CronSchedule, not 'Workerpool'; did you mean WorkerPool?",
        ),
        ({"apiVersion": API_VERSION, "kind": "TaskQueue"}, "metadata: is required"),
        ({"apiVersion": API_VERSION, "kind": "TaskQueue", "metadata": {}}, "metadata.name: is required"),
        ({"apiVersion": API_VERSION, "kind": "WorkerPool", "metadata": {"name": "shop"}}, "spec: is required"),
    ],
)
def test_what_is_not_a_resource_is_refused(document: dict[str, Any], problem: str) -> None:
    assert problems(document) == [problem]


def test_nulls_are_as_if_absent_but_for_what_is_the_users_own() -> None:
    document = manifest("CronSchedule", {"everySeconds": 5, "cron": None, "task": "t", "queue": "q", "args": [None]})

    schedule = parse(document)

    assert schedule.to_wire()["spec"]["args"] == [None]
    assert "cron" not in schedule.to_wire()["spec"]


def test_a_field_of_a_newer_version_does_not_stop_the_operator() -> None:
    document = manifest("WorkerPool", {**POOL, "fieldOfTheFuture": 1, "queues": [{"name": "q", "weight": 2}]})

    assert problems(document)
    assert parse(document, unknown_fields="ignore").to_wire()["spec"]["queues"] == [{"name": "q"}]


def test_metadata_of_the_server_is_read_and_what_is_unknown_there_is_no_mistake() -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u2", "controller": True}
    metadata = {
        "uid": "u1",
        "generation": 3,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "managedFields": [{}],
        "ownerReferences": [owner],
    }
    queue = parse(manifest("TaskQueue", {}, **metadata))

    assert (queue.uid, queue.metadata.generation) == ("u1", 3)
    assert queue.to_wire()["metadata"]["creationTimestamp"] == "2026-11-21T12:00:00Z"
    assert queue.metadata.owner_references[0].controller is True


def test_what_is_immutable_may_not_change() -> None:
    old, new = parse(manifest("TaskQueue", {})), parse(manifest("TaskQueue", {"queueName": "b", "type": "Quorum"}))

    with pytest.raises(InvalidManifest) as caught:
        check_change(old, new)

    assert [problem.path for problem in caught.value.problems] == ["spec.queueName", "spec.type"]


def test_naming_a_queue_as_it_is_named_anyway_changes_nothing() -> None:
    check_change(parse(manifest("TaskQueue", {})), parse(manifest("TaskQueue", {"queueName": "shop", "suspend": True})))


@pytest.mark.parametrize(
    ("api_version", "ours"),
    [(API_VERSION, True), ("longshore.dev/v2", True), ("v1", False), ("xlongshore.dev/v1", False)],
)
def test_ours_is_told_by_the_group(api_version: str, ours: bool) -> None:
    assert is_ours({"apiVersion": api_version}) is ours


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
GOOD = [document for path in good_manifests() for document in load(path)]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    if isinstance(value, dict):
        return {**value, path[0]: replaced(value[path[0]], path[1:], by)}
    return [replaced(one, path[1:], by) if index == path[0] else one for index, one in enumerate(value)]


@given(data=st.data(), document=st.sampled_from(GOOD), garbage=JSON)
def test_garbage_anywhere_is_a_resource_or_a_readable_refusal(
    data: Any, document: dict[str, Any], garbage: Any
) -> None:
    place = data.draw(st.sampled_from([path for path in places(document) if path]))

    outcome = read(replaced(document, place, garbage))

    if isinstance(outcome, InvalidManifest):
        assert outcome.problems
        assert "pydantic" not in str(outcome)
    else:
        assert parse(outcome.to_wire()) == outcome


def read(document: dict[str, Any]) -> AnyResource | InvalidManifest:
    try:
        return parse(document)
    except InvalidManifest as invalid:
        return invalid

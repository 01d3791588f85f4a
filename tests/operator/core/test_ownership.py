"""What differs from what we want is repaired; what others add is left; what is only written otherwise is no reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from longshore_operator.core.children import Connections, deployment_for
from longshore_operator.core.ownership import differences, is_owned_by, needs_apply, replicas_manager
from tests.operator.core.objects import task_queue, worker_pool

WANTED = deployment_for(worker_pool(), [task_queue()], Connections({"value": "sqlite:///x"}, checksum="c"), 2)


def live() -> dict[str, Any]:
    """As an API server returns it: defaults filled in, others' fields beside ours."""
    found = copy.deepcopy(WANTED)
    found["metadata"] |= {"generation": 4, "resourceVersion": "9", "uid": "u"}
    found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    found["spec"]["progressDeadlineSeconds"] = 600
    pod = found["spec"]["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"].insert(0, {"name": "injected", "image": "sidecar:1"})
    pod["containers"][1]["imagePullPolicy"] = "IfNotPresent"
    return found


def worker(found: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in found["spec"]["template"]["spec"]["containers"] if one["name"] == "worker")


def test_what_others_add_is_no_difference() -> None:
    found = live()
    found["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    assert needs_apply(WANTED, found, None) == []


def test_a_missing_deployment_and_a_changed_pool_are_applied() -> None:
    assert needs_apply(WANTED, None, None) == ["missing"]
    changed = deployment_for(worker_pool(concurrency=9), [task_queue()], Connections({"value": "x"}), 2)
    assert needs_apply(changed, live(), 4) == ["template"]


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda d: worker(d).update(image="evil:1"), "image"),
        (lambda d: worker(d).update(command=["sh"]), "command"),
        (lambda d: worker(d)["env"].pop(0), "LONGSHORE_BROKER_URL"),
        (lambda d: worker(d).pop("livenessProbe"), "livenessProbe"),
        (lambda d: d["spec"].update(replicas=7), ".spec.replicas"),
        (lambda d: d["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=1), "terminationGracePeriod"),
        (lambda d: d["spec"]["template"]["spec"].pop("securityContext"), "securityContext"),
        (lambda d: d["metadata"]["labels"].clear(), ".metadata.labels"),
        (lambda d: d["metadata"].pop("ownerReferences"), ".metadata.ownerReferences"),
    ],
)
def test_a_hand_edit_of_a_field_of_ours_is_found(edit: Any, path: str) -> None:
    found = live()
    edit(found)
    assert any(path in one for one in needs_apply(WANTED, found, None))


def test_what_the_api_server_writes_otherwise_is_settled_after_one_apply() -> None:
    template = {"spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": 0.5}}}]}}
    wanted = deployment_for(worker_pool(template=template), [task_queue()], Connections({"value": "x"}), 1)
    found = copy.deepcopy(wanted)
    found["metadata"]["generation"] = 5
    worker(found)["resources"] = {"requests": {"cpu": "500m"}}
    assert needs_apply(wanted, found, None)
    assert needs_apply(wanted, found, 5) == []
    found["metadata"]["generation"] = 6
    assert needs_apply(wanted, found, 5)


def test_an_owner_is_known_by_its_uid() -> None:
    assert is_owned_by(WANTED, "uid-web")
    assert not is_owned_by(WANTED, "uid-of-another-pool-of-this-name")
    assert not is_owned_by({"metadata": {"name": "x"}}, "uid-web")


@pytest.mark.parametrize(
    ("manager", "found"),
    [("kube-controller-manager", True), ("keda-operator", True), ("kubectl", False), ("longshore-operator", False)],
)
def test_an_autoscaler_on_the_deployment_is_not_fought(manager: str, found: bool) -> None:
    entry = {"manager": manager, "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    status = {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {"f:replicas": {}}}}
    deployment = {"metadata": {"managedFields": [status, entry]}}
    assert replicas_manager(deployment) == (manager if found else None)


@pytest.mark.parametrize(
    ("wanted", "live_", "paths"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, None, [""]),
        ({}, None, []),
        ({"a": []}, {}, []),
        ({"a": ""}, {}, []),
        ({"a": False}, {}, []),
        ({"a": True}, {}, [".a"]),
        ([{"name": "x", "v": 1}], [{"name": "y"}, {"name": "x", "v": 1}], []),
        ([{"name": "x", "v": 1}], [{"name": "x", "v": 2}], ["[x].v"]),
        (["a", "b"], ["b", "a"], [""]),
    ],
)
def test_differences(wanted: Any, live_: Any, paths: list[str]) -> None:
    assert differences(wanted, live_) == paths

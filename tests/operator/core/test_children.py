"""The Deployment of a pool says exactly what the worker needs, and leaves to the user what is the user's."""

from __future__ import annotations

from typing import Any

import pytest

from longshore_operator.core.children import (
    APPLIED_ANNOTATION,
    CHECKSUM_ANNOTATION,
    Connections,
    concurrency_of,
    deployment_for,
    has_image,
    worker_command,
)
from longshore_operator.core.quantities import cpus, slots_from_resources
from tests.operator.core.objects import task_queue, worker_pool

SECRET = {"valueFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}


def deployment(replicas: int = 2, connections: Connections | None = None, **spec: Any) -> dict[str, Any]:
    return deployment_for(worker_pool(**spec), [task_queue()], connections or Connections(SECRET), replicas)


def pod_of(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def worker_of(found: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in pod_of(found)["containers"] if one["name"] == "worker")


def test_the_deployment_is_the_pools() -> None:
    found = deployment()
    assert found["metadata"]["name"] == "web"
    owner = found["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == ("uid-web", True)
    assert found["spec"]["selector"] == {"matchLabels": {"longshore.dev/worker-pool": "web"}}
    assert found["spec"]["template"]["metadata"]["labels"]["longshore.dev/worker-pool"] == "web"
    assert (found["spec"]["replicas"], found["spec"]["revisionHistoryLimit"]) == (2, 2)
    assert pod_of(found)["terminationGracePeriodSeconds"] == 630


def test_the_command_has_every_option() -> None:
    dead = {"queueName": "lost", "maxDeliveries": 3, "keepFailures": False}
    queues = [task_queue(queueName="q1"), task_queue("b", deadLetter=dead)]
    pool = worker_pool(concurrency=3, ackPolicy="Early", drainTimeoutSeconds=60)
    assert worker_command(pool, queues) == [
        "longshore", "worker", "shop.tasks:app", "-Q", "q1,b", "-c", "3", "--execution", "processes", "-l", "info",
        "--ack-policy", "early", "--drain-timeout", "60", "--http-port", "8080",
        "--dead-letter", "q1=q1.dead", "--dead-letter", "b=lost:3:drop",
    ]  # fmt: skip


def test_a_suspended_queue_is_not_taken_from() -> None:
    command = worker_command(worker_pool(), [task_queue("a", suspend=True), task_queue("b")])
    assert command[command.index("-Q") + 1] == "b"


def test_the_environment_names_the_secret_and_never_holds_its_value() -> None:
    connections = Connections(SECRET, {"value": "redis://results/1"}, "0123")
    variables = {one["name"]: one for one in worker_of(deployment(connections=connections))["env"]}
    assert variables["LONGSHORE_BROKER_URL"]["valueFrom"] == SECRET["valueFrom"]
    assert variables["LONGSHORE_RESULT_BACKEND"]["value"] == "redis://results/1"
    assert variables["LONGSHORE_POOL"]["value"] == "shop/web"
    assert variables["LONGSHORE_POD_UID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"


@pytest.mark.parity("I6")
def test_the_template_is_kept_and_the_worker_is_merged_into_it() -> None:
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "securityContext": {"runAsUser": 7},
            "containers": [
                {"name": "proxy", "image": "proxy:1"},
                {
                    "name": "worker",
                    "image": "old:1",
                    "args": ["nonsense"],
                    "env": [{"name": "COLOR", "value": "red"}, {"name": "LONGSHORE_POOL", "value": "wrong"}],
                    "resources": {"limits": {"cpu": "1500m"}},
                    "readinessProbe": {"exec": {"command": ["true"]}},
                    "futureField": {"kept": True},
                },
            ],
        },
    }
    found = deployment(template=template)
    worker, pod = worker_of(found), pod_of(found)
    assert [one["name"] for one in pod["containers"]] == ["worker", "proxy"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 7,
    }
    assert (worker["image"], worker["futureField"]) == ("shop:1", {"kept": True})
    assert "args" not in worker
    assert worker["readinessProbe"] == {"exec": {"command": ["true"]}}
    values = {one["name"]: one.get("value") for one in worker["env"]}
    assert (values["COLOR"], values["LONGSHORE_POOL"]) == ("red", "shop/web")
    assert worker["command"][worker["command"].index("-c") + 1] == "2"
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "a"
    assert template["spec"]["containers"][1]["args"] == ["nonsense"], "the user's manifest is not touched"


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ([], 1),
        ([{"key": "gpu", "operator": "Exists"}], 2),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 900}], 1),
        ([{"operator": "Exists"}], 1),
    ],
)
def test_a_silent_node_is_given_up_soon_unless_the_template_says_else(given: list[Any], count: int) -> None:
    tolerations = pod_of(deployment(template={"spec": {"tolerations": given}}))["tolerations"]
    assert len(tolerations) == count
    if not given:
        assert tolerations[0]["tolerationSeconds"] == 30


def test_a_rotated_secret_and_a_changed_spec_change_the_template_but_replicas_do_not() -> None:
    one = deployment(connections=Connections(SECRET, checksum="a"))
    other = deployment(connections=Connections(SECRET, checksum="b"))
    assert one["spec"]["template"]["metadata"]["annotations"][CHECKSUM_ANNOTATION] == "a"
    assert _applied(one) != _applied(other)
    assert _applied(deployment(1)) == _applied(deployment(9))
    assert _applied(deployment(concurrency=2)) != _applied(deployment(concurrency=3))


def _applied(found: dict[str, Any]) -> str:
    return str(found["metadata"]["annotations"][APPLIED_ANNOTATION])


def test_disruption_avoid_asks_autoscalers_to_keep_the_node() -> None:
    annotations = deployment(disruption="Avoid")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({}, 1),
        ({"limits": {"cpu": "2"}}, 2),
        ({"limits": {"cpu": "1500m"}, "requests": {"cpu": "8"}}, 2),
        ({"requests": {"cpu": "100m"}}, 1),
        ({"requests": {"cpu": 2.5}}, 3),
        ({"limits": {"cpu": "nonsense"}}, 1),
        ({"limits": {"memory": "1Gi"}}, 1),
    ],
)
def test_concurrency_follows_the_limit_then_the_request_never_the_node(resources: dict[str, Any], slots: int) -> None:
    assert slots_from_resources(resources) == slots
    template = {"spec": {"containers": [{"name": "worker", "resources": resources}]}}
    assert concurrency_of(worker_pool(template=template)) == slots
    assert concurrency_of(worker_pool(template=template, concurrency=7)) == 7


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("2", 2), ("1e1", 10), ("3k", 3000), ("", None), ("inf", None), ("m", None)]
)
def test_quantities(text: str, value: float | None) -> None:
    found = cpus(text)
    assert (None if found is None else float(found)) == value


def test_an_image_is_the_sugar_or_the_templates() -> None:
    assert has_image(worker_pool())
    assert not has_image(worker_pool(image=None))
    assert has_image(worker_pool(image=None, template={"spec": {"containers": [{"name": "worker", "image": "x"}]}}))

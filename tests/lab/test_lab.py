"""The lab keeps its promises: real pods, names and Services, nodes that can be cut off and lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.client import Lab

LABELS = {"app": "redis"}


def redis_pod(image: str, node: str) -> dict[str, Any]:
    """A Redis server on a certain node, restricted as a user's cluster may ask for."""
    container = {
        "name": "redis",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    restricted = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"redis-{node}", "labels": {**LABELS, "on": node}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "securityContext": restricted,
            "containers": [container],
        },
    }


def redis_service(node: str) -> dict[str, Any]:
    """A Service in front of the pod on one node."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"redis-{node}"},
        "spec": {"selector": {**LABELS, "on": node}, "ports": [{"port": 6379}]},
    }


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace with a Redis server and its Service on two nodes."""
    with lab.namespace() as name:
        for node in lab.nodes()[:2]:
            lab.apply(redis_pod(lab.redis_image, node), redis_service(node), namespace=name)
        lab.kubectl("--namespace", name, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield name


def test_two_nodes_are_ready(lab: Lab) -> None:
    assert len(lab.ready_nodes()) >= 2


def test_exec_runs_in_a_pod(lab: Lab, namespace: str) -> None:
    pod = f"redis-{lab.nodes()[0]}"
    assert lab.kubectl("--namespace", namespace, "exec", pod, "--", "redis-cli", "ping").stdout.strip() == "PONG"


def test_logs_are_those_of_the_pod(lab: Lab, namespace: str) -> None:
    pod = f"redis-{lab.nodes()[1]}"
    assert "Ready to accept connections" in lab.kubectl("--namespace", namespace, "logs", pod).stdout


@pytest.mark.parametrize("domain", ["", ".{namespace}.svc.cluster.local"])
def test_a_pod_reaches_a_service_on_the_other_node_by_name(lab: Lab, namespace: str, domain: str) -> None:
    here, there = lab.nodes()[:2]
    host = f"redis-{there}" + domain.format(namespace=namespace)
    ping = ("exec", f"redis-{here}", "--", "redis-cli", "-h", host, "ping")
    lab.wait("an answer from the other node", lambda: "PONG" in lab.kubectl("--namespace", namespace, *ping).stdout)


def test_a_name_that_does_not_exist_is_unknown_at_once(lab: Lab, namespace: str) -> None:
    ask = ("exec", f"redis-{lab.nodes()[0]}", "--", "redis-cli", "-h", "no-such-broker", "ping")
    answer = lab.kubectl("--namespace", namespace, *ask, check=False)
    assert "Name or service not known" in answer.stderr


def test_a_cut_node_is_missed_and_comes_back_with_its_pods(disposable_lab: Lab, namespace: str) -> None:
    lab, node = disposable_lab, disposable_lab.nodes()[1]
    before = _container_id(lab, namespace, node)
    lab.cut(node)
    try:
        lab.wait(f"{node} not ready", lambda: node not in lab.ready_nodes())
    finally:
        lab.heal(node)
    assert _container_id(lab, namespace, node) == before, "the container was to go on while the node was cut off"


def test_a_lost_node_is_missed_and_boots_again(disposable_lab: Lab, namespace: str) -> None:
    lab, node = disposable_lab, disposable_lab.nodes()[1]
    before = _container_id(lab, namespace, node)
    lab.lose(node)
    try:
        lab.wait(f"{node} not ready", lambda: node not in lab.ready_nodes())
    finally:
        lab.heal(node)
    lab.wait("a new container on the node", lambda: _container_id(lab, namespace, node) not in (before, ""))


def _container_id(lab: Lab, namespace: str, node: str) -> str:
    pod = lab.get("--namespace", namespace, "pod", f"redis-{node}")
    return str(pod["status"]["containerStatuses"][0].get("containerID", ""))

"""The Helm chart renders, gives the operator just enough rights, and carries the CRDs as they are generated."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.kube.replicas import condition, eventually, replica
from tests.support.apiserver import BINARIES, CRDS, REPOSITORY, ApiServer

CHART = REPOSITORY / "charts" / "longshore"
HELM = BINARIES / "helm"
POLICY = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"

needs_helm = pytest.mark.skipif(not HELM.exists(), reason="needs .lab-bin/helm: `make lab` builds it where Go is there")


def helm(*args: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    homes = {name: str(folder / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    environment = {**os.environ, **homes, "KUBECONFIG": os.devnull}
    done = subprocess.run([HELM, *args], capture_output=True, text=True, env=environment, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def rendered(folder: Path, *options: str, namespace: str = "ops") -> list[dict[str, Any]]:
    text = helm("template", "demo", str(CHART), "-n", namespace, "--api-versions", POLICY, *options, folder=folder)
    return [document for document in yaml.safe_load_all(text.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def test_the_chart_carries_the_crds_as_they_are() -> None:
    generated = {path.name: path.read_text() for path in CRDS.glob("*.yaml")}
    assert {path.name: path.read_text() for path in (CHART / "crds").glob("*.yaml")} == generated
    assert generated


@needs_helm
def test_lint_is_strict(tmp_path: Path) -> None:
    helm("lint", "--strict", str(CHART), folder=tmp_path)


@needs_helm
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("replicas=0", "replicas"),
        ("brokers.default.url=redis://user:secret@host/0", "brokers"),
        ("brokers.default.secret.name=", "brokers"),
        ("logLevel=loud", "logLevel"),
        ("typo=1", "typo"),
        ("podDisruptionBudget.minAvailable=1", "minAvailable"),
        ("watchNamespaces={Not_A_Name}", "watchNamespaces"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, option: str, words: str) -> None:
    done = helm("template", "demo", str(CHART), "--set", option, folder=tmp_path, check=False)
    assert done.returncode != 0
    assert words in done.stderr


@needs_helm
def test_the_operator_runs_restricted_twice_and_with_probes(tmp_path: Path) -> None:
    documents = rendered(tmp_path)
    (deployment,) = of_kind(documents, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    (budget,) = of_kind(documents, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]


@needs_helm
def test_with_namespaces_nothing_of_the_cluster_is_granted(tmp_path: Path) -> None:
    documents = rendered(tmp_path, "--set", "watchNamespaces={a,b}", "--set", "rbac.aggregate=false")
    assert of_kind(documents, "ClusterRole") == []
    assert of_kind(documents, "ClusterRoleBinding") == []
    roles = {role["metadata"]["namespace"] for role in of_kind(documents, "Role")}
    assert roles == {"a", "b", "ops"}
    arguments = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--namespace=a", "--namespace=b"} <= set(arguments)


@needs_helm
@pytest.mark.parametrize("options", [(), ("--set", "watchNamespaces={a}")])
def test_no_right_is_a_wildcard(tmp_path: Path, options: tuple[str, ...]) -> None:
    documents = rendered(tmp_path, "--set", "rbac.aggregate=false", *options)
    rules = [rule for kind in ("ClusterRole", "Role") for role in of_kind(documents, kind) for rule in role["rules"]]
    words = {word for rule in rules for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert "*" not in words
    assert not words & {"delete", "deletecollection", "escalate", "bind", "impersonate"}
    (secrets,) = [rule for rule in rules if "secrets" in rule["resources"]]
    assert secrets["verbs"] == ["get"]


@needs_helm
def test_extra_objects_and_every_option_render(tmp_path: Path) -> None:
    values = {
        "brokers": {"default": {"secret": {"name": "broker", "key": "url"}, "allowedNamespaces": ["shop"]}},
        "metrics": {"service": {"enabled": True}, "podMonitor": {"enabled": True}},
        "commonLabels": {"team": "shop"},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\n",
        ],
    }
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    documents = rendered(tmp_path, "-f", str(file))
    names = {one["metadata"]["name"] for one in of_kind(documents, "ConfigMap")}
    assert names == {"demo-longshore-brokers", "demo-extra", "text"}
    assert of_kind(documents, "PodMonitor")
    assert all(one["metadata"]["labels"]["team"] == "shop" for one in of_kind(documents, "Deployment"))


@pytest.fixture
def account(api_server: ApiServer, namespace: str, tmp_path: Path) -> Path:
    """Install the chart's rights for one namespace; return a kubeconfig of the operator's account."""
    if not HELM.exists():
        pytest.skip("needs .lab-bin/helm: `make lab` builds it where Go is there")
    options = ("--set", f"watchNamespaces={{{namespace}}}", "--set", "fullnameOverride=longshore-operator")
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    documents = [one for one in rendered(tmp_path, *options, namespace=namespace) if one["kind"] in kinds]
    api_server.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(one) for one in documents))
    token = api_server.kubectl("create", "token", "longshore-operator", "-n", namespace).stdout.strip()
    config = json.loads(api_server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "account.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_the_rights_of_the_chart_are_enough(
    api_server: ApiServer, namespace: str, tmp_path: Path, account: Path
) -> None:
    documents = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broker"},
         "stringData": {"url": f"sqlite:///{tmp_path}/tasks.db"}},
        {"apiVersion": "longshore.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "orders"},
         "spec": {"broker": {"urlFrom": {"secretKeyRef": {"name": "broker"}}}, "deletionPolicy": "Delete"}},
        {"apiVersion": "longshore.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "shop"},
         "spec": {"app": "shop:app", "queues": [{"name": "orders"}], "image": "shop:1"}},
        {"apiVersion": "longshore.dev/v1alpha1", "kind": "CronSchedule", "metadata": {"name": "report"},
         "spec": {"everySeconds": 1, "task": "shop.report", "queue": "orders"}},
    ]  # fmt: skip
    with replica(api_server, namespace, tmp_path, kubeconfig=account) as operator:
        api_server.apply(*documents, namespace=namespace)

        def works() -> bool:
            pool = api_server.get("workerpool", "shop", namespace)
            schedule = api_server.get("cronschedule", "report", namespace)
            return condition(pool, "Ready").get("reason") == "Progressing" and "lastTaskId" in schedule["status"]

        eventually(works, "the operator lacks a right", operator)
        api_server.kubectl("scale", "deployment/shop", "--replicas=4", "-n", namespace)
        eventually(
            lambda: api_server.get("deployment", "shop", namespace)["spec"]["replicas"] == 1,
            "the hand edit stays",
            operator,
        )
        eventually(
            lambda: "Created" in api_server.kubectl("get", "events", "-n", namespace).stdout, "no Event", operator
        )
        api_server.kubectl("delete", "taskqueue", "orders", "-n", namespace, "--wait=true", "--timeout=20s")
        assert "forbidden" not in operator.text().lower()
        assert operator.end() == 0


def test_of_a_pod_the_operator_may_change_one_annotation(api_server: ApiServer, namespace: str, account: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"longshore.dev/worker-pool": "shop"}, "annotations": {"a": "1"}},
        "spec": {"containers": [{"name": "worker", "image": "shop:1"}]},
    }
    api_server.apply(pod, namespace=namespace)
    user = f"--as=system:serviceaccount:{namespace}:longshore-operator"
    look = ("--role=look", f"--serviceaccount={namespace}:longshore-operator")  # kubectl reads before it patches
    api_server.kubectl("create", "role", "look", "--verb=get", "--resource=pods", "-n", namespace)
    api_server.kubectl("create", "rolebinding", "look", *look, "-n", namespace)
    numbers = itertools.count()

    def patch(change: dict[str, Any]) -> str:
        done = api_server.kubectl(
            "patch", "pod", "p", "-n", namespace, "--type=merge", "-p", json.dumps(change), user, check=False
        )
        return done.stderr

    def acts() -> bool:
        return "may change no annotation" in patch({"metadata": {"annotations": {"a": str(next(numbers))}}})

    eventually(acts, "the policy does not act")
    assert "may not change the labels" in patch({"metadata": {"labels": {"x": "y"}}})
    assert "may not change the finalizers" in patch({"metadata": {"finalizers": ["x.example/y"]}})
    assert "may not change the spec" in patch({"spec": {"containers": [{"name": "worker", "image": "evil:1"}]}})
    cost = "controller.kubernetes.io/pod-deletion-cost"
    assert patch({"metadata": {"annotations": {cost: "-100"}}}) == ""
    assert patch({"metadata": {"annotations": {cost: None}}}) == ""

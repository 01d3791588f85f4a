"""The CRDs on a real API server: sound, with the defaults of the models, and kubectl shows what it should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longshore_operator.api import API_VERSION, InvalidManifest, parse
from tests.support.apiserver import ApiServer
from tests.support.manifests import good_manifests, load

NOW = "2026-11-21T12:00:00Z"
POOL = {"app": "shop.tasks:app", "queues": [{"name": "orders"}]}


def manifest(kind: str, spec: dict[str, Any], name: str = "shop") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def condition(status: str, reason: str) -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": NOW}


@pytest.mark.parametrize("plural", ["taskqueues", "workerpools", "cronschedules"])
def test_the_crd_is_established_and_structural(api_server: ApiServer, plural: str) -> None:
    conditions = {
        c["type"]: c["status"] for c in api_server.get("crd", f"{plural}.longshore.dev")["status"]["conditions"]
    }

    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_kubectl_explains_a_field(api_server: ApiServer) -> None:
    explained = api_server.kubectl("explain", "wp.spec.drainTimeoutSeconds").stdout

    assert "terminationGracePeriodSeconds" in explained


@pytest.mark.parametrize("path", good_manifests(), ids=lambda path: path.stem)
def test_a_good_manifest_means_the_same_here_and_there(path: Path, api_server: ApiServer, namespace: str) -> None:
    documents = load(path)
    api_server.apply(*documents, namespace=namespace)

    for document in documents:
        stored = api_server.get(document["kind"], document["metadata"]["name"], namespace)
        assert parse(stored).spec == parse(document).spec
        for field, value in document.get("spec", {}).items():
            assert stored["spec"][field] == value or isinstance(value, dict), "nothing is pruned, nothing overridden"


def test_defaults_are_seen_in_the_object(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(manifest("WorkerPool", {**POOL, "autoscaling": {"maxReplicas": 3}}), namespace=namespace)

    spec = api_server.get("wp", "shop", namespace)["spec"]

    assert (spec["replicas"], spec["execution"], spec["drainTimeoutSeconds"]) == (1, "Processes", 600)
    assert spec["autoscaling"]["minReplicas"] == 0
    assert "target" not in spec["autoscaling"], "the default of a union stays out of the object"


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_another_alternative_of_a_union_can_be_applied(api_server: ApiServer, namespace: str, how: list[str]) -> None:
    def apply(spec: dict[str, Any]) -> None:
        text = json.dumps(manifest("TaskQueue", spec))
        api_server.kubectl("apply", *how, "-n", namespace, "-f", "-", stdin=text)

    for broker in (None, {"url": "redis://redis:6379/0"}, {"name": "big"}, None):
        apply({"broker": broker} if broker else {})
        assert api_server.get("tq", "shop", namespace)["spec"].get("broker") == broker


def test_columns_are_useful_by_themselves(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(
        manifest("TaskQueue", {}, "orders"),
        manifest("WorkerPool", {**POOL, "autoscaling": {"maxReplicas": 20}}),
        manifest("CronSchedule", {"cron": "0 2 * * *", "task": "shop.report", "queue": "orders"}, "report"),
        namespace=namespace,
    )
    queue = {"ready": 12, "leased": 4, "delayed": 3, "dead": 1, "oldestAgeSeconds": 7}
    pool = {"replicas": 3, "readyReplicas": 2, "desiredReplicas": 3, "busySlots": 8, "backlog": 16}
    decision = {"reason": "BacklogGrew", "message": "", "time": NOW}
    schedule = {"schedule": "0 2 * * *", "lastTickTime": NOW, "nextTickTime": "2999-01-01T02:00:00Z"}
    ready = [condition("True", "Ok")]
    api_server.patch_status("tq", "orders", {**queue, "conditions": ready}, namespace)
    api_server.patch_status("wp", "shop", {**pool, "lastDecision": decision, "conditions": ready}, namespace)
    api_server.patch_status("csch", "report", {**schedule, "conditions": ready}, namespace)

    queues, pools, schedules = tables(api_server.kubectl("get", "tq,wp,csch", "-n", namespace).stdout)

    assert queues[0] == words("NAME READY REASON BACKLOG LEASED DELAYED DEAD OLDEST(S) AGE")
    assert queues[1][:-1] == words("taskqueue.longshore.dev/orders True Ok 12 4 3 1 7")
    assert pools[0] == words("NAME READY REASON PODS DESIRED BUSY BACKLOG MIN MAX WHY AGE")
    assert pools[1][:-1] == words("workerpool.longshore.dev/shop True Ok 2 3 8 16 0 20 BacklogGrew")
    assert schedules[0] == words("NAME SCHEDULE ZONE SUSPEND LAST NEXT READY REASON AGE")
    cells = schedules[1]
    assert cells[:8] == words("cronschedule.longshore.dev/report 0 2 * * * UTC false")
    assert cells[9:-1] == words("2999-01-01T02:00:00Z True Ok")
    assert "<invalid>" not in cells


def words(line: str) -> list[str]:
    return line.split()


def tables(text: str) -> list[list[list[str]]]:
    return [[line.split() for line in table.splitlines()] for table in text.strip().split("\n\n")]


def test_the_category_lists_all_three_kinds(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(*load(good_manifests()[-1].with_name("smallest.yaml")), namespace=namespace)

    listed = api_server.kubectl("get", "longshore", "-n", namespace, "-o", "name").stdout

    assert [line.partition(".")[0] for line in listed.split()] == ["cronschedule", "taskqueue", "workerpool"]


def test_a_pool_that_is_not_autoscaled_is_scaled_by_hand(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(manifest("WorkerPool", POOL), namespace=namespace)
    selector = "longshore.dev/worker-pool=shop"
    api_server.patch_status("wp", "shop", {"replicas": 1, "selector": selector}, namespace)

    api_server.kubectl("scale", "wp/shop", "--replicas=5", "-n", namespace)

    scale = json.loads(
        api_server.kubectl(
            "get", "--raw", f"/apis/longshore.dev/v1alpha1/namespaces/{namespace}/workerpools/shop/scale"
        ).stdout
    )
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 1, "selector": selector}


def test_scaling_an_autoscaled_pool_by_hand_is_refused(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(manifest("WorkerPool", {**POOL, "autoscaling": {"maxReplicas": 3}}), namespace=namespace)

    done = api_server.kubectl("scale", "wp/shop", "--replicas=5", "-n", namespace, check=False)

    assert done.returncode == 1
    assert "the pool is autoscaled: change autoscaling.minReplicas and autoscaling.maxReplicas" in done.stderr
    assert api_server.get("wp", "shop", namespace)["spec"]["replicas"] == 1


def test_replicas_may_leave_the_manifest_of_an_autoscaled_pool(api_server: ApiServer, namespace: str) -> None:
    autoscaled = {**POOL, "autoscaling": {"maxReplicas": 3}}
    api_server.apply(manifest("WorkerPool", {**POOL, "replicas": 2}), namespace=namespace)
    api_server.apply(manifest("WorkerPool", {**autoscaled, "replicas": 2}), namespace=namespace)

    api_server.apply(manifest("WorkerPool", autoscaled), namespace=namespace)

    assert api_server.get("wp", "shop", namespace)["spec"]["replicas"] == 1


def test_kubectl_waits_for_ready(api_server: ApiServer, namespace: str) -> None:
    api_server.apply(manifest("TaskQueue", {}), namespace=namespace)
    api_server.patch_status("tq", "shop", {"conditions": [condition("True", "Ok")]}, namespace)

    waited = api_server.kubectl("wait", "tq/shop", "--for=condition=Ready", "--timeout=5s", "-n", namespace)

    assert "condition met" in waited.stdout


def test_a_template_keeps_fields_that_nobody_here_has_heard_of(api_server: ApiServer, namespace: str) -> None:
    container = {"name": "worker", "fieldOfTheFuture": {"deep": [1, 2]}}
    template = {"metadata": {"annotations": {"a": "b"}}, "spec": {"containers": [container], "hostUsers": False}}
    api_server.apply(manifest("WorkerPool", {**POOL, "template": template}), namespace=namespace)

    assert api_server.get("wp", "shop", namespace)["spec"]["template"] == template


STRINGS = {
    "queueName": ["orders", "a b", "a\tb", "ü", "a*", "#", "amq.x", "xamq.", "{orders}", "a\u2028b", "a\n", "~!", " a"],
    "url": [
        *("redis://h/0", "redis://h:6379/0", "redis://u@h/0", "redis://u:p@h/0", "redis://:p@h/0", "redis://u:p/x@h/0"),
        *("Redis://h", "h:1", "sqlite:///a/b.db", "sqlite:////a:b/c.db", "redis://h/0?password=x", "amqp://u:@h/"),
        *("redis://h/0?a=b&PassWord=x", "redis://h/0?tokens=x", "redis://h/0?x=secret", "redis://h\n"),
        "sentinel://a:1;sentinel://u:p@b:2",
    ],
    "app": [
        *("a:b", "a", "a.b:c", "a.b:c.d", "a:b:c", "1a:b", "a-b:c", "a:b()", "a:b\n", "ä:b", "_a._b:_c", "a.:b", ":b"),
        "a:",
    ],
    "cron": [
        *("0 2 * * *", "0 2 * *", "@daily", "*/5 * * * 1-5", " 0 2 * * *", "0  2\t* * *", "0 2 * * *\n"),
        "CRON_TZ=UTC 0 2 * * *",
    ],
    "task": ["a", "a.b", "a b", "a\n", "ä", "a:b", "\u00a0a"],
    "broker": ["default", "a.b", "A", "-a", "a-", "a..b", "a\n", "9", "a_b"],
}


def spec_with(field: str, value: str) -> dict[str, Any]:
    if field in ("cron", "task"):
        schedule = {"cron": "0 2 * * *", "task": "a", "queue": "q", field: value}
        return manifest("CronSchedule", schedule)
    if field == "app":
        return manifest("WorkerPool", {**POOL, "app": value})
    brokers = {
        "url": {"broker": {"url": value}},
        "broker": {"broker": {"name": value}},
        "queueName": {"queueName": value},
    }
    return manifest("TaskQueue", brokers[field])


@pytest.mark.parametrize("field", STRINGS)
def test_parser_and_api_server_judge_alike(field: str, api_server: ApiServer) -> None:
    documents = [spec_with(field, value) for value in STRINGS[field]]
    for index, document in enumerate(documents):
        document["metadata"] = {"name": f"n{index}"}
    text = "\n---\n".join(json.dumps(document) for document in documents)

    said = api_server.kubectl("create", "--dry-run=server", "-o", "name", "-f", "-", stdin=text, check=False).stdout

    accepted_there = {name.rpartition("/")[2] for name in said.split()}
    accepted_here = {document["metadata"]["name"] for document in documents if accepts(document)}
    assert {STRINGS[field][int(name[1:])] for name in accepted_here} == {
        STRINGS[field][int(name[1:])] for name in accepted_there
    }
    assert accepted_here
    assert len(accepted_here) < len(documents)


def accepts(document: dict[str, Any]) -> bool:
    try:
        parse(document)
    except InvalidManifest:
        return False
    return True

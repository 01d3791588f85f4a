"""The operator on a real API server: three kinds applied, a Deployment that is kept, statuses that say what to do.

No controller and no node is there: Deployments never get pods, which is the lab's business (`tests/e2e`).
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing
from longshore.core.protocol import build_message
from longshore.core.ticks import tick_id
from tests.operator.kube.replicas import Replica, condition, eventually, replica
from tests.support.apiserver import ApiServer

API = "longshore.dev/v1alpha1"


def secret(name: str, url: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"url": url}}


def queue(name: str = "orders", **spec: Any) -> dict[str, Any]:
    spec.setdefault("broker", {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}})
    return {"apiVersion": API, "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec}


def pool(name: str = "shop", **spec: Any) -> dict[str, Any]:
    spec = {"app": "shop.tasks:app", "queues": [{"name": "orders"}], "image": "shop:1", "concurrency": 4, **spec}
    return {"apiVersion": API, "kind": "WorkerPool", "metadata": {"name": name}, "spec": spec}


def schedule(name: str = "report", **spec: Any) -> dict[str, Any]:
    spec = {"task": "shop.tasks.report", "queue": "orders", **spec}
    if "cron" not in spec:
        spec.setdefault("everySeconds", 86_400)
    return {"apiVersion": API, "kind": "CronSchedule", "metadata": {"name": name}, "spec": spec}


AUTOSCALED = {
    "minReplicas": 0,
    "maxReplicas": 20,
    "target": {"type": "Backlog", "backlogPerReplica": 2},
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


class Bench:
    """One namespace, its broker file, and the operator that serves it."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path, operator: Replica) -> None:
        self.server, self.namespace, self.folder, self.operator = server, namespace, folder, operator
        self.url = f"sqlite:///{folder}/tasks.db"

    def apply(self, *documents: dict[str, Any]) -> None:
        self.server.apply(*documents, namespace=self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.server.get(kind, name, self.namespace)

    def kubectl(self, *args: str) -> str:
        return self.server.kubectl("-n", self.namespace, *args).stdout

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        text = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def until(self, kind: str, name: str, type_: str, reason: str, within: float = 20.0) -> dict[str, Any]:
        """Wait for a condition's reason and return the condition."""
        return eventually(  # type: ignore[no-any-return]
            lambda: (one := condition(self.get(kind, name), type_)).get("reason") == reason and one,
            f"{kind}/{name} has no {type_}={reason}",
            self.operator,
            within=within,
        )

    def deployment(self, name: str = "shop") -> dict[str, Any]:
        found = eventually(lambda: self.find("deployment", name), f"no Deployment {name}", self.operator)
        return dict(found)

    def replicas(self, count: int, name: str = "shop", within: float = 20.0) -> None:
        eventually(
            lambda: (self.find("deployment", name) or {"spec": {}})["spec"].get("replicas") == count,
            f"Deployment {name} does not get {count} replicas",
            self.operator,
            within=within,
        )


@pytest.fixture
def bench(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    with replica(api_server, namespace, tmp_path) as operator:
        bench = Bench(api_server, namespace, tmp_path, operator)
        bench.apply(secret("broker", bench.url))
        yield bench


@pytest.fixture(scope="module")
def shared_operator(
    api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, str, Path]]:
    """One operator for many rows: a start takes seconds."""
    name, folder = f"rows-{os.getpid()}", tmp_path_factory.mktemp("rows")
    api_server.kubectl("create", "namespace", name)
    with replica(api_server, name, folder) as operator:
        yield operator, name, folder


@pytest.fixture
def row(api_server: ApiServer, shared_operator: tuple[Replica, str, Path]) -> Iterator[Bench]:
    operator, name, folder = shared_operator
    bench = Bench(api_server, name, folder, operator)
    bench.apply(secret("broker", bench.url))
    yield bench
    bench.kubectl("delete", "taskqueue,workerpool,cronschedule,deployment", "--all", "--wait=true")


def test_the_three_kinds_become_a_deployment_a_queue_and_ticks(bench: Bench) -> None:
    bench.apply(queue(), pool(autoscaling=AUTOSCALED), schedule(everySeconds=1))
    for kind, name in (("taskqueue", "orders"), ("cronschedule", "report")):
        bench.kubectl("wait", "--for=condition=Ready", f"{kind}/{name}", "--timeout=20s")
    deployment = bench.deployment()
    owner = deployment["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("WorkerPool", bench.get("workerpool", "shop")["metadata"]["uid"])
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:5] == ["longshore", "worker", "shop.tasks:app", "-Q", "orders"]

    def ticked() -> str | None:
        status = bench.get("cronschedule", "report").get("status", {})
        task: str | None = status.get("lastTaskId")
        return task

    eventually(ticked, "the schedule does not tick", bench.operator)
    messages = open_broker(bench.url).peek("orders", 10)
    uid = bench.get("cronschedule", "report")["metadata"]["uid"]
    first = messages[0].headers
    assert first["task"] == "shop.tasks.report"
    assert first["longshore-tick"]["schedule"] == f"{bench.namespace}/report"
    assert {message.id for message in messages} == {tick_id(uid, _time(one.headers)) for one in messages}
    eventually(lambda: bench.deployment()["spec"]["replicas"] >= 1, "the pool does not leave zero", bench.operator)
    assert bench.operator.rss_megabytes() <= 100


def _time(headers: dict[str, Any]) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(headers["longshore-tick"]["time"])


def test_a_pool_leaves_zero_within_seconds_of_the_first_task(bench: Bench) -> None:
    bench.apply(queue(), pool(autoscaling=AUTOSCALED))
    bench.until("workerpool", "shop", "Ready", "ScaledToZero")
    broker = open_broker(bench.url)
    broker.send([Outgoing("orders", build_message("shop.tasks.buy", [], {}, task_id=str(n))) for n in range(5)])
    bench.replicas(3, within=4.0)
    assert bench.until("workerpool", "shop", "Ready", "Progressing")["message"] == "0 of 3 pods are ready"
    broker.purge("orders")
    bench.replicas(1)


def test_a_deleted_deployment_comes_back_and_a_hand_edited_one_is_repaired(bench: Bench) -> None:
    bench.apply(queue(), pool(replicas=2))
    before = bench.deployment()["metadata"]["uid"]
    bench.kubectl("annotate", "deployment", "shop", "example.com/somebody=else")
    bench.kubectl("delete", "deployment", "shop", "--wait=true")
    eventually(lambda: bench.deployment()["metadata"]["uid"] != before, "it does not come back", bench.operator)

    bench.kubectl("annotate", "deployment", "shop", "example.com/somebody=else")
    bench.kubectl("rollout", "restart", "deployment/shop")
    bench.kubectl("set", "image", "deployment/shop", "worker=evil:2")
    bench.kubectl("scale", "deployment/shop", "--replicas=9")

    def repaired() -> bool:
        spec = bench.deployment()["spec"]
        return spec["template"]["spec"]["containers"][0]["image"] == "shop:1" and spec["replicas"] == 2

    eventually(repaired, "the hand edit stays", bench.operator)
    deployment = bench.deployment()
    assert deployment["metadata"]["annotations"]["example.com/somebody"] == "else"
    assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]


def test_a_removed_field_of_the_template_is_removed_from_the_deployment(row: Bench) -> None:
    extra = {"spec": {"containers": [{"name": "worker", "env": [{"name": "COLOR", "value": "red"}]}]}}
    row.apply(queue(), pool(template=extra))
    container = row.deployment()["spec"]["template"]["spec"]["containers"][0]
    assert any(one["name"] == "COLOR" for one in container["env"])
    row.apply(pool(template={}))

    def gone() -> bool:
        found = row.deployment()["spec"]["template"]["spec"]["containers"][0]["env"]
        return all(one["name"] != "COLOR" for one in found)

    eventually(gone, "the removed variable stays", row.operator)


def test_idle_means_no_write_but_the_lease(bench: Bench) -> None:
    resources = {"requests": {"cpu": 0.5, "memory": "1024Mi"}}  # stored as 500m and 1Gi: no reason to write again
    template = {"spec": {"containers": [{"name": "worker", "resources": resources}]}}
    bench.apply(queue(), pool(autoscaling=AUTOSCALED, template=template), pool("hand", replicas=1), schedule())
    bench.until("workerpool", "shop", "Ready", "ScaledToZero")
    bench.until("workerpool", "hand", "Ready", "Progressing")
    bench.until("cronschedule", "report", "Ready", "Ok")
    lease = ("lease", "longshore-operator")

    def versions() -> dict[str, str]:
        items = [*(("deployment", name) for name in ("shop", "hand")), *(("workerpool", n) for n in ("shop", "hand"))]
        items += [("taskqueue", "orders"), ("cronschedule", "report")]
        return {f"{kind}/{name}": bench.get(kind, name)["metadata"]["resourceVersion"] for kind, name in items}

    def settled() -> bool:
        first = versions()
        return _wait_for_renewals(bench, lease, 2) and versions() == first

    eventually(settled, "the objects do not settle", bench.operator, within=60.0)
    before, first, renewals = versions(), bench.operator.writes(), _renewals(bench, lease)
    bench.kubectl("annotate", "deployment", "hand", "example.com/nudge=1")  # an event, not a reason to write
    _wait_for_renewals(bench, lease, 5)
    sent, renewed = bench.operator.writes() - first, _renewals(bench, lease) - renewals
    after = versions()
    assert {key for key in after if after[key] != before[key]} == {"deployment/hand"}
    assert sent <= renewed + 1


def _renewals(bench: Bench, lease: tuple[str, str]) -> int:
    """Count the Lease's renewals by the operator's own request counter: only PUT of the Lease happens while idle."""
    return int(bench.operator.figure("longshore_operator_lease_renewals_total"))


def _wait_for_renewals(bench: Bench, lease: tuple[str, str], count: int) -> bool:
    first = _renewals(bench, lease)
    eventually(lambda: _renewals(bench, lease) >= first + count, "the Lease is not renewed", bench.operator)
    return True


def test_a_missing_secret_says_how_to_make_it_and_is_noticed_when_it_comes(bench: Bench) -> None:
    missing = {"urlFrom": {"secretKeyRef": {"name": "later", "key": "url"}}}
    bench.apply(queue(broker=missing), pool())
    said = bench.until("taskqueue", "orders", "Ready", "SecretMissing")
    assert f"kubectl create secret generic later -n {bench.namespace}" in said["message"]
    assert bench.until("workerpool", "shop", "Stalled", "SecretMissing")["status"] == "True"
    assert bench.find("deployment", "shop") is None
    bench.apply(secret("later", bench.url))
    bench.until("taskqueue", "orders", "Ready", "Ok", within=60.0)
    assert bench.deployment()


def test_a_foreign_deployment_is_left_alone(row: Bench) -> None:
    labels = {"app": "theirs"}
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}},
        },
    }
    row.apply(foreign)
    before = row.deployment()
    row.apply(queue(), pool())
    said = row.until("workerpool", "shop", "Accepted", "NameConflict")
    assert "delete it or rename the pool" in said["message"]
    assert row.deployment() == before
    row.kubectl("delete", "deployment", "shop")
    row.until("workerpool", "shop", "Accepted", "Ok", within=60.0)
    assert row.deployment()["metadata"]["ownerReferences"]


@pytest.mark.parametrize(
    ("documents", "kind", "name", "reason", "words"),
    [
        ([pool()], "workerpool", "shop", "QueueMissing", "no TaskQueue orders"),
        ([schedule()], "cronschedule", "report", "QueueMissing", "no TaskQueue orders"),
        ([queue(), schedule(cron="61 * * * *")], "cronschedule", "report", "BadCron", "minute"),
        ([queue(), schedule(timeZone="Mars/Base")], "cronschedule", "report", "UnknownTimeZone", "Mars/Base"),
        ([queue(), schedule(concurrencyPolicy="Forbid")], "cronschedule", "report", "StoreNeeded", "Allow"),
        ([queue(broker={"name": "nobody"})], "taskqueue", "orders", "BrokerUnknown", "nobody"),
        ([queue(broker={"url": "kafka://x:1/"})], "taskqueue", "orders", "BrokerUnknown", "unknown scheme"),
        ([queue(broker={"url": "redis://127.0.0.1:1/0"})], "taskqueue", "orders", "BrokerUnavailable", "127.0.0.1"),
        ([queue(), queue("twin", queueName="orders")], "taskqueue", "twin", "QueueClaimedTwice", "orders"),
        (
            [queue(), queue("other", broker={"url": "redis://127.0.0.1:1/0"}),
             pool(queues=[{"name": "orders"}, {"name": "other"}])],
            "workerpool", "shop", "MixedBrokers", "two brokers",
        ),
        ([queue(), pool(image=None)], "workerpool", "shop", "NoImage", "spec.image"),
        (
            [queue(), pool(template={"spec": {"containers": [{"name": "worker", "imagePullPolcy": "Never"}]}})],
            "workerpool", "shop", "TemplateRefused", "imagePullPolcy",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_the_condition(
    row: Bench, documents: list[dict[str, Any]], kind: str, name: str, reason: str, words: str
) -> None:
    for document in documents:
        document["spec"] = {key: value for key, value in document["spec"].items() if value is not None}
        row.apply(document)
    said = row.until(kind, name, "Ready", reason)
    assert (said["status"], words in said["message"]) == ("False", True), said


def test_a_rotated_secret_rolls_the_pool_and_its_value_is_nowhere(bench: Bench) -> None:
    bench.apply(queue(), pool())
    key = "longshore.dev/secrets-checksum"
    before = bench.deployment()["spec"]["template"]["metadata"]["annotations"][key]
    other = f"sqlite:///{bench.folder}/hunter2.db"
    bench.apply(secret("broker", other))

    def rolled() -> bool:
        return bool(bench.deployment()["spec"]["template"]["metadata"]["annotations"][key] != before)

    eventually(rolled, "the pool does not roll", bench.operator, within=60.0)
    assert "hunter2" not in json.dumps(bench.deployment())
    assert "hunter2" not in bench.operator.text()


def test_the_policy_delete_deletes_the_queue_on_the_broker_and_retain_does_not(row: Bench) -> None:
    row.apply(queue(deletionPolicy="Delete"), queue("kept"))
    for name in ("orders", "kept"):
        row.until("taskqueue", name, "Ready", "Ok")
    broker = open_broker(row.url)
    broker.send([Outgoing(name, build_message("t", [], {}, task_id=name)) for name in ("orders", "kept")])
    assert row.get("taskqueue", "orders")["metadata"]["finalizers"] == ["longshore.dev/queue"]
    assert "finalizers" not in row.get("taskqueue", "kept")["metadata"]
    row.kubectl("delete", "taskqueue", "orders", "kept", "--wait=true", "--timeout=20s")
    depths = broker.depths(["orders", "kept"])
    assert depths["kept"] is not None
    assert depths["kept"].ready == 1
    assert depths["orders"] is None or depths["orders"].ready == 0


def test_kopf_writes_nothing_into_our_objects(row: Bench) -> None:
    row.apply(queue(), pool())
    row.until("workerpool", "shop", "Ready", "Progressing")
    for kind, name in (("taskqueue", "orders"), ("workerpool", "shop"), ("deployment", "shop")):
        meta = row.get(kind, name)["metadata"]
        assert "finalizers" not in meta
        assert not [key for key in meta.get("annotations", {}) if "kopf" in key]
    assert "kopf" not in row.kubectl("get", "events", "-o", "json")


def test_describe_shows_events(row: Bench) -> None:
    row.apply(pool())
    row.until("workerpool", "shop", "Ready", "QueueMissing")
    eventually(
        lambda: "QueueMissing" in row.kubectl("describe", "workerpool", "shop").partition("Events:")[2],
        "describe shows no Event",
        row.operator,
    )


def test_a_killed_leader_is_followed_and_one_that_ends_hands_over_at_once(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    with replica(api_server, namespace, tmp_path) as first:
        eventually(first.leads, "nobody leads", first)
        with replica(api_server, namespace, tmp_path) as second, replica(api_server, namespace, tmp_path) as third:
            assert not second.leads()
            bench = Bench(api_server, namespace, tmp_path, second)
            bench.apply(secret("broker", bench.url), queue(), pool(replicas=1))
            assert bench.deployment()
            first.end(signal.SIGKILL)
            bench.kubectl("delete", "deployment", "shop")
            bench.deployment()  # only a new leader can bring it back
            leader = second if second.leads() else third
            other = third if leader is second else second
            assert leader.end() == 0
            eventually(other.leads, "the Lease was not handed over", other, within=5.0)


def test_a_leader_that_cannot_renew_ends(api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    with replica(api_server, namespace, tmp_path) as one:
        eventually(one.leads, "nobody leads", one)
        body = json.dumps({"spec": {"holderIdentity": "somebody-else", "renewTime": "2026-01-01T00:00:00.000000Z"}})
        api_server.kubectl("-n", namespace, "patch", "lease", "longshore-operator", "--type=merge", "-p", body)
        assert one.process.wait(timeout=20) == 1
        assert "Traceback" not in one.text()
        assert "Lease" in one.text()

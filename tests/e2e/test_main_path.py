"""From `kubectl apply` to finished tasks, on two nodes with real containers."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.e2e.stage import SYSTEM, Stage, shop, stage
from tests.support.manifests import bad_manifests

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def ready(stage: Stage, **pool) -> None:
    """Apply the shop and wait until all of it is Ready."""
    stage.apply(*shop(**pool))
    for resource in ("tq/orders", "wp/shop", "csch/report"):
        stage.kubectl("wait", "--for=condition=Ready", resource, "--timeout=60s", timeout=90)


def test_five_hundred_tasks_from_zero_to_zero(shop_stage):
    stage = shop_stage
    ready(stage)
    assert stage.replicas() == 0
    assert stage.condition("wp", "shop", "Ready")["reason"] == "ScaledToZero"
    ids = stage.send([("shop.tasks.charge", [order, 100]) for order in range(500)])
    assert len(set(ids)) == 500
    peak = stage.lab.wait("the pool leaves zero", stage.replicas, 30)
    assert peak >= 1
    stage.lab.wait("500 tasks done", lambda: stage.all_done(ids), 120)
    results = stage.results(ids)
    assert {status for status, _ in results} == {"SUCCESS"}
    assert sorted(value["order"] for _, value in results) == list(range(500))
    stage.lab.wait("back at zero", lambda: stage.replicas() == 0, 60)
    stage.lab.wait("no pods left", lambda: not stage.pods(), 60)


def test_what_kubectl_shows(shop_stage):
    stage = shop_stage
    ready(stage, autoscaling=None, replicas=1)
    stage.lab.wait("a worker that reports", lambda: stage.get("wp", "shop")["status"].get("taskCount"), 60)
    listed = stage.kubectl("get", "tq,wp,csch").stdout
    for word in ("READY", "BACKLOG", "BUSY", "SCHEDULE", "*/5 * * * *", "taskqueue", "workerpool", "cronschedule"):
        assert word in listed, listed
    assert stage.kubectl("get", "longshore").stdout.count("longshore.dev") == 3
    described = stage.kubectl("describe", "wp", "shop").stdout
    assert "Events:" in described
    assert "shop.tasks.charge" in described
    assert stage.get("wp", "shop")["status"]["readyReplicas"] == 1


def test_a_failed_task_is_counted_among_the_dead(shop_stage):
    stage = shop_stage
    ready(stage)
    [declined] = stage.send([("shop.tasks.charge", [1, -5])])
    stage.lab.wait("it failed", lambda: stage.all_done([declined]), 60)
    stage.lab.wait("one dead letter", lambda: stage.get("tq", "orders")["status"].get("dead") == 1, 60)


def test_a_schedule_sends_its_ticks(shop_stage):
    stage = shop_stage
    documents = shop()
    documents[2]["spec"] = {"everySeconds": 2, "task": "shop.tasks.report", "queue": "orders"}
    stage.apply(*documents)
    stage.lab.wait("a tick", lambda: stage.get("csch", "report")["status"].get("lastTaskId"), 60)
    last = stage.get("csch", "report")["status"]["lastTaskId"]
    stage.lab.wait("the tick's task ran", lambda: stage.all_done([last]), 60)
    assert stage.results([last])[0] == ("SUCCESS", "orders: all is well")


def test_a_deleted_deployment_comes_back_and_a_hand_edited_one_is_repaired(shop_stage):
    stage = shop_stage
    ready(stage, autoscaling=None, replicas=1)
    first = stage.get("deployment", "shop")["metadata"]["uid"]
    stage.kubectl("delete", "deployment", "shop")
    stage.lab.wait("a new Deployment", lambda: (stage.find("deployment", "shop") or {"metadata": {"uid": first}})
                   ["metadata"]["uid"] != first, 30)  # fmt: skip
    stage.kubectl("annotate", "deployment", "shop", "team=payments")
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": ["sleep", "1d"]}]
    stage.kubectl("patch", "deployment", "shop", "--type=json", "-p", json.dumps(patch))

    def command() -> list[str]:
        return stage.get("deployment", "shop")["spec"]["template"]["spec"]["containers"][0]["command"]

    stage.lab.wait("the command is ours again", lambda: command()[:2] == ["longshore", "worker"], 30)
    assert stage.get("deployment", "shop")["metadata"]["annotations"]["team"] == "payments", "not our field"


def test_replicas_raised_by_hand_are_lowered_by_draining(shop_stage):
    stage = shop_stage
    ready(stage, autoscaling=None, replicas=1)
    stage.kubectl("scale", "deployment", "shop", "--replicas=3")
    ids = stage.send([("shop.tasks.pack", [order, 2.0]) for order in range(6)])
    stage.lab.wait("all packed", lambda: stage.all_done(ids), 90)
    stage.lab.wait("one replica again", lambda: stage.replicas() == 1, 60)
    results = stage.results(ids)
    assert {status for status, _ in results} == {"SUCCESS"}
    assert {value["deliveries"] for _, value in results} == {0}, "no running task was killed"


def test_rollout_restart_works_and_loses_nothing(shop_stage):
    stage = shop_stage
    ready(stage, autoscaling=None, replicas=1)
    before = {pod["metadata"]["uid"] for pod in stage.pods()}
    ids = stage.send([("shop.tasks.pack", [order, 0.5]) for order in range(20)])
    stage.kubectl("rollout", "restart", "deployment/shop")
    stage.kubectl("rollout", "status", "deployment/shop", "--timeout=90s", timeout=100)
    stage.lab.wait("all packed", lambda: stage.all_done(ids), 90)
    annotations = stage.get("deployment", "shop")["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations, "the operator leaves what it does not own"
    assert {value["deliveries"] for _, value in stage.results(ids)} == {0}
    assert not before & {pod["metadata"]["uid"] for pod in stage.pods() if not pod["metadata"].get("deletionTimestamp")}


def test_deleting_the_pool_deletes_its_children(shop_stage):
    stage = shop_stage
    ready(stage, autoscaling=None, replicas=1)
    stage.kubectl("delete", "wp", "shop")
    stage.lab.wait("no Deployment", lambda: stage.find("deployment", "shop") is None, 30)
    stage.lab.wait("no pods", lambda: not stage.pods(), 60)


def test_bad_manifests_are_refused_in_words(operator):
    refused = 0
    for manifest in bad_manifests():
        done = operator.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(manifest.documents),
                                check=False)  # fmt: skip
        if len(manifest.documents) > 1:
            continue  # the second one changes what the first made: without a dry run, in tests/operator/api
        assert done.returncode != 0, manifest
        assert manifest.expect in done.stderr, (manifest, done.stderr)
        refused += 1
    assert refused >= 20


def test_another_operator_takes_over_when_the_leader_is_killed(shop_stage):
    stage = shop_stage
    lab = stage.lab

    def leader() -> str:
        return lab.get("-n", SYSTEM, "lease", "longshore-operator")["spec"].get("holderIdentity") or ""

    before = lab.wait("a leader", leader)
    pod = next(p["metadata"]["name"] for p in lab.get("-n", SYSTEM, "pods")["items"] if p["metadata"]["name"] in before)
    lab.kubectl("-n", SYSTEM, "delete", "pod", pod, "--grace-period=0", "--force")
    killed = time.monotonic()
    ready(stage)
    assert leader() != before
    assert time.monotonic() - killed < 40
    ids = stage.send([("shop.tasks.charge", [order, 100]) for order in range(20)])
    lab.wait("done under the new leader", lambda: stage.all_done(ids), 60)


def test_no_late_acked_task_is_lost_with_its_node(operator, disposable_lab):
    lab = disposable_lab
    home, away = lab.nodes()[:2]
    with stage(lab, node=home) as prepared:
        spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                  "labelSelector": {"matchLabels": {"longshore.dev/worker-pool": "shop"}}}  # fmt: skip
        worker = {"name": "worker", "workingDir": "/app/shop"}
        template = {"spec": {"topologySpreadConstraints": [spread], "containers": [worker]}}
        ready(prepared, autoscaling=None, replicas=2, template=template)
        lab.wait("two workers", lambda: len([p for p in prepared.pods() if _is_ready(p)]) == 2, 90)
        assert {pod["spec"]["nodeName"] for pod in prepared.pods()} == {home, away}
        ids = prepared.send([("shop.tasks.pack", [order, 3.0]) for order in range(8)])
        lab.wait("all four slots busy", lambda: prepared.get("wp", "shop")["status"].get("busySlots") == 4, 30)
        try:
            lab.lose(away)
            lab.wait("all packed", lambda: prepared.all_done(ids), 120)
            results = prepared.results(ids)
        finally:
            lab.heal(away)
    assert {status for status, _ in results} == {"SUCCESS"}
    assert any(value["deliveries"] for _, value in results), "the lost node was running something"


def _is_ready(pod) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def test_uninstalling_keeps_the_resources_of_users(shop_stage):
    """Last, since it takes the operator away; the fixture's own uninstall finds nothing then."""
    stage = shop_stage
    ready(stage)
    stage.lab.helm("uninstall", "longshore", "--namespace", SYSTEM, "--wait", timeout=120)
    for plural in ("taskqueues", "workerpools", "cronschedules"):
        assert stage.lab.find("crd", f"{plural}.longshore.dev")
    assert stage.find("wp", "shop")

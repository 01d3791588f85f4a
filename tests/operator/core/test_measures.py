"""From pods, reports and depths to what decisions read."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.brokers.port import QueueDepth
from longshore_operator.core.autoscaler import held_by_pod, loads_of, policy_of, reports_of
from longshore_operator.core.pod_faults import pods_fault
from longshore_operator.core.pods import PodView, pod_view
from longshore_operator.core.rates import RateMemory, note_reports
from longshore_operator.core.scaling import BacklogTarget, QueueLoad, WaitTarget
from tests.operator.core.objects import NOW, report, task_queue, worker_pool


@pytest.mark.parametrize(
    ("depth", "load"),
    [
        (None, QueueLoad("orders", None, None, None)),
        (QueueDepth(3, 2, 0), QueueLoad("orders", 3, 2, 0)),
        (QueueDepth(3, None, None), QueueLoad("orders", 3, None, None)),
        (QueueDepth(0, 0, 9, next_due_at=NOW + 5), QueueLoad("orders", 0, 0, 1)),
        (QueueDepth(0, 0, 9, next_due_at=NOW + 500), QueueLoad("orders", 0, 0, 0)),
    ],
)
def test_loads(depth: QueueDepth | None, load: QueueLoad) -> None:
    assert loads_of([task_queue()], {"orders": depth}, NOW) == (load,)


def test_a_suspended_queue_is_no_load() -> None:
    assert loads_of([task_queue(suspend=True)], {"orders": QueueDepth(9)}, NOW) == ()


def test_a_policy_is_read_with_its_defaults() -> None:
    wait = policy_of(worker_pool(autoscaling={"maxReplicas": 9}).spec.autoscaling)  # type: ignore[arg-type]
    assert (wait.min_replicas, wait.max_replicas, wait.target) == (0, 9, WaitTarget(10.0))
    assert wait.behavior.scale_down.stabilization_window_seconds == 60
    backlog = {"maxReplicas": 9, "target": {"type": "Backlog", "backlogPerReplica": 50}}
    assert policy_of(worker_pool(autoscaling=backlog).spec.autoscaling).target == BacklogTarget(50)  # type: ignore[arg-type]


def test_claims_are_counted_by_pod() -> None:
    reports = [report("uid-a.1", held=2), report("uid-a.2", held=1), report("uid-b.1", held=0, busy=1)]
    assert held_by_pod(reports) == {"uid-a": 3, "uid-b": 1}
    assert reports_of("shop/web", [report("a"), report("b", pool="shop/other"), report("c", pool=None)]) == (
        report("a"),
    )


def run(*samples: list[Any]) -> float | None:
    memory = RateMemory()
    for sample in samples:
        memory = note_reports(memory, sample)
    return memory.rate


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        ([[report(processed=5, busy=4)]], None),
        ([[report(processed=0, busy=4)], [report(processed=80, busy=4, at=NOW + 10)]], 2.0),
        ([[report()], [report(at=NOW + 10)]], None),
        # Tasks too short to be seen busy: one slot's time counts.
        ([[report()], [report(processed=100, at=NOW + 10)]], 10.0),
        # Two reports of one moment tell nothing.
        ([[report(busy=4)], [report(busy=4, processed=9, at=NOW + 0.1)]], None),
        # A worker that came new tells nothing yet; one that began anew is a new one.
        ([[report("a", busy=1)], [report("b", busy=1, processed=50, at=NOW + 10)]], None),
    ],
)
def test_service_rate(samples: list[list[Any]], rate: float | None) -> None:
    assert run(*samples) == rate


def test_a_long_task_that_does_not_end_lowers_the_rate() -> None:
    fast = [[report(busy=1)], [report(busy=1, processed=100, at=NOW + 10)]]
    stuck = [[report(busy=1, processed=100, at=NOW + 10 + 10 * n)] for n in range(1, 20)]
    quick, slow = run(*fast), run(*fast, *stuck)
    assert quick is not None
    assert slow is not None
    assert slow < quick / 10


POD: dict[str, Any] = {
    "metadata": {
        "namespace": "shop", "name": "web-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"},
        "ownerReferences": [{"uid": "other"}, {"uid": "rs", "controller": True}],
    },
    "spec": {"nodeName": "n1"},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}],
        "containerStatuses": [{"restartCount": 2, "state": {"running": {}},
                               "lastState": {"terminated": {"reason": "OOMKilled"}}}],
    },
}  # fmt: skip


def test_a_pod_is_read() -> None:
    view = pod_view(POD)
    assert (view.owner, view.node, view.ready, view.deletion_cost, view.restarts) == ("rs", "n1", True, -100, 2)
    assert view.ready_since is not None
    assert view.created_at is not None
    assert view.ready_since - view.created_at == 5
    assert view.terminated_reason == "OOMKilled"
    assert not view.terminating


@pytest.mark.parametrize("odd", [{}, {"metadata": {"annotations": {}}}, {"metadata": None, "status": None}])
def test_an_odd_pod_raises_nothing(odd: dict[str, Any]) -> None:
    assert pod_view(odd).ready is False


def pod(**more: Any) -> PodView:
    return PodView("shop", "web-1", "u", **more)


@pytest.mark.parametrize(
    ("deployment", "pods", "reason", "words"),
    [
        ({}, [], None, ""),
        ({}, [pod(ready=True)], None, ""),
        ({}, [pod(waiting_reason="ImagePullBackOff", waiting_message="no such image")], "ImagePullBackOff", "no such"),
        ({}, [pod(waiting_reason="ErrImageNeverPull")], "ImagePullBackOff", "check image"),
        ({}, [pod(waiting_reason="CrashLoopBackOff", restarts=4)], "CrashLoopBackOff", "kubectl logs -p web-1"),
        ({}, [pod(restarts=3, terminated_reason="OOMKilled")], "CrashLoopBackOff", "memory limit"),
        ({}, [pod(restarts=3, ready=True)], None, ""),
        ({}, [pod(waiting_reason="CreateContainerConfigError", waiting_message="no Secret x")], "FailedCreate", "no S"),
        ({}, [pod(unschedulable_message="0/2 nodes")], "Unschedulable", "0/2 nodes"),
        ({}, [pod(waiting_reason="CrashLoopBackOff", terminating=True)], None, ""),
        (
            {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]}},
            [], "QuotaExceeded", "ResourceQuota",
        ),
        (
            {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "denied"}]}},
            [], "FailedCreate", "denied",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_pods(
    deployment: dict[str, Any], pods: list[PodView], reason: str | None, words: str
) -> None:
    fault = pods_fault(deployment, pods)
    assert (fault.reason if fault else None) == reason
    assert words in (fault.message if fault else "")

"""Statuses say what is and what to do; a figure that nobody knows is not there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from longshore.brokers.port import QueueDepth
from longshore_operator.core.change import status_change
from longshore_operator.core.faults import Fault
from longshore_operator.core.pool_status import PoolObservation, pool_status
from longshore_operator.core.queue_status import QueueObservation, consuming_pools, older_claim, queue_status
from longshore_operator.core.schedule_status import (
    ScheduleObservation,
    schedule_fault,
    schedule_status,
    task_warning,
    ticks_after,
)
from tests.operator.core.objects import NOW, cron_schedule, report, task_queue, worker_pool

LATER = datetime.fromtimestamp(NOW, UTC)


def said(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


# -- TaskQueue -------------------------------------------------------------------------------------------------------


def test_a_queue_that_is_well() -> None:
    depth = QueueDepth(7, 2, 1, oldest_ready_at=NOW - 30)
    status = queue_status(QueueObservation(task_queue(), depth=depth, dead=0, pools=("web",), measured_at=NOW), NOW)
    assert {key: status[key] for key in ("ready", "leased", "delayed", "dead", "oldestAgeSeconds")} == {
        "ready": 7, "leased": 2, "delayed": 1, "dead": 0, "oldestAgeSeconds": 30,
    }  # fmt: skip
    assert said(status)["Ready"] == ("True", "Ok")
    assert said(status)["Stalled"] == ("False", "Ok")
    assert all(one["observedGeneration"] == 3 for one in status["conditions"])


def test_unknown_figures_are_absent() -> None:
    status = queue_status(QueueObservation(task_queue(), depth=QueueDepth(3)), NOW)
    assert status["ready"] == 3
    assert not {"leased", "delayed", "dead", "oldestAgeSeconds", "measuredTime"} & set(status)


@pytest.mark.parametrize(
    ("seen", "ready", "stalled"),
    [
        ({"broken": Fault("BrokerUnavailable", "gone")}, ("False", "BrokerUnavailable"), ("False", "Ok")),
        ({"broken": Fault("BrokerRefused", "no")}, ("False", "BrokerRefused"), ("True", "BrokerRefused")),
        ({"broken": Fault("SecretMissing", "no")}, ("False", "SecretMissing"), ("True", "SecretMissing")),
        ({"refused": Fault("QueueClaimedTwice", "x")}, ("False", "QueueClaimedTwice"), ("True", "QueueClaimedTwice")),
        ({"undeclared": Fault("QueueMismatch", "x")}, ("False", "QueueMismatch"), ("True", "QueueMismatch")),
    ],
)
def test_faults_of_a_queue(seen: dict[str, Any], ready: tuple[str, str], stalled: tuple[str, str]) -> None:
    found = said(queue_status(QueueObservation(task_queue(), **seen), NOW))
    assert (found["Ready"], found["Stalled"]) == (ready, stalled)


def test_what_could_not_be_tried_is_unknown() -> None:
    found = said(queue_status(QueueObservation(task_queue(), broken=Fault("BrokerUnavailable", "gone")), NOW))
    assert found["BrokerReachable"][0] == "False"
    assert found["Declared"][0] == "Unknown"


@pytest.mark.parity("C9")
def test_a_queue_without_a_pool_and_a_suspended_one_say_so() -> None:
    found = said(queue_status(QueueObservation(task_queue(suspend=True)), NOW))
    assert found["Consumed"] == ("False", "NoConsumers")
    assert found["Ready"] == ("True", "Suspended")


def test_transition_times_stay_while_nothing_changes() -> None:
    first = queue_status(QueueObservation(task_queue()), NOW)
    again = queue_status(QueueObservation(task_queue(status=first)), NOW + 500)
    assert again["conditions"] == first["conditions"]


def test_the_oldest_claim_on_a_physical_queue_wins_across_namespaces() -> None:
    old = task_queue("a", queueName="q", metadata={"namespace": "x", "creationTimestamp": "2026-01-01T00:00:00Z"})
    new = task_queue("b", queueName="q", metadata={"namespace": "y", "creationTimestamp": "2026-02-01T00:00:00Z"})
    same = {("x", "a"): "redis://1", ("y", "b"): "redis://1"}
    fault = older_claim(new, same, [old, new])
    assert fault is not None
    assert "x/a" in fault.message
    assert older_claim(old, same, [old, new]) is None
    assert older_claim(new, {**same, ("x", "a"): "redis://2"}, [old, new]) is None
    assert older_claim(new, {("y", "b"): "redis://1"}, [old, new]) is None


def test_consuming_pools_are_of_the_same_namespace() -> None:
    elsewhere = worker_pool("else", metadata={"namespace": "other"})
    assert consuming_pools(task_queue(), [worker_pool("b"), worker_pool("a"), elsewhere]) == ("a", "b")


# -- WorkerPool ------------------------------------------------------------------------------------------------------


def deployed(replicas: int, ready: int) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}, "status": {"replicas": replicas, "readyReplicas": ready}}


@pytest.mark.parametrize(
    ("seen", "ready", "stalled"),
    [
        ({"deployment": deployed(2, 2), "desired": 2}, ("True", "Ok"), ("False", "Ok")),
        ({"deployment": deployed(2, 1), "desired": 2}, ("False", "Progressing"), ("False", "Ok")),
        ({"deployment": deployed(0, 0), "desired": 0}, ("True", "ScaledToZero"), ("False", "Ok")),
        ({"desired": 2}, ("False", "Progressing"), ("False", "Ok")),
        (
            {"deployment": deployed(2, 0), "desired": 2, "pods": Fault("ImagePullBackOff", "x")},
            ("False", "ImagePullBackOff"), ("True", "ImagePullBackOff"),
        ),
        ({"refused": Fault("NameConflict", "x")}, ("False", "NameConflict"), ("True", "NameConflict")),
        (
            {"deployment": deployed(1, 1), "desired": 1, "broken": Fault("BrokerUnavailable", "x")},
            ("False", "BrokerUnavailable"), ("False", "Ok"),
        ),
    ],
)  # fmt: skip
def test_readiness_of_a_pool(seen: dict[str, Any], ready: tuple[str, str], stalled: tuple[str, str]) -> None:
    found = said(pool_status(PoolObservation(worker_pool(), **seen), NOW))
    assert (found["Ready"], found["Stalled"]) == (ready, stalled)


def test_early_acknowledgment_is_named_at_most_once() -> None:
    seen = PoolObservation(worker_pool(ackPolicy="Early"), deployment=deployed(1, 1), desired=1)
    assert said(pool_status(seen, NOW))["Ready"] == ("True", "AtMostOnce")


def test_figures_of_a_pool_come_from_its_workers() -> None:
    reports = (report("a.1", busy=3, capacity=4), report("b.1", busy=1, capacity=4, tasks=("x", "a"), task_count=2,
                                                         started_at=NOW))  # fmt: skip
    seen = PoolObservation(worker_pool(), deployment=deployed(2, 2), desired=2, reports=reports, backlog=9)
    status = pool_status(seen, NOW)
    assert (status["busySlots"], status["capacitySlots"], status["backlog"]) == (4, 8, 9)
    assert (status["tasks"], status["taskCount"]) == (["a", "x"], 2)
    assert status["selector"] == "longshore.dev/worker-pool=web"


def test_a_pool_at_zero_keeps_its_tasks_and_a_blind_one_leaves_figures_out() -> None:
    pool = worker_pool(status={"tasks": ["a"], "taskCount": 1, "desiredReplicas": 3})
    status = pool_status(PoolObservation(pool, reports=None), NOW)
    assert (status["tasks"], status["taskCount"], status["desiredReplicas"]) == (["a"], 1, 3)
    assert not {"busySlots", "capacitySlots", "backlog"} & set(status)


def test_a_decision_keeps_its_time_until_it_changes() -> None:
    autoscaled = {"autoscaling": {"maxReplicas": 5}}
    first = pool_status(PoolObservation(worker_pool(**autoscaled), desired=2, decision=("Wait", "8 tasks")), NOW)
    pool = worker_pool(**autoscaled, status=first)
    again = pool_status(PoolObservation(pool, desired=2, decision=("Wait", "9 tasks")), NOW + 60)
    assert again["lastDecision"]["time"] == first["lastDecision"]["time"]
    other = pool_status(PoolObservation(pool, desired=3, decision=("Wait", "12 tasks")), NOW + 60)
    assert other["lastDecision"]["time"] != first["lastDecision"]["time"]


def test_draining_says_what_it_waits_for() -> None:
    seen = PoolObservation(worker_pool(), deployment=deployed(2, 2), desired=1, waiting_for="1 more than wanted")
    assert said(pool_status(seen, NOW))["Draining"] == ("True", "Draining")


# -- CronSchedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, None),
        ({"cron": "61 * * * *"}, "BadCron"),
        ({"timeZone": "Mars/Base"}, "UnknownTimeZone"),
        ({"concurrencyPolicy": "Forbid"}, "StoreNeeded"),
        ({"everySeconds": None, "solar": {"event": "Sunset", "latitude": 1.0, "longitude": 2.0}}, "NotSupported"),
    ],
)
def test_faults_of_a_schedule(spec: dict[str, Any], reason: str | None) -> None:
    fault = schedule_fault(cron_schedule(**spec))
    assert (fault.reason if fault else None) == reason


@pytest.mark.parametrize(
    ("pools", "warned"),
    [
        ([], False),
        ([{"tasks": ["shop.report"], "taskCount": 1}], False),
        ([{"tasks": ["shop.buy"], "taskCount": 1}], True),
        ([{"tasks": ["shop.buy"], "taskCount": 1}, {"tasks": ["shop.report"], "taskCount": 1}], False),
        ([{"tasks": ["shop.buy"], "taskCount": 1}, {}], False),
        ([{"tasks": ["shop.buy"], "taskCount": 900}], False),
    ],
)
def test_a_task_that_no_worker_knows_is_a_warning(pools: list[dict[str, Any]], warned: bool) -> None:
    found = task_warning(cron_schedule(), [worker_pool(f"p{n}", status=status) for n, status in enumerate(pools)])
    assert (found is not None) is warned


def scheduled(status: str, since: str) -> dict[str, Any]:
    return {"type": "Scheduled", "status": status, "reason": "Ok", "lastTransitionTime": since}


@pytest.mark.parametrize(
    ("status", "after"),
    [
        ({}, "2026-01-01T00:00:00+00:00"),
        ({"lastTickTime": "2026-02-01T00:00:00Z"}, "2026-02-01T00:00:00+00:00"),
        (
            {"lastTickTime": "2026-02-01T00:00:00Z", "conditions": [scheduled("True", "2026-01-01T00:00:01Z")]},
            "2026-02-01T00:00:00+00:00",
        ),
        # Ticks of a pause are not made up for: the schedule goes on from where the pause ended.
        (
            {"lastTickTime": "2026-02-01T00:00:00Z", "conditions": [scheduled("True", "2026-03-01T00:00:00Z")]},
            "2026-03-01T00:00:00+00:00",
        ),
        ({"lastTickTime": "2026-02-01T00:00:00Z", "conditions": [scheduled("False", "2026-02-02T00:00:00Z")]}, None),
    ],
)
def test_where_a_schedule_goes_on(status: dict[str, Any], after: str | None) -> None:
    schedule = cron_schedule(status=status, metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    assert ticks_after(schedule, LATER) == (LATER if after is None else datetime.fromisoformat(after))


def test_status_of_a_schedule() -> None:
    seen = ScheduleObservation(cron_schedule(), last_tick=LATER, next_tick=LATER, last_task_id="id", missed=2)
    status = schedule_status(seen, NOW)
    assert (status["schedule"], status["lastTaskId"], status["missedTicks"]) == ("every 60s", "id", 2)
    assert said(status)["Ready"] == ("True", "Ok")
    paused = schedule_status(ScheduleObservation(cron_schedule(suspend=True)), NOW)
    assert said(paused)["Scheduled"] == ("False", "Suspended")
    broken = schedule_status(ScheduleObservation(cron_schedule(), broken=Fault("BrokerUnavailable", "x")), NOW)
    assert said(broken)["Ready"] == ("False", "BrokerUnavailable")
    assert said(broken)["Scheduled"] == ("True", "Ok")


# -- what is worth a write -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"ready": 1}, {"ready": 1}, "None"),
        ({"measuredTime": "a"}, {"measuredTime": "b"}, "None"),
        ({"ready": 1}, {"ready": 2}, "Figures"),
        ({"ready": 1, "readyReplicas": 0}, {"ready": 2, "readyReplicas": 1}, "State"),
        ({"oldestAgeSeconds": 100}, {"oldestAgeSeconds": 110}, "None"),
        ({"oldestAgeSeconds": 100}, {"oldestAgeSeconds": 200}, "Figures"),
        ({"oldestAgeSeconds": 100}, {}, "Figures"),
        ({"lastDecision": {"reason": "A", "message": "1"}}, {"lastDecision": {"reason": "A", "message": "2"}}, "None"),
        ({"lastDecision": {"reason": "A"}}, {"lastDecision": {"reason": "B"}}, "Figures"),
        ({"conditions": [scheduled("True", "a")]}, {"conditions": [scheduled("False", "a")]}, "State"),
        ({"conditions": [scheduled("True", "a")]}, {"conditions": [scheduled("True", "b")]}, "None"),
    ],
)
def test_what_is_worth_a_write(old: dict[str, Any], new: dict[str, Any], change: str) -> None:
    assert status_change(old, new) == change


def test_tasks_that_nobody_has_are_named_and_the_pool_stays_ready() -> None:
    told = (report("w1", unknown_tasks=("shop.reprot",)), report("w2"))
    seen = PoolObservation(worker_pool(), deployment=deployed(1, 1), desired=1, reports=told)
    conditions = pool_status(seen, NOW)["conditions"]
    ready = next(one for one in conditions if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "TaskUnknown")
    assert "shop.reprot" in ready["message"]

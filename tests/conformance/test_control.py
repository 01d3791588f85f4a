"""Celery's own tools at our workers, and our tools at Celery's: inspect, control, events, status, and Flower."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import environments
from tests.conformance.fleet import APPS, Fleet
from tests.support.redis import free_port
from tests.support.workers import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

newest = pytest.mark.parametrize("celery", environments.VERSIONS[:1], indirect=True)
NODE = "w1@here"
LOOK = """
inspect = app.control.inspect(destination=[node], timeout=10)
ask = lambda command, **arguments: app.control.broadcast(
    command, arguments=arguments, destination=[node], reply=True, timeout=10)[0][node]
later = app.send_task("fleet.add", (1, 2), countdown=600, priority=3).id
naps = [app.send_task("fleet.nap", (number, seconds)).id for number in range(2)]
import time
deadline = time.monotonic() + 30
while len(inspect.active()[node]) < 2 and time.monotonic() < deadline:
    time.sleep(0.1)
behind = app.send_task("fleet.add", (1, 2), countdown=900).id
scheduled = inspect.scheduled()[node]
return {
    "ping": inspect.ping(), "active": inspect.active()[node], "scheduled": scheduled,
    "reserved": inspect.reserved()[node], "registered": inspect.registered("acks_late", "max_retries")[node],
    "stats": inspect.stats()[node], "queues": inspect.active_queues()[node], "report": inspect.report()[node],
    "clock": inspect.clock()[node], "conf": inspect.conf(with_defaults=True)[node],
    "query": inspect.query_task(naps[0], later, "no such task")[node],
    "nonsense": ask("nonsense"), "failing": ask("pool_shrink", n=99), "naps": naps, "later": later, "behind": behind,
    "all": app.control.ping(timeout=1), "another": app.control.ping(destination=["w2@here"], timeout=0.3),
    "glob": app.control.broadcast("ping", pattern="w*", matcher="glob", reply=True, timeout=1),
    "pcre": app.control.broadcast("ping", pattern="^v", matcher="pcre", reply=True, timeout=0.3),
}
"""
CHANGE = """
import time
ask = lambda method, *arguments, **options: getattr(app.control, method)(
    *arguments, destination=[node], reply=True, timeout=10, **options)[0][node]
queues = lambda: [queue["name"] for queue in app.control.inspect([node], 10).active_queues()[node]]
said = {"grow": ask("pool_grow", 2), "rate": ask("rate_limit", "fleet.add", "1000/s")}
said["add"] = ask("add_consumer", other)
said["ran"] = app.send_task("fleet.add", (20, 22), queue=other).get(timeout=20)
said["queues"] = queues()
said["cancel"] = ask("cancel_consumer", other)
said["events"] = [ask("enable_events"), ask("disable_events")]
said["slots"] = app.control.inspect([node], 10).stats()[node]["pool"]["max-concurrency"]
said["shrink"] = ask("pool_shrink", 2)
app.control.shutdown(destination=[node])
return said
"""
WATCH = """
import threading
state, seen = app.events.State(), []
def take(event):
    seen.append(event["type"])
    state.event(event)
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={"*": take})
    consumer = receiver.itercapture(limit=None, timeout=30, wakeup=True)
    app.control.enable_events(reply=True, destination=[node], timeout=10)
    sent = []
    for _ in consumer:
        if not sent and "worker-heartbeat" in seen:
            sent = [app.send_task("fleet.add", (2, 3)).id, app.send_task("fleet.fail", ("no",)).id]
        if sent and all(one in state.tasks and state.tasks[one].ready for one in sent):
            break
good, bad = (state.tasks[one] for one in sent)
return {
    "workers": {worker.hostname: [worker.alive, worker.processed] for worker in state.workers.values()},
    "good": [good.state, good.name, good.args, good.result, good.worker.hostname, good.runtime is not None],
    "bad": [bad.state, bad.name, bad.exception, "Traceback" in bad.traceback], "seen": sorted(set(seen)),
}
"""


def test_celery_looks_at_our_worker(fleet: Fleet) -> None:
    with fleet.longshore_worker("-n", NODE):
        seen = fleet.celery_client(LOOK, node=NODE, seconds=4)
    assert seen["ping"] == {NODE: {"ok": "pong"}}
    assert {task["id"] for task in seen["active"]} == set(seen["naps"])
    assert {(task["name"], task["hostname"], task["acknowledged"]) for task in seen["active"]} == {
        ("fleet.nap", NODE, False)
    }
    assert all(task["time_start"] and task["worker_pid"] for task in seen["active"])
    scheduled = {each["request"]["id"]: each for each in seen["scheduled"]}
    assert scheduled.keys() == {seen["later"], seen["behind"]}  # also the one that no idle process has moved yet
    assert scheduled[seen["later"]]["request"]["name"] == "fleet.add"
    assert scheduled[seen["later"]]["eta"].startswith("20")
    assert seen["reserved"] == []
    assert "fleet.add [acks_late=True max_retries=3]" in seen["registered"]
    assert seen["stats"]["pool"]["max-concurrency"] == 2
    assert [queue["name"] for queue in seen["queues"]] == [fleet.queue]
    assert len(seen["queues"][0]) > 15
    assert seen["report"]["ok"].startswith("software -> celery:")
    assert seen["clock"]["clock"] > 0
    assert seen["conf"]["task_default_queue"] == fleet.queue
    assert "guest:guest" not in json.dumps(seen["conf"])
    states = {task: state for task, (state, _) in seen["query"].items()}
    assert states == {seen["naps"][0]: "active", seen["later"]: "scheduled"}
    assert "no command 'nonsense'" in seen["nonsense"]["error"]
    assert seen["failing"]["error"]
    assert seen["all"] == seen["glob"] == [{NODE: {"ok": "pong"}}]
    assert seen["another"] == seen["pcre"] == []


@newest
def test_celery_changes_our_worker(fleet: Fleet) -> None:
    other = f"{fleet.queue}-other"
    with fleet.longshore_worker("-n", NODE) as worker:
        said = fleet.celery_client(CHANGE, node=NODE, other=other)
        assert worker.process.wait(30) == 0
    assert said["grow"] == {"ok": "pool will grow"}
    assert said["rate"] == {"ok": "new rate limit set successfully"}
    assert (said["ran"], sorted(said["queues"])) == (42, sorted([fleet.queue, other]))
    assert (said["add"], said["cancel"]) == (
        {"ok": f"add consumer {other}"},
        {"ok": f"no longer consuming from {other}"},
    )
    assert said["events"] == [{"ok": "task events enabled"}, {"ok": "task events disabled"}]
    assert said["slots"] == 4
    assert said["shrink"] == {"ok": "pool will shrink"}


@newest
def test_celery_watches_our_worker(fleet: Fleet) -> None:
    with fleet.longshore_worker("-n", NODE):
        seen = fleet.celery_client(WATCH, node=NODE)
    assert seen["workers"][NODE][0] is True
    assert seen["good"] == ["SUCCESS", "fleet.add", "(2, 3)", "5", NODE, True]
    assert seen["bad"] == ["FAILURE", "fleet.fail", "ValueError('no')", True]
    assert {"worker-heartbeat", "task-received", "task-started", "task-succeeded", "task-failed"} <= set(seen["seen"])


@newest
def test_we_look_at_celerys_worker_and_both_answer_beside_each_other(fleet: Fleet) -> None:
    with fleet.celery_worker("-E"), fleet.longshore_worker("-n", NODE):
        control = fleet.longshore.control
        nodes = wait_for("both", lambda: (found := control.ping(timeout=1)) and len(found) == 2 and found)
        assert {"ok": "pong"} in nodes[0].values()
        [theirs] = {name for node in nodes for name in node} - {NODE}
        look = control.inspect([theirs], timeout=10)
        assert "fleet.add" in str(look.registered())
        assert look.active()[theirs] == []
        events: list[dict[str, Any]] = []
        receiver = fleet.longshore.events.Receiver(handlers={"*": events.append})
        for _ in receiver.itercapture(timeout=30):
            if {event["hostname"] for event in events} >= {theirs, NODE}:
                break


@contextlib.contextmanager
def flower(fleet: Fleet, environment: Path) -> Iterator[str]:
    """Run a real Flower; yields its address."""
    port = free_port()
    command = [str(environment / "bin" / "celery"), "-A", "fleet", "flower", f"--port={port}", "--address=127.0.0.1"]
    environ = fleet.celery_environ() | {"FLOWER_UNAUTHENTICATED_API": "true"}
    with (fleet.folder / "flower.log").open("w") as log:
        process = subprocess.Popen(command, cwd=APPS, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def fetched(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_flower_shows_our_worker_and_its_tasks(broker_url: str, results_url: str, tmp_path: Path) -> None:
    try:
        environment = environments.environment("flower")
    except environments.NotBuilt as reason:
        pytest.skip(f"Flower cannot be installed here: {reason}")
    fleet = Fleet(environment, broker_url, results_url, tmp_path, f"flower-{os.getpid()}")
    with fleet.longshore_worker("-n", NODE, "-E"), flower(fleet, environment) as url:
        wait_for("Flower sees the worker", lambda: NODE in (fetched(f"{url}/api/workers?status=true") or ""), 60)
        sent = fleet.longshore.send_task("fleet.add", (2, 3)).id
        tasks = wait_for("Flower sees the task", lambda: (found := _tasks(url)) and _is_done(found, sent) and found)
        assert (tasks[sent]["name"], tasks[sent]["state"]) == ("fleet.add", "SUCCESS")
        assert (tasks[sent]["args"], tasks[sent]["result"], tasks[sent]["worker"]) == ("(2, 3)", "5", NODE)
        worker = json.loads(fetched(f"{url}/api/workers?refresh=1&workername={NODE}") or "{}")[NODE]
        assert "fleet.add" in worker["registered"]
        assert worker["stats"]["pool"]["max-concurrency"] == 2
        assert [queue["name"] for queue in worker["active_queues"]] == [fleet.queue]
        for page in ("workers", f"worker/{NODE}", "tasks", f"task/{sent}"):
            assert NODE in (fetched(f"{url}/{page}") or "") or page == "tasks"
        assert re.search(
            r'flower_events_total\{.*task="fleet.add",type="task-succeeded"', fetched(f"{url}/metrics") or ""
        )
    fleet.longshore.close()


def _tasks(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetched(f"{url}/api/tasks") or "{}")
    return found


def _is_done(tasks: dict[str, Any], sent: str) -> bool:
    return sent in tasks and tasks[sent]["state"] == "SUCCESS"


STOP = """
import time
from celery.exceptions import TaskRevokedError
inspect = app.control.inspect([node], 10)
running, waiting = app.send_task("fleet.nap", (1, 600)), app.send_task("fleet.nap", (2, 600))
app.send_task("fleet.nap", (3, 600))
while len(inspect.active()[node]) < 2:
    time.sleep(0.1)
behind = app.send_task("fleet.note", (4,))
behind.revoke()
inspect.ping()
def end_of(result):
    try:
        return result.get(timeout=20)
    except TaskRevokedError as error:
        return type(error).__name__
said = {"behind": [behind.state, end_of(behind)]}
said["limit"] = app.control.time_limit("fleet.nap", soft=500, hard=1000, reply=True, destination=[node], timeout=10)
ids = [task["id"] for task in inspect.active()[node]]
app.control.terminate(ids, signal="KILL")
said["ended"] = [end_of(app.AsyncResult(one)) for one in ids]
said["revoked"] = set(ids) | {behind.id} <= set(inspect.revoked()[node])
return said
"""


@newest
def test_celery_stops_tasks_of_our_worker(fleet: Fleet) -> None:
    with fleet.longshore_worker("-n", NODE):
        said = fleet.celery_client(STOP, node=NODE)
    assert said["behind"] == ["REVOKED", "TaskRevokedError"]
    assert said["ended"] == ["TaskRevokedError"] * 2
    assert said["limit"] == [{NODE: {"ok": "time limits set successfully"}}]
    assert said["revoked"] is True
    assert 4 not in fleet.ran()


@newest
def test_a_celery_worker_that_starts_learns_from_ours_what_is_revoked(fleet: Fleet) -> None:
    with fleet.longshore_worker("-n", NODE):
        fleet.longshore.control.revoke("revoked-before", reply=True, destination=[NODE], timeout=10)
        with fleet.celery_worker(mingle=True):
            control = fleet.longshore.control
            nodes = wait_for("both", lambda: (found := control.ping(timeout=1)) and len(found) == 2 and found)
            [theirs] = {name for node in nodes for name in node} - {NODE}
            assert control.inspect([theirs], timeout=10).revoked()[theirs] == ["revoked-before"]

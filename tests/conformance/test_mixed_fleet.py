"""A queue that Celery and Longshore share: no message is lost, stuck, or run twice, and Celery can have it back."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest
import redis

from tests.conformance import environments
from tests.conformance.fleet import Fleet
from tests.support.workers import run_command, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

newest = pytest.mark.parametrize("celery", environments.VERSIONS[:1], indirect=True)
"""For what does not depend on the version and takes long."""

SEND = """
from datetime import datetime, timedelta, timezone
ids = []
for number in range(first, last):
    options = {"priority": number % 10}
    if number % 50 == 0:
        options["eta"] = datetime.now(timezone.utc) + timedelta(seconds=1.5)
    ids.append(app.send_task("fleet.note", (number,), **options).id)
return ids
"""
READ = "return [AsyncResult(one, app=app).get(timeout=20) for one in ids]"
DELAYED_EVERY = 50
SECONDS_A_MESSAGE = 0.05
"""Far more than it takes; only a fleet that is stuck reaches it."""


def send_as_longshore(fleet: Fleet, first: int, last: int, countdown: float = 1.5) -> list[str]:
    now = [number for number in range(first, last) if number % DELAYED_EVERY]
    later = [number for number in range(first, last) if not number % DELAYED_EVERY]
    sent = fleet.longshore.send_many([("fleet.note", (number,)) for number in now])
    sent += [fleet.longshore.send_task("fleet.note", (number,), countdown=countdown) for number in later]
    return [one.id for one in sent]


def patience(count: int) -> float:
    return 30 + count * SECONDS_A_MESSAGE


def is_empty(fleet: Fleet) -> bool:
    depth = fleet.longshore.broker.depths([fleet.queue])[fleet.queue]
    return depth is None or (depth.ready, depth.leased or 0, depth.delayed or 0) == (0, 0, 0)


def nothing_is_left(fleet: Fleet) -> None:
    wait_for("an empty queue", lambda: is_empty(fleet), 15)
    if fleet.broker.startswith("redis"):
        with redis.Redis.from_url(fleet.broker) as client:
            wait_for("nothing unacknowledged", lambda: not client.exists("unacked", "unacked_index"), 15)
            assert list(client.scan_iter("longshore:*held*")) == []


@pytest.mark.parity("A2", "A5", "C2", "C3", "G5")
def test_two_fleets_share_a_queue(fleet, count):
    visibility = max(10.0, count / 100)  # a Celery worker must not keep its own messages that long on a slow machine
    half = count // 2
    with fleet.longshore_worker(), fleet.celery_worker(visibility=visibility):
        theirs = fleet.celery_client(SEND, first=0, last=half)
        ours = send_as_longshore(fleet, half, count)
        ran = fleet.wait_for_all(count, patience(count))
        nothing_is_left(fleet)
    assert set(ran) == set(range(count))
    assert [number for number, who in ran.items() if len(who) > 1] == []
    shares = Counter(who for [who] in ran.values())
    assert min(shares["celery"], shares["longshore"]) > 0, shares
    sample = [*theirs[:: half // 20], *ours[:: half // 20]]
    assert fleet.celery_client(READ, ids=sample) == [fleet.longshore.AsyncResult(one).get(20) for one in sample]


@newest
@pytest.mark.parity("A5")
def test_a_long_task_of_ours_outlives_celerys_visibility_timeout(fleet):
    """Celery's workers restore, at their start and every second, what they think lost after one second."""
    with fleet.longshore_worker():
        for number in range(2):
            fleet.longshore.send_task("fleet.nap", (number, 2.5))
        wait_for("both started", lambda: len(fleet.started()) == 2, 20)
        with fleet.celery_worker(visibility=1.0):
            ran = fleet.wait_for_all(2, 30)
            nothing_is_left(fleet)
    assert ran == {0: ["longshore"], 1: ["longshore"]}
    assert set(fleet.started().values()) == {1}


@newest
@pytest.mark.parity("A5")
def test_what_a_killed_celery_worker_held_is_run_by_ours(fleet):
    """On Redis after the visibility time-out, which is in the address here; on RabbitMQ at once."""
    sweeping = f"{fleet.broker}?visibility_timeout=2" if fleet.broker.startswith("redis") else fleet.broker
    with fleet.celery_worker() as worker:
        for number in range(4):
            fleet.longshore.send_task("fleet.nap", (number, 1.5))
        wait_for("some started", lambda: len(fleet.started()) == 2, 20)
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
    with fleet.longshore_worker(broker=sweeping):
        ran = fleet.wait_for_all(4, 60)
        nothing_is_left(fleet)
    assert set(ran) == set(range(4))
    assert {number for number, who in ran.items() if who != ["longshore"]} == set()


def handback(fleet: Fleet) -> None:
    """As an operator of a fleet does: again, until the killed worker is forgotten."""
    ends = time.monotonic() + 40
    while (said := run_command("queue", "handback", fleet.queue, "-b", fleet.broker)).returncode:
        assert "Longshore worker" in said.stderr, said.stderr
        assert time.monotonic() < ends, said.stderr
        time.sleep(0.5)


@newest
def test_after_a_handback_celery_alone_finishes_everything(fleet, count):
    send_as_longshore(fleet, 0, count, countdown=15.0)
    with fleet.longshore_worker() as worker:
        wait_for("some ran", lambda: len(fleet.ran()) > count // 10, 60)
        worker.process.send_signal(signal.SIGSTOP)  # it can neither drain nor give back
        worker.kill()
    handback(fleet)
    left = count - len(fleet.ran())
    with fleet.celery_worker():
        ran = fleet.wait_for_all(count, 30 + patience(count))
        nothing_is_left(fleet)
    assert set(ran) == set(range(count))
    assert left > 0
    twice = [number for number, who in ran.items() if len(who) > 1]
    assert len(twice) <= 200, "more than two processes can have had in their hands"
    assert Counter(ran[number][-1] for number in range(0, count, DELAYED_EVERY)) == {
        "celery": -(-count // DELAYED_EVERY)
    }

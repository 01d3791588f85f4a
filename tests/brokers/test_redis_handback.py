"""After a handback everything is where Celery looks for it, whatever state it was in, and nothing of ours is left."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import kombu
import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement
from longshore.brokers.redis.handback import with_eta
from longshore.exceptions import HandbackRefused
from longshore.message import Message
from tests.brokers.contract import claim_all, ids, message, report_of, send
from tests.support.workers import run_command

DUE = 4_000_000_000.0
ETA = datetime.fromtimestamp(DUE, UTC).isoformat()


def test_protocol_2_has_its_time_in_the_header():
    moved = with_eta(Message(b"[]", {"task": "a", "id": "b"}, {"priority": 3}), DUE)
    assert moved == Message(b"[]", {"task": "a", "id": "b", "eta": ETA}, {"priority": 3})


def test_protocol_1_has_its_time_in_the_body():
    moved = with_eta(Message(b'{"task": "a", "id": "b", "eta": null}', {}, {}), DUE)
    assert json.loads(moved.body) == {"task": "a", "id": "b", "eta": ETA}


@pytest.mark.parametrize("body", [b"", b"x", b"[1]"])
def test_what_is_no_task_stays_as_it_is(body):
    assert with_eta(Message(body, {}, {}), DUE).body == body


@pytest.fixture
def broker(redis_url):
    broker = open_broker(f"{redis_url}?lease_seconds=0.3")
    broker.declare([QueueSpec("orders")])
    yield broker
    broker.close()


def celery_gets(url: str, count: int) -> list:
    """Take messages as Celery's worker does."""
    with kombu.Connection(url) as connection:
        queue = connection.SimpleQueue("orders")
        got = [queue.get(timeout=5) for _ in range(count)]
        for one in got:
            one.ack()
        assert connection.default_channel._size("orders") == 0
    return got


def in_every_state(broker, redis_client) -> None:
    """Leave a message in each of the places that a message can be in."""
    consumer = broker.consumer(Owner("gone", 0), ["orders"])
    send(broker, "orders", "held-1", "held-2", "suspect", "again", priority=6)
    claims = {claim.message.id: claim for claim in claim_all(consumer, 4)}
    consumer.settle(Settlement(claims["suspect"], give_back=True, counted=True))
    consumer.settle(Settlement(claims["again"], give_back=True))
    consumer.flush()
    send(broker, "orders", "inbox", "ready")
    redis_client.lmove("orders", "longshore:1:{orders}:inbox:gone/0", "RIGHT", "LEFT")
    send(broker, "orders", "delayed", due_at=DUE, priority=9)


pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_celery_finds_what_was_in_any_state(broker, redis_url, redis_client):
    in_every_state(broker, redis_client)
    moved = broker.handback("orders")
    assert (moved.leased, moved.suspects, moved.delayed) == (3, 1, 1)
    assert [key for key in redis_client.scan_iter("longshore:*") if b"orders" in key] == []
    got = celery_gets(redis_url, 7)
    assert {one.headers["id"] for one in got} == {
        "held-1", "held-2", "suspect", "again", "inbox", "ready", "delayed",
    }  # fmt: skip
    assert {one.headers["id"]: one.headers.get("eta") for one in got}["delayed"] == ETA
    assert {one.headers["id"]: one.properties["priority"] for one in got}["held-1"] == 6


def test_doing_it_twice_is_harmless(broker, redis_url, redis_client):
    in_every_state(broker, redis_client)
    broker.handback("orders")
    again = broker.handback("orders")
    assert (again.leased, again.suspects, again.delayed) == (0, 0, 0)
    assert len(celery_gets(redis_url, 7)) == 7


def test_it_waits_until_a_lease_is_over(broker):
    consumer = broker.consumer(Owner("gone", 0), ["orders"])
    send(broker, "orders", "a")
    claim_all(consumer, 1)
    started = time.monotonic()
    assert broker.handback("orders").leased == 1
    assert time.monotonic() - started > 0.1
    assert consumer.claim(0, 0) == []


def test_a_live_worker_is_a_refusal_that_names_it(broker):
    broker.report(report_of("w", queues=("orders",), name="shop@pod-1"))
    send(broker, "orders", "a", due_at=DUE)
    with pytest.raises(HandbackRefused, match=r"'orders' still has 1 Longshore worker \(shop@pod-1\); stop them first"):
        broker.handback("orders")
    assert broker.depths(["orders"])["orders"].delayed == 1
    broker.report(report_of("w", queues=("others",)))
    assert broker.handback("orders").delayed == 1


def test_force_takes_from_the_living_and_their_settlement_comes_too_late(broker):
    broker.report(report_of("w"))
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    send(broker, "orders", "a")
    [claim] = claim_all(consumer, 1)
    assert broker.handback("orders", force=True).leased == 1
    consumer.settle(Settlement(claim, sends=(Outgoing("orders", message("b")),)))
    assert consumer.flush() == 1
    assert [one.id for one in broker.peek("orders", 5)] == ["a"]


def test_a_million_delayed_go_in_steps(broker):
    broker.send([Outgoing("orders", message(str(number)), DUE + number) for number in range(1201)])
    assert broker.handback("orders").delayed == 1201
    assert ids_of(broker)[:3] == ["0", "1", "2"]


def ids_of(broker) -> list:
    return [one.id for one in broker.peek("orders", 2000)]


def test_what_celery_held_back_is_ours_again_when_we_return(broker):
    """A Celery client's ETA message in the plain queue, and one that was handed back, are the same to us."""
    send(broker, "orders", "a", due_at=DUE)
    broker.handback("orders")
    consumer = broker.consumer(Owner("new", 0), ["orders"])
    [claim] = claim_all(consumer, 1)
    assert (ids([claim]), claim.message.headers["eta"]) == (["a"], ETA)
    consumer.close()


def test_the_command(broker, redis_url, redis_client):
    in_every_state(broker, redis_client)
    said = run_command("queue", "handback", "orders", "empty", "-b", redis_url, "--output", "json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == [
        {"queue": "orders", "leased": 3, "suspects": 1, "delayed": 1, "ready": 7},
        {"queue": "empty", "leased": 0, "suspects": 0, "delayed": 0, "ready": None},
    ]


def test_the_command_says_what_force_means(broker, redis_url):
    broker.report(report_of("w", name="shop@pod-1", held=3))
    refused = run_command("queue", "handback", "orders", "-b", redis_url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "still has 1 Longshore worker (shop@pod-1)" in refused.stderr
    assert "Traceback" not in refused.stderr
    forced = run_command("queue", "handback", "orders", "-b", redis_url, "--force")
    assert forced.returncode == 0
    assert "shop@pod-1 lives on orders: the 3 messages that it holds run a second time" in forced.stderr


def test_a_broker_without_celery_says_so(tmp_path):
    said = run_command("queue", "handback", "orders", "-b", f"sqlite:///{tmp_path}/tasks.db")
    assert said.returncode != 0
    assert "Celery has no part in the queues of sqlite" in said.stderr

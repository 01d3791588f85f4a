"""Idle consumers on Redis: woken at once, calm, and never holding what a neighbour could run."""

from __future__ import annotations

import os
import time
from threading import Thread

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Owner, QueueSpec, Settlement
from tests.brokers.contract import claim_one, eventually, ids, send

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(redis_server, redis_url):
    broker = open_broker(redis_server.url("lease_seconds=1"))
    broker.declare([QueueSpec("q")])
    yield broker
    broker.close()


@pytest.fixture
def consume(broker):
    consumers = []

    def open_consumer(slot: int = 0, queues=("q",), **options):
        consumers.append(broker.consumer(Owner("w", slot), list(queues), **options))
        return consumers[-1]

    yield open_consumer
    for consumer in consumers:
        consumer.close()


def in_background(consumer, wait: float = 10.0):
    """Claim in a thread; return the thread and the list that gets the claims and when they came."""
    got: list = []

    def claim() -> None:
        claims = consumer.claim(1, wait)
        got.append((claims, time.monotonic()))

    thread = Thread(target=claim)
    thread.start()
    return thread, got


def blocked(client) -> int:
    return client.info("clients")["blocked_clients"]


def test_one_message_wakes_one_of_many(broker, consume, redis_client):
    wake = os.eventfd(0)
    waiters = [in_background(consume(slot, wake_fd=wake)) for slot in range(6)]
    eventually(lambda: blocked(redis_client) == 6)
    send(broker, "q", "a")
    eventually(lambda: sum(bool(got) for _, got in waiters) == 1)
    assert blocked(redis_client) == 5
    os.eventfd_write(wake, 1)
    for thread, _ in waiters:
        thread.join()
    assert [ids(got[0][0]) for _, got in waiters if got[0][0]] == [["a"]]
    os.close(wake)


def test_who_leaves_a_wait_leaves_nothing_that_takes_messages(broker, consume, redis_client):
    """One of two watched queues had work: the wait on the other ends with it."""
    busy, idle = consume(0, ("q", "r")), consume(1, ("q", "r"))
    thread, got = in_background(busy)
    eventually(lambda: blocked(redis_client) == 2)
    send(broker, "q", "long task")
    thread.join()
    assert ids(got[0][0]) == ["long task"]
    assert blocked(redis_client) == 0
    send(broker, "r", "b")
    assert ids([claim_one(idle)]) == ["b"]


def test_after_a_wait_in_vain_nothing_takes_messages(broker, consume, redis_client):
    first, second = consume(0), consume(1)
    assert first.claim(1, 0.05) == []
    assert blocked(redis_client) == 0
    send(broker, "q", "a")
    assert ids([claim_one(second)]) == ["a"]


def test_a_delayed_message_wakes_an_idle_consumer_on_time(broker, consume):
    thread, got = in_background(consume())
    due = time.time() + 0.6
    send(broker, "q", "later", due_at=due)
    thread.join()
    assert ids(got[0][0]) == ["later"]
    assert due <= time.time() < due + 0.25


@pytest.mark.parametrize("priority", [3, 6, 9])
def test_a_message_of_any_priority_wakes_an_idle_consumer(broker, consume, priority):
    thread, got = in_background(consume())
    time.sleep(0.3)
    sent = time.monotonic()
    send(broker, "q", "a", priority=priority)
    thread.join()
    assert got[0][1] - sent < 0.5


def test_more_queues_than_watches_are_served(broker, consume, redis_client):
    queues = [f"q{number}" for number in range(7)]
    consumer = consume(0, queues)
    for queue in (queues[0], queues[-1]):
        thread, got = in_background(consumer)
        eventually(lambda: blocked(redis_client) == 4)
        send(broker, queue, queue)
        thread.join()
        assert ids(got[0][0]) == [queue]
        for claim in got[0][0]:
            consumer.settle(Settlement(claim))


def test_a_wait_longer_than_the_lease_keeps_the_lease(broker, consume, redis_client):
    thread, got = in_background(consume())
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        assert broker.sweep(["q"]) == 0
        time.sleep(0.05)
    send(broker, "q", "a")
    thread.join()
    assert ids(got[0][0]) == ["a"]
    assert broker.depths(["q"])["q"].leased == 1


def test_an_idle_consumer_is_calm(broker, consume, redis_client):
    consumer = consume()
    consumer.claim(1, 0.5)
    before = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]
    consumer.claim(1, 1.0)
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 10


def test_a_suspect_waits_for_empty_hands_but_not_for_ever(broker, consume):
    """While something is held a suspect is not claimed; a worker of many slots, never idle, takes it after a second."""
    consumer = consume()
    send(broker, "q", "long")
    long = claim_one(consumer)
    other = consume(1)
    send(broker, "q", "suspect")
    other.settle(Settlement(claim_one(other), give_back=True, counted=True))
    other.flush()
    started = time.monotonic()
    [claim] = consumer.claim(10, 5.0)
    assert (claim.message.id, claim.deliveries) == ("suspect", 1)
    assert 0.7 < time.monotonic() - started < 2.0
    consumer.settle(Settlement(long))


def test_a_suspect_goes_first_to_whom_has_empty_hands(broker, consume):
    busy, idle = consume(0), consume(1)
    send(broker, "q", "long")
    claim_one(busy)
    send(broker, "q", "suspect")
    idle.settle(Settlement(claim_one(idle), give_back=True, counted=True))
    idle.flush()
    assert busy.claim(10, 0.2) == []
    assert ids(idle.claim(10, 0)) == ["suspect"]

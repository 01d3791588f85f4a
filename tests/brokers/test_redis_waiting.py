"""Idle consumers on Redis: woken at once, calm, and never holding what a neighbour could run."""

from __future__ import annotations

import os
import time
from threading import Thread

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Owner, QueueSpec, Settlement, Started
from longshore.brokers.redis.address import parse
from longshore.brokers.redis.watch import Watch
from longshore.exceptions import BrokerError
from tests.brokers.contract import claim_one, eventually, ids, send
from tests.support.proxy import Proxy

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


def woken_by(broker, consumer, redis_client, name: str = "a"):
    """A claim that came by a blocking wait."""
    thread, got = in_background(consumer)
    eventually(lambda: blocked(redis_client) == 1)
    send(broker, "q", name)
    thread.join()
    [claim] = got[0][0]
    return claim


def test_what_a_wait_brings_is_a_claim_like_any_other(broker, consume, redis_client):
    consumer = consume()
    claim = woken_by(broker, consumer, redis_client)
    eventually(lambda: redis_client.hlen("longshore:1:{q}:held:w/0") == 1)
    assert (claim.message.id, claim.deliveries, claim.redelivered) == ("a", 0, False)
    consumer.settle(Settlement(claim))
    assert consumer.flush() == 0
    assert broker.depths(["q"])["q"].leased == 0


@pytest.mark.parametrize("counted", [True, False])
def test_what_a_wait_brought_is_given_back_like_any_other(broker, consume, redis_client, counted):
    consumer = consume()
    claim = woken_by(broker, consumer, redis_client)
    consumer.settle(Settlement(claim, give_back=True, counted=counted))
    again = claim_one(consumer)
    assert (again.message.id, again.deliveries, again.redelivered) == ("a", int(counted), True)


def test_of_a_process_that_died_with_it_the_start_counts(broker, consume, redis_client):
    woken_by(broker, consume(), redis_client)
    eventually(lambda: broker.release_owner(Owner("w", 0), ["q"], [Started("a")]) == 1)
    again = claim_one(consume(1))
    assert (again.message.id, again.deliveries) == ("a", 1)


def test_what_a_wait_brought_is_acknowledged_before_its_start(broker, consume, redis_client):
    consumer = consume()
    consumer.acknowledge_now([woken_by(broker, consumer, redis_client)])
    assert broker.depths(["q"])["q"].leased == 0
    consumer.abandon()
    assert consumer.flush() == 0
    assert broker.depths(["q"])["q"].ready == 0


def test_frozen_between_the_wait_and_the_claim_it_is_anothers(broker, consume, redis_client, monkeypatch):
    """The lease ended before the request that adopts came: the message went back, and nothing here takes it away."""
    consumer, other = consume(0), consume(1)
    adopt = consumer._calls.adopt

    def freeze(*arguments):
        eventually(lambda: broker.sweep(["q"]) == 1)
        return adopt(*arguments)

    monkeypatch.setattr(consumer._calls, "adopt", freeze)
    claim = woken_by(broker, consumer, redis_client)
    assert ids([claim_one(other)]) == ["a"]
    with pytest.raises(BrokerError, match="lost before it was acknowledged"):
        consumer.acknowledge_now([claim])
    consumer.settle(Settlement(claim))
    assert consumer.flush() == 1
    assert broker.depths(["q"])["q"].leased == 1


def test_an_adoption_that_is_told_twice_takes_no_other_message(broker, redis_server, redis_client):
    """The answer was lost, and the next message is in the inbox: it is not the one that was adopted."""
    with Proxy(redis_server.port) as proxy:
        far = open_broker(f"redis://127.0.0.1:{proxy.port}/0")
        consumer = far.consumer(Owner("w", 0), ["q"])
        consumer.settle(Settlement(woken_by(broker, consumer, redis_client, "a")))
        proxy.cut()
        send(broker, "q", "b")
        redis_client.lmove("q", "longshore:1:{q}:inbox:w/0", "RIGHT", "LEFT")
        assert consumer.flush() == 0
        assert ids([claim_one(consumer)]) == ["b"]
        assert broker.depths(["q"])["q"].leased == 1
        consumer.close()
        far.close()


WAITERS = 500


def test_of_500_idle_waiters_one_send_wakes_one(broker, redis_server, redis_client):
    """Real connections, as consumers have them; one thread looks after all of them."""
    address = parse(redis_server.url("lease_seconds=60"))
    waiters = [Watch(address, f"waiter/{slot}", "q") for slot in range(WAITERS)]
    try:
        for waiter in waiters:
            waiter.arm()
        eventually(lambda: blocked(redis_client) == WAITERS)
        for waiter in waiters:
            waiter.take_reply()  # its lease, which came before
        for sent in range(1, 4):
            send(broker, "q", f"message {sent}")
            eventually(lambda: sum(waiter.take_reply() for waiter in waiters) == 1)
            assert blocked(redis_client) == WAITERS - sent
        assert sum(waiter.is_armed for waiter in waiters) == WAITERS - 3
    finally:
        for waiter in waiters:
            waiter.close()


def test_an_idle_consumer_mostly_asks_without_a_script(consume, redis_client):
    consumer = consume()
    consumer.claim(1, 0.3)
    redis_client.config_resetstat()
    consumer.claim(1, 1.0)
    stats = redis_client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= stats["cmdstat_exists"]["calls"]

"""Processes that die by kill -9 at any moment: what they sent stays, what they held comes back, no innocent pays."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore.brokers.port import Broker, Claim, Consumer, Owner, QueueSpec, Settlement
from longshore.brokers.registry import open_broker

from .children import Child, Say
from .contract import claim_all, claim_one, claim_some, give_back, ids, nothing_comes, send, settle, worker_name

Q = "orders"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = open_broker(url)
    broker.declare([QueueSpec(Q)])
    yield broker
    broker.close()


@pytest.fixture
def peer(broker: Broker) -> Iterator[Consumer]:
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    yield consumer
    consumer.close()


def holding(url: str, limit: int, owner: Owner | None = None) -> Child:
    """A worker that claims and then holds until it is killed."""

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(owner or Owner(worker_name(), 0), [Q])
        say(" ".join(map(str, ids(claim_some(consumer, limit)))))
        signal.pause()

    child = Child(work)
    child.wait_for(1)
    return child


def test_what_a_killed_sender_was_told_is_in_the_queue(url: str, broker: Broker, peer: Consumer) -> None:
    def sender(prefix: int) -> Callable[[Say], None]:
        def work(say: Say) -> None:
            mine = open_broker(url)
            for number in range(100_000):
                send(mine, Q, f"{prefix}-{number}")
                say(f"{prefix}-{number}")

        return work

    acknowledged: list[str] = []
    for prefix in range(5):
        child = Child(sender(prefix))
        child.wait_for(random.randint(1, 150))
        acknowledged += child.kill()
    found = []
    while claims := peer.claim(100, 0.0):
        found += ids(claims)
        settle(peer, *claims)
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 5, "at most the one that each was sending"
    assert len(set(found)) == len(found)


def test_claims_of_a_dead_worker_are_back_at_once_where_a_peer_lives(url: str, broker: Broker, peer: Consumer) -> None:
    delays = []
    for _ in range(4):
        send(broker, Q, "a", "b")
        child = holding(url, 2)
        peer.claim(1, 0.5)  # an idle peer, which has seen the other one by now
        died = time.monotonic()
        child.kill()
        for _ in range(2):
            settle(peer, claim_one(peer))
        delays.append(time.monotonic() - died)
    assert min(delays) < 0.1
    assert sorted(delays)[1] < 0.5, "seen by pidfd, not by the sweep"


def test_claims_of_a_dead_worker_are_there_for_the_next_start(url: str, broker: Broker) -> None:
    send(broker, Q, "a", "b")
    holding(url, 2).kill()
    started = time.monotonic()
    fresh = open_broker(url)
    consumer = fresh.consumer(Owner(worker_name(), 0), [Q])
    assert len(consumer.claim(1, 5.0)) == 1
    assert time.monotonic() - started < 1.0
    consumer.close()
    fresh.close()


def test_a_sweep_alone_brings_them_back(url: str, broker: Broker) -> None:
    send(broker, Q, "a", "b", "c")
    holding(url, 3).kill()
    assert broker.sweep([Q]) == 3
    depth = broker.depths([Q])[Q]
    assert depth is not None
    assert (depth.ready, depth.leased) == (3, 0)


def test_a_frozen_worker_keeps_its_claims(url: str, broker: Broker) -> None:
    """Alive is alive: a task that holds the GIL, or a stopped process, loses nothing."""
    send(broker, Q, "a")
    child = holding(url, 1)
    child.stop()
    assert broker.sweep([Q]) == 0
    child.kill()
    assert broker.sweep([Q]) == 1


def test_a_forked_grandchild_does_not_keep_a_dead_worker_alive(url: str, broker: Broker) -> None:
    send(broker, Q, "a")

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        claim_one(consumer)
        grandchild = os.fork()
        if grandchild == 0:
            signal.pause()
        say(str(grandchild))
        signal.pause()

    child = Child(work)
    grandchild = int(child.wait_for(1)[0])
    child.kill()
    try:
        assert broker.sweep([Q]) == 1
        send(broker, Q, "b")
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_killed_at_any_moment_workers_lose_nothing(url: str, broker: Broker, peer: Consumer) -> None:
    names = [str(n) for n in range(1500)]
    send(broker, Q, *names)
    read_ahead, kills = 20, 6

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        while True:
            for claim in consumer.claim(read_ahead, 1.0):
                say(str(claim.message.id))
                consumer.settle(Settlement(claim))

    ran: list[str] = []
    for _ in range(kills):
        child = Child(work)
        child.wait_for(random.randint(1, 200))
        ran += child.kill()
    while claims := peer.claim(100, 0.0):
        ran += map(str, ids(claims))
        settle(peer, *claims)
    assert set(ran) == set(names)
    assert len(ran) - len(names) <= kills * read_ahead
    depth = broker.depths([Q])[Q]
    assert depth is not None
    assert (depth.ready, depth.leased, depth.delayed) == (0, 0, 0)


# -- who is counted --------------------------------------------------------------------------------------------------


def test_who_died_holding_one_had_started_it(url: str, broker: Broker, peer: Consumer) -> None:
    send(broker, Q, "a")
    holding(url, 1).kill()
    claim = claim_one(peer)
    assert (claim.deliveries, claim.redelivered) == (1, True)


def test_of_several_nobody_counts_and_each_comes_alone(url: str, broker: Broker, peer: Consumer) -> None:
    send(broker, Q, "a", "b", "c")
    holding(url, 3).kill()
    portions = []
    for _ in range(3):
        claims = claim_some(peer, 10)
        portions.append([(claim.message.id, claim.deliveries, claim.redelivered) for claim in claims])
        settle(peer, *claims)
    assert portions == [[("a", 0, True)], [("b", 0, True)], [("c", 0, True)]]


def test_the_rest_of_a_batch_does_not_count_though_it_is_one(url: str, broker: Broker, peer: Consumer) -> None:
    """With early acknowledgment the running task is gone from the queue: what is left is innocent."""
    send(broker, Q, "runs", "waits")

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        consumer.acknowledge_now(claim_all(consumer, 2)[:1])
        say("started")
        signal.pause()

    child = Child(work)
    child.wait_for(1)
    child.kill()
    claim = claim_one(peer)
    assert (claim.message.id, claim.deliveries) == ("waits", 0)


def test_while_the_supervisor_lives_it_alone_says_what_had_started(url: str, broker: Broker, peer: Consumer) -> None:
    worker = worker_name()
    supervisor = open_broker(url)
    supervisor.keep_claims(worker, [0], [Q])
    send(broker, Q, "a")
    child = holding(url, 1, Owner(worker, 0))
    peer.claim(1, 0.0)
    child.kill()
    assert nothing_comes(peer, 0.2), "the others leave it a second"
    assert supervisor.release_owner(Owner(worker, 0), [Q], started=[]) == 1
    assert claim_one(peer).deliveries == 0
    supervisor.close()


def test_a_supervisor_that_does_nothing_is_not_waited_for(url: str, broker: Broker, peer: Consumer) -> None:
    worker = worker_name()
    supervisor = open_broker(url)
    supervisor.keep_claims(worker, [0], [Q])
    send(broker, Q, "a", "b")
    holding(url, 2, Owner(worker, 0)).kill()
    assert len(claim_some(peer)) == 1
    supervisor.close()


def test_only_the_poison_reaches_the_limit(url: str, broker: Broker) -> None:
    """Whole pods die with it (nobody is left to say what ran), with a deep read-ahead: innocents are never counted."""
    names = [f"{n}" for n in range(60)]
    send(broker, Q, *names[:30], "poison", *names[30:])

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        limit = 1
        while claims := consumer.claim(limit, 0.1):
            for claim in claims:
                run(claim, consumer, say)
            limit = 1 if claims[0].redelivered else 20

    def run(claim: Claim, consumer: Consumer, say: Say) -> None:
        say(f"{claim.message.id} {claim.deliveries}")
        if claim.message.id == "poison" and claim.deliveries < 5:
            os.kill(os.getpid(), signal.SIGKILL)
        consumer.settle(Settlement(claim))

    counts: Counter[str] = Counter()
    for _ in range(20):
        child = Child(work)
        code = child.reap()
        for line in child.said():
            name, deliveries = line.split()
            counts[name] = max(counts[name], int(deliveries))
        if code == 0:
            break
    assert counts.pop("poison") == 5
    assert set(counts) == set(names)
    assert set(counts.values()) == {0}


def test_a_busy_worker_lets_a_suspect_run_alone(url: str, broker: Broker, peer: Consumer) -> None:
    send(broker, Q, "busy")
    busy = claim_one(peer)
    send(broker, Q, "suspect", "other")
    holding(url, 2).kill()
    send(broker, Q, "fresh")
    assert broker.sweep([Q]) == 2
    assert peer.claim(10, 0.0) == [], "it neither takes the suspect nor passes it by"
    settle(peer, busy)
    assert ids(peer.claim(10, 0.0)) == ["suspect"]


def test_a_suspect_does_not_wait_for_a_long_task(url: str, broker: Broker, peer: Consumer) -> None:
    send(broker, Q, "long")
    claim_one(peer)
    send(broker, Q, "a", "b")
    holding(url, 2).kill()
    broker.sweep([Q])
    assert ids(claim_some(peer, 10)) == ["a"], "after a second it comes all the same"


# -- contention ------------------------------------------------------------------------------------------------------


def test_senders_and_workers_in_many_processes_share_the_file(url: str, broker: Broker) -> None:
    def sender(prefix: int) -> Callable[[Say], None]:
        def work(_: Say) -> None:
            mine = open_broker(url)
            for number in range(200):
                send(mine, Q, f"{prefix}-{number}")

        return work

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        while claims := consumer.claim(5, 1.0):
            say("\n".join(map(str, ids(claims))))
            settle(consumer, *claims)
        consumer.close()

    children = [Child(sender(n)) for n in range(2)] + [Child(work) for _ in range(2)]
    said: list[str] = []
    for child in children:
        assert child.reap() == 0
        said += child.said()
    assert len(said) == len(set(said)) == 400


def test_a_wait_costs_no_cpu(broker: Broker, peer: Consumer) -> None:
    peer.claim(1, 0.0)
    used = time.process_time()
    assert peer.claim(1, 1.0) == []
    assert time.process_time() - used < 0.05


def test_given_back_work_wakes_another_process(url: str, broker: Broker, peer: Consumer) -> None:
    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(worker_name(), 0), [Q])
        consumer.claim(1, 0.0)
        say("waiting")
        claim_one(consumer)
        say(str(time.monotonic()))

    send(broker, Q, "a")
    claim = claim_one(peer)
    child = Child(work)
    child.wait_for(1)
    at = time.monotonic()
    give_back(peer, claim)
    child.reap()
    assert float(child.said()[1]) - at < 0.2

"""What is particular to a cluster: several nodes at once, slots that move, and what cannot be done there."""

from __future__ import annotations

import threading
import time

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement, Started
from longshore.brokers.redis import calls as calls_module
from longshore.brokers.redis import server as server_module
from longshore.brokers.redis.topology import slot_of
from longshore.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, ImproperlyConfigured
from tests.brokers.contract import claim_all, claim_one, claim_some, eventually, ids, message, send, settle
from tests.support.workers import running_worker, wait_for

pytestmark = pytest.mark.integration

QUEUES = tuple(f"queue-{number}" for number in range(8))
"""Enough to be at all nodes."""


@pytest.mark.parametrize(
    "key", ["", "123456789", "foo", "{foo}bar", "a{}b", "x{foo}{bar}", "x{", "}{a}", "ä", "longshore:1:{q}:held"]
)
def test_slots_are_those_of_the_server(key, redis_cluster):
    with redis_cluster.servers[0].client() as client:
        assert client.execute_command("CLUSTER", "KEYSLOT", key) == slot_of(key)


def test_all_keys_of_a_queue_are_in_its_slot():
    for name in ("q", "{q}\x06\x163", "longshore:1:{q}:held:worker/0"):
        assert slot_of(name) == slot_of("q")


@pytest.fixture
def broker(redis_cluster):
    redis_cluster.empty()
    broker = open_broker(redis_cluster.url("lease_seconds=2"))
    broker.declare([QueueSpec(queue) for queue in QUEUES])
    yield broker
    broker.close()


@pytest.fixture
def consumer(broker):
    consumer = broker.consumer(Owner("w", 0), QUEUES)
    yield consumer
    consumer.close()


@pytest.fixture
def short_deadlines(monkeypatch):
    monkeypatch.setattr(calls_module, "DEADLINE", 1.0)
    monkeypatch.setattr(server_module, "DEADLINE", 1.0)


def test_the_queues_of_the_tests_are_at_all_nodes(redis_cluster):
    assert {redis_cluster.of_slot(slot_of(queue)).port for queue in QUEUES} == {
        server.port for server in redis_cluster.servers
    }


def test_one_consumer_claims_from_queues_at_all_nodes(broker, consumer):
    broker.send([Outgoing(queue, message(queue, priority=number)) for number, queue in enumerate(QUEUES)])
    claims = claim_all(consumer, len(QUEUES))
    assert sorted(ids(claims)) == sorted(QUEUES)
    assert settle(consumer, *claims) == 0
    assert all(depth.leased == 0 for depth in broker.depths(QUEUES).values())


def test_a_waiting_consumer_gets_what_comes_at_any_node(broker, consumer):
    for queue in QUEUES:
        timer = threading.Timer(0.1, send, (broker, queue, queue))
        timer.start()
        assert ids(claim_some(consumer)) == [queue]
        timer.join()


def test_what_goes_to_another_queue_is_sent_before_the_claim_is_settled(broker, consumer, monkeypatch):
    send(broker, QUEUES[0], "a")
    claim = claim_one(consumer)
    dead, retry = Outgoing(QUEUES[1], message("dead")), Outgoing(QUEUES[0], message("retry"))
    consumer.settle(Settlement(claim, sends=(dead, retry)))
    before = []
    monkeypatch.setattr(consumer, "_send", lambda sends: before.append((sends, broker.depths(QUEUES[:1])[QUEUES[0]])))
    assert consumer.flush() == 0
    [(sends, depth)] = before
    assert (sends, depth.leased) == ((dead,), 1)
    assert [one.id for one in broker.peek(QUEUES[0], 5)] == ["retry"]


def test_where_the_sending_fails_the_claim_stays(broker, consumer, monkeypatch):
    send(broker, QUEUES[0], "a")
    claim = claim_one(consumer)
    consumer.settle(Settlement(claim, sends=(Outgoing(QUEUES[1], message("dead")),)))
    real = consumer._send

    def fail(_: object) -> None:
        raise BrokerUnavailable("no")

    monkeypatch.setattr(consumer, "_send", fail)
    with pytest.raises(BrokerUnavailable):
        consumer.flush()
    assert broker.depths(QUEUES[:1])[QUEUES[0]].leased == 1
    monkeypatch.setattr(consumer, "_send", real)
    assert consumer.flush() == 0
    assert [one.id for one in broker.peek(QUEUES[1], 5)] == ["dead"]


def test_beside_a_suspect_nothing_is_claimed_from_other_queues(broker, consumer):
    other = broker.consumer(Owner("dead", 0), QUEUES[:1])
    send(broker, QUEUES[0], "poison")
    claim_one(other)
    broker.release_owner(Owner("dead", 0), QUEUES[:1], [Started("poison", counted=True)])
    other.abandon()
    claims = claim_some(consumer, 10)
    assert (ids(claims), claims[0].deliveries) == (["poison"], 1)
    send(broker, QUEUES[1], "innocent")
    assert consumer.claim(10, 0) == []
    settle(consumer, *claims)
    assert ids(claim_some(consumer, 10)) == ["innocent"]


def test_a_suspect_waits_until_the_hands_are_empty_of_other_queues_too(broker, consumer):
    send(broker, QUEUES[1], "innocent")
    held = claim_one(consumer)
    other = broker.consumer(Owner("dead", 0), QUEUES[:1])
    send(broker, QUEUES[0], "poison")
    claim_one(other)
    broker.release_owner(Owner("dead", 0), QUEUES[:1], [Started("poison", counted=True)])
    other.abandon()
    assert consumer.claim(10, 0) == []
    settle(consumer, held)
    assert ids(claim_some(consumer, 10)) == ["poison"]


def test_the_dead_and_the_silent_lose_their_claims_at_every_node(broker, consumer):
    broker.send([Outgoing(queue, message(queue)) for queue in QUEUES])
    claim_all(consumer, len(QUEUES))
    assert broker.release_owner(Owner("w", 0), QUEUES, []) == len(QUEUES)
    claim_all(consumer, len(QUEUES))

    def all_are_back() -> bool:
        broker.sweep(QUEUES)
        return sum(depth.ready for depth in broker.depths(QUEUES).values()) == len(QUEUES)

    eventually(all_are_back)


# -- slots that move -------------------------------------------------------------------------------------------------


def test_while_its_slot_moves_a_queue_waits_and_nothing_is_lost(broker, redis_cluster, short_deadlines):
    queue = QUEUES[0]
    slot = slot_of(queue)
    consumer = broker.consumer(Owner("w", 0), [queue])
    send(broker, queue, "held", "left")
    held = claim_one(consumer)
    send(broker, queue, "late", due_at=time.time() + 3600)
    target = redis_cluster.start_moving(slot)
    for call in (lambda: consumer.claim(1, 0), lambda: broker.sweep([queue]), lambda: broker.purge(queue)):
        with pytest.raises(BrokerUnavailable, match="is moving what is asked for"):
            call()
    redis_cluster.finish_moving(slot, target)
    depth = broker.depths([queue])[queue]
    assert (depth.ready, depth.leased, depth.delayed) == (1, 1, 1)
    assert settle(consumer, held) == 0
    assert ids(claim_some(consumer, 5)) == ["left"]
    consumer.close()


def test_no_message_is_lost_or_doubled_by_moves_under_load(broker, redis_cluster):
    queue, total = QUEUES[1], 300
    slot = slot_of(queue)
    got: list = []
    consumer = broker.consumer(Owner("w", 0), [queue])

    def consume() -> None:
        while len(got) < total:
            try:
                claims = consumer.claim(5, 0.2)
                got.extend(ids(claims))
                for claim in claims:
                    consumer.settle(Settlement(claim))
            except BrokerError:
                time.sleep(0.01)
        consumer.close()

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    for number in range(total):
        send(broker, queue, str(number))
        if number % 60 == 30:
            target = redis_cluster.start_moving(slot)
            time.sleep(0.05)
            redis_cluster.finish_moving(slot, target)
    thread.join(timeout=20)
    assert sorted(map(int, got)) == list(range(total))


def test_who_waits_is_woken_at_the_new_node(broker, redis_cluster):
    queue = QUEUES[2]
    consumer = broker.consumer(Owner("w", 0), [queue])
    got: list = []

    def consume() -> None:
        ends = time.monotonic() + 15
        while not got and time.monotonic() < ends:
            try:
                got.extend(consumer.claim(1, 5.0))
            except BrokerError:
                time.sleep(0.01)

    thread = threading.Thread(target=consume)
    thread.start()
    slot = slot_of(queue)
    redis_cluster.finish_moving(slot, redis_cluster.start_moving(slot))
    send(broker, queue, "a")
    thread.join()
    assert ids(got) == ["a"]
    settle(consumer, *got)
    consumer.close()


# -- a worker --------------------------------------------------------------------------------------------------------


def test_a_worker_runs_tasks_from_queues_at_all_nodes(broker, redis_cluster, tmp_path):
    effects = tmp_path / "effects"
    effects.touch()
    options = ("-Q", ",".join(QUEUES), "-c", "2", "--ack-policy", "late")
    place = {"broker": redis_cluster.url(), "log": tmp_path / "log", "environ": {"EFFECTS": str(effects)}}
    with running_worker("tests.worker.tasks_for_tests:app", *options, **place) as worker:
        worker.ready()
        for number in range(40):
            one = message()
            body, headers = b"[[%d], {}, {}]" % number, {**one.headers, "task": "tests.worker.tasks_for_tests.innocent"}
            broker.send([Outgoing(QUEUES[number % 8], type(one)(body, headers, one.properties))])
        wait_for("all ran", lambda: len(effects.read_text().splitlines()) == 40, 20)
        assert worker.terminate() == 0
    assert len(set(effects.read_text().splitlines())) == 40
    assert all((depth.ready, depth.leased) == (0, 0) for depth in broker.depths(QUEUES).values())


# -- what cannot be --------------------------------------------------------------------------------------------------


def test_the_capability_table_says_what_a_cluster_cannot(broker):
    table = broker.capabilities
    assert (table.name, table.fenced) == ("redis-cluster", True)
    assert (table.atomic_settle, table.celery_interop) == (False, False)


def test_braces_in_a_queues_name_are_refused(broker):
    with pytest.raises(ImproperlyConfigured, match="may hold no braces"):
        broker.declare([QueueSpec("{a}b")])


def test_one_nodes_address_is_refused_with_what_to_write(redis_cluster):
    broker = open_broker(f"redis://127.0.0.1:{redis_cluster.servers[0].port}/0")
    with pytest.raises(BrokerRefused, match=r"is a Redis Cluster: write redis\+cluster://"):
        broker.declare([QueueSpec("q")])
    broker.close()


def test_a_single_server_is_no_cluster(redis_url):
    broker = open_broker(redis_url.replace("redis://", "redis+cluster://"))
    with pytest.raises(BrokerError, match="cluster support disabled"):
        broker.depths(["q"])
    broker.close()

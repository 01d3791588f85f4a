"""The least rights of the documentation are enough for everything that a worker and an operator do on their queue."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest
import redis

from longshore import brokers
from longshore.brokers import open_broker
from longshore.brokers.control import Event, Names, open_control
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement, Started
from longshore.core.chord import Part, Whole
from longshore.core.ratelimit import Rate, parse_rate
from longshore.exceptions import BrokerRefused
from longshore.results import open_results
from longshore.results.port import ResultMeta
from longshore.stores import open_store
from tests.brokers.contract import claim_some, ids, message, report_of, send

pytestmark = pytest.mark.integration

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "redis.md"


LUA = Path(brokers.__file__).parent / "redis" / "lua"
BASE, SENTINEL, CLUSTER = (
    line.split() for line in REFERENCE.read_text().splitlines() if line.startswith("ACL SETUSER")
)


def permit(server, *lines) -> None:
    with server.client() as client:
        for line in lines:
            client.execute_command(*line)


@pytest.fixture
def url(new_redis):
    server = new_redis()
    permit(server, BASE)
    return f"redis://longshore:password@127.0.0.1:{server.port}/0"


def test_every_command_of_the_scripts_is_among_them():
    called = {name for file in LUA.glob("*.lua") for name in re.findall(r"redis\.p?call\('([A-Z]+)'", file.read_text())}
    assert {f"+{name.lower()}" for name in called} <= set(BASE)


def test_they_are_enough_for_a_broker(url):
    broker = open_broker(url)
    broker.declare([QueueSpec("orders")])
    broker.send(
        [Outgoing("orders", message(name, priority=9)) for name in "abc"] + [Outgoing("orders.dead", message("x"))]
    )
    send(broker, "orders", "late", due_at=time.time() + 3600)
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    claims = claim_some(consumer, 3)
    consumer.settle(Settlement(claims[0], sends=(Outgoing("orders", message("retry"), time.time() + 3600),)))
    consumer.settle(Settlement(claims[1], give_back=True, counted=True))
    consumer.acknowledge_now([claims[2]])
    assert ids(claim_some(consumer, 10)) == ["b"]
    broker.keep_claims("w", [0], ["orders"])
    assert broker.release_owner(Owner("w", 0), ["orders"], [Started("b")]) == 1
    assert [seen.id for seen in broker.peek("orders", 5)] == ["b"]
    broker.sweep(["orders"])
    assert broker.depths(["orders"])["orders"].delayed == 2
    broker.report(report_of("w"))
    assert len(broker.workers()) == 1
    broker.forget_worker("w")
    consumer.close()
    assert broker.purge("orders") == 3
    broker.delete_queue("orders")
    broker.close()


def test_they_are_enough_for_a_wait(url):
    broker = open_broker(url)
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    assert consumer.claim(1, 0.05) == []
    thread = threading.Timer(0.05, send, (broker, "orders", "a"))
    thread.start()
    assert ids(claim_some(consumer, 1)) == ["a"]
    thread.join()
    consumer.close()
    broker.close()


def test_they_are_enough_for_results_and_marks(url):
    results = open_results(url)
    thread = threading.Timer(0.05, results.store, ([ResultMeta(task_id="a", status="SUCCESS")],))
    thread.start()
    assert results.wait("a", 5).status == "SUCCESS"
    thread.join()
    results.store([ResultMeta(task_id="a", status="FAILURE")], expires=None)
    results.forget(["a"])
    assert results.fetch(["a"]) == [None]
    results.close()
    store = open_store(url)
    assert store.claim_once("tick", "a", expires=5)
    assert store.acquire("report", "a", expires=5) == 0.0
    assert store.renew("report", "a", expires=5)
    assert store.release("report", "a")
    assert store.take("mails", Rate(1, 1.0)).taken
    store.mark("revoked", ["a"], expires=5)
    assert store.marked("revoked").ids == ["a"]
    store.unmark("revoked", ["a"])
    assert store.count("chord", "0", expires=5) == 1
    store.close()


def test_they_are_enough_to_restore_what_celery_lost_and_to_hand_back(url, caplog):
    broker = open_broker(url)
    send(broker, "orders", "a", "b", "c")
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    claims = {claim.message.id: claim for claim in claim_some(consumer, 3)}
    consumer.settle(Settlement(claims["b"], give_back=True, counted=True))
    consumer.flush()
    send(broker, "orders", "late", due_at=time.time() + 3600)
    entry = json.dumps([{"body": "e30=", "properties": {"body_encoding": "base64"}}, "exchange", "orders"])
    with redis.Redis(port=broker._address.port) as admin:
        admin.hset("unacked", "tag", entry)
        admin.zadd("unacked_index", {"tag": 1})
        admin.sadd("_kombu.binding.exchange", "orders\x06\x16\x06\x16orders")
    assert broker.sweep(["orders"]) >= 1
    assert broker.depths(["orders"])["orders"].ready == 2  # what was given back, and what Celery had lost
    moved = broker.handback("orders")
    assert (moved.suspects, moved.delayed) == (1, 1)
    assert caplog.text == ""
    broker.close()


def test_they_are_enough_for_remote_control(url):
    node, client, watcher = open_control(url), open_control(url), open_control(url)
    node.hear_commands("w@host")
    client.hear_replies("asker")
    watcher.hear_events("watcher")
    client.command({"method": "ping"}, {})
    assert node.receive(5)[0].body == {"method": "ping"}
    node.reply(Names().replies_exchange, "asker", {"ok": "pong"}, {})
    assert client.receive(5)[0].body == {"ok": "pong"}
    node.publish([Event("worker.online", {"type": "worker-online"}, {})])
    assert watcher.receive(5)[0].body == {"type": "worker-online"}
    assert node.held("w", ["orders"]) == node.delayed(["orders"], 10) == []
    for line in (node, client, watcher):
        line.close()


def test_they_are_enough_for_locks_limits_marks_and_chords(url):
    store = open_store(url)
    assert store.acquire("lock", "a", expires=5) == 0
    assert store.acquire("lock", "b", expires=5) > 0
    assert store.renew("lock", "a", expires=5)
    assert store.release("lock", "a")
    assert store.take("rate", parse_rate("10/s")).taken
    store.mark("revoked", ["a", "b"], expires=5)
    store.unmark("revoked", ["a"])
    assert store.marked("revoked").ids == ["b"]
    assert store.count("group", "a", expires=5) == 1
    store.close()
    results = open_results(url)
    results.start_chords({"g": 1}, anew=True, expires=60)
    results.grow_chord("g", 1, expires=60)
    parts = [Part("g", name, index, "SUCCESS", 1) for index, name in enumerate("ab")]
    assert isinstance(results.count_parts(parts, expires=60)[1], Whole)
    results.finish_chord("g", parts[1].claimant, expires=60)
    results.save_group("g", [1], expires=60)
    assert results.restore_group("g") == [1]
    results.delete_group("g")
    results.close()


def test_those_for_sentinels_are_enough_behind_them(sentinels):
    for server in sentinels.servers:
        permit(server, BASE, SENTINEL)
    broker = open_broker(sentinels.url().replace("sentinel://", "sentinel://longshore:password@"))
    send(broker, "orders", "a")
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    assert ids(claim_some(consumer, 1)) == ["a"]
    consumer.close()
    broker.close()


def test_those_for_a_cluster_are_enough_in_it(redis_cluster):
    redis_cluster.empty()
    for server in redis_cluster.servers:
        permit(server, BASE, CLUSTER)
    url = redis_cluster.url().replace("redis+cluster://", "redis+cluster://longshore:password@")
    test_they_are_enough_for_a_broker(url)
    test_they_are_enough_for_a_wait(url)
    test_they_are_enough_for_results_and_marks(url)
    test_they_are_enough_for_locks_limits_marks_and_chords(url)
    test_they_are_enough_for_remote_control(url)


def test_another_queue_is_refused_with_the_reason(url):
    broker = open_broker(url)
    with pytest.raises(BrokerRefused, match="does not permit this user what a broker needs"):
        send(broker, "payments", "a")
    broker.close()

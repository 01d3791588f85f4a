"""Programs that speak kombu, on the file that Longshore's workers use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import kombu
import pytest

import longshore.brokers.sqlite.transport  # noqa: F401 - registers the alias
from longshore.brokers.port import Broker, Outgoing, Owner
from longshore.brokers.registry import open_broker

from .contract import claim_one, message, nothing_comes, settle


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture
def connection(url: str) -> Iterator[kombu.Connection]:
    with kombu.Connection(f"longshore+{url}") as connection:
        yield connection


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = open_broker(url)
    yield broker
    broker.close()


@pytest.mark.parametrize("alias", [True, False])
def test_both_ways_to_name_it_lead_to_the_same_file(url: str, alias: bool, broker: Broker) -> None:
    name = {"transport": "longshore.brokers.sqlite.transport:Transport"}
    with kombu.Connection(f"longshore+{url}") if alias else kombu.Connection(url, **name) as connection:
        connection.Producer().publish({"a": 1}, routing_key="orders")
    depth = broker.depths(["orders"])["orders"]
    assert depth is not None
    assert depth.ready == 1


def test_a_round_trip_by_producer_and_consumer(connection: kombu.Connection) -> None:
    queue = kombu.Queue("orders", kombu.Exchange("shop"), routing_key="new")
    got: list[object] = []

    def receive(body: object, received: kombu.Message) -> None:
        got.append((body, received.headers["lang"], received.properties["correlation_id"]))
        received.ack()

    producer = connection.Producer()
    for number in range(3):
        producer.publish(
            {"n": number}, exchange=queue.exchange, routing_key="new", declare=[queue], headers={"lang": "py"},
            correlation_id=str(number),
        )  # fmt: skip
    with connection.Consumer([queue], callbacks=[receive]):
        while len(got) < 3:
            connection.drain_events(timeout=5)
    assert got == [({"n": number}, "py", str(number)) for number in range(3)]
    assert connection.default_channel._size("orders") == 0


def test_what_kombu_puts_our_consumer_claims(connection: kombu.Connection, broker: Broker) -> None:
    connection.Producer().publish(
        [[1], {}, {}], routing_key="orders", headers={"task": "t", "id": "a"}, correlation_id="a", priority=7
    )
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    claim = claim_one(consumer)
    assert (claim.message.id, claim.message.body, claim.message.priority) == ("a", b"[[1], {}, {}]", 7)
    assert set(claim.message.properties) == {"correlation_id", "delivery_mode", "priority"}
    consumer.close()


def test_what_our_broker_sends_kombu_gets(connection: kombu.Connection, broker: Broker) -> None:
    broker.send([Outgoing("orders", message("a", body=b'[["\xc3\xa4"], {}, {}]'))])
    got = connection.SimpleQueue(kombu.Queue("orders")).get(timeout=5)
    assert (got.payload, got.headers["id"], got.delivery_info["redelivered"]) == ([["ä"], {}, {}], "a", False)
    got.ack()
    assert broker.depths(["orders"])["orders"].ready == 0


def test_what_kombu_holds_is_a_claim_until_it_acknowledges(connection: kombu.Connection, broker: Broker) -> None:
    broker.send([Outgoing("orders", message("a"))])
    simple = connection.SimpleQueue(kombu.Queue("orders"))
    got = simple.get(timeout=5)
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    assert nothing_comes(consumer)
    got.requeue()
    claim = claim_one(consumer)
    assert (claim.redelivered, claim.deliveries) == (True, 0)
    assert settle(consumer, claim) == 0
    consumer.close()


def test_rejected_it_is_gone(connection: kombu.Connection, broker: Broker) -> None:
    broker.send([Outgoing("orders", message("a"))])
    connection.SimpleQueue(kombu.Queue("orders")).get(timeout=5).reject()
    depth = broker.depths(["orders"])["orders"]
    assert depth is not None
    assert (depth.ready, depth.leased) == (0, 0)


def test_closing_gives_back_what_was_not_acknowledged(url: str, broker: Broker) -> None:
    broker.send([Outgoing("orders", message("a"))])
    with kombu.Connection(f"longshore+{url}") as connection:
        connection.SimpleQueue(kombu.Queue("orders")).get(timeout=5)
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    assert claim_one(consumer).redelivered
    consumer.close()


def test_without_acknowledgments_a_delivery_settles(connection: kombu.Connection, broker: Broker) -> None:
    broker.send([Outgoing("orders", message("a")), Outgoing("orders", message("b"))])
    channel = connection.channel()
    assert channel.basic_get("orders", no_ack=True).headers["id"] == "a"
    got: list[object] = []
    with connection.Consumer([kombu.Queue("orders")], on_message=got.append, no_ack=True):
        connection.drain_events(timeout=5)
    channel.close()
    assert [one.headers["id"] for one in got] == ["b"]
    assert broker.depths(["orders"])["orders"].ready == 0


def test_declared_and_purged_by_kombu(connection: kombu.Connection, broker: Broker) -> None:
    queue = kombu.Queue("orders", channel=connection.default_channel)
    queue.declare()
    assert broker.depths(["orders"])["orders"] is not None
    broker.send([Outgoing("orders", message("a"))])
    assert queue.queue_declare(passive=True).message_count == 1
    assert queue.purge() == 1

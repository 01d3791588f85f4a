"""Celery's side of the queue is kombu's real Redis transport: what it puts we claim, what we send it gets."""

from __future__ import annotations

import json
import uuid

import kombu
import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement
from longshore.message import Message, dump_body, load_body

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

BODY = [[1, "ä"], {"k": None}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


@pytest.fixture
def broker(redis_url):
    broker = open_broker(redis_url)
    broker.declare([QueueSpec("celery")])
    yield broker
    broker.close()


@pytest.fixture
def consumer(broker):
    consumer = broker.consumer(Owner("w", 0), ["celery"])
    yield consumer
    consumer.close()


@pytest.fixture
def celery(redis_url):
    with kombu.Connection(redis_url) as connection:
        yield connection
        connection.default_channel.close()


def headers(name: str) -> dict:
    return {"lang": "py", "task": "shop.add", "id": name, "retries": 0, "timelimit": [None, None], "stamps": {"a": []}}


def publish(celery: kombu.Connection, name: str, **options) -> None:
    """As a Celery client does: a direct exchange of the queue's name, declared."""
    queue = kombu.Queue("celery", kombu.Exchange("celery", type="direct"), routing_key="celery")
    celery.Producer().publish(
        BODY,
        serializer="json",
        headers=headers(name),
        correlation_id=name,
        reply_to="reply-queue",
        exchange=queue.exchange,
        routing_key="celery",
        declare=[queue],
        **options,
    )


def test_what_celery_sends_we_claim_as_it_was_meant(celery, consumer):
    name = str(uuid.uuid4())
    publish(celery, name, priority=6)
    [claim] = consumer.claim(10, 1.0)
    assert load_body(claim.message) == BODY
    assert claim.message.headers == headers(name)
    assert claim.message.id == name
    assert claim.message.priority == 6
    assert claim.message.properties["reply_to"] == "reply-queue"
    assert (claim.message.content_type, claim.message.content_encoding) == ("application/json", "utf-8")


@pytest.mark.parametrize("priority", range(10))
def test_both_sides_use_the_same_list_for_each_priority(celery, broker, redis_client, priority):
    publish(celery, "theirs", priority=priority)
    keys = set(redis_client.scan_iter("celery*"))
    message = Message(dump_body(BODY), headers("ours"), {"correlation_id": "ours", "priority": priority})
    broker.send([Outgoing("celery", message)])
    assert set(redis_client.scan_iter("celery*")) == keys
    assert [redis_client.llen(key) for key in keys] == [2]


def test_what_we_send_celery_gets_as_it_was_meant(celery, broker):
    properties = {"correlation_id": "a", "reply_to": "us", "priority": 3}
    broker.send([Outgoing("celery", Message(dump_body(BODY), headers("a"), properties))])
    got = celery.SimpleQueue("celery").get(timeout=5)
    assert got.payload == BODY
    assert got.headers == headers("a")
    assert {key: got.properties[key] for key in properties} == properties
    assert got.properties["delivery_mode"] == 2
    assert got.delivery_info == {"exchange": "", "routing_key": "celery"}
    got.ack()


def test_the_envelope_has_the_fields_of_kombus_and_one_of_ours(celery, broker, redis_client):
    publish(celery, "theirs")
    [theirs] = redis_client.lrange("celery", 0, -1)
    redis_client.delete("celery")
    [*_] = [broker.send([Outgoing("celery", Message(b"[]", {"id": "a"}, {"correlation_id": "a", "reply_to": "b"}))])]
    [ours] = redis_client.lrange("celery", 0, -1)
    theirs, ours = json.loads(theirs), json.loads(ours)
    assert set(ours) - set(theirs) == {"longshore-at"}
    assert set(theirs) <= set(ours)
    assert set(theirs["properties"]) == set(ours["properties"])
    assert {key: type(value) for key, value in theirs["properties"].items()} == {
        key: type(value) for key, value in ours["properties"].items()
    }


def test_a_message_that_celery_gave_back_is_redelivered(celery, broker, consumer):
    broker.send([Outgoing("celery", Message(dump_body(BODY), headers("a"), {"correlation_id": "a"}))])
    celery.SimpleQueue("celery").get(timeout=5).requeue()
    [claim] = consumer.claim(1, 1.0)
    assert claim.redelivered
    assert load_body(claim.message) == BODY


def test_what_we_give_back_is_celerys_again(celery, broker, consumer):
    publish(celery, "a")
    [claim] = consumer.claim(1, 1.0)
    consumer.settle(Settlement(claim, give_back=True))
    consumer.flush()
    got = celery.SimpleQueue("celery").get(timeout=5)
    assert got.headers["id"] == "a"
    got.ack()


def test_what_we_hold_celery_does_not_restore(celery, broker, consumer):
    """Celery restores what is in its own `unacked` only; our claims are not there, however long they last."""
    publish(celery, "a")
    assert len(consumer.claim(1, 1.0)) == 1
    channel = celery.default_channel
    channel.visibility_timeout = 0
    channel.qos.restore_visible(interval=1)
    assert broker.depths(["celery"])["celery"].ready == 0


def test_depth_is_the_sum_over_celerys_lists_as_kombu_counts_it(celery, broker):
    for number, priority in enumerate((0, 3, 6, 9)):
        publish(celery, str(number), priority=priority)
    assert broker.depths(["celery"])["celery"].ready == 4
    assert celery.default_channel._size("celery") == 4

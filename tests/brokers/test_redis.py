"""The Redis broker on a real server: what only Redis has. The port's common promises are in `contract.py`."""

from __future__ import annotations

import time

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Claim, Outgoing, Owner, QueueSpec, Settlement, Started
from longshore.exceptions import BrokerError
from longshore.message import Message

pytestmark = pytest.mark.integration


def message(name: str, **properties) -> Message:
    return Message(b"[[],{},{}]", {"task": "t", "id": name}, {"correlation_id": name, **properties})


def outgoing(name: str, queue: str = "q", due_at: float | None = None, **properties) -> Outgoing:
    return Outgoing(queue, message(name, **properties), due_at)


def ids(claims: list[Claim]) -> list[str | None]:
    return [claim.message.id for claim in claims]


@pytest.fixture
def broker(redis_url):
    broker = open_broker(redis_url + "?lease_seconds=0.5")
    broker.declare([QueueSpec("q")])
    yield broker
    broker.close()


@pytest.fixture
def consume(broker):
    """Return consumers that are closed at the end."""
    consumers = []

    def open_consumer(slot: int = 0, queues=("q",), **options):
        consumer = broker.consumer(Owner("w", slot), queues, **options)
        consumers.append(consumer)
        return consumer

    yield open_consumer
    for consumer in consumers:
        consumer.close()


def test_nine_is_claimed_first_and_within_a_step_the_oldest(broker, consume):
    broker.send([outgoing("a"), outgoing("b", priority=3), outgoing("c", priority=9), outgoing("d", priority=9)])
    assert ids(consume().claim(10, 0)) == ["c", "d", "b", "a"]


def test_priority_order_of_celery_is_the_reverse(redis_url):
    broker = open_broker(redis_url + "?priority_order=celery")
    broker.send([outgoing("high", priority=9), outgoing("low")])
    consumer = broker.consumer(Owner("w", 0), ["q"])
    assert ids(consumer.claim(10, 0)) == ["low", "high"]
    consumer.close()
    broker.close()


def test_a_settlement_and_what_it_sends_are_one(broker, consume):
    broker.send([outgoing("a")])
    consumer = consume()
    [claim] = consumer.claim(1, 0)
    consumer.settle(Settlement(claim, sends=(outgoing("again", due_at=time.time() + 60), outgoing("dead", "q.dead"))))
    assert broker.depths(["q.dead"]) == {"q.dead": None}
    assert consumer.flush() == 0
    depths = broker.depths(["q", "q.dead"])
    assert (depths["q"].ready, depths["q"].leased, depths["q"].delayed) == (0, 0, 1)
    assert depths["q.dead"].ready == 1


def test_a_settlement_of_a_lost_claim_is_refused_and_sends_nothing(broker, consume):
    broker.send([outgoing("a")])
    frozen, other = consume(0), consume(1)
    [claim] = frozen.claim(1, 0)
    await_takeover(broker, 1)
    assert ids(other.claim(1, 0)) == ["a"]
    frozen.settle(Settlement(claim, sends=(outgoing("dead", "q.dead"),)))
    assert frozen.flush() == 1
    assert broker.depths(["q.dead"]) == {"q.dead": None}
    assert broker.depths(["q"])["q"].leased == 1


def await_takeover(broker, count: int) -> None:
    deadline = time.monotonic() + 5
    moved = 0
    while moved < count and time.monotonic() < deadline:
        moved += broker.sweep(["q"])
        time.sleep(0.02)
    assert moved == count


def test_kept_claims_stay_though_their_process_is_busy(broker, consume):
    broker.send([outgoing("a")])
    consume(0).claim(1, 0)
    ends = time.monotonic() + 1.0
    while time.monotonic() < ends:
        broker.keep_claims("w", [0], ["q"])
        assert broker.sweep(["q"]) == 0
        time.sleep(0.1)
    assert broker.depths(["q"])["q"].leased == 1


def test_who_held_one_claim_was_running_it(broker, consume):
    broker.send([outgoing("a")])
    consume(0).claim(1, 0)
    await_takeover(broker, 1)
    [claim] = consume(1).claim(10, 0)
    assert (claim.deliveries, claim.redelivered) == (1, True)


def test_of_several_nobody_is_counted_and_each_is_claimed_alone(broker, consume):
    broker.send([outgoing(name) for name in "abc"])
    consume(0).claim(10, 0)
    await_takeover(broker, 3)
    broker.send([outgoing("fresh")])
    consumer = consume(1)
    seen = []
    for _ in range(3):
        [claim] = consumer.claim(10, 0)
        seen.append((claim.message.id, claim.deliveries, claim.redelivered))
        consumer.settle(Settlement(claim))
    assert seen == [("a", 0, True), ("b", 0, True), ("c", 0, True)]
    assert ids(consumer.claim(10, 0)) == ["fresh"]


def test_a_dead_child_gives_back_at_once_and_only_what_ran_counts(broker, consume):
    broker.send([outgoing(name) for name in "abc"])
    consume(0).claim(10, 0)
    assert broker.release_owner(Owner("w", 0), ["q"], started=[Started("b")]) == 3
    consumer = consume(1)
    [poison] = consumer.claim(10, 0)
    assert (poison.message.id, poison.deliveries) == ("b", 1)
    consumer.settle(Settlement(poison))
    assert [(claim.message.id, claim.deliveries, claim.redelivered) for claim in consumer.claim(10, 0)] == [
        ("a", 0, True),
        ("c", 0, True),
    ]


def test_what_is_no_envelope_becomes_a_claim_that_cannot_be_loaded(redis_client, broker, consume):
    redis_client.lpush("q", b"\xff\x00 garbage", b'{"body": 1}', b"[]", b'{"properties": 3, "body": ""}')
    consumer = consume()
    claims = consumer.claim(10, 0)
    assert {claim.message.content_type for claim in claims} == {"application/x-longshore-unreadable"}
    assert claims[0].message.body == b"\xff\x00 garbage"
    for claim in claims:
        consumer.settle(Settlement(claim, sends=(Outgoing("q.dead", claim.message),)))
    assert consumer.flush() == 0
    assert broker.peek("q.dead", 1)[0].body == b"\xff\x00 garbage"


def test_of_a_dead_child_with_many_slots_all_that_ran_count(broker, consume):
    broker.send([outgoing(name) for name in "abcd"])
    consume(0).claim(10, 0)
    assert broker.release_owner(Owner("w", 0), ["q"], started=[Started("b"), Started("d")]) == 4
    consumer = consume(1)
    seen = {}
    while len(seen) < 4:
        for claim in consumer.claim(10, 1.5):
            seen[claim.message.id] = claim.deliveries
            consumer.settle(Settlement(claim))
    assert seen == {"a": 0, "b": 1, "c": 0, "d": 1}


def test_what_is_abandoned_goes_back_and_what_was_noted_is_carried_out(broker, consume):
    broker.send([outgoing(name) for name in "abc"])
    consumer, other = consume(0), consume(1)
    done, ended, _ = consumer.claim(10, 0)
    consumer.settle(Settlement(done, sends=(outgoing("callback", "next"),)))
    consumer.abandon()
    consumer.settle(Settlement(ended))
    assert consumer.flush() == 0
    assert [(claim.message.id, claim.deliveries) for claim in other.claim(10, 0)] == [("c", 0)]
    assert broker.depths(["next"])["next"].ready == 1


def test_of_claims_acknowledged_before_their_start_one_that_is_lost_keeps_all(broker, consume):
    """All or none: what would be acknowledged and not started would be lost."""
    broker.send([outgoing("a"), outgoing("b", "r")])
    consumer = consume(0, ("q", "r"))
    claims = consumer.claim(2, 0)
    assert len(claims) == 2
    broker.release_owner(Owner("w", 0), ["r"], [])
    with pytest.raises(BrokerError, match="lost before it was acknowledged"):
        consumer.acknowledge_now(claims)
    consumer.abandon()
    assert sorted(str(name) for name in ids(consumer.claim(2, 0))) == ["a", "b"]

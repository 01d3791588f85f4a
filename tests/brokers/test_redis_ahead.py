"""What is fetched while the caller works: claimed once, given back like any other claim, never in the way."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from longshore.brokers import open_broker
from longshore.brokers.port import Owner, QueueSpec, Settlement, Started
from longshore.brokers.redis import consumer as consumer_module
from tests.brokers.contract import claim_all, claim_one, eventually, give_back, ids, nothing_comes, send
from tests.brokers.model import BrokerModel
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

HALF, LIMIT = 10, 20


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


def numbers(*span: int) -> list[str]:
    return [str(number) for number in range(*span)]


def settle_all(consumer, claims) -> None:
    for claim in claims:
        consumer.settle(Settlement(claim))


def held(broker) -> int:
    return broker.depths(["q"])["q"].leased


def test_half_of_the_limit_is_in_hand_and_half_on_its_way(broker, consume):
    """What counts as read-ahead is never more than was asked for."""
    send(broker, "q", *numbers(50))
    consumer = consume()
    assert ids(consumer.claim(LIMIT, 0, ahead=True)) == numbers(HALF)
    eventually(lambda: held(broker) == LIMIT)


def test_settlements_leave_with_the_request_that_goes_ahead(broker, consume):
    send(broker, "q", *numbers(50))
    consumer = consume()
    settle_all(consumer, consumer.claim(LIMIT, 0, ahead=True))
    assert ids(consumer.claim(LIMIT, 0, ahead=True)) == numbers(HALF, 2 * HALF)
    eventually(lambda: held(broker) == LIMIT)
    assert broker.depths(["q"])["q"].ready == 50 - 3 * HALF


def test_without_a_backlog_nothing_is_fetched_ahead(broker, consume):
    send(broker, "q", *numbers(HALF - 1))
    consumer = consume()
    claims = consumer.claim(LIMIT, 0, ahead=True)
    send(broker, "q", "late")
    assert nothing_comes(consume(1), 0) is False
    settle_all(consumer, claims)
    assert consumer.flush() == 0


def test_a_smaller_limit_gives_the_surplus_back_unseen(broker, consume):
    send(broker, "q", *numbers(30))
    consumer, rival = consume(0), consume(1)
    settle_all(consumer, consumer.claim(LIMIT, 0, ahead=True))
    assert ids(consumer.claim(1, 0)) == ["10"]
    eventually(lambda: held(broker) == 1)
    claims = claim_all(rival, 3)
    assert [(claim.message.id, claim.redelivered) for claim in claims] == [("11", False), ("12", False), ("13", False)]


def test_a_flush_gives_back_what_nobody_was_handed(broker, consume):
    send(broker, "q", *numbers(30))
    consumer, rival = consume(0), consume(1)
    settle_all(consumer, consumer.claim(LIMIT, 0, ahead=True)[1:])
    assert consumer.flush() == 0
    assert held(broker) == 1
    claims = claim_all(rival, 30 - HALF)
    assert ids(claims) == numbers(HALF, 30)
    assert not any(claim.redelivered for claim in claims)


@pytest.mark.parametrize("how", ["close", "release"])
def test_at_the_end_everything_goes_back_in_order(broker, consume, how):
    """Drained, or dead: then only the task that ran counts as started."""
    send(broker, "q", *numbers(30))
    consumer, rival = consume(0), consume(1)
    consumer.claim(LIMIT, 0, ahead=True)
    eventually(lambda: held(broker) == LIMIT)
    if how == "close":
        consumer.close()
    else:
        assert broker.release_owner(Owner("w", 0), ["q"], [Started("3")]) == LIMIT
        [suspect] = rival.claim(30, 0)
        assert (suspect.message.id, suspect.deliveries) == ("3", 1)
        settle_all(rival, [suspect])
    rest = claim_all(rival, 30 if how == "close" else 29)
    assert ids(rest) == [number for number in numbers(30) if how == "close" or number != "3"]
    assert not any(claim.deliveries for claim in rest)


def test_abandoned_it_goes_back_with_the_next_call(broker, consume):
    send(broker, "q", *numbers(30))
    consumer = consume()
    consumer.claim(LIMIT, 0, ahead=True)
    consumer.abandon()
    assert ids(consumer.claim(30, 0)) == numbers(30)
    assert held(broker) == 30


def test_a_suspect_is_handed_out_alone_and_after_what_has_ended_is_settled(broker, consume):
    """It may end this process: then nothing that has ended before it may run again."""
    send(broker, "q", *numbers(40))
    consumer, other = consume(0), consume(1)
    first = consumer.claim(LIMIT, 0, ahead=True)
    give_back(other, claim_one(other), counted=True)
    seen, suspects = ids(first), []
    settle_all(consumer, first)
    while len(seen) < 40:
        claims = consumer.claim(LIMIT, 1.0, ahead=True)
        if any(claim.deliveries for claim in claims):
            assert held(broker) == len(claims) == 1
            suspects += claims
        seen += ids(claims)
        settle_all(consumer, claims)
    assert ids(suspects) == ["20"]
    assert sorted(seen, key=lambda name: int(str(name))) == numbers(40)


def test_acknowledged_before_the_start_beside_a_request_on_its_way(broker, consume):
    send(broker, "q", *numbers(30))
    consumer, rival = consume(0), consume(1)
    claims = consumer.claim(LIMIT, 0, ahead=True)
    consumer.acknowledge_now(claims)
    assert ids(consumer.claim(LIMIT, 0, ahead=True)) == numbers(HALF, 2 * HALF)
    broker.release_owner(Owner("w", 0), ["q"], [])
    assert ids(claim_all(rival, 20)) == numbers(HALF, 30)


def test_an_answer_that_is_lost_on_its_way_costs_nothing(redis_server, redis_url):
    """Its settlements are told again, which the fence lets do nothing; its claims go back."""
    with Proxy(redis_server.port) as proxy:
        direct, broker = open_broker(redis_url), open_broker(f"redis://127.0.0.1:{proxy.port}/0")
        consumer = broker.consumer(Owner("w", 0), ["q"])
        send(direct, "q", *numbers(40))
        settle_all(consumer, consumer.claim(HALF, 0))
        assert consumer.flush() == 0
        settle_all(consumer, consumer.claim(LIMIT, 5.0, ahead=True))
        proxy.cut()  # whether the answer to what went ahead is here already or not
        assert consumer.flush() == 0
        assert direct.depths(["q"])["q"].leased == 0
        rival = direct.consumer(Owner("w", 1), ["q"])
        assert ids(claim_all(rival, 20)) == numbers(20, 40)
        rival.close()
        direct.close()
        consumer.close()
        broker.close()


def test_a_server_that_forgot_the_scripts_gets_them_again(broker, consume, redis_client):
    send(broker, "q", *numbers(40))
    consumer = consume()
    seen = []
    while len(seen) < 40:
        redis_client.script_flush()
        claims = consumer.claim(LIMIT, 1.0, ahead=True)
        redis_client.script_flush()
        seen += ids(claims)
        settle_all(consumer, claims)
    assert seen == numbers(40)
    assert consumer.flush() == 0
    assert held(broker) == 0


class AheadModel(BrokerModel):
    """The model, with every claim fetching ahead."""

    url: str
    ahead = True

    def connect(self):
        return open_broker(self.url)


class TestAheadModel(AheadModel.TestCase):
    settings = settings(max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))

    @pytest.fixture(autouse=True)
    def server(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(consumer_module, "AHEAD_FROM", 2)
        AheadModel.url = redis_url

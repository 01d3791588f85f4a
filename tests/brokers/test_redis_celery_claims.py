"""What a Celery worker took and lost comes back by our sweep; what it still may hold, and what is not ours, stays."""

from __future__ import annotations

import json

import kombu
import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Owner, QueueSpec
from longshore.brokers.redis.celery_claims import bound_queues, parse
from longshore.message import load_body

BODY = [[1], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


@pytest.mark.parametrize(
    "text", [None, b"", b"x", b"1", b"[]", b'["envelope", "", "q"]', b'[{}, 1, "q"]', b"[{}, null, null]"]
)
def test_what_is_no_entry_is_left_alone(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("bindings", "key", "queues"),
    [
        (["orders\x06\x16\x06\x16orders"], "orders", ("orders",)),
        (["orders\x06\x16\x06\x16orders"], "orders.eu", ()),
        (["a\x06\x16\x06\x16one", "a\x06\x16\x06\x16two", "b\x06\x16\x06\x16three"], "a", ("one", "two")),
        (["orders.*\x06\x16orders\\.[^.]*?$\x06\x16topic"], "orders.eu", ("topic",)),
        (["orders.*\x06\x16orders\\.[^.]*?$\x06\x16topic"], "orders.eu.x", ()),
        (["", "a"], "a", ()),
    ],
)
def test_bindings_lead_where_kombus_exchanges_lead(bindings, key, queues):
    assert bound_queues(bindings, key) == queues


class Celery:
    """A Celery worker's side, by kombu's own transport: it takes messages and dies with them."""

    def __init__(self, url: str) -> None:
        self.connection = kombu.Connection(url)
        self.channel = self.connection.default_channel

    def publish(self, name: str, *, queue: str = "celery", exchange: str = "", priority: int = 0) -> None:
        target = kombu.Queue(queue, kombu.Exchange(exchange, type="direct"), routing_key=queue)
        headers = {"lang": "py", "task": "shop.add", "id": name, "big": 2**60, "none": []}
        self.connection.Producer().publish(
            BODY, serializer="json", headers=headers, correlation_id=name, exchange=target.exchange, routing_key=queue,
            declare=[target] if exchange else [], priority=priority,
        )  # fmt: skip

    def take(self, queue: str = "celery") -> None:
        self.connection.SimpleQueue(queue).get(timeout=5)


@pytest.fixture
def celery(redis_url):
    celery = Celery(redis_url)
    yield celery
    celery.channel.qos.restore_at_shutdown = False
    celery.connection.release()


@pytest.fixture
def sweep(redis_url):
    """Sweep as a worker does, with a visibility time-out of this many seconds."""
    brokers = []

    def sweep(*queues: str, timeout: float = 0.2) -> int:
        brokers.append(open_broker(f"{redis_url}?visibility_timeout={timeout}"))
        brokers[-1].declare([QueueSpec(queue) for queue in queues])
        return brokers[-1].sweep(queues)

    yield sweep
    for broker in brokers:
        broker.close()


def age(client, seconds: float = 3700) -> None:
    """Let Celery's claims be older."""
    for tag, since in client.zrange("unacked_index", 0, -1, withscores=True):
        client.zadd("unacked_index", {tag: since - seconds})


pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parity("A5")
@pytest.mark.parametrize("exchange", ["", "celery"])
def test_what_a_dead_celery_worker_held_is_claimed_by_us(celery, sweep, redis_url, redis_client, exchange):
    for number in range(3):
        celery.publish(f"id-{number}", exchange=exchange, priority=6)
        celery.take()
    age(redis_client)
    assert sweep("celery", timeout=3600) == 3
    assert (redis_client.exists("unacked"), redis_client.exists("unacked_index")) == (0, 0)
    broker = open_broker(redis_url)
    consumer = broker.consumer(Owner("w", 0), ["celery"])
    claims = consumer.claim(10, 1)
    assert {claim.message.id for claim in claims} == {"id-0", "id-1", "id-2"}
    assert all(claim.redelivered and claim.message.priority == 6 for claim in claims)
    assert load_body(claims[0].message) == BODY
    assert (claims[0].message.headers["big"], claims[0].message.headers["none"]) == (2**60, [])
    consumer.close()
    broker.close()


def test_what_a_celery_worker_may_still_hold_stays(celery, sweep, redis_client):
    celery.publish("a")
    celery.take()
    assert sweep("celery", timeout=3600) == 0
    assert redis_client.hlen("unacked") == 1


def test_a_message_of_somebody_elses_queue_stays(celery, sweep, redis_client):
    for queue in ("celery", "theirs"):
        celery.publish(queue, queue=queue, exchange=queue)
        celery.take(queue)
    age(redis_client)
    assert sweep("celery") == 1
    [entry] = redis_client.hvals("unacked")
    assert json.loads(entry)[2] == "theirs"


def test_many_entries_of_others_do_not_hide_ours(celery, sweep, redis_client):
    redis_client.zadd("unacked_index", {f"foreign-{number}": number + 1 for number in range(250)})
    celery.publish("a")
    celery.take()
    age(redis_client)
    assert sweep("celery") == 1
    assert redis_client.zcard("unacked_index") == 250


def test_while_a_celery_worker_restores_we_do_not(celery, sweep, redis_client):
    celery.publish("a")
    celery.take()
    age(redis_client)
    redis_client.set("unacked_mutex", "a token", ex=300)
    assert sweep("celery") == 0
    redis_client.delete("unacked_mutex")
    assert sweep("celery") == 1


def test_both_restore_at_once_and_nothing_is_doubled(celery, sweep, redis_client):
    for number in range(50):
        celery.publish(str(number))
        celery.take()
    age(redis_client)
    celery.channel.qos.restore_visible(num=20, interval=1)
    swept = sweep("celery")
    assert (swept, redis_client.llen("celery")) == (30, 50)


def test_without_the_right_to_look_the_sweep_goes_on(celery, new_redis):
    server = new_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "us", "on", ">p", "~longshore:*", "~celery*", "+@all")
    broker = open_broker(f"redis://us:p@127.0.0.1:{server.port}/0")
    assert broker.sweep(["celery"]) == 0
    assert broker.sweep(["celery"]) == 0
    broker.close()


def test_a_worker_looks_seldom(celery, redis_url, redis_client):
    broker = open_broker(f"{redis_url}?visibility_timeout=3600")
    broker.sweep(["celery"])
    before = commands(redis_client)
    for _ in range(20):
        broker.sweep(["celery"])
    assert commands(redis_client) - before <= 22
    broker.close()


def commands(client) -> int:
    calls = client.info("commandstats")
    return sum(stats["calls"] for name, stats in calls.items() if name.startswith("cmdstat_evalsha"))

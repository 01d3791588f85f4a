"""What is RabbitMQ's own: confirmed sends and their errors, adopted queues, the ladder of delays, kombu beside us."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from threading import Thread

import kombu
import pytest

from longshore import Longshore
from longshore.brokers.port import Broker, Consumer, Outgoing, Owner, QueueDepth, QueueSpec, QueueType, Settlement
from longshore.brokers.rabbitmq.address import parse_address
from longshore.brokers.rabbitmq.errors import ConnectionLost
from longshore.brokers.registry import open_broker
from longshore.exceptions import (
    BrokerError,
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    ImproperlyConfigured,
    LongshoreError,
    MessageError,
    QueueNotFound,
    SendOutcomeUnknown,
    UnsupportedByBroker,
)
from longshore.message import Message
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQServer

from .contract import claim_all, claim_one, claim_some, eventually, ids, message, send, settle, worker_name

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(rabbitmq_url: str) -> Iterator[Broker]:
    broker = open_broker(rabbitmq_url)
    yield broker
    broker.close()


@pytest.fixture
def queue(broker: Broker) -> Iterator[str]:
    name = f"orders-{uuid.uuid4().hex[:8]}"
    broker.declare([QueueSpec(name)])
    yield name
    broker.delete_queue(name)


def one_line_without_password(error: LongshoreError, password: str = "secret") -> None:
    assert "\n" not in str(error)
    assert password not in str(error)


# -- a wrong address -------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_in_one_line(rabbitmq_server: RabbitMQServer) -> None:
    broker = open_broker(rabbitmq_server.url(password="secret"))
    with pytest.raises(BrokerRefused, match="refuses the user 'guest': wrong user name or password") as caught:
        broker.depths(["orders"])
    one_line_without_password(caught.value)


def test_a_missing_vhost_is_refused_in_one_line(rabbitmq_server: RabbitMQServer) -> None:
    with pytest.raises(BrokerRefused, match="refuses the vhost 'nowhere' for 'guest'") as caught:
        open_broker(rabbitmq_server.url("nowhere")).send([Outgoing("orders", message())])
    one_line_without_password(caught.value, "guest:")


def test_a_refused_connection_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=f"cannot reach RabbitMQ at 127.0.0.1:{port}: connection refused"):
        open_broker(f"amqp://u:secret@127.0.0.1:{port}/").send([Outgoing("orders", message())])
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("work", ["send", "depths", "claim"])
def test_a_server_that_is_silent_raises_within_the_deadline(work: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://u:secret@127.0.0.1:{silent.getsockname()[1]}/?connection_timeout=400"
        broker = open_broker(url)
        started = time.monotonic()
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: broker.send([Outgoing("orders", message())], deadline=0.5),
            "depths": lambda: broker.depths(["orders"]),
            "claim": lambda: broker.consumer(Owner(worker_name(), 0), ["orders"]).claim(1, 0.1),
        }
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            calls[work]()
        assert time.monotonic() - started < 2
        broker.close()


def test_another_kind_of_server_is_named(rabbitmq_server: RabbitMQServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(BrokerRefused, match="does not speak AMQP 0-9-1: is it RabbitMQ's port"):
            open_broker(f"amqp://127.0.0.1:{server.getsockname()[1]}/").depths(["orders"])
        thread.join()


def test_tls_against_a_plain_port_is_said(rabbitmq_server: RabbitMQServer) -> None:
    with pytest.raises(BrokerUnavailable, match="no TLS with RabbitMQ"):
        open_broker(f"amqps://guest:guest@127.0.0.1:{rabbitmq_server.port}/").depths(["orders"])
    with pytest.raises(ImproperlyConfigured, match="TLS file"):
        open_broker(f"amqps://127.0.0.1:{rabbitmq_server.port}/?cacertfile=/nowhere.pem").depths(["orders"])


def test_everything_travels_over_tls_too(rabbitmq_server: RabbitMQServer) -> None:
    url = f"amqps://guest:guest@localhost:{rabbitmq_server.tls_port}/"
    with pytest.raises(BrokerRefused, match=r"the certificate of RabbitMQ at localhost:\d+ is refused"):
        open_broker(url).depths(["orders"])
    name = f"tls-{uuid.uuid4().hex[:8]}"
    broker = open_broker(f"{url}?cacertfile={rabbitmq_server.certificate}&heartbeat=1")
    broker.declare([QueueSpec(name)])
    large = {str(n): bytes([n]) * 200_000 for n in range(8)}
    broker.send([Outgoing(name, message(task_id, body=body)) for task_id, body in large.items()])
    consumer = broker.consumer(Owner(worker_name(), 0), [name])
    claims = claim_all(consumer, 8)
    assert {claim.message.id: claim.message.body for claim in claims} == large
    assert consumer.claim(1, 2.5) == [], "a wait over several heartbeats"
    assert settle(consumer, *claims) == 0
    broker.delete_queue(name)
    broker.close()


# -- sending ---------------------------------------------------------------------------------------------------------


def test_a_send_to_a_missing_queue_is_returned(broker: Broker, queue: str) -> None:
    with pytest.raises(QueueNotFound, match="RabbitMQ has no queue 'nowhere'"):
        broker.send([Outgoing(queue, message("a")), Outgoing("nowhere", message("b"))])
    with pytest.raises(QueueNotFound, match="'nowhere'"):
        broker.send([Outgoing("nowhere", message("c"), time.time() + 60)])
    assert depth(broker, queue).ready == 1, "the others of a batch are sent"


def test_headers_that_amqp_cannot_carry_are_refused_before_anything_is_sent(broker: Broker, queue: str) -> None:
    with pytest.raises(MessageError, match="'what'"):
        broker.send([Outgoing(queue, message("a")), Outgoing(queue, message("b").with_headers({"what": object()}))])
    assert depth(broker, queue).ready == 0


def test_what_the_broker_refuses_of_one_sender_does_not_touch_another(broker: Broker, queue: str) -> None:
    bad = Message(b"", {"task": "t"}, {"expiration": "soon"})
    failed: list[BaseException] = []

    def send_bad() -> None:
        try:
            broker.send([Outgoing(queue, bad)])
        except BrokerRefused as error:
            failed.append(error)

    threads = [
        Thread(target=send_bad if n % 4 == 0 else lambda: send(broker, queue, str(uuid.uuid4()))) for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 4
    assert depth(broker, queue).ready >= 12, "a batch that met a refusal is published again, at worst doubled"


def test_many_threads_share_batches(broker: Broker, queue: str) -> None:
    threads = [Thread(target=lambda: [send(broker, queue, str(uuid.uuid4())) for _ in range(20)]) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert depth(broker, queue).ready == 320


def test_of_many_that_share_a_batch_each_has_its_own_error(broker: Broker, queue: str) -> None:
    futures = [broker.submit(Outgoing(queue if n % 5 else "nowhere", message(str(n)))) for n in range(50)]
    errors = [future.exception(10) for future in futures]
    assert [isinstance(error, QueueNotFound) for error in errors] == [n % 5 == 0 for n in range(50)]
    assert all(error is None for n, error in enumerate(errors) if n % 5)
    assert depth(broker, queue).ready == 40, "each once"


def test_threads_wait_no_longer_than_their_own_deadline(rabbitmq_server: RabbitMQServer, queue: str) -> None:
    client = open_broker(rabbitmq_server.url())
    send(client, queue, "a")
    rabbitmq_server.freeze()
    waited: list[tuple[float, float, type]] = []

    def send_within(seconds: float) -> None:
        started = time.monotonic()
        try:
            client.send([Outgoing(queue, message("b"))], deadline=seconds)
        except BrokerError as error:
            waited.append((seconds, time.monotonic() - started, type(error)))

    try:
        threads = [Thread(target=send_within, args=(0.3 * (1 + n % 3),)) for n in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        rabbitmq_server.thaw()
    assert len(waited) == 9
    assert all(took < seconds + 1 for seconds, took, _ in waited), waited
    assert {kind for _, _, kind in waited} <= {SendOutcomeUnknown, BrokerUnavailable, ConnectionLost}
    send(client, queue, "after")
    client.close()


def test_threads_go_on_over_a_cut_connection_and_nothing_is_lost(
    rabbitmq_server: RabbitMQServer, broker: Broker, queue: str
) -> None:
    with Proxy(rabbitmq_server.port) as proxy:
        client = open_broker(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        names = [[f"{n}-{m}" for m in range(40)] for n in range(8)]
        threads = [Thread(target=lambda mine=mine: [send(client, queue, each) for each in mine]) for mine in names]
        for thread in threads:
            thread.start()
        for _ in range(3):
            eventually(
                lambda: not any(thread.is_alive() for thread in threads) or (depth(broker, queue).ready or 0) > 9
            )
            proxy.cut()
        for thread in threads:
            thread.join()
        client.close()
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    arrived: set[str | None] = set()
    while claims := consumer.claim(100, 0.3):
        arrived.update(ids(claims))
        settle(consumer, *claims)
    assert arrived == {each for mine in names for each in mine}, "at worst a duplicate"
    consumer.close()


# -- sending without confirmation --------------------------------------------------------------------------------------


@pytest.fixture
def careless(rabbitmq_url: str) -> Iterator[Broker]:
    broker = open_broker(rabbitmq_url, {"confirm_publish": False})
    yield broker
    broker.close()


def test_unconfirmed_sends_arrive_in_order_and_delayed_ones_too(careless: Broker, broker: Broker, queue: str) -> None:
    for n in range(100):
        send(careless, queue, str(n))
    careless.send([Outgoing(queue, message("late"), time.time() + 0.2)])
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    assert ids(claim_all(consumer, 101)) == [*(str(n) for n in range(100)), "late"]
    consumer.close()


def test_a_process_that_ends_without_a_word_has_sent_what_it_wrote(
    rabbitmq_url: str, broker: Broker, queue: str
) -> None:
    script = f"""
from longshore import Longshore
app = Longshore(broker={rabbitmq_url!r}, broker_transport_options={{"confirm_publish": False}})
for n in range(500):
    app.send_task("t", (n,), queue={queue!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert depth(broker, queue).ready == 500


def test_what_can_be_known_of_an_unconfirmed_send_is_raised(careless: Broker, broker: Broker, queue: str) -> None:
    name = f"careless-{uuid.uuid4().hex[:8]}"
    with pytest.raises(QueueNotFound, match=name):
        send(careless, name, "a")
    broker.declare([QueueSpec(name)])
    send(careless, name, "a")
    broker.delete_queue(name)
    send(careless, name, "lost")
    with pytest.raises(QueueNotFound, match="sent earlier without confirmation"):
        eventually(lambda: send(careless, name, "b"))
    with pytest.raises(QueueNotFound, match="declare it"):
        send(careless, name, "c")
    with pytest.raises(BrokerRefused, match="sent just before it, is lost"):
        eventually(lambda: careless.send([Outgoing(queue, Message(b"", {"task": "t"}, {"expiration": "soon"}))]))
    with pytest.raises(MessageError):
        careless.send([Outgoing(name, message("d").with_headers({"what": object()}))])


def test_a_dead_letter_is_confirmed_whatever_was_chosen_for_sends(careless: Broker, broker: Broker, queue: str) -> None:
    consumer = careless.consumer(Owner(worker_name(), 0), [queue])
    send(broker, queue, "a")
    settle(consumer, claim_one(consumer), sends=[Outgoing(f"{queue}.dead", message("a"))])
    assert depth(broker, f"{queue}.dead").ready == 1
    consumer.close()
    broker.delete_queue(f"{queue}.dead")


def test_the_setting_of_celery_and_the_option_of_the_address_mean_the_same() -> None:
    assert not parse_address("amqp://h/?confirm_publish=false").confirm
    assert parse_address("amqp://h/").confirm
    with pytest.raises(ImproperlyConfigured, match="confirm_publish is true or false, not 'perhaps'"):
        parse_address("amqp://h/?confirm_publish=perhaps")
    app = Longshore("a", broker="amqp://h/v?heartbeat=5", broker_transport_options={"confirm_publish": False})
    assert app.broker.url == "amqp://h/v?heartbeat=5&confirm_publish=false"
    with pytest.raises(ImproperlyConfigured, match="say 'visibility' in the address"):
        Longshore("a", broker_transport_options={"visibility": 1})


def test_a_full_queue_that_rejects_is_broker_full(broker: Broker, rabbitmq_url: str) -> None:
    name = f"full-{uuid.uuid4().hex[:8]}"
    with kombu.Connection(rabbitmq_url) as connection:
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        kombu.Queue(name, queue_arguments=arguments, channel=connection.default_channel).declare()
    broker.declare([QueueSpec(name)])
    send(broker, name, "a")
    with pytest.raises(BrokerFull):
        send(broker, name, "b")
    broker.delete_queue(name)


def test_a_lost_answer_is_sent_again_with_the_same_id(
    rabbitmq_server: RabbitMQServer, broker: Broker, queue: str
) -> None:
    with Proxy(rabbitmq_server.port) as proxy:
        client = open_broker(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        send(client, queue, "first")
        proxy.lose_answers.set()
        send(client, queue, "second")
        client.close()
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    assert ids(claim_all(consumer, 3)) == ["first", "second", "second"], "at worst a duplicate, never a loss"
    consumer.close()


def test_an_answer_that_never_comes_leaves_the_outcome_unknown(rabbitmq_server: RabbitMQServer, queue: str) -> None:
    client = open_broker(rabbitmq_server.url())
    send(client, queue, "a")
    rabbitmq_server.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(SendOutcomeUnknown):
            client.send([Outgoing(queue, message("b"))], deadline=0.5)
        assert time.monotonic() - started < 2
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            client.send([Outgoing(queue, message("c"))], deadline=0.5)
    finally:
        rabbitmq_server.thaw()
    client.close()


def test_a_blocked_broker_is_full_within_the_deadline(
    rabbitmq_server: RabbitMQServer, broker: Broker, queue: str
) -> None:
    send(broker, queue, "before")
    rabbitmq_server.ctl("set_disk_free_limit", "900000GB")
    try:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(BrokerFull, match="takes no messages now"):
                broker.send([Outgoing(queue, message())], deadline=0.5)
            assert time.monotonic() - started < 2
        consumer = broker.consumer(Owner(worker_name(), 0), [queue])
        assert settle(consumer, claim_one(consumer)) == 0, "consuming goes on"
    finally:
        rabbitmq_server.ctl("set_disk_free_limit", "50MB")
    eventually(lambda: sends(broker, queue, "after"))
    eventually(lambda: "after" in ids(consumer.claim(10, 0.1)))
    consumer.close()


def sends(broker: Broker, queue: str, task_id: str) -> bool:
    try:
        broker.send([Outgoing(queue, message(task_id))], deadline=0.5)
    except BrokerFull:
        return False
    return True


def depth(broker: Broker, queue: str) -> QueueDepth:
    found = broker.depths([queue])[queue]
    assert found is not None
    return found


# -- queues ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"x-message-ttl": 60_000}, {"x-queue-type": "quorum"}, {"x-max-priority": 3}])
def test_an_existing_queue_is_adopted_as_it_is(broker: Broker, rabbitmq_url: str, arguments: dict[str, object]) -> None:
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    with kombu.Connection(rabbitmq_url) as connection:
        kombu.Queue(name, queue_arguments=arguments, channel=connection.default_channel).declare()
    broker.declare([QueueSpec(name), QueueSpec(name, max_priority=9)])
    send(broker, name, "a")
    consumer = broker.consumer(Owner(worker_name(), 0), [name])
    assert settle(consumer, claim_one(consumer)) == 0
    consumer.close()
    broker.delete_queue(name)


def test_our_queues_are_those_that_celery_would_declare(broker: Broker, rabbitmq_url: str, queue: str) -> None:
    quorum = f"{queue}.quorum"
    broker.declare([QueueSpec(quorum, "Quorum")])
    with kombu.Connection(rabbitmq_url) as connection:
        channel = connection.default_channel
        kombu.Queue(queue, channel=channel).queue_declare()
        kombu.Queue(quorum, queue_arguments={"x-queue-type": "quorum"}, channel=channel).queue_declare()
    broker.delete_queue(quorum)


def test_a_quorum_queue_with_priorities_is_refused(broker: Broker) -> None:
    with pytest.raises(UnsupportedByBroker, match="have no maxPriority"):
        broker.declare([QueueSpec("orders", "Quorum", max_priority=9)])


def test_depths_of_many_queues_some_missing_some_exclusive(broker: Broker, rabbitmq_url: str, queue: str) -> None:
    send(broker, queue, "a", "b")
    with kombu.Connection(rabbitmq_url) as connection:
        exclusive = f"{queue}.exclusive"
        kombu.Queue(exclusive, exclusive=True, durable=False, channel=connection.default_channel).queue_declare()
        names = [queue, exclusive, *(f"missing-{n}" for n in range(250)), queue]
        for _ in range(2):
            depths = broker.depths(names)
            assert depths[queue] == QueueDepth(ready=2, consumers=0)
            assert depths[exclusive] == QueueDepth(ready=None)
            assert sum(found is None for found in depths.values()) == 250


def test_a_consumer_of_a_missing_queue_says_so_and_goes_on_when_it_is_there(broker: Broker) -> None:
    name = f"later-{uuid.uuid4().hex[:8]}"
    consumer = broker.consumer(Owner(worker_name(), 0), [name])
    with pytest.raises(QueueNotFound, match=name):
        consumer.claim(1, 0.2)
    broker.declare([QueueSpec(name)])
    send(broker, name, "a")
    assert ids(claim_some(consumer)) == ["a"]
    broker.delete_queue(name)
    eventually(lambda: raises_not_found(consumer))
    consumer.close()


def raises_not_found(consumer: Consumer) -> bool:
    try:
        consumer.claim(1, 0.1)
    except QueueNotFound:
        return True
    except BrokerUnavailable:
        return False
    return False


def test_a_dead_letter_finds_a_place_though_nobody_made_its_queue(broker: Broker, queue: str) -> None:
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    send(broker, queue, "a")
    settle(consumer, claim_one(consumer), sends=[Outgoing(f"{queue}.dead", message("a"))])
    assert depth(broker, f"{queue}.dead").ready == 1
    consumer.close()
    broker.delete_queue(f"{queue}.dead")


# -- prefetch --------------------------------------------------------------------------------------------------------


def test_no_more_is_held_than_was_asked_for(broker: Broker, queue: str) -> None:
    send(broker, queue, *(str(n) for n in range(50)))
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    for limit, left in ((20, 30), (1, 29)):
        held = claim_all(consumer, limit, limit)
        eventually(lambda left=left: depth(broker, queue).ready == left)
        settle(consumer, *held)
    consumer.close()


def test_what_was_read_ahead_goes_back_while_a_task_is_long(broker: Broker, queue: str) -> None:
    """Room for fifty, one came: whatever comes while that one runs is free for others soon."""
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    send(broker, queue, "long")
    assert ids(consumer.claim(50, 5)) == ["long"]
    send(broker, queue, *(str(n) for n in range(10)))
    rival = broker.consumer(Owner(worker_name(), 1), [queue])
    got: list[str | None] = []
    eventually(lambda: len(got.extend(ids(rival.claim(1, 0.05))) or got) == 10, 5)
    assert ids(consumer.claim(50, 0.0)) == []
    consumer.close()
    rival.close()


def test_half_of_a_large_claim_comes_while_the_other_half_runs(broker: Broker, queue: str) -> None:
    send(broker, queue, *(str(n) for n in range(60)))
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    assert ids(consumer.claim(40, 5)) == [str(n) for n in range(20)]
    eventually(lambda: depth(broker, queue).ready == 20)
    consumer.close()


@pytest.mark.parametrize("kind", ["Classic", "Quorum"])
def test_what_a_process_gave_back_itself_comes_again_without_being_suspected(broker: Broker, kind: QueueType) -> None:
    name = f"returned-{uuid.uuid4().hex[:8]}"
    broker.declare([QueueSpec(name, kind)])
    consumer = broker.consumer(Owner(worker_name(), 0), [name])
    send(broker, name, *"abcdef")
    claims = claim_all(consumer, 6, 6)
    for claim in reversed(claims[1:]):
        consumer.settle(Settlement(claim, give_back=True))
    assert settle(consumer, claims[0]) == 0
    again = claim_all(consumer, 5, 5)
    assert [claim.deliveries for claim in again] == [0] * 5
    assert all(claim.redelivered and claim.token.notes is None for claim in again)
    assert sorted(map(str, ids(again))) == list("bcdef")
    consumer.close()
    broker.delete_queue(name)


@pytest.mark.parametrize("kinds", [("Classic", "Classic"), ("Classic", "Quorum", "Quorum")])
def test_several_queues_are_shared_fairly_and_nothing_is_hoarded(broker: Broker, kinds: tuple[str, ...]) -> None:
    names = [f"several-{uuid.uuid4().hex[:8]}" for _ in kinds]
    broker.declare([QueueSpec(name, kind) for name, kind in zip(names, kinds, strict=True)])  # type: ignore[arg-type]
    for name in names:
        send(broker, name, *(f"{name}/{n}" for n in range(30)))
    consumer = broker.consumer(Owner(worker_name(), 0), names)
    first = [claim_one(consumer) for _ in range(2 * len(names))]
    assert {name: sum(claim.queue == name for claim in first) for name in names} == dict.fromkeys(names, 2)
    assert sum(depth(broker, name).ready or 0 for name in names) == 28 * len(names)
    settle(consumer, *first)
    rest = []
    while len(rest) < 28 * len(names):
        rest += (claims := claim_some(consumer, 20))
        assert not any(claim.redelivered for claim in claims)
        settle(consumer, *claims)
    assert len(set(ids(first)) | set(ids(rest))) == 30 * len(names)
    send(broker, names[-1], "last")
    assert ids(claim_some(consumer, 1)) == ["last"]
    consumer.close()
    for name in names:
        broker.delete_queue(name)


# -- delays ----------------------------------------------------------------------------------------------------------


def test_delays_come_in_their_order_never_early_and_within_a_second(broker: Broker, queue: str) -> None:
    due = {f"{delay}": time.time() + delay for delay in (3.0, 0.3, 5.0, 1.0, 0.05)}
    broker.send([Outgoing(queue, message(name), at) for name, at in due.items()])
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    arrived: dict[str, float] = {}
    while len(arrived) < len(due):
        claim = claim_one(consumer)
        arrived[str(claim.message.id)] = time.time()
        assert "x-death" not in claim.message.headers
        assert not claim.redelivered
        settle(consumer, claim)
    late = {name: arrived[name] - due[name] for name in due}
    assert all(0 <= seconds < 1 for seconds in late.values()), late
    consumer.close()


def test_a_delayed_message_reaches_its_own_queue_only(broker: Broker) -> None:
    """With kombu, `#.orders` is bound, so that there the queue `orders` gets the messages of `eu.orders` too."""
    run = uuid.uuid4().hex[:8]
    names = [f"orders-{run}", f"eu.orders-{run}", f"shop.eu.orders-{run}"]
    broker.declare([QueueSpec(name) for name in names])
    due = time.time() + 0.2
    broker.send([Outgoing(name, message(name), due) for name in names])
    eventually(lambda: [depth(broker, name).ready for name in names] == [1, 1, 1])
    for name in names:
        assert [seen.id for seen in broker.peek(name, 10)] == [name]
        broker.delete_queue(name)


def test_a_message_goes_through_the_ladder_again_and_again(broker: Broker, queue: str) -> None:
    """RabbitMQ drops what it takes for a circle; a retry of the claimed message must not look like one."""
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    send(broker, queue, "a", due_at=time.time() + 0.1)
    for _ in range(4):
        claim = claim_one(consumer)
        settle(consumer, claim, sends=[Outgoing(queue, claim.message, time.time() + 0.1)])
    assert claim_one(consumer).message.id == "a"
    consumer.close()


def test_a_delay_survives_an_expiration_and_a_queue_that_is_made_anew(broker: Broker, queue: str) -> None:
    soon = Message(b"[]", {"id": "a", "task": "t"}, {"correlation_id": "a", "expiration": "50"})
    broker.delete_queue(queue)
    broker.declare([QueueSpec(queue)])
    broker.send([Outgoing(queue, soon, time.time() + 0.4)])
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    assert ids(claim_some(consumer)) == ["a"]
    consumer.close()


# -- kombu beside us -------------------------------------------------------------------------------------------------


def test_kombu_sends_what_we_claim(broker: Broker, rabbitmq_url: str, queue: str) -> None:
    headers = {"id": "a", "task": "t", "eta": None, "retries": 0, "timelimit": [None, 3], "stamps": {"k": ["v"]}}
    with kombu.Connection(rabbitmq_url) as connection:
        producer = connection.Producer(serializer="json")
        body = [[1, "ä"], {"k": 2.5}, {"callbacks": None}]
        producer.publish(body, routing_key=queue, headers=headers, correlation_id="a", reply_to="back", priority=4)
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    claim = claim_one(consumer)
    assert claim.message.headers == headers
    assert (claim.message.content_type, claim.message.content_encoding) == ("application/json", "utf-8")
    assert {key: claim.message.properties[key] for key in ("correlation_id", "reply_to", "priority")} == {
        "correlation_id": "a",
        "reply_to": "back",
        "priority": 4,
    }
    settle(consumer, claim)
    consumer.close()


def test_kombu_claims_what_we_send(broker: Broker, rabbitmq_url: str, queue: str) -> None:
    sent = message("a", body=b'[[1], {}, {"chain": null}]', priority=5).with_headers({"eta": None, "deep": {"k": [1]}})
    broker.send([Outgoing(queue, sent)])
    with kombu.Connection(rabbitmq_url) as connection:
        got = kombu.Queue(queue, channel=connection.default_channel).get()
        assert got is not None
        assert got.decode() == [[1], {}, {"chain": None}]
        assert got.headers == sent.headers
        assert (got.properties["correlation_id"], got.properties["delivery_mode"], got.properties["priority"]) == (
            "a",
            2,
            5,
        )
        got.ack()


def test_kombu_and_we_consume_the_same_queue_without_loss(broker: Broker, rabbitmq_url: str, queue: str) -> None:
    names = {str(n) for n in range(300)}
    broker.send([Outgoing(queue, message(name)) for name in names])
    theirs: list[str] = []
    ours: list[str | None] = []
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    with kombu.Connection(rabbitmq_url) as connection:

        def take(_: object, taken: kombu.Message) -> None:
            theirs.append(taken.headers["id"])
            taken.ack()

        with connection.Consumer(kombu.Queue(queue), callbacks=[take], prefetch_count=10, no_ack=False):
            until = time.monotonic() + 10
            while len(theirs) + len(ours) < 300 and time.monotonic() < until:
                claims = consumer.claim(10, 0.0)
                ours += ids(claims)
                for claim in claims:
                    consumer.settle(Settlement(claim))
                try:
                    connection.drain_events(timeout=0.01)
                except TimeoutError:
                    continue
    consumer.close()
    assert sorted([*theirs, *map(str, ours)]) == sorted(names)
    assert theirs
    assert ours

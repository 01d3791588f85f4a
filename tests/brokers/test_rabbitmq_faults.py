"""Processes that are killed or stand still, connections that are cut, a broker that goes away: nothing is lost.

Consumers run in forked children here, since a claim lives as long as its process's socket.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest

from longshore.brokers.port import Broker, Consumer, Outgoing, Owner, QueueSpec, QueueType, Settlement, Started
from longshore.brokers.rabbitmq.tender import TENDER
from longshore.brokers.registry import open_broker
from longshore.exceptions import BrokerError, BrokerUnavailable
from longshore.message import SENTENCE_HEADER
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQServer

from .contract import (
    claim_all,
    claim_one,
    claim_some,
    eventually,
    give_back,
    ids,
    message,
    nothing_comes,
    send,
    settle,
    worker_name,
)

pytestmark = pytest.mark.integration

POISON = "poison"
LIMIT = 5
YOUNG_SECONDS = 6.0
"""A quorum queue that RabbitMQ 3.10 made less than five seconds before it was killed finds no leader again (its term
was not on the disk yet). That is not ours to mend, so that such a queue is older here.
"""


@pytest.fixture
def broker(rabbitmq_url: str) -> Iterator[Broker]:
    broker = open_broker(rabbitmq_url)
    yield broker
    broker.close()


@pytest.fixture
def kind() -> QueueType:
    return "Classic"


@pytest.fixture
def queue(broker: Broker, kind: QueueType) -> Iterator[str]:
    name = f"faults-{uuid.uuid4().hex[:8]}"
    broker.declare([QueueSpec(name, kind)])
    yield name
    broker.delete_queue(name)


class Child:
    """A forked process that works until it is killed; `said` is what it told, a byte at a time."""

    def __init__(self, work: Callable[[Callable[[], None]], object]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                work(lambda: os.write(write, b"."))
            finally:
                os._exit(1)
        os.close(write)

    def heard(self, count: int = 1) -> None:
        """Wait until it has told so many times."""
        while count:
            count -= len(os.read(self._read, count) or b"." * count)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)
        if number == signal.SIGKILL:
            self.wait()

    def wait(self) -> int:
        os.close(self._read)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def hold(url: str, queue: str, count: int) -> Callable[[Callable[[], None]], None]:
    """Claim `count` messages and hold them for ever."""

    def work(tell: Callable[[], None]) -> None:
        claims = claim_all(open_broker(url).consumer(Owner(worker_name(), 0), [queue]), count)
        tell()
        while claims:
            signal.pause()

    return work


both_kinds = pytest.mark.parametrize("kind", ["Classic", "Quorum"])


# -- processes that die ----------------------------------------------------------------------------------------------


@both_kinds
def test_what_a_killed_process_held_comes_again_within_a_second(rabbitmq_url: str, broker: Broker, queue: str) -> None:
    names = [str(n) for n in range(20)]
    send(broker, queue, *names)
    child = Child(hold(rabbitmq_url, queue, 20))
    child.heard()
    consumer = broker.consumer(Owner(worker_name(), 1), [queue])
    assert consumer.claim(1, 0.1) == []
    child.kill()
    started = time.monotonic()
    first = claim_one(consumer)
    assert time.monotonic() - started < 1
    assert first.redelivered
    again = [first, *claim_all(consumer, 19)]
    assert sorted(map(str, ids(again))) == sorted(names)
    assert [claim.deliveries for claim in again] == [0] * 20, "held is not started"
    consumer.close()


@both_kinds
def test_a_process_that_dies_between_send_and_acknowledgement_makes_a_duplicate_and_no_loss(
    rabbitmq_url: str, broker: Broker, queue: str
) -> None:
    retry = f"{queue}.retry"
    broker.declare([QueueSpec(retry)])
    send(broker, queue, "a")

    def work(_: Callable[[], None]) -> None:
        child = open_broker(rabbitmq_url)
        consumer = child.consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(consumer)
        consumer._settling._acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[attr-defined]
        settle(consumer, claim, sends=[Outgoing(retry, message("a"))])

    assert Child(work).wait() == -signal.SIGKILL
    for name in (queue, retry):
        consumer = broker.consumer(Owner(worker_name(), 1), [name])
        assert ids([claim_one(consumer)]) == ["a"]
        consumer.close()
    broker.delete_queue(retry)


@both_kinds
def test_acknowledged_early_and_killed_it_never_comes_again(rabbitmq_url: str, broker: Broker, queue: str) -> None:
    names = [str(n) for n in range(40)]
    send(broker, queue, *names)

    def work(tell: Callable[[], None]) -> None:
        consumer = open_broker(rabbitmq_url).consumer(Owner(worker_name(), 0), [queue])
        for claim in claim_all(consumer, 40, 20)[:17]:
            consumer.acknowledge_now([claim])
            tell()
        os.kill(os.getpid(), signal.SIGKILL)

    child = Child(work)
    child.heard(17)
    child.wait()
    consumer = broker.consumer(Owner(worker_name(), 1), [queue])
    assert sorted(map(str, ids(claim_all(consumer, 23)))) == sorted(names[17:])
    consumer.close()


@both_kinds
def test_one_poison_among_innocents_is_the_only_one_over_its_limit(
    rabbitmq_url: str, broker: Broker, queue: str
) -> None:
    """Ten processes in turn, each with read-ahead 100, each killed by the poison or in the middle of other work."""
    dead = f"{queue}.dead"
    broker.declare([QueueSpec(dead)])
    names = [f"innocent-{n}" for n in range(200)]
    send(broker, queue, *names[:30], POISON, *names[30:])
    starts: Counter[str] = Counter()
    for turn in range(10):
        read, write = os.pipe()
        child = Child(lambda _, write=write, turn=turn: run_tasks(rabbitmq_url, queue, dead, write, 12 + turn))
        child.wait()
        os.close(write)
        with os.fdopen(read) as log:
            started = log.read().split()
        starts.update(started)
        if started and started[-1] == POISON:
            broker.release_owner(Owner(f"worker-{turn}", 0), [queue], [Started(POISON)])
    drain = Child(lambda _: run_tasks(rabbitmq_url, queue, dead, os.open(os.devnull, os.O_WRONLY), 10_000))
    drain.wait()
    consumer = broker.consumer(Owner(worker_name(), 1), [dead])
    assert ids(claim_some(consumer, 10)) == [POISON]
    assert starts[POISON] == LIMIT
    consumer.close()
    assert broker.depths([queue])[queue].ready == 0  # type: ignore[union-attr]
    broker.delete_queue(dead)


def run_tasks(url: str, queue: str, dead: str, log: int, tasks: int) -> None:
    """A worker as far as counting goes: it is killed by the poison, or after so many tasks; else it ends when idle."""
    consumer = open_broker(url).consumer(Owner(worker_name(), 0), [queue])
    left = tasks
    while claims := consumer.claim(100, 0.5):
        for claim in claims:
            if claim.deliveries >= LIMIT:
                consumer.settle(Settlement(claim, sends=(Outgoing(dead, claim.message),)))
                continue
            os.write(log, f"{claim.message.id} ".encode())
            left -= 1
            if claim.message.id == POISON or not left:
                os.kill(os.getpid(), signal.SIGKILL)
            consumer.settle(Settlement(claim))
    consumer.close()


@both_kinds
def test_many_graceful_stops_count_nothing(broker: Broker, queue: str) -> None:
    """More than a quorum queue would bear without being published anew."""
    send(broker, queue, *"abc")
    for turn in range(24):
        consumer = broker.consumer(Owner(worker_name(), turn), [queue])
        assert all(claim.deliveries == 0 for claim in claim_all(consumer, 3))
        consumer.close()
    consumer = broker.consumer(Owner(worker_name(), 99), [queue])
    assert sorted(map(str, ids(claim_all(consumer, 3)))) == list("abc")
    consumer.close()


# -- processes that stand still, and those that are busy --------------------------------------------------------------


def test_a_frozen_process_loses_its_claims_after_three_heartbeats(
    rabbitmq_url: str, broker: Broker, queue: str
) -> None:
    send(broker, queue, "a")
    child = Child(hold(f"{rabbitmq_url}?heartbeat=1", queue, 1))
    child.heard()
    child.kill(signal.SIGSTOP)
    started = time.monotonic()
    consumer = broker.consumer(Owner(worker_name(), 1), [queue])
    claim = claim_one(consumer)
    assert time.monotonic() - started < 4
    child.kill()
    assert settle(consumer, claim) == 0
    consumer.close()


def test_a_long_task_keeps_its_claim_however_many_heartbeats_it_takes(
    rabbitmq_url: str, broker: Broker, queue: str
) -> None:
    send(broker, queue, "a")
    busy = open_broker(f"{rabbitmq_url}?heartbeat=1")
    mine = busy.consumer(Owner(worker_name(), 0), [queue])
    claim = claim_one(mine)
    rival = broker.consumer(Owner(worker_name(), 1), [queue])
    assert rival.claim(1, 4.5) == []
    assert settle(mine, claim) == 0
    assert rival.claim(1, 0.1) == []
    rival.close()
    busy.close()


@pytest.mark.parametrize("tended", [True, False])
def test_a_thawed_process_cannot_settle_nor_send_for_what_was_given_to_another(
    rabbitmq_url: str, broker: Broker, queue: str, tended: bool
) -> None:
    """It stood still longer than its heartbeats: before it sends a retry it asks, and learns that its claim is gone.

    Either the tender wakes first and finds out, or the settlement: what that reads first came before the end.
    """
    send(broker, queue, "a")
    go_read, go_write = os.pipe()
    late_read, late_write = os.pipe()

    def work(tell: Callable[[], None]) -> None:
        consumer = open_broker(f"{rabbitmq_url}?heartbeat=1").consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(consumer)
        if not tended:
            TENDER.remove(consumer)  # type: ignore[arg-type]
        tell()
        os.read(go_read, 1)
        late = settle(consumer, claim, sends=[Outgoing(queue, message("retry"))])
        os.write(late_write, str(late).encode())

    child = Child(work)
    child.heard()
    child.kill(signal.SIGSTOP)
    rival = broker.consumer(Owner(worker_name(), 1), [queue])
    mine = claim_one(rival)
    child.kill(signal.SIGCONT)
    os.write(go_write, b".")
    assert os.read(late_read, 8) == b"1"
    child.wait()
    assert settle(rival, mine) == 0
    assert rival.claim(1, 0.2) == []
    rival.close()
    for descriptor in (go_read, go_write, late_read, late_write):
        os.close(descriptor)


# -- connections and brokers that go away -----------------------------------------------------------------------------


def test_a_cut_connection_is_opened_again_and_its_claims_are_void(rabbitmq_server: RabbitMQServer, queue: str) -> None:
    with Proxy(rabbitmq_server.port) as proxy:
        broker = open_broker(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        send(broker, queue, "a")
        consumer = broker.consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(consumer)
        proxy.cut()
        again = claim_one(consumer)
        assert again.message.id == claim.message.id
        assert settle(consumer, claim) == 1, "its claim went with its connection"
        assert settle(consumer, again) == 0
        broker.close()


def test_nothing_is_sent_for_a_claim_whose_connection_was_cut(rabbitmq_server: RabbitMQServer, queue: str) -> None:
    """However short the time since the broker was heard: another has the message."""
    with Proxy(rabbitmq_server.port) as proxy:
        broker, other = (
            open_broker(f"amqp://guest:guest@127.0.0.1:{port}/") for port in (proxy.port, rabbitmq_server.port)
        )
        consumer, rival = (each.consumer(Owner(worker_name(), 0), [queue]) for each in (broker, other))
        send(broker, queue, "a")
        claim = claim_one(consumer)
        assert settle(consumer, claim, sends=[Outgoing(queue, message("b"))]) == 0, "asked, and has not to ask again"
        claim = claim_one(consumer)
        proxy.cut()
        theirs = claim_one(rival)
        assert (claim.message.id, theirs.message.id) == ("b", "b")
        assert settle(consumer, claim, sends=[Outgoing(queue, message("retry"))]) == 1
        assert settle(rival, theirs) == 0
        assert nothing_comes(rival)
        for each in (broker, other):
            each.close()


def test_an_early_acknowledgement_over_a_cut_connection_does_not_let_the_task_start(
    rabbitmq_server: RabbitMQServer, queue: str
) -> None:
    with Proxy(rabbitmq_server.port) as proxy:
        broker = open_broker(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        send(broker, queue, "a")
        consumer = broker.consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(consumer)
        proxy.cut()
        with pytest.raises(BrokerUnavailable, match="the claim was lost"):
            consumer.acknowledge_now([claim])
        assert settle(consumer, claim_one(consumer)) == 0
        broker.close()


@both_kinds
def test_a_broker_killed_under_load_loses_nothing(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str, broker: Broker, queue: str, kind: QueueType
) -> None:
    """A send succeeds or raises within its deadline; what it confirmed arrives; workers go on by themselves."""
    confirmed: list[str] = []
    got: set[str | None] = set()
    over, dead = Event(), Event()

    def sender() -> None:
        while not over.is_set():
            name = str(uuid.uuid4())
            started = time.monotonic()
            try:
                broker.send([Outgoing(queue, message(name))], deadline=2.0)
                confirmed.append(name)
            except BrokerError:
                over.wait(0.05)
            assert time.monotonic() - started < 3

    workers = open_broker(rabbitmq_url)
    consumer = workers.consumer(Owner(worker_name(), 0), [queue])

    def worker() -> None:
        while not dead.is_set():
            got.update(take(consumer))

    threads = [Thread(target=sender), Thread(target=worker)]
    for thread in threads:
        thread.start()
    try:
        began = time.monotonic()
        eventually(lambda: len(got) > 50 and time.monotonic() - began > (YOUNG_SECONDS if kind == "Quorum" else 0))
        rabbitmq_server.kill()
        rabbitmq_server.start()
        before = len(confirmed)
        eventually(lambda: len(confirmed) > before + 50 and len(got) > before + 50, 15)
        over.set()
        eventually(lambda: got.issuperset(confirmed))
    finally:
        over.set()
        dead.set()
        for thread in threads:
            thread.join(20)
    assert got.issuperset(confirmed)
    workers.close()


def take(consumer: Consumer) -> list[str | None]:
    try:
        claims = consumer.claim(20, 0.2)
        for claim in claims:
            consumer.settle(Settlement(claim))
        consumer.flush()
    except BrokerError:
        return []
    return ids(claims)


def test_delayed_messages_survive_a_broker_that_is_killed(
    rabbitmq_server: RabbitMQServer, broker: Broker, queue: str
) -> None:
    began, due = time.monotonic(), time.time() + YOUNG_SECONDS + 4
    broker.send([Outgoing(queue, message(str(n)), due) for n in range(100)])
    eventually(lambda: time.monotonic() - began > YOUNG_SECONDS)
    rabbitmq_server.kill()
    rabbitmq_server.start()
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    claims = claim_all(consumer, 100)
    assert time.time() >= due
    assert sorted(int(str(name)) for name in ids(claims)) == list(range(100))
    settle(consumer, *claims)
    consumer.close()


def test_a_consumer_says_when_the_broker_is_away_and_comes_back_with_it(
    rabbitmq_server: RabbitMQServer, broker: Broker, queue: str
) -> None:
    consumer = broker.consumer(Owner(worker_name(), 0), [queue])
    assert consumer.claim(1, 0.05) == []
    rabbitmq_server.stop()
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        consumer.claim(1, 0.5)
    assert time.monotonic() - started < 2
    rabbitmq_server.start()
    send(broker, queue, "a")
    eventually(lambda: "a" in take(consumer))
    consumer.close()


# -- consumer_timeout --------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(rabbitmq_server: RabbitMQServer) -> Iterator[RabbitMQServer]:
    """RabbitMQ with a `consumer_timeout` of 2 seconds, looked at ten times a second, for new channels."""
    set_timeouts(rabbitmq_server, "2000", "100")
    yield rabbitmq_server
    set_timeouts(rabbitmq_server, "1800000", "60000")


def set_timeouts(server: RabbitMQServer, timeout: str, tick: str) -> None:
    settings = {"consumer_timeout": timeout, "channel_tick_interval": tick}
    server.ctl(
        "eval", ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in settings.items()) + "."
    )


@pytest.mark.parametrize(("kind", "option"), [("Classic", ""), ("Quorum", "?consumer_timeout=2000")])
def test_a_task_three_times_longer_than_consumer_timeout_is_refused_instead_of_run_again(
    impatient: RabbitMQServer, kind: QueueType, option: str
) -> None:
    """Whether the address tells the limit or not. A busy process does not hear that its channel was closed; RabbitMQ
    keeps the message until it does.
    """
    broker, other = (open_broker(impatient.url() + option) for _ in range(2))
    name = f"impatient-{uuid.uuid4().hex[:8]}"
    broker.declare([QueueSpec(name, kind)])
    slow = broker.consumer(Owner(worker_name(), 0), [name])
    rival = other.consumer(Owner(worker_name(), 0), [name])
    send(broker, name, "long")
    long = claim_one(slow)
    started, again = time.monotonic(), []
    while time.monotonic() - started < 6:  # the task, which runs three times longer than it may
        again += rival.claim(1, 0.5)
    assert settle(slow, long) == 1, "too late"
    [refused] = again or claim_some(rival)
    assert refused.message.id == "long"
    assert "not acknowledged within 2 s (its consumer_timeout)" in refused.message.headers[SENTENCE_HEADER]
    assert settle(rival, refused) == 0
    assert nothing_comes(rival)
    rival.close()
    send(broker, name, "short")
    assert settle(slow, claim_one(slow)) == 0, "it goes on"
    for each in (broker, other):
        each.close()


def test_what_ends_just_in_time_leaves_no_sentence_behind(rabbitmq_url: str) -> None:
    broker = open_broker(f"{rabbitmq_url}?consumer_timeout=1000")
    name = f"impatient-{uuid.uuid4().hex[:8]}"
    broker.declare([QueueSpec(name)])
    consumer = broker.consumer(Owner(worker_name(), 0), [name])
    send(broker, name, "a", "b")
    first, second = claim_one(consumer), claim_one(consumer)
    eventually(lambda: first.token.sentenced and second.token.sentenced)
    give_back(consumer, second)
    assert settle(consumer, first) == 0
    again = claim_one(consumer)
    assert (again.message.id, again.deliveries) == ("b", 0)
    assert SENTENCE_HEADER not in again.message.headers
    consumer.close()
    broker.close()

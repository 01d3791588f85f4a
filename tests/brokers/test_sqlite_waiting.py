"""Waiting, forking and sharing one connection: what the other tests of the embedded broker take for granted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from longshore.brokers.port import Broker, Owner, QueueSpec, Settlement
from longshore.brokers.registry import open_broker
from longshore.brokers.sqlite import bells, database

from .children import Child, Say
from .contract import claim_one, claim_some, ids, in_a_child, send, settle, worker_name

Q = "orders"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], Broker]]:
    brokers: list[Broker] = []

    def connect() -> Broker:
        brokers.append(open_broker(f"sqlite:///{tmp_path}/tasks.db"))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(connect: Callable[[], Broker]) -> Broker:
    broker = connect()
    broker.declare([QueueSpec(Q)])
    return broker


@pytest.mark.parametrize("same", [True, False], ids=["from the same process", "from another"])
def test_without_fifos_a_waiting_consumer_still_gets_its_message_soon(
    broker: Broker, connect: Callable[[], Broker], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise PermissionError("no FIFOs on this file system")

    monkeypatch.setattr(bells.os, "mkfifo", unsupported)
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    consumer.claim(1, 0.0)
    sender = broker if same else connect()
    sent: list[float] = []

    def later() -> None:
        time.sleep(0.05)
        send(sender, Q, "a")
        sent.append(time.monotonic())

    thread = Thread(target=later)
    thread.start()
    claim_one(consumer)
    thread.join()
    assert time.monotonic() - sent[0] < 0.2
    consumer.close()


def test_a_ring_that_got_lost_costs_a_quarter_of_a_second(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells.Ringer, "ring", lambda *_: None)
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    consumer.claim(1, 0.0)
    thread = Thread(target=lambda: (time.sleep(0.05), send(broker, Q, "a")))
    thread.start()
    started = time.monotonic()
    claim_one(consumer)
    assert time.monotonic() - started < 0.6
    thread.join()
    consumer.close()


def test_several_messages_wake_several_waiting_processes(broker: Broker, tmp_path: Path) -> None:
    def work(say: Say) -> None:
        consumer = open_broker(f"sqlite:///{tmp_path}/tasks.db").consumer(Owner(worker_name(), 0), [Q])
        consumer.claim(1, 0.0)
        say("waiting")
        claims = consumer.claim(1, 5.0)
        say(f"{ids(claims)} {time.monotonic()}")
        time.sleep(0.3)  # a task runs: nobody else may wait for it
        settle(consumer, *claims)

    children = [Child(work) for _ in range(3)]
    for child in children:
        child.wait_for(1)
    at = time.monotonic()
    send(broker, Q, "a", "b", "c")
    said = [child.wait_for(2)[1].rsplit(" ", 1) for child in children]
    assert sorted(words[0] for words in said) == ["['a']", "['b']", "['c']"]
    assert max(float(words[1]) for words in said) - at < 0.2
    assert [child.reap() for child in children] == [0, 0, 0]


def test_queues_beyond_the_bells_are_served(broker: Broker) -> None:
    names = [f"q{n}" for n in range(bells.QUEUE_BELLS + 40)]
    consumer = broker.consumer(Owner(worker_name(), 0), names)
    consumer.claim(1, 0.0)
    for name in (names[-1], names[0]):
        send(broker, name, name)
    assert sorted(str(name) for _ in range(2) for name in ids(claim_some(consumer))) == sorted([names[0], names[-1]])
    consumer.close()


def test_a_claim_of_nothing_settles_and_takes_nothing(broker: Broker) -> None:
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    send(broker, Q, "a", "b")
    consumer.settle(Settlement(claim_one(consumer)))
    assert consumer.claim(0, 0.0) == []
    depth = broker.depths([Q])[Q]
    assert depth is not None
    assert (depth.ready, depth.leased) == (1, 0)
    consumer.close()


def test_a_fork_while_another_thread_writes_leaves_the_child_a_clean_start(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_FORK_PATIENCE_SECONDS", 0.01)
    inside, leave = Event(), Event()
    writer = Thread(target=lambda: broker.database.write(lambda _: (inside.set(), leave.wait(5.0))))
    writer.start()
    inside.wait(5.0)
    child = Child(lambda say: say(str(len(broker.peek(Q, 1)))))
    leave.set()
    writer.join()
    assert child.reap() == 0
    assert child.said() == ["0"]
    assert in_a_child(lambda: send(broker, Q, "from the child")) == 0
    assert [message.id for message in broker.peek(Q, 5)] == ["from the child"]


def test_a_consumer_of_the_parent_cannot_be_used_in_a_child(broker: Broker) -> None:
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    send(broker, Q, "a")
    claim = claim_one(consumer)
    assert in_a_child(lambda: consumer.claim(1, 0.0)) == 1
    assert in_a_child(consumer.close) == 0
    assert settle(consumer, claim) == 0
    consumer.close()

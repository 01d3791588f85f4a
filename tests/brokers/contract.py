"""What every broker promises, as tests: a subclass gives `connect`, which opens brokers on one and the same server.

    class TestRedisBroker(BrokerContract):
        @pytest.fixture
        def connect(self, redis_url): ...

Nothing in here knows a broker. What one cannot do, by its capability table, is skipped with that reason.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from threading import Thread

import pytest

from longshore.brokers.port import (
    Broker,
    Claim,
    Consumer,
    Outgoing,
    Owner,
    QueueDepth,
    QueueSpec,
    Settlement,
    Started,
    WorkerReport,
)
from longshore.message import SENTENCE_HEADER, Message

Connect = Callable[[], Broker]

DEADLINE = 10.0
"""For what should happen soon; nothing waits that long on a good day."""


# -- words of the tests ----------------------------------------------------------------------------------------------


def message(task_id: str | None = None, *, priority: int | None = None, body: bytes = b"[[], {}, {}]") -> Message:
    task_id = task_id or str(uuid.uuid4())
    properties: dict[str, object] = {"correlation_id": task_id, "delivery_mode": 2}
    if priority is not None:
        properties["priority"] = priority
    return Message(body, {"id": task_id, "task": "shop.tasks.ship", "retries": 0}, properties)


def messages(*ids: str) -> list[Message]:
    return [message(task_id) for task_id in ids]


def send(broker: Broker, queue: str, *ids: str, due_at: float | None = None, priority: int | None = None) -> None:
    broker.send([Outgoing(queue, message(task_id, priority=priority), due_at) for task_id in ids])


def ids(claims: Sequence[Claim]) -> list[str | None]:
    return [claim.message.id for claim in claims]


def claim_some(consumer: Consumer, limit: int = 1, deadline: float = DEADLINE) -> list[Claim]:
    """Claim until something comes: a broker may answer late, or with nothing at first."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if claims := consumer.claim(limit, 1.0):
            return claims
    raise AssertionError(f"nothing was claimed in {deadline} s")


def claim_one(consumer: Consumer) -> Claim:
    [claim] = claim_some(consumer)
    return claim


def claim_all(consumer: Consumer, count: int, limit: int = 100) -> list[Claim]:
    """Claim until `count` messages are held; they come in as many portions as the broker likes."""
    claims: list[Claim] = []
    while len(claims) < count:
        claims += claim_some(consumer, min(limit, count - len(claims)))
    return claims


def nothing_comes(consumer: Consumer, wait: float = 0.15) -> bool:
    return consumer.claim(10, wait) == []


def settle(consumer: Consumer, *claims: Claim, sends: Sequence[Outgoing] = ()) -> int:
    for claim in claims:
        consumer.settle(Settlement(claim, sends=tuple(sends)))
    return consumer.flush()


def give_back(consumer: Consumer, *claims: Claim, counted: bool = False) -> int:
    for claim in claims:
        consumer.settle(Settlement(claim, give_back=True, counted=counted))
    return consumer.flush()


def eventually(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for a condition; brokers that count in the background need a moment."""
    until = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < until, f"not within {deadline} s"
        time.sleep(0.01)


def needs(broker: Broker, *capabilities: str) -> None:
    for capability in capabilities:
        if not getattr(broker.capabilities, capability):
            pytest.skip(f"{broker.capabilities.name} says no to {capability} in its capability table")


def worker_name() -> str:
    return f"worker-{uuid.uuid4()}"


def report_of(worker: str, **changes: object) -> WorkerReport:
    values: dict[str, object] = {
        "worker": worker, "name": "celery@host", "pool": "shop/orders", "queues": ("orders",), "capacity": 4, "busy": 1,
        "held": 2, "processed": 100, "draining": False, "tasks": ("shop.tasks.ship",), "task_count": 1, "pid": 42,
        "host": "host", "started_at": time.time() - 60, "at": time.time(),
    }  # fmt: skip
    return WorkerReport(**{**values, **changes})  # type: ignore[arg-type]


class BrokerContract:
    """The promises of `longshore.brokers.port`. Subclasses are named `Test…` and override `connect`."""

    @pytest.fixture
    def connect(self) -> Connect:
        """Return a function that opens one more broker on the same, empty server; the fixture closes them all."""
        raise NotImplementedError("a subclass says how to connect")

    @pytest.fixture
    def broker(self, connect: Connect) -> Broker:
        return connect()

    @pytest.fixture
    def other(self, connect: Connect) -> Broker:
        """Another process's broker, as far as the server can tell."""
        return connect()

    @pytest.fixture
    def queue(self, broker: Broker) -> str:
        name = f"orders-{uuid.uuid4().hex[:8]}"
        broker.declare([QueueSpec(name, max_priority=9 if broker.capabilities.priorities else None)])
        return name

    @pytest.fixture
    def consumer(self, broker: Broker, queue: str) -> Iterator[Consumer]:
        consumer = broker.consumer(Owner(worker_name(), 0), [queue])
        yield consumer
        consumer.close()

    @pytest.fixture
    def rival(self, other: Broker, queue: str) -> Iterator[Consumer]:
        """Another worker's consumer of the same queue."""
        consumer = other.consumer(Owner(worker_name(), 0), [queue])
        yield consumer
        consumer.close()

    # -- sending and claiming ----------------------------------------------------------------------------------------

    def test_a_message_arrives_as_it_was_sent(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        sent = message("a", body=b'[[1, "\xc3\xa4"], {"k": null}, {"callbacks": null}]').with_headers({"eta": None})
        sent = sent.with_headers(
            {"custom": {"deep": [1, 2.5, None, True, []]}, "big": 2**53 + 1, "timelimit": [None, 3]}
        )
        broker.send([Outgoing(queue, sent)])
        got = claim_one(consumer).message
        assert (got.body, got.content_type, got.content_encoding) == (sent.body, "application/json", "utf-8")
        assert {key: got.headers.get(key) for key in sent.headers} == sent.headers
        assert got.properties["correlation_id"] == "a"

    def test_a_body_of_any_bytes_and_type_arrives(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        sent = Message(
            bytes(range(256)), {"id": "a", "task": "t"}, {"correlation_id": "a"}, "application/x-raw", "binary"
        )
        broker.send([Outgoing(queue, sent)])
        got = claim_one(consumer).message
        assert (got.body, got.content_type, got.content_encoding) == (sent.body, "application/x-raw", "binary")

    def test_messages_come_in_the_order_in_which_they_were_sent(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        names = [str(n) for n in range(25)]
        send(broker, queue, *names[:10])
        for name in names[10:]:
            send(broker, queue, name)
        assert ids(claim_all(consumer, 25, limit=7)) == names

    def test_priority_9_comes_first_and_no_priority_is_the_lowest(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        needs(broker, "priorities")
        send(broker, queue, "none")
        for priority in (0, 3, 9, 6):
            send(broker, queue, f"p{priority}", priority=priority)
        claims = [claim_one(consumer) for _ in range(5)]
        assert ids(claims) == ["p9", "p6", "p3", "none", "p0"]

    def test_a_claim_takes_at_most_its_limit(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, *"abcde")
        assert 1 <= len(claim_some(consumer, 3)) <= 3

    def test_an_empty_queue_gives_nothing_after_the_wait(self, consumer: Consumer) -> None:
        consumer.claim(1, 0.0)
        started = time.monotonic()
        assert consumer.claim(1, 0.2) == []
        assert 0.15 <= time.monotonic() - started < 2.0

    def test_a_waiting_consumer_gets_a_message_at_once(self, broker: Broker, rival: Consumer, queue: str) -> None:
        got: list[float] = []
        rival.claim(1, 0.0)
        thread = Thread(target=lambda: (claim_one(rival), got.append(time.monotonic())))
        thread.start()
        time.sleep(0.05)
        sent = time.monotonic()
        send(broker, queue, "a")
        thread.join(DEADLINE)
        assert got[0] - sent < 1.0

    def test_what_one_holds_nobody_else_gets(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a")
        claim_one(consumer)
        assert nothing_comes(rival)

    def test_two_consumers_share_a_queue_without_overlap(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        names = [str(n) for n in range(40)]
        send(broker, queue, *names)
        got: list[str | None] = []
        while len(got) < 40:
            got += ids(consumer.claim(3, 0.1)) + ids(rival.claim(3, 0.1))
        assert sorted(map(str, got)) == sorted(names)

    def test_several_queues_are_served_in_turn(self, broker: Broker) -> None:
        queues = [f"turn-{uuid.uuid4().hex[:6]}" for _ in range(3)]
        broker.declare([QueueSpec(name) for name in queues])
        for name in queues:
            send(broker, name, *(f"{name}/{n}" for n in range(20)))
        consumer = broker.consumer(Owner(worker_name(), 0), queues)
        first = [claim.queue for claim in (claim_one(consumer) for _ in range(12))]
        consumer.close()
        assert set(first) == set(queues), "a full queue must not starve the others"

    # -- delayed messages --------------------------------------------------------------------------------------------

    def test_a_delayed_message_comes_when_it_is_due_and_not_before(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        needs(broker, "delayed")
        due = time.time() + 0.4
        send(broker, queue, "later", due_at=due)
        send(broker, queue, "now")
        assert ids([claim_one(consumer)]) == ["now"]
        assert ids([claim_one(consumer)]) == ["later"]
        assert due <= time.time() < due + 1.0

    def test_a_message_that_is_due_already_comes_now(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        needs(broker, "delayed")
        send(broker, queue, "late", due_at=time.time() - 3600)
        assert ids([claim_one(consumer)]) == ["late"]

    def test_a_sweep_promotes_what_is_due(self, broker: Broker, queue: str) -> None:
        needs(broker, "delayed", "counts_delayed")
        send(broker, queue, "a", "b", due_at=time.time() + 0.05)
        time.sleep(0.06)
        broker.sweep([queue])
        depth = broker.depths([queue])[queue]
        assert depth is not None
        assert (depth.ready, depth.delayed) == (2, 0)

    # -- settling ----------------------------------------------------------------------------------------------------

    def test_what_is_settled_is_gone(self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str) -> None:
        send(broker, queue, "a")
        assert settle(consumer, claim_one(consumer)) == 0
        consumer.close()
        assert nothing_comes(rival)

    def test_a_settlement_leaves_with_the_next_claim(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a")
        consumer.settle(Settlement(claim_one(consumer)))
        consumer.claim(1, 0.0)
        eventually(lambda: (broker.depths([queue])[queue] or QueueDepth(None)).ready == 0)
        assert nothing_comes(rival)

    def test_what_a_settlement_sends_is_there_when_the_claim_is_gone(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        dead = f"{queue}.dead"
        broker.declare([QueueSpec(dead)])
        send(broker, queue, "a")
        claim = claim_one(consumer)
        settle(consumer, claim, sends=[Outgoing(dead, message("letter")), Outgoing(queue, message("retry"))])
        assert ids([claim_one(consumer)]) == ["retry"]
        undertaker = broker.consumer(Owner(worker_name(), 0), [dead])
        assert ids([claim_one(undertaker)]) == ["letter"]
        undertaker.close()

    def test_a_retry_with_a_delay_waits_in_the_broker(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        needs(broker, "delayed")
        send(broker, queue, "a")
        due = time.time() + 0.3
        settle(consumer, claim_one(consumer), sends=[Outgoing(queue, message("a"), due)])
        assert ids([claim_one(consumer)]) == ["a"]
        assert time.time() >= due

    def test_acknowledged_before_the_start_it_never_comes_again(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a", "b")
        claims = claim_all(consumer, 2)
        consumer.acknowledge_now(claims[:1])
        consumer.close()
        assert ids([claim_one(rival)]) == ["b"]
        assert nothing_comes(rival)

    def test_several_are_acknowledged_before_their_start_in_one_call(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abcde")
        claims = claim_all(consumer, 4)
        consumer.acknowledge_now(claims[:3])
        consumer.close()
        assert ids(claim_all(rival, 2)) == ["d", "e"]
        assert nothing_comes(rival)

    def test_what_is_fetched_ahead_goes_back_with_a_flush(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        """Before a task that may be long nothing waits behind it, neither in hand nor on its way."""
        send(broker, queue, *(str(n) for n in range(30)))
        claims = consumer.claim(20, 5.0, ahead=True)
        while len(claims) < 20 and (more := consumer.claim(20 - len(claims), 1.0)):
            claims += more
        settle(consumer, *claims)
        held = consumer.claim(8, 5.0, ahead=True)
        consumer.flush()
        assert sorted(ids([*held, *claim_all(rival, 10 - len(held))]), key=lambda name: int(str(name))) == [
            str(n) for n in range(20, 30)
        ]

    def test_claimed_ahead_everything_comes_once_and_in_order(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        send(broker, queue, *(str(n) for n in range(200)))
        seen: list[str | None] = []
        while len(seen) < 200:
            claims = consumer.claim(20, 1.0, ahead=True)
            assert len(claims) <= 20
            seen += ids(claims)
            for claim in claims:
                assert not claim.redelivered
                consumer.settle(Settlement(claim))
        assert seen == [str(n) for n in range(200)]
        assert consumer.flush() == 0
        assert nothing_comes(consumer)

    # -- giving back -------------------------------------------------------------------------------------------------

    def test_given_back_it_is_first_again(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, "a", "b")
        give_back(consumer, claim_one(consumer))
        assert ids([claim_one(consumer), claim_one(consumer)]) == ["a", "b"]

    def test_several_given_back_keep_their_order(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abcd")
        give_back(consumer, *claim_all(consumer, 3))
        assert ids(claim_all(rival, 4)) == list("abcd")

    def test_what_is_given_back_between_settled_ones_comes_again(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abcde")
        claims = claim_all(consumer, 5, 5)
        for index, claim in enumerate(claims):
            consumer.settle(Settlement(claim, give_back=index % 2 == 1, counted=index == 3))
        assert consumer.flush() == 0
        again = {claim.message.id: claim.deliveries for claim in (claim_one(consumer), claim_one(consumer))}
        assert again == {"b": 0, "d": 1}

    def test_given_back_uncounted_it_has_no_delivery_more(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, "a")
        first = claim_one(consumer)
        give_back(consumer, first, counted=False)
        again = claim_one(consumer)
        assert (first.redelivered, first.deliveries) == (False, 0)
        assert (again.redelivered, again.deliveries) == (True, 0)

    def test_given_back_counted_it_has_one_more(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, "a")
        for deliveries in range(3):
            claim = claim_one(consumer)
            assert (claim.message.id, claim.deliveries) == ("a", deliveries)
            assert claim.redelivered == (deliveries > 0)
            give_back(consumer, claim, counted=True)

    def test_a_message_that_was_started_before_is_claimed_alone(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        send(broker, queue, "poison", "b", "c")
        give_back(consumer, claim_one(consumer), counted=True)
        portions = []
        while sum(map(len, portions)) < 3:
            portions.append(ids(claims := claim_some(consumer, 10)))
            settle(consumer, *claims)
        assert ["poison"] in portions

    def test_closing_gives_back_uncounted_what_is_held(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abc")
        claims = claim_all(consumer, 3)
        consumer.settle(Settlement(claims[0]))
        consumer.close()
        again = claim_all(rival, 2)
        assert ids(again) == ["b", "c"]
        assert [(claim.deliveries, claim.redelivered) for claim in again] == [(0, True)] * 2

    def test_closing_twice_is_harmless(self, connect: Connect, queue: str) -> None:
        broker = connect()
        consumer = broker.consumer(Owner(worker_name(), 0), [queue])
        consumer.claim(1, 0.0)
        consumer.close()
        consumer.close()
        broker.close()
        broker.close()

    def test_what_is_abandoned_after_an_error_goes_back_and_what_was_noted_is_done(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abc")
        claims = claim_all(consumer, 3)
        consumer.settle(Settlement(claims[0]))
        consumer.abandon()
        assert consumer.flush() == 0
        again = [claim_one(rival), claim_one(rival)]
        assert [(claim.message.id, claim.deliveries, claim.redelivered) for claim in again] == [
            ("b", 0, True),
            ("c", 0, True),
        ]
        consumer.settle(Settlement(claims[1]))
        assert settle(rival, *again) == 0, "what was abandoned is settled by its new holder alone"

    # -- owners that die ---------------------------------------------------------------------------------------------

    def test_a_dead_process_loses_its_claims_at_once_and_only_what_it_ran_counts(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        owner = Owner(worker_name(), 3)
        send(broker, queue, *"abc")
        claim_all(broker.consumer(owner, [queue]), 3)
        self.lose(broker)
        assert other.release_owner(owner, [queue], started=[Started("b")]) == 3
        again = [claim_one(rival) for _ in range(3)]
        assert {claim.message.id: claim.deliveries for claim in again} == {"a": 0, "b": 1, "c": 0}
        assert all(claim.redelivered for claim in again)

    @pytest.mark.parity("F3")
    def test_a_sentence_is_in_its_message_until_that_is_settled(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        owner, said = (
            Owner(worker_name(), 3),
            [Started("b", sentence='{"v": 1, "ü": "\\""}'), Started("c", counted=False)],
        )
        send(broker, queue, *"abc")
        claim_all(broker.consumer(owner, [queue]), 3)
        if broker.capabilities.returns_claims:
            other.release_owner(owner, [queue], said)
            self.lose(broker)
        else:
            other.release_owner(owner, [queue], said)
        sentences: dict[str | None, object] = {}
        for _ in range(3):
            claim = claim_one(rival)
            sentences[claim.message.id] = claim.message.headers.get(SENTENCE_HEADER)
            assert claim.deliveries == (claim.message.id == "b")
            if claim.message.id != "b":
                settle(rival, claim)
        assert sentences == {"a": None, "b": said[0].sentence, "c": None}, sentences
        rival.close()
        last = broker if not broker.capabilities.returns_claims else other
        heir = last.consumer(Owner(worker_name(), 4), [queue])
        again = claim_one(heir)
        assert again.message.headers.get(SENTENCE_HEADER) == said[0].sentence, "given back, it still has it"
        assert settle(heir, again) == 0
        assert nothing_comes(heir)
        heir.close()

    def test_a_process_that_died_between_two_tasks_counts_nothing(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        owner = Owner(worker_name(), 0)
        send(broker, queue, "a")
        claim_one(broker.consumer(owner, [queue]))
        self.lose(broker)
        assert other.release_owner(owner, [queue], started=[]) == 1
        assert claim_one(rival).deliveries == 0

    def test_the_neighbours_of_a_dead_process_keep_theirs(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        worker = worker_name()
        send(broker, queue, "a", "b")
        dead, alive = (broker.consumer(Owner(worker, slot), [queue]) for slot in (0, 1))
        claim_one(dead)
        claim_one(alive)
        broker.keep_claims(worker, [1], [queue])
        assert other.release_owner(Owner(worker, 0), [queue], started=[]) == 1
        assert ids([claim_one(rival)]) == ["a"]
        assert nothing_comes(rival)

    def test_what_was_given_to_another_cannot_be_settled_any_more(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        needs(broker, "fenced")
        owner = Owner(worker_name(), 0)
        send(broker, queue, "a")
        frozen = broker.consumer(owner, [queue])
        claim = claim_one(frozen)
        other.release_owner(owner, [queue], started=[])
        mine = claim_one(rival)
        assert settle(frozen, claim, sends=[Outgoing(queue, message("retry"))]) == 1
        assert nothing_comes(rival), "what a settlement sends is refused with it"
        assert settle(rival, mine) == 0
        frozen.close()

    def test_an_owner_that_was_declared_dead_goes_on_with_new_claims(
        self, broker: Broker, other: Broker, queue: str
    ) -> None:
        owner = Owner(worker_name(), 0)
        send(broker, queue, "a")
        frozen = broker.consumer(owner, [queue])
        claim_one(frozen)
        other.release_owner(owner, [queue], started=[])
        again = claim_one(frozen)
        assert settle(frozen, again) == 0
        frozen.close()

    def lose(self, broker: Broker) -> None:
        """Let a broker's process die as far as its server can tell: nothing to do where claims outlive a connection."""

    # -- waking ------------------------------------------------------------------------------------------------------

    def test_a_readable_wake_descriptor_ends_a_wait(self, broker: Broker, queue: str) -> None:
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        consumer = broker.consumer(Owner(worker_name(), 0), [queue], wake_fd=wake)
        consumer.claim(1, 0.0)
        thread = Thread(target=lambda: (time.sleep(0.05), os.eventfd_write(wake, 1)))
        thread.start()
        started = time.monotonic()
        assert consumer.claim(1, 30.0) == []
        assert time.monotonic() - started < 5.0
        thread.join()
        assert os.eventfd_read(wake) == 1, "whoever waits leaves the descriptor as it is"
        consumer.close()
        os.close(wake)

    # -- looking -----------------------------------------------------------------------------------------------------

    def test_depths_tell_what_is_in_each_queue(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        empty, missing = f"{queue}.empty", f"{queue}.missing"
        broker.declare([QueueSpec(empty)])
        send(broker, queue, *"abcd")
        claim_one(consumer)
        eventually(lambda: (broker.depths([queue])[queue] or QueueDepth(None)).ready == 3)
        depths = broker.depths([queue, empty, missing])
        assert depths[missing] is None
        assert depths[empty] is not None
        assert depths[empty].ready == 0
        assert depths[queue] is not None
        assert depths[queue].leased in ((1,) if broker.capabilities.counts_leased else (1, None))

    def test_depths_tell_what_is_delayed_and_until_when(self, broker: Broker, queue: str) -> None:
        needs(broker, "delayed", "counts_delayed")
        due = time.time() + 3600
        send(broker, queue, "b", due_at=due + 60)
        send(broker, queue, "a", due_at=due)
        depth = broker.depths([queue])[queue]
        assert depth is not None
        assert (depth.ready, depth.delayed) == (0, 2)
        assert depth.next_due_at == pytest.approx(due, abs=1.0)

    def test_depths_tell_the_age_of_the_oldest_or_that_it_is_unknown(self, broker: Broker, queue: str) -> None:
        before = time.time()
        send(broker, queue, "a")
        depth = broker.depths([queue])[queue]
        assert depth is not None
        assert depth.oldest_ready_at is None or before - 1 <= depth.oldest_ready_at <= time.time() + 1

    def test_peeking_claims_nothing(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, *"abc")
        assert [seen.id for seen in broker.peek(queue, 2)] == ["a", "b"]
        eventually(lambda: (broker.depths([queue])[queue] or QueueDepth(None)).ready == 3)
        claims = claim_all(consumer, 3)
        assert ids(claims) == list("abc")

    def test_peeking_at_an_empty_queue_shows_nothing(self, broker: Broker, queue: str) -> None:
        assert broker.peek(queue, 10) == []

    # -- handing in --------------------------------------------------------------------------------------------------

    def test_what_is_handed_in_is_sent_and_each_has_its_own_error(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        bad = Outgoing(queue, message("bad").with_headers({"what": object()}))
        handed_in = [broker.submit(Outgoing(queue, message(str(n)))) for n in range(20)]
        failed = broker.submit(bad)
        handed_in += [broker.submit(Outgoing(queue, message(str(n)))) for n in range(20, 40)]
        for future in handed_in:
            assert future.result(DEADLINE) is None
        assert failed.exception(DEADLINE) is not None
        assert ids(claim_all(consumer, 40)) == [str(n) for n in range(40)]

    # -- operating ---------------------------------------------------------------------------------------------------

    def test_a_purge_drops_what_is_ready_and_keeps_claims(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "held")
        claim = claim_one(consumer)
        send(broker, queue, "b", "c")
        eventually(lambda: (broker.depths([queue])[queue] or QueueDepth(None)).ready == 2)
        assert broker.purge(queue) == 2
        assert nothing_comes(rival)
        assert give_back(consumer, claim) == 0
        assert ids([claim_one(rival)]) == ["held"]

    def test_a_purge_drops_what_is_delayed_too(self, broker: Broker, queue: str) -> None:
        needs(broker, "delayed", "counts_delayed")
        send(broker, queue, "later", due_at=time.time() + 3600)
        assert broker.purge(queue) == 1
        depth = broker.depths([queue])[queue]
        assert depth is not None
        assert (depth.ready, depth.delayed) == (0, 0)

    def test_a_deleted_queue_is_gone_with_what_was_in_it(self, broker: Broker, queue: str) -> None:
        send(broker, queue, "a")
        broker.delete_queue(queue)
        assert broker.depths([queue])[queue] is None
        broker.declare([QueueSpec(queue)])
        depth = broker.depths([queue])[queue]
        assert depth is not None
        assert depth.ready == 0

    def test_declaring_again_adopts_what_is_there(self, broker: Broker, other: Broker, queue: str) -> None:
        send(broker, queue, "a")
        other.declare([QueueSpec(queue, max_priority=9 if broker.capabilities.priorities else None)])
        eventually(lambda: (other.depths([queue])[queue] or QueueDepth(None)).ready == 1)

    def test_workers_report_through_the_broker_until_they_say_farewell(self, broker: Broker, other: Broker) -> None:
        worker = worker_name()
        broker.report(report_of(worker, busy=1))
        broker.report(report_of(worker, busy=2))
        eventually(lambda: [seen.busy for seen in other.workers() if seen.worker == worker] == [2])
        [seen] = [seen for seen in other.workers() if seen.worker == worker]
        assert (seen.pool, seen.queues, seen.tasks) == ("shop/orders", ("orders",), ("shop.tasks.ship",))
        broker.forget_worker(worker)
        eventually(lambda: worker not in [seen.worker for seen in other.workers()])

    def test_sending_nothing_is_fine(self, broker: Broker) -> None:
        broker.send([])

    # -- processes ---------------------------------------------------------------------------------------------------

    def test_a_forked_child_opens_its_own_connection(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        send(broker, queue, "parent")
        claim = claim_one(consumer)
        assert in_a_child(lambda: send(broker, queue, "child")) == 0
        assert ids([claim_one(consumer)]) == ["child"]
        assert settle(consumer, claim) == 0, "the child's end must not touch the parent's claims"

    def test_several_threads_share_a_broker(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        threads = [Thread(target=send, args=(broker, queue, *(f"{t}-{n}" for n in range(10)))) for t in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert len(set(ids(claim_all(consumer, 40)))) == 40


def in_a_child(work: Callable[[], object]) -> int:
    """Run work in a forked child; return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""The RabbitMQ broker keeps the promises of the port, on classic and on quorum queues.

Where a claim lives with its connection, a dead owner is one whose socket is closed: these tests say so in their own
way, and `release_owner` has nothing to give back but notes what had been started.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from longshore.brokers.port import Broker, Consumer, Outgoing, Owner, QueueSpec, Started
from longshore.brokers.rabbitmq import RabbitMQBroker
from longshore.brokers.registry import open_broker

from .contract import (
    BrokerContract,
    Connect,
    claim_all,
    claim_one,
    eventually,
    give_back,
    ids,
    message,
    nothing_comes,
    report_of,
    send,
    settle,
    worker_name,
)

pytestmark = pytest.mark.integration


class RabbitMQContract(BrokerContract):
    @pytest.fixture
    def connect(self, rabbitmq_url: str) -> Iterator[Connect]:
        brokers: list[Broker] = []

        def connect() -> Broker:
            brokers.append(open_broker(rabbitmq_url))
            return brokers[-1]

        yield connect
        for broker in brokers:
            broker.close()

    def lose(self, broker: Broker) -> None:
        """Close the consumers' sockets without a word, as the kernel does for a process that is killed."""
        assert isinstance(broker, RabbitMQBroker)
        for consumer in list(broker._parts.consumers):
            if consumer._session.intake is not None:
                consumer._session.intake.connection.close_socket()

    def test_a_dead_process_loses_its_claims_at_once_and_only_what_it_ran_counts(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        owner = Owner(worker_name(), 3)
        send(broker, queue, *"abc")
        claim_all(broker.consumer(owner, [queue]), 3)
        other.release_owner(owner, [queue], started=[Started("b")])
        self.lose(broker)
        again = [claim_one(rival) for _ in range(3)]
        assert {claim.message.id: claim.deliveries for claim in again} == {"a": 0, "b": 1, "c": 0}
        assert all(claim.redelivered for claim in again)

    def test_a_process_that_died_between_two_tasks_counts_nothing(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        owner = Owner(worker_name(), 0)
        send(broker, queue, "a")
        claim_one(broker.consumer(owner, [queue]))
        self.lose(broker)
        other.release_owner(owner, [queue], started=[])
        assert claim_one(rival).deliveries == 0

    def test_the_neighbours_of_a_dead_process_keep_theirs(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a", "b")
        claim_one(broker.consumer(Owner(worker_name(), 0), [queue]))
        claim_one(other.consumer(Owner(worker_name(), 1), [queue]))
        self.lose(broker)
        assert ids([claim_one(rival)]) == ["a"]
        assert nothing_comes(rival)

    def test_what_was_given_to_another_cannot_be_settled_any_more(
        self, broker: Broker, other: Broker, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a")
        frozen = broker.consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(frozen)
        self.lose(broker)
        mine = claim_one(rival)
        assert settle(frozen, claim) == 1
        assert settle(rival, mine) == 0
        frozen.close()

    def test_what_a_lost_claim_sends_is_refused_with_it_once_the_loss_is_known(
        self, broker: Broker, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, "a")
        frozen = broker.consumer(Owner(worker_name(), 0), [queue])
        claim = claim_one(frozen)
        self.lose(broker)
        mine = claim_one(rival)
        assert frozen.claim(1, 0.1) == []
        assert settle(frozen, claim, sends=[Outgoing(queue, message("retry"))]) == 1
        assert nothing_comes(rival)
        assert settle(rival, mine) == 0
        frozen.close()

    def test_an_owner_that_was_declared_dead_goes_on_with_new_claims(
        self, broker: Broker, other: Broker, queue: str
    ) -> None:
        send(broker, queue, "a")
        frozen = broker.consumer(Owner(worker_name(), 0), [queue])
        claim_one(frozen)
        self.lose(broker)
        again = claim_one(frozen)
        assert settle(frozen, again) == 0
        frozen.close()

    def test_workers_report_through_the_broker_until_they_say_farewell(self, broker: Broker, other: Broker) -> None:
        """Reports are not kept: who listens hears the next ones, which come every two seconds."""
        worker = worker_name()
        ends = Event()

        def report() -> None:
            busy = 0
            while not ends.wait(0.05):
                broker.report(report_of(worker, busy=(busy := busy + 1)))

        supervisor = Thread(target=report)
        supervisor.start()
        [first] = [seen for seen in other.workers() if seen.worker == worker]
        assert (first.pool, first.queues, first.tasks) == ("shop/orders", ("orders",), ("shop.tasks.ship",))
        eventually(lambda: [seen.busy > first.busy for seen in other.workers() if seen.worker == worker] == [True])
        ends.set()
        supervisor.join()
        broker.forget_worker(worker)
        eventually(lambda: worker not in [seen.worker for seen in other.workers()])


class TestClassicQueues(RabbitMQContract):
    pass


class TestQuorumQueues(RabbitMQContract):
    @pytest.fixture
    def queue(self, broker: Broker) -> str:
        name = f"orders-{uuid.uuid4().hex[:8]}"
        broker.declare([QueueSpec(name, "Quorum")])
        return name

    def test_priority_9_comes_first_and_no_priority_is_the_lowest(
        self, broker: Broker, consumer: Consumer, queue: str
    ) -> None:
        pytest.skip("quorum queues have no priorities like those of classic queues")

    def test_given_back_it_is_first_again(self, broker: Broker, consumer: Consumer, queue: str) -> None:
        """RabbitMQ 3.10 puts what returns to a quorum queue behind what is there: it comes again, not first."""
        send(broker, queue, "a", "b")
        give_back(consumer, claim_one(consumer))
        assert sorted(map(str, ids([claim_one(consumer), claim_one(consumer)]))) == ["a", "b"]

    def test_several_given_back_keep_their_order(
        self, broker: Broker, consumer: Consumer, rival: Consumer, queue: str
    ) -> None:
        send(broker, queue, *"abcd")
        give_back(consumer, *claim_all(consumer, 3))
        again = [str(task_id) for task_id in ids(claim_all(rival, 4))]
        assert [task_id for task_id in again if task_id != "d"] == list("abc")

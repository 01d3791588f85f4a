"""RabbitMQ behind the broker port: one object that hands each call to the part that carries it out.

Consumers have connections of their own; everything else shares the process's link.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING

from longshore.brokers.port import (
    SEND_DEADLINE_SECONDS,
    Capabilities,
    Outgoing,
    Owner,
    QueueDepth,
    QueueSpec,
    Started,
    WorkerReport,
)
from longshore.brokers.rabbitmq import queues as rabbit_queues
from longshore.brokers.rabbitmq.address import HEARTBEAT_SECONDS, Address, parse_address
from longshore.brokers.rabbitmq.consumer import RabbitMQConsumer
from longshore.brokers.rabbitmq.link import Link
from longshore.brokers.rabbitmq.publisher import Publisher
from longshore.brokers.rabbitmq.queues import Gauge
from longshore.brokers.rabbitmq.reports import Reports
from longshore.brokers.rabbitmq.starts import Starts, notes_queue_of
from longshore.brokers.rabbitmq.unconfirmed import Unconfirmed
from longshore.exceptions import QueueNotFound, redact_url
from longshore.message import Message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from longshore.brokers.sender import Sender
    from longshore.results.port import ResultBackend

CAPABILITIES = Capabilities(
    name="rabbitmq",
    delayed=True,
    priorities=True,
    atomic_settle=False,
    counts_leased=False,
    counts_delayed=False,
    fenced=True,
    takeover_seconds=3.0 * HEARTBEAT_SECONDS + 1,
    multi_host=True,
    celery_interop=True,
    returns_claims=True,
    gil_seconds=float(HEARTBEAT_SECONDS),
)


class _Parts:
    """What works for a broker in one process: a forked child has its own, with locks that nobody holds."""

    def __init__(self, address: Address) -> None:
        self.pid = os.getpid()
        self.link = Link(address)
        self.publisher = Publisher(self.link)
        self.starts = Starts(self.link)
        self.reports = Reports(self.link)
        self.gauge = Gauge()
        self.declared: set[str] = set()
        self.consumers: set[RabbitMQConsumer] = set()

    @cached_property
    def unconfirmed(self) -> Unconfirmed:
        """For those who chose it."""
        return Unconfirmed(self.link)

    @cached_property
    def sender(self) -> Sender:
        """The thread of those who submit; loaded for them only."""
        from longshore.brokers.sender import Sender

        return Sender(self.publisher.send_each)

    def close(self) -> None:
        """Send what is handed in, and close all."""
        for consumer in list(self.consumers):
            consumer.close()
        if "sender" in self.__dict__:
            self.sender.close()
        self.publisher.close()
        self.link.close()

    def abandon(self) -> None:
        """Let go of what belongs to the parent process."""
        self.link.abandon()
        for consumer in self.consumers:
            consumer.leave_to_parent()


class RabbitMQBroker:
    """One process's way to a RabbitMQ vhost."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.capabilities = CAPABILITIES
        self._address = parse_address(url)
        self._kept = _Parts(self._address)

    def __repr__(self) -> str:
        return f"RabbitMQBroker({redact_url(self.url)!r})"

    @property
    def _parts(self) -> _Parts:
        if self._kept.pid != os.getpid():
            self._kept.abandon()
            self._kept = _Parts(self._address)
        return self._kept

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make sure that the queues exist; adopt what is there."""
        link = self._parts.link
        for spec in queues:
            link.run(partial(rabbit_queues.declare, link, spec))

    def send(self, outgoing: Sequence[Outgoing], *, deadline: float = SEND_DEADLINE_SECONDS) -> None:
        """Publish, confirmed unless the address says otherwise; what is due later waits in the ladder."""
        parts = self._parts
        if self._address.confirm or any(each.due_at is not None for each in outgoing):
            parts.publisher.send(outgoing, deadline)
        else:
            parts.unconfirmed.send(outgoing, deadline)

    def submit(self, outgoing: Outgoing, *, deadline: float = SEND_DEADLINE_SECONDS) -> Future[None]:
        """Publish, confirmed, by the sender's thread."""
        return self._parts.sender.submit(outgoing, deadline)

    def depths(self, queues: Sequence[str]) -> Mapping[str, QueueDepth | None]:
        """Return ready messages and consumers; what is leased or delayed RabbitMQ does not tell."""
        parts = self._parts
        return parts.link.run(partial(parts.gauge.read, queues))

    def settles_results_of(self, backend: ResultBackend) -> bool:  # noqa: ARG002 - no result is stored here
        """Never: results are stored first, and acknowledged, then the message is."""
        return False

    def consumer(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None = None,
        results: ResultBackend | None = None,  # noqa: ARG002 - see `settles_results_of`
    ) -> RabbitMQConsumer:
        """Claim as `owner`, over a connection of its own."""
        parts = self._parts
        consumer = RabbitMQConsumer(
            self._address, owner, queues, wake_fd=wake_fd, send=self._send_settled, starts=parts.starts
        )
        parts.consumers.add(consumer)
        consumer.closed = partial(parts.consumers.discard, consumer)
        return consumer

    def keep_claims(self, worker: str, slots: Sequence[int], queues: Sequence[str]) -> None:
        """Do nothing: claims live with their connection, which its own process keeps alive."""

    def release_owner(self, owner: Owner, queues: Sequence[str], started: Sequence[Started]) -> int:  # noqa: ARG002
        """Note what is said of the tasks that a process runs; the broker gives its claims back when the socket closes.

        The task may have come from any of the queues; a note under the others' names expires unread.
        """
        for queue, each in product(queues, started):
            if each.counted or each.sentence:
                self._parts.starts.note_death(notes_queue_of(queue, each.task_id), each.sentence)
        return 0

    def sweep(self, queues: Sequence[str]) -> int:  # noqa: ARG002
        """Do nothing: RabbitMQ takes over and promotes by itself."""
        return 0

    def report(self, report: WorkerReport) -> None:
        """Tell whoever listens."""
        self._parts.reports.tell(report)

    def forget_worker(self, worker: str) -> None:
        """Tell whoever listens that a worker ends."""
        self._parts.reports.forget(worker)

    def workers(self) -> list[WorkerReport]:
        """Return who was heard in the last ten seconds; the first call listens for two."""
        return self._parts.reports.heard()

    def peek(self, queue: str, limit: int) -> list[Message]:
        """Return the first messages; they count as redelivered afterwards."""
        return self._parts.link.run(partial(rabbit_queues.peek, queue, limit))

    def purge(self, queue: str) -> int:
        """Drop what is ready; what is delayed cannot be picked out of the ladder and stays."""
        return self._parts.link.call(partial(rabbit_queues.purge, queue))

    def delete_queue(self, queue: str) -> None:
        """Remove a queue with all that is in it."""
        self._parts.declared.discard(queue)
        self._parts.link.call(partial(rabbit_queues.delete, queue))

    def close(self) -> None:
        """Close the consumers and the link of this process."""
        self._parts.close()

    def _send_settled(self, outgoing: Sequence[Outgoing]) -> None:
        """A retry or a dead letter must find a place: its queue is made if nobody has. Always confirmed."""
        known = self._parts.declared
        missing = [QueueSpec(queue) for queue in dict.fromkeys(each.queue for each in outgoing) if queue not in known]
        self.declare(missing)
        known.update(spec.name for spec in missing)
        try:
            self._parts.publisher.send(outgoing, SEND_DEADLINE_SECONDS)
        except QueueNotFound:
            known.clear()
            raise

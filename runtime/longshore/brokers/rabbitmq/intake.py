"""How messages come from RabbitMQ to one consumer: pushed within a prefetch, or fetched one by one.

An intake lives as long as its connection. It knows deliveries and tags; what a message means, and what a settlement is,
it does not. Three ways, because RabbitMQ has no limit that fits all: one queue has a prefetch per consumer (classic and
quorum); several classic queues share a prefetch of the channel; several queues of which one is a quorum queue (which
refuses that) are fetched from, and pushed only while there is nothing to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import ConnectionLost
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.prefetch import next_prefetch
from longshore.brokers.rabbitmq.unacked import Unacked

_NOT_YET = 1 << 62


class Arrived(NamedTuple):
    """One delivery that waits here, not yet decoded."""

    queue: str
    tag: int
    redelivered: bool
    properties: bytes
    body: bytes


class Intake:
    """What the three ways have in common."""

    def __init__(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        self.connection = connection
        self.channel: Channel = connection.open_channel(deadline)
        self.unacked = Unacked()
        self.buffered = 0
        self._queues = list(queues)
        self._ready: dict[str, deque[Arrived]] = {queue: deque() for queue in queues}
        self._queue_of: dict[str, str] = {}
        self._consumers = 0
        self.channel.handlers = {frames.BASIC_DELIVER: self._on_delivery, frames.BASIC_CANCEL: self._on_cancel}

    def aim(self, outstanding: int, limit: int, deadline: float) -> bool:
        """Let up to `limit` messages come, beside the `outstanding` ones that are handed out.

        Return whether the broker was told to send more than before.
        """
        raise NotImplementedError

    def idle(self, deadline: float) -> None:
        """Prepare for a wait: nothing is here."""

    def arrived(self, limit: int, deadline: float) -> None:
        """Look at what the wait has brought."""

    def peek(self) -> Arrived | None:
        """Return the next delivery, queues taking turns, and leave it here."""
        for _ in self._queues:
            waiting = self._ready[self._queues[0]]
            if waiting:
                return waiting[0]
            self._queues.append(self._queues.pop(0))
        return None

    def take(self) -> Arrived:
        """Return the delivery that `peek` showed; the next queue has its turn."""
        queue = self._queues[0]
        if len(self._queues) > 1:
            self._queues.append(self._queues.pop(0))
        self.buffered -= 1
        return self._ready[queue].popleft()

    def acks(self) -> bytes:
        """Return the frames that acknowledge what is settled."""
        number = self.channel.number
        return b"".join(methods.ack(number, tag, multiple=multiple) for tag, multiple in self.unacked.take())

    def requeue(self, tag: int) -> bytes:
        """Return the frame that gives a delivery back to its place."""
        self.unacked.given_back(tag)
        return methods.requeue(self.channel.number, tag)

    def barrier(self, deadline: float) -> None:
        """Return when the broker has carried out all that was written before."""
        frame = methods.qos(self.channel.number, 1, whole_channel=False)
        self.channel.call(frame, frames.BASIC_QOS_OK, deadline)

    def _surplus(self, limit: int) -> bytes:
        """Frames that give back what waits here above the limit, the latest first."""
        surplus: list[bytes] = []
        while self.buffered > limit:
            longest = max(self._ready.values(), key=len)
            surplus.append(self.requeue(longest.pop().tag))
            self.buffered -= 1
        return b"".join(surplus)

    def _consume(self, queue: str) -> bytes:
        self._consumers += 1
        tag = f"c{self._consumers}"
        self._queue_of[tag] = queue
        return methods.consume(self.channel.number, queue, tag)

    def _cancel_all(self) -> tuple[bytes, int]:
        tags = list(self._queue_of)
        return b"".join(methods.cancel(self.channel.number, tag) for tag in tags), len(tags)

    def _on_delivery(self, received: Received) -> None:
        delivery = methods.read_delivery(received.arguments)
        queue = self._queue_of.get(delivery.consumer) or self._queues[0]
        self._add(Arrived(queue, delivery.tag, delivery.redelivered, received.properties, received.body))

    def _add(self, arrived: Arrived) -> None:
        self.unacked.delivered(arrived.tag)
        self._ready[arrived.queue].append(arrived)
        self.buffered += 1

    def _on_cancel(self, received: Received) -> None:
        """The queue was deleted, or its leader moved: a new connection finds out which."""
        queue = self._queue_of.get(methods.read_consumer_tag(received.arguments), "?")
        raise ConnectionLost(f"RabbitMQ ended the consumption of queue {queue!r}: it was deleted or has moved")


class SingleIntake(Intake):
    """One queue, pushed within its own prefetch. That is for a consumer's life: another one needs a new consumer."""

    def __init__(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        super().__init__(connection, queues, deadline)
        self._prefetch = 0
        self._first_tag = _NOT_YET

    def aim(self, outstanding: int, limit: int, deadline: float) -> bool:
        """Replace the consumer when another prefetch is worth it."""
        held_before = self.unacked.older_than(self._first_tag)
        current = held_before + self._prefetch
        wanted = next_prefetch(current, outstanding, limit)
        if wanted != current:
            self._replace(wanted, limit, deadline)
        return wanted > current

    def barrier(self, deadline: float) -> None:
        """Ask with the prefetch that is in force."""
        frame = methods.qos(self.channel.number, max(self._prefetch, 1), whole_channel=False)
        self.channel.call(frame, frames.BASIC_QOS_OK, deadline)

    def _replace(self, wanted: int, limit: int, deadline: float) -> None:
        """What the old consumer holds does not count for the new one, so it is subtracted; and 0 would be no limit."""
        self._stop(deadline)
        surplus = self._surplus(limit)
        self._prefetch = max(wanted - len(self.unacked), 0)
        if not self._prefetch:
            if surplus:
                self.channel.write(surplus, deadline)
            return
        start = methods.qos(self.channel.number, self._prefetch, whole_channel=False) + self._consume(self._queues[0])
        self.channel.write(surplus + start, deadline)
        self.channel.expect(frames.BASIC_QOS_OK, deadline)
        self.channel.expect(frames.BASIC_CONSUME_OK, deadline)

    def _stop(self, deadline: float) -> None:
        frames_out, count = self._cancel_all()
        if count:
            self.channel.write(frames_out, deadline)
            self.channel.expect(frames.BASIC_CANCEL_OK, deadline)
        self._queue_of.clear()
        self._first_tag = _NOT_YET

    def _add(self, arrived: Arrived) -> None:
        if self._first_tag == _NOT_YET:
            self._first_tag = arrived.tag
        super()._add(arrived)


class SharedIntake(Intake):
    """Several classic queues, pushed within one prefetch of the channel."""

    def __init__(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        super().__init__(connection, queues, deadline)
        self._prefetch = 0

    def aim(self, outstanding: int, limit: int, deadline: float) -> bool:
        """Tell the broker another prefetch when it is worth it; the first time, begin to consume."""
        wanted = next_prefetch(self._prefetch, outstanding, limit)
        if wanted == self._prefetch:
            return False
        before, self._prefetch = self._prefetch, wanted
        self.barrier(deadline)
        surplus = self._surplus(limit)
        if surplus:
            self.channel.write(surplus, deadline)
        if not before:
            self.channel.write(b"".join(self._consume(queue) for queue in self._queues), deadline)
            for _ in self._queues:
                self.channel.expect(frames.BASIC_CONSUME_OK, deadline)
        return wanted > before

    def barrier(self, deadline: float) -> None:
        """Tell the prefetch (again)."""
        frame = methods.qos(self.channel.number, self._prefetch, whole_channel=True)
        self.channel.call(frame, frames.BASIC_QOS_OK, deadline)


class PullIntake(Intake):
    """Several queues, not all classic: fetched in turns; pushed, one each, while all are empty."""

    def aim(self, outstanding: int, limit: int, deadline: float) -> bool:  # noqa: ARG002
        """Fetch, unless a wait is going on that found nothing yet."""
        if self._queue_of:
            return False
        empty: set[str] = set()
        while self.buffered < limit and len(empty) < len(self._queues):
            self._fetch_round(limit - self.buffered, empty, deadline)
        return False

    def idle(self, deadline: float) -> None:
        """Consume from all, one message each."""
        if self._queue_of:
            return
        frame = methods.qos(self.channel.number, 1, whole_channel=False)
        self.channel.call(frame, frames.BASIC_QOS_OK, deadline)
        self.channel.write(b"".join(self._consume(queue) for queue in self._queues), deadline)
        for _ in self._queues:
            self.channel.expect(frames.BASIC_CONSUME_OK, deadline)

    def arrived(self, limit: int, deadline: float) -> None:
        """End the pushing with the first message; what came beside it goes back."""
        if not self.buffered or not self._queue_of:
            return
        frames_out, count = self._cancel_all()
        self.channel.write(frames_out, deadline)
        for _ in range(count):
            self.channel.expect(frames.BASIC_CANCEL_OK, deadline)
        self._queue_of.clear()
        surplus = self._surplus(limit)
        if surplus:
            self.channel.write(surplus, deadline)

    def _fetch_round(self, wanted: int, empty: set[str], deadline: float) -> None:
        """Ask the queues in turns for `wanted` messages in one piece; note which are empty."""
        open_queues = [queue for queue in self._queues if queue not in empty]
        asked = [open_queues[index % len(open_queues)] for index in range(wanted)]
        number = self.channel.number
        self.channel.write(b"".join(methods.get(number, queue, no_ack=False) for queue in asked), deadline)
        for queue in asked:
            answer = self.channel.next_answer(deadline)
            if answer.method == frames.BASIC_GET_EMPTY:
                empty.add(queue)
            else:
                tag, redelivered = methods.read_tag(answer.arguments)
                self._add(Arrived(queue, tag, redelivered, answer.properties, answer.body))


def open_intake(connection: Connection, queues: Sequence[str], deadline: float, *, pull: bool) -> Intake:
    """Return the way that fits."""
    if len(queues) == 1:
        return SingleIntake(connection, queues, deadline)
    return (PullIntake if pull else SharedIntake)(connection, queues, deadline)

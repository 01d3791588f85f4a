"""How messages come from RabbitMQ to one consumer: pushed within a prefetch, or fetched one by one.

An intake lives as long as its connection. It knows deliveries and tags; what a message means, and what a settlement is,
it does not. A prefetch that several queues share is what quorum queues refuse and what RabbitMQ does not share fairly,
so that every queue has a prefetch of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.fence import Fence
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.prefetch import SMALL, next_prefetch
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
        self.fence = Fence(self.channel)
        self.unacked = Unacked()
        self.buffered = 0
        self.options: dict[str, Any] = {}
        """What to tell the broker of each consumer."""
        self._queues = list(queues)
        self._ready: dict[str, deque[Arrived]] = {queue: deque() for queue in queues}
        self._queue_of: dict[str, str] = {}
        self._consumers = 0
        self._returned: list[Arrived] = []
        self.channel.handlers = {frames.BASIC_DELIVER: self._on_delivery, frames.BASIC_CANCEL: self._on_cancel}

    @property
    def usable(self) -> bool:
        """Whether connection and channel are open, as far as is known."""
        return self.connection.lost is None and self.channel.closed is None

    def close(self, deadline: float) -> None:
        """Close channel and connection: what is held is back in its queues when this returns."""
        with suppress(ConnectionLost, ChannelClosed):
            self.connection.close_channel(self.channel, deadline)
        self.connection.close(deadline)

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

    def take_returned(self) -> list[Arrived]:
        """Return what went back from here without having been handed out, since the last time."""
        returned, self._returned = self._returned, []
        return returned

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits here and nothing more will come."""
        return not self._queue_of and not self.buffered

    def rest(self, deadline: float) -> None:
        """Let nothing more come, and give back what nobody has asked for, until the next `aim`."""
        self._stop(deadline)
        self._give_back_above(0, deadline)

    def _stop(self, deadline: float) -> None:
        """End all consumers; what they were sent before is here when this returns."""
        tags = list(self._queue_of)
        if tags:
            number = self.channel.number
            self.channel.write(b"".join(methods.cancel(number, tag) for tag in tags), deadline)
            for _ in tags:
                self.channel.expect(frames.BASIC_CANCEL_OK, deadline)
        self._queue_of.clear()

    def _give_back_above(self, limit: int, deadline: float) -> None:
        surplus = self._surplus(limit)
        if surplus:
            self.channel.write(surplus, deadline)

    def _surplus(self, limit: int) -> bytes:
        """Frames that give back what waits here above the limit: the latest, in the order in which they came."""
        surplus: list[bytes] = []
        while self.buffered > limit:
            longest = max(self._ready.values(), key=len)
            returned = longest.pop()
            self._returned.append(returned)
            surplus.append(self.requeue(returned.tag))
            self.buffered -= 1
        return b"".join(reversed(surplus))

    def _consume(self, queue: str) -> bytes:
        self._consumers += 1
        tag = f"c{self._consumers}"
        self._queue_of[tag] = queue
        return methods.consume(self.channel.number, queue, tag, options=self.options)

    def _on_delivery(self, received: Received) -> None:
        _, _, arguments, properties, body = received
        consumer, tag, redelivered = methods.read_delivery(arguments)
        self._add(Arrived(self._queue_of.get(consumer) or self._queues[0], tag, redelivered, properties, body))

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

    def _replace(self, wanted: int, limit: int, deadline: float) -> None:
        """What the old consumer holds does not count for the new one, so it is subtracted; and 0 would be no limit.

        Of short tasks, what came already stays: it is run within milliseconds. Nothing waits behind a long one.
        """
        self._stop(deadline)
        surplus = self._surplus(limit) if limit <= SMALL else b""
        self._prefetch = max(wanted - len(self.unacked), 0)
        if not self._prefetch:
            self.channel.write(surplus, deadline)
            return
        start = methods.qos(self.channel.number, self._prefetch, whole_channel=False) + self._consume(self._queues[0])
        self.channel.write(surplus + start, deadline)
        self.channel.expect(frames.BASIC_QOS_OK, deadline)
        self.channel.expect(frames.BASIC_CONSUME_OK, deadline)

    def _stop(self, deadline: float) -> None:
        super()._stop(deadline)
        self._prefetch, self._first_tag = 0, _NOT_YET

    def _add(self, arrived: Arrived) -> None:
        if self._first_tag == _NOT_YET:
            self._first_tag = arrived.tag
        super()._add(arrived)


class SeveralIntake(Intake):
    """Several queues in turns. With room for each of them they are pushed; with less, they are fetched from, so that
    nothing waits here behind a long task; and while all are empty, each may push one.
    """

    def __init__(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        super().__init__(connection, queues, deadline)
        self._share = 0
        self._probing = False
        self._held_before = 0

    def aim(self, outstanding: int, limit: int, deadline: float) -> bool:
        """Push or fetch, as the limit allows."""
        if self._probing and not self.buffered:
            return False
        self.arrived(limit, deadline)
        if limit < len(self._queues):
            self._fetch(limit, deadline)
            return False
        current = self._share * len(self._queues) + self._held_before if self._share else outstanding
        wanted = next_prefetch(current, outstanding, limit)
        if wanted != current:
            self._push(wanted, limit, deadline)
        return wanted > current

    def idle(self, deadline: float) -> None:
        """Let each queue push one message, unless more is allowed anyway."""
        if not self._queue_of:
            self._consume_all(1, b"", deadline)
            self._probing = True

    def arrived(self, limit: int, deadline: float) -> None:
        """End the pushing of one each with the first message; what came beside it goes back."""
        if self._probing and self.buffered:
            self._stop(deadline)
            self._give_back_above(limit, deadline)

    def _stop(self, deadline: float) -> None:
        super()._stop(deadline)
        self._share, self._probing = 0, False

    def _push(self, wanted: int, limit: int, deadline: float) -> None:
        """What former consumers hold does not count for the new ones, so it is subtracted."""
        self._stop(deadline)
        surplus = self._surplus(limit)
        self._held_before = len(self.unacked)
        self._share = (wanted - self._held_before) // len(self._queues)
        if self._share > 0:
            self._consume_all(self._share, surplus, deadline)
        else:
            self._share = 0
            self.channel.write(surplus, deadline)

    def _consume_all(self, prefetch: int, before: bytes, deadline: float) -> None:
        frame = before + methods.qos(self.channel.number, prefetch, whole_channel=False)
        self.channel.call(frame, frames.BASIC_QOS_OK, deadline)
        self.channel.write(b"".join(self._consume(queue) for queue in self._queues), deadline)
        for _ in self._queues:
            self.channel.expect(frames.BASIC_CONSUME_OK, deadline)

    def _fetch(self, limit: int, deadline: float) -> None:
        self._stop(deadline)
        self._give_back_above(limit, deadline)
        empty: set[str] = set()
        while self.buffered < limit and len(empty) < len(self._queues):
            self._fetch_round(limit - self.buffered, empty, deadline)

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


def open_intake(connection: Connection, queues: Sequence[str], deadline: float) -> Intake:
    """Return the way that fits."""
    return (SingleIntake if len(queues) == 1 else SeveralIntake)(connection, queues, deadline)

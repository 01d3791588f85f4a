"""Queues on RabbitMQ: looked at, adopted, declared, emptied, removed.

Each function has its turn on the link already. A queue that exists is never fought over: its type and arguments stay
as they are. RabbitMQ closes a channel over a missing queue, so that looking at many takes a channel for each, all asked
in one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longshore.brokers.port import QueueDepth, QueueSpec
from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED, ChannelClosed
from longshore.brokers.rabbitmq.letters import opened
from longshore.brokers.rabbitmq.link import Link
from longshore.exceptions import BrokerRefused, QueueNotFound, UnsupportedByBroker
from longshore.message import Message

CHANNELS = 200
_TEMPORARY_SECONDS = 3600


def declare(link: Link, spec: QueueSpec, connection: Connection, deadline: float) -> None:
    """Adopt a queue, or make it as Celery would (classic, durable), or as a quorum queue."""
    if spec.type == "Quorum" and spec.max_priority is not None:
        raise UnsupportedByBroker(f"queue {spec.name!r}: quorum queues have no maxPriority; use type Classic")
    if _exists(link, connection, spec.name, deadline):
        return
    channel = link.channel(connection, deadline)
    frame = methods.declare_queue(channel.number, spec.name, arguments=_arguments(spec))
    try:
        channel.call(frame, frames.QUEUE_DECLARE_OK, deadline)
    except ChannelClosed as error:
        made_by_another = error.code == PRECONDITION_FAILED and _exists(link, connection, spec.name, deadline)
        if not made_by_another:
            raise BrokerRefused(f"RabbitMQ refuses to declare queue {spec.name!r}: {error.text}") from None


def _exists(link: Link, connection: Connection, queue: str, deadline: float) -> bool:
    channel = link.channel(connection, deadline)
    try:
        frame = methods.declare_queue(channel.number, queue, passive=True)
        channel.call(frame, frames.QUEUE_DECLARE_OK, deadline)
    except ChannelClosed as error:
        if error.code == NOT_FOUND:
            return False
        if error.code == RESOURCE_LOCKED:
            raise BrokerRefused(f"queue {queue!r} on RabbitMQ is exclusive to another connection") from None
        raise BrokerRefused(f"RabbitMQ refuses to look at queue {queue!r}: {error.text}") from None
    return True


def _arguments(spec: QueueSpec) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if spec.type == "Quorum":
        arguments["x-queue-type"] = "quorum"
    if spec.max_priority is not None:
        arguments["x-max-priority"] = spec.max_priority
    if spec.temporary:
        arguments["x-expires"] = _TEMPORARY_SECONDS * 1000
    return arguments


class Gauge:
    """Looks at many queues in one round trip, with channels kept for the next time."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._channels: list[Channel] = []

    def read(self, queues: Sequence[str], connection: Connection, deadline: float) -> dict[str, QueueDepth | None]:
        """Return what is in each queue, `None` for one that does not exist."""
        found: dict[str, QueueDepth | None] = {}
        names = list(dict.fromkeys(queues))
        for start in range(0, len(names), CHANNELS):
            found |= self._read_some(connection, names[start : start + CHANNELS], deadline)
        return found

    def _read_some(self, connection: Connection, names: list[str], deadline: float) -> dict[str, QueueDepth | None]:
        channels = self._usable(connection, len(names), deadline)
        pairs = list(zip(names, channels, strict=False))
        connection.write(
            b"".join(methods.declare_queue(channel.number, name, passive=True) for name, channel in pairs), deadline
        )
        return {name: _depth(channel, name, deadline) for name, channel in pairs}

    def _usable(self, connection: Connection, count: int, deadline: float) -> list[Channel]:
        """New channels are asked for and used in the same round trip: their first answer is that they are open."""
        if self._connection is not connection:
            self._connection, self._channels = connection, []
        self._channels = [channel for channel in self._channels if channel.closed is None]
        while len(self._channels) < count:
            self._channels.append(connection.begin_channel(deadline))
        return self._channels


def _depth(channel: Channel, queue: str, deadline: float) -> QueueDepth | None:
    try:
        answer = channel.next_answer(deadline)
        if answer.method == frames.CHANNEL_OPEN_OK:
            answer = channel.next_answer(deadline)
    except ChannelClosed as error:
        if error.code == NOT_FOUND:
            return None
        if error.code == RESOURCE_LOCKED:
            return QueueDepth(ready=None)
        raise BrokerRefused(f"RabbitMQ refuses to look at queue {queue!r}: {error.text}") from None
    facts = methods.read_queue_facts(answer.arguments)
    return QueueDepth(ready=facts.messages, consumers=facts.consumers)


def peek(queue: str, limit: int, connection: Connection, deadline: float) -> list[Message]:
    """Fetch the first messages and give them back; RabbitMQ counts them as redelivered from then on."""
    channel = connection.open_channel(deadline)
    found: list[Message] = []
    try:
        channel.write(methods.get(channel.number, queue, no_ack=False) * limit, deadline)
        for _ in range(limit):
            answer = channel.next_answer(deadline)
            if answer.method == frames.BASIC_GET_OK:
                found.append(opened(answer.properties, answer.body)[0])
    except ChannelClosed as error:
        raise _missing(queue, error) from None
    connection.close_channel(channel, deadline)
    return found


def purge(queue: str, channel: Channel, deadline: float) -> int:
    """Drop what is ready; return how many."""
    try:
        answer = channel.call(methods.purge_queue(channel.number, queue), frames.QUEUE_PURGE_OK, deadline)
    except ChannelClosed as error:
        raise _missing(queue, error) from None
    return methods.read_count(answer)


def delete(queue: str, channel: Channel, deadline: float) -> None:
    """Remove a queue; one that is not there is fine."""
    try:
        channel.call(methods.delete_queue(channel.number, queue), frames.QUEUE_DELETE_OK, deadline)
    except ChannelClosed as error:
        if error.code != NOT_FOUND:
            raise BrokerRefused(f"RabbitMQ refuses to delete queue {queue!r}: {error.text}") from None


def _missing(queue: str, error: ChannelClosed) -> QueueNotFound | BrokerRefused:
    if error.code == NOT_FOUND:
        return QueueNotFound(f"RabbitMQ has no queue {queue!r}")
    return BrokerRefused(f"RabbitMQ refuses access to queue {queue!r}: {error.text}")

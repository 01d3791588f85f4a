"""Remote control over RabbitMQ as kombu does it: a fanout for commands, a direct exchange for replies, events by topic.

A line is one connection with one channel, and reads by itself; its listener's queue is gone when the connection is.
Exchanges and queues are declared as Celery 5.7 declares them, since anything else would be refused, here or there.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longshore.brokers.control import EVERYTHING, Event, Mail, Names, Waiting, decode, encode
from longshore.brokers.rabbitmq import frames, methods, peeking
from longshore.brokers.rabbitmq.address import Address, parse_address
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import RESOURCE_LOCKED, ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.frames import Received, publish_frames
from longshore.brokers.rabbitmq.tables import properties, read_properties
from longshore.exceptions import BrokerUnavailable
from longshore.message import JSON, Message

logger = logging.getLogger("longshore.worker")

CALL_SECONDS = 5.0
HEARTBEAT = 20
_TAG = "control"
_SLICE_SECONDS = HEARTBEAT / 4
Listen = Callable[[Channel, float], None]


class RabbitMQLine:
    """The port's `ControlLine`."""

    def __init__(self, url: str, names: Names) -> None:
        self._names = names
        self._address: Address = parse_address(url)
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._listen: Listen | None = None
        self._mails: deque[Mail] = deque()
        self._declared: set[str] = set()
        self._beaten = 0.0

    # -- listening ---------------------------------------------------------------------------------------------------

    def hear_commands(self, node: str) -> None:
        """Have a queue that is bound to the commands."""
        queue = self._names.node_queue(node)

        def listen(channel: Channel, deadline: float) -> None:
            exchange = self._names.commands_exchange
            self._exchange(channel, exchange, "fanout", deadline)
            expires, ttl = self._names.control_queue_expires, self._names.control_queue_ttl
            self._own_queue(channel, queue, exchange, "", _arguments(expires, ttl), deadline)

        self._hear(listen)

    def hear_replies(self, inbox: str) -> None:
        """Have a queue that is bound under our address."""
        queue = self._names.reply_queue(inbox)

        def listen(channel: Channel, deadline: float) -> None:
            exchange = self._names.replies_exchange
            self._exchange(channel, exchange, "direct", deadline)
            expires, ttl = self._names.control_queue_expires, self._names.control_queue_ttl
            self._own_queue(channel, queue, exchange, inbox, _arguments(expires, ttl), deadline)

        self._hear(listen)

    def hear_events(self, listener: str, topic: str = EVERYTHING) -> None:
        """Have a queue that is bound to the events."""
        queue = f"{self._names.event_queue_prefix}.{listener}"

        def listen(channel: Channel, deadline: float) -> None:
            exchange = self._names.events
            self._exchange(channel, exchange, "topic", deadline, durable=True)
            expires, ttl = self._names.event_queue_expires, self._names.event_queue_ttl
            self._own_queue(channel, queue, exchange, topic, _arguments(expires, ttl), deadline)

        self._hear(listen)

    def _hear(self, listen: Listen) -> None:
        self._listen = listen
        self._open(time.monotonic() + CALL_SECONDS)

    def receive(self, wait: float, wake_fd: int | None = None) -> list[Mail]:
        """Return what was delivered; heartbeats are written and expected meanwhile."""
        until = time.monotonic() + wait
        connection = self._open(time.monotonic() + CALL_SECONDS)[0]
        try:
            while not self._mails:
                self._take_part(connection)
                left = min(until - time.monotonic(), _SLICE_SECONDS)
                if left <= 0 and time.monotonic() >= until:
                    connection.read_available()
                    break
                if connection.transport.wait(max(left, 0.0), wake_fd):
                    connection.read_available()
                elif left < _SLICE_SECONDS or wake_fd is not None:
                    break
        except ConnectionLost:
            self._drop()
            raise
        self._check()
        mails = list(self._mails)
        self._mails.clear()
        return mails

    def _take_part(self, connection: Connection) -> None:
        """Write a heartbeat when one is due; give up a broker that has sent nothing for two of them."""
        now = time.monotonic()
        if now - self._beaten >= _SLICE_SECONDS:
            self._beaten = now
            connection.beat()
        if now - connection.last_read > 2.5 * HEARTBEAT:
            raise connection.fail("is silent")

    def _delivered(self, received: Received) -> None:
        found = read_properties(received.properties)
        body = decode(received.body) if found.get("content_type", JSON) == JSON else None
        if body is not None:
            self._mails.append(Mail(body, found.get("headers") or {}))

    # -- publishing --------------------------------------------------------------------------------------------------

    def command(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        """Publish to the fanout."""
        exchange = self._names.commands_exchange
        self._publish(exchange, "fanout", [Event("", body, headers)])

    def reply(self, exchange: str, inbox: str, body: Any, headers: Mapping[str, Any]) -> None:
        """Publish to the address; without its queue the broker drops it."""
        self._publish(exchange, "direct", [Event(inbox, body, headers)])

    def publish(self, events: Sequence[Event]) -> None:
        """Publish to the topic."""
        self._publish(self._names.events, "topic", events, durable=True)

    def _publish(self, exchange: str, kind: str, letters: Sequence[Event], *, durable: bool = False) -> None:
        """Unconfirmed, transient. A broker that takes nothing (an alarm) is an error, not a wait."""
        deadline = time.monotonic() + CALL_SECONDS
        connection, channel = self._open(deadline)
        try:
            if connection.blocked is not None:
                raise BrokerUnavailable(f"RabbitMQ at {self._address.label} takes no messages: {connection.blocked}")
            if exchange not in self._declared:
                self._exchange(channel, exchange, kind, deadline, durable=durable)
                self._declared.add(exchange)
            for letter in letters:
                channel.write(_frames(connection, channel, exchange, letter), deadline)
            connection.read_available()
        except ConnectionLost:
            self._drop()
            raise
        except ChannelClosed as error:
            self._drop()
            raise BrokerUnavailable(str(error)) from None

    # -- looking -----------------------------------------------------------------------------------------------------

    def held(self, worker: str, queues: Sequence[str]) -> list[tuple[str, Message]] | None:  # noqa: ARG002 - the port
        """RabbitMQ does not tell who holds what."""
        return None

    def delayed(self, queues: Sequence[str], limit: int, *, behind: bool = False) -> list[Waiting]:
        """Fetch what is in the ladder and give it back; where that would count against a message, nothing is known."""
        deadline = time.monotonic() + CALL_SECONDS
        connection = self._open(deadline)[0]
        try:
            found = peeking.delayed(connection, queues, deadline)
            found += peeking.behind(connection, queues, limit, deadline) if behind else []
        except ConnectionLost:
            self._drop()
            raise
        return sorted(found, key=lambda each: each.due_at)[:limit]

    # -- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye; the listener's queue goes with the connection."""
        if self._connection is not None:
            self._connection.close(time.monotonic() + 1)
        self._connection = self._channel = None

    def abandon(self) -> None:
        """Close the child's copy of the socket."""
        if self._connection is not None:
            self._connection.abandon()
        self._connection = self._channel = None

    def _open(self, deadline: float) -> tuple[Connection, Channel]:
        self._look()
        if self._connection is None or self._channel is None:
            self._drop()
            name = f"longshore control {os.getpid()}"
            heartbeat = HEARTBEAT if self._listen is not None else 0  # who only publishes has nobody to write them
            self._connection = Connection.open(self._address, name, deadline, heartbeat=heartbeat)
            self._declared.clear()
            try:
                self._listen_on(self._connection, deadline)
            except BaseException:
                self._drop()
                raise
        assert self._channel is not None
        return self._connection, self._channel

    def _look(self) -> None:
        """A kept connection may be gone by now: the broker may have restarted since it was last used."""
        if self._connection is None:
            return
        try:
            self._connection.read_available()
            gone = self._connection.lost is not None or self._channel is None or self._channel.closed is not None
        except ConnectionLost:
            gone = True
        if gone:
            self._drop()

    def _listen_on(self, connection: Connection, deadline: float) -> None:
        try:
            self._channel = connection.open_channel(deadline)
            self._channel.handlers[frames.BASIC_DELIVER] = self._delivered
            if self._listen is not None:
                self._listen(self._channel, deadline)
        except ChannelClosed as error:
            raise BrokerUnavailable(f"control: {error}") from None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close_socket()
        self._connection = self._channel = None

    def _check(self) -> None:
        """A channel that the broker has closed hears nothing any more."""
        if self._channel is not None and self._channel.closed is not None:
            closed = self._channel.closed
            self._drop()
            raise BrokerUnavailable(f"control: {ChannelClosed(closed)}")

    # -- declaring ---------------------------------------------------------------------------------------------------

    def _exchange(self, channel: Channel, name: str, kind: str, deadline: float, *, durable: bool = False) -> None:
        frame = methods.declare_exchange(channel.number, name, kind, durable=durable)
        channel.call(frame, frames.EXCHANGE_DECLARE_OK, deadline)

    def _own_queue(
        self, channel: Channel, queue: str, exchange: str, key: str, arguments: Mapping[str, Any], deadline: float
    ) -> None:
        """Declare, bind and consume. Where another connection has a queue of that name, ours gets a name of its own."""
        declare = methods.declare_queue(
            channel.number, queue, durable=False, exclusive=True, auto_delete=True, arguments=arguments
        )
        try:
            answer = channel.call(declare, frames.QUEUE_DECLARE_OK, deadline)
        except ChannelClosed as error:
            if error.code != RESOURCE_LOCKED or not queue:
                raise
            logger.warning("control: another worker listens as %s; both will answer", queue)
            channel = self._channel = channel.connection.open_channel(deadline)
            channel.handlers[frames.BASIC_DELIVER] = self._delivered
            self._own_queue(channel, "", exchange, key, arguments, deadline)
            return
        name = methods.read_queue_facts(answer).queue
        channel.call(methods.bind_queue(channel.number, name, exchange, key), frames.QUEUE_BIND_OK, deadline)
        channel.call(methods.consume(channel.number, name, _TAG, no_ack=True), frames.BASIC_CONSUME_OK, deadline)


def open_line(url: str, names: Names) -> RabbitMQLine:
    """Return a line; nothing is connected yet."""
    return RabbitMQLine(url, names)


def _arguments(expires: float, ttl: float) -> dict[str, Any]:
    return {"x-expires": int(expires * 1000), "x-message-ttl": int(ttl * 1000)}


def _frames(connection: Connection, channel: Channel, exchange: str, letter: Event) -> bytes:
    encoded = properties(
        {
            "content_type": JSON,
            "content_encoding": "utf-8",
            "delivery_mode": 1,
            "headers": {key: value for key, value in letter.headers.items() if value is not None},
        }
    )
    return publish_frames(
        channel.number,
        exchange,
        letter.topic,
        encoded,
        encode(letter.body),
        mandatory=False,
        frame_max=connection.frame_max,
    )

"""Publishing without confirms, for who chose it: a message is written to the socket, and nobody waits for the broker.

What can be known is still raised: a queue that is missing (looked at before the first message to it on a connection), a
broker that takes nothing now, a connection that is known to be broken. What RabbitMQ returns or refuses later, because
the queue was deleted meanwhile, is the error of a later send. What a broken connection swallowed nobody knows.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Sequence

from longshore.brokers.port import Outgoing
from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import NOT_FOUND, ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.link import RETRY_SECONDS, Link, await_unblocked
from longshore.brokers.rabbitmq.parcels import addressed, missing_queue
from longshore.exceptions import BrokerRefused, QueueNotFound

LOOK_SECONDS = 0.01
"""How often what the broker says is taken in, while messages follow each other faster than that."""


class Unconfirmed:
    """The sending side of a process's link, without confirms."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._found: set[str] = set()
        self._returned: dict[str, None] = {}
        weakref.finalize(self, _say_goodbye, link, os.getpid())

    def send(self, outgoing: Sequence[Outgoing], seconds: float) -> None:
        """Write the messages; nothing of them may be delayed."""
        deadline = time.monotonic() + seconds
        letters = [addressed(each, float("inf")) for each in outgoing]
        queues = dict.fromkeys(each.queue for each in outgoing)
        while True:
            try:
                with self._link.turn(deadline, look_after=LOOK_SECONDS) as connection:
                    channel = self._ready(queues, connection, deadline)
                    frame_max = connection.frame_max
                    channel.write(b"".join(each.frames(channel.number, frame_max) for each in letters), deadline)
                return
            except ChannelClosed as error:
                raise BrokerRefused(f"{error}; this message, or one sent just before it, is lost") from None
            except ConnectionLost:
                if time.monotonic() + RETRY_SECONDS >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)

    def _ready(self, queues: dict[str, None], connection: Connection, deadline: float) -> Channel:
        channel = self._channel
        if channel is not None and channel.closed is not None:
            self._channel = None
            raise ChannelClosed(channel.closed)
        if channel is None or channel.connection is not connection:
            channel = self._channel = connection.open_channel(deadline)
            channel.handlers = {frames.BASIC_RETURN: self._on_return}
            self._found = set()
        if connection.blocked is not None:
            await_unblocked(connection, deadline)
        if self._returned:
            self._tell_of_returned(queues)
        if not queues.keys() <= self._found:
            for queue in queues:
                self._look(queue, connection, deadline)
        return channel

    def _look(self, queue: str, connection: Connection, deadline: float) -> None:
        """Look on the channel for calls: a missing queue closes the channel that asked."""
        calls = self._link.channel(connection, deadline)
        try:
            calls.call(methods.declare_queue(calls.number, queue, passive=True), frames.QUEUE_DECLARE_OK, deadline)
        except ChannelClosed as error:
            if error.code == NOT_FOUND:
                raise missing_queue([queue]) from None
            raise
        self._found.add(queue)

    def _tell_of_returned(self, queues: dict[str, None]) -> None:
        lost = [queue for queue in queues if queue in self._returned]
        if lost:
            for queue in lost:
                del self._returned[queue]
            raise QueueNotFound(
                f"RabbitMQ had no queue {', '.join(map(repr, lost))} for a message sent earlier without confirmation: "
                "that one is lost, and this one was not sent"
            )

    def _on_return(self, received: Received) -> None:
        _, queue = methods.read_return(received.arguments)
        self._returned[queue] = None
        self._found.discard(queue)


def _say_goodbye(link: Link, pid: int) -> None:
    """At the end of the process: when the broker has answered a farewell, it has all that was written before."""
    if os.getpid() == pid:
        link.close()

"""The connection that a process shares for everything but consuming: sending, looking, declaring, reports.

It opens lazily, opens anew when it broke, and serves one thread at a time; whoever waits for its turn waits no longer
than its deadline. After a fork the child makes a link of its own. Consumers have connections of their own: RabbitMQ
stops reading from one that publishes while memory or disk is short, and acknowledgements must not stand behind that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TypeVar

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import ConnectionLost, blocked
from longshore.exceptions import BrokerUnavailable

CALL_SECONDS = 5.0
RETRY_SECONDS = 0.1

Answer = TypeVar("Answer")


class Link:
    """One process's shared connection, with a channel for calls and one for confirmed publishing."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = RLock()
        self._connection: Connection | None = None
        self._calls: Channel | None = None
        self._publishes: Channel | None = None
        self._looked_at = 0.0

    @contextmanager
    def turn(self, deadline: float, look_after: float = 0.0) -> Iterator[Connection]:
        """Have the connection for oneself, open; raise `BrokerUnavailable` by the deadline (monotonic).

        What the broker said since the last turn is taken in first, unless that was looked for a moment ago.
        """
        if not self._lock.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise BrokerUnavailable(f"RabbitMQ at {self.address.label} is busy with other calls of this process")
        try:
            yield self._connected(deadline, look_after)
        finally:
            self._lock.release()

    def run(
        self, work: Callable[[Connection, float], Answer], seconds: float = CALL_SECONDS, *, repeat: bool = True
    ) -> Answer:
        """Run work in a turn; once more where a kept connection turns out dead and repeating does no harm."""
        deadline = time.monotonic() + seconds
        repeat = repeat and self._connection is not None
        try:
            with self.turn(deadline) as connection:
                return work(connection, deadline)
        except ConnectionLost:
            if not repeat or time.monotonic() >= deadline:
                raise
        with self.turn(deadline) as connection:
            return work(connection, deadline)

    def call(
        self, work: Callable[[Channel, float], Answer], seconds: float = CALL_SECONDS, *, repeat: bool = True
    ) -> Answer:
        """Do the same with the call channel."""
        return self.run(
            lambda connection, deadline: work(self.channel(connection, deadline), deadline), seconds, repeat=repeat
        )

    def channel(self, connection: Connection, deadline: float) -> Channel:
        """Return the channel for calls; one that the broker closed is replaced. Within a turn only."""
        if self._calls is None or self._calls.closed is not None or self._calls.connection is not connection:
            self._calls = connection.open_channel(deadline)
        return self._calls

    def confirming(self, connection: Connection, deadline: float) -> Channel:
        """Return the channel whose publishes are confirmed, and which carries nothing else. Within a turn only."""
        channel = self._publishes
        if channel is None or channel.closed is not None or channel.connection is not connection:
            channel = connection.open_channel(deadline)
            channel.call(methods.select_confirms(channel.number), frames.CONFIRM_SELECT_OK, deadline)
            self._publishes = channel
        return channel

    def drop(self, connection: Connection) -> None:
        """Give up a connection whose state is not known any more."""
        connection.close_socket()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close(time.monotonic() + 1)

    def abandon(self) -> None:
        """Close our copy of a socket that belongs to the parent process, without a word to the broker."""
        if self._connection is not None:
            self._connection.abandon()

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now, if it said so."""
        return None if self._connection is None else self._connection.blocked

    def _connected(self, deadline: float, look_after: float) -> Connection:
        """A kept connection is looked at first: the broker may have closed it since the last turn."""
        kept, now = self._connection, time.monotonic()
        if kept is not None and kept.lost is None:
            if now - self._looked_at < look_after:
                return kept
            try:
                self._looked_at = now
                kept.read_available()
            except ConnectionLost:
                kept.close_socket()
            else:
                return kept
        self._connection = self._open(deadline, patient=self._connection is not None)
        return self._connection

    def _open(self, deadline: float, *, patient: bool) -> Connection:
        """A broker that was there before may be restarting: it is tried until the deadline."""
        while True:
            try:
                return Connection.open(self.address, f"longshore {os.getpid()}", deadline)
            except BrokerUnavailable:
                if not patient or time.monotonic() + RETRY_SECONDS >= deadline:
                    raise
            time.sleep(RETRY_SECONDS)


def await_unblocked(connection: Connection, deadline: float) -> None:
    """Wait while the broker takes no messages; raise `BrokerFull` at the deadline."""
    while connection.blocked is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise blocked(connection.blocked)
        if connection.transport.wait(left):
            connection.read_available()

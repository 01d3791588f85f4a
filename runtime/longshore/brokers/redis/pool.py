"""Kept connections of a process, shared by its threads, forgotten in a child after a fork.

Every request sent through here may safely run twice; that is why a broken connection is answered with another attempt,
until the deadline. Knows nothing of queues.
"""

from __future__ import annotations

import os
from time import monotonic, sleep
from weakref import WeakSet

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import ConnectFailed, Connection, ConnectionBroken, Reply, ReplyError
from longshore.brokers.redis.errors import is_passing

_FIRST_CONNECT_PATIENCE = 1.0
"""A server that this process has never reached is probably a wrong address: say so soon."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_KEPT = 16

_pools: WeakSet[Pool] = WeakSet()


class Pool:
    """Connections to one address."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._reached = False
        _pools.add(self)

    def exchange(self, data: bytes, replies: int, deadline: float) -> list[Reply]:
        """Send packed commands and return their replies; try again until the deadline while the server is away.

        Raises what the last attempt met, or, where bytes had left in an earlier one, that this connection broke.
        """
        started, pause, broken = monotonic(), _FIRST_PAUSE, None
        while True:
            try:
                return self._attempt(data, replies, deadline)
            except (ConnectFailed, ConnectionBroken, ReplyError) as trouble:
                if isinstance(trouble, ConnectionBroken):
                    broken = trouble
                if monotonic() + pause >= self._patience(trouble, started, deadline):
                    raise broken or trouble from trouble
            sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _patience(self, trouble: Exception, started: float, deadline: float) -> float:
        """Return until when another attempt makes sense."""
        if not isinstance(trouble, ConnectFailed):
            return deadline
        if trouble.final:
            return started
        return deadline if self._reached else min(deadline, started + _FIRST_CONNECT_PATIENCE)

    def _attempt(self, data: bytes, replies: int, deadline: float) -> list[Reply]:
        connection = self.take(deadline)
        result = connection.exchange(data, replies, deadline)
        for reply in result:
            if isinstance(reply, ReplyError) and is_passing(reply, self.address):
                connection.close()
                raise reply
        self.give(connection)
        return result

    def take(self, deadline: float) -> Connection:
        """Return an open connection for the caller alone; it comes back by `give`, or is closed."""
        while self._idle:
            connection = self._pop()
            if connection is not None:
                connection.drop_stale()
                if connection.is_open:
                    return connection
        connection = Connection(self.address)
        connection.open(deadline)
        self._reached = True
        return connection

    def _pop(self) -> Connection | None:
        try:
            return (
                self._idle.pop()
            )  # one bytecode under the interpreter's own lock: no lock that a fork could leave held
        except IndexError:
            return None

    def give(self, connection: Connection) -> None:
        """Take a connection back, in a clean state."""
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        while (connection := self._pop()) is not None:
            connection.close()


def _forget_parents_connections() -> None:
    for pool in list(_pools):
        pool.close()  # the child's copies only: the parent's conversation goes on


os.register_at_fork(after_in_child=_forget_parents_connections)

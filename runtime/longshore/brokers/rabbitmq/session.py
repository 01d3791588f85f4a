"""A consumer's connection: opened with back-off, lost and opened again, each time under a new generation number.

It knows when to try and what a loss means for the intake; claims and settlements are not its business.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence

from longshore.brokers.port import Owner
from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.connection import Connection
from longshore.brokers.rabbitmq.errors import ChannelClosed
from longshore.brokers.rabbitmq.intake import Intake, open_intake
from longshore.exceptions import BrokerUnavailable

CALL_SECONDS = 5.0
GRANTED_SINCE, GRANTED_MILLISECONDS = (4, 3), 365 * 86_400_000
"""Since this version a consumer may say how long it takes to acknowledge; and what is said."""
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

Told = Callable[[], object]


class Session:
    """The connection that a consumer has, or will have again. `opened` and `lost` are told of changes."""

    def __init__(
        self, address: Address, owner: Owner, queues: Sequence[str], wake_fd: int | None, *, opened: Told, lost: Told
    ) -> None:
        self.generation = 0
        self.intake: Intake | None = None
        self.wake_fd = wake_fd
        self.ask_for_time = True
        """Whether to ask for more time to acknowledge than the broker gives by itself, where that may be asked."""
        self._address = address
        self._owner = owner
        self._queues = list(dict.fromkeys(queues))
        self._opened = opened
        self._lost = lost
        self._failures = 0
        self._retry_at = 0.0

    def connected(self, deadline: float) -> Intake | None:
        """Return an open intake; `None` when woken first; raise `BrokerUnavailable` at the deadline."""
        while self.intake is None:
            pause = self._retry_at - time.monotonic()
            if pause > 0:
                if self.woken(min(pause, max(deadline - time.monotonic(), 0))):
                    return None
                if deadline <= time.monotonic() < self._retry_at:
                    raise BrokerUnavailable(f"RabbitMQ at {self._address.label} is away; trying again")
            self._try(deadline)
        return self.intake

    def lose(self) -> None:
        """Let go of the connection; the broker gives what it brought to others."""
        intake = self.take()
        if intake is not None:
            self._back_off()
            intake.connection.close_socket()

    def take(self) -> Intake | None:
        """Hand over the intake, to be closed."""
        intake, self.intake = self.intake, None
        if intake is not None:
            self._lost()
        return intake

    def woken(self, seconds: float) -> bool:
        """Sleep; return early and true when the wake descriptor is readable."""
        if self.wake_fd is None:
            time.sleep(max(seconds, 0))
            return False
        poll = select.poll()
        poll.register(self.wake_fd, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))

    def _try(self, deadline: float) -> None:
        try:
            self.intake = self._open(max(deadline, time.monotonic() + CALL_SECONDS))
        except (BrokerUnavailable, ChannelClosed):
            self._back_off()
            if time.monotonic() >= deadline:
                raise
            return
        self.generation += 1
        self._failures = 0
        self._opened()

    def _open(self, limit: float) -> Intake:
        name = f"longshore {self._owner} {os.getpid()}"
        connection = Connection.open(self._address, name, limit, heartbeat=self._address.heartbeat)
        try:
            intake = open_intake(connection, self._queues, limit)
            if self.ask_for_time and connection.version >= GRANTED_SINCE:
                intake.options["x-consumer-timeout"] = GRANTED_MILLISECONDS
            return intake
        except BaseException:
            connection.close_socket()
            raise

    def _back_off(self) -> None:
        self._retry_at = time.monotonic() + BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1

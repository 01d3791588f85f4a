"""Whether what a connection brought is still ours: asked before anything is sent because of it.

RabbitMQ takes back what a process holds that is silent for two heartbeats. A process that stood still does not know it
when it goes on, and the first that it reads may be older than its stall: only the answer to a question proves anything,
and only for the time at which that was asked.
"""

from __future__ import annotations

import math
import time

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel
from longshore.brokers.rabbitmq.errors import ChannelClosed


class Fence:
    """What is known of one channel that holds deliveries."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._connection = channel.connection
        self._proven_at = -math.inf

    def hear(self) -> None:
        """Take in all that has arrived: the end of a connection stands behind what came before it."""
        while self._connection.read_available():
            pass

    def barrier(self, deadline: float) -> None:
        """Return when the broker has carried out all that was written before."""
        asked_at = time.monotonic()
        frame = methods.qos(self._channel.number, 1, whole_channel=False)
        self._channel.call(frame, frames.BASIC_QOS_OK, deadline)
        self._proven_at = asked_at

    def ensure(self, deadline: float) -> None:
        """Raise unless what is held is still ours; the broker is asked once a heartbeat."""
        self.hear()
        if self._channel.closed is not None:
            raise ChannelClosed(self._channel.closed)
        heartbeat = self._connection.heartbeat
        if heartbeat and time.monotonic() - self._proven_at > heartbeat:
            self.barrier(deadline)

"""What runs longer than RabbitMQ lets a delivery be unacknowledged: its `consumer_timeout`, 30 minutes by default.

At that time RabbitMQ takes the message back and gives it to another worker, while it still runs here; it would run
again and again. Since RabbitMQ 4.3 a consumer may ask for more time, and does. Before, the task is refused: shortly
before the time is over a sentence goes to its notes, and whoever gets the message then does not run it, but says why.
The limit is not to be had over AMQP: it is what the address says (`consumer_timeout`, in milliseconds as in
rabbitmq.conf), and what RabbitMQ says when it takes a message away.
"""

from __future__ import annotations

import logging
import math
import re
import time

import msgspec

from longshore.brokers.rabbitmq.methods import Close
from longshore.brokers.rabbitmq.session import GRANTED_SINCE
from longshore.brokers.rabbitmq.settling import Held, Settling
from longshore.brokers.rabbitmq.starts import Starts, notes_queue
from longshore.exceptions import BrokerError

logger = logging.getLogger(__name__)

SINCE = (3, 8, 15)
_MARGIN_SECONDS, _MARGIN_SHARE = 10.0, 0.1
_VALUE_USED = re.compile(r"acknowledgement on channel \d+ timed out\. Timeout value used: (\d+) ms")

Version = tuple[int, ...]


class Overdue:
    """Watches the claims of one consumer for those that are about to be taken away."""

    def __init__(self, settling: Settling, starts: Starts, seconds: float) -> None:
        self._settling = settling
        self._starts = starts
        self._seconds = seconds

    def closing(self, close: Close) -> None:
        """Take in why RabbitMQ closes a channel: when a message was held too long, it tells the limit.

        Until the close is confirmed the messages are not given to others, so that the sentence is there first.
        """
        found = _VALUE_USED.search(close.text)
        if found:
            self._seconds = int(found[1]) / 1000
            self.sentence_due(time.monotonic() + self._margin, ended=True)

    def patience(self, version: Version, now: float) -> float:
        """Return the seconds until somebody must be sentenced; endless where nobody is in sight."""
        oldest = self._settling.oldest
        if oldest is None or not self._seconds or not SINCE <= version < GRANTED_SINCE:
            return math.inf
        return max(oldest + self._seconds - self._margin - now, 0.0)

    def sentence_due(self, now: float, *, ended: bool = False) -> None:
        """Sentence those whose time is nearly over; with `ended`, those too whose settlement is only noted."""
        for held in self._settling.running_since(now - self._seconds + self._margin, ended=ended):
            self._sentence(held)

    @property
    def _margin(self) -> float:
        return min(_MARGIN_SECONDS, self._seconds * _MARGIN_SHARE)

    def _sentence(self, held: Held) -> None:
        """Note that this one must not run again; a settlement in time takes the note away."""
        held.notes, held.sentenced = notes_queue(held.queue, held.message), True
        text = _advice(self._seconds)
        try:
            self._starts.note_death(held.notes, msgspec.json.encode({"kind": "worker-lost", "text": text}).decode())
        except BrokerError as error:
            logger.warning("no sentence for %s: %s", held.message.id, error)
        logger.warning("task %s[%s] goes on, but: %s", held.message.headers.get("task"), held.message.id, text)


def _advice(seconds: float) -> str:
    return (
        f"RabbitMQ takes a message back that is not acknowledged within {seconds:g} s (its consumer_timeout): a task "
        "that runs longer is not run again; raise it there and in the broker's address, or use acks_late=False"
    )

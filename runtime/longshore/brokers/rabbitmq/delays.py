"""Delays that wait in RabbitMQ: a ladder of queues, each holding a message for one binary digit of its delay.

Pure but for `ensure`. A delay is counted in eighths of a second, rounded up, and written as binary digits into the
routing key: ``0.….1.0.1.orders``. A message enters at the level of its highest 1. Level n's exchange takes it into its
queue for 2**n eighths where digit n is 1, and on to the next level where it is 0; behind the last level an exchange of
ours hands it to the queue whose name is the rest of the key. The names carry a version of their own, so that nobody
else's ladder is ever touched.

The ladder's queues are quorum queues whose dead-lettering is at-least-once where the broker has that (3.10 and later):
a message leaves a level when the next one has confirmed it, and one whose queue is gone stays where it is.
"""

from __future__ import annotations

import math
import re

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel
from longshore.exceptions import UnsupportedByBroker

PREFIX = "longshore.delay.v1"
DELIVERY = f"{PREFIX}.deliver"
STEPS_PER_SECOND = 8
FRACTION_LEVELS = 3
LEVELS = 28 + FRACTION_LEVELS
LONGEST_SECONDS = 2**28 - 1
AT_LEAST_ONCE_SINCE = (3, 10)

_MARGIN_SECONDS = 0.002
"""The broker's timers count whole milliseconds: never a moment early."""
_WILDCARDS = re.compile(r"(^|\.)[*#](\.|$)")


def level(number: int) -> str:
    """Return the name of a level's exchange and queue."""
    return f"{PREFIX}.{number:02d}"


def steps(seconds: float) -> int:
    """Return a delay in the ladder's steps: rounded up, one at least."""
    if seconds > LONGEST_SECONDS:
        raise UnsupportedByBroker(f"RabbitMQ can delay a message by 8.5 years at most, not by {seconds:.0f} seconds")
    return max(1, math.ceil((seconds + _MARGIN_SECONDS) * STEPS_PER_SECOND))


def entry(seconds: float) -> str:
    """Return the exchange that takes a message with such a delay: the level of its highest digit.

    From the top it would arrive there too, past up to thirty exchanges that each cost the broker a topic match: for a
    delay of seconds nine tenths of all the work of a publish, as measured.
    """
    return level(steps(seconds).bit_length() - 1)


def routing_key(queue: str, seconds: float) -> str:
    """Return the key of a message that is to arrive in `queue` after so many seconds."""
    check_queue(queue)
    return ".".join(format(steps(seconds), f"0{LEVELS}b")) + "." + queue


def binding_key(queue: str) -> str:
    """Return the key that binds a queue behind the ladder: exactly this name behind exactly the digits."""
    check_queue(queue)
    return "*." * LEVELS + queue


def check_queue(queue: str) -> None:
    """Refuse a name that a topic exchange cannot tell from others."""
    if _WILDCARDS.search(queue):
        raise UnsupportedByBroker(f"queue {queue!r}: RabbitMQ cannot delay messages to a name with the word '*' or '#'")
    if len(queue.encode()) > 255 - 2 * LEVELS:
        raise UnsupportedByBroker(
            f"queue {queue[:40]!r}…: RabbitMQ cannot delay messages to a name longer than {255 - 2 * LEVELS} bytes"
        )


def level_arguments(number: int, *, at_least_once: bool) -> dict[str, object]:
    """Return the arguments of a level's queue."""
    following = level(number - 1) if number else DELIVERY
    arguments: dict[str, object] = {
        "x-message-ttl": 1000 * 2**number // STEPS_PER_SECOND,
        "x-dead-letter-exchange": following,
    }
    if at_least_once:
        arguments |= {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-dead-letter-strategy": "at-least-once",
        }
    return arguments


def level_pattern(number: int, digit: int) -> str:
    """Return the binding for one digit of a level: the first digit of a key is the highest level's."""
    return "*." * (LEVELS - 1 - number) + f"{digit}.#"


def ensure(channel: Channel, deadline: float) -> None:
    """Declare the ladder, bottom first: a level is there when all below it are."""
    at_least_once = channel.connection.version >= AT_LEAST_ONCE_SINCE
    _declare_exchange(channel, DELIVERY, deadline)
    for number in range(LEVELS):
        arguments = level_arguments(number, at_least_once=at_least_once)
        declare = methods.declare_queue(channel.number, level(number), arguments=arguments)
        channel.call(declare, frames.QUEUE_DECLARE_OK, deadline)
        _declare_exchange(channel, level(number), deadline)
        below = level(number - 1) if number else DELIVERY
        passing = methods.bind_exchange(channel.number, below, level(number), level_pattern(number, 0))
        channel.call(passing, frames.EXCHANGE_BIND_OK, deadline)
        waiting = methods.bind_queue(channel.number, level(number), level(number), level_pattern(number, 1))
        channel.call(waiting, frames.QUEUE_BIND_OK, deadline)


def bind(channel: Channel, queue: str, deadline: float) -> None:
    """Let what is due reach a queue; a missing queue closes the channel with 404."""
    frame = methods.bind_queue(channel.number, queue, DELIVERY, binding_key(queue))
    channel.call(frame, frames.QUEUE_BIND_OK, deadline)


def _declare_exchange(channel: Channel, name: str, deadline: float) -> None:
    channel.call(methods.declare_exchange(channel.number, name, "topic"), frames.EXCHANGE_DECLARE_OK, deadline)

"""Looking at delayed messages, which RabbitMQ only shows to who fetches them: fetched, read, and given back unharmed.

A channel that ends gives back what it fetched, in its place. For a moment two who look at the same time may each see a
part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longshore.brokers.control import Waiting, waiting_for
from longshore.brokers.rabbitmq import delays, frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import ChannelClosed
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.letters import opened
from longshore.brokers.rabbitmq.tables import read_short_string

_COUNTS_FETCHES = (4, 0)
"""From this version on a message that a quorum queue gave out too often fires: there the ladder is left alone."""
_AT_A_LEVEL = 200
_BEHIND = 100


def delayed(connection: Connection, queues: Iterable[str], deadline: float) -> list[Waiting]:
    """Return what is in the ladder for these queues."""
    if connection.version >= _COUNTS_FETCHES:
        return []
    channel = connection.open_channel(deadline)
    try:
        found = _fetch(channel, [delays.level(number) for number in range(delays.LEVELS)], deadline)
    except ChannelClosed:  # no ladder: nothing was ever delayed
        return []
    connection.close_channel(channel, deadline)
    wanted = set(queues)
    return [waiting for answer in found if (waiting := _of_ladder(answer, wanted))]


def behind(connection: Connection, queues: Sequence[str], limit: int, deadline: float) -> list[Waiting]:
    """Return what waits in the queues themselves with an ETA."""
    waiting = []
    for queue in queues:
        channel = connection.open_channel(deadline)
        count = min(limit, _BEHIND)
        try:
            channel.write(methods.get(channel.number, queue, no_ack=False) * count, deadline)
            answers = [channel.next_answer(deadline) for _ in range(count)]
        except ChannelClosed:
            continue
        messages = [opened(each.properties, each.body)[0] for each in answers if each.method == frames.BASIC_GET_OK]
        connection.close_channel(channel, deadline)
        waiting += [found for message in messages if (found := waiting_for(queue, message))]
    return waiting


def _fetch(channel: Channel, levels: list[str], deadline: float) -> list[Received]:
    """Ask every level for one, then those that had one for more."""
    found: list[Received] = []
    for portion in (1, _AT_A_LEVEL):
        asked = b"".join(methods.get(channel.number, level, no_ack=False) * portion for level in levels)
        channel.write(asked, deadline)
        fetched = []
        for level in levels:
            answers = [channel.next_answer(deadline) for _ in range(portion)]
            messages = [answer for answer in answers if answer.method == frames.BASIC_GET_OK]
            fetched += [level] if messages else []
            found += messages
        levels = fetched
    return found


def _of_ladder(answer: Received, queues: set[str]) -> Waiting | None:
    _, at = read_short_string(answer.arguments, 9)
    queue = read_short_string(answer.arguments, at)[0].split(".", delays.LEVELS)[-1]
    return waiting_for(queue, opened(answer.properties, answer.body)[0]) if queue in queues else None

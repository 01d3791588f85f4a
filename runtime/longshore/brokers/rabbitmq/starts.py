"""How often a message was started, kept in the broker for those messages whose count matters: the redelivered ones.

RabbitMQ tells that a message was given out before, not that it was started: a hundred messages that were only
prefetched look like the one that killed the process. So the start itself is noted: before a redelivered message is
handed out, a note goes into a small queue of that message's own, and the notes that are there already are the started
executions so far. The message stays in its place and is not written anew, so that a crash at any point can neither lose
nor double it. The queue of notes is deleted when the message is settled, and expires after a day without use.

The first start of a message is not noted (that would cost every message a round trip); the supervisor notes it when it
sees the process die, and only then: of a start that is noted the claim says so (`Claim.counted`), since another reader
may hold the notes just then. Where nobody saw it, one more start is allowed: never is a start counted that was none.

A note with a body is a sentence: the process was ended because of this message, which must not run again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import ChannelClosed
from longshore.brokers.rabbitmq.frames import publish_frames
from longshore.brokers.rabbitmq.link import Link
from longshore.brokers.rabbitmq.tables import LONGEST_SHORT_STRING, properties
from longshore.message import Message

PREFIX = "longshore.starts.v1."
EXPIRES_MILLISECONDS = 86_400_000
MOST_NOTES = 100
RETURN_SECONDS = 1.0

_ARGUMENTS = {"x-expires": EXPIRES_MILLISECONDS}
_NOTE = properties({"delivery_mode": 2})


def notes_queue(queue: str, message: Message) -> str:
    """Return the name of a message's queue of notes; a message without an id is known by its body."""
    return notes_queue_of(queue, message.id or hashlib.sha256(message.body).hexdigest())


def notes_queue_of(queue: str, message_id: str) -> str:
    """Return the name for an id in a queue."""
    name = f"{PREFIX}{queue}.{message_id}"
    if len(name.encode()) <= LONGEST_SHORT_STRING:
        return name
    return PREFIX + hashlib.sha256(name.encode()).hexdigest()


class Starts:
    """The notes of all messages of a broker."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def note(self, queue: str) -> int:
        """Note a start that is about to happen; return how many were noted before."""

        def work(channel: Channel, deadline: float) -> int:
            declare = methods.declare_queue(channel.number, queue, arguments=_ARGUMENTS)
            channel.write(declare + _publish(channel, queue) + declare, deadline)
            before = methods.read_queue_facts(channel.expect(frames.QUEUE_DECLARE_OK, deadline).arguments)
            channel.expect(frames.QUEUE_DECLARE_OK, deadline)
            return before.messages

        return self._link.call(work, repeat=False)

    def note_death(self, queue: str, sentence: str | None) -> None:
        """Note the start of a message whose process ends, unless its starts are noted anyway; and its sentence."""

        def work(channel: Channel, deadline: float) -> None:
            declare = methods.declare_queue(channel.number, queue, arguments=_ARGUMENTS)
            facts = methods.read_queue_facts(channel.call(declare, frames.QUEUE_DECLARE_OK, deadline))
            if facts.messages == 0 or sentence:
                channel.write(_publish(channel, queue, sentence) + declare, deadline)
                channel.expect(frames.QUEUE_DECLARE_OK, deadline)

        self._link.call(work)

    def sentence(self, queue: str) -> str | None:
        """Return the sentence among a message's notes; they stay as they are."""

        def work(connection: Connection, deadline: float) -> str | None:
            channel = connection.open_channel(deadline)
            found: str | None = None
            fetched = 0
            fetch = methods.get(channel.number, queue, no_ack=False)
            while found is None:
                channel.write(fetch, deadline)
                answer = channel.next_answer(deadline)
                if answer.method != frames.BASIC_GET_OK:
                    break
                fetched += 1
                found = answer.body.decode("utf-8", "replace") or None
            _return_all(channel, queue, fetched, deadline)
            connection.close_channel(channel, deadline)
            return found

        return self._link.run(work)

    def withdraw(self, queue: str) -> None:
        """Take one note back: what it noted did not happen. A sentence stays."""

        def work(channel: Channel, deadline: float) -> None:
            for _ in range(MOST_NOTES):
                channel.write(methods.get(channel.number, queue, no_ack=True), deadline)
                answer = channel.next_answer(deadline)
                if answer.method != frames.BASIC_GET_OK or not answer.body:
                    return
                channel.write(_publish(channel, queue, answer.body.decode()), deadline)

        try:
            self._link.call(work, repeat=False)
        except ChannelClosed:
            return

    def forget(self, queues: Iterable[str]) -> None:
        """Remove the notes of messages that are settled; nobody waits for it, and what fails expires."""
        names = list(queues)
        if names:
            self._link.call(
                lambda channel, deadline: channel.write(
                    b"".join(methods.delete_queue(channel.number, name, nowait=True) for name in names), deadline
                )
            )


def _return_all(channel: Channel, queue: str, fetched: int, deadline: float) -> None:
    """Give notes back, and wait until they count again: who looks meanwhile would miss them, and note a start twice."""
    if not fetched:
        return
    channel.write(methods.requeue(channel.number, 0, multiple=True), deadline)
    look = methods.declare_queue(channel.number, queue, passive=True)
    until = min(deadline, time.monotonic() + RETURN_SECONDS)
    while time.monotonic() < until:
        if methods.read_queue_facts(channel.call(look, frames.QUEUE_DECLARE_OK, deadline)).messages >= fetched:
            return
        time.sleep(0.005)


def _publish(channel: Channel, queue: str, sentence: str | None = None) -> bytes:
    return publish_frames(
        channel.number,
        "",
        queue,
        _NOTE,
        (sentence or "").encode(),
        mandatory=False,
        frame_max=channel.connection.frame_max,
    )

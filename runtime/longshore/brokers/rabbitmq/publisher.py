"""Confirmed publishing: what a caller sends is in its queue when `send` returns, or the error says what is known.

Threads that send at the same moment share a batch: one of them has its turn on the link and publishes for all, the
others find their messages done. A connection that breaks is opened again and what was not confirmed is published once
more, with the same ids, while the deadline lasts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Condition

from longshore.brokers.port import Outgoing
from longshore.brokers.rabbitmq import delays, frames, methods
from longshore.brokers.rabbitmq.confirms import Confirms, Fate
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import NOT_FOUND, ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.letters import Letter, letter
from longshore.brokers.rabbitmq.link import RETRY_SECONDS, Link
from longshore.exceptions import BrokerFull, BrokerRefused, BrokerUnavailable, QueueNotFound, SendOutcomeUnknown

CHUNK_BYTES = 131_072


class Parcel:
    """One message of a batch on its way: what to publish, and what is known of it."""

    __slots__ = ("delayed", "fate", "letter", "number", "queue", "written")

    def __init__(self, outgoing: Outgoing, now: float) -> None:
        self.queue = outgoing.queue
        self.delayed = outgoing.due_at is not None and outgoing.due_at > now
        self.letter = _addressed(outgoing, now)
        self.fate = Fate.UNKNOWN
        self.number = 0
        self.written = False

    @property
    def open(self) -> bool:
        """Whether it is not known to be in its queue, nor to be refused for good."""
        return self.fate is Fate.UNKNOWN


class Job:
    """What one caller sends. `taken` while another thread publishes it."""

    __slots__ = ("done", "parcels", "taken")

    def __init__(self, parcels: list[Parcel]) -> None:
        self.parcels = parcels
        self.taken = False
        self.done = False

    @property
    def in_doubt(self) -> bool:
        """Whether something of it may have reached the broker: a node that goes down also refuses what it has kept."""
        return not self.answered and (self.taken or any(parcel.written for parcel in self.parcels))

    @property
    def answered(self) -> bool:
        """Whether all of it is known, though perhaps not of what was published together with it."""
        return self.done or all(parcel.fate in {Fate.CONFIRMED, Fate.RETURNED} for parcel in self.parcels)


class Publisher:
    """The sending side of a process's link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._changed = Condition()
        self._publishing = False
        self._jobs: list[Job] = []
        self._confirms = Confirms()
        self._channel: Channel | None = None
        self._ladder_on: Connection | None = None

    def send(self, outgoing: Sequence[Outgoing], seconds: float) -> None:
        """Publish and wait for the confirms; raise `BrokerError` within so many seconds."""
        if not outgoing:
            return
        deadline = time.monotonic() + seconds
        now = time.time()
        job = Job([Parcel(each, now) for each in outgoing])
        with self._changed:
            self._jobs.append(job)
        try:
            self._take_part(job, deadline)
        except BrokerUnavailable as error:
            if job.in_doubt:
                raise SendOutcomeUnknown(f"{error}; the message may be in its queue") from None
            if not job.answered:
                raise
        finally:
            self._withdraw(job)
        _raise_verdict(job.parcels)

    def _take_part(self, job: Job, deadline: float) -> None:
        """Publish what waits, ours included, unless another thread does it meanwhile."""
        alone = False
        while self._begin(job, deadline):
            try:
                with self._link.turn(deadline) as connection:
                    self._publish(self._take_jobs(job, alone=alone), connection, deadline)
            except ConnectionLost:
                if time.monotonic() + RETRY_SECONDS >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            except ChannelClosed as error:
                self._ladder_on = None
                if alone:
                    raise BrokerRefused(str(error)) from None
                alone = True
            finally:
                self._end()

    def _begin(self, job: Job, deadline: float) -> bool:
        """Wait until it is our turn to publish for all (`True`), or ours is published (`False`)."""
        with self._changed:
            while self._publishing and not job.done:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise BrokerUnavailable(f"RabbitMQ at {self._link.address.label} is busy with other messages")
                self._changed.wait(left)
            if job.done:
                return False
            self._publishing = True
            return True

    def _end(self) -> None:
        with self._changed:
            self._publishing = False
            self._changed.notify_all()

    def _take_jobs(self, own: Job, *, alone: bool) -> list[Job]:
        """Ours and, unless something of the last batch was refused, everybody's."""
        own.taken = False
        if alone:
            return [own]
        with self._changed:
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.taken = job is not own
        return jobs if own in jobs else [*jobs, own]

    def _withdraw(self, job: Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    # -- within a turn -----------------------------------------------------------------------------------------------

    def _publish(self, jobs: list[Job], connection: Connection, deadline: float) -> None:
        _await_unblocked(connection, deadline)
        parcels = [parcel for job in jobs for parcel in job.parcels if parcel.open]
        self._prepare_delays(parcels, connection, deadline)
        channel = self._confirming(connection, deadline)
        self._write([parcel for parcel in parcels if parcel.open], channel, deadline)
        self._await_confirms(parcels, channel, deadline)
        if connection.blocked is not None and any(parcel.open for parcel in parcels):
            raise BrokerFull(_blocked(connection.blocked))
        for job in jobs:
            job.done = True

    def _confirming(self, connection: Connection, deadline: float) -> Channel:
        channel = self._link.confirming(connection, deadline)
        if channel is not self._channel:
            self._channel, self._confirms = channel, Confirms()
            channel.handlers = {
                frames.BASIC_ACK: self._on_ack,
                frames.BASIC_NACK: self._on_nack,
                frames.BASIC_RETURN: self._on_return,
            }
        return channel

    def _write(self, parcels: list[Parcel], channel: Channel, deadline: float) -> None:
        """In large pieces, taking in the confirms between them."""
        piece, size = [], 0
        frame_max = channel.connection.frame_max
        for parcel in parcels:
            data = parcel.letter.frames(channel.number, frame_max)
            parcel.number = self._confirms.published(parcel.letter.exchange, parcel.letter.routing_key)
            parcel.written = True
            piece.append(data)
            size += len(data)
            if size >= CHUNK_BYTES:
                channel.write(b"".join(piece), deadline)
                channel.connection.read_available()
                piece, size = [], 0
        if piece:
            channel.write(b"".join(piece), deadline)

    def _await_confirms(self, parcels: list[Parcel], channel: Channel, deadline: float) -> None:
        """Late confirms do no harm: their numbers are not used again."""
        connection = channel.connection
        written = [parcel for parcel in parcels if parcel.open]
        numbers = [parcel.number for parcel in written]
        try:
            while self._confirms.waiting(numbers):
                if channel.closed is not None:
                    raise ChannelClosed(channel.closed)
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                if connection.transport.wait(left):
                    connection.read_available()
        finally:
            for parcel, fate in zip(written, self._confirms.take(numbers), strict=True):
                parcel.fate = fate
        if any(parcel.open for parcel in written) and connection.blocked is None:
            self._link.drop(connection)

    def _on_ack(self, received: Received) -> None:
        number, multiple = methods.read_tag(received.arguments)
        self._confirms.answered(number, multiple=multiple, accepted=True)

    def _on_nack(self, received: Received) -> None:
        number, multiple = methods.read_tag(received.arguments)
        self._confirms.answered(number, multiple=multiple, accepted=False)

    def _on_return(self, received: Received) -> None:
        self._confirms.returned(*methods.read_return(received.arguments))

    def _prepare_delays(self, parcels: list[Parcel], connection: Connection, deadline: float) -> None:
        """Ladder and bindings are there before the first delayed publish; a queue made anew is bound anew."""
        queues = dict.fromkeys(parcel.queue for parcel in parcels if parcel.delayed)
        if queues and self._ladder_on is not connection:
            delays.ensure(self._link.channel(connection, deadline), deadline)
            self._ladder_on = connection
        for queue in queues:
            try:
                delays.bind(self._link.channel(connection, deadline), queue, deadline)
            except ChannelClosed as error:
                if error.code != NOT_FOUND:
                    raise
                for parcel in parcels:
                    if parcel.delayed and parcel.queue == queue:
                        parcel.fate = Fate.RETURNED


def _addressed(outgoing: Outgoing, now: float) -> Letter:
    if outgoing.due_at is None or outgoing.due_at <= now:
        return letter(outgoing.message, "", outgoing.queue)
    seconds = outgoing.due_at - now
    key = delays.routing_key(outgoing.queue, seconds)
    return letter(outgoing.message, delays.entry(seconds), key, delayed=True)


def _await_unblocked(connection: Connection, deadline: float) -> None:
    while connection.blocked is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerFull(_blocked(connection.blocked))
        if connection.transport.wait(left):
            connection.read_available()


def _blocked(reason: str) -> str:
    return f"RabbitMQ takes no messages now ({reason}): free memory or disk on the broker"


def _raise_verdict(parcels: list[Parcel]) -> None:
    lost = {parcel.queue: None for parcel in parcels if parcel.fate is Fate.RETURNED}
    if lost:
        names = ", ".join(repr(queue) for queue in lost)
        raise QueueNotFound(f"RabbitMQ has no queue {names}: declare it, or start a worker that consumes it")
    if any(parcel.fate is Fate.REFUSED for parcel in parcels):
        raise BrokerFull("RabbitMQ refused the message: its queue is full, or the queue's leader is not available")
    if any(parcel.open for parcel in parcels):
        raise SendOutcomeUnknown("RabbitMQ did not confirm in time; the message may be in its queue")

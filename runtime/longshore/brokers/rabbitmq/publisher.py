"""Confirmed publishing: what a caller sends is in its queue when `send` returns, or the error says what is known.

Threads that send at the same moment travel together. One of them, the leader, has the turn on the link: it writes what
the others have queued, while earlier messages still wait for their confirms, and wakes whose message is confirmed; when
its own is, it hands the lead on. A connection that breaks is opened again and what was not confirmed is published once
more, with the same ids, while the deadline lasts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from threading import Lock

from longshore.brokers.port import Outgoing
from longshore.brokers.rabbitmq import delays, frames, methods
from longshore.brokers.rabbitmq.confirms import Confirms, Fate
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.errors import NOT_FOUND, ChannelClosed, ConnectionLost, blocked
from longshore.brokers.rabbitmq.frames import Received
from longshore.brokers.rabbitmq.link import RETRY_SECONDS, Link, await_unblocked
from longshore.brokers.rabbitmq.parcels import Job, Parcel
from longshore.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, LongshoreError, SendOutcomeUnknown

CHUNK_BYTES = 131_072


class Publisher:
    """The sending side of a process's link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = Lock()
        self._jobs: dict[Job, None] = {}
        """All that is under way, oldest first."""
        self._fresh: deque[Job] = deque()
        """Those that the leader has not written yet."""
        self._done: deque[Job] = deque()
        """Those of which all is known, and whose thread has not been woken for that."""
        self._leader: Job | None = None
        self._polling = False
        self._bell: tuple[int, int] | None = None
        """A pipe that wakes the leader; made when a second thread first comes."""
        self._confirms: Confirms[Parcel] = Confirms()
        self._channel: Channel | None = None
        self._ladder_on: Connection | None = None

    def send(self, outgoing: Sequence[Outgoing], seconds: float) -> None:
        """Publish and wait for the confirms; raise `BrokerError` within so many seconds."""
        if outgoing:
            now, job = time.time(), Job()
            for each in outgoing:
                job.add(each, now)
            self._carry(job, time.monotonic() + seconds)
            job.raise_verdict()

    def send_each(self, outgoing: Sequence[Outgoing], seconds: float) -> list[LongshoreError | None]:
        """Do the same, and return for each message what went wrong with it."""
        now, job = time.time(), Job()
        added = [job.try_to_add(each, now) for each in outgoing]
        late: BrokerError | None = None
        try:
            self._carry(job, time.monotonic() + seconds)
        except BrokerError as error:
            late = error
        return [each if isinstance(each, LongshoreError) else (each.open and late) or each.error for each in added]

    def close(self) -> None:
        """Let go of the pipe."""
        with self._lock:
            if self._leader is None and self._bell is not None:
                for descriptor in self._bell:
                    os.close(descriptor)
                self._bell = None

    # -- leading and following ---------------------------------------------------------------------------------------

    def _carry(self, job: Job, deadline: float) -> None:
        leads = self._enter(job)
        try:
            if leads or self._follow(job, deadline):
                self._lead(job, deadline)
        except BrokerUnavailable as error:
            if job.in_doubt:
                raise SendOutcomeUnknown(f"{error}; the message may be in its queue") from None
            if not job.answered:
                raise
        finally:
            self._leave(job)

    def _enter(self, job: Job) -> bool:
        """Queue what a caller sends; return whether it leads."""
        with self._lock:
            self._jobs[job] = None
            self._fresh.append(job)
            if self._leader is None:
                self._leader = job
                return True
            if self._bell is None:
                self._bell = os.pipe()
                for descriptor in self._bell:
                    os.set_blocking(descriptor, False)
            if self._polling and len(self._fresh) >= len(self._confirms):
                self._polling = False
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell[1], b"!")
            return False

    def _follow(self, job: Job, deadline: float) -> bool:
        """Wait until all of it is known (`False`), or the lead is ours (`True`)."""
        while job.open:
            if not job.wait(deadline - time.monotonic()) and not job.lead:
                raise self._late()
            if job.lead:
                return bool(job.open)
        return False

    def _late(self) -> BrokerError:
        if self._link.blocked is not None:
            return blocked(self._link.blocked)
        return BrokerUnavailable(f"RabbitMQ at {self._link.address.label} is busy with other messages")

    def _leave(self, job: Job) -> None:
        """Go, and hand the lead on to the oldest one that is left."""
        with self._lock:
            del self._jobs[job]
            if job.pending:
                with contextlib.suppress(ValueError):
                    self._fresh.remove(job)
            if self._leader is job:
                self._leader = next((each for each in self._jobs if each.open), None)
                if self._leader is not None:
                    self._leader.lead = True
                    self._leader.ring()
        self._wake_next()

    def _wake_next(self) -> None:
        """Wake one thread whose messages are confirmed; it wakes the next one when it goes.

        Woken all at once they would stand in line for the interpreter's lock, which takes longer than their work.
        """
        with contextlib.suppress(IndexError):
            while (job := self._done.popleft()) not in self._jobs:
                pass
            job.ring()

    def _lead(self, job: Job, deadline: float) -> None:
        while job.open:
            try:
                with self._link.turn(deadline) as connection:
                    self._serve(job, connection, deadline)
                return
            except ConnectionLost:
                self._publish_again(alone=False)
                if time.monotonic() + RETRY_SECONDS >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            except ChannelClosed as error:
                self._ladder_on = None
                guilty = job.alone and not job.pending
                self._publish_again(alone=not guilty)
                if guilty:
                    raise BrokerRefused(str(error)) from None
            except BaseException:
                self._put_back()
                raise

    def _publish_again(self, *, alone: bool) -> None:
        """What was written and is not confirmed is fresh again; each by itself when one of them was refused."""
        self._confirms, self._channel = Confirms(), None
        with self._lock:
            for job in self._jobs:
                job.alone = job.alone or (alone and not job.pending)
                for parcel in job.parcels:
                    parcel.under_way = False
        self._put_back()

    def _put_back(self) -> None:
        """What was taken to be written and was not is fresh again."""
        with self._lock:
            for job in self._jobs:
                job.pending = any(parcel.open and not parcel.under_way for parcel in job.parcels)
            self._fresh = deque(job for job in self._jobs if job.pending and not job.alone)

    # -- within a turn -----------------------------------------------------------------------------------------------

    def _serve(self, job: Job, connection: Connection, deadline: float) -> None:
        """Write what is queued and take in what the broker says, until all of the leader's own is known."""
        if self._channel is not None and self._channel.connection is not connection:
            self._publish_again(alone=False)
        while job.open:
            parcels = self._take_fresh(job)
            if parcels:
                await_unblocked(connection, deadline)
                self._prepare_delays(parcels, connection, deadline)
                self._write(parcels, self._confirming(connection, deadline), deadline)
            elif deadline > time.monotonic():
                self._take_in(connection, deadline)
            else:
                self._give_up(connection)
                return

    def _take_fresh(self, job: Job) -> list[Parcel]:
        """Return what to write now: what all have queued, or only what the leader sends where that goes alone."""
        with self._lock:
            if job.alone:
                fresh = [job] if job.pending and not self._confirms else []
            else:
                fresh, self._fresh = list(self._fresh), deque()
            for each in fresh:
                each.pending = False
            self._polling = not fresh and not job.alone
        return [parcel for each in fresh for parcel in each.parcels if parcel.open]

    def _take_in(self, connection: Connection, deadline: float) -> None:
        """Wait until the broker says something, or another thread queues something."""
        self._check_channel()
        bell = self._bell
        if connection.transport.wait(deadline - time.monotonic(), bell and bell[0]):
            connection.read_available()
        elif bell is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(bell[0], 64)
        self._polling = False
        self._wake_next()

    def _check_channel(self) -> None:
        if self._channel is not None and self._channel.closed is not None:
            raise ChannelClosed(self._channel.closed)

    def _give_up(self, connection: Connection) -> None:
        """The broker is silent or takes nothing now: of a silent one nothing that comes later could be trusted."""
        if connection.blocked is not None:
            raise blocked(connection.blocked)
        self._link.drop(connection)
        self._publish_again(alone=False)

    def _confirming(self, connection: Connection, deadline: float) -> Channel:
        self._check_channel()
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
            if not parcel.open or parcel.under_way:
                continue
            data = parcel.letter.frames(channel.number, frame_max)
            self._confirms.published(parcel.letter.exchange, parcel.letter.routing_key, parcel)
            parcel.written = parcel.under_way = True
            piece.append(data)
            size += len(data)
            if size >= CHUNK_BYTES:
                channel.write(b"".join(piece), deadline)
                channel.connection.read_available()
                piece, size = [], 0
        if piece:
            channel.write(b"".join(piece), deadline)

    def _on_ack(self, received: Received) -> None:
        self._answered(received, accepted=True)

    def _on_nack(self, received: Received) -> None:
        self._answered(received, accepted=False)

    def _answered(self, received: Received, *, accepted: bool) -> None:
        number, multiple = methods.read_tag(received.arguments)
        told = self._confirms.answered(number, multiple=multiple, accepted=accepted)
        self._done.extend(parcel.job for parcel, fate in told if parcel.answered(fate))

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
                    if parcel.delayed and parcel.queue == queue and parcel.answered(Fate.RETURNED):
                        self._done.append(parcel.job)

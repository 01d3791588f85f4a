"""What callers send, on its way through a process's publisher: messages, whose they are, and what is known of them."""

from __future__ import annotations

import contextlib
from threading import Lock

from longshore.brokers.port import Outgoing
from longshore.brokers.rabbitmq import delays
from longshore.brokers.rabbitmq.confirms import Fate
from longshore.brokers.rabbitmq.letters import Letter, letter
from longshore.exceptions import BrokerError, BrokerFull, LongshoreError, QueueNotFound, SendOutcomeUnknown


class Parcel:
    """One message on its way: what to publish, and what is known of it."""

    __slots__ = ("delayed", "fate", "job", "letter", "queue", "under_way", "written")

    def __init__(self, outgoing: Outgoing, now: float, job: Job) -> None:
        self.job = job
        self.queue = outgoing.queue
        self.delayed = outgoing.due_at is not None and outgoing.due_at > now
        self.letter = addressed(outgoing, now)
        self.fate = Fate.UNKNOWN
        self.written = False
        """Perhaps on a connection that is gone."""
        self.under_way = False
        """Written on the channel in use, and its confirm is awaited."""

    @property
    def open(self) -> bool:
        """Whether it is not known to be in its queue, nor to be refused for good."""
        return self.fate is Fate.UNKNOWN

    def answered(self, fate: Fate) -> bool:
        """Note what became of it; return whether all of its job is known now."""
        if self.fate is not Fate.UNKNOWN:
            return False
        self.fate = fate
        self.job.open -= 1
        return not self.job.open

    @property
    def error(self) -> BrokerError | None:
        """What its sender is told."""
        if self.fate is Fate.RETURNED:
            return missing_queue([self.queue])
        if self.fate is Fate.REFUSED:
            return BrokerFull("RabbitMQ refused the message: its queue is full, or the queue's leader is not available")
        if self.fate is Fate.UNKNOWN:
            return SendOutcomeUnknown("RabbitMQ did not confirm in time; the message may be in its queue")
        return None


class Job:
    """What one caller sends, and the bell that wakes it: when all is known, or to lead the others.

    `alone`: something that was published together with it was refused, so that it is published by itself.
    """

    __slots__ = ("_bell", "alone", "lead", "open", "parcels", "pending")

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.open = 0
        self.pending = True
        self.alone = False
        self.lead = False
        self._bell = Lock()
        self._bell.acquire()

    def add(self, outgoing: Outgoing, now: float) -> None:
        """Add a message; one that AMQP cannot carry is `MessageError`."""
        self.parcels.append(Parcel(outgoing, now, self))
        self.open += 1

    def try_to_add(self, outgoing: Outgoing, now: float) -> Parcel | LongshoreError:
        """Do the same, and return what is wrong with it instead of raising that."""
        try:
            self.add(outgoing, now)
        except LongshoreError as error:
            return error
        return self.parcels[-1]

    @property
    def in_doubt(self) -> bool:
        """Whether something of it may have reached the broker: a node that goes down also refuses what it has kept."""
        return not self.answered and any(parcel.written for parcel in self.parcels)

    @property
    def answered(self) -> bool:
        """Whether all of it is known for certain."""
        return all(parcel.fate in {Fate.CONFIRMED, Fate.RETURNED} for parcel in self.parcels)

    def ring(self) -> None:
        """Wake who waits; a bell that rings already goes on."""
        with contextlib.suppress(RuntimeError):
            self._bell.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the bell."""
        return self._bell.acquire(timeout=max(seconds, 0))

    def raise_verdict(self) -> None:
        """Raise for the worst that became of its messages."""
        lost = dict.fromkeys(parcel.queue for parcel in self.parcels if parcel.fate is Fate.RETURNED)
        if lost:
            raise missing_queue(list(lost))
        errors = {type(error): error for parcel in self.parcels if (error := parcel.error) is not None}
        for kind in (BrokerFull, SendOutcomeUnknown):
            if kind in errors:
                raise errors[kind]


def addressed(outgoing: Outgoing, now: float) -> Letter:
    """Return a message as a publish: to its queue by name, or to the ladder of delays."""
    if outgoing.due_at is None or outgoing.due_at <= now:
        return letter(outgoing.message, "", outgoing.queue)
    seconds = outgoing.due_at - now
    key = delays.routing_key(outgoing.queue, seconds)
    return letter(outgoing.message, delays.entry(seconds), key, delayed=True)


def missing_queue(queues: list[str]) -> QueueNotFound:
    """Return the error for queues that do not exist."""
    names = ", ".join(map(repr, queues))
    return QueueNotFound(f"RabbitMQ has no queue {names}: declare it, or start a worker that consumes it")

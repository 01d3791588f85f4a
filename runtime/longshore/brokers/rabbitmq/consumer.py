"""Claims and settlements of one owner on RabbitMQ, over a connection of its own.

A claim is a delivery that is not acknowledged; it lives as long as the connection that brought it. When that breaks,
the broker gives the messages to others, so every token carries its connection's generation, and a settlement of an
older generation is too late. Order at a settlement: what it sends is confirmed, then the claim is acknowledged.
"""

from __future__ import annotations

import logging
import os
import select
import struct
import time
from collections.abc import Callable, Sequence
from threading import Lock

from longshore.brokers.port import Claim, Outgoing, Owner, Settlement
from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.connection import Connection
from longshore.brokers.rabbitmq.errors import NOT_FOUND, ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.intake import Arrived, Intake, open_intake
from longshore.brokers.rabbitmq.letters import opened
from longshore.brokers.rabbitmq.starts import Starts, notes_queue
from longshore.brokers.rabbitmq.tender import TENDER
from longshore.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, MessageError, QueueNotFound
from longshore.message import DELIVERIES_HEADER, Message

CALL_SECONDS = 5.0
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
FIRST_SECONDS, BURST_SECONDS = 0.005, 0.002
REST_SECONDS = 0.2
"""A worker that has not asked for so long is busy with a task that turned out long: what it was sent goes back."""
RENEW_AT = 10
"""A quorum queue drops a message that was given out too often (20 times by default since RabbitMQ 4), started or not:
after this many it is published anew."""

logger = logging.getLogger(__name__)
Send = Callable[[Sequence[Outgoing]], None]


class Held:
    """The token of a claim: one delivery of one connection."""

    __slots__ = ("generation", "notes", "open", "tag")

    def __init__(self, generation: int, tag: int, notes: str | None) -> None:
        self.generation = generation
        self.tag = tag
        self.notes = notes
        self.open = True


class RabbitMQConsumer:
    """One owner's consumer. Used by one thread."""

    def __init__(
        self,
        address: Address,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None,
        send: Send,
        starts: Starts,
    ) -> None:
        self._address = address
        self._owner = owner
        self._queues = list(dict.fromkeys(queues))
        self._wake_fd = wake_fd
        self._send = send
        self._starts = starts
        self._generation = 0
        self._intake: Intake | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._outstanding: dict[int, Held] = {}
        self._noted: list[Settlement] = []
        self._given_up: list[Held] = []
        self._late = 0
        self._lock = Lock()
        self.closed: Callable[[], object] = bool
        self._left_at = self._beaten_at = time.monotonic()

    # -- the port ----------------------------------------------------------------------------------------------------

    def claim(self, limit: int, wait: float) -> list[Claim]:
        """Flush, then claim up to `limit`; a redelivered message is returned alone."""
        deadline = time.monotonic() + wait
        with self._lock:
            self._carry_out()
            try:
                return self._claim_by(deadline, limit)
            finally:
                self._left_at = time.monotonic()

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement."""
        self._noted.append(settlement)

    def acknowledge_now(self, claim: Claim) -> None:
        """Acknowledge, and return when the broker has done it."""
        with self._lock:
            self._acknowledge_now(claim.token)

    def flush(self) -> int:
        """Carry out what is noted."""
        with self._lock:
            self._carry_out()
            late, self._late = self._late, 0
            return late

    def close(self) -> None:
        """Flush, give back what is held, and end the connection; a broker that is gone has the messages anyway."""
        with self._lock:
            self._close()
        self.closed()

    def abandon(self) -> None:
        """Give up what is held and not noted; it goes back with the next call that works."""
        noted = {id(each.claim.token) for each in self._noted}
        for held in list(self._outstanding.values()):
            if id(held) not in noted:
                self._release(held)
                self._given_up.append(held)

    def leave_to_parent(self) -> None:
        """Close our copy of a socket that belongs to the parent process, without a word to the broker."""
        if self._intake is not None:
            self._intake.connection.close_socket()

    def tend(self) -> None:
        """Keep the connection alive; give back what was pushed and has not been asked for. Another thread's call."""
        intake, now = self._intake, time.monotonic()
        if intake is None:
            return
        heartbeat = intake.connection.heartbeat
        if heartbeat and now - self._beaten_at >= heartbeat / 2:
            self._beaten_at = now
            intake.connection.beat()
        if now - self._left_at > REST_SECONDS and not intake.at_rest and self._lock.acquire(blocking=False):
            try:
                intake.rest(now + CALL_SECONDS)
            except (ConnectionLost, ChannelClosed):
                intake.connection.close_socket()
            finally:
                self._lock.release()

    def _acknowledge_now(self, held: Held) -> None:
        intake = self._intake
        if intake is None or not self._valid(held):
            raise BrokerUnavailable("the claim was lost with its connection; the message goes to another worker")
        deadline = time.monotonic() + CALL_SECONDS
        self._release(held)
        intake.unacked.settled(held.tag)
        try:
            intake.channel.write(intake.acks(), deadline)
            intake.barrier(deadline)
        except (ConnectionLost, ChannelClosed) as error:
            self._lose()
            raise BrokerUnavailable(f"the claim was lost with its connection: {error}") from None
        self._forget_notes([held])

    def _close(self) -> None:
        try:
            self._carry_out()
            for held in list(self._outstanding.values()):
                if held.notes is not None:
                    self._starts.withdraw(held.notes)
        except BrokerError as error:
            logger.warning("closing a consumer of RabbitMQ: %s", error)
        intake, self._intake = self._intake, None
        self._outstanding.clear()
        if intake is None:
            return
        TENDER.remove(self)
        deadline = time.monotonic() + 2
        try:
            intake.connection.close_channel(intake.channel, deadline)
        except (ConnectionLost, ChannelClosed) as error:
            logger.debug("closing a consumer's channel: %s", error)
        intake.connection.close(deadline)

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _claim_by(self, deadline: float, limit: int) -> list[Claim]:
        while True:
            try:
                intake = self._connected(deadline)
                return [] if intake is None else self._claim(intake, limit, deadline)
            except ConnectionLost:
                self._lose()
                if time.monotonic() >= deadline:
                    raise

    def _claim(self, intake: Intake, limit: int, deadline: float) -> list[Claim]:
        call_deadline = max(deadline, time.monotonic() + CALL_SECONDS)
        try:
            intake.connection.read_available()
            if intake.aim(len(self._outstanding), max(limit, 1), call_deadline):
                self._gather(intake, limit, deadline)
            while True:
                claims = self._take(intake, limit)
                if claims or not self._wait(intake, deadline, call_deadline):
                    return claims
                intake.arrived(limit, call_deadline)
        except ChannelClosed as error:
            raise self._refused(error) from None

    def _gather(self, intake: Intake, limit: int, deadline: float) -> None:
        """After a new prefetch the broker sends a burst: take it in whole rather than its first message alone."""
        pause = min(FIRST_SECONDS, max(deadline - time.monotonic(), 0))
        while intake.buffered < limit and intake.connection.transport.wait(pause):
            intake.connection.read_available()
            pause = BURST_SECONDS

    def _wait(self, intake: Intake, deadline: float, call_deadline: float) -> bool:
        """Wait for input; `False` when the time is over or somebody wakes us."""
        left = deadline - time.monotonic()
        if left <= 0:
            return intake.connection.read_available() and intake.buffered > 0
        intake.idle(call_deadline)
        if intake.buffered:
            return True
        connection = intake.connection
        silence = 2 * connection.heartbeat + 1 if connection.heartbeat else left
        if connection.transport.wait(min(left, silence), self._wake_fd):
            connection.read_available()
            return True
        if connection.heartbeat and time.monotonic() - connection.last_read > silence:
            raise connection.fail("is silent")
        return time.monotonic() < deadline and not self._woken(0)

    def _take(self, intake: Intake, limit: int) -> list[Claim]:
        claims: list[Claim] = []
        while len(claims) < limit:
            arrived = intake.peek()
            if arrived is None:
                break
            claim = self._ordinary(arrived)
            if claim is None:
                if not claims and (suspect := self._suspect(intake, arrived)) is not None:
                    return [suspect]
                if claims:
                    break
                continue
            intake.take()
            claims.append(claim)
        return claims

    def _ordinary(self, arrived: Arrived) -> Claim | None:
        """The claim of a message that nobody held before; `None` for another."""
        if arrived.redelivered:
            return None
        message, _ = _opened(arrived)
        if DELIVERIES_HEADER in message.headers:
            return None
        return self._hold(arrived, message, None, 0)

    def _suspect(self, intake: Intake, arrived: Arrived) -> Claim | None:
        """The claim of a message that may have ended a process: its start is noted before it is handed out."""
        message, given_out = _opened(arrived)
        counted = message.headers.get(DELIVERIES_HEADER)
        counted = counted if isinstance(counted, int) else 0
        if given_out >= RENEW_AT:
            self._renew(intake, arrived, message)
            return None
        queue = notes_queue(arrived.queue, message)
        try:
            before = self._starts.note(queue)
        except ChannelClosed as error:
            logger.warning("starts of %s are not counted: %s", message.id, error)
            before = 0
        except ConnectionLost as error:
            raise BrokerUnavailable(str(error)) from None
        intake.take()
        return self._hold(arrived, message, queue, counted + before)

    def _renew(self, intake: Intake, arrived: Arrived, message: Message) -> None:
        """Publish a message anew before the broker loses patience with it; its notes stay its own."""
        renewed = message.with_headers({DELIVERIES_HEADER: message.headers.get(DELIVERIES_HEADER) or 0})
        self._send([Outgoing(arrived.queue, renewed)])
        intake.take()
        intake.unacked.settled(arrived.tag)
        intake.channel.write(intake.acks(), time.monotonic() + CALL_SECONDS)

    def _hold(self, arrived: Arrived, message: Message, notes: str | None, deliveries: int) -> Claim:
        held = Held(self._generation, arrived.tag, notes)
        self._outstanding[arrived.tag] = held
        return Claim(arrived.queue, message, held, deliveries, arrived.redelivered)

    # -- settling ----------------------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Send, then acknowledge. What cannot be sent stays noted, and its claim stays held."""
        live = [each for each in self._noted if self._valid(each.claim.token)]
        self._late += len(self._noted) - len(live)
        self._noted = live
        intake = self._intake
        if intake is None or not (live or self._given_up):
            return
        try:
            self._return_given_up(intake)
            sends = [outgoing for each in live for outgoing in each.sends]
            if sends:
                self._fence(intake)
                self._send(sends)
            self._count_give_backs(live)
            self._noted = []
            self._acknowledge(intake, live)
        except ConnectionLost:
            if intake.connection.lost is None:
                raise
            self._late += len(live)
            self._noted = []
            self._lose()

    def _return_given_up(self, intake: Intake) -> None:
        """In the order in which it came: a quorum queue puts what returns at its end."""
        if self._given_up:
            intake.rest(time.monotonic() + CALL_SECONDS)
        while self._given_up:
            held = self._given_up[0]
            if held.notes is not None:
                self._starts.withdraw(held.notes)
                held.notes = None
            intake.channel.write(intake.requeue(held.tag), time.monotonic() + CALL_SECONDS)
            self._given_up.pop(0)

    def _fence(self, intake: Intake) -> None:
        """A worker that stood still longer than a heartbeat may have lost its claims: ask before anything is sent."""
        heartbeat = intake.connection.heartbeat
        if heartbeat and time.monotonic() - intake.connection.last_read > heartbeat:
            intake.connection.read_available()
            intake.barrier(time.monotonic() + CALL_SECONDS)

    def _count_give_backs(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            held: Held = each.claim.token
            if each.give_back and each.counted and held.notes is None:
                held.notes = notes_queue(each.claim.queue, each.claim.message)
                self._starts.note(held.notes)
            elif each.give_back and not each.counted and held.notes is not None:
                self._starts.withdraw(held.notes)
                held.notes = None

    def _acknowledge(self, intake: Intake, settlements: Sequence[Settlement]) -> None:
        if any(each.give_back for each in settlements):
            intake.rest(time.monotonic() + CALL_SECONDS)
        given_back: list[bytes] = []
        settled: list[Held] = []
        for each in settlements:
            held: Held = each.claim.token
            self._release(held)
            if each.give_back:
                given_back.append(intake.requeue(held.tag))
            else:
                intake.unacked.settled(held.tag)
                settled.append(held)
        intake.channel.write(intake.acks() + b"".join(given_back), time.monotonic() + CALL_SECONDS)
        self._forget_notes(settled)

    def _forget_notes(self, settled: Sequence[Held]) -> None:
        notes = [held.notes for held in settled if held.notes is not None]
        if notes:
            try:
                self._starts.forget(notes)
            except BrokerError as error:
                logger.debug("notes of starts are left to expire: %s", error)

    def _valid(self, held: Held) -> bool:
        return held.open and held.generation == self._generation and self._intake is not None

    def _release(self, held: Held) -> None:
        held.open = False
        self._outstanding.pop(held.tag, None)

    # -- connecting --------------------------------------------------------------------------------------------------

    def _connected(self, deadline: float) -> Intake | None:
        """Return an open intake; `None` when woken first; raise `BrokerUnavailable` at the deadline."""
        while self._intake is None:
            pause = self._retry_at - time.monotonic()
            if pause > 0:
                if self._woken(min(pause, max(deadline - time.monotonic(), 0))):
                    return None
                if time.monotonic() >= deadline and time.monotonic() < self._retry_at:
                    raise BrokerUnavailable(f"RabbitMQ at {self._address.label} is away; trying again")
            self._try_connect(deadline)
        return self._intake

    def _try_connect(self, deadline: float) -> None:
        limit = max(deadline, time.monotonic() + CALL_SECONDS)
        try:
            self._intake = self._open(limit)
        except (BrokerUnavailable, ChannelClosed):
            self._back_off()
            if time.monotonic() >= deadline:
                raise
            return
        self._generation += 1
        self._failures = 0
        TENDER.add(self)

    def _open(self, limit: float) -> Intake:
        name = f"longshore {self._owner} {os.getpid()}"
        connection = Connection.open(self._address, name, limit, heartbeat=self._address.heartbeat)
        try:
            return open_intake(connection, self._queues, limit)
        except BaseException:
            connection.close_socket()
            raise

    def _back_off(self) -> None:
        self._retry_at = time.monotonic() + BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1

    def _lose(self) -> None:
        """Forget the connection and its claims: the broker gives them to others."""
        intake, self._intake = self._intake, None
        self._outstanding.clear()
        self._given_up.clear()
        if intake is not None:
            self._back_off()
            TENDER.remove(self)
            intake.connection.close_socket()

    def _refused(self, error: ChannelClosed) -> BrokerError:
        self._lose()
        if error.code == NOT_FOUND:
            return QueueNotFound(f"RabbitMQ refuses to consume: {error.text}")
        return BrokerRefused(f"RabbitMQ refuses to consume: {error.text}")

    def _woken(self, seconds: float) -> bool:
        """Sleep; return early and true when the wake descriptor is readable."""
        if self._wake_fd is None:
            time.sleep(max(seconds, 0))
            return False
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))


def _opened(arrived: Arrived) -> tuple[Message, int]:
    """Decode a delivery; headers that nobody can read leave a message that will be found unreadable."""
    try:
        return opened(arrived.properties, arrived.body)
    except (MessageError, ValueError, IndexError, struct.error) as error:
        logger.warning("a message in queue %s has unreadable headers: %s", arrived.queue, error)
        return Message(arrived.body, {}, {}), 0

"""Claims of one owner on RabbitMQ, over a connection of its own.

A claim is a delivery that is not acknowledged; it lives as long as the connection that brought it. A message that was
given out before is claimed alone, and its start is noted in the broker before it is handed out.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Sequence
from threading import Lock

from longshore.brokers.port import Claim, Outgoing, Owner, Settlement
from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.errors import ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.intake import Arrived, Intake
from longshore.brokers.rabbitmq.layouts import Layouts
from longshore.brokers.rabbitmq.letters import opened
from longshore.brokers.rabbitmq.overdue import Overdue
from longshore.brokers.rabbitmq.session import CALL_SECONDS, Session
from longshore.brokers.rabbitmq.settling import Send, Settling
from longshore.brokers.rabbitmq.starts import Starts, notes_queue
from longshore.brokers.rabbitmq.tender import TENDER
from longshore.brokers.rabbitmq.unstarted import Unstarted
from longshore.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, MessageError, QueueNotFound
from longshore.message import DELIVERIES_HEADER, SENTENCE_HEADER, Message

CLOSE_SECONDS = 2.0
FIRST_SECONDS, BURST_SECONDS = 0.005, 0.002
REST_SECONDS = 0.2
"""A worker that has not asked for so long is busy with a task that turned out long: what it was sent goes back."""
SHARE_FROM = 8
"""A claim of so many or more takes half of what may be held, so that the broker sends one half while the other runs."""
RENEW_AT = 10
"""A quorum queue drops a message that was given out too often (20 times by default since RabbitMQ 4), started or not:
after this many it is published anew."""

logger = logging.getLogger(__name__)


class RabbitMQConsumer:
    """One owner's consumer. Used by one thread; the tender's thread comes in when that is elsewhere."""

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
        self.closed: Callable[[], object] = bool
        self._send = send
        self._starts = starts
        self._session = Session(address, owner, queues, wake_fd, opened=self._opened, lost=self._lost)
        self._unstarted = Unstarted()
        self._settling = Settling(self._session, send, starts, self._unstarted)
        self._overdue = Overdue(self._settling, starts, address.consumer_timeout)
        self._layouts = Layouts()
        self._lock = Lock()
        self._left_at = self._beaten_at = time.monotonic()

    # -- the port ----------------------------------------------------------------------------------------------------

    def claim(self, limit: int, wait: float, *, ahead: bool = False) -> list[Claim]:  # noqa: ARG002 - the broker pushes anyway
        """Carry out what is noted, then claim up to `limit`; a redelivered message is returned alone."""
        deadline = time.monotonic() + wait
        with self._lock:
            self._settling.carry_out()
            try:
                return self._claim_by(deadline, limit)
            finally:
                self._left_at = time.monotonic()

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement."""
        self._settling.note(settlement)

    def acknowledge_now(self, claims: Sequence[Claim]) -> None:
        """Acknowledge, and return when the broker has done it."""
        with self._lock:
            self._settling.acknowledge_now([claim.token for claim in claims])

    def flush(self) -> int:
        """Carry out what is noted."""
        with self._lock:
            self._settling.carry_out()
            return self._settling.take_late()

    def abandon(self) -> None:
        """Give up what is held and not noted; it goes back with the next call that works."""
        self._settling.abandon()

    def close(self) -> None:
        """Carry out, give back what is held, and end the connection; a broker that is gone has the messages anyway."""
        with self._lock:
            try:
                self._settling.carry_out()
                self._settling.withdraw_notes()
            except BrokerError as error:
                logger.warning("closing a consumer of RabbitMQ: %s", error)
            intake = self._session.take()
            if intake is not None:
                intake.close(time.monotonic() + CLOSE_SECONDS)
        self.closed()

    # -- beside the port -----------------------------------------------------------------------------------------------

    def leave_to_parent(self) -> None:
        """Close our copy of a socket that belongs to the parent process, without a word to the broker."""
        if self._session.intake is not None:
            self._session.intake.connection.abandon()

    def tend(self) -> None:
        """Keep the connection alive; give back what was pushed and has not been asked for. Another thread's call."""
        intake, now = self._session.intake, time.monotonic()
        if intake is None:
            return
        heartbeat = intake.connection.heartbeat
        if heartbeat and now - self._beaten_at >= heartbeat / 2:
            self._beaten_at = now
            intake.connection.beat()
        if not self._overdue.patience(intake.connection.version, now) and self._lock.acquire(blocking=False):
            try:
                self._overdue.sentence_due(now)
            finally:
                self._lock.release()
        if now - self._left_at > REST_SECONDS and not intake.at_rest and self._lock.acquire(blocking=False):
            try:
                intake.rest(now + CALL_SECONDS)
            except (ConnectionLost, ChannelClosed):
                intake.connection.close_socket()
            finally:
                self._lock.release()

    def _opened(self) -> None:
        TENDER.add(self)
        assert self._session.intake is not None
        self._session.intake.channel.closing = self._overdue.closing

    def _lost(self) -> None:
        TENDER.remove(self)
        self._settling.forget()

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _claim_by(self, deadline: float, limit: int) -> list[Claim]:
        while True:
            try:
                intake = self._session.connected(deadline)
                return [] if intake is None else self._claim(intake, limit, deadline)
            except ConnectionLost:
                self._session.lose()
                if time.monotonic() >= deadline:
                    raise

    def _claim(self, intake: Intake, limit: int, deadline: float) -> list[Claim]:
        call_deadline = max(deadline, time.monotonic() + CALL_SECONDS)
        try:
            intake.connection.read_available()
            self._record_returned(intake)
            if intake.aim(len(self._settling), max(limit, 1), call_deadline):
                self._gather(intake, limit, deadline)
            while True:
                claims = self._take(intake, limit)
                if claims or not self._wait(intake, deadline, call_deadline):
                    return claims
                intake.arrived(limit, call_deadline)
        except ChannelClosed as error:
            self._session.ask_for_time &= (
                "x-consumer-timeout" not in error.text
            )  # a classic queue may refuse to hear it
            self._session.lose()
            raise _refused(error) from None

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
        patience = self._overdue.patience(connection.version, now := time.monotonic())
        if not patience:
            self._overdue.sentence_due(now)
        if connection.transport.wait(min(left, silence, patience), self._session.wake_fd):
            connection.read_available()
            return True
        if connection.heartbeat and time.monotonic() - connection.last_read > silence:
            raise connection.fail("is silent")
        return time.monotonic() < deadline and not self._session.woken(0)

    def _take(self, intake: Intake, limit: int) -> list[Claim]:
        share = limit if limit < SHARE_FROM else (limit + 1) // 2
        claims: list[Claim] = []
        while len(claims) < share:
            arrived = intake.peek()
            if arrived is None:
                break
            message, given_out = self._opened_message(arrived)
            if self._is_ordinary(arrived, message, given_out):
                intake.take()
                claims.append(self._hold(arrived, message, None, 0))
            elif claims:
                break
            elif (suspect := self._suspect(intake, arrived, message, given_out)) is not None:
                claims.append(suspect)
                break
        if len(claims) == 1:
            claims[0].token.alone = True
        return claims

    def _is_ordinary(self, arrived: Arrived, message: Message, given_out: int) -> bool:
        """Whether nobody can have started this message: it is new, or came back from here alone."""
        if DELIVERIES_HEADER in message.headers:
            return False
        if not arrived.redelivered:
            return True
        return given_out < RENEW_AT and self._unstarted.recall(message.id, given_out)

    def _record_returned(self, intake: Intake) -> None:
        """What the intake gave back was not started; what came here as redelivered may have been, elsewhere."""
        for arrived in intake.take_returned():
            if not arrived.redelivered:
                self._unstarted.record(self._opened_message(arrived)[0].id)

    def _suspect(self, intake: Intake, arrived: Arrived, message: Message, given_out: int) -> Claim | None:
        """The claim of a message that may have ended a process: its start is noted before it is handed out."""
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
        if before and (sentence := self._starts.sentence(queue)) is not None:
            message = message.with_headers({SENTENCE_HEADER: sentence})
        return self._hold(arrived, message, queue, counted + before)

    def _renew(self, intake: Intake, arrived: Arrived, message: Message) -> None:
        """Publish a message anew before the broker loses patience with it; its notes stay its own."""
        renewed = message.with_headers({DELIVERIES_HEADER: message.headers.get(DELIVERIES_HEADER) or 0})
        intake.fence.ensure(time.monotonic() + CALL_SECONDS)
        self._send([Outgoing(arrived.queue, renewed)])
        intake.take()
        intake.unacked.settled(arrived.tag)
        intake.channel.write(intake.acks(), time.monotonic() + CALL_SECONDS)

    def _opened_message(self, arrived: Arrived) -> tuple[Message, int]:
        """Decode a delivery; headers that nobody can read leave a message that will be found unreadable."""
        try:
            return opened(arrived.properties, arrived.body, self._layouts.read)
        except (MessageError, ValueError, IndexError, struct.error) as error:
            logger.warning("a message in queue %s has unreadable headers: %s", arrived.queue, error)
            return Message(arrived.body, {}, {}), 0

    def _hold(self, arrived: Arrived, message: Message, notes: str | None, deliveries: int) -> Claim:
        held = self._settling.hold(arrived.tag, notes, arrived.queue, message)
        return Claim(arrived.queue, message, held, deliveries, arrived.redelivered, notes is not None)


def _refused(error: ChannelClosed) -> BrokerError:
    """A channel that is closed for another reason than a refusal (a task above `consumer_timeout`) is opened again."""
    if error.code == NOT_FOUND:
        return QueueNotFound(f"RabbitMQ refuses to consume: {error.text}")
    if error.code in (ACCESS_REFUSED, RESOURCE_LOCKED):
        return BrokerRefused(f"RabbitMQ refuses to consume: {error.text}")
    return ConnectionLost(f"RabbitMQ closed the channel: {error.text}")
